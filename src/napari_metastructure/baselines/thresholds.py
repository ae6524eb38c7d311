"""The training-free baselines: a filter and a threshold each."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import sato, threshold_local, threshold_otsu

from napari_metastructure.baselines.methods import Segmentation
from napari_metastructure.images.intensity import contrast_and_log

BLUR = 1.0
"""Standard deviation in pixels of the Gaussian before Otsu's threshold."""
WINDOW = 101
"""Side in pixels of the window of adaptive thresholding; smaller images take the largest odd one that fits."""
SURROUND = 4.0
"""Scale in pixels of local contrast."""
TUBES = (1.0, 2.0, 3.0)
"""Scales in pixels of the ridge filter."""


def otsu(plane: np.ndarray) -> Segmentation:
    """Otsu's threshold after a slight Gaussian blur.

    Parameters
    ----------
    plane : (Y, X) float32 array
        Oriented: objects bright. So for all functions here.

    Returns
    -------
    Segmentation
        Its score is what was cut. So for all functions here.

    References
    ----------
    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9, 62-66, 1979.
    """
    return _above_otsu(ndi.gaussian_filter(plane, BLUR))


def adaptive_gaussian(plane: np.ndarray) -> Segmentation:
    """Brighter than the Gaussian-weighted mean of the surround.

    References
    ----------
    R. C. Gonzalez and R. E. Woods, *Digital Image Processing*, section "Variable thresholding".
    """
    side = min(WINDOW, *plane.shape)
    above = plane - threshold_local(plane, side - (side % 2 == 0), method="gaussian")
    return Segmentation(above > 0, above.astype(np.float32))


def local_contrast(plane: np.ndarray) -> Segmentation:
    """Otsu's threshold of the local contrast, with a share of the log intensity: iGTT's plain start."""
    return _above_otsu(contrast_and_log(plane, SURROUND))


def ridge(plane: np.ndarray) -> Segmentation:
    """Otsu's threshold of a ridge filter at several scales.

    References
    ----------
    Y. Sato et al., "Three-dimensional multi-scale line filter for segmentation and visualization of curvilinear
    structures in medical images", Medical Image Analysis 2, 143-168, 1998.
    """
    return _above_otsu(sato(plane, sigmas=TUBES, black_ridges=False))


def _above_otsu(values: np.ndarray) -> Segmentation:
    """Cut a map at Otsu's threshold; nothing is above it where all values are alike."""
    values = values.astype(np.float32)
    flat = values.min() == values.max()
    mask = np.zeros(values.shape, bool) if flat else values > threshold_otsu(values)
    return Segmentation(mask, values)


FILTERS = {"otsu": otsu, "agt": adaptive_gaussian, "lc": local_contrast, "ridge": ridge}
"""By the names of `methods.METHODS`."""
