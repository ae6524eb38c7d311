"""RCL, randomized clean labels: pixels sampled, or swapped with other classes, wherever they lie.

By eq. (7) this changes the density of a class by a factor and a constant alone, so the meta-structure stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import blocks, check_classes, check_labels, result_dtype
from napari_metastructure.labels.codes import encoder, lookup
from napari_metastructure.labels.draw import BLOCK, draw, draw_table
from napari_metastructure.labels.exact import choose, count, share_out
from napari_metastructure.labels.transition import TransitionMatrix, flipping_matrix, given_matrix, sampling_matrix


def sample(
    labels: Any, keep: float | Mapping[int, float], rng: np.random.Generator, classes: Sequence[int] | None = None
) -> np.ndarray:
    """RCL by sampling: each pixel keeps its label with a probability (P_sample), or becomes 255, unlabelled.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed. Pixels that are 255 stay so.
    keep : float or mapping of class to float
        0 to 1, for all or for each class.
    rng : numpy.random.Generator
        Independently for each pixel; what becomes of one depends on the generator, its place, its class and
        ``keep`` alone, and a pixel kept stays kept as ``keep`` grows.
    classes : sequence of int, optional
        Ascending; those present by default. If given, labels may be 255 throughout.

    Returns
    -------
    (..., Y, X) array
        The input's dtype, uint8 if that cannot hold 255.

    Raises
    ------
    InputError
        For labels that are none (floats, negative, all 255), a class that is absent or left out, and
        probabilities outside 0 to 1.
    """
    labels, classes = _checked(labels, classes)
    return _drawn(labels, sampling_matrix(classes, keep), rng)


def flip(
    labels: Any,
    fraction: float | Mapping[int, float],
    rng: np.random.Generator,
    classes: Sequence[int] | None = None,
    *,
    exact: bool = False,
) -> np.ndarray:
    """RCL by flipping: a fraction (P_flip) of the labels swapped with a class chosen uniformly from the others.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed. Pixels that are 255 stay so and do not count.
    fraction : float or mapping of class to float
        0 to 1, of all labelled pixels or of each class's.
    rng : numpy.random.Generator
    classes : sequence of int, optional
        Ascending; those present by default. If given, labels may be 255 throughout.
    exact : bool
        Swap exactly ``round(fraction * N)`` of the N labelled pixels (for a mapping, of each class's pixels), every
        set of them equally likely; else each pixel independently, and a pixel swapped stays so as ``fraction`` grows.

    Returns
    -------
    (..., Y, X) array
        The input's dtype, uint8 if that cannot hold 255.

    Raises
    ------
    InputError
        As `sample`; if there is a single class.
    """
    labels, classes = _checked(labels, classes)
    transition = flipping_matrix(classes, fraction)
    if not exact:
        return _drawn(labels, transition, rng)
    shares = [fraction[c] for c in classes] if isinstance(fraction, Mapping) else [fraction]
    return _swapped(labels, classes, shares, rng)


def flip_by_matrix(
    labels: Any, matrix: Any, rng: np.random.Generator, classes: Sequence[int] | None = None
) -> np.ndarray:
    """RCL by any noise transition matrix: each pixel draws its new class from the row of its true one.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed. Pixels that are 255 stay so.
    matrix : (M, M) array-like
        ``matrix[i, j]`` = P(y* = ``classes[j]`` | y = ``classes[i]``); rows add up to 1 (to within 1e-6).
    rng : numpy.random.Generator
    classes : sequence of int, optional
        M, ascending; those present by default. If given, labels may be 255 throughout.

    Returns
    -------
    (..., Y, X) array
        The input's dtype, uint8 if that cannot hold 255.

    Raises
    ------
    InputError
        As `sample`; for a matrix that is not square, does not fit the classes, or whose rows are no probabilities.
    """
    labels, classes = _checked(labels, classes)
    return _drawn(labels, given_matrix(classes, matrix), rng)


def _checked(labels: Any, classes: Sequence[int] | None) -> tuple[np.ndarray, tuple[int, ...]]:
    labels = check_labels(labels)
    return labels, check_classes(labels, classes, may_be_empty=True)


def _drawn(labels: np.ndarray, transition: TransitionMatrix, rng: np.random.Generator) -> np.ndarray:
    """Draw every pixel from the row of its class, the last outcome being unlabelled."""
    size = len(transition.classes)
    outcomes = np.append(np.arange(size), UNLABELLED)
    probability = np.column_stack([transition.matrix, transition.unlabelled])
    table = draw_table(probability, np.tile(outcomes, (size, 1)))
    *starts, unlabelled = table.row_starts()
    start = lookup(labels, transition.classes, starts, unlabelled)

    result = np.empty(labels.shape, result_dtype(labels))
    for block, out in blocks(labels, result, size=BLOCK):
        _write(draw(table, start(block), block.size, rng), transition.classes, out)
    return result


def _swapped(
    labels: np.ndarray, classes: tuple[int, ...], shares: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Swap an exact share of all labelled pixels, or of each class's."""
    code_of = encoder(labels, classes)
    counts = np.array([count(code_of(block), len(shares)) for block in blocks(labels, size=BLOCK)])
    wanted = [round(float(share) * int(n)) for share, n in zip(shares, counts.sum(axis=0), strict=True)]
    numbers = np.stack([share_out(c, n, rng) for c, n in zip(counts.T, wanted, strict=True)], axis=1)

    result = np.empty(labels.shape, result_dtype(labels))
    for (block, out), there, number in zip(blocks(labels, result, size=BLOCK), counts, numbers, strict=True):
        codes = code_of(block).copy()
        places = choose(codes, there, number, rng)
        moved = codes.take(places) + rng.integers(1, len(classes), places.size, dtype=np.uint16)
        moved -= (moved >= len(classes)) * np.uint16(len(classes))
        codes[places] = moved.astype(np.uint8)
        _write(codes, classes, out)
    return result


def _write(codes: np.ndarray, classes: tuple[int, ...], out: np.ndarray) -> None:
    """Class codes as labels; 255 stays 255."""
    if classes == tuple(range(len(classes))):
        out[:] = codes
        return
    names = np.full(256, UNLABELLED, out.dtype)
    names[: len(classes)] = classes
    names.take(codes, out=out)
