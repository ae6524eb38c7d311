"""Where a layer lies: its scale, position, units and axis names, handed on to what is made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Layer

ORIGIN = "napari-metastructure"
"""Key under which a layer's ``metadata`` says how this plugin made it."""


def placement(layer: Layer, leading: str | None = None) -> dict[str, Any]:
    """Keyword arguments that lay a new layer exactly over another.

    Parameters
    ----------
    layer : napari.layers.Layer
        The layer to lie over; of RGB images, the axes without the samples.
    leading : str, optional
        Label of one axis put before the others: step 1 without unit.

    Returns
    -------
    dict
        ``scale, translate, rotate, shear, affine, units, axis_labels`` for any ``add_*`` of a viewer.
    """
    more = 0 if leading is None else 1
    return {
        "scale": (*[1.0] * more, *layer.scale),
        "translate": (*[0.0] * more, *layer.translate),
        "rotate": _lower_right(np.asarray(layer.rotate), more),
        "shear": _lower_right(_shear_matrix(layer), more),
        "affine": _lower_right(np.asarray(layer.affine.affine_matrix), more),
        "units": (*["pixel"] * more, *map(str, layer.units)),
        "axis_labels": (*([leading] if leading else []), *layer.axis_labels),
    }


def _lower_right(matrix: np.ndarray, more: int) -> np.ndarray:
    """The matrix with ``more`` axes put before its own, left as they are."""
    result = np.eye(len(matrix) + more)
    result[more:, more:] = matrix
    return result


def _shear_matrix(layer: Layer) -> np.ndarray:
    """A layer's shear as a matrix; napari gives upper triangular ones as a flat list."""
    shear = np.asarray(layer.shear)
    if shear.ndim == 2:
        return shear
    matrix = np.eye(layer.ndim)
    matrix[np.triu_indices(layer.ndim, k=1)] = shear
    return matrix
