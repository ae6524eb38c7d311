"""Whether an outline runs where the image is steep: a sign of a right mask that needs no label."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import rank

WINDOW = 33
"""Side in pixels of the square in which gradients are compared."""


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
