"""What every widget with one run at a time does alike: its buttons steer the run, its folder may hold another."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from napari.utils.notifications import show_error, show_warning
from pydantic import BaseModel
from qtpy.QtCore import QCoreApplication, QEvent, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import listed
from napari_metastructure.plugin._form import ConfigPanel, tooltip
from napari_metastructure.plugin._inputs import FolderRow
from napari_metastructure.plugin._worker import Runner, warm_up_in_background
from napari_metastructure.training.events import BatchFinished, EpochFinished, RunStarted, TrainEpoch, TrainStarted
from napari_metastructure.training.run_folder import FoundRun

# -------- Two progress bars, the time left, and a line that says what is going on.


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


# -------- Run, Pause/Resume and Stop.


State = Literal["idle", "running", "paused", "stopping"]


class RunButtons(QWidget):
    """Four buttons of which only the sensible ones can be pressed; ``tip`` says what Run does."""

    def __init__(
        self,
        tip: str = "Segment the ticked layers without labels, in the background.",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        tips = {
            "Run": tip,
            "Pause": "Hold the run at its next batch; the device keeps its memory.",
            "Resume": "Let the paused run go on.",
            "Stop": "End the run at its next batch and keep what it has.",
        }
        self.run, self.pause, self.resume, self.stop = (QPushButton(name) for name in tips)
        for button, tip in zip((self.run, self.pause, self.resume, self.stop), tips.values(), strict=True):
            button.setToolTip(tooltip(tip))
            layout.addWidget(button)
        self.show_state("idle")

    def show_state(self, state: State) -> None:
        """Offer what can be done in this state."""
        self.run.setEnabled(state == "idle")
        self.pause.setVisible(state != "paused")
        self.pause.setEnabled(state == "running")
        self.resume.setVisible(state == "paused")
        self.stop.setEnabled(state in ("running", "paused"))


class OneRun:
    """Mixed into a widget that has these parts."""

    settings: Any  # with `set_devices`
    buttons: RunButtons
    progress: ProgressPanel
    runner: Runner
    _asked_devices = False

    @property
    def running(self) -> bool:
        """True from a successful `start` or `resume_run` until `finished`."""
        return self.runner.running

    def pause(self) -> None:
        """Hold the run at its next batch."""
        if self.running and self.runner.control is not None:
            self.runner.control.pause()
            self.progress.clock.pause()
            self.buttons.show_state("paused")

    def resume(self) -> None:
        """Let a paused run go on."""
        if self.running and self.runner.control is not None:
            self.runner.control.resume()
            self.progress.clock.resume()
            self.buttons.show_state("running")

    def stop(self) -> None:
        """End the run at its next batch and keep what it has."""
        if self.running:
            self.runner.stop()
            self.buttons.show_state("stopping")
            self.progress.say("Stopping after this batch…")

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Look for devices once, in the background: that imports torch, which takes seconds."""
        super().showEvent(event)  # type: ignore[misc] # of the widget it is mixed into
        if not self._asked_devices:
            self._asked_devices = True
            warm_up_in_background(self.settings.set_devices)

    def _connect_buttons(self) -> None:
        """Buttons call the methods by name, so that scripts may replace those."""
        self.buttons.pause.clicked.connect(lambda: self.pause())
        self.buttons.resume.clicked.connect(lambda: self.resume())
        self.buttons.stop.clicked.connect(lambda: self.stop())

    def _is_busy(self) -> bool:
        """Whether a run goes on; then that is said."""
        if self.running:
            show_warning("A run is going on; stop it first.")
        return self.running

    def _refuse(self, why: str) -> bool:
        show_error(why)
        if not self.running:
            self.progress.say(why)
        return False


class Steering(OneRun):
    """Mixed into a widget that also has a folder, for its run."""

    settings: ConfigPanel[Any]
    folder: FolderRow
    _loaded: Path | None = None  # the folder whose run's settings the form shows

    def load_run_settings(self) -> bool:
        """Show the settings that the run in the folder was made with; False if they cannot be read."""
        run = self.folder.kind.find(self.folder.get())
        if run is None:
            return self._refuse("The run folder holds no run whose settings could be loaded; choose one that does.")
        try:
            self.settings.fill(run.config())
        except InputError as error:
            return self._refuse(str(error))
        self._loaded = run.folder
        self.progress.say("The settings are those of the run in the folder.")
        return True

    def _connect_buttons(self) -> None:
        super()._connect_buttons()
        self.folder.load_settings.connect(lambda: self.load_run_settings())

    def _is_taken(self, folder: Path | None) -> bool:
        """Whether a new run would write over one that is in the folder; then that is said."""
        run = None if self.running else self.folder.kind.find(folder)
        if run is not None:
            self._refuse(
                "The folder already holds a run; press Resume run to go on with it, or choose another folder."
                if run.can_go_on
                else "The folder already holds a run that saved no state; choose another folder."
            )
        return run is not None

    def _to_go_on(self, may_change: tuple[str, ...]) -> tuple[FoundRun[Any], Any] | None:
        """The run in the folder and the settings to go on with, which are shown then; None (and why) without.

        Its settings are loaded first, unless they are shown already: then those that may change are taken as shown.
        """
        run = self.folder.kind.find(self.folder.get())
        if run is None or not run.can_go_on:
            self._refuse("There is no run to go on with; choose a run folder that holds one (last.pt).")
            return None
        config: BaseModel
        try:
            config = run.config()
            if self._loaded == run.folder:
                shown = self.settings.config()
                config = config.model_copy(update={name: getattr(shown, name) for name in may_change})
        except InputError as error:
            self._refuse(str(error))
            return None
        if not self.running:
            config = config.model_copy(update={"epochs": max(getattr(config, "epochs"), run.epoch)})  # noqa: B009
            self.settings.fill(config)
            self._loaded = run.folder
        return run, config
