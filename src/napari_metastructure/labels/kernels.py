"""The kernels of eq. (8): their shape, reach and height, and what bandwidths an image can take."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from napari_metastructure.errors import InputError

Kernel = Literal["box", "gaussian", "epanechnikov"]
"""Round kernels. The bandwidth is the radius of ``box`` and ``epanechnikov``, the sigma of ``gaussian``."""

KERNELS: tuple[Kernel, ...] = get_args(Kernel)

GAUSSIAN_REACH = 5
"""Where a Gaussian is cut, in bandwidths: what lies outside weighs less than 1e-6 of it."""


def check_kernel(kernel: str) -> Kernel:
    """The kernel, if there is one of that name.

    Raises
    ------
    InputError
        For any other name.
    """
    for known in KERNELS:
        if kernel == known:
            return known
    raise InputError(f"There is no kernel {kernel!r}; choose one of {', '.join(KERNELS)}.")


def check_bandwidth(bandwidth: Any, shape: tuple[int, ...], name: str = "The labels") -> tuple[float, float]:
    """The bandwidth along Y and X, if an image can take it.

    Parameters
    ----------
    bandwidth : float or (float, float)
        Pixels; two numbers are those along Y and X.
    shape : tuple of int
        Of the image; the last two axes count.
    name : str
        What the message calls the image.

    Returns
    -------
    (float, float)

    Raises
    ------
    InputError
        Unless there are one or two finite numbers above 0, neither larger than its side of the image.
    """
    try:
        by, bx = (float(b) for b in np.broadcast_to(np.asarray(bandwidth, dtype=float), 2))
    except (TypeError, ValueError):
        raise InputError(
            f"The bandwidth {bandwidth!r} must be a number of pixels, or one for Y and one for X."
        ) from None
    for width, side, axis in ((by, shape[-2], "high"), (bx, shape[-1], "wide")):
        if not (np.isfinite(width) and width > 0):
            raise InputError(f"The bandwidth must be a number of pixels above 0, not {width:g}.")
        if width > side:
            raise InputError(
                f"{name}: the bandwidth {width:g} is larger than the image, {side} pixels {axis}; lower it."
            )
    return by, bx


def height(kernel: Kernel, bandwidth: tuple[float, float]) -> float:
    """The kernel's value at its centre, per pixel of area, such that its integral over the plane is 1.

    With an area A = by * bx: 1 / (pi A) for box, 2 / (pi A) for Epanechnikov, 1 / (2 pi A) for Gaussian.
    """
    return {"box": 1.0, "epanechnikov": 2.0, "gaussian": 0.5}[kernel] / (np.pi * bandwidth[0] * bandwidth[1])


def weights(kernel: Kernel, bandwidth: tuple[float, float]) -> np.ndarray:
    """The kernel at whole pixels around its centre, where it is 1.

    A pixel counts whose distance is less than the bandwidth, as in scikit-learn.

    Returns
    -------
    (2 ry + 1, 2 rx + 1) float64 array
    """
    if kernel == "gaussian":
        column, row = (gaussian(offsets(b * GAUSSIAN_REACH), b) for b in bandwidth)
        return column[:, None] * row
    by, bx = bandwidth
    y, x = offsets(by)[:, None], offsets(bx)
    far, limit = (y * bx) ** 2 + (x * by) ** 2, (by * bx) ** 2  # no division: whole numbers compare exactly
    inside = far < limit
    return inside * 1.0 if kernel == "box" else np.where(inside, 1 - far / limit, 0.0)


def offsets(reach: float) -> np.ndarray:
    """Whole pixels less than ``reach`` from 0, ascending."""
    last = int(np.ceil(reach)) - 1
    return np.arange(-last, last + 1)


def gaussian(distance: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of height 1."""
    return np.exp(-0.5 * (distance / sigma) ** 2)
