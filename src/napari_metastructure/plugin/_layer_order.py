"""Order and place of results: right above their source, on it wherever it is moved; zoom and selection are kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, ref

import napari
import numpy as np
from napari.layers import Layer

from napari_metastructure.plugin._layers import is_from, origin_of, placement

Where = Callable[[], Mapping[str, Any]]
"""Says where a result lies on its source as that lies now, see `_layers.placement`."""

GEOMETRY = ("scale", "translate", "rotate", "shear", "affine")
"""Of it, what moves pixels."""


def add_above(
    viewer: napari.Viewer,
    source: Layer,
    layer: Layer,
    where: Where | None = None,
    replaced: Sequence[Layer] = (),
) -> None:
    """Add a layer right above another and what belongs to that; selection, zoom and view stay as they are.

    Where the source was removed meanwhile, the layer comes on top. Given ``where`` it lies, it stays there, see
    `stay_on`; without, it does already. What it replaces, see `earlier`, is taken away.
    """
    if where is not None:
        stay_on(source, layer, where)
    layers = viewer.layers
    selected = layers.selection.active in replaced
    with kept_view(viewer):
        for before in replaced:
            layers.remove(before)
        at = layers.index(_last_of(viewer, source)) + 1 if source in layers else len(layers)
        layers.insert(at, layer)
    note_as_made(layer)
    if selected:
        layers.selection.active = layer


_as_made: WeakKeyDictionary[Layer, tuple[str, Any]] = WeakKeyDictionary()


def note_as_made(layer: Layer) -> None:
    """Note the name and the pixels that a result has now, see `is_untouched`."""
    _as_made[layer] = layer.name, ref(layer.data)


def is_untouched(layer: Layer) -> bool:
    """Whether a result is as it was made: neither painted on nor given other pixels or another name."""
    name, pixels = _as_made.get(layer, ("", lambda: None))
    return layer.name == name and layer.data is pixels() and not getattr(layer, "_undo_history", ())


def is_replaceable(viewer: napari.Viewer, layer: Layer) -> bool:
    """Whether a result may give way to a newer one: the user has left it alone, and nothing was made from it."""
    return is_untouched(layer) and not any(is_from(other, layer) for other in viewer.layers)


def earlier(viewer: napari.Viewer, layer: Layer, source: Layer, *same: str) -> list[Layer]:
    """Return what a result made from a layer replaces: what was made before with the same metadata, and left alone."""
    how = [origin_of(layer).get(key) for key in same]
    return [
        other
        for other in viewer.layers
        if type(other) is type(layer)
        and is_from(other, source)
        and [origin_of(other).get(key) for key in same] == how
        and is_replaceable(viewer, other)
    ]


def stay_on(source: Layer, layer: Layer, where: Where) -> Callable[[], None]:
    """Keep a layer on its source as that is moved, scaled or turned; one that the user has moved himself stays there.

    Parameters
    ----------
    source, layer : Layer
        The source does not keep the layer in memory.
    where : callable
        It does not hold the layer either.

    Returns
    -------
    callable
        Puts the layer in its place, after ``where`` says another.
    """
    there = ref(layer)
    last: Mapping[str, Any] = {}

    def put(event: Any = None) -> None:
        nonlocal last
        if (layer := there()) is None:
            for emitter in emitters:
                emitter.disconnect(put)
            return
        now, before, last = placement(layer), last, where()
        if before and not all(_same(now[key], before[key]) for key in GEOMETRY):
            return
        for key, value in last.items():
            changed = not before or not _same(before[key], value)
            if changed and not _same(now[key], value):  # napari redraws at each
                setattr(layer, key, value)

    put()
    emitters = [source.events[key] for key in last]
    for emitter in emitters:
        emitter.connect(put)
    return put


def _same(one: Any, other: Any) -> bool:
    """Whether a layer has what it was given: napari computes rotation and shear again from their matrix."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape or one.dtype.kind in "US":
        return bool(np.array_equal(one, other))
    return bool(np.allclose(one, other, atol=1e-9 * np.abs(one).max(initial=0)))  # steps in metres are tiny


def bring_to_front(viewer: napari.Viewer, sources: Sequence[Layer]) -> None:
    """Move the selected of these layers, else the topmost, above the images that cover it, with what belongs to it."""
    layers = viewer.layers
    there = sorted((source for source in sources if source in layers), key=layers.index)
    if not there:
        return
    front = next((source for source in there if source is layers.selection.active), there[-1])
    above = list(layers)[layers.index(front) + 1 :]
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
    for layer in list(viewer.layers)[viewer.layers.index(source) + 1 :]:
        if belongs(layer, source):
            last = layer
        elif layer not in passing:
            break
    return last


def covers(layer: Layer) -> bool:
    """Tell whether a layer hides those below it; labels and additive channels do not."""
    return layer._type_string == "image" and layer.visible and layer.opacity > 0 and "add" not in layer.blending
