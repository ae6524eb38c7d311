"""Pseudo-labels of a set of planes: memory of earlier rounds, threshold, extraction (EMS), corrections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_metastructure.igtt.candidates import Edges, search
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.levels import Levels
from napari_metastructure.igtt.storage import IN_MEMORY, ArrayStorage
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training.control import FREE
from napari_metastructure.training.distributed import ALONE, Ranks
from napari_metastructure.training.events import ScoreCurve
from napari_metastructure.training.losses import LOCKED
from napari_metastructure.training.metrics import dice

if TYPE_CHECKING:
    import torch

BALANCE = 0.05
"""Relative difference in edge score that moves the odds of start against network by a factor e."""

SAMPLE = 16
"""Planes, evenly spread over the set, that this difference is measured on."""


class PseudoLabels:
    """Turns probabilities into the labels of the next round (lines 6 to 10 of Algorithm 1).

    Two weights tame the drift of a network that learns from itself. The *memory* of each plane is the running
    mean of its probabilities, ``M_n = m M_(n-1) + (1 - m) P_n``; the *evidence* that is cut into a mask is
    ``a P_0 + (1 - a) M_n`` with the start's ``P_0``. With m = a = 0 it is P_n alone, as printed.

    Whether the start or the network is better differs from one kind of image to the next. With
    ``balance = "edges"`` the weight a is moved from ``anchor`` towards the one whose masks the edges of the images
    confirm better, over the whole set: ``logit a = logit anchor + (1 - s_network / s_start) / BALANCE`` with the mean
    `Edges.score` of each.

    Parameters
    ----------
    start : sequence of (Y, X) float arrays
        ``P_0``.
    config : IGTTConfig
    rng : numpy.random.Generator
        For EMS.
    planes : sequence of (Y, X) float arrays
        The images, objects bright.
    outside : sequence of (Y, X) bool array or None, optional
        What lies outside the field of view (`images.surround`): never foreground, and unlabelled.
    device : torch.device, optional
        CUDA finds the levels of the planes.
    ranks : Ranks
        Processes that share the planes out; all have all labels.
    storage : ArrayStorage
        Where all of it is kept.

    Attributes
    ----------
    evidence : list of (Y, X) float32 arrays
    masks : list of (Y, X) uint8 arrays of 0 and 1
    labels : list of (Y, X) uint8 arrays of 0, 1 and 255
    curves : list of ScoreCurve
    """

    def __init__(
        self,
        start: Sequence[np.ndarray],
        config: IGTTConfig,
        rng: np.random.Generator,
        planes: Sequence[np.ndarray],
        outside: Sequence[np.ndarray | None] | None = None,
        device: torch.device | None = None,
        ranks: Ranks = ALONE,
        storage: ArrayStorage = IN_MEMORY,
    ) -> None:
        self.config, self.ranks, self.storage = config, ranks, storage
        self.device = device
        self.planes = planes
        self.outside = outside if outside is not None else [None] * len(planes)
        self._edges: dict[int, Edges] = {}
        self._levels: dict[int, Levels] = {}
        self.rng = rng
        # Half precision resolves 1/2000 and halves what a large set costs.
        self.start = storage.keep(self._within(i, s.astype(np.float16)) for i, s in enumerate(start))
        self.steered: Sequence[np.ndarray] = []
        self.memory: list[np.ndarray] = []
        self.corrections: dict[int, np.ndarray] = {}
        self.evidence: list[np.ndarray] = []
        self.masks: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.curves: list[ScoreCurve] = []
        self._start_score: float | None = None

    def edges(self, index: int) -> Edges:
        """Return the edges of a plane, found when they are first needed, or each time where memory is short."""
        if index in self._edges:
            return self._edges[index]
        found = Edges(self.planes[index])
        if self.storage.in_memory:
            self._edges[index] = found
        return found

    def begin(self, given: bool = False) -> None:
        """Cut the start itself: the labels of the first round. Masks that were ``given`` stay as they are."""
        self._cut(s.astype(np.float32) for s in self.start)
        if given:
            self.masks = self.storage.keep((s > 0.5).astype(np.uint8) for s in self.start)
        self._extract()

    def steer(self, probabilities: Sequence[np.ndarray]) -> float:
        """Take what strokes made of the start in its place from now on, and cut it; none puts the start back.

        Where strokes alone count it is cut at one half: there is nothing of the start left that levels could refine.

        Returns
        -------
        float
            Agreement: mean Dice between the new masks and those before.
        """
        self.steered = self.storage.keep(self._within(i, p.astype(np.float16)) for i, p in enumerate(probabilities))
        self._start_score = None
        before = self.masks
        self._cut(s.astype(np.float32) for s in self.steered or self.start)
        if self.steered and self.config.start_weight == 0:
            self.masks = self.storage.keep((s > 0.5).astype(np.uint8) for s in self.steered)
        self._extract()
        return float(np.mean([dice(x, y) for x, y in zip(self.masks, before, strict=True)]))

    def update(self, probabilities: Sequence[np.ndarray]) -> float:
        """Make new labels from a round's probabilities.

        Returns
        -------
        float
            Agreement: mean Dice between the new masks and those before.
        """
        m = self.config.memory
        within = (self._within(i, p) for i, p in enumerate(probabilities))
        if not self.memory:
            self.memory = self.storage.keep(p.astype(np.float16) for p in within)
        else:
            self.memory = self.storage.keep(
                (m * old.astype(np.float32) + (1 - m) * new).astype(np.float16)
                for old, new in zip(self.memory, within, strict=True)
            )
        before = self.masks
        a = self._anchor()
        self._cut(
            a * s.astype(np.float32) + (1 - a) * p.astype(np.float32)
            for s, p in zip(self.steered or self.start, self.memory, strict=True)
        )
        self._extract()
        return float(np.mean([dice(x, y) for x, y in zip(self.masks, before, strict=True)]))

    def correct(self, corrections: Mapping[int, np.ndarray]) -> bool:
        """Lock pixels from now on: 0 and 1 hold in masks and labels, 254 frees them, 255 leaves them as they were.

        Returns
        -------
        bool
            Whether other pixels are locked than before; of a plane that had none, whether any are locked or freed.
        """
        other = False
        for index, pixels in corrections.items():
            before = self.corrections.get(index)
            if before is None:
                self.corrections[index], other = pixels.copy(), other or bool((pixels != UNLABELLED).any())
                continue
            now = self.corrections[index] = np.where(pixels == UNLABELLED, before, pixels)
            other |= not np.array_equal(np.minimum(before, FREE), np.minimum(now, FREE))
        self._lock()
        return other

    def _lock(self) -> None:
        for index, pixels in self.corrections.items():
            for arrays in (self.masks, self.labels):
                if arrays:
                    arrays[index] = np.where(pixels <= 1, pixels, arrays[index])

    def training_labels(self) -> list[np.ndarray]:
        """Return the labels as the loss wants them: locked pixels are marked."""
        marked = list(self.labels)
        for index, pixels in self.corrections.items():
            marked[index] = np.where(pixels <= 1, pixels + LOCKED, marked[index]).astype(np.uint8)
        return marked

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, as lists of arrays by name."""
        return {
            "start": self.start,
            "steered": self.steered,
            "memory": self.memory,
            "evidence": self.evidence,
            "masks": self.masks,  # masks that were given are not what a cut of the evidence makes
            "labels": self.labels,
            "corrections": [self.corrections.get(i, np.empty(0, np.uint8)) for i in range(len(self.start))],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned; nothing is drawn at random."""
        self.start, self.memory = self.storage.keep(state["start"]), self.storage.keep(state["memory"])
        steered = state.get("steered", [])  # runs that were saved before there was any steering have none
        self.steered = self.storage.keep(steered) if steered else []
        self._cut(state["evidence"])
        self.masks, self.labels = self.storage.keep(state["masks"]), self.storage.keep(state["labels"])
        self.correct({i: pixels for i, pixels in enumerate(state["corrections"]) if pixels.size})

    def _anchor(self) -> float:
        """Return the weight of the start in the evidence of this round."""
        anchor = self.config.anchor
        if self.config.balance == "fixed" or anchor in (0, 1):
            return anchor
        if self._start_score is None:
            self._start_score = self._confirmed(self.steered or self.start)
        start, network = self._start_score, self._confirmed(self.memory)
        logit = np.log(anchor / (1 - anchor)) + (1 - network / max(start, 1e-6)) / BALANCE
        return float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))

    def _confirmed(self, probabilities: Sequence[np.ndarray]) -> float:
        """Score how well the edges of the images confirm the masks of these probabilities: the mean, 0 to 1."""

        def score(index: int) -> float:
            mask, _ = self._search(probabilities[index].astype(np.float32), index)
            return self.edges(index).score(mask)

        sample = np.unique(np.linspace(0, len(probabilities) - 1, SAMPLE).astype(int)).tolist()
        return float(np.mean(self.ranks.shared_out(len(sample), lambda mine: [score(sample[i]) for i in mine])))

    def _search(self, p: np.ndarray, index: int) -> tuple[np.ndarray, ScoreCurve]:
        """Return the candidate mask of a plane that scores best (lines 7 to 9 of Algorithm 1)."""
        c = self.config
        if c.criterion == "level":
            levels = self._levels.get(index) or Levels(self.planes[index], device=self.device)
            if self.storage.in_memory:
                self._levels[index] = levels
            mask, curve = levels.cut(p, c.thresholds)
            return self._within(index, mask), curve  # a level adds pixels around the objects
        steep = self.edges(index).steep if c.criterion == "edge" else None
        curve = search(p, c.criterion, c.search, c.thresholds, steep)
        return p > curve.chosen, curve

    def _cut(self, evidence: Iterable[np.ndarray]) -> None:
        self.evidence = self.storage.keep(evidence)
        self.curves, count = [], len(self.evidence)
        found = (
            self._searched(range(count))
            if self.ranks.alone
            else self.ranks.shared_out(count, lambda mine: list(self._searched(mine)))
        )

        def masks() -> Iterator[np.ndarray]:
            for mask, curve in found:
                self.curves.append(curve)
                yield mask.astype(np.uint8)

        self.masks = self.storage.keep(masks())

    def _searched(self, mine: Sequence[int]) -> Iterator[tuple[np.ndarray, ScoreCurve]]:
        return (self._search(self.evidence[i].astype(np.float32), i) for i in mine)

    def _extract(self) -> None:
        c = self.config
        labels = (extract(m, self.rng, c.extraction, c.keep, c.radius) for m in self.masks)
        self.labels = self.storage.keep(self._within(i, label, UNLABELLED) for i, label in enumerate(labels))
        self._lock()

    def _within(self, index: int, values: np.ndarray, beyond: int = 0) -> np.ndarray:
        """Put another value outside the field of view of a plane."""
        outside = self.outside[index]
        return values if outside is None else np.where(outside, values.dtype.type(beyond), values)


# ---- Extraction of the meta-structure (EMS): from a candidate mask to a label, 255 where the loss does not look ----

Extraction = Literal["none", "skeleton", "density"]

DRAWS = 2**12
"""Draws from a disc that all pixels of a mask choose among: a sine for each would take most of the time."""


def extract(
    mask: np.ndarray, rng: np.random.Generator, method: Extraction, keep: float = 0.5, radius: int = 1
) -> np.ndarray:
    """Apply one of the extractions by name.

    Parameters
    ----------
    mask : (Y, X) array
        Candidate mask, nonzero = foreground; not changed.
    rng : numpy.random.Generator
    method : {"none", "skeleton", "density"}
        ``none`` returns the mask itself; see `skeleton` and `density` for the others.
    keep : float
        Fraction of pixels that keep a label, 0 to 1.
    radius : int
        Greatest shift in pixels.

    Returns
    -------
    (Y, X) uint8 array of 0, 1 and 255
    """
    mask = np.asarray(mask, dtype=bool)
    if method == "skeleton":
        return skeleton(mask, rng, keep, radius)
    if method == "density":
        return density(mask, rng, keep, radius)
    return mask.astype(np.uint8)


def skeleton(mask: np.ndarray, rng: np.random.Generator, keep: float, radius: int) -> np.ndarray:
    """Apply EMS as printed: skeleton, each of its pixels shifted within a radius, a random sample of them kept.

    All other pixels become background, so width is lost at each round (see `density`).
    """
    from skimage.morphology import skeletonize

    y, x = np.nonzero(skeletonize(mask))
    kept = rng.random(y.size) < keep
    y, x = y[kept], x[kept]
    label = np.zeros(mask.shape, np.uint8)
    label[_shift(y, x, radius, rng, mask.shape)] = 1
    return label


def density(mask: np.ndarray, rng: np.random.Generator, keep: float, radius: int) -> np.ndarray:
    """Apply EMS that keeps width: labels drawn from the mask's local density, both classes sampled alike.

    A sampled pixel takes the label of a pixel drawn from the disc around it, so it is foreground with the
    probability that eq. (8) estimates with a round box kernel of bandwidth ``radius``. Outlines lose their pixels
    and keep their place on average: noise of this kind has no bias for either class, where a skeleton loses
    width and discs along a skeleton thin out towards the edge (both shrink from round to round). By Theorem 2 the
    sampling leaves the meta-structure whole: the noise transition matrix keeps its full rank.
    """
    # Padding by the nearest pixel holds draws inside the image; in the flat array a shift is one number.
    height, side = mask.shape
    wide = side + 2 * radius
    padded = np.pad(mask, radius, mode="edge").ravel()
    dy, dx = _disc(radius, rng, DRAWS // 2)
    shifts = np.concatenate([dy * wide + dx, -dy * wide - dx])  # opposites: they shift nothing on average
    at = np.flatnonzero(rng.random(height * side, dtype=np.float32) < keep)
    drawn = shifts[rng.integers(0, DRAWS, at.size, dtype=np.uint16)]
    label = np.full(height * side, UNLABELLED, np.uint8)
    label[at] = padded[at + at // side * (2 * radius) + radius * (wide + 1) + drawn]
    return label.reshape(mask.shape)


def _shift(
    y: np.ndarray, x: np.ndarray, radius: int, rng: np.random.Generator, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Move points to a place drawn uniformly from the disc around them, held inside the image."""
    dy, dx = _disc(radius, rng, y.size)
    return np.clip(y + dy, 0, shape[0] - 1), np.clip(x + dx, 0, shape[1] - 1)


def _disc(radius: int, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw offsets in rows and columns uniformly from a disc and rounded."""
    angle = rng.random(number) * (2 * np.pi)
    length = radius * np.sqrt(rng.random(number))
    return np.rint(length * np.sin(angle)).astype(int), np.rint(length * np.cos(angle)).astype(int)
