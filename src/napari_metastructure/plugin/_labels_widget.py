"""Frame of Noise and Measure: a Labels layer, a live preview of its slice on screen, and work on all of its slices."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import napari
from napari.layers import Labels, Layer
from napari.utils.notifications import show_error, show_warning
from qtpy import QtCore, QtWidgets

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.readings import Reading
from napari_metastructure.plugin import _inputs, _layers
from napari_metastructure.plugin._dock import Docking
from napari_metastructure.plugin._help import Tools
from napari_metastructure.plugin._live import LivePreview, StackRun
from napari_metastructure.plugin._preferences import Memory, Preferences, Value, of_choice
from napari_metastructure.plugin._preview_layer import PreviewLayer

log = logging.getLogger(__name__)

NO_PLANE = "The preview needs the axes Y and X on screen, in 2D, and a slider that stands within the layer."

CANCELLED = "Cancelled; nothing was added or changed."

MEASURE_AFTER_MS = 150
"""A preview is measured once a dial has stood still for so long."""


class LabelsWidget(QtWidgets.QWidget):
    """What Noise and Measure share.

    A widget on it says its ``name``, ``no_source`` and ``fault``, lays its parts out, calls `go_live` and writes
    `request`, `show_preview`, `show_problem`, `take_over` and `let`; work on all slices begins by `begin`.

    Attributes
    ----------
    preview : PreviewLayer
        The live layer.
    live : LivePreview
        What keeps it in step with source, slider and dials.
    changed_meanwhile : bool
        Whether the source was painted on, or replaced, since `begin`.
    """

    previewed = QtCore.Signal(object)
    failed = QtCore.Signal(str)

    name: ClassVar[str]
    no_source: ClassVar[str]
    fault: ClassVar[str]
    instances: ClassVar[bool] = False

    def __init__(self, viewer: napari.Viewer, tip: str, automatic: bool = True) -> None:
        super().__init__()
        self.viewer = _layers.unwrapped(viewer)
        self.tools = Tools(self.name)
        self.preview = PreviewLayer(self.viewer, self.on_preview_removed)
        self.sources = _inputs.LayerBox(self.viewer, tip, self._is_offered)
        self.reading = _inputs.reading_editor(automatic)
        self.problem, self.status = _inputs.sentence(f"color: {_inputs.PROBLEM};"), _inputs.sentence()
        self.run = StackRun("", "Slices done; each is read first to find its numbers.")
        self.changed_meanwhile = False
        self._at_work: Labels | None = None
        self._finish: Callable[[Any], Labels] | None = None
        self._stack: LabelStack | None = None
        self._refused = ""  # what the status line says of a refusal, until something changes

    def go_live(self, measure: Callable[[Any], Any], show_measured: Callable[[Any], None], *held: Any) -> None:
        """Begin to follow the source, once all parts are there; ``held`` parts are released with the widget."""
        args = (self._request, self.show_preview, measure, show_measured, self._show_failure, MEASURE_AFTER_MS)
        self.live = LivePreview(self.viewer, self, *args)
        self.watch = _layers.LayerWatch(self.viewer, self.live.refresh, self.instances)
        self.live.hold(self.watch, self.preview, *held)
        self.sources.picked.connect(self.follow)
        self.reading.changed.connect(lambda _: self.follow())
        self.run.cancel_button.clicked.connect(lambda: self.cancel())
        self.run.ended.connect(self._on_ended)
        self.live.closed.connect(self.on_closed)
        self.live.reopened.connect(self._on_reopened)
        self.findChild(Docking).in_sight.connect(self.on_sight)
        self.follow()

    def remember(
        self, kept: dict[str, Value], preferred: Callable[[Preferences], dict[str, Any]] = lambda _: {}
    ) -> None:
        """Open with what was shown last, and how labels were read."""
        self.memory = Memory(self, self.name, {"reading": of_choice(self.reading.widget), **kept}, preferred)
        self.tools.reset_button.clicked.connect(lambda: self.memory.reset())

    # ---- what a widget says ------------------------------------------------------------------------------

    def request(self, layer: Labels | None) -> Callable[[Callable[[], bool]], Any] | None:
        """Return the job that draws what is chosen now, or say what is wrong with it."""
        raise NotImplementedError

    def show_preview(self, preview: Any) -> bool:
        """Show what the job drew; whether it is to be measured."""
        raise NotImplementedError

    def show_problem(self, why: str) -> None:
        """Say why there is no preview."""
        self.live.drop()
        self.preview.hide()
        _inputs.say(self.problem, why)

    def take_over(self, layer: Labels | None) -> None:
        """Show another source, or none."""

    def let(self) -> None:
        """Enable what can be done now."""

    def done(self, layer: Labels) -> None:
        """Tell that work on all slices is done, and which layer has its result."""

    def on_preview_removed(self) -> None:
        """React to the user, who removed the preview."""

    def on_sight(self, there: bool) -> None:
        """Take the preview off the canvas while its panel is hidden: it looks as if the labels had changed."""
        if self.preview.in_sight != there:
            self.preview.in_sight = there
            self.preview.hide()
            self.live.refresh()  # also behind: the density of the preview may be shown

    def on_closed(self) -> None:
        """End what is under way: the widget was taken out of the window."""
        self.run.cancel()
        self.watch.follow([])
        self.preview.remove()

    # ---- for buttons and scripts -------------------------------------------------------------------------

    def set_source(self, layer: Labels, reading: Reading | None = None) -> bool:
        """Choose the labels, and how they are read; False if the layer cannot be chosen."""
        box = self.reading.widget
        if reading is not None:
            if box.findData(reading) < 0:
                known = ", ".join(box.itemData(place) for place in range(box.count()))
                return self.refuse(f"There is no reading {reading!r}; choose one of {known}.")
            self.reading.set(reading)
        if not self.sources.choose(layer):
            return self.refuse(f"{layer!s} is not among the Labels layers of this viewer; choose one that is.")
        return True

    @property
    def busy(self) -> bool:
        """True while a preview, its measurements, or work on the whole layer are under way."""
        return self.live.busy or self.run.running

    def cancel(self) -> None:
        """End what is under way, with nothing added or changed."""
        if self.run.running:
            self.run.cancel()
            _inputs.say(self.status, "Cancelling…")

    def refuse(self, why: str) -> bool:
        """Say what is wrong; False, for the caller to return."""
        show_error(why)
        self._refused = why
        _inputs.say(self.status, why)
        return False

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802 - Qt's name
        """Return a size for which there is room on a small laptop's screen."""
        return QtCore.QSize(380, 780)

    # ---- the source and its preview ----------------------------------------------------------------------

    def _is_offered(self, layer: Layer) -> bool:
        """Whether a layer is offered: Labels with a slice to show, except for this widget's preview."""
        return isinstance(layer, Labels) and len(_layers.full(layer).shape) > 1 and layer is not self.preview.layer

    def reading_of(self, layer: Labels) -> Reading:
        """Return how a layer is read."""
        chosen: Reading = self.reading.get()
        return chosen

    def stack(self, layer: Labels) -> LabelStack:
        """Read everything again: what is applied never rests on what an earlier preview saw."""
        name, reading = f"Layer {layer.name!r}", self.reading_of(layer)
        return LabelStack(_layers.full(layer), reading, _layers.is_ours(layer), name, instances=self.instances)

    def follow(self) -> None:
        """Take over another source, or another way to read it."""
        if self.live.resting:
            return
        layer = self.sources.chosen()
        self.live.drop()
        self.preview.hide()
        self.watch.follow([] if layer is None else [layer])
        if layer is None:
            self.preview.remove()
        for line in (self.problem, self.status):  # of the source before
            _inputs.say(line, "")
        self.take_over(layer)
        self.let()
        self.live.refresh()

    def _on_reopened(self) -> None:
        self.preview.in_sight = True  # a new dock tells only of changes
        self.follow()

    def _request(self) -> Callable[[Callable[[], bool]], Any] | None:
        if self._refused and self.status.text() == self._refused:  # its cause may be gone
            _inputs.say(self.status, "")
        return self.request(self.sources.chosen())

    def _show_failure(self, error: Exception) -> None:
        """Report an error in one sentence; one that the user cannot mend also goes to the log, with its traceback."""
        why = str(error)
        if not isinstance(error, MetastructureError):
            log.error("The preview of %s failed", self.name, exc_info=error)
            why = f"{self.fault}: {type(error).__name__}: {error}"
        self.show_problem(why)

    # ---- work on all slices ------------------------------------------------------------------------------

    def can_begin(self) -> bool:
        """Whether work on a source can begin now; if not, that is said."""
        if self.run.running:
            show_warning(f"{self.run.what} is going on already; wait for it, or cancel it.")
            return False
        return self.sources.chosen() is not None or self.refuse(self.no_source)

    def begin(
        self, what: str, stack: LabelStack, work: Callable[[], Iterator[Any]], finish: Callable[[Any], Labels]
    ) -> bool:
        """Do work on the source's stack in a thread, whose last item goes to ``finish``, which returns its layer."""
        self._finish, self.run.what, self.changed_meanwhile = finish, what, False
        self._at_work, self._stack = self.sources.chosen(), stack
        self._listen("connect")
        _inputs.say(self.status, "")
        self.run.start(work)
        self.let()
        return True

    def _listen(self, how: str) -> None:
        if self._at_work is not None:
            for emitter in (self._at_work.events.paint, self._at_work.events.data):
                getattr(emitter, how)(self._on_changed)

    def _on_changed(self, event: Any = None) -> None:
        self.changed_meanwhile = True

    def _remarks(self) -> Iterator[str]:
        """Say what may not be expected of the result: how labels were read, and that they were changed."""
        if self._stack is not None:
            yield from self._stack.notes(self._stack.meaning())
        if self.changed_meanwhile and self._at_work is not None and self.status.text():
            yield f"Layer {self._at_work.name!r} was changed meanwhile; do it once more for what is new."

    def _on_ended(self, result: Any, why: str) -> None:
        self._listen("disconnect")
        finish, self._finish = self._finish, None
        self.let()
        layer = None
        if result is not None and finish is not None:
            try:
                layer = finish(result)
            except InputError as error:
                why = str(error)
        if layer is not None:
            _inputs.say(self.status, " ".join(filter(None, (self.status.text(), *self._remarks()))))
            self.done(layer)
            return
        _inputs.say(self.status, CANCELLED)
        if why:
            self.refuse(why)
        self.failed.emit(why or CANCELLED)
