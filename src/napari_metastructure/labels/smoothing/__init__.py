"""Sums under a kernel around each pixel of a mask, by the fastest way for each kernel; density.py normalises them."""

from __future__ import annotations

import numpy as np

from napari_metastructure.labels.kernels import Kernel, gaussian, weights
from napari_metastructure.labels.smoothing.counts import count
from napari_metastructure.labels.smoothing.fourier import convolve
from napari_metastructure.labels.smoothing.separable import blur

__all__ = ["reach_of", "smooth", "smooth_ones"]


def smooth(mask: np.ndarray, kernel: Kernel, bandwidth: tuple[float, float], precise: bool = False) -> np.ndarray:
    """Sum a kernel of height 1 over the points of a mask: eq. (8) without 1 / 2Nh, in two dimensions.

    Parameters
    ----------
    mask : (Y, X) array of booleans
        The points; there are none outside.
    kernel : {"box", "gaussian", "epanechnikov"}
    bandwidth : (float, float)
        Pixels, along Y and X.
    precise : bool
        Small sums are right to 1e-6 of themselves, not only to 1e-6 of the largest: for those who divide by them.

    Returns
    -------
    (Y, X) float32 array
        Of ``box`` whole numbers: the points nearer than the bandwidth. Nowhere negative.
    """
    if kernel == "gaussian":
        return blur(mask, bandwidth)
    shape = weights(kernel, bandwidth)
    if kernel == "box":
        return count(mask, shape != 0)
    return convolve(mask, shape, precise=precise)


def smooth_ones(size: tuple[int, int], kernel: Kernel, bandwidth: tuple[float, float]) -> np.ndarray:
    """`smooth` of a mask that is full, in a fraction of the time: away from the border all pixels are alike.

    Parameters
    ----------
    size : (int, int)
        Y and X.
    kernel, bandwidth
        As in `smooth`.

    Returns
    -------
    (Y, X) float32 array
    """
    radius = [n // 2 for n in weights(kernel, bandwidth).shape]
    places = [_distinct(n, r) for n, r in zip(size, radius, strict=True)]
    small = np.ones([int(p[-1]) + 1 for p in places], dtype=bool)
    return smooth(small, kernel, bandwidth)[:, places[1]][places[0]]


def reach_of(kernel: Kernel, bandwidth: tuple[float, float]) -> float:
    """The least sum that means "a point is in reach".

    Half the smallest weight, as long as that stands out from rounding; a Gaussian has no end, so there it is the weight
    of one point 4 bandwidths away.
    """
    if kernel == "gaussian":
        return 0.999 * float(gaussian(np.array(4.0), 1.0))  # a pixel exactly there is in reach, however it is rounded
    shape = weights(kernel, bandwidth)
    return max(float(shape[shape > 0].min()) / 2, 1e-9 * float(shape.sum()))


def _distinct(n: int, radius: int) -> np.ndarray:
    """For each of n pixels in a row its like in the shortest row that has both borders and one pixel between."""
    place = np.arange(n)
    if n <= 2 * radius + 1:
        return place
    return np.where(place < n - radius, np.minimum(place, radius), place - (n - 2 * radius - 1))
