"""Label planes as classes: what their numbers mean is settled by the whole layer, not by one slice of it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import Reading, as_classes, check_labels, values_in

KEPT = 4
"""Planes remembered: while a dial is turned they are not read anew."""


@dataclass(frozen=True)
class Pixels:
    """The labels of one plane, not read yet.

    Attributes
    ----------
    name : str
        Of the layer.
    data : array
        Of the layer, (..., Y, X); may be lazy.
    at : tuple of int
        Which plane of it.
    ours : bool
        Made by this plugin, so that 255 is unlabelled in it and never a foreground.
    stamp, whole : hashable
        Equal only for equal pixels of the plane, and of the layer.
    """

    name: str
    data: Any
    at: tuple[int, ...]
    ours: bool
    stamp: Hashable
    whole: Hashable


class Reader:
    """Reads planes as classes; remembers the last ones, and of which layers 255 is unlabelled."""

    def __init__(self) -> None:
        self._planes: dict[Hashable, tuple[np.ndarray, tuple[int, ...]]] = {}
        self._unlabelled: dict[Hashable, bool] = {}

    def read(self, pixels: Pixels, reading: Reading) -> tuple[np.ndarray, tuple[int, ...]]:
        """The (Y, X) pixels of a plane as classes, and which classes there are, ascending.

        Raises
        ------
        InputError
            If they are no labels, or not of this reading.
        """
        key = (pixels.stamp, reading, pixels.ours)
        if key not in self._planes:
            plane = self._read(pixels, reading)
            classes = tuple(value for value in values_in(plane) if value != UNLABELLED)
            while len(self._planes) >= KEPT:
                del self._planes[next(iter(self._planes))]
            self._planes[key] = plane, classes
        return self._planes[key]

    def _read(self, pixels: Pixels, reading: Reading) -> np.ndarray:
        name = f"Layer {pixels.name!r}"
        plane = check_labels(np.asarray(pixels.data[pixels.at]), name)
        unlabelled = pixels.ours
        if not unlabelled and reading != "objects" and pixels.at and holds_only_ends(plane):
            if pixels.whole not in self._unlabelled:
                self._unlabelled[pixels.whole] = has_unlabelled(pixels.data)
            unlabelled = self._unlabelled[pixels.whole]
        return read_classes(plane, reading, name, unlabelled)


def holds_only_ends(plane: np.ndarray) -> bool:
    """Whether a plane holds 255 beside nothing but 0: then it cannot say which of both meanings 255 has."""
    return UNLABELLED in (values := values_in(plane)) and set(values) <= {0, UNLABELLED}


def has_unlabelled(data: Any) -> bool:
    """Whether 255 is unlabelled in a stack: it is where some plane has classes beside 0 and 255.

    A stack that is not in memory is not read for this: each of its planes is taken by itself.
    """
    if not isinstance(data, np.ndarray):
        return False
    planes = (
        data.reshape(-1, *data.shape[-2:])
        if data.flags.c_contiguous
        else (data[i] for i in np.ndindex(data.shape[:-2]))
    )
    return any(not set(values_in(plane)) <= {0, UNLABELLED} for plane in planes)


def read_classes(plane: np.ndarray, reading: Reading, name: str, unlabelled: bool) -> np.ndarray:
    """Labels as classes, as `as_classes`; if ``unlabelled``, 255 beside 0 is unlabelled and not a foreground.

    Raises
    ------
    InputError
        As `as_classes`.
    """
    if not unlabelled:
        return as_classes(plane, reading, name)
    labels = check_labels(plane, name)
    gaps = labels == UNLABELLED
    classes = as_classes(np.where(gaps, labels.dtype.type(0), labels), reading, name)
    return np.where(gaps, classes.dtype.type(UNLABELLED), classes) if gaps.any() else classes
