"""What the numbers of a label image mean: which are classes, which pixels carry none."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED

Reading = Literal["foreground", "objects", "classes"]
"""How a label image is meant: 0 and one other value; instance numbers, all of them foreground; classes."""

MOST_CLASSES = 254
"""Class codes are uint8 with 255 for unlabelled."""

_BLOCK = 1 << 20


def check_labels(labels: Any, name: str = "The labels") -> np.ndarray:
    """A label image as an array, if it is one.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
    name : str
        What the message calls it.

    Returns
    -------
    (..., Y, X) array
        The same pixels; booleans as uint8.

    Raises
    ------
    InputError
        For floats, fewer than two axes, no pixel, or negative numbers.
    """
    array = np.asarray(labels)
    if array.dtype == bool:
        array = array.view(np.uint8)
    if array.dtype.kind not in "iu":
        raise InputError(f"{name}: pixels of type {array.dtype} are no labels; convert them to integers first.")
    if array.ndim < 2:
        raise InputError(f"{name}: shape {array.shape} is no image; labels need the axes Y and X at least.")
    if not array.size:
        raise InputError(f"{name}: there are no pixels (shape {array.shape}); choose labels that are not empty.")
    if array.dtype.kind == "i" and (low := int(array.min())) < 0:
        raise InputError(f"{name}: the label {low} is negative; labels are 0 for background and 1, 2, ... for classes.")
    return array


def values_in(labels: np.ndarray) -> tuple[int, ...]:
    """The values of a label image, ascending, each once.

    Parameters
    ----------
    labels : array of integers, none of them negative
        Marked off in a table; only values from 2**24 on are sorted.
    """
    if labels.dtype.itemsize == 1:
        return _byte_values(labels.view(np.uint8))
    top = int(labels.max())
    if top >= 1 << 24:
        return tuple(np.unique(np.concatenate([np.unique(block) for block in blocks(labels)])).tolist())
    found = np.zeros(top + 1, dtype=bool)
    for block in blocks(labels, size=1 << 16):
        found[block.astype(np.intp, copy=False)] = True
    return tuple(np.flatnonzero(found).tolist())


def _byte_values(labels: np.ndarray) -> tuple[int, ...]:
    """Values of a uint8 array, by counting its pixels; of large ones in pairs, half as many."""
    if labels.size < 1 << 18:  # the 65536 pairs would take longer
        return tuple(np.flatnonzero(np.bincount(labels.reshape(-1))).tolist())
    pairs = np.zeros(1 << 16, dtype=np.int64)
    for block in blocks(labels):
        if block.size % 2:
            block = np.append(block, block[-1])
        pairs += np.bincount(np.ascontiguousarray(block).view(np.uint16), minlength=pairs.size)
    table = pairs.reshape(256, 256) > 0
    return tuple(np.flatnonzero(table.any(axis=0) | table.any(axis=1)).tolist())


def classes_in(labels: np.ndarray, name: str = "The labels") -> tuple[int, ...]:
    """The classes of a label image: its values without 255, ascending.

    Raises
    ------
    InputError
        As `check_labels`; if every pixel is unlabelled; if there are more than `MOST_CLASSES` classes.
    """
    classes = tuple(value for value in values_in(check_labels(labels, name)) if value != UNLABELLED)
    if not classes:
        raise InputError(f"{name}: every pixel is {UNLABELLED}, unlabelled; choose labels that say something.")
    if len(classes) > MOST_CLASSES:
        raise InputError(
            f"{name}: {len(classes)} different labels look like instance numbers, not classes; "
            "read them as objects, or relabel them by class."
        )
    return classes


def as_classes(labels: Any, reading: Reading, name: str = "The labels") -> np.ndarray:
    """A label image as classes.

    A mask of 0 and 255 alone is taken as background and foreground: with 255 as unlabelled it would say nothing.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed.
    reading : {"foreground", "objects", "classes"}
        ``foreground``: 0 and one other value, which becomes 1 (255 beside it stays unlabelled).
        ``objects``: every number but 0 becomes 1. ``classes``: as they are.
    name : str
        What the message calls them.

    Returns
    -------
    (..., Y, X) array
        uint8 of 0, 1 and 255; for ``classes`` the input's dtype and values.

    Raises
    ------
    InputError
        As `check_labels`; for instance numbers where foreground and background are meant.
    """
    array = check_labels(labels, name)
    if reading == "objects":
        return (array != 0).astype(np.uint8)
    values = values_in(array)
    if set(values) <= {0, UNLABELLED}:
        return (array != 0).astype(np.uint8)
    if reading == "classes":
        return array
    foreground = [value for value in values if value not in (0, UNLABELLED)]
    if len(foreground) > 1:
        raise InputError(
            f"{name}: {len(foreground)} different labels besides 0 are not foreground and background; read them as "
            "objects (every number is foreground) or as classes."
        )
    result = (array == foreground[0]).astype(np.uint8)
    if UNLABELLED in values and foreground[0] != UNLABELLED:
        result[array == UNLABELLED] = UNLABELLED
    return result


def check_classes(
    labels: np.ndarray, classes: Sequence[int] | None, name: str = "The labels", *, may_be_empty: bool = False
) -> tuple[int, ...]:
    """The classes given, or those present; every label has to be one of them.

    Parameters
    ----------
    labels : (..., Y, X) array of integers
    classes : sequence of int, optional
    name : str
        What messages call the labels.
    may_be_empty : bool
        Let a plane that is unlabelled throughout pass if the classes are given: its stack may say more.

    Raises
    ------
    InputError
        As `classes_in` and `check_class_list`; if a pixel has a label that is not in the list.
    """
    if classes is None:
        return classes_in(labels, name)
    chosen = check_class_list(classes)
    present = set(values_in(labels)) - {UNLABELLED} if may_be_empty else set(classes_in(labels, name))
    if strangers := sorted(present - set(chosen)):
        raise InputError(f"{name}: the label {strangers[0]} is none of the classes {listed(chosen)}; add it to them.")
    return chosen


def check_class_list(classes: Sequence[int]) -> tuple[int, ...]:
    """Classes as a tuple of ints, if they are a list of classes.

    Raises
    ------
    InputError
        If it is empty, unsorted, too long, or holds 255, a negative number or one twice.
    """
    chosen = tuple(int(c) for c in classes)
    if not chosen or list(chosen) != sorted(set(chosen)) or UNLABELLED in chosen or chosen[0] < 0:
        raise InputError(f"The classes {chosen} must be ascending numbers from 0, each once, without {UNLABELLED}.")
    if len(chosen) > MOST_CLASSES:
        raise InputError(f"{len(chosen)} classes are too many; {MOST_CLASSES} at most can be told apart.")
    return chosen


def check_share(value: float, what: str) -> float:
    """A probability or fraction, if it is one: 0 to 1, not NaN."""
    number = float(value)
    if not 0 <= number <= 1:
        raise InputError(f"{what} must lie between 0 and 1, not {number:g}.")
    return number


def by_class(value: float | Mapping[int, float], classes: Sequence[int], what: str) -> np.ndarray:
    """One share per class.

    Parameters
    ----------
    value : float or mapping of class to float
        One for all, or each class's own.
    classes : sequence of int
    what : str
        What messages call it, "The fraction kept".

    Returns
    -------
    (M,) float64 array

    Raises
    ------
    InputError
        For a share outside 0 to 1, a class that is absent, or one that was left out.
    """
    if not isinstance(value, Mapping):
        return np.full(len(classes), check_share(value, what))
    if strangers := sorted(set(value) - set(classes)):
        raise InputError(f"{what} names class {strangers[0]}, which is absent; the classes are {listed(classes)}.")
    if missing := [c for c in classes if c not in value]:
        raise InputError(f"{what} leaves out class {missing[0]}; give a value for each of {listed(classes)}.")
    return np.array([check_share(value[c], f"{what} of class {c}") for c in classes])


def listed(classes: Sequence[int]) -> str:
    """Classes in words: ``0, 1 and 2``."""
    names = [str(c) for c in classes]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def result_dtype(labels: np.ndarray) -> np.dtype:
    """The labels' own dtype where it can hold 255, else uint8."""
    return labels.dtype if np.iinfo(labels.dtype).max >= UNLABELLED else np.dtype(np.uint8)


def code_table(classes: Sequence[int], top: int) -> np.ndarray:
    """A look-up table from label values 0 to ``top`` to class codes 0 to M - 1, 255 for all others.

    For small values; `napari_metastructure.labels.classes.encode` copes with any.
    """
    table = np.full(top + 1, UNLABELLED, np.uint8)
    table[list(classes)] = np.arange(len(classes))
    return table


def blocks(*arrays: np.ndarray, size: int = _BLOCK) -> Iterator[Any]:
    """Flat pieces of arrays of one shape, together: temporaries stay small and in the cache.

    Yields
    ------
    array, or tuple of arrays
        Views of contiguous arrays, so results can be written into them; of others copies.
    """
    flat = [a.reshape(-1) for a in arrays]
    for start in range(0, flat[0].size, size):
        pieces = tuple(a[start : start + size] for a in flat)
        yield pieces if len(pieces) > 1 else pieces[0]


# From label values to something known of their class: by a table where values are small, by search where not.


LARGEST_TABLE = 1 << 16
"""A table of this many entries still stays in the cache."""


def lookup(labels: np.ndarray, classes: Sequence[int], values: Any, missing: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives each pixel the value of its class.

    Parameters
    ----------
    labels : array of integers, none of them negative
        Only its dtype and greatest value are looked at.
    classes : sequence of int
        M, ascending.
    values : (M,) array
        One for each class.
    missing : int
        The value of pixels that are of no class.

    Returns
    -------
    callable
        From a block of these labels to an array of its shape and the dtype of ``values``.
    """
    top = int(labels.max())
    fitting = [c for c in classes if c <= top]
    known = np.append(np.asarray(values)[: len(fitting)], np.asarray(values).dtype.type(missing))
    if top < LARGEST_TABLE:
        table = np.full(top + 1, missing, known.dtype)
        table[fitting] = known[:-1]
        return lambda block: table.take(block.astype(np.intp, copy=False))
    # One past the last class, so that every label has a place; whatever is there is no hit, or a repeated one.
    steps = np.array([*fitting, top], labels.dtype)

    def search(block: np.ndarray) -> np.ndarray:
        place = np.searchsorted(steps, block)
        place[steps[place] != block] = len(fitting)
        return known.take(place)

    return search


def encoder(labels: np.ndarray, classes: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives blocks of these labels as class codes: 0 to M - 1, and 255 for what is no class.

    Labels that are codes already come back as they are, not copied; they have to have passed `check_classes`.
    """
    if labels.dtype == np.uint8 and tuple(classes) == tuple(range(len(classes))):
        return lambda block: block
    return lookup(labels, classes, np.arange(len(classes), dtype=np.uint8), UNLABELLED)


def encode(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Labels as class codes, whatever their values.

    Parameters
    ----------
    labels : (..., Y, X) array of integers, none of them negative
    classes : sequence of int
        M, ascending.

    Returns
    -------
    (..., Y, X) uint8 array
        0 to M - 1, and 255 where a pixel is of no class.
    """
    codes = np.empty(labels.shape, np.uint8)
    code_of = lookup(labels, classes, np.arange(len(classes), dtype=np.uint8), UNLABELLED)
    for block, code in blocks(labels, codes, size=1 << 16):
        code[:] = code_of(block)
    return codes


# -------- Label planes as classes: what their numbers mean is settled by the whole layer, not by one slice of it.


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
