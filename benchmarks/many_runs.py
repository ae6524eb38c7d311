"""Start and stop a small run many times in one window, and print what stays: memory, threads and layers.

    xvfb-run -a -s "-screen 0 1440x900x24" env QT_API=pyqt6 python benchmarks/many_runs.py [--runs 200]

Memory is that of the whole process, after each run's layers were removed. What grows by a like amount in each line
is lost; the first runs fill caches.
"""

import argparse
import gc
import os

os.environ.setdefault("NAPARI_CONFIG", "")  # leave the user's settings alone

import napari
import numpy as np
import psutil
from qtpy import API_NAME
from qtpy.QtCore import QTimer
from smoothness import wait

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.simulate import nuclei
from napari_metastructure.plugin.igtt import IGTTWidget


def main() -> None:
    """Run, and print a line now and then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--lines", type=int, default=10, help="how many lines to print")
    options = parser.parse_args()
    viewer, process = napari.Viewer(), psutil.Process()
    viewer.add_image(nuclei((64, 64), np.random.default_rng(0))[0], name="field")
    widget = IGTTWidget(viewer)
    viewer.window.add_dock_widget(widget, name="iGTT")
    widget.settings.fill(
        IGTTConfig(
            epochs=1000, steps_per_epoch=2, batch_size=1, base_channels=4, patch_size=64, stop_agreement=1, device="cpu"
        )
    )
    print(f"{API_NAME}, {options.runs} runs\n{'run':>5}{'MB':>8}{'threads':>9}{'timers':>8}{'layers':>8}", flush=True)
    for number in range(1, options.runs + 1):
        assert widget.start()
        if number % 3:  # some are stopped before their first mask
            wait(lambda: bool(widget.layers and widget.layers.epochs))
        widget.stop()
        wait(lambda: not widget.running)
        assert widget.failure is None, widget.failure
        for layer in list(viewer.layers)[1:]:
            viewer.layers.remove(layer)
        if number == 1 or number % max(options.runs // options.lines, 1) == 0:
            gc.collect()
            wait(lambda: True)
            timers = len(widget.findChildren(QTimer))
            size = process.memory_info().rss / 2**20
            print(f"{number:>5}{size:>8.0f}{process.num_threads():>9}{timers:>8}{len(viewer.layers):>8}", flush=True)
    viewer.close()


if __name__ == "__main__":
    main()
