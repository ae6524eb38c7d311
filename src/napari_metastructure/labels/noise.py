"""RCL, randomized clean labels: pixels sampled, or swapped with other classes, wherever they lie.

By eq. (7) this changes the density of a class by a factor and a constant alone, so the meta-structure stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import (
    blocks,
    check_class_list,
    check_classes,
    check_labels,
    encoder,
    listed,
    lookup,
    result_dtype,
)
from napari_metastructure.labels.transition import (
    TransitionMatrix,
    flipping_matrix,
    given_matrix,
    random_matrix,
    sampling_matrix,
)

# -------- Class codes drawn at random, each by the probabilities of its row: one 32-bit word a pixel, one look-up.


BLOCK = 1 << 17
"""Pixels drawn at a time: temporaries stay in the cache. Even, for words are drawn in pairs."""

CELL_BITS = 12

_REST = np.uint32(32 - CELL_BITS)

_SPLIT = 254
"""Marks a cell in which outcomes meet; class codes end at 253."""


@dataclass(frozen=True, eq=False)
class DrawTable:
    """What to draw from, made by `draw_table`.

    Attributes
    ----------
    cells : ((R + 1) * 2**12,) uint8 array
        Outcome of each cell of each row, 254 where it is split; the last row is 255 throughout.
    edges : (R * C,) uint64 array
        ``row * 2**32`` + the word at which each outcome ends, ascending.
    outcomes : (R * C,) uint8 array
        The code each of these stands for.
    """

    cells: np.ndarray
    edges: np.ndarray
    outcomes: np.ndarray

    def row_starts(self) -> np.ndarray:
        """(R + 1,) intp: where each row begins in ``cells``; the last is the row of unlabelled pixels."""
        return np.arange(0, self.cells.size, 1 << CELL_BITS, dtype=np.intp)


def draw_table(probability: np.ndarray, outcomes: np.ndarray) -> DrawTable:
    """Make a table to `draw` from.

    Parameters
    ----------
    probability : (R, C) float array
        Rows of probabilities, each adding up to 1.
    outcomes : (R, C) uint8 array
        The code that each stands for, 0 to 253 or 255, in the order in which words are divided: as a probability
        changes, pixels pass between neighbours in this order.
    """
    rows = len(probability)
    ends = np.cumsum(probability, axis=1)
    # Divided by its last entry, a sum ends with exactly 1: no word is left to an outcome of probability 0.
    words = np.rint(ends / ends[:, -1:] * 2.0**32).astype(np.uint64)
    edges = (words + (np.arange(rows, dtype=np.uint64) << np.uint64(32))[:, None]).ravel()

    codes = outcomes.astype(np.uint8).ravel()
    inside = np.uint64((1 << int(_REST)) - 1)
    upto = ((edges + inside) >> np.uint64(_REST)).astype(np.intp)  # cells that begin before each outcome ends
    cells = np.repeat(codes, np.diff(upto, prepend=0))
    cells[upto[edges & inside != 0] - 1] = _SPLIT
    unlabelled = np.full(1 << CELL_BITS, UNLABELLED, np.uint8)
    return DrawTable(np.concatenate([cells, unlabelled]), edges, codes)


def random_words(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) uint32 array of random words, cut from 64-bit ones, which takes half the time of drawing them singly."""
    pairs = rng.integers(0, 2**64 - 1, (n + 1) // 2, dtype=np.uint64, endpoint=True)
    return pairs.view(np.uint32)[:n]


def draw(table: DrawTable, start: np.ndarray | int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the codes of a block of pixels.

    Parameters
    ----------
    table : DrawTable
    start : (n,) intp array, or int
        For each pixel the beginning of its row (`DrawTable.row_starts`).
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    (n,) uint8 array
    """
    words = random_words(n, rng)
    cell = start + (words >> _REST).astype(np.intp)
    codes = table.cells.take(cell)
    split = np.flatnonzero(codes == _SPLIT)
    if split.size:
        row = (cell[split] >> CELL_BITS).astype(np.uint64)
        codes[split] = table.outcomes[np.searchsorted(table.edges, (row << np.uint64(32)) + words[split], "right")]
    return codes


# -------- Choose exactly n of N pixels, block by block, every set of n equally likely.


def share_out(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """How many of n pixels chosen at random fall into each block.

    `numpy.random.Generator.multivariate_hypergeometric` draws the same, of less than 10**9 pixels.

    Parameters
    ----------
    counts : (B,) int64 array
        Pixels of each block.
    n : int
        From 0 to their sum.
    rng : numpy.random.Generator

    Returns
    -------
    (B,) int64 array
        Adds up to n; nowhere above ``counts``.
    """
    total = int(counts.sum())
    if not total:
        return np.zeros_like(counts)
    chosen = rng.binomial(counts, n / total)
    surplus = int(chosen.sum()) - n
    pool = chosen if surplus > 0 else counts - chosen
    ranks = rng.choice(int(pool.sum()), abs(surplus), replace=False, shuffle=False)
    moved = np.bincount(np.searchsorted(np.cumsum(pool), ranks, "right"), minlength=counts.size)
    return np.asarray(chosen - np.sign(surplus) * moved)


def choose(codes: np.ndarray, counts: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose an exact number of the pixels of each group within one block.

    Parameters
    ----------
    codes : (n,) uint8 array
        Class codes, 255 for unlabelled.
    counts : (G,) int64 array
        From `count`: a group is a class, or with G = 1 all labelled pixels.
    numbers : (G,) int64 array
        How many of each group to choose.
    rng : numpy.random.Generator

    Returns
    -------
    (sum of numbers,) intp array
        Their places in the block.
    """
    share = numbers / np.maximum(counts, 1)
    # Three standard deviations more than wanted: to take some away is cheaper than to look for more.
    share = np.minimum(1, share + 3 * np.sqrt(share * (1 - share) / np.maximum(counts, 1)))
    limits = np.zeros(256, np.uint32)
    limits[: 255 if len(counts) == 1 else len(counts)] = np.rint(share * 2.0**31)
    # 31 bits, for the limits of all (2**31) and of none (0) have to fit.
    chosen = random_words(codes.size, rng) >> np.uint32(1) < limits.take(codes)
    places = np.flatnonzero(chosen)
    group = codes.take(places)
    if len(counts) > 1:
        places = places.take(np.argsort(group, kind="stable"))  # group after group
    keep, added, start = np.ones(places.size, dtype=bool), [], 0
    for g, (size, number) in enumerate(zip(count(group, len(counts)), numbers, strict=True)):
        if size > number:
            keep[start + rng.choice(size, size - number, replace=False, shuffle=False)] = False
        elif size < number:
            rest = np.flatnonzero(_members(codes, g, len(counts)) & ~chosen)
            added.append(rng.choice(rest, number - size, replace=False, shuffle=False))
        start += size
    return np.concatenate([places[keep], *added])


def count(codes: np.ndarray, groups: int) -> np.ndarray:
    """(G,) int64: pixels of each class in a block, or with ``groups`` = 1 all that are labelled."""
    if groups <= 16:
        return np.array([np.count_nonzero(_members(codes, g, groups)) for g in range(groups)], np.int64)
    return np.bincount(codes, minlength=groups)[:groups]


def _members(codes: np.ndarray, g: int, groups: int) -> np.ndarray:
    return codes != UNLABELLED if groups == 1 else codes == g


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


# -------- RL, random labels: they do not look at the image, so nothing of the meta-structure is in them.


def random_labels(
    shape: Sequence[int],
    probability: float | Mapping[int, float],
    rng: np.random.Generator,
    classes: Sequence[int] = (0, 1),
    dtype: Any = np.uint8,
) -> np.ndarray:
    """RL: each pixel is drawn independently with given class probabilities.

    Parameters
    ----------
    shape : sequence of int
        Of the result, in pixels; two axes at least.
    probability : float or mapping of class to float
        Of the second of two classes (the paper's P_generate); or of each class, adding up to 1 (to within 1e-6).
    rng : numpy.random.Generator
    classes : sequence of int
        Ascending.
    dtype : data type of integers

    Returns
    -------
    (..., Y, X) array of ``dtype``
        No pixel is 255.

    Raises
    ------
    InputError
        For probabilities outside 0 to 1 or not adding up to 1, a single one where there are not two classes, a class
        that is absent or left out, a shape without pixels, and classes that ``dtype`` cannot hold.
    """
    chosen, kind, sides = check_class_list(classes), np.dtype(dtype), tuple(int(n) for n in shape)
    if len(sides) < 2 or min(sides) < 1:
        raise InputError(f"Random labels of the shape {sides} are no image; give the sides Y and X, 1 or more.")
    if kind.kind not in "iu" or np.iinfo(kind).max < chosen[-1]:
        raise InputError(f"Pixels of type {kind} cannot hold the classes {listed(chosen)}; choose a type of integers.")
    row = random_matrix(chosen, probability).matrix[:1]
    table = draw_table(row, np.arange(len(chosen))[None])
    names = np.array(chosen, kind)
    result = np.empty(sides, kind)
    for out in blocks(result, size=BLOCK):
        names.take(draw(table, 0, out.size, rng), out=out)
    return result
