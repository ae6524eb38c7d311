"""Intensity, made comparable: polarity, local contrast, and the channels a network sees."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage as ndi

Polarity = Literal["bright", "dark"]
Inputs = Literal["zscore", "multiscale"]

CONTRAST_SCALES = (4.0, 16.0)
"""Radii in pixels of the two local-contrast channels: about a tubule's and about a nucleus' surround."""


def zscore(plane: np.ndarray) -> np.ndarray:
    """Zero mean, unit standard deviation; a constant plane becomes zeros.

    Parameters
    ----------
    plane : (Y, X) array

    Returns
    -------
    (Y, X) float32 array
    """
    plane = plane.astype(np.float32)
    plane -= plane.mean(dtype=np.float64)
    deviation = plane.std(dtype=np.float64)
    return plane / np.float32(deviation) if deviation > 0 else plane


def orient(plane: np.ndarray, objects: Polarity) -> np.ndarray:
    """The z-scored plane with its objects bright: dark ones are turned around."""
    z = zscore(plane)
    return -z if objects == "dark" else z


def log_intensity(plane: np.ndarray) -> np.ndarray:
    """Logarithm of the intensity above its minimum, z-scored: faint tubules beside saturated cell bodies show.

    A tenth of the range up to the 99th percentile is added first, so that the noise of the darkest pixels
    is not blown up.
    """
    above = plane - plane.min()
    bright = float(np.percentile(above, 99)) or float(above.max()) or 1.0
    return zscore(np.log(above + 0.1 * bright))


def local_contrast(plane: np.ndarray, scale: float, fine: float = 1.5) -> np.ndarray:
    """Difference of Gaussians over the local standard deviation.

    ``(g(x, fine) - g(x, scale)) / (std_scale(x) + std(x))``, with ``g(x, s)`` a Gaussian blur of s pixels and
    ``std_scale`` the standard deviation under the same window: how far a pixel stands out of its surround,
    in units of what is usual there.

    Parameters
    ----------
    plane : (Y, X) float array
    scale, fine : float
        Standard deviations in pixels of the surround and of the smoothing.
    """
    surround = ndi.gaussian_filter(plane, scale)
    variance = ndi.gaussian_filter(plane * plane, scale) - surround**2
    spread = np.sqrt(np.maximum(variance, 0)) + plane.std()
    return (ndi.gaussian_filter(plane, fine) - surround) / np.where(spread > 0, spread, 1)


def contrast_and_log(plane: np.ndarray, scale: float) -> np.ndarray:
    """LC: local contrast plus 0.3 of the smoothed log intensity, the training-free start."""
    return local_contrast(plane, scale) + 0.3 * zscore(ndi.gaussian_filter(log_intensity(plane), 4))


def network_inputs(plane: np.ndarray, kind: Inputs, objects: Polarity) -> np.ndarray:
    """What the network sees of a plane.

    Parameters
    ----------
    plane : (Y, X) array
    kind : {"zscore", "multiscale"}
        One channel (the paper's), or four: z-score, log intensity, and local contrast at `CONTRAST_SCALES`.
    objects : {"bright", "dark"}
        Dark objects are turned around, so that a model always looks for bright ones.

    Returns
    -------
    (C, Y, X) float32 array
    """
    z = orient(plane, objects)
    if kind == "zscore":
        return z[None]
    channels = [z, log_intensity(z), *(zscore(local_contrast(z, s)) for s in CONTRAST_SCALES)]
    return np.stack(channels).astype(np.float32)


def channels_of(kind: Inputs) -> int:
    """Number of channels `network_inputs` returns."""
    return 1 if kind == "zscore" else 2 + len(CONTRAST_SCALES)
