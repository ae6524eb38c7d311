"""Write noisy labels into their source layer, as one edit that napari can undo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.plugin.noise.stack import checksum

if TYPE_CHECKING:
    from napari.layers import Labels

MOST_CHANGES = 25_000_000
"""Pixels that one edit may change: napari keeps some 30 bytes of each to undo it."""


def check_can_write(layer: Labels) -> None:
    """Refuse a layer that cannot be changed in place.

    Raises
    ------
    InputError
        For pyramids, arrays that are not in memory or are read-only, and types that cannot hold 255.
    """
    data, name = layer.data, f"Layer {layer.name!r}"
    if layer.multiscale:
        raise InputError(f"{name} is a pyramid, which cannot be changed in place; apply to a new layer.")
    if not isinstance(data, np.ndarray) or isinstance(data, np.memmap) or not data.flags.writeable:
        raise InputError(f"{name} is not an array in memory that may be written to; apply to a new layer.")
    if np.iinfo(data.dtype).max < UNLABELLED:
        raise InputError(f"{name}: pixels of type {data.dtype} cannot hold {UNLABELLED}; apply to a new layer.")


def write_in_place(layer: Labels, labels: np.ndarray, sums: Sequence[int]) -> int:
    """Make a layer hold these labels, as one step of its undo list.

    Parameters
    ----------
    layer : napari.layers.Labels
    labels : array of the layer's shape
    sums : sequence of int
        Checksum of each plane of the layer when the labels were made from it.

    Returns
    -------
    int
        How many pixels changed.

    Raises
    ------
    InputError
        As `check_can_write`; if the layer has changed meanwhile, there are too many changes to be undone, or napari
        fails to write. Then the layer is as it was.
    """
    check_can_write(layer)
    data, name = layer.data, f"Layer {layer.name!r}"
    planes = data.reshape(-1, *data.shape[-2:])
    if data.shape != labels.shape or [checksum(plane) for plane in planes] != list(sums):
        raise InputError(f"{name} was changed while its noise was drawn; apply once more.")
    noisy = labels.reshape(planes.shape)
    count = sum(int(np.count_nonzero(a != b)) for a, b in zip(planes, noisy, strict=True))
    if count > MOST_CHANGES:
        raise InputError(f"{name}: {count} pixels would change, too many for napari to undo; apply to a new layer.")
    if not layer.visible:  # napari updates the slice of a hidden layer as well, but does not keep it in step
        layer.visible = True
    failure: Exception | None = None
    with layer.block_history():
        try:
            _write(layer, labels)
        except Exception as error:
            failure = error
    if failure is not None:
        layer.undo()
        raise InputError(f"{name} could not be written to; apply to a new layer.") from failure
    layer.refresh()
    return count


def _write(layer: Labels, labels: np.ndarray) -> None:
    """Plane by plane: the places of the changes need several times the memory of the labels."""
    data = layer.data
    for place in np.ndindex(data.shape[:-2]):
        y, x = np.nonzero(data[place] != labels[place])
        if y.size:
            at = (*(np.full(y.size, i) for i in place), y, x)
            layer.data_setitem(at, labels[place][y, x].astype(data.dtype), refresh=False)
