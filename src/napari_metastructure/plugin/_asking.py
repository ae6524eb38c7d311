"""Questions in the window: places shown one after the other, answered by a key, a button or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import napari
import numpy as np
from napari.layers import Layer, Points
from napari.utils.notifications import show_error
from qtpy import QtCore, QtWidgets

from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._igtt_layers import STROKE_COLORS, RunLayers, SourceLayers
from napari_metastructure.plugin._igtt_results import ResultPanel
from napari_metastructure.plugin._inputs import column, row
from napari_metastructure.plugin._layer_order import add_above, belongs, covers, kept_view
from napari_metastructure.plugin._layers import ReleaseOnClose, made_from, result_name
from napari_metastructure.plugin._live_answer import BESIDE, LiveAnswer
from napari_metastructure.plugin._painting import BACKGROUND, OBJECT, Stroke
from napari_metastructure.plugin._stroke_list import StrokeList, look_at
from napari_metastructure.plugin._worker import EventLoopSteps, LatestOnly

if TYPE_CHECKING:
    from napari_metastructure.igtt.asking import Gain, Place, Questions


WAYS = {"Least sure": "unsure", "Random pixels": "random"}

ROUND = 5
"""Places that are chosen at once."""

AHEAD = 2
"""Places left when the next ones are looked for."""

ZOOM = 8.0
"""Pixels of the screen for one of the image."""

COLOR = "#ff40ff"

KEYS = {
    QtCore.Qt.Key.Key_F: "object",
    QtCore.Qt.Key.Key_B: "background",
    QtCore.Qt.Key.Key_Space: "skip",
    QtCore.Qt.Key.Key_Z: "back",
    QtCore.Qt.Key.Key_Escape: "done",
}

_TYPED_IN = (
    QtWidgets.QLineEdit,
    QtWidgets.QAbstractSpinBox,
    QtWidgets.QComboBox,
    QtWidgets.QTextEdit,
    QtWidgets.QPlainTextEdit,
    QtWidgets.QAbstractButton,
)


class _Asked(NamedTuple):
    """A question that was answered, by a stroke, or skipped."""

    place: Place
    part: SourceLayers
    stroke: Stroke | None = None
    contradicted: bool = False


class AskMe(QtWidgets.QWidget):
    """Shows places one after the other, and makes strokes of the answers.

    Places are chosen in a thread, some at a time, from what the answers so far have made of the masks. While it asks,
    F, B, Space, Z and Escape press its buttons from anywhere in the window but where text is typed.

    Parameters
    ----------
    viewer : napari.Viewer
    results : ResultPanel
        Its button begins; its masks are outlines meanwhile.
    strokes : StrokeList
        Tells when strokes come or go.
    answer : LiveAnswer
        Its features are used, too.
    """

    asked = QtCore.Signal()
    """Another place is shown, or none is left."""

    def __init__(self, viewer: napari.Viewer, results: ResultPanel, strokes: StrokeList, answer: LiveAnswer) -> None:
        super().__init__()
        self.viewer, self._results, self._answer = viewer, results, answer
        self._run: RunLayers | None = None  # whose strokes are listed
        self._layers: RunLayers | None = None  # that is asked about
        self.place: Place | None = None
        self._queue: list[Place] = []
        self._done: list[_Asked] = []
        self._markers: dict[SourceLayers, Points] = {}
        self._restore: Callable[[], None] = lambda: None
        self._visible: dict[Layer, bool] = {}
        self._latest = LatestOnly(self)
        self._latest.done.connect(self._on_places)
        self._latest.failed.connect(self._on_failed)
        self._turns = EventLoopSteps(self)
        self._zoomed: Points | None = None
        self.how = QtWidgets.QComboBox()
        self.how.addItems(list(WAYS))
        self.how.setToolTip(
            tooltip(
                "Least sure: places where the masks are least sure and that stand for many others. Random pixels: a "
                "random sample, which is as good as all pixels if it is large enough (Theorem 2)."
            )
        )
        self.buttons = {
            "object": QtWidgets.QPushButton("Object (F)"),
            "background": QtWidgets.QPushButton("Background (B)"),
            "skip": QtWidgets.QPushButton("Skip (Space)"),
            "back": QtWidgets.QPushButton("Back (Z)"),
            "done": QtWidgets.QPushButton("Done (Esc)"),
        }
        tips = (
            ("object", "The pixel in the frame is of an object."),
            ("background", "The pixel in the frame is background."),
            ("skip", "Leave it out: you cannot tell, or it does not matter."),
            ("back", "Take the last answer back, and answer it again."),
            ("done", "Ask no more. The answers stay as strokes; Use strokes takes them up."),
        )
        for name, tip in tips:
            self.buttons[name].setToolTip(tooltip(tip))
        for name, value in (("object", OBJECT), ("background", BACKGROUND)):
            self.buttons[name].setStyleSheet(f"QPushButton {{ border-bottom: 3px solid {STROKE_COLORS[value]}; }}")
        self.counter, self.said = QtWidgets.QLabel(), QtWidgets.QLabel()
        self.said.setWordWrap(True)
        answers, other = list(self.buttons.values())[:2], list(self.buttons.values())[2:]
        column(
            row(self.how, self.counter), row(*answers, spacing=2), row(*other, spacing=2), self.said,
            into=self, spacing=2,
        )  # fmt: skip
        self.setVisible(False)
        results.ask_button.clicked.connect(lambda: self.begin())
        self.buttons["object"].clicked.connect(lambda: self.take(OBJECT))
        self.buttons["background"].clicked.connect(lambda: self.take(BACKGROUND))
        self.buttons["skip"].clicked.connect(lambda: self.skip())
        self.buttons["back"].clicked.connect(lambda: self.back())
        self.buttons["done"].clicked.connect(lambda: self.end())
        self.how.currentIndexChanged.connect(lambda _: self._ask_anew())
        strokes.changed.connect(self._on_strokes)
        releases = ReleaseOnClose(self)
        releases.listen(viewer.layers.events.removed, self._on_removed)
        releases.add(self._leave)

    @property
    def asking(self) -> bool:
        """Whether places are being shown."""
        return self._layers is not None

    @property
    def busy(self) -> bool:
        """True while places are looked for."""
        return self._latest.busy

    @property
    def moving(self) -> bool:
        """True while the next place is being brought on screen."""
        return self._turns.busy

    @property
    def number(self) -> int:
        """How many places were answered."""
        return sum(asked.stroke is not None for asked in self._done)

    def begin(self) -> bool:
        """Show the first place; False if there are no masks to ask about."""
        from napari_metastructure.igtt.asking import Gain

        run = self._run
        if self.asking or run is None or not run.probabilities:
            return False
        if run.removed:
            show_error(run.removed)
            return False
        self._layers, self._queue, self._done = run, [], []
        self._gain: Gain = Gain()
        self._p = list(run.probabilities)
        self._questions = _questions(run)
        run.put_brush_away()
        camera, dims = self.viewer.scene.camera, self.viewer.dims
        view = camera.center, camera.zoom, dims.ndisplay, dims.order

        def restore() -> None:
            dims.ndisplay = view[2]
            if len(view[3]) == dims.ndim:
                dims.order = view[3]
            camera.center, camera.zoom = view[:2]

        self._restore, self._visible = restore, {layer: layer.visible for layer in self.viewer.layers}
        self._filled = not self._results.outlines.isChecked()
        self._results.outlines.setChecked(True)
        if (app := QtWidgets.QApplication.instance()) is not None:
            app.installEventFilter(self)
        self.setVisible(True)
        self._results.ask_button.setEnabled(False)
        self._turns.start(self._next())
        return True

    def end(self) -> None:
        """Ask no more; answers stay."""
        if not self.asking:
            return
        self._latest.drop()
        self._turns.start(iter(()))
        if (app := QtWidgets.QApplication.instance()) is not None:
            app.removeEventFilter(self)
        self._leave()
        if self._filled:
            self._results.outlines.setChecked(False)
        self._results.ask_button.setEnabled(True)
        self.setVisible(False)

    def _leave(self) -> None:
        """Leave the viewer as it was; also where Qt has deleted the widget already."""
        self._layers, self.place, self._queue, self._zoomed = None, None, [], None
        markers, self._markers = self._markers, {}
        for marker in markers.values():
            if marker in self.viewer.layers:
                self.viewer.layers.remove(marker)
        for layer in list(self.viewer.layers):
            above = (was for other, was in self._visible.items() if belongs(layer, other))
            _show(layer, self._visible.get(layer, next(above, layer.visible)))
        self._restore()
        self._restore, self._visible = lambda: None, {}

    def take(self, value: int) -> None:
        """Take an answer, object (1) or background (2): a stroke of one pixel."""
        if (where := self._where()) is None or self.place is None:
            return
        place, (part, at) = self.place, where
        canvas = part.open_strokes()
        strokes = part.strokes
        assert strokes is not None
        before = strokes.strokes()
        contradicted = bool(self._p[place.plane][place.y, place.x] > 0.5) != (value == OBJECT)
        canvas.data_setitem(tuple(np.array([i]) for i in at), value)
        new = [stroke for stroke in strokes.strokes() if stroke not in before]
        if self.asking:  # who listens to strokes may end it
            self._answered(_Asked(place, part, new[-1] if new else None, contradicted))

    def skip(self) -> None:
        """Leave the place out."""
        if (where := self._where()) is not None and self.place is not None:
            self._answered(_Asked(self.place, where[0]))

    def back(self) -> None:
        """Take the last answer back, and show its place again."""
        if not self.asking or not self._done:
            return
        asked = self._done.pop()
        if self.place is not None:
            self._queue.insert(0, self.place)
        if asked.stroke is not None and (strokes := asked.part.strokes) is not None:
            strokes.take_back(asked.stroke)
        self._queue.insert(0, asked.place)
        self._turns.start(self._next())

    # ---- which place comes next ------------------------------------------------------------------------------

    def _answered(self, asked: _Asked) -> None:
        self._done.append(asked)
        self.place = None  # the next is shown in another turn of Qt's loop: each draws layers
        self._turns.start(self._next())

    def _next(self) -> Iterator[None]:
        """Show the next place that has no class yet; as steps."""
        yield
        self.place = None
        while self._queue and self.place is None:
            self.place = self._queue.pop(0)
            where = self._where()
            if where is None or ((canvas := where[0].canvas) is not None and canvas.data[where[1]]):
                self.place = None
        if len(self._queue) < AHEAD and not self._latest.busy:
            self._ask()
        yield from self._go()

    def _ask_anew(self) -> None:
        if self.asking:
            self._queue, self.place = [], None
            self._latest.drop()
            self._ask()
            self._tell()

    def _ask(self) -> None:
        """Look for places in the thread, with the strokes as they are now."""
        if (layers := self._layers) is None:
            return
        p, strokes = list(layers.probabilities or self._p), layers.corrections()
        prepared = self._answer.prepared(layers)
        queued = [*self._queue, *([] if self.place is None else [self.place])]
        asked = [*(done.place for done in self._done), *queued]
        how, questions, count = WAYS[self.how.currentText()], self._questions, self.number

        def job() -> Any:
            if prepared is not None:
                chosen, steering = prepared
                given = {chosen.index(i): pixels for i, pixels in strokes.items() if i in chosen}
                for index, found in zip(chosen, steering.answer(given), strict=True):
                    p[index] = found
            places = questions.next(p, ROUND, how, asked, strokes)  # type: ignore[arg-type]
            watched, pixels = [], 0
            for plane in p:
                if (pixels := pixels + plane.size) <= max(BESIDE, p[0].size):
                    watched.append(plane > 0.5)
            return layers, p, places, watched, count

        self._latest.ask(job)

    def _on_places(self, found: Any) -> None:
        layers, p, places, masks, count = found
        if layers is not self._layers:
            return
        self._p = p
        self._gain.see(masks, count)
        self._queue += places
        if self.place is None and self._queue:
            self._turns.start(self._next())
        else:
            self._tell()
            self.asked.emit()

    def _on_failed(self, error: Exception) -> None:
        self._tell(f"No places could be found: {error}")

    # ---- on screen -------------------------------------------------------------------------------------------

    def _where(self) -> tuple[SourceLayers, tuple[int, ...]] | None:
        """Return which source the place is in, and where; None without a place."""
        if self.place is None or self._layers is None:
            return None
        plane = self.place.plane
        for part in self._layers.parts:
            if plane < part.source.count:
                leading = (
                    np.unravel_index(part.source.plane_of(plane), part.source.leading) if part.source.leading else ()
                )
                return part, (*map(int, leading), self.place.y, self.place.x)
            plane -= part.source.count
        return None

    def _go(self) -> Iterator[None]:
        """Show the place, zoomed, in a frame; without one, say why."""
        if (where := self._where()) is not None:
            part, at = where
            dims = self.viewer.dims
            dims.ndisplay, dims.order = 2, tuple(range(dims.ndim))  # or the place would not be seen
            yield from self._bring_out(part)
            marker = self._marker(part, at)
            source, place = part.source.layer, np.array(at, float)
            source = source if source.ndim == len(at) else marker  # it was given pixels of other axes
            if self._zoomed is not marker:
                self._zoomed = marker
                steps = [
                    np.subtract(source.data_to_world(place + step), source.data_to_world(place))
                    for step in np.eye(len(at))[-2:]
                ]
                side = np.sqrt(np.prod(np.linalg.norm(steps, axis=1)))
                self.viewer.scene.camera.zoom = ZOOM / max(float(side), 1e-12)
            look_at(self.viewer, source, place)
        self._tell()
        self.asked.emit()

    def _bring_out(self, part: SourceLayers) -> Iterator[None]:
        """Show a source and what belongs to it, and hide what may cover it: moving layers would take long."""
        source = part.source.layer
        others = [p.source.layer for p in self._layers.parts if p is not part] if self._layers is not None else []
        for layer in list(self.viewer.layers):
            if layer is source or belongs(layer, source):
                wanted = layer in (source, *part.own) or self._visible.get(layer, True)
            else:
                wanted = layer.visible and not covers(layer) and not any(belongs(layer, other) for other in others)
            if layer.visible != wanted:
                layer.visible = wanted
                yield
        if self.asking:
            self.viewer.layers.selection.active = part.masks if part.there else source
            yield

    def _marker(self, part: SourceLayers, at: tuple[int, ...]) -> Points:
        """Return the frame around a pixel of a source, on top of all layers."""
        layers, marker = self.viewer.layers, self._markers.get(part)
        if marker is None or marker not in layers:
            marker = Points(
                np.array([at], float),
                name=result_name(part.source.name, "place asked about"),
                symbol="square",
                size=3,
                face_color="transparent",
                border_color=COLOR,
                border_width=0.2,
                metadata=made_from(part.source.layer),
                canvas_size_limits=(12, 10_000),
                **part.source.placement(),
            )
            marker.editable = False
            self._markers[part] = marker
            add_above(self.viewer, part.source.layer, marker, part.source.placement)
        else:
            marker.data = np.array([at], float)
        if any(belongs(layer, part.source.layer) for layer in list(layers)[layers.index(marker) + 1 :]):
            with kept_view(self.viewer):  # strokes and outlines came since
                layers.move(layers.index(marker), len(layers))
        return marker

    def _tell(self, wrong: str = "") -> None:
        """Say how many were answered, and what more would gain."""
        if not self.asking:
            return
        self._gain.contradicted = [asked.contradicted for asked in self._done if asked.stroke is not None]
        self.counter.setText(f"{self.number} answered, {len(self._done) - self.number} skipped")
        waiting = "Looking for places…" if self._latest.busy else "Nothing is left to ask about."
        self.said.setText(wrong or (str(self._gain) if self.place is not None else waiting))
        for name in ("object", "background", "skip"):
            self.buttons[name].setEnabled(self.place is not None)
        self.buttons["back"].setEnabled(bool(self._done))

    # ---- what happens meanwhile ------------------------------------------------------------------------------

    def _on_strokes(self, layers: RunLayers | None) -> None:
        """Forget answers that were undone or taken back elsewhere; end with a new run."""
        self._run = layers
        if not self.asking:
            return
        if layers is None or layers is not self._layers:
            self.end()
            return
        there = {part: part.strokes.strokes() for part in layers.parts if part.strokes is not None and part.canvas}
        kept = [asked for asked in self._done if asked.stroke is None or asked.stroke in there.get(asked.part, ())]
        if len(kept) < len(self._done):
            self._done = kept
            self._tell()

    def _on_removed(self, event: Any) -> None:
        if self._layers is not None and self._layers.needs(event.value):
            self.end()

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:  # noqa: N802 - Qt's name
        """Let keys press the buttons while places are shown."""
        kind = event.type()
        if kind not in (QtCore.QEvent.Type.KeyPress, QtCore.QEvent.Type.ShortcutOverride) or not self.asking:
            return False
        name = KEYS.get(event.key())
        plain = event.modifiers() in (QtCore.Qt.KeyboardModifier.NoModifier, QtCore.Qt.KeyboardModifier.KeypadModifier)
        if name is None or not plain or not self._is_for_us():
            return False
        event.accept()
        if kind == QtCore.QEvent.Type.KeyPress and not event.isAutoRepeat():
            self.buttons[name].click()
        return True

    def _is_for_us(self) -> bool:
        """Whether a key belongs to this window, and to no place where text is typed or a button is pressed."""
        focus, windows, widget = QtWidgets.QApplication.focusWidget(), [], self.parentWidget()
        while widget is not None:
            windows.append(widget)
            widget = widget.parentWidget()
        if focus is None or self.isAncestorOf(focus):
            return True
        return focus.window() in windows and not isinstance(focus, _TYPED_IN)


def _show(layer: Layer, visible: bool) -> None:
    """Show or hide a layer; napari draws again even if nothing changes."""
    if layer.visible != visible:
        layer.visible = visible


def _questions(run: RunLayers) -> Questions:
    """Return what chooses places on the images of a run, read in its thread."""
    from napari_metastructure.igtt.asking import Questions
    from napari_metastructure.images.intensity import check_plane

    places = [(part.source, at) for part in run.parts for at in part.source.places]

    def read(index: int) -> np.ndarray:
        source, at = places[index]  # not yet filled, or it could be asked about what was not measured
        return check_plane(source.plane(at, run.colour), f"Layer {source.name!r}")

    return Questions(read, mends=run.mends)
