"""Axes and pixels of layers that are measured: voxel size, slices, names of other axes, and the image of labels."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_metastructure.errors import InputError, sized
from napari_metastructure.labels.measures import Voxel
from napari_metastructure.plugin._calibration import Calibration, calibration
from napari_metastructure.plugin._layers import file_of, full, origin_of, placement, source_of
from napari_metastructure.plugin._pairs import apart, words_of
from napari_metastructure.plugin._source import Source

FILE_AXES = 5
"""How many axes a file has at most; there may be more before them."""


def voxel_of(layer: Labels, volumes: bool) -> Voxel:
    """Find the size of a layer's pixel, or voxel, in one unit; also one that napari left in the file."""
    found = _axes(layer, file_of(layer))
    return Voxel.of(list(zip(found.scale, found.units, strict=True))[-3 if volumes else -2 :])


def _axes(layer: Labels, file: Path | None = None) -> Calibration:
    """Find the last axes of a layer, without those before them of length one."""
    return calibration(full(layer).shape[-FILE_AXES:], placement(layer, ndim=min(layer.ndim, FILE_AXES)), file)


def has_slices(layer: Labels) -> bool:
    """Whether the axis before Y and X is one of space."""
    shape = full(layer).shape
    return len(shape) > 2 and shape[-3] > 1 and _axes(layer).axes[-3] == "Z"


def leading_axes(layer: Labels, volumes: bool) -> tuple[str, ...]:
    """Name the axes before those of a plane or volume, each by another name than the columns have."""
    shape = full(layer).shape
    letters = iter(_axes(layer).axes[:-2])
    names: list[str] = []
    for at, (size, label) in enumerate(zip(shape[:-2], layer.axis_labels, strict=False)):
        letter = next(letters, "") if size > 1 and at >= layer.ndim - FILE_AXES else ""
        named = str(label).strip(" -0123456789")
        name = (named if len(named) > 1 else named.upper()) or letter or f"axis {at}"
        names.append(f"axis {at}" if name in names else name)
    return tuple(names[:-1] if volumes else names)


def fits(image: Layer, labels: Labels) -> bool:
    """Whether an image has the pixels of labels, or of their last axes."""
    if not isinstance(image, Image):
        return False
    shape = full(image).shape[:-1] if image.rgb else full(image).shape
    return len(shape) > 1 and tuple(shape) == tuple(full(labels).shape[-len(shape) :])


def root_of(labels: Layer, layers: Iterable[Layer]) -> Layer:
    """Find what labels were originally made from: an image, or the labels themselves if that is not known."""
    layers, seen = list(layers), list[Layer]()
    known = {str(layer.unique_id): layer for layer in layers}
    if there := [known[name] for name in origin_of(labels).get("ids", ()) if name in known]:
        return there[-1]  # whatever lay between may be gone
    while labels not in seen:
        seen.append(labels)
        labels = source_of(labels, layers) or labels
    return labels


def image_of(labels: Labels, layers: Sequence[Layer]) -> Layer | None:
    """Find the image that labels were made from, else that of their name, else the only one of their size and place."""
    root = root_of(labels, layers)
    if fits(root, labels):
        return root
    if origin_of(root).get("root") == "image":  # which is gone
        return None
    images = [layer for layer in layers if fits(layer, labels) and not origin_of(layer)]
    named = [image for image in images if words_of(image.name) == words_of(root.name)]
    found = named or [image for image in images if not apart(image, labels)]
    return found[0] if len(found) == 1 else None


def intensity_of(layer: Image, shape: tuple[int, ...], volumes: bool) -> Callable[[tuple[int, ...]], np.ndarray]:
    """Return what reads the image's plane or volume at a place of the labels; of RGB images the luminance.

    Raises
    ------
    InputError
        If the pixels do not lie on those of the labels.
    """
    source = Source.of(layer)
    if source.shape != shape[-len(source.shape) :] or (volumes and len(source.shape) < 3):
        raise InputError(
            f"Layer {layer.name!r} has {sized(source.shape)} but the labels have {sized(shape)}; choose the image that "
            "they are of, or no intensities."
        )
    skipped = len(shape) - len(source.shape)

    def read(place: tuple[int, ...]) -> np.ndarray:
        at = place[skipped:]
        return np.stack([source.plane((*at, z)) for z in range(shape[-3])]) if volumes else source.plane(at)

    return read
