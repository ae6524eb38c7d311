"""Whether pixels can be worked on at all: asked by the command line and the plugin before anything starts."""

from __future__ import annotations

import numpy as np

from napari_metastructure.errors import InputError

SMALLEST_SIDE = 8
"""Fewer pixels along a side leave a network nothing to look at; anything larger is padded to its stride."""


def check_plane(array: np.ndarray, name: str) -> np.ndarray:
    """One image plane as float32, or one sentence that says why it cannot be used.

    Parameters
    ----------
    array : (Y, X) array
        Booleans, integers of any width or floats; negative values are fine.
    name : str
        The file or layer, as messages call it.

    Returns
    -------
    (Y, X) float32 array
        The same values (a copy unless ``array`` was float32 already).

    Raises
    ------
    InputError
        Complex or non-numeric pixels, not two dimensions, no pixels, a side under `SMALLEST_SIDE`,
        NaN or infinite pixels, values beyond float32, or one value everywhere.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "buif":
        kind = "complex numbers" if array.dtype.kind == "c" else f"of type {array.dtype}"
        raise InputError(f"{name}: its pixels are {kind}; give an image of real numbers.")
    if array.ndim != 2:
        raise InputError(f"{name}: a plane of two dimensions is needed, this has {array.ndim}.")
    height, width = array.shape
    if not array.size:
        raise InputError(f"{name}: it has no pixels ({width} x {height}); give an image that has some.")
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(f"{name}: {width} x {height} pixels are too few; each side needs at least {SMALLEST_SIDE}.")
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise InputError(
            f"{name}: {bad} of {array.size} pixels are NaN or infinite; replace them by finite values first."
        )
    with np.errstate(over="ignore"):
        plane = array.astype(np.float32, copy=False)
    if not np.isfinite(plane).all():
        raise InputError(f"{name}: its values exceed 32-bit floats ({np.abs(array).max():.3g}); scale them down.")
    if plane.min() == plane.max():
        raise InputError(
            f"{name}: all pixels have the same value ({array.flat[0]}), so there is nothing to segment; "
            "leave this image out."
        )
    return plane
