"""Labels layers to TIFF with axes, voxel size and unit, which napari's own writer drops; where masks are saved."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._layers import ORIGIN, PLANES, file_of, placement


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
        What napari knows of the layer: its place in the viewer, ``units``, ``axis_labels``, ``metadata``. A voxel size
        that it does not know is looked for in the file that the layer came from.

    Returns
    -------
    list of str
        The file written. What it cannot hold, napari's notification says.

    Raises
    ------
    InputError
        If the labels do not fit the format; the message says what to do.
    """
    return [str(_write_layer(path, data, attributes, ome=False))]


def write_labels_ome(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer as OME-TIFF; see `write_labels`."""
    return [str(_write_layer(path, data, attributes, ome=True))]


def save_masks(
    path: str | Path, masks: Sequence[Any], layers: Sequence[Layer], ome: bool = False, notes: Sequence[str] = ()
) -> list[Path]:
    """Write the masks of image layers as TIFF, each with the axes, voxel size and unit of its image.

    Parameters
    ----------
    path : path
        The file, see `mask_paths`.
    masks : sequence of array
        Nonzero = foreground; one for each layer.
    layers : sequence of napari.layers.Image
    ome : bool
        OME-TIFF instead of ImageJ TIFF.
    notes : sequence of str
        Which planes hold something, for each file, see `_layers.PLANES`.

    Returns
    -------
    list of Path
        What was written. What the files cannot hold, napari's notification says.

    Raises
    ------
    InputError
        If one cannot be written, or would be written over an image.
    """
    files = [file_of(layer) for layer in layers]
    paths = mask_paths(path, layers, ome)
    for target in paths:
        if any(file is not None and file.resolve() == target.resolve() for file in files):
            raise InputError(f"{target} is the image itself; choose another name for the mask.")
    notes = notes or [""] * len(paths)
    for target, mask, layer, file, note in zip(paths, masks, layers, files, notes, strict=True):
        _write(target, np.asarray(mask) != 0, placement(layer, ndim=np.ndim(mask)), file, ome, note)
    return paths


def mask_paths(path: str | Path, layers: Sequence[Layer], ome: bool = False) -> list[Path]:
    """Name a file for each layer: the path, with the ending that it lacks; of several ``<layer>_<name>`` beside it."""
    from napari_metastructure.images.files import noting, output_stems, stem

    path, ending = Path(path), ".ome.tif" if ome else ".tif"
    if path.suffix.lower() not in (".tif", ".tiff"):
        path = path.with_name(path.name + ending)
    if len(layers) == 1:
        return [path]
    ending = path.name[len(stem(path)) :]
    with noting():  # the names are those of layers, and the files are told when they are written
        names = output_stems([Path(file_name(layer.name)) for layer in layers])  # such that no two are one file
    return [path.with_name(f"{name}_{stem(path)}{ending}") for name in names]


def ask_where(parent: Any, layers: Sequence[Layer], ome: bool = False) -> Path | None:
    """Ask where to save masks: `<image>_mask.tif` beside the image is proposed; None if the user does not want to."""
    from qtpy.QtWidgets import QFileDialog

    from napari_metastructure.plugin._saving import may_replace

    file, ending = file_of(layers[0]), ".ome.tif" if ome else ".tif"
    name = f"{file_name(layers[0].name)}_mask{ending}" if len(layers) == 1 else f"mask{ending}"
    proposed = Path(name) if file is None else file.resolve().with_name(name)
    kind = "OME-TIFF (*.ome.tif *.ome.tiff)" if ome else "TIFF (*.tif *.tiff)"
    chosen, _ = QFileDialog.getSaveFileName(parent, "Save mask", str(proposed), kind)
    if not chosen:
        return None
    return Path(chosen) if may_replace(parent, "Save mask", mask_paths(chosen, layers, ome), chosen) else None


def file_name(name: str) -> str:
    """Make a layer's name a part of a file name, short enough for every disk."""
    return re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", name)).strip("_")[:60] or "layer"


def _write_layer(path: str, data: Any, attributes: Mapping[str, Any], ome: bool) -> Path:
    import napari

    viewer = napari.current_viewer()
    layer = next((layer for layer in viewer.layers if layer.data is data), None) if viewer is not None else None
    origin = attributes.get("metadata", {}).get(ORIGIN, {})
    known = origin.get("file")
    file = file_of(layer) if layer is not None else None if known is None else Path(known)
    # npe2 goes by the last suffix: "x.ome.tif" arrives here by both writers.
    ome = ome or path.lower().endswith((".ome.tif", ".ome.tiff"))
    pixels = data[0] if isinstance(data, Sequence) else data  # napari's pyramids turn into their smallest level
    return _write(Path(path), pixels, attributes, file, ome, str(origin.get(PLANES, "")))


def _write(path: Path, data: Any, attributes: Mapping[str, Any], file: Path | None, ome: bool, planes: str) -> Path:
    from napari.utils.notifications import show_info

    from napari_metastructure.images.writing import write_tiff
    from napari_metastructure.plugin._calibration import calibration

    pixels = np.asarray(data)
    if pixels.dtype == bool or (pixels.size and pixels.min() >= 0 and pixels.max() <= 1):
        pixels = (pixels > 0).astype(np.uint8) * np.uint8(255)
    found = calibration(pixels.shape, attributes, file)
    write_tiff(path, pixels.reshape(found.shape), found.axes, found.scale, found.units, ome=ome, note=planes)
    for note in found.notes:
        show_info(f"{note} ({path.name})")
    return path
