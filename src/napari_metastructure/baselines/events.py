"""What a comparison tells: small frozen events, besides `Saved` and `Warned` of `training.events`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class ImageScores:
    """How well one mask agrees with the ground truth.

    Attributes
    ----------
    name : str
        Of the image.
    dice, auc, accuracy : float
        As `training.metrics` defines them; the AUC is nan where the truth is all foreground or all background.
    oracle : float or None
        For methods that give clusters: Dice of the best assignment of clusters to foreground, found with the ground
        truth. No method can reach it by itself; None for the others.
    """

    name: str
    dice: float
    auc: float
    accuracy: float
    oracle: float | None = None


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One run of one method over all images.

    Attributes
    ----------
    method : str
        Its name in `methods.METHODS`.
    repeat : int
        From 0; its seed is that of the comparison plus this.
    seconds : float
        Per image, training included.
    memory : int
        Bytes: peak over what was there before.
    scores : tuple of ImageScores or None
        One per image; None without ground truth.
    """

    method: str
    repeat: int
    seconds: float
    memory: int
    scores: tuple[ImageScores, ...] | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike the masks of the methods are; this needs no ground truth.

    Attributes
    ----------
    methods : tuple of str
        The M methods that came to an end, in the order they were asked for.
    dice : (M, M) float64 array
        Mean over the images of the Dice between the masks of two methods, of the first repeats.
    """

    methods: tuple[str, ...]
    dice: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True)
class CompareStarted:
    """The first event: everything is validated.

    Attributes
    ----------
    methods : tuple of str
    repeats, runs, images : int
        Repeats of the methods that depend on a seed, runs in all, and planes.
    polarity : {"bright", "dark"}
        In force (``auto`` has been settled).
    labelled : bool
        Whether there is ground truth.
    """

    methods: tuple[str, ...]
    repeats: int
    runs: int
    images: int
    polarity: Literal["bright", "dark"]
    labelled: bool


@dataclass(frozen=True, slots=True)
class MethodStarted:
    """A run of a method begins: ``number`` of ``runs`` from 1, ``repeat`` from 0."""

    number: int
    runs: int
    method: str
    repeat: int


@dataclass(frozen=True, slots=True)
class MethodProgress:
    """The share of a run that is done, 0 to 1."""

    method: str
    repeat: int
    done: float


@dataclass(frozen=True, slots=True)
class MethodFinished:
    """A run is done; ``masks`` are (Y, X) uint8 arrays of 0 and 1, one per image."""

    result: MethodResult
    masks: tuple[np.ndarray, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class CompareFinished:
    """The last event of a comparison that did not raise.

    Attributes
    ----------
    stopped : bool
        True if the user stopped it.
    reason : str
        One sentence: why it ended.
    results : tuple of MethodResult
        Every run that came to an end.
    agreement : Agreement or None
        None with fewer than two methods.
    """

    stopped: bool
    reason: str
    results: tuple[MethodResult, ...]
    agreement: Agreement | None


CompareEvent = CompareStarted | MethodStarted | MethodProgress | MethodFinished | CompareFinished
