"""Hear of everything that changes what a label layer shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer

PIXELS = ("data", "set_data", "labels_update", "paint")
"""Other data; a redraw (undo, or ``refresh`` after a write in place); each brush stroke while it is drawn; its end."""

WHOLE = ("data", "paint")
"""Those after which other slices than the one on screen may be others."""

SHAPES = ("data", "set_data")
"""Of a Shapes layer: set_data comes while a line is moved, data once it was."""

PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "name")


class Watch:
    """Calls back on events of the watched layers, and numbers the states of their pixels.

    A plain object: a Qt one could be deleted while its layers live on and call it.
    """

    def __init__(self, changed: Callable[[], None], pixels: Sequence[str] = PIXELS) -> None:
        self._changed = changed
        self._pixels = pixels
        self._numbers = count()
        self._stamps: dict[Layer, int] = {}
        self._wholes: dict[Layer, int] = {}
        self._listening: dict[Layer, list[tuple[Any, Callable[[Any], None]]]] = {}

    def follow(self, layers: Iterable[Layer]) -> None:
        """Watch these layers and no others."""
        wanted = set(layers)
        for layer in set(self._listening) - wanted:
            self._leave(layer)
        for layer in wanted - set(self._listening):
            self._stamps[layer] = self._wholes[layer] = next(self._numbers)
            pairs = [(getattr(layer.events, name), self._on_pixels(layer)) for name in self._pixels]
            pairs += [(getattr(layer.events, name), self._on_place) for name in PLACE]
            for emitter, callback in pairs:
                emitter.connect(callback)
            self._listening[layer] = pairs

    def stamp(self, layer: Layer) -> int:
        """A number that is another one whenever the pixels may be others."""
        return self._stamps[layer]

    def whole(self, layer: Layer) -> int:
        """As `stamp`, but not another one while the sliders or a brush are moved."""
        return self._wholes[layer]

    def forget(self) -> None:
        """Take all pixels for changed: a write in place that was not followed by ``refresh`` tells nobody."""
        for layer in self._stamps:
            self._stamps[layer] = self._wholes[layer] = next(self._numbers)

    def release(self) -> None:
        """Let go of all layers."""
        for layer in list(self._listening):
            self._leave(layer)

    def _on_pixels(self, layer: Layer) -> Callable[[Any], None]:
        def on_pixels(event: Any) -> None:
            self._stamps[layer] = next(self._numbers)
            if event.type in WHOLE:
                self._wholes[layer] = self._stamps[layer]
            self._changed()

        return on_pixels

    def _on_place(self, event: Any) -> None:
        self._changed()

    def _leave(self, layer: Layer) -> None:
        for emitter, callback in self._listening.pop(layer):
            emitter.disconnect(callback)
        del self._stamps[layer], self._wholes[layer]
