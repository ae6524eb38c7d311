"""Bright or dark objects: settled from the images alone, never from ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.intensity import Polarity, zscore


def asymmetry(plane: np.ndarray, fine: float = 1.0, scale: float = 16.0) -> float:
    """Skewness of the plane after a band pass of ``fine`` to ``scale`` pixels.

    Objects that fill less than half of the image are its long tail: positive for bright, negative for dark.
    The band pass takes out noise and uneven illumination, and dividing by the local contrast keeps one strong
    edge, such as the rim of a field of view, from deciding alone.
    """
    z = zscore(plane)
    band = ndi.gaussian_filter(z, fine) - ndi.gaussian_filter(z, scale)
    power = ndi.gaussian_filter(band * band, scale)
    even = zscore(band / np.sqrt(power + 0.01 * power.mean() + np.finfo(np.float32).tiny))
    return float(np.mean(even.astype(np.float64) ** 3))


def settle(planes: Sequence[np.ndarray]) -> Polarity:
    """The polarity of a set of planes: the sign of their median `asymmetry`."""
    return "bright" if np.median([asymmetry(p) for p in planes]) >= 0 else "dark"
