"""Candidate masks: which threshold of the probability agrees best with it, eqs. (2) to (5), and with the image's edges.

For a mask ``s = [p > t]`` of N pixels the determinant of eq. (5) is
``det Q = N sum(p s) - sum(p) sum(s) = N^2 Cov(p, s)``. It is never negative, rises until t reaches the mean of
p and falls after it, so the best of *all* thresholds under DMI is the mean of P. Every criterion here depends
on a threshold only through sums over the pixels above it: one histogram serves all K masks, and is gathered block by
block where a plane is large.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import rank, threshold_otsu

from napari_metastructure.igtt.levels import blocks, dilated
from napari_metastructure.training.events import ScoreCurve

Criterion = Literal["dmi", "correlation", "iou", "bce", "edge"]

Search = Literal["grid", "exact"]

Checkpoint = Callable[[], None]

LEVELS = 256
"""About how many thresholds stand for "all" in the exact search of a criterion without a closed form."""

WINDOW = 33
"""Side in pixels of the square in which gradients are compared."""

TOLERANCE = 2
"""Distance in pixels at which an outline still accounts for an edge."""

_SMALL = 1e-12
_HALO = 4  # pixels: where the Gaussian derivative of width 1 ends


# ---- Edges: a sign of a right mask that needs no label ----------------------------------------------------


class Steepness:
    """Local rank of the gradient magnitude: the share of pixels nearby that are less steep.

    The rank makes faint and bright regions count alike. It is computed where rows are asked for.

    Parameters
    ----------
    plane : (Y, X) float array
    checkpoint : callable, optional
        Called now and then; may raise to leave.
    """

    def __init__(self, plane: np.ndarray, checkpoint: Checkpoint | None = None) -> None:
        steep = np.empty(plane.shape, np.float32)
        # A power of two, so that nothing is rounded: squares of very large values overflow, those of small ones vanish.
        unit = 2.0 ** -np.frexp(float(plane.max()) - float(plane.min()))[1]
        for own, around, inner in blocks(plane.shape, _HALO, checkpoint):
            steep[own] = ndi.gaussian_gradient_magnitude((plane[around] * unit).astype(np.float32), 1)[inner]
        top = np.percentile(steep, 99.5) or steep.max() or 1
        self._grey = np.empty(plane.shape, np.uint8)
        for own, _, _ in blocks(plane.shape):
            self._grey[own] = np.clip(steep[own] / top * 255, 0, 255)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return rows as a float32 array of 0 to 1."""
        first, last, _ = rows.indices(len(self._grey))
        top = max(0, first - WINDOW // 2)
        ranks = rank.equalize(self._grey[top : last + WINDOW // 2], np.ones((WINDOW, WINDOW), np.uint8))
        return ranks[first - top : last - top].astype(np.float32) / 255


class _Outlines:
    """Sums of steepness along the outlines of the masks ``p > t``, for all thresholds at once.

    Two neighbours lie on both sides of the outline for just those thresholds that lie between their values, so
    each pair of neighbours adds to a range of thresholds, and one cumulative sum over the ends of all ranges gives
    every mean: O(N + K) for K masks.
    """

    def __init__(self, t: np.ndarray) -> None:
        self.t = t
        self._steep, self._length = np.zeros((2, len(t) + 1))

    def add(self, p: np.ndarray, steep: np.ndarray, rows: int) -> None:
        """Add the pairs that begin in the first ``rows`` of a block; a row after them may be there to end pairs."""
        passed, bins = np.searchsorted(self.t, p.ravel(), side="left").reshape(p.shape), len(self._steep)
        for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:rows, 1:], np.s_[:rows, :-1])):
            one, other = passed[here], passed[there]
            apart = one != other
            one, other = one[apart], other[apart]
            low, high = np.minimum(one, other), np.maximum(one, other)
            weights = (steep[here][apart] + steep[there][apart]) / 2
            self._steep += np.bincount(low, weights, bins) - np.bincount(high, weights, bins)
            self._length += np.bincount(low, minlength=bins) - np.bincount(high, minlength=bins)

    def means(self) -> np.ndarray:
        """Return the mean along each outline, 0 where a mask has none."""
        steep, length = self._steep.cumsum()[:-1], self._length.cumsum()[:-1]
        return np.divide(steep, length, out=np.zeros(len(self.t)), where=length > 0.5)


def outline_rank(p: np.ndarray, t: np.ndarray, steep: np.ndarray) -> np.ndarray:
    """Average the steepness along the outlines of the masks ``p > t``.

    Parameters
    ----------
    p : (Y, X) array
    t : (K,) float array
        Increasing thresholds.
    steep : (Y, X) float array

    Returns
    -------
    (K,) float64 array
        0 where a mask has no outline.
    """
    outlines = _Outlines(t)
    outlines.add(p, steep, len(p))
    return outlines.means()


class Edges:
    """The edges of one plane, found once, and how well masks agree with them.

    Parameters
    ----------
    plane : (Y, X) float array

    Attributes
    ----------
    steep : (Y, X) float32 array
        `Steepness` of the plane.
    strong : (Y, X) bool array
        Edge pixels: gradient magnitude above Otsu's threshold.
    """

    def __init__(self, plane: np.ndarray) -> None:
        gradient = ndi.gaussian_gradient_magnitude(plane, 1)
        self.steep = Steepness(plane)[:]
        self.strong = gradient > (threshold_otsu(gradient) if np.ptp(gradient) > 0 else 0)

    def score(self, mask: np.ndarray) -> float:
        """Say how well the outline of a (Y, X) mask and the edges of the image account for each other, 0 to 1.

        Precision times the root of recall, their geometric mean weighted 2 to 1. Precision is the mean `Steepness`
        along the outline, recall the share of the edge pixels within `TOLERANCE` of it. Precision alone is best
        where only the brightest object is found, recall alone where everything is outlined. No label enters.
        A mask without an outline scores 0.

        References
        ----------
        Martin, Fowlkes, Malik, "Learning to detect natural image boundaries using local brightness, color, and
        texture cues", IEEE TPAMI 26 (2004), for precision and recall of boundaries.
        """
        mask = np.asarray(mask, bool)
        near = dilated(mask, TOLERANCE) & dilated(~mask, TOLERANCE)
        recall = np.count_nonzero(self.strong & near) / max(1, int(np.count_nonzero(self.strong)))
        return float(outline_rank(mask, np.array([0.5]), self.steep)[0] * np.sqrt(recall))


# ---- Scores of thresholds, and the search for the best ----------------------------------------------------


def thresholds(p: np.ndarray, k: int) -> np.ndarray:
    """Return the K thresholds of eqs. (2) and (3): equally spaced from the least to the greatest probability."""
    return np.linspace(float(p.min()), float(p.max()), k)


def scores(
    p: np.ndarray,
    t: np.ndarray,
    criterion: Criterion,
    steep: np.ndarray | Steepness | None = None,
    checkpoint: Checkpoint | None = None,
) -> np.ndarray:
    """Score the mask ``p > t`` for each threshold; higher is better.

    Parameters
    ----------
    p : (Y, X) array
        Probabilities, 0 to 1.
    t : (K,) float array
        Increasing thresholds.
    criterion : {"dmi", "correlation", "iou", "bce", "edge"}
        ``dmi``: log of the determinant of eq. (5) over N^2, so minus the L_DMI of eq. (4) up to a constant.
        ``correlation``: Pearson's, DMI normalised by both variances; its best threshold is Otsu's.
        ``iou``: soft intersection over union. ``bce``: minus the mean binary cross-entropy.
        ``edge``: ``correlation`` times the mean steepness of the image along the mask's outline, so that of masks that
        agree about as well the one whose outline the image confirms is taken.
    steep : (Y, X) float array or Steepness, optional
        `Steepness` of the image, for ``edge``.
    checkpoint : callable, optional
        Called between blocks; may raise to leave.

    Returns
    -------
    (K,) float64 array
        -inf where the mask is empty or full and the criterion says nothing.
    """
    if criterion == "edge" and steep is None:
        raise ValueError("criterion 'edge' needs the image's steepness")
    tally, outlines = _Tally(t, "correlation" if criterion == "edge" else criterion), _Outlines(t)
    for own, _, _ in blocks(p.shape, checkpoint=checkpoint):
        tally.add(p[own])
        if criterion == "edge" and steep is not None:  # and the row after, for the outlines between
            rows = slice(own.start, own.stop + 1)
            outlines.add(p[rows], steep[rows], own.stop - own.start)
    found = tally.scores()
    if criterion == "edge":
        usable = np.isfinite(found)
        found = np.where(usable, np.where(usable, found, 0) * np.sqrt(outlines.means()), -np.inf)
    return found


class _Tally:
    """Sums over the pixels above each of K thresholds, gathered block by block."""

    def __init__(self, t: np.ndarray, criterion: Criterion) -> None:
        self.t, self.criterion = t, criterion
        self.count, self.mass, self.inside, self.outside = np.zeros((4, len(t) + 1))
        self.total = self.squares = self.total_outside = 0.0

    def add(self, p: np.ndarray) -> None:
        """Count a block's pixels by the number of thresholds they pass."""
        p = p.ravel()
        passed, bins = np.searchsorted(self.t, p, side="left"), len(self.count)  # the first so many: t < p
        p = p.astype(np.float64)
        total = p.sum()
        if self.criterion == "correlation":
            before = self.count.sum()
            apart = total / p.size - self.total / before if before else 0.0
            self.squares += p.var() * p.size + apart**2 * p.size * before / (p.size + before)
        self.total += total
        self.count += np.bincount(passed, minlength=bins)
        self.mass += np.bincount(passed, p, bins)
        if self.criterion == "bce":
            q = np.clip(p, _SMALL, 1 - _SMALL)
            inside, outside = np.log(q), np.log1p(-q)
            self.inside += np.bincount(passed, inside, bins)
            self.outside += np.bincount(passed, outside, bins)
            self.total_outside += outside.sum()

    def scores(self) -> np.ndarray:
        """Return `scores` of each threshold, of all criteria but ``edge``."""
        n = self.count.sum()
        count, mass, inside, outside = (
            sums[::-1].cumsum()[::-1][1:] for sums in (self.count, self.mass, self.inside, self.outside)
        )
        covariance = np.maximum(mass / n - self.total / n * count / n, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.criterion == "dmi":
                return np.log(covariance)
            if self.criterion == "correlation":
                share = count / n
                score = covariance / np.sqrt(share * (1 - share) * (self.squares / n))
            elif self.criterion == "iou":
                score = mass / (self.total + count - mass)
            else:
                score = (inside + self.total_outside - outside) / n
        return np.where((count > 0) & (count < n) & np.isfinite(score), score, -np.inf)


def search(
    p: np.ndarray,
    criterion: Criterion = "correlation",
    method: Search = "exact",
    k: int = 30,
    steep: np.ndarray | Steepness | None = None,
    checkpoint: Checkpoint | None = None,
) -> ScoreCurve:
    """Find the threshold whose mask agrees best with the probability it was cut from.

    Parameters
    ----------
    p : (Y, X) float array
        Foreground probability.
    criterion : {"dmi", "correlation", "iou", "bce", "edge"}
        See `scores`.
    method : {"grid", "exact"}
        The best of the K thresholds of eq. (2), or the best of all: the mean of p for ``dmi``, of `LEVELS` levels
        for the others.
    k : int
        Number of thresholds of the returned curve, and of the grid.
    steep : (Y, X) float array or Steepness, optional
        `Steepness` of the image, for ``edge``.
    checkpoint : callable, optional
        Called between blocks of a large plane; may raise to leave.

    Returns
    -------
    ScoreCurve
        A constant p gives its own value as threshold, so an empty mask.
    """
    # The K thresholds are every so many of the finer ones, so one pass serves the curve and the search.
    every = 1 if method == "grid" else max(1, round(LEVELS / k))
    t = thresholds(p, (k - 1) * every + 1)
    fine = scores(p, t, criterion, steep, checkpoint)
    chosen = float(t[np.argmax(fine)])
    if criterion == "dmi" and method == "exact" and np.isfinite(fine).any():
        chosen = float(p.mean(dtype=np.float64))
    return ScoreCurve(t[::every], fine[::every], chosen)
