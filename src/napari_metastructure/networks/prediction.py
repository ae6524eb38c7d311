"""What a prediction tells its listeners: small frozen events, as `training.events` are those of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class PredictionStarted:
    """The model is loaded: what it is, how many planes or files there are, and where it runs."""

    model: str
    images: int
    device: str


@dataclass(frozen=True, slots=True)
class PredictionProgress:
    """So much is done: 2.5 of ``images`` is half of the third."""

    done: float
    images: int
    name: str


@dataclass(frozen=True, slots=True)
class PlanePredicted:
    """One plane is done; arrays as in `model.Prediction`."""

    index: int
    name: str
    labels: np.ndarray = field(repr=False)
    probability: np.ndarray | None = field(repr=False)
    blank: bool
    """It has one value everywhere, so there was nothing to see."""


@dataclass(frozen=True, slots=True)
class FileWritten:
    """One image file is done."""

    index: int
    path: Path
    written: tuple[Path, ...]
    notes: tuple[str, ...]
    """Sentences about the file that the user should know."""


@dataclass(frozen=True, slots=True)
class FileRefused:
    """One image file cannot be used; the others go on."""

    index: int
    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class PredictionFinished:
    """The last event: ``images`` are done, in so many seconds; ``stopped`` if the user ended it before all were."""

    stopped: bool
    images: int
    seconds: float


PredictionEvent = (
    PredictionStarted | PredictionProgress | PlanePredicted | FileWritten | FileRefused | PredictionFinished
)
