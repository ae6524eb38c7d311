"""What a noise study tells, besides the events of the trainings it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from napari_metastructure.training.study.predicted import Predicted
from napari_metastructure.training.study.results import RunResult


@dataclass(frozen=True, slots=True)
class StudyStarted:
    """Everything is validated; ``done`` are the runs that an earlier study in this folder had finished."""

    runs: int
    training: int
    test: int
    classes: tuple[int, ...]
    done: tuple[RunResult, ...] = ()


@dataclass(frozen=True, slots=True)
class ConditionStarted:
    """A training begins; its own events follow.

    Attributes
    ----------
    number, runs : int
        Which run, from 1, of how many.
    network, condition : str
    seed : int
    predicted : Predicted
        What theory says of these labels.
    labels : tuple of (Y, X) arrays
        The noisy labels it is trained on, one per training image.
    names : tuple of str
        The names of these images.
    """

    number: int
    runs: int
    network: str
    condition: str
    seed: int
    predicted: Predicted
    labels: tuple[np.ndarray, ...] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConditionFinished:
    """A training is done and its result written."""

    result: RunResult


@dataclass(frozen=True, slots=True)
class StudyFinished:
    """The last event of a study that did not raise."""

    stopped: bool
    reason: str
    results: tuple[RunResult, ...]


StudyEvent = StudyStarted | ConditionStarted | ConditionFinished | StudyFinished
