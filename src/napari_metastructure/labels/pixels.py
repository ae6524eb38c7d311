"""Pixels of label arrays: checks, the values among them, and look-up tables by class, block by block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError, listed
from napari_metastructure.images.lazy import Plane, row_blocks
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.readings import MOST_CLASSES, check_count

BLOCK = 1 << 16
"""Pixels looked up at a time: the temporaries stay in a processor's cache."""

_LARGEST_TABLE = 1 << 16


# ---- Checks ------------------------------------------------------------------------------------------------


def check_labels(labels: Any, name: str = "The labels") -> np.ndarray:
    """Check that an array holds labels, (..., Y, X) integers or booleans; booleans are returned as uint8.

    Raises
    ------
    InputError
        For floats, fewer than two axes, no pixel, or negative numbers; it begins with ``name``.
    """
    if isinstance(labels, Plane):
        return _check_rows(labels, name)
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
        raise InputError(
            f"{name}: the label {low} is negative; labels are 0 for background and 1, 2, ... for classes, 255 for "
            "unlabelled."
        )
    return array


def _check_rows(labels: Plane, name: str) -> Any:
    """Check labels where they are read."""
    check_labels(np.zeros(min(labels.shape, (1, 1)), labels.dtype), name)
    return labels.map(lambda block: check_labels(block, name), np.uint8 if labels.dtype == bool else labels.dtype)


def check_class_list(classes: Sequence[int]) -> tuple[int, ...]:
    """Check that numbers are a list of classes, and return them as a tuple.

    Raises
    ------
    InputError
        If it is empty, unsorted, too long, or holds 255, a negative number or one twice.
    """
    chosen = tuple(int(c) for c in classes)
    if not chosen or list(chosen) != sorted(set(chosen)) or UNLABELLED in chosen or chosen[0] < 0:
        raise InputError(f"The classes {chosen} must be ascending numbers from 0, each once, without {UNLABELLED}.")
    if len(chosen) > MOST_CLASSES:
        raise InputError(f"{len(chosen)} classes are too many; {MOST_CLASSES} at most are possible.")
    return chosen


def check_classes(
    labels: np.ndarray, classes: Sequence[int] | None, name: str = "The labels", *, may_be_empty: bool = False
) -> tuple[int, ...]:
    """Return the classes given, or those present; refuse labels of any other class.

    With ``may_be_empty`` a plane that is unlabelled throughout passes if the classes are given: other planes of its
    stack have labels.

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


def check_share(value: float, what: str) -> float:
    """Check that a number is a probability or fraction: 0 to 1, not NaN."""
    number = float(value)
    if not 0 <= number <= 1:
        raise InputError(f"{what} must lie between 0 and 1, not {number:g}.")
    return number


def by_class(value: float | Mapping[int, float], classes: Sequence[int], what: str) -> np.ndarray:
    """Return one share per class, (M,) float64, from one number for all or a mapping of class to number.

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


# ---- Values and codes --------------------------------------------------------------------------------------


def blocks(*arrays: np.ndarray, size: int = 1 << 20) -> Iterator[Any]:
    """Iterate over flat pieces of arrays of one shape, so that temporaries stay small and in the cache.

    Pieces of contiguous arrays are views, so results can be written into them; of others they are copies.
    """
    flat = [a.reshape(-1) for a in arrays]
    for start in range(0, flat[0].size, size):
        pieces = tuple(a[start : start + size] for a in flat)
        yield pieces if len(pieces) > 1 else pieces[0]


def values_in(labels: np.ndarray | Plane) -> tuple[int, ...]:
    """Find the values of an array of integers, none of them negative; ascending, each once."""
    if isinstance(labels, Plane):
        return tuple(sorted(set().union(*(values_in(block) for block in row_blocks(labels)))))
    top = int(labels.max())
    if top >= 1 << 24:
        return tuple(np.unique(np.concatenate([np.unique(block) for block in blocks(labels)])).tolist())
    found = np.zeros(top + 1, dtype=bool)
    for block in blocks(labels, size=BLOCK):
        found[block.astype(np.intp, copy=False)] = True
    return tuple(np.flatnonzero(found).tolist())


def classes_in(labels: np.ndarray, name: str = "The labels") -> tuple[int, ...]:
    """Find the classes of a label image: its values without 255, ascending.

    Raises
    ------
    InputError
        As `check_labels`; if every pixel is unlabelled; if there are more than `MOST_CLASSES` classes.
    """
    return check_count(tuple(v for v in values_in(check_labels(labels, name)) if v != UNLABELLED), name)


def result_dtype(labels: np.ndarray) -> np.dtype:
    """Return the labels' own dtype where it can hold 255, else uint8."""
    return labels.dtype if np.iinfo(labels.dtype).max >= UNLABELLED else np.dtype(np.uint8)


def lookup(labels: np.ndarray, classes: Sequence[int], values: Any, missing: int) -> Callable[[np.ndarray], np.ndarray]:
    """Make a function that gives each pixel the value of its class.

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
    if top < _LARGEST_TABLE:
        table = np.full(top + 1, missing, known.dtype)
        table[fitting] = known[:-1]
        return lambda block: table.take(block.astype(np.intp, copy=False))
    # One step past the last class, so that every label has a place; a label that is not the step itself is no class.
    steps = np.array([*fitting, top], labels.dtype)

    def search(block: np.ndarray) -> np.ndarray:
        place = np.searchsorted(steps, block)
        place[steps[place] != block] = len(fitting)
        return known.take(place)

    return search


def encode(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Turn labels into uint8 class codes: 0 to M - 1, and 255 where a pixel is of no class.

    Examples
    --------
    >>> encode(np.array([[0, 7, 9]]), (0, 9))
    array([[  0, 255,   1]], dtype=uint8)
    """
    codes = np.empty(labels.shape, np.uint8)
    code_of = lookup(labels, classes, np.arange(len(classes), dtype=np.uint8), UNLABELLED)
    for block, code in blocks(labels, codes, size=BLOCK):
        code[:] = code_of(block)
    return codes
