"""The bars of a comparison: runs done, and how far the one at work is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from qtpy.QtWidgets import QWidget

from napari_metastructure.baselines.events import (
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodStarted,
)
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.progress_panel import ProgressPanel, duration, set_bar

FINE = 1000
"""Steps of the bar of a run."""


class CompareProgress(ProgressPanel):
    """The upper bar counts runs, the lower one shows the run at work.

    Methods differ in time by a factor of a thousand. So the time left is told of the method at work, and of all runs
    only once every method that is still to come has been timed.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.epochs.setToolTip(tooltip("Runs done: each method once, and again for each repeat if it needs a seed."))
        self.batches.setToolTip(tooltip("The method at work."))
        self.eta.setToolTip(
            tooltip("Time left, from the pace so far; of all runs once each method has been timed in its first repeat.")
        )
        self._runs: list[str] = []
        self._seconds: dict[str, float] = {}
        self._images = 1

    def start(self, event: CompareStarted, runs: Sequence[tuple[str, int]]) -> None:
        """The images are read and checked; ``runs`` are method and repeat of all that is to come."""
        self._runs, self._seconds, self._images = [method for method, _ in runs], {}, event.images
        set_bar(self.epochs, 0, event.runs, "%v of %m runs")
        images = "1 image" if event.images == 1 else f"{event.images} images"
        truth = "with" if event.labelled else "without"
        self.say(f"{images} {truth} ground truth, {event.polarity} objects.")

    def begin_run(self, event: MethodStarted) -> None:
        """A run begins."""
        set_bar(self.epochs, event.number - 1)
        set_bar(self.batches, 0, FINE, METHODS[event.method].title)
        self._runs = self._runs[-(event.runs - event.number + 1) :]  # this one first
        self.eta.setText("")
        self.clock.start()

    def progress(self, event: MethodProgress) -> None:
        """A run has got so far."""
        set_bar(self.batches, round(FINE * event.done))
        left = self.clock.left(event.done)
        if left is None:
            return
        ahead = self._runs[1:]
        unknown = {method for method in ahead if method not in self._seconds}
        if not unknown:
            left += sum(self._seconds[method] for method in ahead)
            at = datetime.now() + timedelta(seconds=left)
            self.eta.setText(f"{duration(left)} left, done by {at:%H:%M:%S}")
        else:
            more = "1 method" if len(unknown) == 1 else f"{len(unknown)} methods"
            self.eta.setText(f"{METHODS[event.method].title}: {duration(left)} left, then {more} not timed yet")

    def end_run(self, event: MethodFinished) -> None:
        """A run is done."""
        self._seconds[event.result.method] = event.result.seconds * self._images
        set_bar(self.epochs, self.epochs.value() + 1)
        set_bar(self.batches, FINE)
