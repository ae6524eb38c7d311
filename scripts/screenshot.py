"""Draw the documentation's picture of the widget from the running plugin, in the middle of a run.

xvfb-run -a -s "-screen 0 1440x900x24" python scripts/screenshot.py docs/images/widget.png
... python scripts/screenshot.py picture.png --images a.png b.png --epoch 3
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import napari
from demo import PLUGIN, WIDGET, open_demo
from qtpy.QtCore import QEventLoop, QTimer

from napari_metastructure.training.events import EpochFinished, Event

DELAY_MS = 4000
"""Time after the epoch until the picture is taken: steps of the next one are going on then."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--images", type=Path, nargs="+", help="in place of the sample")
    parser.add_argument("--epoch", type=int, default=2, help="take it when this epoch is done")
    options = parser.parse_args()
    viewer = napari.Viewer()
    viewer.window.resize(1440, 860)
    if options.images:
        viewer.open([str(path) for path in options.images])
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    else:
        widget = open_demo(viewer)
    loop = QEventLoop()

    def take() -> None:
        options.picture.parent.mkdir(parents=True, exist_ok=True)
        viewer.screenshot(str(options.picture), canvas_only=False, flash=False)
        print(options.picture)
        widget.stop()

    def heard(event: Event) -> None:
        if isinstance(event, EpochFinished) and event.epoch == options.epoch:
            QTimer.singleShot(DELAY_MS, take)

    widget.runner.told.connect(heard)
    widget.finished.connect(loop.quit)
    if not widget.start():
        sys.exit("The run did not start; the message above says why.")
    loop.exec()
    viewer.close()


if __name__ == "__main__":
    main()
