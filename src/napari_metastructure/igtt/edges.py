"""Whether an outline runs where the image is steep: a sign of a right mask that needs no label."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import rank, threshold_otsu

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
