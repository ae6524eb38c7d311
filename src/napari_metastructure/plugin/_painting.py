"""Strokes of a brush, bucket or polygon on a masks layer: which pixels of which planes a user has decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.labels import UNLABELLED

if TYPE_CHECKING:
    from napari.layers import Labels

BRUSHES = ("paint", "erase", "fill", "polygon")
"""Modes of a Labels layer in which a click changes pixels."""


@dataclass(frozen=True)
class Dab:
    """Pixels that got one value, as flat indices into a layer's data."""

    pixels: np.ndarray
    object: bool


class Strokes:
    """What a user painted on a masks layer whose first axis is that of epochs, in the order it was painted.

    Pixels that had the value of the brush already count as painted: who paints over half an object means all of it.
    napari's undo history holds those alone that changed, so the brush is watched as well. A stroke that was undone
    counts for nothing.
    """

    def __init__(self, masks: Labels) -> None:
        self.masks = masks
        self._done: list[tuple[set[int], list[Dab], Any]] = []  # what napari's history holds of a stroke, by identity
        self._staged: list[Dab] = []
        masks.events.paint.connect(self._on_paint)
        # Every tool of napari ends here, before it leaves out pixels that would not change.
        if (apply := getattr(masks, "_apply_mask_to_data", None)) is not None:

            def watched(data: np.ndarray, mask: np.ndarray, label: int, where: tuple[slice, ...]) -> Any:
                if not masks.preserve_labels:
                    self._forget_undone()  # napari is about to forget them too
                    self._staged.append(Dab(self._flat(_within(where, mask)), label > 0))
                return apply(data, mask, label, where)

            masks._apply_mask_to_data = watched

    def corrections(self) -> dict[int, np.ndarray]:
        """Return what was painted, by plane: (Y, X) uint8 of 1, 0 and 255 (not painted); later strokes win."""
        shape = self.masks.data.shape
        result: dict[int, np.ndarray] = {}
        undone = self._undone()
        strokes = [dabs for atoms, dabs, _ in self._done if not atoms & undone]
        for dab in (dab for dabs in (*strokes, self._staged) for dab in dabs):
            page = np.prod(shape[1:], dtype=int)
            plane, pixel = np.divmod(dab.pixels % page, shape[-2] * shape[-1])
            for number in np.unique(plane):
                pixels = result.setdefault(int(number), np.full(shape[-2:], UNLABELLED, np.uint8))
                pixels.flat[pixel[plane == number]] = dab.object
        return result

    def _on_paint(self, event: Any) -> None:
        """Close a stroke; one that was not watched (a script's) is read from napari's history."""
        self._forget_undone()
        dabs, self._staged = self._staged, []
        for atom in () if dabs else event.value:
            where, given = atom[0], np.asarray(atom[-1])
            indices = _within(where, atom[1]) if isinstance(where[0], slice) else where
            flat, values = self._flat(indices), np.broadcast_to(given > 0, np.shape(indices[0]))
            dabs += [Dab(flat[values == value], value) for value in (False, True)]
        self._done.append(({id(atom) for atom in event.value}, _joined(dabs), event.value))

    def _flat(self, indices: tuple[np.ndarray, ...]) -> np.ndarray:
        return np.ravel_multi_index(indices, self.masks.data.shape)

    def _undone(self) -> set[int]:
        return {id(atom) for item in self.masks._redo_history for atom in item}

    def _forget_undone(self) -> None:
        if undone := self._undone():
            self._done = [stroke for stroke in self._done if not stroke[0] & undone]


def _within(where: tuple[slice, ...], mask: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Return the indices of a mask that lies in a box of an array; of all of the box without a mask."""
    sizes = [part.stop - part.start for part in where]
    inside = np.nonzero(np.ones(sizes, bool) if mask is None else mask)
    return tuple(axis + part.start for axis, part in zip(inside, where, strict=True))


def _joined(dabs: Iterable[Dab]) -> list[Dab]:
    """Make one of dabs in a row that have the same value: a brush goes over each pixel many times."""
    joined: list[Dab] = []
    for dab in dabs:
        if joined and joined[-1].object == dab.object:
            joined[-1] = Dab(np.union1d(joined[-1].pixels, dab.pixels), dab.object)
        else:
            joined.append(dab)
    return joined


def same(one: Mapping[int, np.ndarray], other: Mapping[int, np.ndarray]) -> bool:
    """Whether two sets of corrections lock the same pixels."""
    return one.keys() == other.keys() and all(np.array_equal(one[plane], other[plane]) for plane in one)


def counted(corrections: Mapping[int, np.ndarray]) -> str:
    """Say how many pixels of which class are painted."""
    objects, background = (sum(int(np.sum(c == value)) for c in corrections.values()) for value in (1, 0))
    return f"{objects:,} pixels as object and {background:,} as background"
