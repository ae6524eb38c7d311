"""Draw the documentation's pictures of the widgets from the running plugin, on the simulated samples.

xvfb-run -a -s "-screen 0 1440x1000x24" python scripts/screenshot.py docs/images
... python scripts/screenshot.py docs/images igtt noise      # these alone
... python scripts/screenshot.py FOLDER igtt --images a.png b.png --epoch 3
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ["NAPARI_CONFIG"] = ""  # widgets open with their defaults, and the user's settings are left alone

import napari
import numpy as np
from demo import PLUGIN, WIDGET, open_demo, settle
from napari.layers import Image, Labels
from PIL import Image as Picture
from qtpy.QtCore import QEventLoop, Qt

from napari_metastructure.images.files import read_image
from napari_metastructure.images.simulate import mitochondria, nuclei
from napari_metastructure.labels.recipes import Flip
from napari_metastructure.labels.regions import CleanUp
from napari_metastructure.networks.model import FILE
from napari_metastructure.plugin import samples
from napari_metastructure.plugin._painting import BACKGROUND
from napari_metastructure.training.events import EpochFinished, Event, TrainEpoch
from napari_metastructure.training.study_results import CONDITIONS

DELAY_MS = 4000
"""Time after the epoch until the picture is taken: steps of the next one are going on then."""

SETTLE_MS = 1500

SIZE = (1440, 960)

SMALL = {"steps_per_epoch": 20, "base_channels": 8, "patch_size": 128}
"""Settings of trainings that are over in seconds."""

TOUCHING = (((17, 58), (30, 74)), ((51, 232), (41, 254)), ((114, 185), (132, 195)))
"""Where nuclei of the sample touch: ends of strokes between them, (y, x)."""

Shots = Iterator[str]
"""A function opens a widget, and yields the name of a picture whenever the window shows it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("shows", nargs="*", help=f"default: all of {', '.join(SHOWS)}")
    parser.add_argument("--images", type=Path, nargs="+", help="igtt: in place of the sample")
    parser.add_argument("--epoch", type=int, default=3, help="igtt: take it when this epoch is done")
    options = parser.parse_args()
    if unknown := set(options.shows) - set(SHOWS):
        sys.exit(f"There is no {', '.join(sorted(unknown))}; choose of {', '.join(SHOWS)}.")
    options.folder.mkdir(parents=True, exist_ok=True)
    for show in options.shows or SHOWS:
        viewer = napari.Viewer()
        viewer.window.resize(*SIZE)
        shots = show_run(viewer, options.images, options.epoch) if show == "igtt" else SHOWS[show](viewer)
        for name in shots:
            print(shoot(viewer, options.folder / f"{name}.png"), flush=True)
        viewer.close()


# ---- one function a widget ------------------------------------------------------------------------------------


def show_run(viewer: napari.Viewer, images: list[Path] | None = None, epoch: int = 3) -> Shots:
    """Show the iGTT widget in the middle of a run."""
    if images:
        viewer.open([str(path) for path in images])
        widget = dock(viewer, WIDGET)
    else:
        widget = open_demo(viewer)
    widget.settings.fill(widget.settings.config(rounds="always", epochs=20, stop_agreement=1))
    started(widget)
    wait_for(widget, lambda event: isinstance(event, EpochFinished) and event.epoch == epoch)
    settle(DELAY_MS)
    yield "igtt"
    widget.stop()
    wait(widget.finished)


def show_first_steps(viewer: napari.Viewer) -> Shots:
    """Show a sample and the widget, then its first masks."""
    widget = open_demo(viewer)
    show_estimate(widget)
    yield "first_steps_open"
    started(widget)
    wait(widget.finished)
    settle(SETTLE_MS)
    yield "first_steps_mask"


def show_tutorial(viewer: napari.Viewer) -> Shots:
    """Show the way from masks in which nuclei touch to the final mask, by strokes of background."""
    viewer.open_sample(PLUGIN, "nuclei")
    widget = dock(viewer, WIDGET)
    show_estimate(widget)
    yield "tutorial_open"
    started(widget)
    wait(widget.finished)
    settle(SETTLE_MS)
    yield "tutorial_masks"
    paint(viewer, widget, TOUCHING)
    settle(SETTLE_MS)
    while widget.answer.busy:
        settle(SETTLE_MS)
    yield "tutorial_paint"
    widget.continue_from_edits()
    wait(widget.finished)
    widget.use_epoch()
    settle(SETTLE_MS)
    yield "tutorial_final"


def show_train(viewer: napari.Viewer) -> Shots:
    """Show the Train widget, with an image that is watched, after some epochs."""
    add_simulated(viewer, mitochondria)
    widget = dock(viewer, "Train (U-Net, DeepLabv3+, HRNet)")
    widget.settings.fill(widget.settings.config(epochs=20, **SMALL))
    started(widget)
    wait_for(widget, lambda event: isinstance(event, TrainEpoch) and event.epoch == 8)
    settle(SETTLE_MS)
    yield "train"
    widget.stop()
    wait(widget.finished)


def show_predict(viewer: napari.Viewer) -> Shots:
    """Show the Predict widget, with the labels and the probability that a model of iGTT gave."""
    with tempfile.TemporaryDirectory() as folder:
        image, _ = add_sample(viewer, samples.nuclei)
        igtt = dock(viewer, WIDGET)
        igtt.folder.set(Path(folder) / "run")
        started(igtt)
        wait(igtt.finished)
        viewer.window.remove_dock_widget(igtt)
        for layer in [layer for layer in viewer.layers if layer is not image]:
            viewer.layers.remove(layer)
        viewer.layers.selection.active = image
        widget = dock(viewer, "Predict (apply a saved model)")
        widget.choose_model(Path(folder) / "run" / FILE)
        settle(SETTLE_MS)
        started(widget)
        wait(widget.finished)
        viewer.reset_view()
        settle(SETTLE_MS)
        yield "predict"


def show_noise(viewer: napari.Viewer) -> Shots:
    """Show the label noise widget with its preview."""
    _, labels = add_sample(viewer, samples.mitochondria)
    noise = dock(viewer, "Label noise (RCL, PCL, RL)")
    noise.set_source(labels)
    noise.set_recipe(Flip(fraction=0.45))
    wait(noise.previewed)
    viewer.reset_view()
    settle(SETTLE_MS)
    yield "noise"


def show_density(viewer: napari.Viewer) -> Shots:
    """Show the density of labels and of the same labels with noise, then the paper's Figure 6."""
    _, clean = add_sample(viewer, samples.nuclei)
    rng = np.random.default_rng(0)
    flipped = np.where(rng.random(clean.data.shape) < 0.3, 1 - clean.data, clean.data)
    noisy = viewer.add_labels(flipped, name="30 % flipped", scale=clean.scale, units=clean.units)
    density = dock(viewer, "Meta-structure density")
    density.choose([clean, noisy])
    density.choose_reference(clean)
    density.set(side_by_side=True, one_scale=False)
    wait(density.measured)
    viewer.reset_view()
    settle(SETTLE_MS)
    yield "density"
    viewer.layers.clear()
    density.show_figure_6()
    wait(density.measured)
    viewer.reset_view()  # the canvas has got narrower since
    settle(SETTLE_MS)
    yield "figure_6"


def show_study(viewer: napari.Viewer) -> Shots:
    """Show the noise study: what it is asked, then its curves and table."""
    add_simulated(viewer, nuclei)
    widget = dock(viewer, "Noise study")
    names = ("CL", "RCL flipping 0.45", "PCL skeleton", "RL 0.5")
    widget.conditions.choose(condition for condition in CONDITIONS.values() if condition.name in names)
    config = widget.settings.config(widget.conditions.conditions())
    train = config.train.model_copy(update={"epochs": 6, **SMALL, "steps_per_epoch": 10, "patch_size": 64})
    widget.settings.fill(config.model_copy(update={"repeats": 1, "train": train}))
    settle(SETTLE_MS)
    yield "study"
    started(widget)
    wait(widget.finished)
    for layer in viewer.layers:
        layer.visible = not layer.name.endswith("mask")
    widget.show_labels(["RCL flipping 0.45"])
    settle(SETTLE_MS)
    yield "study_results"


def show_measure(viewer: napari.Viewer) -> Shots:
    """Show the widget that cleans up and measures, with the largest object selected."""
    _, labels = add_sample(viewer, samples.mitochondria)
    widget = dock(viewer, "Clean up and measure")
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
    yield "measure"


def show_compare(viewer: napari.Viewer) -> Shots:
    """Show the widget that compares methods, with ground truth, when all are done."""
    add_sample(viewer, samples.mitochondria)
    widget = dock(viewer, "Compare methods")
    widget.settings.fill(widget.settings.config(widget.methods.chosen()).model_copy(update={"repeats": 1}))
    started(widget)
    wait(widget.finished)
    widget.table.select("igtt")
    viewer.reset_view()
    settle(SETTLE_MS)
    yield "compare"


SHOWS: dict[str, Callable[[napari.Viewer], Shots]] = {
    "igtt": show_run,
    "first_steps": show_first_steps,
    "tutorial": show_tutorial,
    "train": show_train,
    "predict": show_predict,
    "noise": show_noise,
    "density": show_density,
    "measure": show_measure,
    "study": show_study,
    "compare": show_compare,
}


# ---- what they share ----------------------------------------------------------------------------------------


def dock(viewer: napari.Viewer, name: str) -> Any:
    """Open a widget as the menu does."""
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


def add_sample(viewer: napari.Viewer, sample: Callable[[], list[Any]]) -> tuple[Image, Labels]:
    """Open a sample and its mask."""
    (image, attributes, _) = sample()[0]
    layer = viewer.add_image(image, **attributes)
    mask = read_image(Path(attributes["metadata"]["mask"])).data
    look = {key: attributes[key] for key in ("scale", "units", "axis_labels")}
    return layer, viewer.add_labels((mask > 0).astype(int), name=f"{layer.name} mask", **look)


def add_simulated(viewer: napari.Viewer, draw: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    """Open four simulated images and their masks."""
    for number in range(1, 5):
        image, mask = draw((256, 256), np.random.default_rng(number))
        look: dict[str, Any] = {"scale": (0.1, 0.1), "units": ("um", "um")}
        viewer.add_image(image, name=f"cell {number}", **look)
        viewer.add_labels((mask > 0).astype(int), name=f"cell {number} mask", **look)


def paint(viewer: napari.Viewer, widget: Any, strokes: Iterable[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    """Paint strokes of background with the widget's brush, as a user would."""
    widget.take_brush(BACKGROUND)
    layer: Any = viewer.layers.selection.active
    layer.brush_size = 3
    front = [int(i) for i in viewer.dims.current_step[: layer.ndim - 2]]
    for start, stop in strokes:
        with layer.block_history():
            for y, x in np.linspace(start, stop, 40).round().astype(int):
                layer.paint((*front, int(y), int(x)), layer.selected_label)


def started(widget: Any) -> None:
    """Press Run."""
    if not widget.start():
        sys.exit("The run did not start; the message above says why.")


def show_estimate(widget: Any) -> None:
    """Wait until the widget says how long a run takes, which it may know at once."""
    while not widget.progress.eta.text():
        settle(SETTLE_MS)


def wait_for(widget: Any, wanted: Callable[[Event], bool]) -> None:
    """Until a job has sent a certain event."""
    loop = QEventLoop()

    def heard(event: Event) -> None:
        if wanted(event):
            loop.quit()

    widget.runner.event_received.connect(heard)
    widget.finished.connect(loop.quit)
    loop.exec()
    widget.runner.event_received.disconnect(heard)
    widget.finished.disconnect(loop.quit)


def wait(signal: Any) -> None:
    """Until a signal comes."""
    loop = QEventLoop()
    signal.connect(loop.quit)
    loop.exec()
    signal.disconnect(loop.quit)


def shoot(viewer: napari.Viewer, path: Path) -> Path:
    """Take the whole window, in 256 colours: a third of the bytes, and the eye sees no difference."""
    pixels = viewer.screenshot(canvas_only=False, flash=False)
    Picture.fromarray(pixels).convert("RGB").quantize(256, dither=Picture.Dither.NONE).save(path, optimize=True)
    return path


if __name__ == "__main__":
    main()
