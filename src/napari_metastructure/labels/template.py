"""Passes of a 3x3 template over label codes, which dilation, erosion and all made of them consist of.

Codes are uint8: 0 = background, 1 to 254 = classes, 255 = unlabelled. Everything here looks at the last two axes;
what lies outside the image says nothing. Minima of shifted slices do the work: NumPy runs them on whole vector
registers, a square's minimum is that of its rows and then its columns, and wide ones are had by doubling.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import check_classes, check_labels, result_dtype
from napari_metastructure.labels.codes import lookup

BLOCK = 1 << 18
"""Pixels worked on at a time: a handful of uint8 arrays of this size stay in a core's cache."""


def check_steps(n: Any, what: str = "The number of steps n") -> int:
    """A number of passes, if it is one: an integer from 0."""
    try:
        steps = operator.index(n)
    except TypeError:
        steps = -1
    if steps < 0:
        raise InputError(f"{what} must be a whole number from 0, not {n}.")
    return steps


def apply(
    labels: Any, classes: Sequence[int] | None, function: Callable[[np.ndarray], np.ndarray], reach: int
) -> np.ndarray:
    """Apply a function of codes, in which no pixel matters farther than ``reach``, to labels of any integer dtype."""
    array = check_labels(labels)
    code_of, label_of = coding(array, classes)
    planes = array.reshape(-1, *array.shape[-2:])
    result = np.empty(planes.shape, result_dtype(array))
    for outer, inner, target in windows(planes.shape, reach):
        result[target] = label_of(function(code_of(planes[outer]))[inner])
    return result.reshape(array.shape)


def coding(
    labels: np.ndarray, classes: Sequence[int] | None = None
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Two functions for blocks of these labels: from labels to codes and back.

    Labels up to 255 are their own codes, and uint8 ones come back as they are, not copied.

    Raises
    ------
    InputError
        If a label is none of the classes given; for instance numbers instead of classes.
    """
    if int(labels.max()) <= UNLABELLED:
        if classes is not None:
            check_classes(labels, classes, may_be_empty=True)
        return (lambda block: block.astype(np.uint8, copy=False)), (lambda codes: codes)
    used = sorted({0, *check_classes(labels, classes)})
    values = np.array(used + [UNLABELLED] * (256 - len(used)), result_dtype(labels))
    return lookup(labels, used, np.arange(len(used), dtype=np.uint8), UNLABELLED), values.take


def windows(shape: tuple[int, ...], reach: int) -> Iterator[tuple[Any, Any, Any]]:
    """Blocks of (P, Y, X) planes, in whole rows: what to read, which part of it is then right, and where that goes."""
    count, height, width = shape
    rows = min(height, max(1, BLOCK // width, 2 * reach))
    together = max(1, BLOCK // (height * width))
    for plane in range(0, count, together):
        here = slice(plane, plane + together)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first = max(0, top - reach)
            yield (
                (here, slice(first, bottom + reach)),
                (slice(None), slice(top - first, bottom - first)),
                (here, slice(top, bottom)),
            )


def all_ones(condition: np.ndarray) -> np.ndarray:
    """255 where true, 0 elsewhere."""
    return np.negative(condition.view(np.uint8))


def lowest(codes: np.ndarray, radius: int) -> np.ndarray:
    """The minimum over the square of ``2 radius + 1`` pixels around each pixel, as far as it lies inside."""
    for axis in (-1, -2):
        covered, size = 0, codes.shape[axis]
        while covered < min(radius, size):
            # Any farther, and a gap would open beside the image's border.
            step = min(covered + 1, radius - covered)
            wider = codes.copy()
            old, new = codes.swapaxes(axis, -1), wider.swapaxes(axis, -1)
            np.minimum(new[..., step:], old[..., :-step], out=new[..., step:])
            np.minimum(new[..., :-step], old[..., step:], out=new[..., :-step])
            codes, covered = wider, covered + step
    return codes


def spread(codes: np.ndarray, n: int, closed: np.ndarray | None) -> np.ndarray:
    """``n`` passes in which each pixel takes the lowest code around it; where ``closed`` is 255, it stays 255."""
    if closed is None:
        return lowest(codes, n)
    for _ in range(n):
        new = lowest(codes, 1)
        new |= closed
        if np.array_equal(new, codes):
            break
        codes = new
    return codes


def unlabelled(codes: np.ndarray) -> np.ndarray | None:
    """255 where a pixel is unlabelled, 0 elsewhere; None where every pixel has a label."""
    found = codes == UNLABELLED
    return all_ones(found) if found.any() else None


def to_keys(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes in order of precedence, the lowest first, 255 being what gives way to all; and `unlabelled`."""
    nobody = unlabelled(codes)
    key = codes - np.uint8(1)  # background wraps round to 255
    if nobody is not None:
        key |= nobody
    return key, nobody


def to_codes(key: np.ndarray, nobody: np.ndarray | None) -> np.ndarray:
    """What `to_keys` was made of."""
    codes = key + np.uint8(1)
    if nobody is not None:
        codes |= nobody
    return codes


def grown_once(key: np.ndarray, growing: np.ndarray, nobody: np.ndarray | None) -> np.ndarray:
    """Keys after one pass in which background takes the lowest growing key around it."""
    closed = all_ones(key != UNLABELLED)
    if nobody is not None:
        closed |= nobody
    new = lowest(growing, 1)
    new |= closed
    new &= key
    return new


def dilated(codes: np.ndarray, n: int) -> np.ndarray:
    """See `perturbed.dilate`."""
    key, nobody = to_keys(codes)
    if _one_class(key):
        return to_codes(spread(key, n, nobody), nobody)
    for _ in range(n):
        new = grown_once(key, key, nobody)
        if np.array_equal(new, key):
            break
        key = new
    return to_codes(key, nobody)


def eroded(codes: np.ndarray, n: int) -> np.ndarray:
    """See `perturbed.erode`."""
    key, nobody = to_keys(codes)
    if n and not _one_class(key):
        # Where classes touch, both lose a pixel; from then on background lies between them.
        upside_down = ~codes if nobody is None else ~codes | nobody
        uniform = all_ones(lowest(codes, 1) == ~lowest(upside_down, 1))
        codes = codes & uniform if nobody is None else codes & uniform | nobody
        n -= 1
    return spread(codes, n, nobody)


def regained(codes: np.ndarray, n: int) -> np.ndarray:
    """Codes after the background has grown by ``n`` passes, into all classes alike."""
    kept = spread(all_ones(codes != 0), n, unlabelled(codes))
    return codes & kept


def _one_class(key: np.ndarray) -> bool:
    """Whether at most one value besides 255 is there."""
    low = key.min()
    return bool(((key == low) | (key == UNLABELLED)).all())
