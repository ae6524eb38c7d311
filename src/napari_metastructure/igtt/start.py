"""The labels before the first round: where iGTT starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import sato, threshold_li, threshold_otsu

from napari_metastructure.igtt.edges import Edges
from napari_metastructure.images.intensity import contrast_and_log, log_intensity

SCALES = (4.0, 8.0, 16.0, 32.0)
TUBES = (1.0, 2.0, 3.0)
SHARPNESS = 0.1
"""Relative difference in edge score that weighs a candidate down by a factor e."""


def start_probability(plane: np.ndarray, method: Literal["fusion", "contrast", "otsu", "black"]) -> np.ndarray:
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
    return fuse(plane, Edges(plane))


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


def fuse(plane: np.ndarray, edges: Edges) -> np.ndarray:
    """Weighted vote of the `candidates`: the better its outline and the image's edges agree, the more one counts.

    Returns
    -------
    (Y, X) float32 array of 0 to 1
    """
    masks = candidates(plane)
    scores = np.array([edges.score(mask) for mask in masks])
    best = scores.max()
    weights = np.exp((scores / best - 1) / SHARPNESS) if best > 0 else np.ones(len(masks))
    return np.tensordot(weights / weights.sum(), masks.astype(np.float32), axes=1).astype(np.float32)


def _above(values: np.ndarray, threshold: Callable[[np.ndarray], float]) -> np.ndarray:
    """The mask above a threshold; empty where the values leave nothing to split."""
    low = values.min()
    if values.max() <= low:
        return np.zeros(values.shape, bool)
    return values > threshold(values - low) + low  # Li's threshold is defined for values from 0 up
