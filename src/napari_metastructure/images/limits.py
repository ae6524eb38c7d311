"""Limits of what images show, which a run can only tell: few photons, few grey levels, something that outshines all."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.lazy import thinned
from napari_metastructure.images.surround import noted

NOISE = 0.2
"""Noise of a pixel, as a share of the range of a blur of two pixels, from which on it hides what is thin or dim."""

LEVELS, FLAT = 32, 0.75
"""Grey levels that are few, and the share of pixels that have the same if the rest is too little for dim objects."""

BRIGHTER = 3.0
"""How many times as bright as all else, above the background, something is that outshines it."""

SMALL, PIECES = 0.0125, 5
"""Share of the pixels, and number of pieces, that it has at most: more are objects."""

SHOWN = 2.0
"""Least range of all else in which there is something to see, as a multiple of the noise of a pixel."""

_PIXELS = 2**20  # that are looked at
_LIT = 5  # pixels around what is bright that it lights
_SPECK = 9  # pixels that a hot one among them fills once it is blurred; such pieces are not counted


class Limits(NamedTuple):
    """What is measured of a plane, to be judged together with the others of a set."""

    levels: tuple[float, ...]
    """All grey levels; none if there are more than `LEVELS`."""
    flat: bool
    """Whether most pixels have the same."""
    noise: float
    """Standard deviation, of a pixel."""
    range: float
    """Percentiles 1 to 99.9 of a blur of two pixels."""
    brightest: float
    """How far above the background something small is that may outshine all else; 0 if there is none."""
    rest: float
    """Percentile 99 of all else above the background."""


def limits(plane: np.ndarray, missing: np.ndarray | None = None) -> Limits | None:
    """Measure what limits a plane.

    Parameters
    ----------
    plane : (Y, X) array
        Finite. Of large ones the noise is that of the middle, and all else of pixels that are thinned out.
    missing : (Y, X) bool array, optional
        Pixels at which nothing was measured.

    Returns
    -------
    Limits or None
        None where nothing was measured.
    """
    known = np.ones(plane.shape, bool) if missing is None else ~missing
    half, step = int(np.sqrt(_PIXELS)) // 2, int(np.ceil(np.sqrt(plane.size / _PIXELS)))
    middle = tuple(slice(max(0, n // 2 - half), n // 2 + half) for n in plane.shape)
    if not known[middle].any():
        return None
    levels, counts = np.unique(thinned(plane, step)[thinned(known, step)], return_counts=True)
    near, there = plane[middle].astype(np.float64), known[middle]
    low, high = np.percentile(ndi.gaussian_filter(near, 2)[there], (1, 99.9))
    return Limits(
        tuple(levels.tolist()) if len(levels) <= LEVELS else (),
        bool(counts.max(initial=0) >= FLAT * counts.sum()),
        _noise(near, there),
        float(high - low),
        *_brightest(thinned(plane, step).astype(np.float64)),
    )


def limit_notes(names: Sequence[str], measured: Sequence[Limits | None]) -> list[str]:
    """Say in a sentence each which planes of a set show too little for dim objects, and what to do.

    A plane is judged beside the others: what is as bright as things in another plane outshines nothing, noise that is
    little beside what another plane shows is no lack of light, and levels that others have as well were not stored.
    """
    pairs = [(name, m) for name, m in zip(names, measured, strict=True) if m is not None]
    rest = max((m.rest for _, m in pairs), default=0.0)
    shown = max((m.range for _, m in pairs), default=0.0)
    levels = {level for _, m in pairs for level in m.levels}
    few = all(m.levels for _, m in pairs) and 2 < len(levels) <= LEVELS
    return noted(
        (
            [name for name, m in pairs if m.brightest > BRIGHTER * rest],
            "something small is far brighter than all else, which may hide dim objects; if it is none of yours (dust, "
            "a dead cell), crop it away or give its pixels the value of the background.",
        ),
        (
            [name for name, m in pairs if few and m.flat],
            f"there are only {len(levels)} grey levels, and most pixels have the same, so dim objects may be lost; "
            "export the originals with 16 bits.",
        ),
        (
            [name for name, m in pairs if NOISE * shown < m.noise < m.range],  # or there is nothing but noise
            "noise is so strong that thin or dim objects may be missed; average more frames or expose longer if you "
            "can.",
        ),
    )


def _brightest(plane: np.ndarray) -> tuple[float, float]:
    """Find a few small things far brighter than all else, in which there is something to see, too; and all else."""
    smooth = ndi.gaussian_filter(plane, 1)
    low, high, top = np.percentile(smooth, (1, 99, 100))
    bright = smooth > low + (top - low) / BRIGHTER
    pieces = np.count_nonzero(np.bincount(ndi.label(bright)[0].ravel())[1:] > _SPECK)
    if np.count_nonzero(bright) > SMALL * plane.size or not 0 < pieces <= PIECES:
        return 0.0, float(high - low)
    rest = ~ndi.binary_dilation(bright, iterations=_LIT)
    if not rest.any():
        return 0.0, float(high - low)
    middle, high = np.percentile(smooth[rest], (50, 99))
    if high - middle <= SHOWN * _noise(plane, rest):
        return 0.0, float(np.median(smooth[bright]) - low)
    return float(np.median(smooth[bright]) - low), float(high - low)


def _noise(plane: np.ndarray, where: np.ndarray) -> float:
    """Estimate the noise of a pixel from what differs from all neighbours (Immerkaer 1996)."""
    line = [1, -2, 1]
    rough = ndi.convolve1d(ndi.convolve1d(plane, line, axis=0), line, axis=1)
    return float(rough[where].std()) / 6
