"""Steering: a few strokes of a brush that change the masks of a whole set of images, in a second.

A forest learns from the strokes and from what the start says. Its trees say which pixels resemble which stroke: a leaf
that holds much of a stroke and little else takes the class of the stroke, and where no stroke falls the start's
probability stays what it was, pixel by pixel. Images without strokes follow too, object by object, and then learn from
the answer in those with, in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi
from skimage.feature import multiscale_basic_features
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from napari_metastructure.errors import InputError
from napari_metastructure.images.intensity import zscore

FINE = 2**17
"""Pixels up to which a plane is looked at pixel by pixel; of larger ones every second along each axis counts."""

SIGMAS = (1.0, 16.0)
"""Least and greatest standard deviation in pixels of the blurs that features are taken from."""

SPOTS = 40
"""Pixels that stand for a stroke, however large it is: thousands of painted pixels must not drown a dab."""

SAMPLE = 3000
"""Pixels, evenly from all planes, that stand for what the start says."""

START = 6.0
"""Their weight together, in strokes, near to a stroke; elsewhere they weigh as much as all strokes together."""

TREES = 50

SPLIT = 0.5
"""Weight of each class of the start where trees split, by that of the strokes.

Strokes lie where the start is wrong: trees that split by strokes alone learn its opposite.
"""

LEAF = 0.005
"""Share of the weight that a leaf holds at least."""

NEAR = 24.0
"""Standard deviation in pixels of a stroke's neighbourhood."""

NEARBY = 3.0
"""Weight of a stroke in it, beyond that elsewhere."""

SPREAD = 10.0
"""Weight of images with strokes against the start, where the others learn from them, from `MANY` strokes."""

MANY = 30
"""With fewer strokes it is less, by the third power: what few strokes left of an image teaches their bias."""

SPREAD_LEAF = 0.01

UNLIKE = 2.0
"""An image without strokes keeps its start where the answer would leave this many times less of the foreground, or
more, than it leaves in any image with strokes: what was learned there does not fit it."""

TOLD = 9
"""Features that are of the start, the last ones: trees that learn from strokes do not see them.

Strokes lie where the start is wrong, so it would be learned the wrong way round; from whole images it can be learned.
"""

CERTAIN = 0.02
"""Probability from 0 or 1 beyond which the start counts as no surer."""

NECK = 0.75
"""Pixels by which an object narrows before it counts as two."""

_NONE = 1e-9


class Steering:
    """Answers strokes on a set of planes, from features that are computed once.

    The answer depends on the strokes that there are, not on their order or on answers before. Without any it is what
    the start says.

    Parameters
    ----------
    planes : sequence of (Y, X) arrays
        Real numbers, finite; not changed. Their values are compared with each other, so they are not to be normalised
        one by one.
    probabilities : sequence of (Y, X) arrays of 0 to 1
        What the start says, one a plane.
    checkpoint : callable, optional
        Called between planes, here and in `answer`; may raise to leave.
    start_weight : float
        Weight of the start against strokes, times what it is by default. At 0 strokes alone count, in all images,
        once there are some of both classes; until then the start counts as by default. 0 to 1.

    Attributes
    ----------
    start_weight : float
        May be changed between answers.

    Raises
    ------
    InputError
        Where probabilities do not lie on the planes, or for a weight that is not 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_metastructure.igtt.steering import Steering
    >>> planes = [np.random.default_rng(0).normal(size=(64, 80)) for _ in range(2)]
    >>> steering = Steering(planes, [np.full((64, 80), 0.4) for _ in planes])
    >>> stroke = np.full((64, 80), 255, np.uint8)  # nothing painted
    >>> stroke[10:15, 10:15] = 1  # object
    >>> first, second = steering.answer({0: stroke})
    >>> first.shape, bool(first[12, 12] == 1)
    ((64, 80), True)
    """

    def __init__(
        self,
        planes: Sequence[np.ndarray],
        probabilities: Sequence[np.ndarray],
        checkpoint: Callable[[], None] | None = None,
        start_weight: float = 1.0,
    ) -> None:
        shapes, given = [p.shape for p in planes], [np.shape(p) for p in probabilities]
        if shapes != given:
            raise InputError(f"Probabilities of shapes {given} do not lie on planes of shapes {shapes}.")
        if not 0 <= start_weight <= 1:
            raise InputError(f"The weight of the start is {start_weight}; give 0 to 1.")
        self._checkpoint, self.start_weight = checkpoint or (lambda: None), start_weight
        self._planes = []
        unit = _unit(planes)
        for plane, p in zip(planes, probabilities, strict=True):
            self._checkpoint()
            self._planes.append(_Plane((plane * unit).astype(np.float32), p))
        drawn = [p.drawn(SAMPLE // len(self._planes) + 1, p.start) for p in self._planes]
        self._sampled = tuple(map(np.concatenate, zip(*drawn, strict=True))) if drawn else ()
        self._sampled_from = np.repeat(np.arange(len(drawn)), [len(p) for _, p in drawn])

    def answer(self, strokes: Mapping[int, np.ndarray], which: Iterable[int] | None = None) -> list[np.ndarray]:
        """Return the probabilities of all planes, or of some, as the strokes would have them.

        That of a plane with strokes alone is the quickest.

        Parameters
        ----------
        strokes : mapping of int to (Y, X) uint8 array
            By plane: 1 object, 0 background, anything else not painted. Pixels of one class that touch are one stroke.
        which : iterable of int, optional
            The planes wanted, in this order; all if not given.

        Returns
        -------
        list of (Y, X) float32 arrays of 0 to 1
            Exactly 0 and 1 where painted.

        Raises
        ------
        InputError
            Strokes that do not lie on a plane.
        """
        for index, painted in strokes.items():
            if not 0 <= index < len(self._planes) or np.shape(painted) != self._planes[index].start.shape:
                raise InputError(f"Strokes of shape {np.shape(painted)} fit no image {index + 1}.")
        wanted = list(range(len(self._planes)) if which is None else which)
        spots = self._spots(strokes)
        touched = [int(i) for i in np.unique(spots.image)]
        steered: dict[int, np.ndarray] = {}
        if touched:
            rest = [i for i in wanted if i not in touched]
            forest = _Forest(self._lesson(spots), LEAF)
            alone = self._weight(spots) == 0  # images without strokes have nothing else to be judged by
            for index in touched if rest and not alone else wanted:
                self._checkpoint()
                steered[index] = self._steered(index, forest, spots)
            if not alone:
                steered |= self._spread(steered, rest, forest, spots)
        found = []
        for index in wanted:
            p, own = steered.get(index, self._planes[index].start), strokes.get(index)
            found.append(p.copy() if own is None else np.where(own <= 1, own, p).astype(np.float32))
        return found

    def _spots(self, strokes: Mapping[int, np.ndarray]) -> _Spots:
        """Choose the pixels that stand for each stroke, evenly spread over it."""
        found: list[tuple[int, np.ndarray, int]] = []
        for index in sorted(strokes):
            step, width = self._planes[index].step, self._planes[index].shape[1]
            for value in (0, 1):
                labelled = ndi.label(strokes[index] == value, np.ones((3, 3)))[0]
                for number, box in enumerate(ndi.find_objects(labelled), start=1):
                    y, x = np.nonzero(labelled[box] == number)
                    flat = np.unique((y + box[0].start) // step * width + (x + box[1].start) // step)
                    at = np.unique(np.linspace(0, len(flat) - 1, min(SPOTS, len(flat))).astype(int))
                    found.append((index, flat[at], value))
        sizes = [len(pixels) for _, pixels, _ in found]
        return _Spots(
            np.repeat([image for image, _, _ in found], sizes).astype(int),
            np.concatenate([pixels for _, pixels, _ in found] or [np.empty(0, int)]),
            np.repeat([value for _, _, value in found], sizes).astype(int),
            np.repeat([1 / size for size in sizes], sizes),
            np.repeat(np.arange(len(found)), sizes),
        )

    def _weight(self, spots: _Spots) -> float:
        """Return the start's weight: in full until both classes are painted, for one says nothing of the other."""
        return self.start_weight if len(np.unique(spots.object)) == 2 else 1.0

    def _afar(self, spots: _Spots) -> float:
        """Return what the start weighs where no stroke is near, in strokes."""
        return np.float64(spots.weight.sum() * self._weight(spots))  # a plain float would round weights to float32

    def _distinct(self, forest: _Forest, leaves: np.ndarray, spots: _Spots) -> np.ndarray:
        """Return how much votes count: in full, but where one class alone is painted the start speaks for the other."""
        painted = np.unique(spots.object)
        return forest.distinct(leaves, int(painted[0])) if len(painted) == 1 else np.ones(len(leaves), np.float32)

    def _lesson(self, spots: _Spots) -> _Lesson:
        """Join the strokes and the start, of which each pixel is in part object, in part background."""
        x, p = self._sampled
        start = [w / max(w.sum(), _NONE) * self._afar(spots) * SPLIT for w in (p, 1 - p)]
        own = [self._planes[image].pixels[pixel] for image, pixel in zip(spots.image, spots.pixel, strict=True)]
        return _Lesson(np.stack(own)[:, :-TOLD], spots.object, spots.weight, x[:, :-TOLD], *start)

    def _steered(self, index: int, forest: _Forest, spots: _Spots) -> np.ndarray:
        """Return the probability of a plane with strokes: the start's, moved towards strokes that pixels resemble."""
        plane = self._planes[index]
        leaves = forest.leaves(plane.pixels[:, :-TOLD])
        held = [forest.share(leaves, spots.object == value, self._afar(spots)) for value in (0, 1)]
        votes, left = [v.reshape(plane.shape) for v in _agreed(held)], (1 - held[0] - held[1]).reshape(plane.shape)
        distinct = self._distinct(forest, leaves, spots).reshape(plane.shape)
        votes, cube = [v * distinct for v in votes], leaves.reshape(*plane.shape, -1)
        for number in np.unique(spots.stroke[spots.image == index]):
            mine = spots.stroke == number
            box, near = _neighbourhood(np.divmod(spots.pixel[mine], plane.shape[1]), plane.shape, plane.step)
            own = cube[box].reshape(-1, cube.shape[-1])
            share = forest.share(own, mine, START * self._weight(spots)).reshape(near.shape)
            votes[spots.object[mine][0]][box] += NEARBY * near * share * distinct[box]
        return plane.moved(plane.start, votes, left)

    def _spread(
        self, steered: Mapping[int, np.ndarray], rest: Sequence[int], forest: _Forest, spots: _Spots
    ) -> dict[int, np.ndarray]:
        """Return the probabilities of planes without strokes: the start's, moved towards strokes and what they made."""
        if not rest:
            return {}
        seen = [self._planes[i].drawn(SAMPLE // len(steered) + 1, steered[i]) for i in sorted(steered)]
        x, p = map(np.concatenate, zip(*seen, strict=True))
        others = ~np.isin(self._sampled_from, list(steered))
        x_start, p_start = (a[others] for a in self._sampled)
        weight = np.concatenate([p, 1 - p]) * SPREAD * min(1.0, spots.weight.sum() / MANY) ** 3 / len(p)
        said = [w / len(p_start) for w in (p_start, 1 - p_start)]
        objects = np.repeat([1, 0], len(p))
        kept = [self._planes[i].kept(steered[i]) for i in steered]
        usual = min(kept) / UNLIKE, max(kept) * UNLIKE
        taught = _Forest(_Lesson(np.concatenate([x, x]), objects, weight, x_start, *said), SPREAD_LEAF)
        found = {}
        for index in rest:
            self._checkpoint()
            plane = self._planes[index]
            leaves, afar = forest.leaves(plane.pixels[:, :-TOLD]), self._afar(spots)
            distinct = self._distinct(forest, leaves, spots)
            shares = [forest.share(leaves, spots.object == value, afar) * distinct for value in (0, 1)]
            votes = [plane.by_object(share) for share in shares]
            p = plane.moved(plane.start, _agreed(votes), 1 - votes[0] - votes[1])
            leaves = taught.leaves(plane.pixels)
            votes = [taught.share(leaves, objects == value, 1.0).reshape(plane.shape) for value in (0, 1)]
            p = plane.moved(p, votes, 1 - votes[0] - votes[1])
            found[index] = p if usual[0] <= plane.kept(p) <= usual[1] else plane.start
        return found


def _unit(planes: Sequence[np.ndarray]) -> np.float64:
    """Return what brings planes together to the range of 8 bits, a power of two, so that nothing is rounded.

    Trees take features for constant that differ by less than 1e-7, and squares of large ones have no place in float32.
    """
    full = [plane for plane in planes if plane.size]
    span = max((float(p.max()) for p in full), default=0) - min((float(p.min()) for p in full), default=0)
    return np.float64(2.0 ** (7 - math.floor(math.log2(span))) if span > 0 else 1)


def _agreed(votes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Let votes for background and objects from the same leaves cancel out."""
    share = ((votes[1] - votes[0]) / np.maximum(votes[0] + votes[1], _NONE)) ** 2
    return [v * share for v in votes]


# ---- What trees see ---------------------------------------------------------------------------------------


class _Spots(NamedTuple):
    """Pixels that stand for strokes, each an entry of all arrays."""

    image: np.ndarray
    pixel: np.ndarray  # flat, of those that features are of
    object: np.ndarray
    weight: np.ndarray  # those of a stroke sum to one
    stroke: np.ndarray


class _Plane:
    """Features of the pixels of one plane, or of every second along each axis, and what the start says."""

    def __init__(self, plane: np.ndarray, p: np.ndarray) -> None:
        self.start = np.asarray(p, np.float32)
        self.step = 1 if plane.size <= FINE else 2
        found = features(plane, self.start, self.step)
        self.shape = found.shape[1:]
        self.pixels = np.ascontiguousarray(found.reshape(len(found), -1).T)
        self._objects = parted(_reduced(self.start, self.step) > 0.5)

    def drawn(self, count: int, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw pixels: their features, and what a probability says of them."""
        at = np.random.default_rng(0).integers(0, len(self.pixels), count)
        return self.pixels[at], p[:: self.step, :: self.step].ravel()[at]

    def kept(self, p: np.ndarray) -> float:
        """Divide the foreground of a probability by that of the start."""
        return (1 + np.count_nonzero(p > 0.5)) / (1 + np.count_nonzero(self.start > 0.5))

    def by_object(self, share: np.ndarray) -> np.ndarray:
        """Average over each object of the start; background stays as it is. (N,) as `pixels`; returns (Y', X')."""
        mean = np.bincount(self._objects.ravel(), share) / np.bincount(self._objects.ravel()).clip(1)
        return np.where(self._objects > 0, mean[self._objects], share.reshape(self.shape))

    def moved(self, p: np.ndarray, votes: Sequence[np.ndarray], left: np.ndarray) -> np.ndarray:
        """Move a probability towards votes for background and objects, against what is left to itself."""
        cast = votes[0] + votes[1]
        share, towards = cast / (cast + left).clip(_NONE), votes[1] / np.maximum(cast, _NONE)
        share, towards = (_enlarged(a.astype(np.float32), p.shape, self.step) for a in (share, towards))
        return np.where(share > 0, (1 - share) * p.clip(CERTAIN, 1 - CERTAIN) + share * towards, p).astype(np.float32)


def features(plane: np.ndarray, p: np.ndarray, step: int) -> np.ndarray:
    """Describe each pixel, or every second along each axis: intensity, edges and texture at several scales, the start.

    Of the start, last: its logit, blurred at several scales; how far a pixel lies inside or outside of its mask, how
    wide the mask is there, how large, and how bright it is on average.

    Parameters
    ----------
    plane, p : (Y, X) arrays
    step : int

    Returns
    -------
    (F, Y', X') float32 array
    """
    small, p = _reduced(plane.astype(np.float32), step), _reduced(p, step).clip(CERTAIN, 1 - CERTAIN)
    low, high = (s / step for s in SIGMAS)
    texture = multiscale_basic_features(small, sigma_min=low, sigma_max=high).transpose(2, 0, 1)
    normed = [ndi.gaussian_filter(zscore(small), s / step) for s in (1, 4)]
    logit = np.log(p / (1 - p))
    blurred = [ndi.gaussian_filter(logit, s / step) for s in (4, 8, 16)]
    told = np.stack([logit, *blurred, *_pieces(small, p > 0.5, step)])
    return np.concatenate([texture, np.stack(normed), told]).astype(np.float32)


def _pieces(plane: np.ndarray, mask: np.ndarray, step: int) -> list[np.ndarray]:
    """Describe each pixel by the object, or the piece of background, that it is of."""
    if mask.all() or not mask.any():
        return [np.zeros(mask.shape)] * 5
    inside, outside = ndi.distance_transform_edt(mask), ndi.distance_transform_edt(~mask)
    across = round(16 / step)
    width = ndi.maximum_filter(inside, across) - ndi.maximum_filter(outside, across) * ~mask
    objects, count = ndi.label(mask)
    pieces = np.where(mask, objects, ndi.label(~mask)[0] + count)
    size = np.bincount(pieces.ravel()).clip(1)
    means = [np.bincount(pieces.ravel(), a.ravel()) / size for a in (plane, inside + outside)]
    return [inside - outside, width, *(a[pieces] for a in (np.log(size), *means))]


def parted(mask: np.ndarray) -> np.ndarray:
    """Count the objects of a mask from 1, those that touch parted at their necks; 0 is background."""
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1)
    middles = ndi.label(h_maxima(depth, NECK))[0] * mask if mask.any() and not mask.all() else mask.astype(int)
    found = watershed(-depth, middles, mask=mask)
    missed = mask & (found == 0)  # objects so slight that none of their middles stands out
    return np.asarray(np.where(missed, ndi.label(missed)[0] + found.max(), found))


def _neighbourhood(
    pixels: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...], step: int
) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return the box around some pixels, and how near they are in it, 1 to 0."""
    reach = round(3 * NEAR / step)
    box = tuple(slice(max(0, a.min() - reach), a.max() + reach + 1) for a in pixels)
    away = np.ones(shape, bool)[box]
    away[tuple(a - part.start for a, part in zip(pixels, box, strict=True))] = False
    return box, np.exp(-0.5 * (ndi.distance_transform_edt(away) * step / NEAR) ** 2)


def _reduced(plane: np.ndarray, step: int) -> np.ndarray:
    """Return every second pixel along each axis, each the mean of itself and those that are left out."""
    return plane if step == 1 else ndi.uniform_filter(plane, step, origin=-(step // 2))[::step, ::step]


def _enlarged(values: np.ndarray, shape: tuple[int, ...], step: int) -> np.ndarray:
    if step == 1:
        return values
    where = np.meshgrid(*((np.arange(n) + 0.5) / step - 0.5 for n in shape), indexing="ij")
    return np.asarray(ndi.map_coordinates(values, where, order=1, mode="nearest"))


# ---- Trees ------------------------------------------------------------------------------------------------


class _Lesson(NamedTuple):
    """Training data of a forest: evidence, and what the start says."""

    x: np.ndarray  # (N, F) features of the evidence
    object: np.ndarray
    weight: np.ndarray
    x_start: np.ndarray  # (M, F)
    objects: np.ndarray  # weights of the start's pixels as objects
    background: np.ndarray


class _Forest:
    """Trees whose leaves know what evidence they hold."""

    def __init__(self, lesson: _Lesson, leaf: float) -> None:
        from sklearn.ensemble import ExtraTreesClassifier

        x = np.concatenate([lesson.x, lesson.x_start, lesson.x_start])
        y = np.concatenate([lesson.object, np.repeat([1, 0], len(lesson.x_start))])
        weight = np.concatenate([lesson.weight, lesson.objects, lesson.background])
        used = weight > 0
        self._trees = ExtraTreesClassifier(TREES, min_weight_fraction_leaf=leaf, random_state=0)
        self._trees.fit(x[used], y[used], weight[used])
        sizes = [tree.tree_.node_count for tree in self._trees.estimators_]
        self._evidence, self._weight = self.leaves(lesson.x), lesson.weight
        start = self.leaves(lesson.x_start)
        self._start = [np.bincount(at, minlength=n) / max(1, len(start)) for at, n in zip(start.T, sizes, strict=True)]
        self._said = [
            [np.bincount(at, w, n) / max(w.sum(), _NONE) for at, n in zip(start.T, sizes, strict=True)]
            for w in (lesson.background, lesson.objects)
        ]

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """Return the leaf of each pixel in each tree."""
        return np.asarray(self._trees.apply(x))

    def share(self, leaves: np.ndarray, of: np.ndarray, start: float) -> np.ndarray:
        """Return what share of a pixel's leaves is of evidence, each piece times ``of``; the start weighs ``start``."""
        total = np.zeros(len(leaves), np.float32)
        for said, evidence, at in zip(self._start, self._evidence.T, leaves.T, strict=True):
            held, all_ = (np.bincount(evidence, w, len(said)) for w in (self._weight * of, self._weight))
            total += (held / np.maximum(all_ + start * said, _NONE))[at]
        return total / len(self._start)

    def distinct(self, leaves: np.ndarray, value: int) -> np.ndarray:
        """Return how far a pixel's leaves hold evidence of one class, rather than what the start says of the other."""
        total = np.zeros(len(leaves), np.float32)
        for said, evidence, at in zip(self._said[1 - value], self._evidence.T, leaves.T, strict=True):
            held = np.bincount(evidence, self._weight, len(said)) / max(self._weight.sum(), _NONE)
            total += (((held - said).clip(0) / np.maximum(held + said, _NONE)) ** 2)[at]
        return total / len(self._evidence.T)
