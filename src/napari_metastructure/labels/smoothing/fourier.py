"""Convolution by Fourier transform, tile by tile.

The time hardly grows with the kernel, and the memory besides the result does not grow with the image. It does with the
kernel: 0.4 GB at a radius of 1000 pixels, 1.2 GB at 2000, twice that in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SMALLEST, _LARGEST = 256, 4096
_EXACT = 1 << 18
"""Float32 transforms are exact to a tenth of a point for sums below this."""


def convolve(mask: np.ndarray, weights: np.ndarray, *, whole: bool = False, precise: bool = False) -> np.ndarray:
    """Convolve a mask with a kernel that is the same from all sides; zeros outside.

    Parameters
    ----------
    mask : (Y, X) array of booleans
    weights : (2 ry + 1, 2 rx + 1) array
        Not negative, symmetric about its centre.
    whole : bool
        The sums are whole numbers: round them, which makes them exact.
    precise : bool
        Transform in float64.

    Returns
    -------
    (Y, X) float32 array, nowhere negative
    """
    from scipy.fft import irfft2, rfft2

    dtype = np.float64 if precise or (whole and weights.sum() > _EXACT) else np.float32
    rows, columns = (_Tiles.of(n, k // 2) for n, k in zip(mask.shape, weights.shape, strict=True))
    spectrum = _spectrum(weights, (rows.transform, columns.transform), dtype)
    result = np.empty(mask.shape, np.float32)
    tile = np.zeros((rows.transform, columns.transform), dtype)
    for y, above, inner_y in rows.pieces():
        for x, beside, inner_x in columns.pieces():
            points = mask[above, beside]
            tile[:] = 0
            tile[: points.shape[0], : points.shape[1]] = points
            product = rfft2(tile)
            product *= spectrum
            sums = irfft2(product, s=tile.shape, overwrite_x=True)[inner_y, inner_x]
            if whole:
                np.rint(sums, out=sums)
            np.maximum(sums, 0, out=result[y, x], casting="same_kind")
    return result


def _spectrum(weights: np.ndarray, size: tuple[int, int], dtype: type) -> np.ndarray:
    """The kernel's transform; real, because the kernel lies symmetric about the corner, wrapped around it."""
    from scipy.fft import rfft2

    kernel: np.ndarray = np.zeros(size, dtype)
    kernel[: weights.shape[0], : weights.shape[1]] = weights
    kernel = np.roll(kernel, [-(n // 2) for n in weights.shape], axis=(0, 1))
    return np.ascontiguousarray(rfft2(kernel).real)


@dataclass(frozen=True)
class _Tiles:
    """How one axis is cut: ``length`` pixels at a time, ``transform`` with the margins."""

    n: int
    radius: int
    length: int
    transform: int

    @classmethod
    def of(cls, n: int, radius: int) -> _Tiles:
        """Tiles that fit a processor's cache where the radius allows it, and are mostly not margin."""
        from scipy.fft import next_fast_len

        size = max(_SMALLEST, min(12 * radius, _LARGEST), 4 * radius)
        if n + radius <= size:  # what wraps around then falls into the empty margin
            return cls(n, radius, n, next_fast_len(n + radius, real=True))
        number = -(-n // (size - 2 * radius))
        length = -(-n // number)
        return cls(n, radius, length, next_fast_len(length + 2 * radius, real=True))

    def pieces(self) -> list[tuple[slice, slice, slice]]:
        """For each tile: its pixels, those with the margin, and the former within the latter."""
        found = []
        for start in range(0, self.n, self.length):
            stop = min(start + self.length, self.n)
            first = max(0, start - self.radius)
            found.append((slice(start, stop), slice(first, stop + self.radius), slice(start - first, stop - first)))
        return found
