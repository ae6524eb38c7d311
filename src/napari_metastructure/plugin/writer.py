"""Labels layers to TIFF with axes, voxel size and unit, which napari's own writer drops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer as ImageJ TIFF, or OME-TIFF if the name says so (npe2 writer, for File > Save).

    Parameters
    ----------
    path : str
        The file; it is replaced only once the new one is whole.
    data : integer array
        Labels; of multiscale layers the full resolution. Labels of 0 and 1 alone are written 0 and 255 as
        uint8, all others as they are.
    attributes : mapping
        The layer's ``scale``, ``units`` and ``axis_labels``, where known.

    Returns
    -------
    list of str
        The file written.

    Raises
    ------
    InputError
        If the labels do not fit the format; the message says what to do.
    """
    return [str(_write(path, data, attributes, ome=False))]


def write_labels_ome(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer as OME-TIFF; see `write_labels`."""
    return [str(_write(path, data, attributes, ome=True))]


def _write(path: str | Path, data: Any, attributes: Mapping[str, Any], ome: bool) -> Path:
    from napari_metastructure.images.writing import tiff_axes, write_tiff

    if not hasattr(data, "dtype"):  # multiscale: a list of levels
        data = data[0]
    pixels = np.asarray(data)
    if pixels.dtype == bool or (pixels.size and pixels.min() >= 0 and pixels.max() <= 1):
        pixels = (pixels > 0).astype(np.uint8) * np.uint8(255)
    labels = tuple(attributes.get("axis_labels") or map(str, range(-pixels.ndim, 0)))
    scale = tuple(float(s) for s in attributes.get("scale", (1.0,) * pixels.ndim))
    units = tuple(str(u) for u in attributes.get("units") or ("pixel",) * pixels.ndim)
    path = Path(path)
    # npe2 goes by the last suffix: "x.ome.tif" arrives here by both writers.
    ome = ome or path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    write_tiff(path, pixels, tiff_axes(labels, units), scale, units, ome=ome)
    return path
