"""Surround of a field of view: the black round a fundus photograph, the corners of a turned image, NaN, blank frames.

It is flat, touches the border of the image, and is as extreme as objects are, so that it would be taken for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.intensity import Polarity, is_blank

WINDOW = 7
"""Side in pixels of the windows that must be flat."""

FLAT = 0.03
"""Greatest difference within a window, as a share of the plane's range (percentiles 1 to 99): at 0.05 dark backgrounds
of fluorescence images pass as well."""

EXTREME = 0.1
"""Greatest distance to the end of the range where objects are, as a share of it."""

LEAST = 0.02
"""Share of the plane below which there is no field of view to speak of."""

RIM = 6
"""Pixels inside the field of view that its edge has blurred."""

UNEVEN = 8
"""Pixels around what is flat that belong to it if they are as extreme: files compressed as JPEG ripple along edges."""

CONVEX = 0.9
"""Share of the surround that lies outside the convex hull of the rest: fields of view are convex, gaps between objects
are not."""

SIGMA = 8.0
"""Standard deviation in pixels of the blur that the inside is continued with."""

PIXELS = 2**22
"""Pixels up to which `fill` works at full resolution."""

_ROWS = 256
_HULL = 512  # pixels along a side that the hull is found from


def surround(plane: np.ndarray, objects: Polarity) -> np.ndarray | None:
    """Find what lies outside the field of view and could be taken for an object.

    Parameters
    ----------
    plane : (Y, X) array
        Real numbers, finite.
    objects : {"bright", "dark"}
        Polarity of the objects: for dark ones the surround is dark, too.

    Returns
    -------
    (Y, X) bool array, or None
        True outside, with a rim of `RIM` pixels; None if there is no such surround, or nothing else.
    """
    low, high = (float(p) for p in np.percentile(_sample(plane), (1, 99)))
    if not low < high or min(plane.shape) < WINDOW:
        return None
    span = high - low
    extreme = plane >= high - EXTREME * span if objects == "bright" else plane <= low + EXTREME * span
    if np.count_nonzero(extreme) < LEAST * plane.size:
        return None
    seeds = extreme.copy()
    for rows, block in _flat(plane, FLAT * span):
        seeds[rows] &= block
    seeds = _at_border(seeds)
    inside = _large(~seeds, LEAST * plane.size)
    if np.count_nonzero(seeds) < LEAST * plane.size or not _is_around(seeds, inside):
        return None
    outside = _grown(~inside, WINDOW // 2) | (_grown(~inside, UNEVEN) & extreme)
    outside = _grown(outside, RIM)
    return None if outside.all() else outside


def measured(image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Fill the pixels that nothing was measured at: NaN, infinite, or all where the image has one value everywhere.

    Parameters
    ----------
    image : (Y, X) or (C, Y, X) float array

    Returns
    -------
    image : array of its shape
        Finite; zeros if nothing was measured.
    missing : (Y, X) bool array, or None
        Outside the field of view: background in masks, unlabelled in training. None if there is no such pixel.
    """
    missing = ~np.isfinite(image if image.ndim == 2 else image.sum(axis=0))
    channels = image[None] if image.ndim == 2 else image
    if is_blank(image):
        return np.zeros(image.shape, np.float32), np.ones(missing.shape, bool)
    if not missing.any():
        return image, None
    return np.stack([fill(channel, missing) for channel in channels]).reshape(image.shape), missing


def together(surround: np.ndarray | None, missing: np.ndarray | None) -> np.ndarray | None:
    """Join two masks of what lies outside the field of view, each of which there may not be."""
    return surround if missing is None else missing if surround is None else surround | missing


def missing_share(image: np.ndarray) -> float:
    """Count the pixels that `measured` fills, as a share of all: 1 for a blank image."""
    return 1.0 if is_blank(image) else float(1 - np.isfinite(image).mean())


def missing_notes(shares: Iterable[tuple[str, float]]) -> list[str]:
    """Say in a sentence each which planes are blank, and which have pixels of no value, by the share of each name."""
    some: list[str] = []
    blank: list[str] = []
    for name, share in shares:
        (blank if share == 1 else some).extend([name] * (share > 0))
    sentences = (
        (blank, "all pixels have the same value, so nothing was found there."),
        (some, "pixels that are NaN or infinite count as outside the field of view."),
    )
    return [
        f"{own[0]}{f' and {len(own) - 1} more planes' if len(own) > 1 else ''}: {sentence}"
        for own, sentence in sentences
        if own
    ]


def fill(plane: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Replace the surround by a smooth continuation of what is inside.

    Each pixel outside takes the nearest inside value of a Gaussian blur that looks at the inside only. Planes of more
    than `PIXELS` are continued by blocks of pixels, which keeps memory small.

    Parameters
    ----------
    plane : (Y, X) array
    outside : (Y, X) bool array
        Not True everywhere.

    Returns
    -------
    (Y, X) float32 array
        Inside, the values of the plane.
    """
    step = int(np.ceil(np.sqrt(plane.size / PIXELS)))
    total, count = _blocks(plane, ~outside, step)
    inside = count > 0
    smooth, weight = (ndi.gaussian_filter(a, SIGMA / step) for a in (total, count))
    nearest = ndi.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    coarse = np.divide(smooth, weight, out=np.zeros_like(smooth), where=inside)[tuple(nearest)]
    filled = plane.astype(np.float32)
    for first in range(0, len(filled), step):
        row = np.repeat(coarse[first // step], step)[: filled.shape[1]]
        rows = slice(first, first + step)
        np.copyto(filled[rows], row, where=outside[rows])
    return filled


def _sample(plane: np.ndarray) -> np.ndarray:
    """Thin a plane out to pixels enough for percentiles."""
    step = int(np.ceil(np.sqrt(plane.size / PIXELS)))
    return plane[::step, ::step]


def _flat(plane: np.ndarray, most: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Find where windows hold no greater difference than ``most``, some rows at a time."""
    halo = WINDOW // 2
    for first in range(0, len(plane), _ROWS):
        top = max(0, first - halo)
        block = plane[top : first + _ROWS + halo].astype(np.float32)
        range_ = ndi.maximum_filter(block, WINDOW) - ndi.minimum_filter(block, WINDOW)
        rows = slice(first, min(first + _ROWS, len(plane)))
        yield rows, range_[first - top : rows.stop - top] <= most


def _at_border(mask: np.ndarray) -> np.ndarray:
    """Keep the parts of a mask that touch the border of the image."""
    parts, count = ndi.label(mask)
    kept = np.zeros(count + 1, bool)
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        kept[edge] = True
    kept[0] = False
    return kept[parts]


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Grow a mask by so many pixels in each direction."""
    return ndi.maximum_filter(mask, size=2 * pixels + 1)


def _large(mask: np.ndarray, least: float) -> np.ndarray:
    """Keep the parts of a mask of so many pixels at least: a date or dust in a surround is smaller."""
    parts, count = ndi.label(mask)
    sizes = np.zeros(count + 1, np.int64)
    for first in range(0, len(parts), _ROWS):  # counting takes a copy of 8 bytes a pixel
        sizes += np.bincount(parts[first : first + _ROWS].ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes >= least)[parts]


def _is_around(seeds: np.ndarray, inside: np.ndarray) -> bool:
    """Test on some of the pixels whether a mask lies around the inside, so beyond its convex hull."""
    from skimage.morphology import convex_hull_image

    step = -(-max(seeds.shape) // _HULL)
    seeds, inside = seeds[::step, ::step], inside[::step, ::step]
    if not inside.any() or not seeds.any():
        return False
    beyond = np.count_nonzero(seeds & ~convex_hull_image(inside))
    return bool(beyond >= CONVEX * np.count_nonzero(seeds))


def _blocks(plane: np.ndarray, inside: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum the inside and count its pixels in each block of ``step`` by ``step``: float32 arrays."""
    shape = tuple(-(-side // step) for side in plane.shape)
    total, count = np.empty(shape, np.float32), np.empty(shape, np.float32)
    lefts = np.arange(0, plane.shape[1], step)
    for row in range(shape[0]):
        rows = slice(row * step, (row + 1) * step)
        values = np.where(inside[rows], plane[rows], 0).sum(axis=0, dtype=np.float64)
        total[row] = np.add.reduceat(values, lefts)
        count[row] = np.add.reduceat(inside[rows].sum(axis=0), lefts)
    return total, count
