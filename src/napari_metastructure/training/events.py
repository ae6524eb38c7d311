"""Events of long jobs, small and frozen, for those who listen.

A job is a plain generator of these. It does not know its listeners: the command line prints
them, the plugin carries them to the main thread and draws them, a notebook plots them.
Arrays inside events are never changed by the job after they were sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.training.metrics import Scores

if TYPE_CHECKING:
    from napari_metastructure.networks.model import Model


@dataclass(frozen=True, slots=True)
class ScoreCurve:
    """The candidate search of one image: score of each threshold, and the one taken.

    Attributes
    ----------
    thresholds, scores : (K,) float64 arrays
        Probability thresholds t_k of eq. (2) and the score of the mask ``p > t_k`` (higher is better); for the levels
        of an image the share of the pixels near the foreground that lie below.
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
    """The polarity in force, of most images: ``bright`` or ``dark`` (``auto`` has been settled)."""
    corrections: Mapping[int, np.ndarray] = field(default_factory=dict, repr=False)
    """What is locked from the start on, by image: (Y, X) uint8 of 0, 1 and 255 (free)."""


@dataclass(frozen=True, slots=True)
class BatchFinished:
    """One optimiser step is done (``epoch`` and ``batch`` count from 1)."""

    epoch: int
    batch: int
    batches: int
    loss: float


@dataclass(frozen=True, slots=True)
class EpochFinished:
    """One round is done: the network was trained and the pseudo-labels were made again.

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
class TrainStarted:
    """The first event of supervised training: everything is validated, the network is built.

    Attributes
    ----------
    epochs, batches : int
        Epochs at most, and steps in each.
    training, validation : int
        Number of images; 0 for validation means there is none, and no validation scores will come.
    classes : tuple of int
        Label values; two are background and foreground.
    device : str
    folder : Path or None
        The run folder.
    resumed_epoch : int
        The epoch it goes on from.
    before : tuple of dict
        The rows of ``metrics.csv`` so far, for the curves of a resumed run.
    """

    epochs: int
    batches: int
    training: int
    validation: int
    classes: tuple[int, ...]
    device: str
    folder: Path | None = None
    resumed_epoch: int = 0
    before: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class TrainEpoch:
    """One epoch of supervised training is done.

    Attributes
    ----------
    epoch, epochs : int
        This one, from 1, and how many there will be at most.
    loss, learning_rate : float
        Mean training loss, and the step size the epoch ended with.
    training : Scores
        Agreement of the network with the labels it was trained on, on the patches of this epoch, while it learned.
    validation : Scores or None
        On whole images never trained on; None without validation.
    validation_loss : float
        The loss there; nan without validation.
    best_epoch : int
        The epoch with the best validation Dice (mIoU for more than two classes) so far; the newest without any.
    seconds, seconds_data : float
        Wall time of the epoch, and the part of its training spent on drawing patches.
    predictions : dict of str to (Y, X) uint8 array
        Predicted labels (class values) of the images that are watched, by name.
    """

    epoch: int
    epochs: int
    loss: float
    learning_rate: float
    training: Scores
    validation: Scores | None
    validation_loss: float
    best_epoch: int
    seconds: float
    seconds_data: float
    predictions: dict[str, np.ndarray] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """The best network of a run that is about to fail; what made it fail is raised next."""

    epoch: int
    model: Model = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrainFinished:
    """The last event of supervised training that did not raise.

    Attributes
    ----------
    stopped : bool
        True if the user stopped it.
    reason : str
        One sentence: why it ended and which epoch's network was kept.
    best_epoch : int
        The epoch of the network that is kept.
    scores : Scores or None
        Its validation scores.
    model : Model or None
        The network of that epoch, ready to predict; None if not one epoch was done.
    """

    stopped: bool
    reason: str
    best_epoch: int
    scores: Scores | None
    model: Model | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the user should know; the run goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A file of the run folder was written whole."""

    path: Path


@dataclass(frozen=True, slots=True)
class Unsaved:
    """The folder can no longer be written to; without another one the job ends here with what it has in memory.

    A listener names another folder by `Control.save_to`, before it asks for the next event; to take its time it
    pauses the control.

    Attributes
    ----------
    message : str
        Why.
    folder : Path
        The one that failed.
    """

    message: str
    folder: Path


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


Event = (
    RunStarted
    | BatchFinished
    | EpochFinished
    | TrainStarted
    | TrainEpoch
    | Kept
    | TrainFinished
    | Warned
    | Saved
    | Unsaved
    | Finished
)
