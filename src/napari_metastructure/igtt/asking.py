"""Questions to the user: pixels whose class would teach most, or a random sample, and what answers still change."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.errors import InputError, counted
from napari_metastructure.images.defects import mended
from napari_metastructure.images.intensity import zscore
from napari_metastructure.images.surround import measured, surround, together

How = Literal["unsure", "random"]

POOL = 4000
"""Pixels that may be asked about as unsure ones, evenly from the planes that are looked at."""

PLANES = 16
"""Planes that are looked at for a round of questions; of larger sets others come in other rounds."""

KINDS = 24
"""Kinds of pixels that are told apart, by what they look like."""

APART = 12
"""Pixels between two places at least, in one plane: an answer tells of its neighbourhood, too."""

AROUND = 7
"""Side in pixels of the window that doubt is averaged in: every outline is unsure, and nobody can say more of it."""

SIGMAS = (1.0, 4.0, 16.0)
"""Standard deviations in pixels of the blurs that pixels are told apart by."""

LAST = 20
"""Answers that the expected gain is judged by."""

FEW = 1
"""Corrections among them up to which masks count as right where they were asked about."""

CHANGED = 0.01
"""1 - Dice of masks before and after them, below which masks count as unchanged."""

_CHUNK = 4096
_CHUNKS = 256


class Place(NamedTuple):
    """A pixel to ask about."""

    plane: int
    y: int
    x: int


class Questions:
    """Chooses which pixels to ask about next, from images and probabilities alone.

    Parameters
    ----------
    read : callable
        Returns the (Y, X) pixels of a plane by its number; called once for each plane that is looked at.
    seed : int
        Same seed, same probabilities and same answers: the same places.
    mends : bool
        Whether the run mends flaws of images, and leaves out what lies outside a field of view.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(size=(64, 64))
    >>> probability = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    >>> questions = Questions([image].__getitem__)
    >>> places = questions.next([probability], 2)
    >>> len(places), all(20 < place.y < 44 for place in places)
    (2, True)
    """

    def __init__(self, read: Callable[[int], np.ndarray], seed: int = 0, mends: bool = True) -> None:
        self._read, self._seed, self._mends = read, seed, mends
        self._seen: dict[int, _Seen] = {}

    def next(
        self,
        probabilities: Sequence[np.ndarray],
        number: int,
        how: How = "unsure",
        asked: Collection[Place] = (),
        painted: Mapping[int, np.ndarray] | None = None,
    ) -> list[Place]:
        """Choose places, the most useful first.

        Parameters
        ----------
        probabilities : sequence of (Y, X) arrays of 0 to 1
            Of objects, one a plane, as they are with all answers so far.
        number : int
        how : {"unsure", "random"}
            ``unsure``: pixels whose neighbourhood is unsure, of the kinds that hold most doubt: pixels are grouped by
            what they look like (k-means), each question goes to the group with most doubt for the questions it had
            already, there to an unsure pixel near the middle of the group, and `APART` from any other place.
            ``random``: a uniform sample of the field of view, as Theorem 2 has it.
        asked : collection of Place
            Answered or skipped; never chosen again.
        painted : mapping of int to (Y, X) uint8 array, optional
            By plane: pixels of 0 and 1 have their class already and are not asked about.

        Returns
        -------
        list of Place
            Fewer than ``number`` where no further pixel is left.
        """
        if how not in ("unsure", "random"):
            raise InputError(f"Places are chosen as 'unsure' or 'random', not {how!r}.")
        free = _Free([np.shape(p) for p in probabilities], asked, painted or {})
        found = list(islice(self._unsure(probabilities, free, len(asked)), number)) if how == "unsure" else []
        return [*found, *islice(self._random(free), number - len(found))]

    def _random(self, free: "_Free") -> Iterator[Place]:
        """Draw pixels of all planes; the order depends on the seed alone, so what was asked falls out of it."""
        ends = np.cumsum([height * width for height, width in free.shapes])
        if not len(ends):
            return
        rng, total = np.random.default_rng(self._seed), int(ends[-1])
        few = total <= _CHUNK * _CHUNKS
        for drawn in [rng.permutation(total)] if few else (rng.integers(total, size=_CHUNK) for _ in range(_CHUNKS)):
            for flat in drawn:
                plane = int(np.searchsorted(ends, flat, side="right"))
                y, x = divmod(int(flat - ends[plane]) % (size := np.prod(free.shapes[plane])), free.shapes[plane][1])
                place = Place(plane, int(y), int(x))
                if size and free.takes(place) and self._look(plane, free.shapes[plane]).inside(place):
                    free.close(place)
                    yield place

    def _unsure(self, probabilities: Sequence[np.ndarray], free: "_Free", round_: int) -> Iterator[Place]:
        rng = np.random.default_rng([self._seed, round_])
        planes = [i for i, (height, width) in enumerate(free.shapes) if height and width]
        if len(planes) > PLANES:
            planes = sorted(rng.choice(planes, PLANES, replace=False).tolist())
        looks, doubts = [], []
        for index in planes:
            looks.append(self._look(index, free.shapes[index], POOL // min(len(planes), PLANES)))
            doubts.append(looks[-1].doubt(np.asarray(probabilities[index], np.float32)))
        if not any(look.places for look in looks):  # all of it lies outside of any field of view
            return
        places = [place for look in looks for place in look.places]
        doubt = np.concatenate(doubts)
        kinds, away = _grouped(np.concatenate([look.features for look in looks]), self._seed)
        mass = np.bincount(kinds, doubt)
        had = np.bincount(kinds, [place in free.asked for place in places])
        worth = doubt / (1 + away)
        where = np.array(places)
        left = np.array([free.takes(place, APART) for place in places]) & (doubt > 0)
        while left.any():
            there = np.isin(np.arange(len(mass)), kinds[left])
            kind = int(np.argmax(np.where(there, mass / (1 + had), -1)))
            best = int(np.argmax(np.where(left & (kinds == kind), worth, -1)))
            had[kind] += 1
            near = (where[:, 0] == where[best, 0]) & (abs(where[:, 1:] - where[best, 1:]).max(1) < APART)
            left &= ~near
            free.close(places[best])
            yield places[best]

    def _look(self, index: int, shape: tuple[int, ...], pool: int = 0) -> "_Seen":
        seen = self._seen.get(index)
        if seen is None or (pool and not seen.places):
            plane = np.asarray(self._read(index), np.float32)
            if plane.shape != shape:
                raise InputError(f"Probabilities of shape {shape} do not lie on image {index + 1} of {plane.shape}.")
            seen = self._seen[index] = _Seen(index, plane, pool, self._seed, self._mends)
        return seen


class _Free:
    """Which pixels may be asked about."""

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], asked: Collection[Place], painted: Mapping[int, np.ndarray]
    ) -> None:
        self.shapes, self.asked, self._painted = shapes, set(map(Place._make, asked)), painted
        self._closed = set(self.asked)

    def takes(self, place: Place, apart: int = 0) -> bool:
        """Whether a place has no class yet, and no other place is so near."""
        painted = self._painted.get(place.plane)
        if place in self._closed or (painted is not None and painted[place.y, place.x] <= 1):
            return False
        return not apart or all(
            place.plane != other.plane or max(abs(place.y - other.y), abs(place.x - other.x)) >= apart
            for other in self._closed
        )

    def close(self, place: Place) -> None:
        """Ask about a place once."""
        self._closed.add(place)


class _Seen:
    """What is kept of a plane: its field of view, and some of its pixels with what they look like."""

    def __init__(self, index: int, plane: np.ndarray, pool: int, seed: int, mends: bool) -> None:
        plane, outside = measured(mended(plane) if mends else plane, margins=mends)
        if mends:
            either = together(surround(plane, "bright"), surround(plane, "dark"))
            outside = together(either, outside)
        self._outside = None if outside is None or not outside.any() else outside
        self.places: list[Place] = []
        if pool:
            rng = np.random.default_rng([seed, index])
            at = rng.choice(plane.size, min(pool, plane.size), replace=False)
            at = at if self._outside is None else at[~self._outside.ravel()[at]]
            self._at, width = at, plane.shape[1]
            self.places = [Place(index, *divmod(int(i), width)) for i in at]
            self.features = np.stack([f.ravel()[at] for f in _looks(zscore(plane))], axis=1)

    def inside(self, place: Place) -> bool:
        """Whether a pixel is in the field of view."""
        return self._outside is None or not self._outside[place.y, place.x]

    def doubt(self, p: np.ndarray) -> np.ndarray:
        """Return how unsure the neighbourhood of each of the pixels is, 0 to 1."""
        p = np.nan_to_num(p, nan=0.5).clip(1e-6, 1 - 1e-6)
        entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
        found: np.ndarray = ndi.uniform_filter(entropy, AROUND).ravel()[self._at]
        return found


def _looks(plane: np.ndarray) -> Iterator[np.ndarray]:
    for sigma in SIGMAS:
        yield ndi.gaussian_filter(plane, sigma)
        yield ndi.gaussian_gradient_magnitude(plane, sigma) * sigma


def _grouped(features: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Group pixels by what they look like: the group of each, and how far it is from the middle, 1 on average."""
    from sklearn.cluster import MiniBatchKMeans

    spread = features.std(axis=0)
    features = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    count = min(KINDS, len(np.unique(features, axis=0)))
    if count < 2:
        return np.zeros(len(features), int), np.zeros(len(features))
    means = MiniBatchKMeans(count, random_state=seed, n_init=1).fit(features)
    away = ((features - means.cluster_centers_[means.labels_]) ** 2).sum(axis=1)
    return means.labels_, away / max(float(away.mean()), 1e-12)


class Gain:
    """How much answers still change, without ground truth.

    The rule: more answers no longer gain once of the last `LAST` at most `FEW` contradicted the mask there was when
    they were given, and the Dice of the masks before and after those is above 1 - `CHANGED`. Answers of random pixels
    are contradicted as often as the masks are wrong, those of unsure ones more often. The next answers are expected
    to change as much as the last.

    Attributes
    ----------
    contradicted : list of bool
        Of each answer so far, whether the mask said otherwise.
    """

    def __init__(self) -> None:
        self.contradicted: list[bool] = []
        self._masks: dict[int, list[np.ndarray]] = {}

    def see(self, masks: Sequence[np.ndarray], answers: int) -> None:
        """Note the masks with the first so many answers: always of the same planes."""
        if any(list(map(np.shape, masks)) != list(map(np.shape, before)) for before in self._masks.values()):
            self._masks = {}
        self._masks[answers] = [np.asarray(mask, bool) for mask in masks]
        oldest = max((n for n in self._masks if n <= answers - LAST), default=0)
        self._masks = {n: m for n, m in self._masks.items() if oldest <= n <= answers}

    @property
    def wrong(self) -> int:
        """How many of the last answers contradicted the mask."""
        return sum(self.contradicted[-LAST:])

    @property
    def changed(self) -> float | None:
        """1 - Dice of the masks before and after the last answers; None where these masks were not seen."""
        newest = max((n for n in self._masks if n <= len(self.contradicted)), default=0)
        before = max((n for n in self._masks if n <= newest - LAST), default=None)
        if before is None:
            return None
        pairs = list(zip(self._masks[before], self._masks[newest], strict=True))
        both = 2 * sum(int(np.count_nonzero(a & b)) for a, b in pairs)
        sizes = sum(int(np.count_nonzero(a)) + int(np.count_nonzero(b)) for a, b in pairs)
        return 1 - both / sizes if sizes else 0.0

    @property
    def over(self) -> bool:
        """Whether more answers would no longer gain."""
        return self.changed is not None and self.changed < CHANGED and self.wrong <= FEW

    def __str__(self) -> str:
        """Say it to the user."""
        count, changed = min(LAST, len(self.contradicted)), self.changed
        if not count:
            return "Nothing was answered yet."
        if count == 1:
            return f"The answer {'corrected' if self.wrong else 'agreed with'} the masks."
        said = f"{self.wrong} of the last {counted(count, 'answer')} corrected the masks"
        if changed is None:
            return f"{said}."
        said = f"{said}, which changed by {100 * changed:.1f} %"
        return f"{said}: more answers would hardly gain." if self.over else f"{said}; expect as much of the next."
