"""Strokes of a user in a layer of their own: which pixels of which planes are objects, which are background."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_metastructure import errors
from napari_metastructure.labels import UNLABELLED

OBJECT, BACKGROUND = 1, 2
"""Values of a layer of strokes; 0 is not painted, any other is an object."""

CLASSES = {OBJECT: "object", BACKGROUND: "background", 0: "erased"}

BRUSHES = ("paint", "erase", "fill", "polygon")
"""Modes of a Labels layer in which a click changes pixels."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """One stroke of a brush, bucket or polygon.

    Attributes
    ----------
    dabs : tuple of (array of int, int)
        Flat indices into the layer's data and the value that they got, in the order they were painted.
    back : Stroke or None
        The stroke that this one took back.
    """

    dabs: tuple[tuple[np.ndarray, int], ...]
    back: Stroke | None = None
    history: Any = field(default=(), repr=False)
    """What napari's history holds of it; known by identity."""
    number: int = field(default_factory=count().__next__, repr=False)
    """Counts strokes as they are made, on whichever image."""

    @property
    def pixels(self) -> np.ndarray:
        """All its pixels, as flat indices in order."""
        return np.unique(np.concatenate([pixels for pixels, _ in self.dabs]))

    @property
    def value(self) -> int:
        """What it painted last: 0 erased, 1 object, 2 background."""
        return self.dabs[-1][1]


class Strokes:
    """All strokes on one image.

    A brush that goes over pixels which have its class already counts there too: so a stroke that is taken back leaves
    what another one covers. napari's undo history holds those pixels alone that changed, so the brush is watched.

    Parameters
    ----------
    layer : Labels
        uint8, of the image's shape; see `OBJECT` and `BACKGROUND`.
    changed : callable
        Called after each stroke and undo, and when a brush is taken up or put away.
    """

    def __init__(self, layer: Labels, changed: Callable[[], None] = lambda: None) -> None:
        self.layer, self._changed = layer, changed
        self._done: list[Stroke] = []
        self._staged: list[tuple[np.ndarray, int]] = []
        self._gone: set[int] = set()  # what was undone when last looked at
        self._back: Stroke | None = None
        self._early = False  # told of a stroke whose pixels come next
        self._touched: set[int] = set()  # planes that were ever painted on
        layer.events.paint.connect(self._on_paint)
        for drawn in (layer.events.set_data, layer.events.labels_update):
            drawn.connect(self._on_drawn)
        layer.events.mode.connect(lambda: self._changed())
        layer.events.selected_label.connect(lambda: self._changed())
        # Every tool of napari ends here, before it leaves out pixels that would not change.
        if (apply := getattr(layer, "_apply_mask_to_data", None)) is not None:

            def watched(data: np.ndarray, mask: np.ndarray, label: int, where: tuple[slice, ...]) -> Any:
                if not layer.preserve_labels:
                    self._staged.append((self._flat(_within(where, mask)), _class(label)))
                return apply(data, mask, label, where)

            layer._apply_mask_to_data = watched

    def strokes(self) -> list[Stroke]:
        """Return the strokes that count, oldest first: not those that were undone or taken back."""
        undone = self._undone()
        done = [stroke for stroke in self._done if not any(id(atom) in undone for atom in stroke.history)]
        back = [stroke.back for stroke in done if stroke.back is not None]
        return [stroke for stroke in done if stroke.back is None and stroke not in back]

    def take_back(self, stroke: Stroke) -> None:
        """Make it as if a stroke had never been: pixels get what the others say. napari's undo brings it back."""
        pixels = stroke.pixels
        values = np.zeros(len(pixels), np.uint8)
        for other in self.strokes():
            for covered, value in other.dabs if other is not stroke else ():
                values[np.isin(pixels, covered)] = value
        self._back, before = stroke, len(self._done)
        self.layer.data_setitem(np.unravel_index(pixels, self.layer.data.shape), values)
        self._back = None
        if len(self._done) == before:  # others cover all of it; it is there again once they are undone
            over = [other for other in self.strokes() if other is not stroke and np.isin(pixels, other.pixels).any()]
            self._add(Stroke(stroke.dabs, stroke, tuple(atom for other in over for atom in other.history)))
            self._changed()

    def restore(self, corrections: Mapping[int, np.ndarray]) -> None:
        """Show corrections of an earlier run, by plane, as strokes before all others."""
        planes = self._pages()
        for plane, pixels in corrections.items():
            given = np.select([pixels == 1, pixels == 0], [OBJECT, BACKGROUND]).astype(np.uint8)
            np.copyto(planes[plane], given, where=planes[plane] == 0)
            for value in np.unique(given[given > 0]):
                self._add(Stroke(((np.flatnonzero(given == value) + plane * given.size, int(value)),)), first=True)
        self.layer.refresh(extent=False)
        self._changed()

    def corrections(self) -> dict[int, np.ndarray]:
        """Return what is painted, by plane: (Y, X) uint8 of 1, 0 and 255 (not painted)."""
        planes = self._pages()
        result = {plane: planes[plane] for plane in sorted(self._touched) if planes[plane].any()}
        return {
            plane: np.where(pixels == 0, UNLABELLED, pixels != BACKGROUND).astype(np.uint8)
            for plane, pixels in result.items()
        }

    def plane(self, stroke: Stroke) -> int:
        """Return the plane that a stroke began on."""
        return int(stroke.dabs[0][0][0] // self._pages()[0].size)

    def _pages(self) -> np.ndarray:
        return self.layer.data.reshape(-1, *self.layer.data.shape[-2:])

    def _add(self, stroke: Stroke, first: bool = False) -> None:
        self._done.insert(0 if first else len(self._done), stroke)
        self._touched |= set((stroke.pixels // self._pages()[0].size).tolist())

    def _on_paint(self, event: Any) -> None:
        """Close a stroke; one that was not watched (a script's) is read from napari's history."""
        self._done = [s for s in self._done if not any(id(atom) in self._gone for atom in s.history)]  # for good
        self._gone = set()
        dabs, self._staged = self._staged, []
        for atom in () if dabs else event.value:
            where, given = atom[0], np.asarray(atom[-1])
            indices = _within(where, atom[1]) if isinstance(where[0], slice) else where
            flat, values = self._flat(indices), np.broadcast_to(given, np.shape(indices[0]))
            dabs += [(flat[values == value], _class(value)) for value in np.unique(values)]
        pixels = self.layer.data.flat
        self._early = any(len(flat) and _class(pixels[flat[-1]]) != value for flat, value in dabs[-1:])
        self._add(Stroke(_joined(dabs), self._back, tuple(event.value)))
        self._changed()

    def _on_drawn(self, event: Any = None) -> None:
        undone = self._undone()
        if self._early or undone != self._gone:  # napari sends no event for an undo
            self._early, self._gone = False, undone
            self._changed()

    def _undone(self) -> set[int]:
        return {id(atom) for item in self.layer._redo_history for atom in item}

    def _flat(self, indices: tuple[np.ndarray, ...]) -> np.ndarray:
        return np.ravel_multi_index(indices, self.layer.data.shape)


def _class(label: Any) -> int:
    return int(label) if label in CLASSES else OBJECT


def _within(where: tuple[slice, ...], mask: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Return the indices of a mask that lies in a box of an array; of all of the box without a mask."""
    sizes = [part.stop - part.start for part in where]
    inside = np.nonzero(np.ones(sizes, bool) if mask is None else mask)
    return tuple(axis + part.start for axis, part in zip(inside, where, strict=True))


def _joined(dabs: Iterable[tuple[np.ndarray, int]]) -> tuple[tuple[np.ndarray, int], ...]:
    """Make one of dabs in a row that have the same value: a brush goes over each pixel many times."""
    joined: list[tuple[list[np.ndarray], int]] = []
    for pixels, value in dabs:
        if joined and joined[-1][1] == value:
            joined[-1][0].append(pixels)
        else:
            joined.append(([pixels], value))
    return tuple((np.unique(np.concatenate(parts)), value) for parts, value in joined)


def same(one: Mapping[int, np.ndarray], other: Mapping[int, np.ndarray]) -> bool:
    """Whether two sets of corrections lock the same pixels."""
    return one.keys() == other.keys() and all(np.array_equal(one[plane], other[plane]) for plane in one)


def painted_in_words(corrections: Mapping[int, np.ndarray]) -> str:
    """Say how many pixels of which class are painted."""
    objects, background = (sum(int(np.sum(c == value)) for c in corrections.values()) for value in (1, 0))
    return f"{errors.counted(objects, 'pixel')} as object and {background:,} as background"
