"""Normalised intensity: z-score, local contrast, network inputs, checks of planes, bright or dark objects."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.errors import InputError, sized
from napari_metastructure.images.blur import gaussian
from napari_metastructure.images.lazy import Plane, computed, row_blocks

Polarity = Literal["bright", "dark"]

Inputs = Literal["zscore", "multiscale", "percentile", "local"]

CONTRAST_SCALES = (4.0, 16.0)
"""Radii in pixels of the two local-contrast channels: about a tubule's and about a nucleus' surround."""


def zscore(plane: np.ndarray) -> np.ndarray:
    """Scale a plane to zero mean and unit standard deviation; a constant one becomes zeros.

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
    """Z-score a plane and turn dark objects bright."""
    z = zscore(plane)
    return -z if objects == "dark" else z


def log_intensity(plane: np.ndarray) -> np.ndarray:
    """Take the logarithm of the intensity above its minimum, z-scored: faint tubules beside saturated bodies show.

    A tenth of the range up to the 99th percentile is added first, so that the noise of the darkest pixels
    is not blown up.
    """
    above = plane - plane.min()
    bright = float(np.percentile(above, 99)) or float(above.max()) or 1.0
    return zscore(np.log(above + 0.1 * bright))


def local_contrast(plane: np.ndarray, scale: float, fine: float = 1.5) -> np.ndarray:
    """Divide a difference of Gaussians by the local standard deviation.

    ``(g(x, fine) - g(x, scale)) / (std_scale(x) + std(x))``, with ``g(x, s)`` a Gaussian blur of s pixels and
    ``std_scale`` the standard deviation under the same window: how far a pixel stands out of its surround,
    in units of what is usual there.

    Parameters
    ----------
    plane : (Y, X) float array
    scale, fine : float
        Standard deviations in pixels of the surround and of the smoothing.
    """
    surround = gaussian(plane, scale)
    variance = gaussian(plane * plane, scale) - surround**2
    spread = np.sqrt(np.maximum(variance, 0)) + plane.std()
    return (gaussian(plane, fine) - surround) / np.where(spread > 0, spread, 1)


def contrast_and_log(plane: np.ndarray, scale: float) -> np.ndarray:
    """Add 0.3 of the smoothed log intensity to the local contrast (LC), the training-free start of iGTT."""
    return local_contrast(plane, scale) + 0.3 * zscore(ndi.gaussian_filter(log_intensity(plane), 4))


def percentile(plane: np.ndarray, low: float = 1.0, high: float = 99.8) -> np.ndarray:
    """Scale a plane so that two percentiles are 0 and 1, not cut off; constant planes become zeros."""
    plane = plane.astype(np.float32)
    bottom, top = np.percentile(plane, (low, high))
    if top <= bottom:  # all but a few pixels are alike
        bottom, top = plane.min(), plane.max()
    plane -= np.float32(bottom)
    return plane / np.float32(top - bottom) if top > bottom else plane


def network_inputs(image: np.ndarray, kind: Inputs, objects: Polarity) -> np.ndarray:
    """Make the channels a network sees of an image.

    Parameters
    ----------
    image : (Y, X) or (C, Y, X) array
        Each channel is normalised by itself.
    kind : {"zscore", "multiscale", "percentile", "local"}
        One channel each: z-score (the paper's), percentiles 1 and 99.8 at 0 and 1, or local contrast; or four:
        z-score, log intensity, and local contrast at `CONTRAST_SCALES`.
    objects : {"bright", "dark"}
        Dark objects are turned around, so that a model always looks for bright ones.

    Returns
    -------
    (`channels_of` (kind, C), Y, X) float32 array
    """
    if image.ndim == 3:
        return np.concatenate([network_inputs(channel, kind, objects) for channel in image])
    if kind == "percentile":
        return percentile(-image.astype(np.float32) if objects == "dark" else image)[None]
    z = orient(image, objects)
    if kind == "zscore":
        return z[None]
    if kind == "local":
        return zscore(local_contrast(z, CONTRAST_SCALES[-1]))[None].astype(np.float32)
    channels = [z, log_intensity(z), *(zscore(local_contrast(z, s)) for s in CONTRAST_SCALES)]
    return np.stack(channels).astype(np.float32)


def channels_of(kind: Inputs, channels: int = 1) -> int:
    """Count the channels that `network_inputs` makes of an image."""
    return channels * (2 + len(CONTRAST_SCALES) if kind == "multiscale" else 1)


# Checks: whether pixels can be worked on at all.

SMALLEST_SIDE = 8
"""Fewer pixels along a side leave a network nothing to look at; anything larger is padded to its stride."""


STEPS = 4096
"""Steps of intensity that a 32-bit float must have between the least and the greatest value: 12 bits."""


def check_plane(array: np.ndarray, name: str) -> np.ndarray:
    """Convert an image plane to float32, or say in one sentence why it cannot be used.

    Parameters
    ----------
    array : (Y, X) array
        Booleans, integers of any width or floats; negative values are fine.
    name : str
        Name of the file or layer in messages.

    Returns
    -------
    (Y, X) float32 array
        The same values (a copy unless ``array`` was float32 already), without an offset that would leave float32
        too few steps for them; `images.surround.measured` deals with those that are NaN or infinite, and with planes
        of one value.

    Raises
    ------
    InputError
        Complex or non-numeric pixels, not two dimensions, no pixels, a side under `SMALLEST_SIDE`,
        or values beyond float32.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "buif":
        kind = "complex numbers" if array.dtype.kind == "c" else f"of type {array.dtype}"
        raise InputError(f"{name}: its pixels are {kind}; give an image of real numbers.")
    if array.ndim != 2:
        asked = "give a list of planes, be it of one" if array.ndim == 1 else "name its axes, or give its planes"
        raise InputError(f"{name}: a plane of two dimensions is needed, this has {array.ndim}; {asked}.")
    if not array.size:
        raise InputError(f"{name}: it has no pixels ({' x '.join(map(str, array.shape))}); give one that has some.")
    if min(array.shape) < SMALLEST_SIDE:
        raise InputError(f"{name}: {sized(array.shape)} are too few; each side needs at least {SMALLEST_SIDE}.")
    if array.dtype.itemsize > 2 and array.dtype != np.float32:
        array = _without_offset(array)
    return as_float32(array, name)


def _without_offset(array: np.ndarray) -> np.ndarray:
    """Subtract the least value where float32 would tell fewer than `STEPS` apart between it and the greatest."""
    found = array[np.isfinite(array)]
    if not found.size:
        return array
    low, high = found.min(), found.max()
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(np.float32(max(abs(float(low)), abs(float(high)))))
    return array - low if 0 < float(high) - float(low) < STEPS * float(step) else array


def as_float32(array: np.ndarray, name: str) -> np.ndarray:
    """Convert real numbers to float32.

    Raises
    ------
    InputError
        If they are beyond it, or all so small that it has but zeros for them.
    """
    with np.errstate(over="ignore"):
        plane = array.astype(np.float32, copy=False)
    if array.dtype != plane.dtype and (np.isinf(plane) & np.isfinite(array)).any():
        most = np.abs(array[np.isfinite(array)]).max()
        raise InputError(f"{name}: its values exceed 32-bit floats ({most:.3g}); scale them down.")
    if array.dtype.itemsize > 4 and not plane.any() and (most := np.abs(array[np.isfinite(array)]).max(initial=0)):
        raise InputError(f"{name}: its values are too small for 32-bit floats ({most:.3g}); scale them up.")
    return plane


def check_planes(
    planes: Iterable[Any], names: Sequence[str], keep: Callable[[Iterable[np.ndarray]], list[Any]] | None = None
) -> list[Any]:
    """Check each plane of a set, see `check_plane`; some may have one value everywhere, as a frame that was dropped.

    Those that are lazy stay so, unchecked, but where they are read to ``keep`` them.

    Raises
    ------
    InputError
        As `check_plane`, or where all planes are like that.
    """
    if keep is not None:
        checked = keep(check_plane(computed(plane), name) for plane, name in zip(planes, names, strict=True))
    else:
        named = zip(planes, names, strict=True)
        checked = [plane if isinstance(plane, Plane) else check_plane(plane, name) for plane, name in named]
    if not any(isinstance(plane, Plane) for plane in checked):
        refuse_blank(checked, names)
    return checked


def refuse_blank(images: Iterable[np.ndarray], names: Sequence[str]) -> None:
    """Refuse a set in which every image has one value everywhere; all are looked at.

    Raises
    ------
    InputError
        It names the first.
    """
    firsts = [image[np.isfinite(image)][:1] if is_blank(image) else None for image in images]
    if firsts and firsts[0] is not None and all(first is not None for first in firsts):
        how = f"have the same value ({firsts[0][0]:g})" if firsts[0].size else "are NaN or infinite"
        raise InputError(f"{names[0]}: all pixels {how}, so there is nothing to segment; leave this image out.")


def is_blank(image: np.ndarray | Plane) -> bool:
    """Test whether each channel of a (Y, X) or (C, Y, X) image has one value everywhere, NaN and infinity aside."""
    if isinstance(image, Plane):
        return _is_blank_throughout(image)
    channels = image[None] if image.ndim == 2 else image
    low, high = channels.min(axis=(1, 2)), channels.max(axis=(1, 2))
    if np.isfinite(low).all() and np.isfinite(high).all():
        return bool((low == high).all())
    finite = [channel[np.isfinite(channel)] for channel in channels]
    return all(values.size == 0 or values.min() == values.max() for values in finite)


def _is_blank_throughout(plane: Plane) -> bool:
    """Look from top to bottom, as far as it takes."""
    low, high = np.array(np.inf), np.array(-np.inf)
    for block in row_blocks(plane):
        block = block[None] if block.ndim == 2 else block
        finite = [channel[np.isfinite(channel)] for channel in block]
        ends = [(c.min(), c.max()) if c.size else (np.inf, -np.inf) for c in finite]
        low = np.minimum(low, [least for least, _ in ends])
        high = np.maximum(high, [most for _, most in ends])
        if np.any(low < high):
            return False
    return True


# Polarity: bright or dark objects, settled from the images alone.


def bandpass_skewness(plane: np.ndarray, fine: float = 1.0, scale: float = 16.0) -> float:
    """Compute the skewness of a plane after a band pass of ``fine`` to ``scale`` pixels.

    Objects that fill less than half of the image are its long tail: positive for bright, negative for dark.
    The band pass takes out noise and uneven illumination, and dividing by the local contrast keeps one strong
    edge, such as the rim of a field of view, from deciding alone.
    """
    z = zscore(plane)
    band = ndi.gaussian_filter(z, fine) - ndi.gaussian_filter(z, scale)
    power = ndi.gaussian_filter(band * band, scale)
    even = zscore(band / np.sqrt(power + 0.01 * power.mean() + np.finfo(np.float32).tiny))
    return float(np.mean(even.astype(np.float64) ** 3))


def common_polarity(planes: Sequence[np.ndarray]) -> Polarity:
    """Find the polarity of a set of planes by the sign of their median `bandpass_skewness`."""
    return "bright" if np.median([bandpass_skewness(p) for p in planes]) >= 0 else "dark"
