"""What eq. (7) leaves of noisy densities: how large it is, and how large sampling error makes it."""

from __future__ import annotations

import numpy as np

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.kernels import Kernel, weights
from napari_metastructure.labels.smoothing import smooth
from napari_metastructure.labels.transition import TransitionMatrix

_PIXELS = 1 << 17


def products(
    clean: np.ndarray, noisy: np.ndarray, classes: tuple[int, ...], kernel: Kernel, bandwidth: tuple[float, float]
) -> np.ndarray:
    """Inner products of the smoothed clean and noisy classes, summed over all planes.

    Each plane is given a margin of the kernel's radius first: no weight is cut off at the border, so all pixels weigh
    alike and `sampling_error` is exact. Where the clean label is unlabelled the noisy one does not count either.

    Parameters
    ----------
    clean, noisy : (..., Y, X) arrays of integers
    classes : tuple of int
        The M classes.
    kernel, bandwidth
        As in `napari_metastructure.labels.smoothing.smooth`.

    Returns
    -------
    (2 M, 2 M) float64 array
        First the clean classes, then the noisy ones.
    """
    margin = [(n // 2, n // 2) for n in weights(kernel, bandwidth).shape]
    total = np.zeros((2 * len(classes), 2 * len(classes)))
    for before, after in zip(*(a.reshape(-1, *a.shape[-2:]) for a in (clean, noisy)), strict=True):
        known = before != UNLABELLED
        masks = [before == c for c in classes] + [(after == c) & known for c in classes]
        maps = np.stack([smooth(np.pad(mask, margin), kernel, bandwidth).ravel() for mask in masks])
        for start in range(0, maps.shape[1], _PIXELS):
            part = maps[:, start : start + _PIXELS].astype(np.float64)  # in float32 the remainder would be lost
            total += part @ part.T
    return total


def sampling_error(
    transition: TransitionMatrix, kernel: Kernel, bandwidth: tuple[float, float]
) -> tuple[np.ndarray, float]:
    """The remainder that pixels drawn independently leave on average, and how much its trace varies.

    With V_i = diag(q_i) - q_i q_i' the covariance of pixel i's indicators and C the kernel convolved with itself, the
    expectation is C(0) sum_i V_i, and the variance of the trace is 2 sum_i sum_j tr(V_i V_j) C(i - j)^2 over i != j,
    at most 2 sum_i tr(V_i^2) sum_d C(d)^2, and hardly less.

    Parameters
    ----------
    transition : TransitionMatrix
        With counts.
    kernel, bandwidth
        As in `napari_metastructure.labels.smoothing.smooth`.

    Returns
    -------
    expected : (M, M) float64 array
    deviation : float
        Standard deviation of the trace of what exceeds it.
    """
    assert transition.counts is not None
    pixels = transition.counts.sum(axis=1)
    rows = np.nan_to_num(transition.matrix)
    covariance = np.array([np.diag(q) - np.outer(q, q) for q in rows])
    shape = weights(kernel, bandwidth)
    own = float(np.sum(shape**2))
    power = np.abs(np.fft.fft2(shape, [2 * n for n in shape.shape])) ** 2
    others = float(np.mean(power**2)) - own**2  # Parseval: the sum of C^2 over all shifts but none
    expected = own * np.tensordot(pixels, covariance, axes=1)
    return expected, float(np.sqrt(2 * others * np.sum(pixels * np.sum(covariance**2, axis=(1, 2)))))
