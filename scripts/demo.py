"""Open napari on the simulated endoplasmic reticulum with the iGTT widget docked and ready.

``--record FOLDER`` runs by itself: the widget runs for a few epochs, then the mask, the run folder
and a screenshot are written there.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QEventLoop, QTimer

from napari_metastructure.training.events import EpochFinished, Event

PLUGIN = "napari-metastructure"
WIDGET = "iGTT (segment without labels)"
STEPS = 15
TIMEOUT = 10 * 60  # seconds


def open_demo(viewer: napari.Viewer) -> Any:
    """Open the sample and dock the widget, both as the menus do; nothing runs yet."""
    viewer.title = "napari-metastructure demo"
    viewer.open_sample(PLUGIN, "er")
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    return widget


def record(folder: Path, epochs: int) -> None:
    """Run the widget on the sample and write what came of it."""
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    viewer = napari.Viewer()
    viewer.window.resize(1440, 860)
    widget = open_demo(viewer)
    # Fewer steps than the default: a demonstration in a minute or two without a GPU, not the best mask.
    widget.settings.fill(widget.settings.config(epochs=epochs, steps_per_epoch=STEPS, rounds="always"))
    run_folder = _unused(folder / "run")
    widget.folder.set(run_folder)
    print(f"Running {epochs} epochs on {[layer.name for layer in widget.picker.chosen()]} ...", flush=True)

    loop = QEventLoop()
    widget.finished.connect(loop.quit)
    widget.runner.event_received.connect(_say)
    QTimer.singleShot(TIMEOUT * 1000, loop.quit)
    if not widget.start():
        sys.exit("The run did not start; the message above says why.")
    loop.exec()
    if widget.running or widget.result is None:
        widget.stop()
        sys.exit(f"The run failed: {widget.failure or f'not finished after {TIMEOUT} s'}")
    print(widget.result.reason)

    masks = widget.save_mask(folder / "er_mask.tif")
    picture = folder / "screenshot.png"
    viewer.screenshot(str(picture), canvas_only=False, flash=False)
    for what, path in (("mask", masks[0]), ("run folder", run_folder), ("screenshot", picture)):
        print(f"{what}: {path}")
    viewer.close()


def _say(event: Event) -> None:
    if isinstance(event, EpochFinished):
        print(f"epoch {event.epoch}: {event.foreground:.1%} foreground, {event.seconds:.0f} s", flush=True)


def _unused(folder: Path) -> Path:
    """Return the folder, or a numbered one beside it, so that no earlier run is written over."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def settle(milliseconds: int) -> None:
    """Let the window be drawn."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="run by itself and write the results there")
    parser.add_argument("--epochs", type=int, default=3, help="how many epochs --record runs (default: 3)")
    options = parser.parse_args()
    if options.record:
        record(options.record, options.epochs)
    else:
        open_demo(napari.Viewer())
        napari.run()


if __name__ == "__main__":
    main()
