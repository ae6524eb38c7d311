"""Candidate masks from the levels of an image, whose outlines run where the image has edges.

A network knows better than a threshold which things are objects, and an image knows better than the network where they
end: across an edge the probability passes one half within a pixel or two of it, while an outline that follows one level
of the image errs at all places alike. So the candidates of eq. (2) are taken from the image, near the foreground that
the probability names, and as in eq. (4) the one is chosen that agrees best with it. Where light is uneven one level is
wrong for a whole image; the level above the surround is not, and loses large objects. So the three vote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.images.intensity import CONTRAST_SCALES, Polarity
from napari_metastructure.images.lazy import Plane, value_range
from napari_metastructure.training.events import ScoreCurve

if TYPE_CHECKING:
    import torch

SMOOTH = 1.0
"""Standard deviation in pixels of the blur before levels are taken, and of the votes: noise has no outline."""

SURROUND = CONTRAST_SCALES[-1]
"""Standard deviation in pixels of the blur that is an image's surround."""

NEAR = 3
"""Pixels around the foreground that a level may add to it."""

LEVELS = 2**13
"""Candidate levels, equally spaced over the range of the image."""

PIXELS = 2**21
"""Pixels looked at together, so that a large plane costs little more than its levels."""

LEAST_ROWS = 128
"""Rows that they have at least: the halo of a block is read with it."""

_BLUR = 4  # standard deviations after which a blur ends


class Levels:
    """The levels of one plane, and the masks they make; those of a large plane are found again when they are needed.

    Parameters
    ----------
    plane : (Y, X) array or Plane
        Real numbers, finite; not to be changed later.
    objects : {"bright", "dark"}
        What they are in it.
    checkpoint : callable, optional
        Called now and then, here and in `cut`; may raise to leave.
    device : torch.device, optional
        CUDA blurs the plane; all else is done in main memory.
    """

    def __init__(
        self,
        plane: np.ndarray | Plane,
        objects: Polarity = "bright",
        checkpoint: Callable[[], None] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._plane, self._checkpoint, self._device = plane, checkpoint, device
        self._sign = np.float32(-1 if objects == "dark" else 1)
        low, high = value_range(plane)
        self._middle, self._step = (low + high) / 2, (high - low) / (LEVELS - 1) or 1.0
        self._kept: np.ndarray | None = None
        if plane.size <= PIXELS:
            self._kept = self._rows(slice(None))

    def _rows(self, rows: slice) -> np.ndarray:
        """Return the levels of some rows, of the image and above its surround: (2, rows, X) int16."""
        if self._kept is not None:
            return self._kept[:, rows]
        first, last, _ = rows.indices(len(self._plane))
        halo = round(_BLUR * SURROUND)
        top = max(0, first - halo)
        centred = self._plane[top : last + halo].astype(np.float32)
        centred -= self._middle
        centred /= self._step
        centred *= self._sign  # at most LEVELS / 2
        smooth, surround = (
            _blurred(centred, scale, self._device)[first - top : last - top] for scale in (SMOOTH, SURROUND)
        )
        found = np.empty((2, *smooth.shape), np.int16)
        found[0] = np.rint(smooth + (LEVELS - 1) / 2)
        found[1] = np.rint((smooth - surround + LEVELS - 1) / 2)
        return found

    def cut(self, p: np.ndarray, k: int = 30) -> tuple[np.ndarray, ScoreCurve]:
        """Find the mask that the image and a probability agree upon.

        Three masks have a vote at each pixel: ``{p > 1/2}``; of all ``{g > t} and near({p > 1/2})``, with g the
        image blurred by `SMOOTH` pixels and near a dilation by `NEAR`, the one with the greatest Dice against
        ``{p > 1/2}``; and the same with g less the surround, a blur by `SURROUND`. Two of three make foreground; votes
        are blurred by `SMOOTH`, too.

        Parameters
        ----------
        p : (Y, X) float array
            Foreground probability.
        k : int
            Number of levels of the returned curve.

        Returns
        -------
        mask : (Y, X) bool array
            Empty if p is nowhere above one half.
        curve : ScoreCurve
            Dice by level of the image itself. A level is named by the share of the pixels near the foreground that
            lie below it, 0 to 1.
        """
        found = np.zeros(p.shape, bool)
        above, scores = self._scores(p)
        if not above[0].any():
            return found, ScoreCurve(np.zeros(1), np.full(1, -np.inf), 0.0)
        best = scores.argmax(axis=1)
        for own, mask in self._voted(p, best):
            found[own] = mask
        return found, _curve(above[0], scores[0], int(best[0]), k)

    def masks(self, p: Any) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the mask of `cut` from top to bottom, some rows at a time; p may be a `TemporaryPlane`."""
        above, scores = self._scores(p)
        if above[0].any():
            yield from self._voted(p, scores.argmax(axis=1))
            return
        for own, _, _ in blocks(p.shape):
            yield own, np.zeros((own.stop - own.start, p.shape[1]), bool)

    def _scores(self, p: Any) -> tuple[np.ndarray, np.ndarray]:
        """Count the pixels near the foreground above each level, and score the levels: two arrays (2, LEVELS)."""
        near, inside = np.zeros((2, 2, LEVELS))
        count = 0
        for own, around, inner in blocks(p.shape, NEAR, self._checkpoint):
            votes = p[around] > 0.5
            mask, close = votes[inner], dilated(votes, NEAR)[inner]
            count += int(np.count_nonzero(mask))
            for i, levels in enumerate(self._rows(own)):
                near[i] += np.bincount(levels[close], minlength=LEVELS)
                inside[i] += np.bincount(levels[mask], minlength=LEVELS)
        above, right = (pixels[:, ::-1].cumsum(axis=1)[:, ::-1] for pixels in (near, inside))
        return above, 2 * right / np.maximum(above + count, 1)

    def _voted(self, p: Any, best: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield where two of three masks have foreground."""
        for own, around, inner in blocks(p.shape, NEAR + round(_BLUR * SMOOTH), self._checkpoint):
            first = p[around] > 0.5
            close, total = dilated(first, NEAR), first.astype(np.float32)
            for levels, level in zip(self._rows(around), best, strict=True):
                total += (levels >= level) & close
            yield own, _blurred(total, SMOOTH, self._device)[inner] > 1.5


def blocks(
    shape: tuple[int, ...], halo: int = 0, checkpoint: Callable[[], None] | None = None
) -> Iterator[tuple[slice, slice, slice]]:
    """Yield a plane's rows in blocks of about `PIXELS`: their own, with a halo around, and the own among these.

    ``checkpoint`` is called before each; it may raise to leave.
    """
    rows = max(LEAST_ROWS, PIXELS // shape[1])
    for first in range(0, shape[0], rows):
        if checkpoint is not None:
            checkpoint()
        last, top = min(first + rows, shape[0]), max(0, first - halo)
        yield slice(first, last), slice(top, last + halo), slice(first - top, last - top)


def _blurred(plane: np.ndarray, scale: float, device: torch.device | None) -> np.ndarray:
    """Blur a float32 plane, on CUDA if that is where a run is."""
    import torch

    from napari_metastructure.networks.device import upload
    from napari_metastructure.networks.predict import gaussian

    tensor = torch.from_numpy(plane)
    if device is not None and device.type == "cuda":
        tensor = upload(tensor, device)
    return gaussian(tensor, scale).cpu().numpy()


def _curve(above: np.ndarray, scores: np.ndarray, best: int, k: int) -> ScoreCurve:
    """Return the scores at ``k`` levels that part the pixels evenly."""
    below = 1 - above / above[0]
    shown = np.unique(np.searchsorted(below, np.linspace(0, 1, k)).clip(max=LEVELS - 1))
    return ScoreCurve(below[shown], scores[shown], float(below[best]))


def dilated(mask: np.ndarray, steps: int) -> np.ndarray:
    """Dilate by so many steps along rows and columns, in a tenth of the time of the library's."""
    for _ in range(steps):
        wider = mask.copy()
        wider[1:] |= mask[:-1]
        wider[:-1] |= mask[1:]
        wider[:, 1:] |= mask[:, :-1]
        wider[:, :-1] |= mask[:, 1:]
        mask = wider
    return mask
