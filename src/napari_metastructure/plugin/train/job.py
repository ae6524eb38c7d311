"""What the background thread of a training run does, from layers or a folder to events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.plugin.job import torch_beside_a_window
from napari_metastructure.plugin.train.sets import TrainingSet, read_as, with_files

if TYPE_CHECKING:
    from napari_metastructure.labels.classes import Reading
    from napari_metastructure.training.config import TrainConfig
    from napari_metastructure.training.control import Control
    from napari_metastructure.training.pairs import Pair

FIRST = ""
"""Watch the first image there is to validate on."""


@dataclass(frozen=True, slots=True)
class Watching:
    """An image of the validation set whose predictions will come with every epoch.

    Attributes
    ----------
    group : str
        The image: of pairs from layers the layer's name.
    names : tuple of str
        Its pairs, one per plane.
    image : dict or None
        Arguments of ``viewer.add_image``, of an image that is no layer yet.
    ready : threading.Event
        To be set once its layer is there: beside a busy thread, adding it would take many times as long.
    """

    group: str
    names: tuple[str, ...]
    image: dict[str, Any] | None = field(repr=False)
    ready: threading.Event = field(default_factory=threading.Event, repr=False)


def train_job(
    make: Callable[[], TrainingSet],
    reading: Reading,
    config: TrainConfig,
    control: Control,
    watch: str | None,
    folder: Path | None,
    resume: bool,
) -> Callable[[], Iterator[Any]]:
    """What the thread does; ``watch`` names the image whose predictions are wanted, or none."""

    def job() -> Iterator[Any]:  # events, and `Watching`
        torch_beside_a_window()
        from napari_metastructure.training.supervised import train

        given = make() if folder is None else with_files(make())
        given = read_as(given, reading, config.classes)
        names: Sequence[str] = ()
        if watched := watched_pairs(given.held(config)[1], watch):
            names = tuple(pair.name for pair in watched)
            watching = Watching(watched[0].group, names, None if given.layers else _image_of(watched))
            yield watching
            while not (watching.ready.wait(0.05) or control.stopped):  # who could set it may have been closed
                pass
        yield from train(
            given.training,
            config,
            control,
            validation=given.validation,
            folder=folder,
            resume=resume,
            watch=names,
        )

    return job


def watched_pairs(validation: Sequence[Pair], watch: str | None) -> list[Pair]:
    """The planes of the image that is watched; none if nothing is, or there is no such image."""
    if watch is None or not validation:
        return []
    group = validation[0].group if watch == FIRST else watch
    return [pair for pair in validation if pair.group == group]


def _image_of(pairs: Sequence[Pair]) -> dict[str, Any]:
    """An image from a file, as ``viewer.add_image`` takes it; of several channels the first."""
    from napari_metastructure.images.files import read_image

    file = read_image(pairs[0].files[0])
    planes = [np.asarray(pair.read_image()) for pair in pairs]
    planes = [plane[0] if plane.ndim == 3 else plane for plane in planes]
    places = [file.axes.index(a) for a in "TZYX" if a in file.axes]
    shape = [file.data.shape[i] for i in places]
    return {
        "data": np.stack(planes).reshape(shape),
        "name": pairs[0].group,
        "scale": [file.scale[i] for i in places],
        "units": [file.units[i] for i in places],
    }
