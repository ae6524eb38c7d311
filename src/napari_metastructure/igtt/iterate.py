"""iGTT: a network trained on its own improved output, from images alone (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.run import Run
from napari_metastructure.images.channels import Colour
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import Event


def iterate(
    images: Sequence[np.ndarray] | np.ndarray,
    config: IGTTConfig,
    control: Control | None = None,
    *,
    names: Sequence[str] | None = None,
    folder: Path | None = None,
    inputs: Sequence[Path] | None = None,
    resume: bool = False,
    corrections: Mapping[int, np.ndarray] | None = None,
    start_masks: Sequence[np.ndarray] | None = None,
    colour: Colour | None = None,
) -> Iterator[Event]:
    """Segment planes without labels; tell how it goes.

    Parameters
    ----------
    images : sequence of (Y, X) arrays of any sizes, or one (N, Y, X) stack
        Real numbers; not changed.
    config : IGTTConfig
    control : Control, optional
        To stop, pause and correct from another thread.
    names : sequence of str, optional
        What messages call the planes.
    folder : Path, optional
        The run folder: ``run.yaml``, ``metrics.csv``, ``model.safetensors``, ``last.pt``.
    inputs : sequence of Path, optional
        The files the planes came from, for the checksums in ``run.yaml``.
    resume : bool
        Go on from ``folder/last.pt`` up to ``config.epochs``.
    corrections : mapping of int to (Y, X) uint8 array, optional
        Pixels locked from the start on, by plane: 1 foreground, 0 background, 255 free.
    start_masks : sequence of (Y, X) arrays, optional
        Masks to start from in place of ``config.start``, nonzero = foreground.
    colour : {"red", "green", "blue"}, optional
        The channel of colour images that the planes are; the saved model takes the same one.

    Yields
    ------
    Event
        `RunStarted`; `EpochFinished` 0, the start; then per round `BatchFinished` for each step and
        `EpochFinished`; `Saved` and `Warned` in between; `Finished` as the last.

    Raises
    ------
    InputError
        Before anything is trained: an image, option or folder that cannot be used.
    RunFailed
        Out of memory with a single patch, or a loss that is no number.
    """
    control = control or Control()
    run = Run(images, config, control, names, folder, resume, colour)
    try:
        run.check(corrections or {}, start_masks)
        for index, pixels in (corrections or {}).items():
            control.correct(index, pixels)
        yield from run.go(start_masks, list(inputs or []))
    finally:
        run.close()
