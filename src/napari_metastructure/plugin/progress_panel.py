"""Two progress bars, the time left, and a line that says what is going on."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout, QWidget

from napari_metastructure.plugin.form import tooltip
from napari_metastructure.training.events import BatchFinished, EpochFinished, RunStarted


class Clock:
    """Estimates the time left from the steps done so far; pauses do not count."""

    def __init__(self) -> None:
        self._begin: float | None = None
        self._paused: float | None = None

    def start(self) -> None:
        """The first step begins now."""
        self._begin = time.monotonic()
        self._paused = None

    def pause(self) -> None:
        """Time stands still until `resume`."""
        if self._paused is None:
            self._paused = time.monotonic()

    def resume(self) -> None:
        """Time goes on."""
        if self._paused is not None and self._begin is not None:
            self._begin += time.monotonic() - self._paused
        self._paused = None

    def left(self, done: float) -> float | None:
        """Seconds left when ``done`` (0 to 1) of the work is done; None while nothing can be said."""
        if self._begin is None or done <= 0:
            return None
        spent = (self._paused or time.monotonic()) - self._begin
        return spent * (1 - done) / done


class ProgressPanel(QWidget):
    """Shows `RunStarted`, `BatchFinished` and `EpochFinished`; a plain text line says the rest."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.epochs, self.batches = _bar("epoch %v of %m"), _bar("batch %v of %m")
        self.epochs.setToolTip(tooltip("Rounds of training and relabelling done; a run may end before the last."))
        self.batches.setToolTip(tooltip("Optimiser steps done in this round."))
        self.eta, self.status = QLabel(), QLabel()
        self.eta.setToolTip(tooltip("Time left at most, from the pace so far, and when that would be."))
        self.status.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.epochs, self.batches, self.eta, self.status):
            layout.addWidget(part)
        self.clock = Clock()
        self.reset("Ready.")

    def reset(self, text: str) -> None:
        """Empty bars, and a text."""
        for bar in (self.epochs, self.batches):
            bar.setMaximum(1)
            bar.setValue(0)
            bar.setFormat("")
        self.eta.setText("")
        self.say(text)

    def say(self, text: str) -> None:
        """Show a sentence."""
        self.status.setText(text)

    def begin(self, event: RunStarted) -> None:
        """A run has started."""
        for bar, top, text in (
            (self.epochs, event.epochs, "epoch %v of %m"),
            (self.batches, event.batches, "batch %v of %m"),
        ):
            bar.setFormat(text)
            bar.setMaximum(max(top, 1))
            bar.setValue(0)
        self.epochs.setValue(event.resumed_epoch)
        self._first = event.resumed_epoch
        self.clock.start()
        images = "1 image" if event.images == 1 else f"{event.images} images"
        self.say(f"{images} on {event.device}, {event.objects} objects.")

    def batch(self, event: BatchFinished) -> None:
        """A step is done."""
        self.batches.setMaximum(event.batches)
        self.batches.setValue(event.batch)
        self._show_left(event.epoch - 1 + event.batch / max(event.batches, 1))

    def epoch(self, event: EpochFinished) -> None:
        """A round is done."""
        self.epochs.setMaximum(event.epochs)
        self.epochs.setValue(event.epoch)
        self._show_left(event.epoch)

    def end(self, text: str) -> None:
        """The run is over; the bars stay where they are."""
        self.eta.setText("")
        self.say(text)

    def _show_left(self, epochs_done: float) -> None:
        ahead = self.epochs.maximum() - self._first
        left = self.clock.left((epochs_done - self._first) / max(ahead, 1))
        if left is not None:
            at = datetime.now() + timedelta(seconds=left)
            self.eta.setText(f"{duration(left)} left, done by {at:%H:%M:%S}")


def duration(seconds: float) -> str:
    """Seconds in words: "4 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _bar(text: str) -> QProgressBar:
    bar = QProgressBar()
    bar.setFormat(text)
    bar.setTextVisible(True)
    return bar
