"""The labels before the first round: where iGTT starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import rank, sato, threshold_li, threshold_otsu

from napari_metastructure.images.intensity import contrast_and_log, log_intensity

Start = Literal["fusion", "contrast", "otsu", "black"]

SCALES = (4.0, 8.0, 16.0, 32.0)
TUBES = (1.0, 2.0, 3.0)
SHARPNESS = 0.03
"""Difference in edge rank that weighs a candidate down by a factor e."""

_SMALLEST = 8
"""A window for local ranks smaller than this says nothing."""


def start_probability(plane: np.ndarray, method: Start) -> np.ndarray:
    """Foreground probability before any training.

    Parameters
    ----------
    plane : (Y, X) float32 array
        Oriented: objects bright (`images.intensity.orient`).
    method : {"fusion", "contrast", "otsu", "black"}
        ``fusion``: `fuse` of many thresholdings. ``contrast``: LC and Otsu. ``otsu``: Otsu's threshold after a
        blur of one pixel. ``black``: all zero, as printed in Algorithm 1.

    Returns
    -------
    (Y, X) float32 array of 0 to 1
    """
    if method == "black":
        return np.zeros(plane.shape, np.float32)
    if method == "otsu":
        return _above(ndi.gaussian_filter(plane, 1), threshold_otsu).astype(np.float32)
    if method == "contrast":
        return _above(contrast_and_log(plane, SCALES[0]), threshold_otsu).astype(np.float32)
    return fuse(plane)


def candidates(plane: np.ndarray) -> np.ndarray:
    """Fourteen training-free masks: seven filters, each cut by Otsu's and by Li's threshold.

    The filters are a one-pixel blur of the intensity and of its logarithm, LC at four scales, and a ridge
    filter. None is good on every kind of image, and nobody knows beforehand which one is.

    Returns
    -------
    (14, Y, X) bool array
    """
    maps = [
        ndi.gaussian_filter(plane, 1),
        ndi.gaussian_filter(log_intensity(plane), 1),
        *(contrast_and_log(plane, s) for s in SCALES),
        sato(plane, sigmas=TUBES, black_ridges=False),
    ]
    return np.stack([_above(m, cut) for m in maps for cut in (threshold_otsu, threshold_li)])


def edge_rank(plane: np.ndarray, masks: np.ndarray, window: int = 33) -> np.ndarray:
    """How steep the image is along each mask's outline, as its mean local rank from 0 to 1.

    A right outline runs where the gradient is greater than elsewhere nearby. The rank makes faint and bright
    regions count alike. No label enters.

    Parameters
    ----------
    plane : (Y, X) float array
    masks : (M, Y, X) bool array
    window : int
        Side in pixels of the square in which the gradient is ranked.

    Returns
    -------
    (M,) float64 array
        0 for a mask without outline.
    """
    steep = ndi.gaussian_gradient_magnitude(plane, 1)
    top = np.percentile(steep, 99.5)
    grey = np.clip(steep / (top if top > 0 else 1) * 255, 0, 255).astype(np.uint8)
    ranked = rank.equalize(grey, np.ones((window, window), np.uint8)).astype(np.float64) / 255
    ranks = np.zeros(len(masks))
    for i, mask in enumerate(masks):
        outline = ndi.binary_dilation(mask) ^ ndi.binary_erosion(mask, border_value=1)
        ranks[i] = ranked[outline].mean() if outline.any() else 0
    return ranks


def fuse(plane: np.ndarray) -> np.ndarray:
    """Weighted vote of the `candidates`: the steeper the image along a mask's outline, the more it counts.

    Returns
    -------
    (Y, X) float32 array of 0 to 1
    """
    masks = candidates(plane)
    ranks = edge_rank(plane, masks)
    weights = np.exp((ranks - ranks.max()) / SHARPNESS)
    return np.tensordot(weights / weights.sum(), masks.astype(np.float32), axes=1).astype(np.float32)


def _above(values: np.ndarray, threshold: Callable[[np.ndarray], float]) -> np.ndarray:
    """The mask above a threshold; empty where the values leave nothing to split."""
    low = values.min()
    if values.max() <= low:
        return np.zeros(values.shape, bool)
    return values > threshold(values - low) + low  # Li's threshold is defined for values from 0 up
