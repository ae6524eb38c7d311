"""Two progress bars, the time left, and a line that says what is going on."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from qtpy.QtCore import QCoreApplication, QEvent, Qt
from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout, QWidget

from napari_metastructure.labels.classes import listed
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.training.events import BatchFinished, EpochFinished, RunStarted, TrainEpoch, TrainStarted

LAYOUT: int = getattr(QEvent.Type.LayoutRequest, "value", QEvent.Type.LayoutRequest)
"""A number in PyQt5, a member of an enumeration in PyQt6."""


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
    """Shows how a run starts, its steps and its epochs; a plain text line says the rest."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.epochs, self.batches = QProgressBar(), QProgressBar()
        self.epochs.setToolTip(tooltip("Rounds of training and relabelling; it may end before the last."))
        self.batches.setToolTip(tooltip("Optimiser steps done in this round."))
        self.eta, self.status = QLabel(), QLabel()
        self.eta.setToolTip(tooltip("Time left at most, from the pace so far, and when that would be."))
        self.status.setWordWrap(True)
        self.status.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.epochs, self.batches, self.eta, self.status):
            layout.addWidget(part)
        self.clock = Clock()
        self._first = 0
        self.reset("Ready.")

    def reset(self, text: str) -> None:
        """Empty bars, and a text."""
        for bar in (self.epochs, self.batches):
            set_bar(bar, 0, 1, "")
        self.eta.setText("")
        self.say(text)

    def say(self, text: str) -> None:
        """Show a sentence, and make room for all its lines at once: a picture may be taken right now."""
        self.status.setText(text)
        self.status.ensurePolished()  # napari's font is larger than the one a new label has
        two_lines = 2 * self.status.fontMetrics().lineSpacing()  # always: the plots below shall seldom move
        self.status.setMinimumHeight(max(two_lines, self.status.heightForWidth(self.status.width())))
        part: QWidget | None = self
        while part is not None:  # from the inside out: each tells what is around it
            QCoreApplication.sendPostedEvents(part, LAYOUT)
            part = part.parentWidget()

    def begin(self, event: RunStarted | TrainStarted) -> None:
        """A run has started."""
        set_bar(self.epochs, event.resumed_epoch, max(event.epochs, event.resumed_epoch), "%v of %m epochs")
        set_bar(self.batches, 0, event.batches, "batch %v of %m")
        self._first = event.resumed_epoch
        self.clock.start()
        self.say(_what_runs(event))

    def batch(self, event: BatchFinished) -> None:
        """A step is done."""
        set_bar(self.batches, event.batch, event.batches)
        self._show_left(event.epoch - 1 + event.batch / max(event.batches, 1))

    def epoch(self, event: EpochFinished | TrainEpoch) -> None:
        """A round is done."""
        set_bar(self.epochs, event.epoch)
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


def _what_runs(event: RunStarted | TrainStarted) -> str:
    if isinstance(event, RunStarted):
        return f"{_images(event.images)} on {event.device}, {event.objects} objects."
    held = f"{event.validation} to validate on" if event.validation else "none to validate on"
    return f"{_images(event.training)} to train on, {held}; classes {listed(event.classes)}."


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def duration(seconds: float) -> str:
    """Seconds in words: "4 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def set_bar(bar: QProgressBar, value: int, most: int | None = None, text: str | None = None) -> None:
    """Change a bar without the repaint Qt does at once, which draws all that waits and can take 100 ms."""
    bar.setUpdatesEnabled(False)
    if most is not None:
        bar.setMaximum(max(most, 1))
    if text is not None:
        bar.setFormat(text)
    bar.setValue(value)
    bar.setUpdatesEnabled(True)
