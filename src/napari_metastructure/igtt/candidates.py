"""Candidate masks: which threshold of the probability agrees best with it, eqs. (2) to (5).

For a mask ``s = [p > t]`` of N pixels the determinant of eq. (5) is
``det Q = N sum(p s) - sum(p) sum(s) = N^2 Cov(p, s)``. It is never negative, rises until t reaches the mean of
p and falls after it, so the best of *all* thresholds under DMI is the mean of P. Every criterion here depends
on a threshold only through the number and the sum of the pixels above it: one histogram serves all K masks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import rank, threshold_otsu

from napari_metastructure.training.events import ScoreCurve

# -------- Whether an outline runs where the image is steep: a sign of a right mask that needs no label.


WINDOW = 33
"""Side in pixels of the square in which gradients are compared."""

TOLERANCE = 2
"""Distance in pixels at which an outline still accounts for an edge."""


def steepness(plane: np.ndarray) -> np.ndarray:
    """Local rank of the gradient magnitude: the share of pixels nearby that are less steep.

    The rank makes faint and bright regions count alike.

    Parameters
    ----------
    plane : (Y, X) float array

    Returns
    -------
    (Y, X) float32 array of 0 to 1
    """
    steep = ndi.gaussian_gradient_magnitude(plane, 1)
    top = np.percentile(steep, 99.5)
    grey = np.clip(steep / (top if top > 0 else 1) * 255, 0, 255).astype(np.uint8)
    return rank.equalize(grey, np.ones((WINDOW, WINDOW), np.uint8)).astype(np.float32) / 255


def outline_rank(p: np.ndarray, t: np.ndarray, steep: np.ndarray) -> np.ndarray:
    """Mean `steepness` along the outlines of the masks ``p > t``, for all thresholds at once.

    Two neighbours lie on both sides of the outline for just those thresholds that lie between their values, so
    each pair of neighbours adds to a range of thresholds, and one cumulative sum over the ends of all ranges gives
    every mean: O(N + K) for K masks.

    Parameters
    ----------
    p : (Y, X) array
    t : (K,) float array
        Increasing thresholds.
    steep : (Y, X) float array

    Returns
    -------
    (K,) float64 array
        0 where a mask has no outline.
    """
    passed = np.searchsorted(t, p.ravel(), side="left").reshape(p.shape)
    total, count = np.zeros(len(t) + 1), np.zeros(len(t) + 1)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        one, other = passed[here], passed[there]
        apart = one != other
        one, other = one[apart], other[apart]
        low, high = np.minimum(one, other), np.maximum(one, other)
        weights = (steep[here][apart] + steep[there][apart]) / 2
        total += np.bincount(low, weights, len(t) + 1) - np.bincount(high, weights, len(t) + 1)
        count += np.bincount(low, minlength=len(t) + 1) - np.bincount(high, minlength=len(t) + 1)
    total, count = total.cumsum()[:-1], count.cumsum()[:-1]
    return np.divide(total, count, out=np.zeros(len(t)), where=count > 0.5)


class Edges:
    """The edges of one plane, found once, and how well masks agree with them.

    Parameters
    ----------
    plane : (Y, X) float array

    Attributes
    ----------
    steep : (Y, X) float32 array
        `steepness` of the plane.
    strong : (Y, X) bool array
        Edge pixels: gradient magnitude above Otsu's threshold.
    """

    def __init__(self, plane: np.ndarray) -> None:
        gradient = ndi.gaussian_gradient_magnitude(plane, 1)
        self.steep = steepness(plane)
        self.strong = gradient > (threshold_otsu(gradient) if np.ptp(gradient) > 0 else 0)

    def score(self, mask: np.ndarray) -> float:
        """How well the outline of a (Y, X) mask and the edges of the image account for each other, 0 to 1.

        Precision times the root of recall, their geometric mean weighted 2 to 1. Precision is the mean `steepness`
        along the outline, recall the share of the edge pixels within `TOLERANCE` of it. Precision alone is best
        where only the brightest object is found, recall alone where everything is outlined. No label enters.
        A mask without an outline scores 0.

        References
        ----------
        Martin, Fowlkes, Malik, "Learning to detect natural image boundaries using local brightness, color, and
        texture cues", IEEE TPAMI 26 (2004), for precision and recall of boundaries.
        """
        mask = np.asarray(mask, bool)
        wide = ndi.binary_dilation(mask, iterations=TOLERANCE)
        near = wide & ~ndi.binary_erosion(mask, iterations=TOLERANCE, border_value=1)
        recall = np.count_nonzero(self.strong & near) / max(1, int(np.count_nonzero(self.strong)))
        return float(outline_rank(mask, np.array([0.5]), self.steep)[0] * np.sqrt(recall))


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
