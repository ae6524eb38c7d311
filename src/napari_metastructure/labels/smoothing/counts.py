"""Points within a disc: exact, by running sums for small discs and by Fourier transform for large ones."""

from __future__ import annotations

import numpy as np

from napari_metastructure.labels.smoothing.fourier import convolve

_MOST = 255
_TILE = 1 << 19


def count(mask: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """How many points lie under a convex, symmetric footprint around each pixel.

    Parameters
    ----------
    mask : (Y, X) array of booleans
    footprint : (2 ry + 1, 2 rx + 1) array of booleans

    Returns
    -------
    (Y, X) float32 array of whole numbers
    """
    if np.count_nonzero(footprint) > _MOST:
        return convolve(mask, footprint, whole=True)
    ry, rx = (n // 2 for n in footprint.shape)
    wide = min(mask.shape[1], 2048)
    high = max(32, _TILE // (wide + 2 * rx) - 2 * ry)
    result = np.empty(mask.shape, np.float32)
    for top in range(0, mask.shape[0], high):
        for left in range(0, mask.shape[1], wide):
            part = result[top : top + high, left : left + wide]
            part[:] = _running(_around(mask, top, left, part.shape, (ry, rx)), footprint, part.shape)
    return result


def _running(points: np.ndarray, footprint: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Per column of the footprint, the difference of two running sums down the image.

    Bytes may run over: differences modulo 256 are right as long as the footprint has no more than 255 pixels. They
    are an order of magnitude faster than floats.
    """
    sums = np.zeros((points.shape[0] + 1, points.shape[1]), np.uint8)
    for i, row in enumerate(points):  # np.cumsum along this axis is several times slower
        np.add(sums[i], row, out=sums[i + 1])
    ry = footprint.shape[0] // 2
    total = np.zeros(size, np.uint8)
    for x, column in enumerate(footprint.T):
        half = int(np.count_nonzero(column)) // 2
        total += sums[ry + half + 1 : ry + half + 1 + size[0], x : x + size[1]]
        total -= sums[ry - half : ry - half + size[0], x : x + size[1]]
    return total


def _around(mask: np.ndarray, top: int, left: int, size: tuple[int, ...], radius: tuple[int, int]) -> np.ndarray:
    """A part of a mask with a margin, as bytes; 0 outside the mask."""
    (high, wide), (ry, rx) = size, radius
    result = np.zeros((high + 2 * ry, wide + 2 * rx), np.uint8)
    rows = slice(max(0, top - ry), top + high + ry)
    columns = slice(max(0, left - rx), left + wide + rx)
    inside = mask[rows, columns]
    y, x = rows.start - top + ry, columns.start - left + rx
    result[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return result
