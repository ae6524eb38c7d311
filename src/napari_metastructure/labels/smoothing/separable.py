"""Gaussian sums as products with small matrices, by way of a coarser grid where the Gaussian is wide.

A Gaussian of variance h^2 is the convolution of two of variance h^2 / 2, and the integral between them may be a sum
over every d-th pixel: with d <= h / 1.6 it is wrong by less than 2 exp(-2 pi^2 (h / 2d)^2) < 1e-5 of itself. So the
image is blurred into a grid d times coarser, and that into the result. Each step multiplies bands of rows with a small
matrix, which is what a processor does fastest.
"""

from __future__ import annotations

import numpy as np

from napari_metastructure.labels.kernels import gaussian

_STEP = 1.6
_REACH, _HALF_REACH = 6, 4
"""Where a Gaussian, and each of two, is cut, in bandwidths h: also sums 4 h from the nearest point are right."""


def blur(mask: np.ndarray, bandwidth: tuple[float, float]) -> np.ndarray:
    """Sum a Gaussian of height 1 over the points of a mask; there are none outside.

    Parameters
    ----------
    mask : (Y, X) array of booleans
    bandwidth : (float, float)
        Sigma in pixels, along Y and X.

    Returns
    -------
    (Y, X) float32 array
    """
    rows, columns = mask.shape
    *before, last = _steps(rows, bandwidth[0])
    result = mask
    for step in before:
        result = _along_rows(result, *step)
    for step in _steps(columns, bandwidth[1]):
        # Bands are of rows: turned on its side, the image has its columns there.
        result = _along_rows(result.T, *step).T
    return _along_rows(result, *last)


_Step = tuple[np.ndarray, np.ndarray, float, float, float]


def _steps(n: int, h: float) -> list[_Step]:
    """What to do along an axis of n pixels: places from, places to, sigma, reach, factor."""
    pixels = np.arange(n)
    d = int(h / _STEP)
    if d < 2:
        return [(pixels, pixels, h, h * _REACH, 1.0)]
    margin = int(h * _HALF_REACH / d)
    grid = np.arange(-margin, (n - 1) // d + margin + 2) * d
    sigma, reach = h / np.sqrt(2), h * _HALF_REACH
    return [(pixels, grid, sigma, reach, 1.0), (grid, pixels, sigma, reach, d * np.sqrt(2 / np.pi) / h)]


def _along_rows(
    image: np.ndarray, start: np.ndarray, end: np.ndarray, sigma: float, reach: float, factor: float
) -> np.ndarray:
    """Rows at the places ``end`` as weighted sums of the rows at the places ``start``."""
    result = np.empty((len(end), image.shape[1]), np.float32)
    band = 96 if len(end) > len(start) else 32
    for first in range(0, len(end), band):
        to = end[first : first + band]
        near = slice(*np.searchsorted(start, [to[0] - reach, to[-1] + reach]))
        matrix = (factor * gaussian(to[:, None] - start[near], sigma)).astype(np.float32)
        np.matmul(matrix, image[near].astype(np.float32, copy=False), out=result[first : first + band])
    return result
