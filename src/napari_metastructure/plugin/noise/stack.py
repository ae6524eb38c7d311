"""Noise on all planes of a source, in a background thread."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.recipes import apply_to_plane
from napari_metastructure.labels.transition import TransitionMatrix, count_pairs, from_counts
from napari_metastructure.plugin.noise.draw import Order, recipe_name
from napari_metastructure.plugin.noise.source import Superseded


@dataclass(frozen=True)
class Stack:
    """All planes with noise.

    Attributes
    ----------
    order : Order
    labels : array in the shape of the source
    classes : tuple of int
    transition : TransitionMatrix or None
        In closed form, else counted on all planes; None where nothing could be counted.
    sums : tuple of int
        Checksum of each plane as it was read.
    """

    order: Order
    labels: np.ndarray
    classes: tuple[int, ...]
    transition: TransitionMatrix | None
    sums: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the noise, as part of a layer's: ``RCL flip 0.45``."""
        return "noise" if self.order.recipe is None else recipe_name(self.order.recipe)

    def origin(self) -> dict[str, Any]:
        """For the layer's metadata."""
        return self.order.origin(self.classes, self.transition)


class StackJob:
    """Draws all planes; ``done`` of ``planes`` tells how far it is, ``stop`` ends it at the next plane."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.planes = 2 * order.source.planes  # every plane is read for its classes first
        self.done = 0
        self.stop = threading.Event()

    def __call__(self) -> Stack:
        """Draw.

        Raises
        ------
        InputError
            If recipe and source do not fit.
        Superseded
            If it was stopped.
        """
        source, recipe = self.order.source, self.order.recipe
        assert recipe is not None
        values = source.values(lambda: not self.stop.is_set(), self._looked)
        classes = source.classes(values)
        transition = recipe.transition(classes)
        counts = np.zeros((len(classes), len(classes) + 1), np.int64)
        labels = self._room(classes)
        planes, sums = labels.reshape(-1, *labels.shape[-2:]), []
        for index in range(len(planes)):
            if self.stop.is_set():
                raise Superseded
            sums.append(checksum(source.pixels(index)))
            clean = source.plane(index, values)
            planes[index] = apply_to_plane(recipe, clean, (), self.order.seed, classes, first=index)
            if transition is None:
                counts += count_pairs(clean, planes[index], classes)
            self.done += 1
        if transition is None and counts[:, :-1].any():
            transition = from_counts(classes, counts)
        return Stack(self.order, labels, classes, transition, tuple(sums))

    def _looked(self, planes: int) -> None:
        self.done = planes

    def _room(self, classes: tuple[int, ...]) -> np.ndarray:
        source = self.order.source
        kind = np.uint8 if classes[-1] < UNLABELLED else source.pixels(0).dtype
        try:
            return np.empty(source.shape, kind)
        except MemoryError:
            size = np.prod(source.shape, dtype=float) * np.dtype(kind).itemsize / 2**30
            raise InputError(
                f"{source.name}: its noisy labels need {size:.1f} GiB of memory, more than is free."
            ) from None


def checksum(pixels: np.ndarray) -> int:
    """A number that tells whether pixels have changed."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)
