"""Live previews that follow a form, and runs over whole stacks, computed in background threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget
from superqt.utils import QSignalDebouncer

from napari_metastructure.labels.classes import LabelStack, PlaneDone, Reading
from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._layers import full, is_ours, visible_plane
from napari_metastructure.plugin._worker import LatestOnly, Runner
from napari_metastructure.training.control import Control

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_metastructure.errors import MetastructureError


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
        self._held: list[Callable[[], None]] = []
        dims = viewer.dims.events
        for emitter in (dims.point, dims.ndisplay, dims.order):
            self.listen(emitter, self.refresh)
        held = self._held

        def release() -> None:
            """Let go of viewer and layers, which may outlive the widget and must not call it then."""
            self._deleted = True
            self._superseded.set()
            for let_go in held:
                let_go()

        self.destroyed.connect(release)
        widget.installEventFilter(self)

    def listen(self, emitter: Any, callback: Callable[..., Any]) -> None:
        """Connect a callback to an event of napari until the widget is deleted."""
        emitter.connect(callback)
        self._held.append(lambda: emitter.disconnect(callback))

    def hold(self, *parts: Any) -> None:
        """Call ``release()`` of these parts when the widget is deleted."""
        self._held += [part.release for part in parts]

    @property
    def busy(self) -> bool:
        """True while what is shown is not yet of the newest request, or not yet measured."""
        under_way = self._requested or self._unmeasured or self._drawing.busy or self._measuring.busy
        return under_way and not self._deleted

    def refresh(self, *_: Any) -> None:
        """Request anew at the next turn of Qt's loop."""
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


PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "name")


class LayerWatch:
    """Follows layers: reports whatever changes them, and keeps their labels as stacks that forget what has changed.

    A plain object: it can let go of the layers when the widget that has it is deleted already.

    Parameters
    ----------
    viewer : napari.Viewer
    changed : callable
        Called after every change: other pixels, a stroke while it is drawn, undo, a redraw, another place or name.
    """

    def __init__(self, viewer: napari.Viewer, changed: Callable[[], None]) -> None:
        self.viewer = viewer
        self._changed = changed
        self._listening: dict[Layer, list[tuple[Any, Callable[[Any], None]]]] = {}
        self._stacks: dict[Layer, LabelStack] = {}
        self._seen: dict[Layer, tuple[tuple[int, int], int | None]] = {}

    def follow(self, layers: Iterable[Layer]) -> None:
        """Follow these layers and no others."""
        wanted = list(dict.fromkeys(layers))
        for layer in [layer for layer in self._listening if layer not in wanted]:
            for emitter, callback in self._listening.pop(layer):
                emitter.disconnect(callback)
            self._stacks.pop(layer, None)
        for layer in [layer for layer in wanted if layer not in self._listening]:
            events = layer.events
            pairs: list[tuple[Any, Callable[[Any], None]]] = [(getattr(events, n), self._on_moved) for n in PLACE]
            pairs += [(events.data, self._on_data), (events.set_data, self._on_drawn)]
            if isinstance(layer, Labels):
                pairs += [(events.paint, self._on_paint), (events.labels_update, self._on_drawn)]
            for emitter, callback in pairs:
                emitter.connect(callback)
            self._listening[layer] = pairs
            self._seen[layer] = _history(layer), self._shown(layer)

    def stack(self, layer: Layer, reading: Reading) -> LabelStack:
        """Return the labels of a layer that is followed; the same stack until its data are replaced."""
        stack, ours = self._stacks.get(layer), is_ours(layer)
        if stack is None or stack.reading != reading or stack.ours != ours:
            stack = self._stacks[layer] = LabelStack(full(layer), reading, ours)
        stack.name = f"Layer {layer.name!r}"
        return stack

    def forget(self) -> None:
        """Take all pixels for changed, after a write in place that napari was not told of."""
        self._stacks.clear()

    def release(self) -> None:
        """Let go of all layers."""
        self.follow(())

    def _on_moved(self, event: Any) -> None:
        self._changed()

    def _on_data(self, event: Any) -> None:
        """Other pixels altogether: a new stack, because a job may be reading the one there was."""
        self._stacks.pop(event.source, None)
        self._seen[event.source] = _history(event.source), self._shown(event.source)
        self._changed()

    def _on_paint(self, event: Any) -> None:
        """The brush, or a script that edits as it does; the event has what napari's undo will need."""
        layer = event.source
        if stack := self._stacks.get(layer):
            for atom in event.value:
                stack.forget(_planes(atom[0], stack.shape[:-2]))
        self._seen[layer] = _history(layer), self._seen[layer][1]
        self._changed()

    def _on_drawn(self, event: Any) -> None:
        """A redraw: a brush on its way, an undo (wherever it was), a refresh by a script; or the slider was moved."""
        layer = event.source
        before, history, shown = self._seen[layer], _history(layer), self._shown(layer)
        if stack := self._stacks.get(layer):
            if history != before[0]:
                stack.forget()
            elif shown is not None and shown == before[1]:
                stack.forget([shown])
        self._seen[layer] = history, shown
        self._changed()

    def _shown(self, layer: Layer) -> int | None:
        """The number of the plane on screen."""
        plane = visible_plane(self.viewer, layer) if isinstance(layer, Labels) else None
        return None if plane is None else plane.index


def _history(layer: Any) -> tuple[int, int]:
    """Lengths of a layer's undo and redo lists: napari sends no event for an undo, but it moves one item."""
    return len(getattr(layer, "_undo_history", ())), len(getattr(layer, "_redo_history", ()))


def _planes(place: Any, leading: tuple[int, ...]) -> list[int]:
    """The planes that a place in a layer (slices, or arrays of indices, one for each axis) touches."""
    if not leading:
        return [0]
    axes = place[: len(leading)]
    if any(isinstance(axis, slice) for axis in axes):
        ranges = [range(n)[a] if isinstance(a, slice) else np.unique(a) for a, n in zip(axes, leading, strict=True)]
        grid = np.meshgrid(*(np.asarray(r) for r in ranges), indexing="ij")
        return [int(i) for i in np.ravel_multi_index(grid, leading, mode="clip").ravel()]
    return [
        int(i) for i in np.unique(np.ravel_multi_index(tuple(np.atleast_1d(a) for a in axes), leading, mode="clip"))
    ]


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

    def __init__(self, what: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.what = what
        self.bar = QProgressBar()
        self.bar.setToolTip(tooltip(tip))
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip(tooltip("Stop after this slice; no layer is added or changed."))
        self.cancel_button.clicked.connect(lambda: self.cancel())
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.bar, 1)
        layout.addWidget(self.cancel_button)
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


def row(*parts: QWidget, wide: QWidget | None = None) -> QWidget:
    """Put widgets beside each other; one of them, or all alike, take the room that is left."""
    widget = QWidget()
    layout = QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for part in parts:
        layout.addWidget(part, int(wide is None or part is wide))
    return widget
