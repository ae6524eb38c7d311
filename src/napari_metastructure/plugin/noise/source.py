"""A Labels layer as clean labels: how its numbers are read, and which classes its planes hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import Reading, as_classes, check_labels, classes_in, values_in
from napari_metastructure.plugin.placement import ORIGIN
from napari_metastructure.plugin.visible import full

if TYPE_CHECKING:
    from napari.layers import Labels


class Superseded(Exception):
    """What was asked for is not wanted any more; no error, for nobody waits for the answer."""


class Source:
    """The planes of a Labels layer as classes.

    What a number means follows from the values of all planes together (255 is a foreground or unlabelled), and so
    does the list of classes. The values of a plane are looked for once, and again when it was changed. All methods
    may be called from any thread.

    Parameters
    ----------
    layer : napari.layers.Labels
    reading : {"foreground", "objects", "classes"}
    """

    def __init__(self, layer: Labels, reading: Reading) -> None:
        self.layer = layer
        self.reading = reading
        self._lock = threading.Lock()
        self._values: dict[int, tuple[int, ...]] = {}
        self._changes = 0
        self._clean: tuple[int, tuple[int, ...], np.ndarray] | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"Layer {self.layer.name!r}"

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., Y, X) at full resolution."""
        return tuple(int(n) for n in full(self.layer).shape)

    @property
    def planes(self) -> int:
        """How many (Y, X) planes there are."""
        return int(np.prod(self.shape[:-2]))

    @property
    def changes(self) -> int:
        """Counts the calls of `forget`: equal numbers, equal pixels."""
        return self._changes

    def at(self, index: int) -> tuple[int, ...]:
        """Where a plane lies along the leading axes; the last of them runs fastest."""
        return tuple(int(i) for i in np.unravel_index(index, self.shape[:-2])) if self.shape[:-2] else ()

    def forget(self, planes: Iterable[int] | None = None) -> None:
        """These planes have changed, or all of them."""
        with self._lock:
            self._changes += 1
            self._clean = None
            if planes is None:
                self._values.clear()
            else:
                for index in planes:
                    self._values.pop(index, None)

    def values(self, wanted: Callable[[], bool], looked: Callable[[int], None] | None = None) -> tuple[int, ...]:
        """The values of all planes together, ascending.

        Parameters
        ----------
        wanted : callable
            Asked before each plane; what was found so far is kept when it says no.
        looked : callable, optional
            Told how many planes are done.

        Raises
        ------
        InputError
            For pixels that are no labels.
        Superseded
            If they are not wanted any more.
        """
        found: set[int] = set()
        for index in range(self.planes):
            if index not in self._values:
                if not wanted():
                    raise Superseded
                before, values = self._changes, self._look(self.pixels(index))
                with self._lock:
                    if before == self._changes:
                        self._values[index] = values
                found.update(values)
            else:
                found.update(self._values.get(index, ()))
            if looked is not None:
                looked(index + 1)
        return tuple(sorted(found))

    def classes(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """The classes that the values of all planes stand for, ascending.

        Raises
        ------
        InputError
            If they cannot be read this way, or no pixel is labelled.
        """
        return classes_in(np.array([list(self._meaning(values).values())]), self.name)

    def pixels(self, index: int) -> np.ndarray:
        """The (Y, X) pixels of a plane as they are."""
        return np.asarray(full(self.layer)[self.at(index)])

    def plane(self, index: int, values: tuple[int, ...]) -> np.ndarray:
        """A plane as clean labels; the one asked for last is kept.

        Parameters
        ----------
        index : int
        values : tuple of int
            Of all planes together, from `values`.

        Returns
        -------
        (Y, X) array
            Classes and 255; uint8 where that can hold them. Not to be written to.
        """
        kept = self._clean
        if kept is not None and kept[:2] == (index, values):
            return kept[2]
        before, clean = self._changes, self._read(self.pixels(index), values)
        with self._lock:
            if before == self._changes:
                self._clean = index, values, clean
        return clean

    @property
    def _ours(self) -> bool:
        """Whether this plugin made the labels: then 255 is unlabelled in them and never a foreground."""
        return ORIGIN in self.layer.metadata

    def _look(self, pixels: np.ndarray) -> tuple[int, ...]:
        # of objects not which numbers there are: they may be many
        return values_in(self._objects(pixels) if self.reading == "objects" else check_labels(pixels, self.name))

    def _meaning(self, values: tuple[int, ...]) -> dict[int, int]:
        """What each value is read as: 0, 1, ... or 255."""
        rest = [v for v in values if not (self._ours and v == UNLABELLED)]
        if not rest:
            raise InputError(f"{self.name}: every pixel is {UNLABELLED}, unlabelled; choose labels that say something.")
        read = dict(zip(rest, as_classes(np.array([rest]), self.reading, self.name)[0].tolist(), strict=True))
        return {v: read.get(v, UNLABELLED) for v in values}

    def _read(self, pixels: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
        if self.reading == "objects":
            return self._objects(pixels)
        pixels = check_labels(pixels, self.name)
        meaning = self._meaning(values)
        if all(read == value for value, read in meaning.items()):
            return pixels.astype(np.uint8) if values[-1] <= UNLABELLED else pixels
        clean = np.zeros(pixels.shape, np.uint8)
        for value, read in meaning.items():
            if read:
                clean[pixels == value] = read
        return clean

    def _objects(self, pixels: np.ndarray) -> np.ndarray:
        clean = as_classes(pixels, "objects", self.name)
        if self._ours:
            clean[pixels == UNLABELLED] = UNLABELLED
        return clean
