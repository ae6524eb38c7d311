"""What a long job tells its listeners: small frozen events.

A job is a plain generator of these. It does not know who listens: the command line prints
them, the plugin carries them to the main thread and draws them, a notebook plots them.
Arrays inside events are never changed by the job after they were sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class ScoreCurve:
    """The candidate search of one image: score of each threshold, and the one taken.

    Attributes
    ----------
    thresholds, scores : (K,) float64 arrays
        Probability thresholds t_k of eq. (2) and the score of the mask ``p > t_k`` (higher is better).
    chosen : float
        The threshold the candidate mask was cut at.
    """

    thresholds: np.ndarray
    scores: np.ndarray
    chosen: float


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first event: everything is validated, the network is built."""

    epochs: int
    batches: int
    images: int
    device: str
    folder: Path | None = None
    resumed_epoch: int = 0
    objects: str = "bright"
    """The polarity in force: ``bright`` or ``dark`` (``auto`` has been settled)."""


@dataclass(frozen=True, slots=True)
class BatchFinished:
    """One optimiser step is done (``epoch`` and ``batch`` count from 1)."""

    epoch: int
    batch: int
    batches: int
    loss: float


@dataclass(frozen=True, slots=True)
class EpochFinished:
    """One round is done: the network was trained and the pseudo-labels were made anew.

    Attributes
    ----------
    epoch, epochs : int
        This round, from 1, and how many there will be at most. Epoch 0 is the start, before any training.
    loss : float
        Mean training loss of the round (nan for epoch 0).
    agreement : float
        Mean Dice between this round's masks and those of the round before, 0 to 1 (nan for epoch 0).
    foreground : float
        Fraction of all pixels that the masks call foreground.
    masks : tuple of (Y, X) uint8 arrays of 0 and 1
        The candidate masks S~ of eq. (4), one per image: what the user sees and may keep.
    labels : tuple of (Y, X) uint8 arrays of 0, 1 and 255
        The pseudo-labels Y* that EMS made of them, on which the next round trains; 255 = unlabelled.
    probabilities : tuple of (Y, X) float32 arrays
        The foreground probability P, one per image.
    curves : tuple of ScoreCurve
        The candidate search, one per image.
    seconds, seconds_outside : float
        Wall time of the round, and the part of it spent outside the network (candidates, EMS, bookkeeping).
    """

    epoch: int
    epochs: int
    loss: float
    agreement: float
    foreground: float
    masks: tuple[np.ndarray, ...] = field(repr=False)
    labels: tuple[np.ndarray, ...] = field(repr=False)
    probabilities: tuple[np.ndarray, ...] = field(repr=False)
    curves: tuple[ScoreCurve, ...] = field(repr=False)
    seconds: float
    seconds_outside: float


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the user should know; the run goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A file of the run folder was written whole."""

    path: Path


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every run that did not raise.

    Attributes
    ----------
    stopped : bool
        True if the user stopped it.
    reason : str
        One sentence: why it ended and which epoch was taken.
    epoch : int
        The epoch whose masks these are.
    masks, probabilities
        As in `EpochFinished`: the result. Empty if the run was stopped before there was a first mask.
    """

    stopped: bool
    reason: str
    epoch: int
    masks: tuple[np.ndarray, ...] = field(repr=False)
    probabilities: tuple[np.ndarray, ...] = field(repr=False)


Event = RunStarted | BatchFinished | EpochFinished | Warned | Saved | Finished
