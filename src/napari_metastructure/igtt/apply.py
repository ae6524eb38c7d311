"""Apply the model of an iGTT run to other images: its probability is cut where the run's criterion says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import rank

from napari_metastructure.igtt.candidates import LEVELS, WINDOW, Criterion, thresholds
from napari_metastructure.igtt.levels import PIXELS, Levels
from napari_metastructure.images.intensity import Polarity
from napari_metastructure.networks.model import Model

if TYPE_CHECKING:
    from napari_metastructure.networks.model import Checkpoint

_K = 29 * round(LEVELS / 30) + 1  # thresholds that `igtt.candidates.search` looks at unless told otherwise
_SMALL = 1e-12
_HALO = 4  # pixels: where the Gaussian derivative of width 1 ends


def load_model(path: str | Path) -> Model:
    """Read any model of this package, from a file or a run folder, with all that its cut takes.

    Raises
    ------
    InputError
        As `networks.model.Model.load`.
    """
    model = Model.load(path)
    criterion, objects, signed = model.use.cut, model.use.objects, model.use.signed
    if criterion != "half":

        def cut(p: np.ndarray, image: np.ndarray, checkpoint: Checkpoint | None) -> np.ndarray:
            if not signed:  # |det Q| is the same for a mask and its inverse, so the network may be either
                turn_upright(p, image, objects)
            if criterion == "level":
                return Levels(image, objects, checkpoint).cut(p)[0]
            return p > threshold(p, image, criterion, checkpoint)

        model.cut = cut
    return model


def turn_upright(p: np.ndarray, image: np.ndarray, objects: Polarity) -> None:
    """Turn a probability around, in place, if it falls where the image rises: as a run does with eq. (6).

    Parameters
    ----------
    p : (Y, X) float32 array
    image : (Y, X) float32 array
    objects : {"bright", "dark"}
        For dark objects: if it rises where the image rises.
    """
    mean = float(image.mean(dtype=np.float64))
    covariance = sum(float(((image[a:b] - mean) * p[a:b]).sum(dtype=np.float64)) for a, b in _blocks(p.shape))
    if (covariance > 0) if objects == "dark" else (covariance < 0):
        np.subtract(1, p, out=p)


def threshold(p: np.ndarray, image: np.ndarray, criterion: Criterion, checkpoint: Checkpoint | None = None) -> float:
    """Where to cut a probability: `igtt.candidates.search` of all thresholds, in memory that a large plane leaves.

    Parameters
    ----------
    p : (Y, X) float32 array
        Foreground probability.
    image : (Y, X) float32 array
        What it was predicted from; ``edge`` looks at its edges.
    criterion : {"edge", "correlation", "dmi", "iou", "bce"}
    checkpoint : callable, optional
        Called now and then; may raise to leave.

    Returns
    -------
    float
        A constant p gives its own value, so an empty mask.
    """
    low, high = float(p.min()), float(p.max())
    if low == high:
        return low
    if criterion == "dmi":  # in closed form, see `igtt.candidates`
        return float(p.mean(dtype=np.float64))
    t = thresholds(p, _K)
    tally = _Tally(t, criterion)
    steep = _steepness(image, checkpoint) if criterion == "edge" else None
    for a, b in _blocks(p.shape):
        if checkpoint is not None:
            checkpoint()
        tally.add(p[a:b])
        if steep is not None:  # and the row after, for the outlines between
            tally.add_outlines(p[a : b + 1], steep(a, min(b + 1, len(p))), last=b == len(p))
    return float(t[np.argmax(tally.scores())])


class _Tally:
    """Sums over the pixels above each of K thresholds, gathered block by block."""

    def __init__(self, t: np.ndarray, criterion: Criterion) -> None:
        self.t, self.criterion = t, criterion
        self.count, self.mass, self.inside, self.outside, self.steep, self.length = np.zeros((6, len(t) + 1))

    def add(self, p: np.ndarray) -> None:
        """Count a block's pixels by the number of thresholds they pass."""
        p = p.ravel()
        passed, bins = np.searchsorted(self.t, p, side="left"), len(self.count)
        self.count += np.bincount(passed, minlength=bins)
        self.mass += np.bincount(passed, p, bins)
        if self.criterion == "bce":
            q = np.clip(p.astype(np.float64), _SMALL, 1 - _SMALL)
            self.inside += np.bincount(passed, np.log(q), bins)
            self.outside += np.bincount(passed, np.log1p(-q), bins)

    def add_outlines(self, p: np.ndarray, steep: np.ndarray, last: bool) -> None:
        """Add the steepness between neighbours that a threshold parts; see `igtt.edges.outline_rank`."""
        passed, bins = np.searchsorted(self.t, p.ravel(), side="left").reshape(p.shape), len(self.count)
        own = slice(None) if last else slice(None, -1)  # pairs along the row after belong to the next block
        for (one, other), (s, r) in (
            ((passed[1:], passed[:-1]), (steep[1:], steep[:-1])),
            ((passed[own, 1:], passed[own, :-1]), (steep[own, 1:], steep[own, :-1])),
        ):
            apart = one != other
            ends, weights = np.sort((one[apart], other[apart]), axis=0), (s[apart] + r[apart]) / 2
            for end, sign in zip(ends, (1, -1), strict=True):
                self.steep += sign * np.bincount(end, weights, bins)
                self.length += sign * np.bincount(end, minlength=bins)

    def scores(self) -> np.ndarray:
        """`igtt.candidates.scores` of each threshold, up to a factor that all share."""
        n, total = self.count.sum(), self.mass.sum()
        count, mass, inside, outside = (
            x[::-1].cumsum()[::-1][1:] for x in (self.count, self.mass, self.inside, self.outside)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.criterion == "iou":
                score = mass / (total + count - mass)
            elif self.criterion == "bce":
                score = inside + self.outside.sum() - outside
            else:
                share = count / n
                score = np.maximum(mass / n - total / n * share, 0) / np.sqrt(share * (1 - share))
            if self.criterion == "edge":
                steep, length = self.steep.cumsum()[:-1], self.length.cumsum()[:-1]
                score = score * np.sqrt(np.where(length > 0.5, steep / length, 0))
        return np.where((count > 0) & (count < n) & np.isfinite(score), score, -np.inf)


def _steepness(image: np.ndarray, checkpoint: Checkpoint | None) -> Callable[[int, int], np.ndarray]:
    """Gives rows ``first`` to ``last`` of `igtt.edges.steepness` of a plane."""

    def gradient(a: int, b: int) -> np.ndarray:
        top = max(0, a - _HALO)
        return ndi.gaussian_gradient_magnitude(image[top : b + _HALO], 1)[a - top : b - top]

    whole = np.empty(image.shape, np.float32)
    for a, b in _blocks(image.shape):
        if checkpoint is not None:
            checkpoint()
        whole[a:b] = gradient(a, b)
    most = np.percentile(whole, 99.5, overwrite_input=True) or 1
    del whole  # it is computed again below: a second is cheaper than a copy to sort
    grey = np.empty(image.shape, np.uint8)
    for a, b in _blocks(image.shape):
        grey[a:b] = np.clip(gradient(a, b) / most * 255, 0, 255)
    half = WINDOW // 2

    def rows(first: int, last: int) -> np.ndarray:
        top = max(0, first - half)
        ranks = rank.equalize(grey[top : last + half], np.ones((WINDOW, WINDOW), np.uint8))
        return ranks[first - top : last - top].astype(np.float32) / 255

    return rows


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First and last row of blocks of about `PIXELS` pixels."""
    rows = max(1, PIXELS // shape[1])
    for a in range(0, shape[0], rows):
        yield a, min(a + rows, shape[0])
