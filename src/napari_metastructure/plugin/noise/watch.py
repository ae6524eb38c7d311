"""Hear of everything that changes what a source's preview shows: its pixels, its place, the viewer's sliders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.plugin.visible import visible_plane

if TYPE_CHECKING:
    import napari

    from napari_metastructure.plugin.noise.source import Source

MOVED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "name")


class Watch:
    """Calls ``changed()`` when a preview has to be drawn anew, after telling the source which planes to forget.

    A plain object: it can let go of the viewer when the widget that has it is deleted already.
    """

    def __init__(self, viewer: napari.Viewer, changed: Callable[[], None]) -> None:
        self.viewer = viewer
        self.source: Source | None = None
        self._changed = changed
        self._history: tuple[int, int] = (0, 0)
        self._shown: tuple[int, ...] | None = None
        for event in self._sliders():
            event.connect(self._on_slider)

    def follow(self, source: Source | None) -> None:
        """Follow another source, or none."""
        self._disconnect()
        self.source = source
        if source is not None:
            self._history, self._shown = _history(source.layer), self._at()
            for event, listener in self._events():
                event.connect(listener)

    def release(self) -> None:
        """Let go of layer and viewer."""
        self._disconnect()
        self.source = None
        for event in self._sliders():
            event.disconnect(self._on_slider)

    def _disconnect(self) -> None:
        if self.source is not None:
            for event, listener in self._events():
                event.disconnect(listener)

    def _sliders(self) -> tuple[Any, ...]:
        events = self.viewer.dims.events
        return events.point, events.ndisplay, events.order

    def _events(self) -> list[tuple[Any, Callable[[Any], None]]]:
        assert self.source is not None
        events = self.source.layer.events
        return [
            (events.data, self._on_data),
            (events.paint, self._on_paint),
            (events.labels_update, self._on_drawn),
            (events.set_data, self._on_drawn),
            *((getattr(events, name), self._on_moved) for name in MOVED),
        ]

    def _on_data(self, event: Any) -> None:
        """Other pixels altogether."""
        assert self.source is not None
        self.source.forget()
        self._history = _history(self.source.layer)
        self._changed()

    def _on_paint(self, event: Any) -> None:
        """The brush, or a script that edits as it does; the event has what napari's undo will need."""
        assert self.source is not None
        for atom in event.value:
            self.source.forget(_planes(atom[0], self.source.shape[:-2]))
        self._history = _history(self.source.layer)
        self._changed()

    def _on_drawn(self, event: Any) -> None:
        """Drawn anew: a brush on its way, an undo (wherever it was), a refresh by a script; or the slider was moved."""
        assert self.source is not None
        at, history = self._at(), _history(self.source.layer)
        if history != self._history:
            self._history = history
            self.source.forget()
        elif at is not None and at == self._shown:
            self.source.forget([int(np.ravel_multi_index(at, self.source.shape[:-2])) if at else 0])
        self._shown = at
        self._changed()

    def _on_moved(self, event: Any) -> None:
        self._changed()

    def _on_slider(self, event: Any) -> None:
        if self.source is not None:
            self._changed()

    def _at(self) -> tuple[int, ...] | None:
        assert self.source is not None
        plane = visible_plane(self.viewer, self.source.layer)
        return None if plane is None else plane.at


def _history(layer: Any) -> tuple[int, int]:
    """Lengths of a layer's undo and redo lists: napari does not tell of an undo, but it moves one item."""
    return len(getattr(layer, "_undo_history", ())), len(getattr(layer, "_redo_history", ()))


def _planes(place: Any, leading: tuple[int, ...]) -> list[int]:
    """The planes that a place in a layer (slices, or arrays of indices, one for each axis) touches."""
    if not leading:
        return [0]
    axes = place[: len(leading)]
    if any(isinstance(axis, slice) for axis in axes):
        ranges = [range(n)[a] if isinstance(a, slice) else np.unique(a) for a, n in zip(axes, leading, strict=True)]
        grid = np.meshgrid(*(np.asarray(r) for r in ranges), indexing="ij")
        return [int(i) for i in np.ravel_multi_index(grid, leading, mode="clip").ravel()]
    return [
        int(i) for i in np.unique(np.ravel_multi_index(tuple(np.atleast_1d(a) for a in axes), leading, mode="clip"))
    ]
