"""Candidate masks: which threshold of the probability agrees best with it, eqs. (2) to (5).

For a mask ``s = [p > t]`` of N pixels the determinant of eq. (5) is
``det Q = N sum(p s) - sum(p) sum(s) = N^2 Cov(p, s)``. It is never negative, rises until t reaches the mean of
p and falls after it, so the best of *all* thresholds under DMI is the mean of P. Every criterion here depends
on a threshold only through the number and the sum of the pixels above it: one histogram serves all K masks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from napari_metastructure.igtt.edges import outline_rank
from napari_metastructure.training.events import ScoreCurve

Criterion = Literal["dmi", "correlation", "iou", "bce", "edge"]
Search = Literal["grid", "exact"]

LEVELS = 256
"""About how many thresholds stand for "all" in the exact search of a criterion without a closed form."""

_SMALL = 1e-12


def thresholds(p: np.ndarray, k: int) -> np.ndarray:
    """The K thresholds of eqs. (2) and (3): equally spaced from the least to the greatest probability."""
    return np.linspace(float(p.min()), float(p.max()), k)


def scores(p: np.ndarray, t: np.ndarray, criterion: Criterion, steep: np.ndarray | None = None) -> np.ndarray:
    """Score of the mask ``p > t`` for each threshold; higher is better.

    Parameters
    ----------
    p : array
        Probabilities, 0 to 1.
    t : (K,) float array
        Increasing thresholds.
    criterion : {"dmi", "correlation", "iou", "bce", "edge"}
        ``dmi``: log of the determinant of eq. (5) over N^2, so minus the L_DMI of eq. (4) up to a constant.
        ``correlation``: Pearson's, DMI normalised by both variances; its best threshold is Otsu's.
        ``iou``: soft intersection over union. ``bce``: minus the mean binary cross-entropy.
        ``edge``: ``correlation`` times the mean `edges.steepness` along the mask's outline, so that of masks that
        agree about as well the one whose outline the image confirms is taken.
    steep : (Y, X) float array, optional
        `edges.steepness` of the image, for ``edge``.

    Returns
    -------
    (K,) float64 array
        -inf where the mask is empty or full and the criterion says nothing.
    """
    if criterion == "edge":
        if steep is None:
            raise ValueError("criterion 'edge' needs the image's steepness")
        agreement = scores(p, t, "correlation")
        usable = np.isfinite(agreement)
        return np.where(usable, np.where(usable, agreement, 0) * np.sqrt(outline_rank(p, t, steep)), -np.inf)
    p = p.ravel()
    n = p.size
    above = np.searchsorted(t, p, side="left")  # p passes the first `above` thresholds: t < p

    def tail(weights: np.ndarray | None = None) -> np.ndarray:
        """For each threshold, the sum of weights over the pixels above it."""
        return np.bincount(above, weights, minlength=len(t) + 1)[::-1].cumsum()[::-1][1:].astype(np.float64)

    p64 = p.astype(np.float64)
    count, mass, total = tail(), tail(p64), p64.sum()
    covariance = np.maximum(mass / n - total / n * count / n, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        if criterion == "dmi":
            return np.log(covariance)
        if criterion == "correlation":
            share = count / n
            score = covariance / np.sqrt(share * (1 - share) * p64.var())
        elif criterion == "iou":
            score = mass / (total + count - mass)
        else:
            q = np.clip(p64, _SMALL, 1 - _SMALL)
            inside, outside = np.log(q), np.log1p(-q)
            score = (tail(inside) + outside.sum() - tail(outside)) / n
    return np.where((count > 0) & (count < n) & np.isfinite(score), score, -np.inf)


def search(
    p: np.ndarray,
    criterion: Criterion = "correlation",
    method: Search = "exact",
    k: int = 30,
    steep: np.ndarray | None = None,
) -> ScoreCurve:
    """Find the threshold whose mask agrees best with the probability it was cut from.

    Parameters
    ----------
    p : (Y, X) float array
        Foreground probability.
    criterion : {"dmi", "correlation", "iou", "bce", "edge"}
        See `scores`.
    method : {"grid", "exact"}
        The best of the K thresholds of eq. (2), or the best of all: the mean of p for ``dmi``, of `LEVELS` levels
        for the others.
    k : int
        Number of thresholds of the returned curve, and of the grid.
    steep : (Y, X) float array, optional
        `edges.steepness` of the image, for ``edge``.

    Returns
    -------
    ScoreCurve
        A constant p gives its own value as threshold, so an empty mask.
    """
    # The K thresholds are every so many of the finer ones, so one pass serves the curve and the search.
    every = 1 if method == "grid" else max(1, round(LEVELS / k))
    t = thresholds(p, (k - 1) * every + 1)
    fine = scores(p, t, criterion, steep)
    chosen = float(t[np.argmax(fine)])
    if criterion == "dmi" and method == "exact" and np.isfinite(fine).any():
        chosen = float(p.mean(dtype=np.float64))
    return ScoreCurve(t[::every], fine[::every], chosen)
