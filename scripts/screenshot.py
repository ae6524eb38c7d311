"""Draw the documentation's pictures of the widgets from the running plugin.

xvfb-run -a -s "-screen 0 1440x900x24" python scripts/screenshot.py docs/images/widget.png
... python scripts/screenshot.py picture.png --images a.png b.png --epoch 3
... python scripts/screenshot.py docs/images/noise.png --show noise
... python scripts/screenshot.py docs/images/figure_6.png --show figure-6
... python scripts/screenshot.py docs/images/compare.png --show compare
... python scripts/screenshot.py docs/images/measure.png --show measure
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import napari
from demo import PLUGIN, WIDGET, open_demo
from napari.layers import Labels
from qtpy.QtCore import QEventLoop, Qt, QTimer

from napari_metastructure.images.files import read_image
from napari_metastructure.labels.recipes import Flip
from napari_metastructure.labels.regions import CleanUp
from napari_metastructure.plugin import samples
from napari_metastructure.training.events import EpochFinished, Event

DELAY_MS = 4000
"""Time after the epoch until the picture is taken: steps of the next one are going on then."""
SETTLE_MS = 1500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--show", choices=("igtt", "noise", "figure-6", "compare", "measure"), default="igtt")
    parser.add_argument("--images", type=Path, nargs="+", help="igtt: in place of the sample")
    parser.add_argument("--epoch", type=int, default=1, help="igtt: take it when this epoch is done")
    options = parser.parse_args()
    viewer = napari.Viewer()
    viewer.window.resize(1440, 860)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    if options.show == "igtt":
        show_run(viewer, options.picture, options.images, options.epoch)
    elif options.show == "noise":
        show_noise(viewer, options.picture)
    elif options.show == "compare":
        show_compare(viewer, options.picture)
    elif options.show == "measure":
        show_measure(viewer, options.picture)
    else:
        show_figure_6(viewer, options.picture)
    print(options.picture)
    viewer.close()


def show_run(viewer: napari.Viewer, picture: Path, images: list[Path] | None, epoch: int) -> None:
    """Take the iGTT widget in the middle of a run."""
    if images:
        viewer.open([str(path) for path in images])
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    else:
        widget = open_demo(viewer)
    widget.settings.fill(widget.settings.config(rounds="always", epochs=99, stop_agreement=1))
    loop = QEventLoop()

    def take() -> None:
        shoot(viewer, picture)
        widget.stop()

    def heard(event: Event) -> None:
        if isinstance(event, EpochFinished) and event.epoch == epoch:
            QTimer.singleShot(DELAY_MS, take)

    widget.runner.event_received.connect(heard)
    widget.finished.connect(loop.quit)
    if not widget.start():
        sys.exit("The run did not start; the message above says why.")
    loop.exec()


def show_noise(viewer: napari.Viewer, picture: Path) -> None:
    """Take the label noise widget with its preview."""
    labels = add_mitochondria(viewer)
    _, noise = viewer.window.add_plugin_dock_widget(PLUGIN, "Label noise (RCL, PCL, RL)")
    noise.set_source(labels)
    noise.set_recipe(Flip(fraction=0.45))
    wait(noise.previewed)
    viewer.reset_view()
    shoot(viewer, picture)


def show_compare(viewer: napari.Viewer, picture: Path) -> None:
    """Take the widget that compares methods, with ground truth, when all are done."""
    add_mitochondria(viewer)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Compare methods")
    widget.settings.fill(widget.settings.config(widget.methods.chosen()).model_copy(update={"repeats": 1}))
    if not widget.start():
        sys.exit("The comparison did not start; the message above says why.")
    wait(widget.finished)
    widget.table.select("igtt")
    viewer.reset_view()
    settle(SETTLE_MS)
    shoot(viewer, picture)


def show_measure(viewer: napari.Viewer, picture: Path) -> None:
    """Take the widget that cleans up and measures, with the largest object selected."""
    labels = add_mitochondria(viewer)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Clean up and measure")
    viewer.reset_view()
    widget.set_source(labels)
    widget.set_dials(CleanUp(smallest_object=20, smallest_hole=20))
    widget.apply()
    wait(widget.finished)
    widget.measure()
    wait(widget.finished)
    widget.view.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    widget.view.selectRow(0)
    settle(SETTLE_MS)
    shoot(viewer, picture)


def add_mitochondria(viewer: napari.Viewer) -> Labels:
    """Return the sample and its mask; the mask's layer."""
    (image, attributes, _) = samples.mitochondria()[0]
    layer = viewer.add_image(image, **attributes)
    mask = read_image(Path(attributes["metadata"]["mask"])).data
    return viewer.add_labels(
        (mask > 0).astype(int), name=f"{layer.name} mask", scale=attributes["scale"], units=attributes["units"]
    )


def show_figure_6(viewer: napari.Viewer, picture: Path) -> None:
    """Take the paper's Figure 6, opened by the density widget's button."""
    _, density = viewer.window.add_plugin_dock_widget(PLUGIN, "Meta-structure density")
    density.show_figure_6()
    wait(density.measured)
    viewer.reset_view()  # the canvas has got narrower since
    shoot(viewer, picture)


def wait(signal: Any) -> None:
    """Until a signal comes, and a moment for the window to be drawn."""
    loop = QEventLoop()
    signal.connect(loop.quit)
    loop.exec()
    signal.disconnect(loop.quit)
    settle(SETTLE_MS)


def settle(milliseconds: int) -> None:
    """Let the window be drawn."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def shoot(viewer: napari.Viewer, picture: Path) -> None:
    """Take the whole window."""
    viewer.screenshot(str(picture), canvas_only=False, flash=False)


if __name__ == "__main__":
    main()
