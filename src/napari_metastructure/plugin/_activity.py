"""A job's bar in napari's activity dock."""

from __future__ import annotations

from typing import Any

from napari.utils import progress
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QMainWindow, QWidget

PARTS = 1000
"""Steps of the bar."""

EVERY_MS = 500


class Activity(QObject):
    """What a widget's job shows in the activity dock of the window that the widget is docked in.

    napari lets Qt's loop run in each change of its bar. So the bar is changed in a timer's turn, never in the middle of
    what a job's event does, and seldom.
    """

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget, self._title = widget, ""
        self._shown: tuple[int, str, str] = (0, "", "")
        self._at_work = False
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._on_timer)
        bars: list[Any] = []  # one at most; not the object, which is gone when the widget is
        self._bars = bars
        widget.destroyed.connect(lambda: [bar.close() for bar in bars])

    def begin(self, title: str) -> None:
        """Add a bar, a moment later; without a window there is none."""
        self.end()
        window = self._widget.window()
        if isinstance(window, QMainWindow) and hasattr(window, "_qt_viewer"):
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

    def _on_timer(self) -> None:
        if self._at_work:  # napari let the loop run
            return
        self._at_work = True
        done, text, left = self._shown
        title = f"{self._title}: {text}" if text else self._title
        if not self._bars:
            bar = progress(total=PARTS, desc=title)
            self._bars.append(bar)
            if not self._timer.isActive():  # it ended meanwhile
                self.end()
        for bar in self._bars[:]:
            bar.bar_format = f"|{left}"  # napari shows what stands after the last "|"
            if bar.desc.removesuffix(": ") != title:
                bar.set_description(title)
            bar.update(done - bar.n)
            bar.refresh()
        self._at_work = False
