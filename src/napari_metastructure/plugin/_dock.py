"""A widget's place in napari's window: beside the canvas at a fair width, as a tab of the one that is there already."""

from typing import Any
from weakref import WeakSet

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QMainWindow, QMessageBox, QWidget

from napari_metastructure.plugin._worker import Runner

CANVAS_SHARE = 0.53
"""Of the window's width, that the canvas keeps at least where it can."""

SIDES = (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea)

ACROSS = Qt.Orientation.Horizontal

_kept_current: WeakSet[QMainWindow] = WeakSet()


class Docking(QObject):
    """Arranges a widget when it is docked; without it napari stacks docks, each with a hundred pixels.

    Signals
    -------
    in_sight : bool
        Whether the dock is shown; False also behind another tab.
    """

    in_sight = Signal(bool)

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._dock: QDockWidget | None = None
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Notice that the widget came into a dock; the window takes that in a little later."""
        if event.type() == QEvent.Type.ParentChange:
            QTimer.singleShot(0, self.arrange)
        return False

    def arrange(self) -> None:
        """Lay the dock behind ours that are there, else give it its width; once for each dock."""
        part = self.parent()
        while part is not None and not isinstance(part, QDockWidget):
            part = part.parent()
        window = None if part is None else part.parent()
        if part is None or part is self._dock or not isinstance(window, QMainWindow):
            return
        self._dock = part
        part.visibilityChanged.connect(self.in_sight)
        ask_before_closing(part)
        draw_in_own_context(window)
        if part.isFloating():
            return
        area = window.dockWidgetArea(part)
        others = [dock for dock in window.findChildren(QDockWidget) if dock is not part and dock.findChild(Docking)]
        beside = [d for d in others if not d.isHidden() and not d.isFloating() and window.dockWidgetArea(d) == area]
        if beside:
            window.tabifyDockWidget(beside[-1], part)
            # Once its tab is there: who opens a widget wants to see it.
            QTimer.singleShot(0, lambda: part.raise_() if isalive(part) else None)
        elif area in SIDES:
            across = [d for d in window.findChildren(QDockWidget) if not d.isHidden() and not d.isFloating()]
            other = next((d for d in across if window.dockWidgetArea(d) in SIDES and d not in (part, *others)), None)
            free = round((1 - CANVAS_SHARE) * window.width())
            needed = part.minimumSizeHint().width()
            if other is None or window.dockWidgetArea(other) == area:
                window.resizeDocks([part], [max(needed, min(part.sizeHint().width(), free))], ACROSS)
            else:  # napari's own docks give way too, where the window is narrow
                beside = min(other.width(), max(other.minimumSizeHint().width(), free - needed))
                width = max(needed, min(part.sizeHint().width(), free - beside))
                window.resizeDocks([other, part], [beside, width], ACROSS)


def ask_before_closing(dock: Any) -> None:
    """Ask before the panel of a job that goes on is closed by the × in its title, which napari does not tell of."""
    if (close := getattr(dock, "destroyOnClose", None)) is None:  # of another program's window
        return

    def ask() -> None:
        yes = QMessageBox.StandardButton.Yes
        said = [text for runner in dock.findChildren(Runner) if (text := runner.before_closing())]
        if not said or QMessageBox.question(dock, "Close panel", f"{' '.join(said)}\n\nClose it?") == yes:
            close()

    dock.destroyOnClose = ask


def draw_in_own_context(window: QMainWindow) -> None:
    """Let napari delete what it drew where it drew it.

    napari 0.9 frees a removed layer's textures at once, in whichever OpenGL context is current: outside of a paint
    event that of the window, in which the same numbers are other objects. Layers that were cleared, and others added
    before the next redraw, were a segmentation fault then. The canvas is made current first.
    """
    viewer: Any = getattr(window, "_qt_viewer", None)
    if viewer is None or window in _kept_current:
        return
    _kept_current.add(window)
    canvas = viewer.canvas.native

    def make_current() -> None:
        if isalive(canvas) and canvas.isVisible():
            canvas.makeCurrent()

    events = viewer.viewer.layers.events
    events.removing.connect(make_current)
    events.begin_batch.connect(make_current)
