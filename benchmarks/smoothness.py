"""How smooth the window stays during a run of iGTT, with the widget and without, in turns and in one process.

    xvfb-run -a -s "-screen 0 1440x900x24" python benchmarks/smoothness.py [--images 1] [--side 64] [--canvas]

Numbers of two machines say nothing about each other, the ratios of one run do: a timer in Qt's loop ticks every 2 ms
while the same run goes on in a thread, first without any widget, then with it on screen (napari's canvas too, with
--canvas, which a software renderer draws slowly). A move of napari's slider by hand is the measure of what is smooth.
"""

import argparse
import os
import threading
import time
from statistics import median

os.environ.setdefault("NAPARI_CONFIG", "")  # leave the user's settings alone

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.images.simulate import nuclei
from napari_metastructure.plugin._worker import torch_beside_a_window
from napari_metastructure.plugin.igtt import IGTTWidget

LONG = 0.05
"""Seconds from which a gap between ticks is felt."""


class Pulse:
    """A timer in Qt's loop: how long the loop was held between its ticks, and how long the main thread worked."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.work: list[float] = []
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._last = time.perf_counter(), time.thread_time()
        self._timer.start(2)

    def stop(self) -> None:
        self._timer.stop()
        self._tick()

    @property
    def held(self) -> float:
        """Share of the time that lies in gaps that are too long."""
        gaps = np.array(self.gaps)
        return float(gaps[gaps > LONG].sum() / gaps.sum())

    def _tick(self) -> None:
        now = time.perf_counter(), time.thread_time()
        self.gaps.append(now[0] - self._last[0])
        self.work.append(now[1] - self._last[1])
        self._last = now


def wait(done) -> None:
    """Let Qt's loop run until ``done()``."""
    loop, timer = QEventLoop(), QTimer()
    timer.timeout.connect(lambda: loop.quit() if done() else None)
    timer.start(10)
    loop.exec()


def without(images: list[np.ndarray], config: IGTTConfig) -> Pulse:
    thread = threading.Thread(target=lambda: list(iterate(images, config)))
    pulse = Pulse()
    thread.start()
    wait(lambda: not thread.is_alive())
    pulse.stop()
    return pulse


def with_widget(viewer: napari.Viewer, widget: IGTTWidget, count: int) -> tuple[Pulse, float]:
    """Run the widget; what the timer saw once its layers were open, and the longest work of its handlers."""
    del viewer.layers[count:]
    ready = threading.Event()
    widget.runner.event_received.connect(ready.set)
    assert widget.start()
    wait(ready.is_set)  # napari takes longer to make and draw a layer; the run waits for that reason
    pulse = Pulse()
    wait(lambda: not widget.running)
    pulse.stop()
    widget.runner.event_received.disconnect(ready.set)
    if widget.failure is not None:
        raise SystemExit(str(widget.failure))
    return pulse, widget.runner.longest_work


def slider(viewer: napari.Viewer, moves: int = 20) -> float:
    """Work of the main thread in one move of the slider, in seconds."""
    spent = []
    for move in range(moves):
        QApplication.processEvents()
        begin = time.thread_time()
        viewer.dims.set_point(0, move % 2)
        spent.append(time.thread_time() - begin)
    return median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--side", type=int, default=64, help="pixels along each side of an image")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--canvas", action="store_true", help="show napari's window too")
    options = parser.parse_args()

    fields = [nuclei((options.side, options.side), np.random.default_rng(seed))[0] for seed in range(options.images)]
    config = IGTTConfig(
        epochs=options.epochs, steps_per_epoch=3, batch_size=1, base_channels=4, patch_size=64, objects="bright",
        stop_agreement=1.0, device="cpu",
    )  # fmt: skip
    viewer = napari.Viewer(show=options.canvas)
    torch_beside_a_window()
    for number, field in enumerate(fields):
        viewer.add_image(field, name=f"field {number}")
    widget = IGTTWidget(viewer)
    if options.canvas:
        viewer.window.add_dock_widget(widget)
    widget.show()
    widget.settings.fill(config)
    widget.picker.choose(list(viewer.layers))
    widget.results.probability.setChecked(True)
    with_widget(viewer, widget, options.images)  # what is made once is made

    idle, runs, handlers = [], [], []
    for _ in range(options.runs):
        idle.append(without(fields, config))
        pulse, longest = with_widget(viewer, widget, options.images)
        runs.append(pulse)
        handlers.append(longest)
    move = slider(viewer)

    print(
        f"{options.images} x {options.side} x {options.side} pixels, {options.epochs} epochs, {options.runs} runs each"
    )
    print(f"{'':44}{'without':>9}{'widget':>9}{'ratio':>8}")
    rows = (
        ("seconds of a run", lambda p: sum(p.gaps), "{:.2f}"),
        (f"share of it in gaps over {1e3 * LONG:.0f} ms", lambda p: p.held, "{:.0%}"),
        ("longest gap, ms", lambda p: 1e3 * max(p.gaps), "{:.0f}"),
        ("work of the main thread, share of a run", lambda p: sum(p.work) / sum(p.gaps), "{:.0%}"),
        ("its longest piece, ms", lambda p: 1e3 * max(p.work), "{:.1f}"),
    )
    for name, number, text in rows:
        a, b = median(map(number, idle)), median(map(number, runs))
        ratio = f"{b / a:.2f}" if a else "–"
        print(f"{name:44}{text.format(a):>9}{text.format(b):>9}{ratio:>8}")
    longest = median(handlers)
    print(f"longest piece of work of our handlers        {1e3 * longest:.1f} ms")
    print(f"one move of the slider by hand               {1e3 * move:.1f} ms")
    print(f"ratio                                        {longest / move:.2f}")
    viewer.close()


if __name__ == "__main__":
    main()
