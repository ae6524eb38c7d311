"""Walk through the whole story on an image, with the mouse, in a real window: pictures, and the longest stalls.

xvfb-run -a -s "-screen 0 1440x900x24" env QT_API=pyqt6 python scripts/story.py cells.tif story/ --size 1280x720

Open, try on what is seen, run, paint, continue, use, clean up and measure, save, film, and a folder by the saved model.
A timer in Qt's loop ticks every few milliseconds; a thread notes how long it was held between two ticks and what the
main thread was at then. Seconds of one machine say nothing about another.
"""

import argparse
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("NAPARI_CONFIG", "")  # leave the user's settings alone

import napari
from demo import PLUGIN, WIDGET, settle
from qtpy.QtCore import QEventLoop, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget, QFileDialog, QLineEdit, QScrollArea, QWidget
from superqt import QCollapsible

TICK_MS = 5
LONG = 0.05
"""Seconds from which a stall is looked into."""
OURS = "napari_metastructure"
TIMEOUT = 600
LEFT = Qt.MouseButton.LeftButton


class Heartbeat:
    """How long Qt's loop was held at most, how long the main thread worked in one turn, and at what."""

    def __init__(self) -> None:
        self.longest = self.work = 0.0
        self.where = ""
        self._on = False
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._last = time.perf_counter(), time.thread_time()
        self._main = threading.get_ident()
        self._seen: list[str] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def start(self) -> None:
        """Count from now on."""
        self.longest, self.work, self.where, self._seen = 0.0, 0.0, "", []
        self._last = time.perf_counter(), time.thread_time()
        self._on = True
        self._timer.start(TICK_MS)

    def stop(self) -> None:
        """Count no more."""
        self._on = False
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter(), time.thread_time()
        held, work = (after - before for after, before in zip(now, self._last, strict=True))
        self.longest = max(self.longest, held - TICK_MS / 1000)
        if work > self.work:
            self.work, self.where = work, max(set(self._seen), key=self._seen.count, default="")
        self._last, self._seen = now, []

    def _watch(self) -> None:
        """Look what the main thread is at while the loop is held."""
        while True:
            time.sleep(TICK_MS / 1000)
            if self._on and time.perf_counter() - self._last[0] > LONG / 2:
                if (frame := sys._current_frames().get(self._main)) is None:
                    return
                stack = traceback.extract_stack(frame)
                ours = [f for f in stack if OURS in f.filename]
                inner = [f for f in stack if "/site-packages/" in f.filename][-1:]
                named = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in (*ours[-1:], *inner)]
                self._seen.append(" > ".join(named))


class Story:
    """A window, a pulse, and numbered pictures."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.viewer = napari.Viewer(show=False)
        self.viewer.window.show()
        settle(500)
        self.viewer.window._qt_window.setGeometry(0, 0, width, height)
        self.pulse = Heartbeat()
        self.steps: list[tuple[str, float, float, str]] = []
        settle(1500)

    def step(self, name: str, act: Callable[[], Any], until: Callable[[], bool] = lambda: True) -> None:
        """Do something, wait until it is done, and take a picture."""
        self.pulse.start()
        act()
        wait(until, name)
        settle(600)
        self.pulse.stop()
        self.steps.append((name, self.pulse.longest, self.pulse.work, self.pulse.where))
        picture = self.folder / f"{len(self.steps):02}_{name.replace(' ', '_')}.png"
        window = self.viewer.window._qt_window  # from the screen: napari's fading notes cannot be drawn twice at once
        window.screen().grabWindow(0, window.x(), window.y(), window.width(), window.height()).save(str(picture))

    def table(self) -> str:
        """Return the steps, as lines."""
        rows = [f"{name:<16}{1000 * held:7.0f}{1000 * work:7.0f}  {where}" for name, held, work, where in self.steps]
        return "\n".join(("step            held ms   work  most of it", *rows))


def wait(done: Callable[[], bool], name: str) -> None:
    """Let Qt's loop run until ``done()``."""
    loop, timer, end = QEventLoop(), QTimer(), time.monotonic() + TIMEOUT
    timer.timeout.connect(lambda: loop.quit() if done() or time.monotonic() > end else None)
    timer.start(20)
    loop.exec()
    if not done():
        sys.exit(f"{name} was not done after {TIMEOUT} s")


def click(widget: QWidget) -> None:
    """Click a button as a user would: scrolled to, in its middle."""
    part = widget.parentWidget()
    while part is not None and not isinstance(part, QScrollArea):
        part = part.parentWidget()
    if isinstance(part, QScrollArea):
        part.ensureWidgetVisible(widget)
    if not widget.isVisible() or not widget.isEnabled():
        sys.exit(f"{getattr(widget, 'text', lambda: widget)()} cannot be clicked")
    QTest.mouseClick(widget, LEFT)


def type_into(widget: QWidget, text: str) -> None:
    """Replace what stands in a box."""
    line = widget if isinstance(widget, QLineEdit) else widget.findChild(QLineEdit)
    line.selectAll()
    QTest.keyClicks(line, text)
    QTest.keyClick(line, Qt.Key.Key_Return)


def zoom(viewer: napari.Viewer, notches: int) -> None:
    """Turn the wheel over the middle of the canvas."""
    canvas = viewer.window._qt_viewer.canvas.native
    middle = QPointF(canvas.rect().center())
    for _ in range(abs(notches)):
        none, turn = QPoint(0, 0), QPoint(0, 120 if notches > 0 else -120)
        where = middle, QPointF(canvas.mapToGlobal(middle.toPoint())), none, turn
        how = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False
        QApplication.sendEvent(canvas, QWheelEvent(*where, *how))
        settle(30)


def stroke(viewer: napari.Viewer, *points: tuple[float, float]) -> None:
    """Draw with the left button over the canvas, through points given as shares of its size."""
    canvas = viewer.window._qt_viewer.canvas.native
    places = [QPoint(int(x * canvas.width()), int(y * canvas.height())) for x, y in points]
    QTest.mouseMove(canvas, places[0])
    QTest.mousePress(canvas, LEFT, pos=places[0])
    for start, end in pairwise(places):
        for share in range(1, 11):
            QTest.mouseMove(canvas, start + (end - start) * share / 10)
            settle(15)
    QTest.mouseRelease(canvas, LEFT, pos=places[-1])


def answer_dialog(path: Path) -> None:
    """Type a name into the file dialog that is about to open."""

    def answer() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QFileDialog):
            QTimer.singleShot(100, answer)
            return
        type_into(dialog.findChild(QLineEdit), str(path))

    QTimer.singleShot(300, answer)


def tell(story: Story, image: Path) -> None:
    viewer, folder = story.viewer, story.folder
    widgets: dict[str, Any] = {}

    def dock(name: str) -> None:
        widgets[name] = viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]

    story.step("open image", lambda: viewer.open(str(image)))
    story.step("open widget", lambda: dock(WIDGET), lambda: bool(widgets[WIDGET].progress.eta.text()))
    widget = widgets[WIDGET]
    epochs = widget.settings.main.editors["epochs"].widget
    story.step("two epochs", lambda: type_into(epochs, "2"), lambda: bool(widget.progress.eta.text()))
    # else what was painted is answered at once, and there is no training to pause
    story.step("train once painted", lambda: widget.settings.fill(widget.settings.config(rounds="painted")))
    story.step("zoom in", lambda: zoom(viewer, 6))
    story.step("try", lambda: click(widget.try_button), lambda: not widget.running and widget.result is not None)
    story.step("zoom out", viewer.reset_view)
    story.step("run", lambda: click(widget.buttons.run), lambda: not widget.running and widget.result is not None)

    def paint() -> None:
        buttons = list(widget.results.brushes.buttons.values())
        click(buttons[0])
        stroke(viewer, (0.35, 0.4), (0.5, 0.5), (0.55, 0.42))
        click(buttons[1])
        stroke(viewer, (0.3, 0.7), (0.6, 0.72))

    story.step("paint", paint)
    story.step("continue", lambda: click(widget.results.edits_button), lambda: bool(widget.curves.rounds))
    story.step("pause", lambda: click(widget.buttons.pause))
    story.step("resume", lambda: click(widget.buttons.resume), lambda: not widget.running)
    story.step("use", lambda: click(widget.results.use_button))
    story.step("outlines", lambda: click(widget.results.outlines))
    saved = folder / "mask.tif"

    def save() -> None:
        answer_dialog(saved)
        widget.results.save_button.menu().actions()[0].trigger()

    story.step("save", save, saved.exists)
    film = folder / "epochs.gif"
    story.step("film", lambda: widget.save_film(film), film.exists)
    measure(story, dock, widgets)
    batch(story, widget, image)


def measure(story: Story, dock: Callable[[str], None], widgets: dict[str, Any]) -> None:
    """Clean up the final mask, and measure its objects."""
    name = "Clean up and measure"
    story.step("open measure", lambda: dock(name), lambda: not widgets[name].busy)
    widget = widgets[name]
    story.step("smallest object", lambda: type_into(widget.smallest_object, "50"), lambda: not widget.busy)
    story.step("clean up", lambda: click(widget.apply_button), lambda: not widget.busy)
    story.step("measure", lambda: click(widget.measure_button), lambda: widget.table is not None and not widget.busy)


def batch(story: Story, widget: Any, image: Path) -> None:
    """Do a folder of copies of the image."""
    inputs, panel = story.folder / "in", widget.batch
    inputs.mkdir(exist_ok=True)
    for number in range(2):
        shutil.copy(image, inputs / f"{number}_{image.name}")

    def open_section() -> None:
        docks = story.viewer.window._qt_window.findChildren(QDockWidget)
        next(d for d in docks if d.isAncestorOf(widget)).raise_()
        settle(200)
        section = panel
        while not isinstance(section, QCollapsible):
            section = section.parentWidget()
        click(section.toggleButton())
        for part, path in ((panel.inputs, inputs), (panel.out, story.folder / "out")):
            type_into(part.line, str(path))

    story.step("choose folder", open_section)
    story.step("batch", lambda: click(panel.buttons.run), lambda: not panel.running and panel.result is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("folder", type=Path, help="a new one, for the pictures and the files")
    parser.add_argument("--size", default="1440x900", metavar="WIDTHxHEIGHT")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    if options.folder.exists() and any(options.folder.iterdir()):
        sys.exit(f"{options.folder} is not empty; name a new folder.")
    story = Story(options.folder.resolve(), width, height)
    try:
        tell(story, options.image.resolve())
    finally:
        text = f"{os.environ.get('QT_API', 'Qt')}, {options.size}\n{story.table()}\n"
        (story.folder / "stalls.txt").write_text(text, encoding="utf-8")
        print(text)
    story.viewer.close()


if __name__ == "__main__":
    main()
