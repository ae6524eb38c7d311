"""The bars of a study: runs done, and how far the one at work is."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.progress_panel import ProgressPanel, set_bar
from napari_metastructure.training.events import BatchFinished, TrainEpoch, TrainStarted
from napari_metastructure.training.study.events import ConditionStarted, StudyStarted

FINE = 1000
"""Steps of the bar of a run."""


class StudyProgress(ProgressPanel):
    """The upper bar counts runs, the lower one the epochs of the run at work; the time left is that of all runs."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.epochs.setToolTip(tooltip("Runs done, each a training on one kind of labels."))
        self.batches.setToolTip(tooltip("Epochs of the run at work."))
        self._within = 0

    def start(self, event: StudyStarted) -> None:
        """The images are read; some runs may be done already."""
        self._first = len(event.done)
        set_bar(self.epochs, len(event.done), event.runs, "%v of %m runs")
        self.clock.start()
        self.say(f"{event.training} images to train on, {event.test} to test on.")

    def run(self, event: ConditionStarted) -> None:
        """A run begins."""
        self.say(f"Run {event.number} of {event.runs}: {event.condition}, {event.network}, seed {event.seed}.")

    def train(self, event: TrainStarted) -> None:
        """Its network is built."""
        self._within = event.epochs
        set_bar(self.batches, 0, event.epochs * FINE, f"epoch 1 of {event.epochs}")

    def batch(self, event: BatchFinished) -> None:
        """A step is done."""
        done = event.epoch - 1 + event.batch / max(event.batches, 1)
        set_bar(self.batches, round(done * FINE), text=f"epoch {event.epoch} of {self._within}")
        self._show_left(self.epochs.value() + done / max(self._within, 1))

    def trained(self, event: TrainEpoch) -> None:
        """An epoch is done."""
        set_bar(self.batches, event.epoch * FINE, text=f"epoch {event.epoch} of {event.epochs}")

    def done(self, runs: int) -> None:
        """So many runs are done."""
        set_bar(self.epochs, runs)
        self._show_left(runs)
