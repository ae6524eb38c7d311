"""What the background thread of a study does, from layers or files to events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure.labels.classes import Reading
from napari_metastructure.plugin.job import torch_beside_a_window
from napari_metastructure.plugin.train.sets import TrainingSet, read_as
from napari_metastructure.plugin.visible import VisiblePlane
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.pairs import Pair, split
from napari_metastructure.training.study.config import StudyConfig
from napari_metastructure.training.study.events import StudyFinished

if TYPE_CHECKING:
    from napari_metastructure.training.events import Event
    from napari_metastructure.training.study.events import StudyEvent


class StudyJob:
    """The study, as `Runner` wants it: call it in the thread.

    Attributes
    ----------
    training : sequence of Pair
        The images trained on, with clean labels as classes, in the order of their noise; there before the first event.
    """

    def __init__(
        self,
        make: Callable[[], TrainingSet],
        reading: Reading,
        config: StudyConfig,
        control: Control,
        folder: Path | None,
    ) -> None:
        self.make, self.reading, self.config, self.control, self.folder = make, reading, config, control, folder
        self.training: Sequence[Pair] = ()
        self._given: TrainingSet | None = None

    def __call__(self) -> Iterator[Event | StudyEvent]:
        """Find and read the pairs, then run the study."""
        torch_beside_a_window()
        from napari_metastructure.training.study.run import study

        try:
            self._given = self.make()
            given = _as_it_is_now(
                read_as(self._given, self.reading, self.config.train.classes), self.control.checkpoint
            )
        except Stopped:
            yield StudyFinished(True, "Stopped by the user before the first run began.", ())
            return
        held = given.validation
        if held is None:
            self.training, held = split(given.training, self.config.test_fraction, self.config.train.seed)
        else:
            self.training = given.training
        yield from study(self.training, self.config, self.control, test=held, folder=self.folder)

    def place(self, pair: Pair) -> VisiblePlane | None:
        """Where a pair lies in the viewer; None if it comes from a file."""
        source = self._given.layers.get(pair.group) if self._given else None
        if source is None:
            return None
        index = source.names().index(pair.name)
        return VisiblePlane(source.layer, index, tuple(int(i) for i in np.unravel_index(index, source.leading)))


def set_of_files(folder: Path) -> TrainingSet:
    """The set in a folder, with its images for testing (else those for validation) as the ones to validate on."""
    from napari_metastructure.training.folders import find_pairs

    found = find_pairs(folder)
    return TrainingSet(found.train, found.test or found.validation or None)


def _as_it_is_now(given: TrainingSet, checkpoint: Callable[[], None]) -> TrainingSet:
    """The same with labels as classes; those of layers are copied, so that painting on them changes no later run."""
    from napari_metastructure.training.store import clean_labels, is_mask, label_values

    masks = is_mask(label_values(given.pairs, checkpoint))

    def read(pair: Pair) -> Pair:
        checkpoint()
        if not given.layers:
            return replace(pair, read_labels=partial(clean_labels, pair, masks))
        return replace(pair, read_labels=_Held(np.array(clean_labels(pair, masks))))

    validation = None if given.validation is None else [read(pair) for pair in given.validation]
    return replace(given, training=[read(pair) for pair in given.training], validation=validation)


class _Held:
    """Reads labels that are in memory."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def __call__(self) -> np.ndarray:
        return self.labels
