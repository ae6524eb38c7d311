"""The rank of a noise transition matrix: exact for one in closed form, by a test for one that was counted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ALPHA = 1e-3
"""Level of the test: of tables drawn at random, one or two in a thousand are given too high a rank."""

_CROWD = 25
"""The chi-square law is trusted where no single pixel can make more than 1 / 25 of the variance."""


def rank_of_matrix(matrix: np.ndarray) -> int:
    """Rank of a matrix in closed form: singular values above numpy's rounding tolerance."""
    return int(np.linalg.matrix_rank(matrix))


def rank_of_counts(table: np.ndarray, alpha: float = ALPHA) -> tuple[int, float | None]:
    """The rank that a table of counts proves, beyond sampling error.

    Ranks 1, 2, ... are tested in turn until one explains the table: a rank is kept too low rather than too high.
    The pixels are taken to draw their noisy labels independently of each other, as those of RCL and RL do; where
    noise clusters (PCL, a drawn blob) there is less proof in as many pixels, and the level does not hold.

    Parameters
    ----------
    table : (I, J) array of int
        Pixels by true class and noisy label, without the unlabelled ones. Rows and columns without any are left
        out, and lose a rank each.
    alpha : float
        Level of each test.

    Returns
    -------
    rank : int
    p_value : float or None
        Of the last test made: at least ``alpha`` for the rank that explains the table, below it for the smaller
        rank that a table of full rank has refuted. None where there is a single row or column.
    """
    table = np.asarray(table, dtype=np.float64)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    p_value = None
    for rank in range(1, min(table.shape)):
        p_value = surplus(table, rank)
        if p_value >= alpha:
            return rank, p_value
    return min(table.shape), p_value


def homogeneity(first: np.ndarray, second: np.ndarray) -> float:
    """How probable it is that two rows of counts differ as far as these do, if both draw the same labels."""
    table = np.array([first, second], dtype=np.float64)
    return surplus(table[:, table.any(axis=0)], 1) if table.any(axis=1).all() else 1.0


def surplus(table: np.ndarray, rank: int) -> float:
    """How probable it is that a table departs from a rank as far as this one does, if that is its true rank.

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
    """What a rank leaves of a table."""

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
    """A bound on P(|sum|^2 >= square) for independent vectors of given total variance, each |x|^2 <= largest."""
    r, v = np.sqrt(square / largest), variance / largest
    return float(min(1.0, 2 * np.exp(r - (r + v) * np.log1p(r / v))))


def _without(table: np.ndarray, heavy: np.ndarray) -> np.ndarray:
    """The table without the heavy cells: of each the row or the column goes, whichever has fewer pixels."""
    by_row = table.sum(axis=1)[:, None] <= table.sum(axis=0)
    table = table[~(heavy & by_row).any(axis=1)][:, ~(heavy & ~by_row).any(axis=0)]
    return table[table.any(axis=1)][:, table.any(axis=0)]
