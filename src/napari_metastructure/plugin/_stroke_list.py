"""Brushes for objects and background, and the list of strokes, with buttons to find and undo each."""

from collections.abc import Callable

import napari
import numpy as np
from napari.layers import Labels, Layer
from qtpy import QtCore, QtGui, QtWidgets

from napari_metastructure.errors import counted
from napari_metastructure.plugin._form import tooltip, with_tip
from napari_metastructure.plugin._igtt_layers import STROKE_COLORS, RunLayers, SourceLayers
from napari_metastructure.plugin._inputs import column
from napari_metastructure.plugin._painting import BACKGROUND, CLASSES, OBJECT, Stroke

ROWS = 4
"""Strokes visible at once; the list scrolls."""


class BrushButtons(QtCore.QObject):
    """Two buttons that take up a brush; the one in hand is down."""

    taken = QtCore.Signal(int)
    put_away = QtCore.Signal()

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.buttons = {OBJECT: QtWidgets.QPushButton("Object"), BACKGROUND: QtWidgets.QPushButton("Background")}
        for value, button in self.buttons.items():
            button.setCheckable(True)
            button.setStyleSheet(f"QPushButton {{ border-bottom: 3px solid {STROKE_COLORS[value]}; }}")
            button.setToolTip(
                tooltip(
                    f"Paint pixels that are {CLASSES[value]}, on the layer of strokes above the masks. A few strokes "
                    "where the masks are wrong are enough; the eraser of the layer takes paint away again."
                )
            )
            button.clicked.connect(lambda on, value=value: self.taken.emit(value) if on else self.put_away.emit())

    def show_brush(self, layers: RunLayers | None) -> None:
        """Show which brush is in hand."""
        canvas = layers.in_hand if layers is not None else None
        for value, button in self.buttons.items():
            button.setChecked(canvas is not None and canvas.mode != "erase" and canvas.selected_label == value)


class StrokeList(QtWidgets.QWidget):
    """The strokes of a run's images, newest first, with a button that takes the chosen one back."""

    changed = QtCore.Signal(object)
    """The run's layers, whose strokes may have come or gone."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self._layers: RunLayers | None = None
        self._shown: list[tuple[SourceLayers, Stroke]] = []
        self.list = with_tip(
            QtWidgets.QListWidget(),
            "What was painted, the newest first. Click on a stroke to see it; Delete takes it back.",
        )
        self.list.setFixedHeight(ROWS * self.list.fontMetrics().height() + 12)
        self.back = with_tip(
            QtWidgets.QPushButton("Take this stroke back"),
            "Remove the chosen stroke as if it had never been painted; the layer's undo brings it back.",
        )
        column(self.list, self.back, into=self, spacing=2)
        self.list.currentRowChanged.connect(self._on_row)
        self.list.itemClicked.connect(lambda: self._look())
        self.list.installEventFilter(self)
        self.back.clicked.connect(lambda: self.take_back())
        self.show_strokes(None)

    def show_strokes(self, layers: RunLayers | None) -> None:
        """List the strokes of a run."""
        self._layers = layers
        parts = layers.parts if layers is not None else []
        there = [(part, part.strokes) for part in parts if part.strokes is not None and part.canvas is not None]
        pairs = [(part, stroke) for part, strokes in there for stroke in strokes.strokes()]
        pairs.sort(key=lambda pair: pair[1].number, reverse=True)
        if pairs != self._shown or not pairs:
            self._shown = pairs
            self.list.clear()
            for part, stroke in pairs:
                self.list.addItem(QtWidgets.QListWidgetItem(_words(part, stroke, len(parts) > 1)))
            self.setVisible(bool(pairs))
            self._on_row(self.list.currentRow())
        self.changed.emit(layers)

    def take_back(self) -> None:
        """Take the chosen stroke back."""
        if 0 <= (at := self.list.currentRow()) < len(self._shown):
            part, stroke = self._shown[at]
            if part.strokes is not None:
                part.strokes.take_back(stroke)

    def eventFilter(self, watched: object, event: QtCore.QEvent) -> bool:  # noqa: N802 - Qt's name
        """Let Delete take the chosen stroke back."""
        if event.type() == QtCore.QEvent.Type.KeyPress and event.key() in (
            QtCore.Qt.Key.Key_Delete,
            QtCore.Qt.Key.Key_Backspace,
        ):
            self.take_back()
            return True
        return bool(super().eventFilter(watched, event))

    def _on_row(self, at: int) -> None:
        self.back.setEnabled(0 <= at < len(self._shown))

    def _look(self) -> None:
        """Bring the chosen stroke on screen: its plane, and the middle of it."""
        part, stroke = self._shown[self.list.currentRow()]
        if (canvas := part.canvas) is None:
            return
        at = np.stack(np.unravel_index(stroke.pixels, canvas.data.shape)).T
        middle = at[len(at) // 2].astype(float)
        middle[-2:] = at[:, -2:].mean(0)
        look_at(self.viewer, canvas, middle)


def look_at(viewer: napari.Viewer, layer: Layer, place: np.ndarray) -> None:
    """Bring a place of a layer, in pixels along all its axes, to the middle of the canvas."""
    world = layer.data_to_world(place)
    for axis, value in zip(range(-len(world), 0), world, strict=True):
        if (viewer.dims.ndim + axis) not in viewer.dims.displayed:
            viewer.dims.set_point(viewer.dims.ndim + axis, value)
    viewer.scene.camera.center = (0.0, *world[-2:])


class BrushTag(QtWidgets.QLabel):
    """The class of the brush in hand, in words beside the mouse, while it is over the canvas.

    Parameters
    ----------
    viewer : napari.Viewer
    layers : callable
        Returns the layers of the run, or None.
    """

    def __init__(
        self, viewer: napari.Viewer, layers: Callable[[], RunLayers | None], parent: QtWidgets.QWidget
    ) -> None:
        super().__init__(parent, QtCore.Qt.WindowType.ToolTip | QtCore.Qt.WindowType.WindowTransparentForInput)
        self.viewer, self._layers = viewer, layers
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_ShowWithoutActivating)
        viewer.mouse_move_callbacks.append(self._on_move)
        viewer.events.mouse_over_canvas.connect(self._on_leave)
        # until the mouse moves over the canvas again
        QtGui.QGuiApplication.instance().focusWindowChanged.connect(self.hide)

    def release(self) -> None:
        """Let go of the viewer."""
        self.viewer.mouse_move_callbacks.remove(self._on_move)
        self.viewer.events.mouse_over_canvas.disconnect(self._on_leave)

    def follow(self) -> None:
        """Hide without a brush in hand."""
        if self._in_hand() is None:
            self.hide()

    def _in_hand(self) -> Labels | None:
        layers = self._layers()
        return layers.in_hand if layers is not None else None

    def _on_move(self, viewer: napari.Viewer, event: object) -> None:
        if (canvas := self._in_hand()) is None or QtGui.QGuiApplication.focusWindow() is None:
            self.hide()
            return
        value = _value(canvas)
        self.setText(CLASSES[value] if value else "erase")
        self.setStyleSheet(
            f"background: {STROKE_COLORS[value] if value else '#cccccc'}; color: black; padding: 1px 4px;"
        )
        self.adjustSize()
        self.move(QtGui.QCursor.pos().x() + 14, QtGui.QCursor.pos().y() + 14)
        self.show()

    def _on_leave(self, event: object = None) -> None:
        if not self.viewer.mouse_over_canvas:
            self.hide()


def _value(canvas: Labels) -> int:
    if canvas.mode == "erase" or canvas.selected_label == 0:
        return 0
    return BACKGROUND if canvas.selected_label == BACKGROUND else OBJECT


def _words(part: SourceLayers, stroke: Stroke, several: bool) -> str:
    pixels = len(stroke.pixels)
    where = f" in {part.source.name}" if several else ""
    plane = f", plane {part.strokes.plane(stroke) + 1}" if part.strokes and part.source.count > 1 else ""
    return f"{CLASSES[stroke.value].capitalize()}: {counted(pixels, 'pixel')}{where}{plane}"
