"""Where maps lie that are shown side by side with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_metastructure.plugin.visible import VisiblePlane

GAP = 0.06
"""Space between neighbours, as a share of their size."""


def offsets(planes: Sequence[VisiblePlane]) -> list[np.ndarray]:
    """How far each map is moved from its labels along Y and X, in world units.

    Where all labels lie over each other, their maps stand in a row to the right of them, a row per class; where
    labels lie apart, each one's maps hang below it.

    Parameters
    ----------
    planes : sequence of VisiblePlane
        One per map; several maps of one layer follow each other.

    Returns
    -------
    list of (2,) array
    """
    layers = [plane.layer for plane in planes]
    sources = list(dict.fromkeys(layers))
    steps = {layer: (1 + GAP) * _size(plane) for layer, plane in zip(layers, planes, strict=True)}
    corners = [np.asarray(layer.translate[-2:]) for layer in sources]
    apart = any(not np.allclose(corner, corners[0]) for corner in corners[1:])
    largest = np.max([*steps.values(), np.zeros(2)], axis=0)
    result = []
    for number, layer in enumerate(layers):
        row = number - layers.index(layer)
        cell = (row + 1, 0) if apart else (row, sources.index(layer) + 1)
        result.append(np.array(cell) * (steps[layer] if apart else largest))
    return result


def _size(plane: VisiblePlane) -> np.ndarray:
    from napari_metastructure.plugin.visible import full

    return np.asarray(full(plane.layer).shape[-2:]) * np.abs(plane.layer.scale[-2:])
