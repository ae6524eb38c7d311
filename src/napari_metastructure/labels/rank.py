"""The rank of a noise transition matrix: exact for one in closed form, by a test for one that was counted."""

from __future__ import annotations

import numpy as np

ALPHA = 1e-3
"""Level of the test: one rank in a thousand is found too high by sampling error."""

_CROWD = 25
"""The chi-square law is trusted where no single pixel makes more than 1 / 25 of the variance."""


def rank_of_matrix(matrix: np.ndarray) -> int:
    """Rank of a matrix in closed form: singular values above numpy's rounding tolerance."""
    return int(np.linalg.matrix_rank(matrix))


def rank_of_counts(table: np.ndarray, alpha: float = ALPHA) -> tuple[int, float | None]:
    """The rank that a table of counts proves, beyond sampling error.

    Ranks 1, 2, ... are tested in turn until one explains the table: a rank is kept too low rather than too high.
    The pixels are taken to draw their noisy labels independently of each other, as those of RCL and RL do; where
    noise clusters (PCL, a drawn blob), the level does not hold.

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


def surplus(table: np.ndarray, rank: int) -> float:
    """How probable it is that a table departs from a rank as far as this one does, if that is its true rank.

    The statistic is Malinvaud's in correspondence analysis, the sum of the squared singular values that the rank
    leaves out of the table's standardised residuals, ``(n_ij - r_i c_j / n) / sqrt(r_i c_j)``. For rank 1 it is
    Pearson's chi-square for independence over ``n``, and its law is known. For higher ranks Malinvaud takes the
    variance of a cell from independence, which is wrong where classes depend strongly on labels; here mean and
    variance are those of the table of that rank, as Rao and Scott correct a chi-square:
    ``sum = g chi2(f)``, ``g f = tr C``, ``2 g^2 f = 2 tr C^2``, C the covariance of what is left out.
    Where single pixels weigh much (rare classes, rare labels), Bennett's inequality bounds the probability in place
    of the chi-square law, which would find ranks that are not there.

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
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    total = rows.sum()
    left, values, right = np.linalg.svd((table - np.outer(rows, columns) / total) / np.sqrt(np.outer(rows, columns)))
    kept = rank - 1  # independence is rank 1
    u = np.column_stack([np.sqrt(rows / total), left[:, :kept]])
    v = np.column_stack([np.sqrt(columns / total), right[:kept].T])
    fitted = _shares((u * np.append(1, values[:kept])) @ v.T * np.sqrt(np.outer(1 / rows, columns)))
    rest = float(np.sum(values[kept:] ** 2))

    beside_u, beside_v = np.eye(len(u)) - u @ u.T, np.eye(len(v)) - v @ v.T
    weight = fitted / columns
    mean = float(np.diag(beside_u) @ weight @ np.diag(beside_v))
    square = float(np.sum(beside_u**2 * (weight @ beside_v**2 @ weight.T)))
    if rest <= 0 or mean <= 0 or square <= 0:
        return 1.0
    # One pixel moves the residual by at most this, among the cells where pixels are or may be.
    step = np.outer(np.diag(beside_u) / rows, np.diag(beside_v) / columns)
    largest = float(step[(fitted > 0) | (table > 0)].max())

    from scipy.stats import chi2

    p_value = float(chi2.sf(rest * mean / square, mean**2 / square))
    return p_value if largest * _CROWD <= mean else max(p_value, _bennett(rest, mean, largest))


def _bennett(square: float, variance: float, largest: float) -> float:
    """A bound on P(|sum|^2 >= square) for independent vectors of given total variance, each |x|^2 <= largest."""
    r, v = np.sqrt(square / largest), variance / largest
    return float(min(1.0, 2 * np.exp(r - (r + v) * np.log1p(r / v))))


def _shares(matrix: np.ndarray) -> np.ndarray:
    """Rows as probabilities: a fit of low rank may dip below 0."""
    positive = np.clip(matrix, 0, None)
    return np.asarray(positive / positive.sum(axis=1, keepdims=True))
