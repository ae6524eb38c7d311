"""Reader of napari for OME-Zarr: all resolutions, left in the file, with scale, units and names of axes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_metastructure.errors import InputError

CHUNK = 1024
"""Pixels along a side of what napari asks for at once."""

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return what reads an OME-Zarr; None for another folder, which napari's own reader may know."""
    from napari_metastructure.images.ome_zarr import levels

    if not isinstance(path, str):
        return None
    try:
        levels(Path(path))
    except (InputError, OSError):
        return None
    return read


def read(path: str) -> list[LayerData]:
    """Open an OME-Zarr as one layer, multiscale if it has several resolutions; of several channels one layer each."""
    import dask.array as da

    from napari_metastructure.images.ome_zarr import is_label, levels, scale_of

    place = Path(path)
    sources = levels(place)
    axes, scale, units = scale_of(place)
    chunks = (*[1] * (len(axes) - 2), CHUNK, CHUNK)
    data = [da.from_array(source, chunks=chunks, name=False) for source in sources]
    channel = axes.index("C") if "C" in axes else None
    kept = [i for i in range(len(axes)) if i != channel]
    facts: dict[str, Any] = {
        "name": place.name.removesuffix(".zarr").removesuffix(".ome"),
        "scale": [scale[i] for i in kept],
        "units": [units[i] for i in kept],
        "axis_labels": [axes[i].lower() for i in kept],
    }
    if is_label(place):
        return [(data, facts, "labels")]
    return [(data, facts | ({} if channel is None else {"channel_axis": channel}), "image")]
