"""Supervised networks, cross-fitted: what learns from masks predicts only images whose masks it has not seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure.baselines.methods import Segmentation, Steps, Task
from napari_metastructure.errors import InputError
from napari_metastructure.training.control import Stopped
from napari_metastructure.training.events import BatchFinished, TrainFinished, Warned

if TYPE_CHECKING:
    from napari_metastructure.training.pairs import Pair

CLASSES = (0, 1)
_CROP = re.compile(r"_y\d+(_x\d+)?$")


def frame_of(name: str) -> str:
    """The frame a crop is of: its name without a place at the end, ``_y0048_x0944``; other names are their own."""
    return _CROP.sub("", name)


def check_groups(groups: Sequence[str]) -> None:
    """There have to be two groups at least, one for each half.

    Raises
    ------
    InputError
    """
    if len(set(groups)) < 2:
        raise InputError(
            "Supervised methods need images of two files or frames at least, to train on some and predict others (the "
            "slices of a stack count as one); add images or leave these methods out."
        )


def cross_fitted(task: Task, network: str) -> Steps:
    """Train a network on each half of the images and let it predict the other half.

    Halves are of whole groups, by the seed (`training.pairs.split`). The network of the last epoch is taken: the best
    one could only be chosen by masks that are held back.

    Parameters
    ----------
    task : Task
        With masks.
    network : str
        As `TrainConfig.network`.

    Raises
    ------
    InputError
        Without masks, with a single group, or if a half has no pixel of a class.
    RunFailed
        If a training breaks down.
    """
    from napari_metastructure.training.pairs import split

    check_groups(task.groups)
    pairs = _pairs(task)
    first, second = split(pairs, 0.5, task.seed)
    found: dict[int, Segmentation] = {}  # by the pair's identity: names need not differ
    for number, (learned, held) in enumerate(((first, second), (second, first))):
        for event in _half(task, network, learned, held, found):
            yield (number + event) / 2 if isinstance(event, float) else event
    return [found[id(pair)] for pair in pairs]


def _half(
    task: Task, network: str, learned: Sequence[Pair], held: Sequence[Pair], found: dict[int, Segmentation]
) -> Iterator[float | Warned]:
    """Train on one half, and put into ``found`` what the network says of the other."""
    from napari_metastructure.training.supervised import train

    _check_classes(learned)
    settings = {"network": network, "seed": task.seed, "device": task.device, "classes": CLASSES}
    config = task.config.train.model_copy(update={**settings, "validation_fraction": 0.0, "patience": 0})
    model = None
    for event in train(learned, config, task.control):
        match event:
            case BatchFinished():
                yield (event.epoch - 1 + event.batch / event.batches) / config.epochs
            case Warned():
                yield event
            case TrainFinished():
                model = event.model
    if task.control.stopped or model is None:
        raise Stopped
    for pair in held:
        said, p = model.predict(pair.read_image(), task.device, task.control.checkpoint, name=pair.name)
        assert p is not None
        found[id(pair)] = Segmentation(said == CLASSES[1], p)
    model.release()


def _pairs(task: Task) -> list[Pair]:
    """Planes and masks as the training takes them."""
    from napari_metastructure.training.pairs import pairs_of

    if task.masks is None:
        raise InputError("Supervised methods need masks to train on; give them or leave these methods out.")
    pairs = pairs_of(task.planes, [mask.astype(np.uint8) for mask in task.masks], task.names)
    return [replace(pair, group=group) for pair, group in zip(pairs, task.groups, strict=True)]


def _check_classes(pairs: Sequence[Pair]) -> None:
    """Both classes have to be there to be learned.

    Raises
    ------
    InputError
    """
    values = set(np.concatenate([np.unique(pair.read_labels()) for pair in pairs]).tolist())
    for value, kind in zip(CLASSES, ("background", "foreground"), strict=True):
        if value not in values:
            raise InputError(f"The masks of one half of the images hold no {kind} to learn; give more images.")
