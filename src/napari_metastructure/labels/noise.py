"""RCL, randomized clean labels (pixels sampled or flipped, wherever they lie), and RL, random labels.

By eq. (7) RCL changes the density of a class by a factor and a constant alone, so the meta-structure stays. RL is drawn
without a look at the image, so there is no meta-structure in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError, listed
from napari_metastructure.labels import UNLABELLED, pixels
from napari_metastructure.labels import transition as matrices

BLOCK = 1 << 17
"""Pixels drawn at a time: temporaries stay in the cache. Even, because words are drawn in pairs."""

_CELL_BITS = 12
_REST = np.uint32(32 - _CELL_BITS)
_SPLIT = 254
"""Marks a cell in which outcomes meet; class codes end at 253."""


def sample(
    labels: Any, keep: float | Mapping[int, float], rng: np.random.Generator, classes: Sequence[int] | None = None
) -> np.ndarray:
    """Make RCL by sampling: each pixel keeps its label with a probability (P_sample), or becomes 255, unlabelled.

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

    Examples
    --------
    >>> sample(np.array([[0, 0, 1, 1]]), {0: 1, 1: 0}, np.random.default_rng(0))
    array([[  0,   0, 255, 255]])
    """
    labels, classes = _checked(labels, classes)
    return _drawn(labels, matrices.sampling_matrix(classes, keep), rng)


def flip(
    labels: Any,
    fraction: float | Mapping[int, float],
    rng: np.random.Generator,
    classes: Sequence[int] | None = None,
    *,
    exact: bool = False,
) -> np.ndarray:
    """Make RCL by flipping: a fraction (P_flip) of the labels becomes a class chosen uniformly from the others.

    Parameters
    ----------
    labels, rng, classes
        As in `sample`, and so is the result. Pixels that are 255 do not count.
    fraction : float or mapping of class to float
        0 to 1, of all labelled pixels or of each class's.
    exact : bool
        Flip exactly ``round(fraction * N)`` of the N labelled pixels (for a mapping, of each class's pixels), every
        set of them equally likely; else each pixel independently, and a pixel flipped stays so as ``fraction`` grows.

    Raises
    ------
    InputError
        As `sample`; if there is a single class.

    Examples
    --------
    >>> clean = np.zeros((10, 10), np.uint8)
    >>> clean[2:8, 2:8] = 1
    >>> noisy = flip(clean, 0.45, np.random.default_rng(0), exact=True)
    >>> int((noisy != clean).sum())
    45
    """
    labels, classes = _checked(labels, classes)
    transition = matrices.flipping_matrix(classes, fraction)
    if not exact:
        return _drawn(labels, transition, rng)
    shares = [fraction[c] for c in classes] if isinstance(fraction, Mapping) else [fraction]
    return _flipped_exactly(labels, classes, np.array(shares, float), rng)


def flip_by_matrix(
    labels: Any, matrix: Any, rng: np.random.Generator, classes: Sequence[int] | None = None
) -> np.ndarray:
    """Make RCL by any noise transition matrix: each pixel draws its new class from the row of its true one.

    Parameters
    ----------
    labels, rng, classes
        As in `sample`, and so is the result.
    matrix : (M, M) array-like
        ``matrix[i, j]`` = P(y* = ``classes[j]`` | y = ``classes[i]``); rows add up to 1 (to within 1e-6).

    Raises
    ------
    InputError
        As `sample`; for a matrix that is not square, does not fit the classes, or whose rows are no probabilities.

    Examples
    --------
    >>> flip_by_matrix(np.array([[0, 1, 255]]), [[0, 1], [1, 0]], np.random.default_rng(0))
    array([[  1,   0, 255]])
    """
    labels, classes = _checked(labels, classes)
    return _drawn(labels, matrices.given_matrix(classes, matrix), rng)


def random_labels(
    shape: Sequence[int],
    probability: float | Mapping[int, float],
    rng: np.random.Generator,
    classes: Sequence[int] = (0, 1),
    dtype: Any = np.uint8,
) -> np.ndarray:
    """Make RL: each pixel is drawn independently with given class probabilities.

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

    Examples
    --------
    >>> random_labels((2, 3), 1, np.random.default_rng(0))
    array([[1, 1, 1],
           [1, 1, 1]], dtype=uint8)
    """
    chosen, kind, sides = pixels.check_class_list(classes), np.dtype(dtype), tuple(int(n) for n in shape)
    if len(sides) < 2 or min(sides) < 1:
        raise InputError(f"Random labels of the shape {sides} are no image; give the sides Y and X, 1 or more.")
    if kind.kind not in "iu" or np.iinfo(kind).max < chosen[-1]:
        raise InputError(f"Pixels of type {kind} cannot hold the classes {listed(chosen)}; choose a type of integers.")
    table = DrawTable(matrices.random_matrix(chosen, probability).matrix[:1], np.arange(len(chosen))[None])
    result = np.empty(sides, kind)
    for out in pixels.blocks(result, size=BLOCK):
        _write(table.draw(0, out.size, rng), chosen, out)
    return result


def _checked(labels: Any, classes: Sequence[int] | None) -> tuple[np.ndarray, tuple[int, ...]]:
    labels = pixels.check_labels(labels)
    return labels, pixels.check_classes(labels, classes, may_be_empty=True)


def _drawn(labels: np.ndarray, transition: matrices.TransitionMatrix, rng: np.random.Generator) -> np.ndarray:
    """Draw every pixel from the row of its class, the last outcome being unlabelled."""
    size = len(transition.classes)
    probability = np.column_stack([transition.matrix, transition.unlabelled])
    table = DrawTable(probability, np.tile(np.append(np.arange(size), UNLABELLED), (size, 1)))
    start = pixels.lookup(labels, transition.classes, table.starts[:-1], table.starts[-1])
    result = np.empty(labels.shape, pixels.result_dtype(labels))
    for block, out in pixels.blocks(labels, result, size=BLOCK):
        _write(table.draw(start(block), block.size, rng), transition.classes, out)
    return result


class DrawTable:
    """Outcomes to be drawn by the probabilities of rows: one 32-bit word and, almost always, one look-up a pixel.

    Parameters
    ----------
    probability : (R, C) float array
        Rows of probabilities, each adding up to 1.
    outcomes : (R, C) uint8 array
        The code that each stands for, 0 to 253 or 255, in the order in which words are divided: as a probability
        changes, pixels pass between neighbours in this order.

    Attributes
    ----------
    starts : (R + 1,) intp array
        Where each row begins among the cells; the last row is 255 throughout.
    """

    def __init__(self, probability: np.ndarray, outcomes: np.ndarray) -> None:
        rows = len(probability)
        ends = np.cumsum(probability, axis=1)
        # Divided by its last entry, a sum ends with exactly 1: no word is left to an outcome of probability 0.
        words = np.rint(ends / ends[:, -1:] * 2.0**32).astype(np.uint64)
        self.edges = (words + (np.arange(rows, dtype=np.uint64) << np.uint64(32))[:, None]).ravel()
        self.outcomes = outcomes.astype(np.uint8).ravel()
        # Cell k of a row stands for all words that begin with the bits of k.
        inside = np.uint64((1 << int(_REST)) - 1)
        upto = ((self.edges + inside) >> np.uint64(_REST)).astype(np.intp)  # cells that begin before an outcome ends
        cells = np.repeat(self.outcomes, np.diff(upto, prepend=0))
        cells[upto[self.edges & inside != 0] - 1] = _SPLIT
        self.cells = np.append(cells, np.full(1 << _CELL_BITS, UNLABELLED, np.uint8))
        self.starts = np.arange(0, self.cells.size, 1 << _CELL_BITS, dtype=np.intp)

    def draw(self, start: np.ndarray | int, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw (n,) uint8 codes, from the rows that begin at ``start``."""
        words = random_words(n, rng)
        cell = start + (words >> _REST).astype(np.intp)
        codes = self.cells.take(cell)
        split = np.flatnonzero(codes == _SPLIT)
        if split.size:
            row = (cell[split] >> _CELL_BITS).astype(np.uint64)
            codes[split] = self.outcomes[np.searchsorted(self.edges, (row << np.uint64(32)) + words[split], "right")]
        return codes


def random_words(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw (n,) uint32 words, cut from 64-bit ones, which takes half the time of drawing them singly."""
    pairs = rng.integers(0, 2**64 - 1, (n + 1) // 2, dtype=np.uint64, endpoint=True)
    return pairs.view(np.uint32)[:n]


def _flipped_exactly(
    labels: np.ndarray, classes: tuple[int, ...], shares: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Flip an exact share of all labelled pixels, or of each class's."""
    is_code = labels.dtype == np.uint8 and classes == tuple(range(len(classes)))
    codes = (labels if is_code else pixels.encode(labels, classes)).reshape(-1)
    chosen = choose_exactly(codes, shares, rng)
    result = np.empty(labels.shape, pixels.result_dtype(labels))
    for code, flipped, out in zip(*(pixels.blocks(a, size=BLOCK) for a in (codes, chosen, result)), strict=True):
        places = np.flatnonzero(flipped)
        moved = code.take(places) + rng.integers(1, len(classes), places.size, dtype=np.uint16)
        moved -= (moved >= len(classes)) * np.uint16(len(classes))
        code = code.copy()
        code[places] = moved
        _write(code, classes, out)
    return result


def choose_exactly(codes: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose exactly ``round(share * n)`` of the n pixels of each group, every set of them equally likely.

    Parameters
    ----------
    codes : (N,) uint8 array
        Class codes, 255 for unlabelled, of which none is chosen.
    shares : (1,) or (M,) float array
        For all labelled pixels as one group, or for each class.

    Returns
    -------
    (N,) array of bool
    """
    # Each pixel is chosen independently first, then as many are put right as are too many or too few.
    limits = np.zeros(256, np.uint32)  # of 31 bits, so that those of the shares 0 and 1 fit
    limits[: 255 if len(shares) == 1 else len(shares)] = np.rint(shares * 2.0**31)
    chosen = np.empty(codes.size, bool)
    counts = np.zeros((len(shares), 2), np.int64)
    for code, choice in pixels.blocks(codes, chosen, size=BLOCK):
        np.less(random_words(code.size, rng) >> np.uint32(1), limits.take(code), out=choice)
        counts += _count(code, choice, len(shares))
    for group, (rest, taken) in enumerate(counts.tolist()):
        surplus = taken - round(float(shares[group]) * (rest + taken))
        wrong, pool = abs(surplus), taken if surplus > 0 else rest
        if wrong:
            # Some places picked at random will do if enough of them are of the group; else all have to be looked at.
            places = rng.integers(0, codes.size, min(codes.size, 100 + 4 * wrong * codes.size // pool))
            right = _members(codes[places], group, len(shares)) & (chosen[places] == (surplus > 0))
            places = np.unique(places[right])
            if places.size < wrong:
                places = np.flatnonzero(_members(codes, group, len(shares)) & (chosen == (surplus > 0)))
            chosen[rng.choice(places, wrong, replace=False, shuffle=False)] = surplus < 0
    return chosen


def _count(codes: np.ndarray, chosen: np.ndarray, groups: int) -> np.ndarray:
    """Count the pixels of each group that are not chosen and that are, (G, 2) int64."""
    if groups > 16:
        return np.bincount(2 * codes.astype(np.intp) + chosen, minlength=512).reshape(-1, 2)[:groups]
    members = [_members(codes, group, groups) for group in range(groups)]
    taken = np.array([np.count_nonzero(m & chosen) for m in members])
    return np.stack([[np.count_nonzero(m) for m in members] - taken, taken], axis=1)


def _members(codes: np.ndarray, group: int, groups: int) -> np.ndarray:
    return codes != UNLABELLED if groups == 1 else codes == group


def _write(codes: np.ndarray, classes: tuple[int, ...], out: np.ndarray) -> None:
    """Write class codes as labels; 255 stays 255."""
    if classes == tuple(range(len(classes))):
        out[:] = codes
        return
    names = np.full(256, min(UNLABELLED, np.iinfo(out.dtype).max), out.dtype)
    names[: len(classes)] = classes
    names.take(codes, out=out)
