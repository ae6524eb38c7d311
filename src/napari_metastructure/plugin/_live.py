"""Live previews that follow a form, and runs over whole stacks, computed in background threads."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import napari
from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QWidget
from superqt.utils import QSignalDebouncer

from napari_metastructure.errors import MetastructureError
from napari_metastructure.labels.classes import PlaneDone
from napari_metastructure.plugin._form import with_tip
from napari_metastructure.plugin._inputs import row
from napari_metastructure.plugin._layers import ReleaseOnClose
from napari_metastructure.plugin._worker import LatestOnly, Runner
from napari_metastructure.training.control import Control


class Superseded(Exception):
    """Raised in a background job whose result is no longer wanted; not an error to report."""


class LivePreview(QObject):
    """Compute what a widget shows whenever something changes: the newest request only, in background threads.

    All changes within one turn of Qt's loop make one request. Its result is shown and, once there has been no other
    for a while, measured. It follows the viewer's sliders, and rests while its widget is out of the window.

    Parameters
    ----------
    viewer : napari.Viewer
    widget : QWidget
        Whose preview it is.
    request : callable
        Returns the job for what is chosen now, or None if there is nothing to compute. The job runs in a thread; it
        is handed a function that returns False once a newer request has come, and may then raise `Superseded`.
    show : callable
        Takes the job's result; returns whether it is to be measured.
    measure : callable
        Takes the result in a thread and returns the measurements.
    show_measured : callable
        Takes the measurements, if the result they are of is still the one shown.
    failed : callable
        Takes an exception of a job.
    measure_after_ms : int
        Time without a new result before the last one is measured.
    """

    closed = Signal()
    """The widget was taken out of the window."""

    reopened = Signal()
    """It is back."""

    def __init__(
        self,
        viewer: napari.Viewer,
        widget: QWidget,
        request: Callable[[], Callable[[Callable[[], bool]], Any] | None],
        show: Callable[[Any], bool],
        measure: Callable[[Any], Any],
        show_measured: Callable[[Any], None],
        failed: Callable[[Exception], None],
        measure_after_ms: int = 0,
    ) -> None:
        super().__init__(widget)
        self._request, self._show, self._measure = request, show, measure
        self._show_measured, self._report = show_measured, failed
        self._requested = self._docked = self._deleted = False
        self.resting = False
        """True from ``closed`` to ``reopened``."""
        self._superseded = threading.Event()
        self._shown: Any = None
        self._unmeasured = False
        self._drawing, self._measuring = LatestOnly(self), LatestOnly(self)
        self._drawing.done.connect(self._on_drawn)
        self._drawing.failed.connect(self._on_failed)
        self._measuring.done.connect(self._on_measured)
        self._measuring.failed.connect(self._on_failed)
        self._turn, self.pause = QSignalDebouncer(parent=self), QSignalDebouncer(parent=self)
        self._turn.triggered.connect(self._on_turn)
        self.pause.setTimeout(measure_after_ms)
        self.pause.triggered.connect(self._on_pause)
        self._releases = ReleaseOnClose(self)
        self._releases.add(self._on_deleted)
        dims = viewer.dims.events
        for emitter in (dims.point, dims.ndisplay, dims.order):
            self.listen(emitter, self.refresh)
        widget.installEventFilter(self)

    def listen(self, emitter: Any, callback: Callable[..., Any]) -> None:
        """Connect a callback to an event of napari until the widget is deleted."""
        self._releases.listen(emitter, callback)

    def hold(self, *parts: Any) -> None:
        """Call ``release()`` of these parts when the widget is deleted."""
        self._releases.add(*(part.release for part in parts))

    @property
    def busy(self) -> bool:
        """True while what is shown is not yet of the newest request, or not yet measured."""
        under_way = self._requested or self._unmeasured or self._drawing.busy or self._measuring.busy
        return under_way and not self._deleted

    def refresh(self, *_: Any) -> None:
        """Request again at the next turn of Qt's loop."""
        if not self.resting:
            self._requested = True
            self._turn.throttle()

    def drop(self) -> None:
        """Forget what is being computed or measured: it is not what is chosen now."""
        self._superseded.set()
        self._drawing.drop()
        self._measuring.drop()
        self._shown, self._unmeasured = None, False

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Notice that the dock closes: napari then takes the widget out of it, and Python may keep it for long."""
        if event.type() == QEvent.Type.ParentChange and isinstance(watched, QWidget):
            if watched.parent() is not None:
                self._docked = True
                if self.resting:
                    self.resting = False
                    self.reopened.emit()
                    self.refresh()
            elif self._docked:
                self.resting = True
                self.drop()
                self.closed.emit()
        return False

    def _on_deleted(self) -> None:
        self._deleted = True
        self._superseded.set()

    def _on_turn(self) -> None:
        self._requested = False
        if self.resting:
            return
        job = self._request()
        if job is None:
            self._measure_soon()
            return
        self._superseded.set()
        superseded = self._superseded = threading.Event()
        self._drawing.ask(lambda: job(lambda: not superseded.is_set()))

    def _on_drawn(self, result: Any) -> None:
        self._shown, self._unmeasured = result, self._show(result)
        self._measure_soon()

    def _measure_soon(self) -> None:
        if self._unmeasured:
            self.pause.throttle()

    def _on_pause(self) -> None:
        if not self._unmeasured or self._requested or self._drawing.busy:  # what comes next will be measured
            return
        self._unmeasured = False
        result, measure = self._shown, self._measure
        self._measuring.ask(lambda: (result, measure(result)))

    def _on_measured(self, found: tuple[Any, Any]) -> None:
        result, measured = found
        if result is self._shown:
            self._show_measured(measured)

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, Superseded):
            self._report(error)
            self._measure_soon()


class StackRun(QWidget):
    """A job over all slices of a stack in a background thread, with a progress bar and a button that cancels it.

    The job is a generator of `PlaneDone` whose last item is its result.

    Parameters
    ----------
    what : str
        What messages call it: "Label noise".
    tip : str
        What the progress bar counts.
    """

    ended = Signal(object, str)
    """The result, or None and why there is none, in one sentence; an empty one if it was cancelled."""

    def __init__(self, what: str, tip: str) -> None:
        super().__init__()
        self.what = what
        self.bar = with_tip(QProgressBar(), tip)
        self.cancel_button = with_tip(QPushButton("Cancel"), "Stop after this slice; no layer is added or changed.")
        self.cancel_button.clicked.connect(lambda: self.cancel())
        row(self.bar, self.cancel_button, into=self)
        self._runner = Runner(self)
        self._runner.event_received.connect(self._on_event)
        self._runner.finished.connect(self._on_ended)
        self._result: Any = None
        self.setVisible(False)

    @property
    def running(self) -> bool:
        """True until ``ended``."""
        return self._runner.running

    def start(self, job: Callable[[], Iterator[Any]]) -> None:
        """Begin; ``ended`` gives the result."""
        control = Control()
        self._result = None
        self.bar.setRange(0, 0)
        self.cancel_button.setEnabled(True)
        self.setVisible(True)

        def events() -> Iterator[Any]:
            for event in job():
                if control.stopped:
                    return
                yield event

        self._runner.start(events, control, self.what)

    def cancel(self) -> None:
        """End after this slice, without a result."""
        self.cancel_button.setEnabled(False)
        self._runner.stop()

    def _on_event(self, event: Any) -> None:
        if isinstance(event, PlaneDone):
            self.bar.setRange(0, event.of)
            self.bar.setValue(event.done)
        else:
            self._result = event

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.setVisible(False)
        result, self._result = self._result, None
        self.ended.emit(result, "" if failure is None else str(failure))
