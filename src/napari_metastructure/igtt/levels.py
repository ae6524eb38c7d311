"""Candidate masks from the image's own levels: the outline of a mask is put where the image has it.

A network knows better than a threshold which things are objects, and an image knows better than the network where they
end: across an edge the probability passes one half within a pixel or two of it, while an outline that follows one level
of the image errs at all places alike. So the candidates of eq. (2) are taken from the image, near the foreground that
the probability names, and as in eq. (4) the one is chosen that agrees best with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.intensity import Polarity
from napari_metastructure.training.events import ScoreCurve

SMOOTH = 1.0
"""Standard deviation in pixels of the blur before levels are taken: noise has no outline."""

NEAR = 3
"""Pixels around the foreground that a level may add to it."""

LEVELS = 4096
"""Candidate levels, equally spaced."""

RANGE = (0.1, 99.9)
"""Percentiles of the image near the foreground between which they lie."""

PIXELS = 2**21
"""Pixels looked at together, so that a large plane costs little more than its mask."""

SAMPLE = 2**14
"""Pixels of a plane that these percentiles are estimated from: sorting takes time."""

_HALO = 4 + NEAR  # pixels: where the blur ends, and the dilation


def cut_at_level(
    p: np.ndarray,
    plane: np.ndarray,
    objects: Polarity = "bright",
    k: int = 30,
    checkpoint: Callable[[], None] | None = None,
) -> tuple[np.ndarray, ScoreCurve]:
    """The mask of the image's level that agrees best with a probability.

    Of all masks ``{g > t} and near({p > 1/2})``, with g the image blurred by `SMOOTH` pixels and near a dilation by
    `NEAR`, the one with the greatest Dice against ``{p > 1/2}``.

    Parameters
    ----------
    p : (Y, X) float array
        Foreground probability.
    plane : (Y, X) float array
        The image.
    objects : {"bright", "dark"}
        What they are in it.
    k : int
        Number of levels of the returned curve.
    checkpoint : callable, optional
        Called now and then; may raise to leave.

    Returns
    -------
    mask : (Y, X) bool array
        Empty if p is nowhere above one half.
    curve : ScoreCurve
        Dice by level. A level is told by the share of the pixels near the foreground that lie below it, 0 to 1.
    """
    mask = p > 0.5
    blocks = _Blocks(mask, plane, -1 if objects == "dark" else 1, checkpoint)
    sample = np.concatenate([b.values[:: max(1, mask.size // SAMPLE)] for b in blocks])
    if not sample.size:
        return mask, ScoreCurve(np.zeros(1), np.full(1, -np.inf), 0.0)
    low, high = np.percentile(sample, RANGE)
    step = (high - low) / LEVELS or 1.0
    near, inside = np.zeros((2, LEVELS + 2))
    for block in blocks:
        level = _levels(block.values, low, step)
        near += np.bincount(level, minlength=LEVELS + 2)
        inside += np.bincount(level, block.inside, minlength=LEVELS + 2)
    above, right = (count[::-1].cumsum()[::-1] for count in (near, inside))
    scores = 2 * right / (above + np.count_nonzero(mask))
    best = int(np.argmax(scores))
    found = np.zeros(mask.shape, bool)
    for block in blocks:
        found[block.rows][block.near] = _levels(block.values, low, step) >= best
    below = 1 - above / near.sum()
    shown = np.unique(np.searchsorted(below, np.linspace(0, 1, k)).clip(max=LEVELS))
    return found, ScoreCurve(below[shown], scores[shown], float(below[best]))


def _levels(values: np.ndarray, low: float, step: float) -> np.ndarray:
    """Which level each value has reached: 0 below the lowest."""
    return np.clip((values - np.float32(low)) * np.float32(1 / step) + 1, 0, LEVELS + 1).astype(np.int16)


class _Block(NamedTuple):
    """Some rows of a plane."""

    rows: slice
    near: np.ndarray
    """(rows, X) bool: the foreground and `NEAR` pixels around it."""
    values: np.ndarray
    """The blurred image there."""
    inside: np.ndarray
    """Whether these pixels are foreground."""


class _Blocks:
    """A plane in blocks of about `PIXELS`; a single one is made once, several are made anew each time."""

    def __init__(self, mask: np.ndarray, plane: np.ndarray, sign: int, checkpoint: Callable[[], None] | None) -> None:
        self.mask, self.plane, self.sign, self.checkpoint = mask, plane, sign, checkpoint
        self._all = list(self._made()) if mask.size <= PIXELS else None

    def __iter__(self) -> Iterator[_Block]:
        return self._made() if self._all is None else iter(self._all)

    def _made(self) -> Iterator[_Block]:
        height, width = self.mask.shape
        rows = max(1, PIXELS // width)
        for first in range(0, height, rows):
            if self.checkpoint is not None:
                self.checkpoint()
            last, top = min(first + rows, height), max(0, first - _HALO)
            own, around = slice(first - top, last - top), slice(top, last + _HALO)
            near = _dilated(self.mask[around], NEAR)[own]
            blurred = ndi.gaussian_filter(self.plane[around].astype(np.float32), SMOOTH)[own]
            yield _Block(slice(first, last), near, self.sign * blurred[near], self.mask[first:last][near])


def _dilated(mask: np.ndarray, steps: int) -> np.ndarray:
    """Every pixel within so many steps along rows and columns; a tenth of what the library's takes."""
    for _ in range(steps):
        wider = mask.copy()
        wider[1:] |= mask[:-1]
        wider[:-1] |= mask[1:]
        wider[:, 1:] |= mask[:, :-1]
        wider[:, :-1] |= mask[:, 1:]
        mask = wider
    return mask
