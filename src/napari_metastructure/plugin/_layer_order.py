"""Order of layers: results right above their source and in front, with zoom and selection kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import napari
from napari.layers import Layer

from napari_metastructure.plugin._layers import is_from, origin_of


def add_above(viewer: napari.Viewer, source: Layer, layer: Layer) -> None:
    """Add a layer right above another and what belongs to that; selection, zoom and view stay as they are.

    Where the source was removed meanwhile, the layer comes on top.
    """
    layers = viewer.layers
    at = layers.index(_last_of(viewer, source)) + 1 if source in layers else len(layers)
    with kept_view(viewer):
        layers.insert(at, layer)


def bring_to_front(viewer: napari.Viewer, sources: Sequence[Layer]) -> None:
    """Move the selected of these layers, else the topmost, above the images that cover it, with what belongs to it."""
    layers = viewer.layers
    there = sorted((source for source in sources if source in layers), key=layers.index)
    if not there:
        return
    front = next((source for source in there if source is layers.selection.active), there[-1])
    above = layers[layers.index(front) + 1 :]
    group = [front, *(layer for layer in above if belongs(layer, front))]
    if covering := [layer for layer in above if layer not in group and covers(layer)]:
        with kept_view(viewer):
            anchor = _last_of(viewer, covering[-1], passing=group)
            for layer in group:
                layers.move(layers.index(layer), layers.index(anchor) + 1)
                anchor = layer


def belongs(layer: Layer, source: Layer) -> bool:
    """Tell whether a layer was made from another, or is named after it ("cells mask" after "cells")."""
    if "source" in origin_of(layer):
        return is_from(layer, source)
    rest = layer.name.removeprefix(source.name)
    return layer._type_string != "image" and rest != layer.name and not rest[:1].isalnum()


@contextmanager
def kept_view(viewer: napari.Viewer) -> Iterator[None]:
    """Put zoom, view and selection back after the block: napari resets them as layers with further axes come."""
    camera, dims, layers = viewer.scene.camera, viewer.dims, viewer.layers
    before = camera.center, camera.zoom, camera.angles, dims.ndisplay
    selected, active, first = set(layers.selection), layers.selection.active, not layers
    try:
        yield
    finally:
        if not first:  # the first layer of all is to be seen whole
            camera.center, camera.zoom, camera.angles, dims.ndisplay = before
            layers.selection = {layer for layer in selected if layer in layers}
            layers.selection.active = active if active in layers else None


def _last_of(viewer: napari.Viewer, source: Layer, passing: Sequence[Layer] = ()) -> Layer:
    """Return the topmost of the layers that follow a layer and belong to it; those ``passing`` do not end them."""
    last = source
    for layer in viewer.layers[viewer.layers.index(source) + 1 :]:
        if belongs(layer, source):
            last = layer
        elif layer not in passing:
            break
    return last


def covers(layer: Layer) -> bool:
    """Tell whether a layer hides those below it; labels and additive channels do not."""
    return layer._type_string == "image" and layer.visible and layer.opacity > 0 and "add" not in layer.blending
