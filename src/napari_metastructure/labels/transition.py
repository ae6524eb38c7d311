"""Noise transition matrices, in closed form for RCL and RL or counted from two label images, and their rank."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from napari_metastructure.errors import InputError, listed, sized
from napari_metastructure.labels import pixels

ALPHA = 1e-3
"""Level of the rank test: of tables drawn at random, one or two in a thousand are given too high a rank."""

SUM_TOLERANCE = 1e-6
"""How far the probabilities of a row may add up to something else than 1."""

_ROUNDING = 1e-12
"""A row that lacks less of 1 has no unlabelled pixels."""

_CROWD = 25
"""The chi-square law is trusted where no single pixel can make more than 1 / 25 of the variance."""


@dataclass(frozen=True, eq=False)
class TransitionMatrix:
    """Noise transition matrix P(y* = j | y = i), the paper's Q of y* given y: a recipe's own, or an estimate.

    Attributes
    ----------
    classes : tuple of int
        The M classes, ascending; they name rows and columns.
    matrix : (M, M) float64 array
        Rows are true classes, columns noisy ones. What a row lacks of 1 is unlabelled. The row of a class without
        a clean pixel is NaN.
    counts : (M, M + 1) int64 array, optional
        Pixels by true class and noisy label, the last column unlabelled; None for a closed form.
    """

    classes: tuple[int, ...]
    matrix: np.ndarray
    counts: np.ndarray | None = None

    @property
    def unlabelled(self) -> np.ndarray:
        """Share of each true class that carries no label, (M,)."""
        if self.counts is None:
            rest = 1 - self.matrix.sum(axis=1)
            return np.where(rest > _ROUNDING, rest, 0)
        with np.errstate(invalid="ignore"):
            return np.asarray(self.counts[:, -1] / self.counts.sum(axis=1))

    @property
    def known(self) -> np.ndarray:
        """Whether each class has a row, that is a clean pixel, (M,) booleans."""
        return ~np.isnan(self.matrix).any(axis=1)

    @cached_property
    def singular_values(self) -> np.ndarray:
        """Singular values of the matrix, descending: M, or as many as there are classes with a clean pixel."""
        return np.linalg.svd(self.matrix[self.known], compute_uv=False)

    @property
    def rank(self) -> int:
        """Number of linearly independent rows; of an estimate, of those that are so beyond sampling error."""
        return self._rank[0]

    @property
    def p_value(self) -> float | None:
        """Probability of counts like these if the rank were smaller by one (full rank) or is as found (less).

        None for a closed form, and where there was nothing to test (a single class or a single noisy label).
        """
        return self._rank[1]

    @cached_property
    def _rank(self) -> tuple[int, float | None]:
        if self.counts is None:
            return int(np.linalg.matrix_rank(self.matrix)), None
        return rank_of_counts(self.counts[:, :-1])

    def as_dict(self) -> dict[str, Any]:
        """Return all of it in lists and numbers that JSON and YAML take; None for what is not defined."""
        return {
            "classes": list(self.classes),
            "matrix": [_plain(row) for row in self.matrix],
            "unlabelled": _plain(self.unlabelled),
            "counts": None if self.counts is None else self.counts.tolist(),
            "rank": self.rank,
            "singular_values": _plain(self.singular_values),
            "p_value": self.p_value,
        }


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]


def sampling_matrix(classes: Sequence[int], keep: float | Mapping[int, float]) -> TransitionMatrix:
    """Return the matrix of RCL by sampling: ``keep`` on the diagonal, the rest unlabelled."""
    return TransitionMatrix(tuple(classes), np.diag(pixels.by_class(keep, classes, "The fraction kept")))


def flipping_matrix(classes: Sequence[int], fraction: float | Mapping[int, float]) -> TransitionMatrix:
    """Return the matrix of RCL by flipping: 1 - p on the diagonal, p / (M - 1) elsewhere.

    Parameters
    ----------
    classes : sequence of int
        Ascending, two at least.
    fraction : float or mapping of class to float
        The probability p with which a pixel gets another class, 0 to 1.

    Examples
    --------
    >>> flipping_matrix((0, 1), 0.25).matrix
    array([[0.75, 0.25],
           [0.25, 0.75]])
    """
    share = pixels.by_class(fraction, classes, "The fraction flipped")
    if len(share) < 2:
        raise InputError(f"Flipping needs two classes at least; there is only class {listed(classes)}.")
    matrix = np.repeat(share[:, None] / (len(share) - 1), len(share), axis=1)
    np.fill_diagonal(matrix, 1 - share)
    return TransitionMatrix(tuple(classes), matrix)


def given_matrix(classes: Sequence[int], matrix: Any) -> TransitionMatrix:
    """Check a square matrix and return it as the noise transition matrix of classes, its rows adding up to 1."""
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        shape = " x ".join(map(str, values.shape))
        raise InputError(f"A noise transition matrix must be square, not {shape}; give one row and column per class.")
    if len(values) != len(classes):
        size = len(values)
        raise InputError(f"A {size} x {size} noise transition matrix does not fit the classes {listed(classes)}.")
    for label, row in zip(classes, values, strict=True):
        check_row(row, f"the row of class {label}")
    return TransitionMatrix(tuple(classes), values / values.sum(axis=1, keepdims=True))


def random_matrix(classes: Sequence[int], probability: float | Mapping[int, float]) -> TransitionMatrix:
    """Return the matrix of RL: all rows are equal, because the labels do not depend on the truth.

    See `napari_metastructure.labels.noise.random_labels`.
    """
    if isinstance(probability, Mapping):
        row = pixels.by_class(probability, classes, "The probability")
        check_sum(row, "The probabilities")
    elif len(classes) == 2:
        share = pixels.check_share(probability, "The probability")
        row = np.array([1 - share, share])
    else:
        raise InputError(f"A single probability is for two classes; give one for each of {listed(classes)}.")
    return TransitionMatrix(tuple(classes), np.tile(row / row.sum(), (len(classes), 1)))


def estimate_transition_matrix(clean: Any, noisy: Any, classes: Sequence[int] | None = None) -> TransitionMatrix:
    """Estimate a noise transition matrix: count which noisy label the pixels of each true class carry.

    Parameters
    ----------
    clean, noisy : (..., Y, X) arrays of integers or booleans, of the same shape
        Pixels that are 255 in ``clean`` are left out; those in ``noisy`` count as unlabelled.
    classes : sequence of int, optional
        Ascending; those of both label images by default.

    Returns
    -------
    TransitionMatrix
        With counts.

    Raises
    ------
    InputError
        For labels that are none (floats, negative), shapes that differ, a label that is none of the classes, or no
        pixel that is labelled in both.

    Examples
    --------
    >>> found = estimate_transition_matrix(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 255]]))
    >>> found.matrix, found.unlabelled
    (array([[0.5, 0.5],
           [0. , 0.5]]), array([0. , 0.5]))
    """
    clean, noisy = pixels.check_labels(clean, "The clean labels"), pixels.check_labels(noisy, "The noisy labels")
    if clean.shape != noisy.shape:
        sizes = f"{sized(clean.shape)} but the noisy ones {sized(noisy.shape)}"
        raise InputError(f"The clean labels have {sizes}; give equal sizes.")
    if classes is None:
        classes = sorted({*pixels.classes_in(clean, "The clean labels"), *pixels.classes_in(noisy, "The noisy labels")})
    chosen = pixels.check_classes(clean, classes, "The clean labels")
    pixels.check_classes(noisy, chosen, "The noisy labels")
    return from_counts(chosen, count_pairs(clean, noisy, chosen))


def from_counts(classes: Sequence[int], counts: np.ndarray) -> TransitionMatrix:
    """Turn counted pixels into a matrix, of one pair of label images or the sum over several.

    Parameters
    ----------
    classes : sequence of int
        Ascending.
    counts : (M, M + 1) array of int
        Pixels by true class and noisy label, the last column unlabelled.

    Raises
    ------
    InputError
        If no pixel is labelled in both.
    """
    counts = np.asarray(counts, dtype=np.int64)
    if not counts[:, :-1].any():
        raise InputError("No pixel is labelled in both the clean and the noisy labels; there is nothing to compare.")
    with np.errstate(invalid="ignore"):
        matrix = counts[:, :-1] / counts.sum(axis=1, keepdims=True)
    return TransitionMatrix(tuple(classes), matrix, counts)


def count_pairs(clean: np.ndarray, noisy: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Count pixels by true class and noisy label; labels that are no class count as unlabelled.

    Returns
    -------
    (M, M + 1) int64 array
        The last column is unlabelled.
    """
    width = len(classes) + 1
    counts = np.zeros(width * width, np.int64)
    places = np.arange(width - 1, dtype=np.uint16)
    row_of, column_of = (pixels.lookup(labels, classes, places, width - 1) for labels in (clean, noisy))
    for true, found in pixels.blocks(clean, noisy, size=pixels.BLOCK):
        counts += np.bincount(row_of(true) * np.uint16(width) + column_of(found), minlength=counts.size)
    return counts.reshape(width, width)[:-1]


def check_row(row: Sequence[float] | np.ndarray, what: str) -> None:
    """Check that numbers are probabilities that add up to 1."""
    for share in row:
        pixels.check_share(share, f"A probability in {what}")
    check_sum(row, what[0].upper() + what[1:])


def check_sum(shares: Sequence[float] | np.ndarray, what: str) -> None:
    """Check that probabilities add up to 1, to within `SUM_TOLERANCE`."""
    total = float(np.sum(shares))
    if abs(total - 1) > SUM_TOLERANCE:
        raise InputError(f"{what} must add up to 1, not {total:.6g}.")


# ---- Rank of counts, by a test -----------------------------------------------------------------------------


def rank_of_counts(table: np.ndarray) -> tuple[int, float | None]:
    """Find the rank that a table of counts proves, beyond sampling error.

    Ranks 1, 2, ... are tested in turn until one explains the table: a rank is kept too low rather than too high.
    The pixels are taken to draw their noisy labels independently of each other, as those of RCL and RL do; where
    noise clusters (PCL, a drawn blob) there is less proof in as many pixels, and the level does not hold.

    Parameters
    ----------
    table : (I, J) array of int
        Pixels by true class and noisy label, without the unlabelled ones. Rows and columns without any are left
        out, and lose a rank each.

    Returns
    -------
    rank : int
    p_value : float or None
        Of the last test made: at least `ALPHA` for the rank that explains the table, below it for the smaller
        rank that a table of full rank has refuted. None where there is a single row or column.
    """
    table = np.asarray(table, dtype=np.float64)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    p_value = None
    for rank in range(1, min(table.shape)):
        p_value = surplus(table, rank)
        if p_value >= ALPHA:
            return rank, p_value
    return min(table.shape), p_value


def homogeneity(first: np.ndarray, second: np.ndarray) -> float:
    """Return the probability that two rows of counts differ as far as these do, if both draw the same labels."""
    table = np.array([first, second], dtype=np.float64)
    return surplus(table[:, table.any(axis=0)], 1) if table.any(axis=1).all() else 1.0


def surplus(table: np.ndarray, rank: int) -> float:
    """Return the probability that a table departs from a rank as far as this one does, if that is its true rank.

    The statistic is Malinvaud's in correspondence analysis: the sum of the squared singular values that the rank
    leaves out of the standardised residuals ``(n_ij - r_i c_j / n) / sqrt(r_i c_j)``. For rank 1 it is Pearson's
    chi-square for independence over ``n``, with its law. For higher ranks Malinvaud takes a cell's variance from
    independence, which is wrong where labels depend strongly on classes; here mean and variance are those of a table
    of that rank, as Rao and Scott correct a chi-square: ``sum = g chi2(f)`` with ``g f = tr C`` and
    ``g^2 f = tr C^2``, C the covariance of what is left out.

    Where single pixels weigh much (rare classes, rare labels) the chi-square law finds ranks that are not there.
    Then Bennett's inequality bounds the probability, and the law serves the table without those rows and columns,
    whose rank cannot be higher.

    Parameters
    ----------
    table : (I, J) array
        Counts, no row or column empty.
    rank : int
        From 1 to less than I and J.

    Returns
    -------
    float
        0 to 1.

    References
    ----------
    Malinvaud, Data analysis in applied socio-economic statistics with special consideration of correspondence
    analysis, 1987; Rao and Scott, Annals of Statistics 12, 1984; Pinelis, Annals of Probability 22, 1994, theorem 3.4
    (Bennett's inequality for vectors).
    """
    p_value = 1.0
    while min(table.shape) > rank:
        rest = _residual(table, rank)
        if min(rest.size, rest.mean, rest.square) <= 0:
            return p_value
        largest = rest.steps.max()
        if largest * _CROWD <= rest.mean:
            from scipy.stats import chi2

            law = chi2.sf(rest.size * rest.mean / rest.square, rest.mean**2 / rest.square)
            return min(p_value, float(law))
        p_value = min(p_value, _bennett(rest.size, rest.mean, largest))
        table = _without(table, rest.steps > max(largest / 2, rest.mean / _CROWD))
    return p_value


class _Residual(NamedTuple):
    """Residual of a table after a rank."""

    size: float  # sum of the squared singular values left out
    mean: float  # its expectation under the rank, tr C
    square: float  # half its variance, tr C^2
    steps: np.ndarray  # (I, J) squared length by which one pixel of a cell moves the residual


def _residual(table: np.ndarray, rank: int) -> _Residual:
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    total = rows.sum()
    left, values, right = np.linalg.svd((table - np.outer(rows, columns) / total) / np.sqrt(np.outer(rows, columns)))
    kept = rank - 1  # independence is rank 1
    u = np.column_stack([np.sqrt(rows / total), left[:, :kept]])
    v = np.column_stack([np.sqrt(columns / total), right[:kept].T])
    fitted = np.clip((u * np.append(1, values[:kept])) @ v.T * np.sqrt(np.outer(1 / rows, columns)), 0, None)
    fitted /= fitted.sum(axis=1, keepdims=True)  # rows are probabilities; a fit of low rank may dip below 0

    # C = sum over rows of (A a a' A) x (B D B): A, B project on what is left, D holds the variances of a row's cells.
    a, b = np.eye(len(u)) - u @ u.T, np.eye(len(v)) - v @ v.T
    variance = fitted / columns
    return _Residual(
        size=float(np.sum(values[kept:] ** 2)),
        mean=float(np.diag(a) @ variance @ np.diag(b)),
        square=float(np.sum(a**2 * (variance @ b**2 @ variance.T))),
        steps=np.outer(np.diag(a) / rows, np.diag(b) / columns),
    )


def _bennett(square: float, variance: float, largest: float) -> float:
    """Bound P(|sum|^2 >= square) for independent vectors of given total variance, each |x|^2 <= largest."""
    r, v = np.sqrt(square / largest), variance / largest
    return float(min(1.0, 2 * np.exp(r - (r + v) * np.log1p(r / v))))


def _without(table: np.ndarray, heavy: np.ndarray) -> np.ndarray:
    """Leave heavy cells out of a table: of each the row or the column goes, whichever has fewer pixels."""
    by_row = table.sum(axis=1)[:, None] <= table.sum(axis=0)
    table = table[~(heavy & by_row).any(axis=1)][:, ~(heavy & ~by_row).any(axis=0)]
    return table[table.any(axis=1)][:, table.any(axis=0)]
