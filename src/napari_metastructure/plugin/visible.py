"""The slice of a layer that is on screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.plugin.placement import placement

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


@dataclass(frozen=True)
class VisiblePlane:
    """One (Y, X) plane of a layer.

    Attributes
    ----------
    layer : napari.layers.Layer
    index : int
        Its number among the planes of the layer, the last leading axis running fastest.
    at : tuple of int
        Its place along each leading axis.
    """

    layer: Layer
    index: int
    at: tuple[int, ...]

    def pixels(self) -> np.ndarray:
        """The (Y, X) pixels, those on screen; reads them from a lazy layer."""
        return np.asarray(full(self.layer)[self.at])

    def placement(self) -> dict[str, Any]:
        """Keyword arguments that lay a 2D layer over it; a 2D layer shows at every position of the sliders."""
        whole = placement(self.layer)
        sizes = {"rotate": 2, "shear": 2, "affine": 3}  # the affine matrix has a row more, for the shift
        return {key: value[-n:, -n:] if (n := sizes.get(key)) else value[-2:] for key, value in whole.items()}


def visible_plane(viewer: napari.Viewer, layer: Layer) -> VisiblePlane | None:
    """The plane of a layer where the viewer's sliders stand.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Layer
        Of two or more dimensions, the last two being Y and X; not RGB.

    Returns
    -------
    VisiblePlane or None
        None if the viewer shows other axes than Y and X, or stands outside the layer.
    """
    shape = full(layer).shape
    if viewer.dims.ndisplay != 2 or set(viewer.dims.displayed) != {viewer.dims.ndim - 2, viewer.dims.ndim - 1}:
        return None
    place = np.rint(layer.world_to_data(viewer.dims.point)).astype(int)[: len(shape) - 2]
    at = tuple(int(i) for i in place)
    if any(not 0 <= i < n for i, n in zip(at, shape, strict=False)):
        return None
    return VisiblePlane(layer, int(np.ravel_multi_index(at, shape[:-2])) if at else 0, at)


def full(layer: Layer) -> Any:
    """A layer's pixels, at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data
