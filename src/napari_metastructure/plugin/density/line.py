"""A line drawn in a Shapes layer, and what maps hold along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.plugin.placement import ORIGIN

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer, Shapes

    from napari_metastructure.plugin.visible import VisiblePlane

COLOR = "#00e5ff"


@dataclass(frozen=True)
class Profile:
    """A map along a line.

    Attributes
    ----------
    name : str
        Of the map.
    distance : (K,) array
        From the line's beginning, in the unit of the bandwidth.
    density : (K,) array
        Relative to pixels spread evenly (1 = even); NaN outside the map.
    """

    name: str
    distance: np.ndarray
    density: np.ndarray


def add_line_layer(viewer: napari.Viewer, plane: VisiblePlane | None) -> Shapes:
    """A Shapes layer over a plane, ready to draw a line in."""
    where: dict[str, Any] = {} if plane is None else plane.placement()
    side = 256 if plane is None else max(plane.layer.level_shapes[0][-2:])
    layer = viewer.add_shapes(
        ndim=2, name="density line", edge_color=COLOR, edge_width=max(1.0, side / 200), metadata={ORIGIN: {}}, **where
    )
    layer.mode = "add_line"
    return layer


def last_line(layer: Shapes) -> np.ndarray | None:
    """The vertices of the line or path drawn last, (V, 2) world coordinates; None if there is none."""
    lines = [
        data
        for data, kind in zip(layer.data, layer.shape_type, strict=False)
        if kind in ("line", "path") and len(data) > 1
    ]
    if not lines:
        return None
    return np.array([np.asarray(layer.data_to_world(vertex))[-2:] for vertex in lines[-1]])


def profile(name: str, density: np.ndarray, vertices: np.ndarray, pixel: tuple[float, float]) -> Profile:
    """A map along a path, by linear interpolation about once a pixel.

    Parameters
    ----------
    name : str
        Of the map.
    density : (Y, X) float array
    vertices : (V, 2) array
        Y and X, in pixels of the map.
    pixel : (float, float)
        Size of a pixel along Y and X, in the unit of the distance.
    """
    from scipy.ndimage import map_coordinates

    lengths = np.linalg.norm(np.diff(vertices, axis=0), axis=1)
    if not lengths.any():
        return Profile(name, np.zeros(0), np.zeros(0))
    along = np.append(0, np.cumsum(lengths))
    places = np.linspace(0, along[-1], int(np.ceil(along[-1])) + 1)
    y, x = (np.interp(places, along, vertices[:, axis]) for axis in (0, 1))
    values = map_coordinates(density, [y, x], order=1, output=np.float64, cval=np.nan)
    steps = np.hypot(np.diff(y) * pixel[0], np.diff(x) * pixel[1])
    return Profile(name, np.append(0, np.cumsum(steps)), values * density.size)


def on_map(vertices: np.ndarray, source: Layer, image: Layer, home: Layer | None) -> np.ndarray:
    """A line on a map, in the map's pixels.

    A line drawn over the map, or over its labels, lies where it was drawn; one drawn elsewhere (side by side, in
    Figure 6) lies at the same place counted from the corner as in the layer it was drawn over.

    Parameters
    ----------
    vertices : (V, 2) array
        World coordinates.
    source, image : napari.layers.Layer
        The labels and their map.
    home : napari.layers.Layer or None
        What it was drawn over; None if over nothing that is compared.
    """
    if home is None:
        return to_pixels(vertices, image)
    for layer in (image, source):
        if holds(layer, vertices):
            return to_pixels(vertices, layer)
    there = to_pixels(vertices, home) * np.abs(home.scale[-2:])
    return np.asarray(there / np.abs(image.scale[-2:]))


def holds(layer: Layer, vertices: np.ndarray) -> bool:
    """Whether the middle of a line lies on a layer."""
    middle = to_pixels(vertices.mean(axis=0, keepdims=True), layer)[0]
    shape = np.array(layer.level_shapes[0][-2:])
    return bool(np.all(middle >= -0.5) and np.all(middle <= shape - 0.5))


def to_pixels(vertices: np.ndarray, layer: Layer) -> np.ndarray:
    """World coordinates along Y and X as pixels of a layer; along other axes, wherever the layer is."""
    world = np.tile(np.asarray(layer.data_to_world(np.zeros(layer.ndim))), (len(vertices), 1))
    world[:, -2:] = vertices
    return np.array([np.asarray(layer.world_to_data(point))[-2:] for point in world])
