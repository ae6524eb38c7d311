"""Supervised training: a network, images and their labels, clean or noisy, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Event, TrainFinished
from napari_metastructure.training.pairs import Pair
from napari_metastructure.training.supervised_run import SupervisedRun


def train(
    pairs: Sequence[Pair],
    config: TrainConfig,
    control: Control | None = None,
    *,
    validation: Sequence[Pair] | None = None,
    folder: Path | None = None,
    resume: bool = False,
    watch: Sequence[str] = (),
) -> Iterator[Event]:
    """Train a network on images and labels; tell how it goes.

    Parameters
    ----------
    pairs : sequence of Pair
        What it is trained on (`pairs.pairs_of` makes them from arrays, `folders.find_pairs` from files).
    config : TrainConfig
    control : Control, optional
        To stop and pause from another thread.
    validation : sequence of Pair, optional
        What it is validated on; without it ``config.validation_fraction`` of the images.
    folder : Path, optional
        The run folder: ``run.yaml``, ``metrics.csv``, ``model.safetensors`` (the best epoch), ``last.pt``.
    resume : bool
        Go on from ``folder/last.pt`` up to ``config.epochs``.
    watch : sequence of str
        Names of validation pairs whose predictions are wanted with every epoch.

    Yields
    ------
    Event
        `TrainStarted`; per epoch a `BatchFinished` for each step and a `TrainEpoch`; `Saved` and `Warned` in
        between; `TrainFinished` as the last, or `Kept` before a run that has a network fails.

    Raises
    ------
    InputError
        Before anything is trained: an image, label, option or folder that cannot be used. Later: a file that can
        no longer be read.
    RunFailed
        Out of memory with a single patch, or a loss that is no number. The best network so far is saved first.
    """
    try:
        run = SupervisedRun(pairs, config, control or Control(), validation, folder, resume, watch)
    except Stopped:  # while the labels were read
        yield TrainFinished(True, "Stopped by the user before the first epoch was done.", 0, None, None)
        return
    try:
        yield from run.go()
    finally:
        run.close()
