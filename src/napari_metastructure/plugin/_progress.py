"""Progress of a job: bars, the time left, a status line, and a bar in napari's activity dock."""

import time
from datetime import datetime, timedelta
from typing import Any

from napari.utils import progress
from qtpy import QtCore, QtWidgets

from napari_metastructure.errors import counted
from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._inputs import column, yielding
from napari_metastructure.plugin._layers import Releases
from napari_metastructure.training.events import BatchFinished, EpochFinished, RunStarted, TrainEpoch, TrainStarted

# ---- in napari's activity dock -----------------------------------------------------------------------------------

PARTS = 1000
"""Steps of the bar."""

EVERY_MS = 500


class Activity(QtCore.QObject):
    """Progress of a widget's job in the activity dock of its window.

    napari lets Qt's loop run in each change of its bar. So the bar is changed in a timer's turn, never in the middle of
    what a job's event does, and seldom.
    """

    def __init__(self, widget: QtWidgets.QWidget) -> None:
        super().__init__(widget)
        self._widget, self._title = widget, ""
        self._shown: tuple[int, str, str] = (0, "", "")
        self._at_work = False
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self._on_timer)
        self._bars: list[Any] = []  # one at most
        self._at_end = Releases()
        widget.destroyed.connect(self._at_end)

    def begin(self, title: str) -> None:
        """Add a bar, a moment later; without a window there is none."""
        self.end()
        window = self._widget.window()
        if isinstance(window, QtWidgets.QMainWindow) and hasattr(window, "_qt_viewer"):
            self._title, self._shown = title, (0, "", "")
            self._timer.start(EVERY_MS)

    def show(self, share: float, text: str, left: str) -> None:
        """Show how much (0 to 1) is done, of what, and the time left."""
        self._shown = round(min(share, 1) * PARTS), text, left

    def end(self) -> None:
        """Take the bar away."""
        self._timer.stop()
        while self._bars:
            self._bars.pop().close()
        self._at_end.clear()

    def _on_timer(self) -> None:
        if self._at_work:  # napari let the loop run
            return
        self._at_work = True
        done, text, left = self._shown
        title = f"{self._title}: {text}" if text else self._title
        if not self._bars:
            bar = progress(total=PARTS, desc=title)
            self._bars.append(bar)
            self._at_end.append(bar.close)
            if not self._timer.isActive():  # it ended meanwhile
                self.end()
        for bar in self._bars[:]:
            bar.bar_format = f"|{left}"  # napari shows what stands after the last "|"
            if bar.desc.removesuffix(": ") != title:
                bar.set_description(title)
            bar.update(done - bar.n)
            bar.refresh()
        self._at_work = False


# ---- in the widget ---------------------------------------------------------------------------------------------


LAYOUT: int = getattr(QtCore.QEvent.Type.LayoutRequest, "value", QtCore.QEvent.Type.LayoutRequest)
"""A number in PyQt5, a member of an enumeration in PyQt6."""

SEEN = 0.1
"""Share of the first epoch's steps from which on their pace counts: the very first ones are slow."""

LEFT = "Time left at most, at the pace so far, and the time of day when the run would be done."

FINE = 1000
"""Parts of a bar's step, where less than a step is shown."""


class Clock:
    """Estimates the time left from the steps done so far; pauses do not count."""

    def __init__(self) -> None:
        self._begin: float | None = None
        self._paused: float | None = None

    def start(self) -> None:
        """Begin with the first step."""
        self._begin = time.monotonic()
        self._paused = None

    def restart(self) -> None:
        """Forget the time until now; what is paused stays so."""
        self._begin = time.monotonic()
        self._paused = self._begin if self.paused else None

    def pause(self) -> None:
        """Let time stand still until `resume`."""
        if self._paused is None:
            self._paused = time.monotonic()

    def resume(self) -> None:
        """Let time go on."""
        if self._paused is not None and self._begin is not None:
            self._begin += time.monotonic() - self._paused
        self._paused = None

    @property
    def paused(self) -> bool:
        """True between `pause` and `resume`."""
        return self._paused is not None

    @property
    def spent(self) -> float:
        """Seconds since the start, except for pauses."""
        return 0.0 if self._begin is None else (self._paused or time.monotonic()) - self._begin

    def left(self, done: float) -> float | None:
        """Return the seconds left when ``done`` (0 to 1) of the work is done; None while nothing can be said."""
        if self._begin is None or done <= 0:
            return None
        return self.spent * (1 - done) / done


class ProgressPanel(QtWidgets.QWidget):
    """Bars for the whole job and for the part at work, the time left, and a line that says the rest.

    Parameters
    ----------
    outer, inner : str
        Tooltips of the two bars; without ``inner`` there is one bar.
    """

    def __init__(self, outer: str, inner: str = "") -> None:
        super().__init__()
        self.outer, self.inner = QtWidgets.QProgressBar(), QtWidgets.QProgressBar()
        self.outer.setToolTip(tooltip(outer))
        self.inner.setToolTip(tooltip(inner or outer))
        self.inner.setVisible(bool(inner))
        self.eta, self.status = yielding(LEFT), QtWidgets.QLabel()
        self.status.setWordWrap(True)
        self.status.setAlignment(QtCore.Qt.AlignmentFlag.AlignTop | QtCore.Qt.AlignmentFlag.AlignLeft)
        column(self.outer, self.inner, self.eta, self.status, into=self)
        self.clock, self.activity = Clock(), Activity(self)
        self._first = self._done = self._within = 0.0
        self._total = 1.0
        self.reset("Ready.")

    def reset(self, text: str) -> None:
        """Empty the bars, and show a text."""
        for bar in (self.outer, self.inner):
            set_bar(bar, 0, 1, "")
        self.eta.setText("")
        self.say(text)

    def say(self, text: str) -> None:
        """Show a sentence, and make room for all its lines at once: a picture may be taken right now."""
        self.status.setText(text)
        self.status.ensurePolished()  # napari's font is larger than the one a new label has
        two_lines = 2 * self.status.fontMetrics().lineSpacing()  # always: the plots below shall seldom move
        self.status.setMinimumHeight(max(two_lines, self.status.heightForWidth(self.status.width())))
        part: QtWidgets.QWidget | None = self
        while part is not None:  # from the inside out: each passes it on to what is around it
            QtCore.QCoreApplication.sendPostedEvents(part, LAYOUT)
            part = part.parentWidget()

    def begin(self, done: float, total: float, text: str) -> None:
        """Start the clock at the first step; ``done`` of the ``total`` were done in an earlier run."""
        self._first = done
        self.clock.start()
        self.show_outer(done, total, text)

    def show_outer(self, done: float, total: float, text: str) -> None:
        """Show how many steps of the whole job are done (floats: also parts of a step); the next part begins."""
        self._done, self._total, self._within = done, total, 0.0
        self._show(self.outer, done, total, text)

    def show_inner(self, done: float, total: float, text: str) -> None:
        """Show how much is done of the part at work, one step of the whole."""
        self._within = done / max(total, 1)
        self._show(self.inner, done, total, text)

    def show_before(self, text: str, note: str) -> None:
        """Show how long a job would take, and what else is to be known of that as tooltip."""
        self.eta.setText(text)
        self.eta.setToolTip(tooltip(f"{text}. {note}" if text else LEFT))

    def start(self, title: str, text: str) -> None:
        """Show in the panel and in napari's activity dock that a job begins."""
        self.reset(text)
        self.eta.setToolTip(tooltip(LEFT))
        self.activity.begin(title)

    def pause(self) -> None:
        """Let the clock stand still, and say so."""
        self.clock.pause()
        self._show_time()

    def resume(self) -> None:
        """Let the clock go on."""
        self.clock.resume()
        self._show_time()

    def end(self, text: str) -> None:
        """Leave the bars where they are, and say how the job ended."""
        self.activity.end()
        self.eta.setText("")
        self.say(text)

    def time_left(self) -> str:
        """Estimate the time left, in words; empty while nothing can be said."""
        done = (self._done + self._within - self._first) / max(self._total - self._first, 1)
        left = self.clock.left(done)
        return "" if left is None or done >= 1 else left_in_words(left)

    def _show(self, bar: QtWidgets.QProgressBar, done: float, total: float, text: str) -> None:
        parts = 1 if isinstance(done, int) else FINE
        set_bar(bar, round(done * parts), round(total * parts), text)
        self._show_time()

    def _show_time(self) -> None:
        self.eta.setText("Paused" if self.clock.paused else self.time_left())
        share = (self._done + self._within) / max(self._total, 1)
        self.activity.show(share, self.outer.format(), self.eta.text())


class EpochProgress(ProgressPanel):
    """Progress of a training: epochs above, the batches of the one at work below."""

    def __init__(self, outer: str, inner: str = "") -> None:
        super().__init__(outer, inner)
        self.expected: float | None = None
        """Seconds that the epochs will take, as far as that was known before."""
        self._steps_end = self._share = 1.0

    def begin_epochs(self, event: RunStarted | TrainStarted) -> None:
        """Start the clock; a resumed run has done some epochs."""
        epochs = max(event.epochs, event.resumed_epoch)
        self._share = 1.0
        self.begin(event.resumed_epoch, epochs, f"{event.resumed_epoch} of {counted(epochs, 'epoch')}")
        self.show_inner(0, event.batches, f"batch 0 of {event.batches}")

    def show_batch(self, event: BatchFinished) -> None:
        """Show a step."""
        self._steps_end = self.clock.spent
        self.show_inner(event.batch, event.batches, f"batch {event.batch} of {event.batches}")

    def show_epoch(self, event: EpochFinished | TrainEpoch) -> None:
        """Show a whole epoch."""
        epochs = self.outer.maximum()
        if event.epoch == self._first:  # the start, which takes other steps than epochs do
            self.clock.restart()
        elif event.epoch > self._first:
            before = self.clock.spent * (event.epoch - self._first - 1) / (event.epoch - self._first)
            self._share = min(1.0, max(0.1, (self._steps_end - before) / max(self.clock.spent - before, 1e-9)))
        self.show_outer(event.epoch, epochs, f"{event.epoch} of {counted(epochs, 'epoch')}")

    def show_done(self, epochs: int) -> None:
        """Fill the bars of a run that ended by itself, perhaps before its last epoch: nothing is missing."""
        if epochs < self.outer.maximum():
            done = f"done after {counted(epochs, 'epoch')}" if epochs else "done without training"
            set_bar(self.outer, 1, 1, done)
        set_bar(self.inner, 1, 1, "")

    def time_left(self) -> str:
        """Estimate the time left; in the first epoch from what was known before, until a part of its steps is done.

        Steps are a part of an epoch: predicting and relabelling take the rest, and are counted once they were seen.
        """
        epochs = self._done - self._first
        done = (epochs + self._within * self._share) / max(self._total - self._first, 1)
        if epochs < 1 and self.expected is not None:
            left = self.expected - self.clock.spent
            return left_in_words(left) if left > 0 and done < 1 else ""
        left_then = self.clock.left(done) if epochs + self._within >= SEEN else None
        return "" if left_then is None or done >= 1 else left_in_words(left_then)


def left_in_words(seconds: float) -> str:
    """Say how long it takes, and until when."""
    at = datetime.now() + timedelta(seconds=seconds)
    return f"{duration(seconds)} left, done by {at:%H:%M:%S}"


def duration(seconds: float) -> str:
    """Put seconds into words: "4 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def set_bar(bar: QtWidgets.QProgressBar, value: int, most: int | None = None, text: str | None = None) -> None:
    """Change a bar without the repaint Qt does at once, which draws all that waits and can take 100 ms."""
    bar.setUpdatesEnabled(False)
    if most is not None:
        bar.setMaximum(max(most, 1))
    if text is not None:
        bar.setFormat(text)
    bar.setValue(value)
    bar.setUpdatesEnabled(True)
