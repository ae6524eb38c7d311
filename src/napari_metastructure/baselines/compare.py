"""Compare methods of segmentation on the same images: by ground truth where there is one, else by their agreement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.events import CompareEvent
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import Saved, Warned


def compare(
    images: Sequence[np.ndarray],
    config: CompareConfig,
    control: Control | None = None,
    *,
    masks: Sequence[np.ndarray] | None = None,
    names: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    folder: Path | None = None,
    inputs: Sequence[Path] | None = None,
) -> Iterator[CompareEvent | Saved | Warned]:
    """Segment planes by several methods; tell how it goes.

    Methods that depend on a seed run ``config.repeats`` times, repeat r with ``config.seed + r``; the others once.

    Parameters
    ----------
    images : sequence of (Y, X) arrays of any sizes
        Real numbers; not changed.
    config : CompareConfig
    control : Control, optional
        To stop and pause from another thread.
    masks : sequence of (Y, X) arrays, optional
        Ground truth of each image: bool, or integers, 0 background, 255 unlabelled, anything else foreground. Only
        supervised methods are trained on it, and never on the mask of an image they are scored on.
    names : sequence of str, optional
        What messages and tables call the images.
    groups : sequence of str, optional
        Images of one group (a frame, a stack) go to one side of a split; by default `supervised.frame_of` each name.
    folder : Path, optional
        ``run.yaml``, ``results.csv``, ``table.csv``, ``table.md``, ``agreement.csv`` and ``compare.png``, written
        anew after each run.
    inputs : sequence of Path, optional
        The files the images came from, for the checksums in ``run.yaml``.

    Yields
    ------
    CompareEvent, Saved or Warned
        `CompareStarted`; per run `MethodStarted`, `MethodProgress`, `MethodFinished`; `CompareFinished` as the last.
        A method that fails gives a `Warned` in place of `MethodFinished`, and the others go on.

    Raises
    ------
    InputError
        Before anything is run: images, masks or a device that cannot be used, a supervised method without masks or
        with a single group of images, a folder that cannot be written to.
    """
    raise NotImplementedError
