"""Tests of the plugin: they need a display, and the Qt binding that was asked for."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

os.environ["NAPARI_CONFIG"] = ""  # before napari reads it: its settings, and those of its user, are left as they are

import napari
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from npe2 import PluginManager
from pytestqt.qtbot import QtBot

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS, Segmentation, Task
from napari_metastructure.baselines.results import MethodProgress
from napari_metastructure.labels.recipes import Random, Sample
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.study_results import Condition, StudyConfig

# Waiting ends by what is waited for; a busy machine may take long, and only what hangs is given up.
QtBot.waitUntil.__kwdefaults__["timeout"] = QtBot.waitSignal.__kwdefaults__["timeout"] = 60_000

NEED_A_DISPLAY = {"qapp", "qtbot", "make_napari_viewer", "make_napari_viewer_proxy"}


def _has_display() -> bool:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in names)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a display Qt would end the whole process; skip instead. `make test` brings a display."""
    if _has_display():
        return
    skip = pytest.mark.skip(reason="needs a display; run by xvfb-run, as `make test` does")
    for item in items:
        if NEED_A_DISPLAY & set(getattr(item, "fixturenames", ())):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _garbage_between_tests() -> Iterator[None]:
    """Collect garbage after tests and where napari asks for it, not while Qt is deleting something.

    Dozens of windows are closed in one process here. Collecting them by chance within a call that Qt makes as it
    deletes another ended one run of the suite in a segmentation fault.
    """
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _manifests_once() -> Iterator[None]:
    """Read the manifests of the installed plugins once: napari would read them with every viewer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManager, "discover", cache(PluginManager.discover))
        yield


# ---- the widget in a real viewer, with settings that make a run a matter of a second -----------------------


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """Settings of a small, quick run."""
    return {
        "epochs": 2,
        "steps_per_epoch": 3,
        "batch_size": 1,
        "base_channels": 4,
        "patch_size": 64,
        "objects": "bright",
        "stop_agreement": 1.0,
        "device": "cpu",
    }


@pytest.fixture(scope="session")
def blobs() -> Callable[..., np.ndarray]:
    """Makes an image of bright blobs."""

    def make(seed: int = 0, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: shape[0], : shape[1]]
        image = rng.normal(100, 5, shape)
        for cy, cx in rng.uniform(8, 56, (4, 2)):
            image += 120 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 40)
        return image.astype(np.uint16)

    return make


@pytest.fixture(scope="session")
def discs() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Makes an image with bright discs, and their mask of 0 and 255."""

    def make(seed: int = 0, shape: tuple[int, int] = (64, 64)) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: shape[0], : shape[1]]
        mask = np.zeros(shape, bool)
        for cy, cx in rng.uniform(8, 56, (4, 2)):
            mask |= (y - cy) ** 2 + (x - cx) ** 2 < 60
        return (rng.normal(100, 8, shape) + 60 * mask).astype(np.float32), mask.astype(np.uint8) * 255

    return make


@pytest.fixture
def place(qapp) -> Iterator[Callable[..., None]]:
    """Docks a widget in its viewer's window, if it has one; if not, deletes it after the test.

    `qtbot.addWidget` would delete it before the fixtures that end its run.
    """
    alone = []

    def put(viewer, widget, name):
        if isinstance(viewer, napari.Viewer):
            viewer.window.add_dock_widget(widget, name=name)
        else:
            alone.append(widget)

    yield put
    for widget in alone:
        widget.deleteLater()


@pytest.fixture
def open_widget(make_napari_viewer, place, end, tiny) -> Iterator[Callable[..., Any]]:
    """Opens a viewer with images (layers a, b, c; pixels of 0.2 x 0.1 um) and the widget, ready for a tiny run.

    Without a window, which takes most of a second, unless it is asked for: then the widget is docked in it.
    """
    from napari_metastructure.igtt.config import IGTTConfig
    from napari_metastructure.plugin.igtt import IGTTWidget

    notification_manager.records.clear()
    made = []

    def make(*images, config=(), window=False, show=False):
        viewer = make_napari_viewer(show=show) if window or show else ViewerModel()
        for number, image in enumerate(images):
            scale = (1,) * (image.ndim - 2) + (0.2, 0.1)
            viewer.add_image(image, name="abc"[number], scale=scale, units=("um",) * image.ndim)
        widget = IGTTWidget(viewer)
        place(viewer, widget, "iGTT")
        widget.picker.choose(list(viewer.layers))
        widget.settings.fill(IGTTConfig(**{**tiny, **dict(config)}))
        made.append(widget)
        return viewer, widget

    yield make
    for widget in made:
        end(widget)


@pytest.fixture
def posted() -> Callable[[Any, type], list[Any]]:
    """Collects the events of a kind that a widget's job posts from now on, also once its window is closed."""

    def collect(widget, kind):
        run, found = widget.runner._run, []
        put = run.post
        run.post = lambda event: (put(event), isinstance(event, kind) and found.append(event))
        return found

    return collect


@pytest.fixture(scope="session")
def labelled() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Makes an image of bright discs and its labels (of ``classes`` kinds)."""

    def make(seed: int = 0, shape: tuple[int, int] = (64, 64), classes: int = 2):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: shape[0], : shape[1]]
        image, labels = rng.normal(100, 8, shape), np.zeros(shape, np.uint8)
        for number in range(4):
            disc = (y - rng.uniform(8, shape[0] - 8)) ** 2 + (x - rng.uniform(8, shape[1] - 8)) ** 2 < 60
            kind = 1 + number % (classes - 1)
            image[disc] += 60 * kind
            labels[disc] = kind
        return image.astype(np.float32), labels

    return make


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Settings of a small, quick run."""
    return {
        "epochs": 2,
        "steps_per_epoch": 4,
        "batch_size": 2,
        "base_channels": 4,
        "patch_size": 64,
        "device": "cpu",
        "learning_rate": 2e-2,
    }


@pytest.fixture
def open_train(make_napari_viewer, place, end, small) -> Iterator[Callable[..., Any]]:
    """Opens a viewer with pairs (layers "a" and "a mask", "b" and "b mask", ...) and the widget.

    Without a window, which takes most of a second, unless it is asked for: then the widget is docked in it.
    """
    from napari_metastructure.plugin.train import TrainWidget
    from napari_metastructure.training.config import TrainConfig

    notification_manager.records.clear()
    made = []

    def make(*pairs, config=(), window=False, show=False):
        viewer = make_napari_viewer(show=show) if window or show else ViewerModel()
        for name, (image, labels) in zip("abcdefgh", pairs, strict=False):
            where = {"scale": (1,) * (labels.ndim - 2) + (0.2, 0.1), "units": ("um",) * labels.ndim}
            viewer.add_image(image, name=name, **where)
            viewer.add_labels(labels, name=f"{name} mask", **where)
        widget = TrainWidget(viewer)
        place(viewer, widget, "Train")
        widget.settings.fill(TrainConfig(**{**small, **dict(config)}))
        made.append(widget)
        return viewer, widget

    yield make
    for widget in made:
        end(widget)


@pytest.fixture
def run(qtbot) -> Callable[..., None]:
    """Starts a widget's run and waits for its end."""

    def go(widget, start=None):
        with qtbot.waitSignal(widget.finished, timeout=60_000):
            assert (start or widget.start)()

    return go


@pytest.fixture
def pause(qtbot, hold) -> Callable[..., None]:
    """Pauses a widget's run, and waits until its thread stands still and all that it said is shown."""

    def go(widget):
        held, runner = hold(widget.runner.control), widget.runner
        widget.pause()
        qtbot.waitUntil(held.is_set, timeout=60_000)
        qtbot.waitUntil(lambda: not runner._run.events and runner._steps is None, timeout=60_000)

    return go


@pytest.fixture
def end(qtbot) -> Callable[..., None]:
    """Stops a widget's run, if there is one."""

    def stop(widget):
        widget.stop()
        qtbot.waitUntil(lambda: not widget.running, timeout=60_000)

    return stop


@pytest.fixture
def said() -> Callable[[], list[str]]:
    """What napari's notifications said in this test."""
    notification_manager.records.clear()
    return lambda: [record.message for record in notification_manager.records]


# ---- a noise study on discs, with trainings of a moment ----------------------------------------------------------


THREE = (
    Condition(name="CL"),
    Condition(name="kept", recipe=Sample(keep=0.3)),
    Condition(name="RL", recipe=Random(probability=0.5)),
)


@pytest.fixture(scope="session")
def three_conditions() -> tuple[Condition, ...]:
    """CL, RCL and RL."""
    return THREE


@pytest.fixture
def study_config() -> Callable[..., StudyConfig]:
    """Settings of a study whose runs take a fraction of a second."""

    def make(conditions=THREE, repeats=1, networks=("light-unet",), **training) -> StudyConfig:
        small = {"epochs": 2, "steps_per_epoch": 6, "batch_size": 2, "base_channels": 4, "patch_size": 64}
        train = TrainConfig(**{**small, "device": "cpu", "learning_rate": 2e-2, **training})
        return StudyConfig(conditions=conditions, repeats=repeats, networks=networks, train=train)

    return make


@pytest.fixture
def open_with_masks(make_napari_viewer, discs) -> Callable[..., Any]:
    """Opens a viewer with images (a, b, c, ...; pixels of 0.2 x 0.1 um) and their masks; without a window if wanted."""

    def make(images=4, window=True, show=False):
        viewer = make_napari_viewer(show=show) if window or show else ViewerModel()
        for name, seed in zip("abcdef", range(images), strict=False):
            image, mask = discs(seed)
            where = {"scale": (0.2, 0.1), "units": ("um", "um")}
            viewer.add_image(image, name=name, **where)
            viewer.add_labels(mask, name=f"{name} mask", **where)
        return viewer

    return make


@pytest.fixture
def open_study(open_with_masks, place, end, study_config) -> Iterator[Callable[..., Any]]:
    """Opens such a viewer and the widget, ready to run.

    Without a window, which takes most of a second, unless it is asked for: then the widget is docked in it.
    """
    from napari_metastructure.plugin.study import StudyWidget

    made = []

    def make(images=4, settings=None, window=False, show=False):
        viewer = open_with_masks(images, window, show)
        widget = StudyWidget(viewer)
        place(viewer, widget, "Noise study")
        settings = settings or study_config()
        widget.settings.fill(settings)
        widget.conditions.choose(settings.conditions)
        made.append(widget)
        return viewer, widget

    yield make
    for widget in made:
        end(widget)


# ---- a comparison on discs, with methods of a moment ------------------------------------------------------------


WHERE = {"scale": (0.2, 0.1), "units": ("um", "um"), "translate": (3, 5), "axis_labels": ("y", "x")}


def draw(task: Task) -> Any:
    """A mask that only the seed tells: bright pixels of noise."""
    yield 0.5
    found = []
    for number, plane in enumerate(task.planes):
        score = np.random.default_rng((task.seed, number)).random(plane.shape).astype(np.float32)
        found.append(Segmentation(score > 0.5, score))
    return found


def endless(task: Task) -> Any:
    """Goes on until it is stopped."""
    step = 0
    while True:
        task.control.checkpoint()
        time.sleep(0.01)
        step += 1
        yield 1 - 1 / (1 + step / 100)


@pytest.fixture
def choose_methods() -> Callable[..., None]:
    """Ticks these methods of a widget and shows these settings."""

    def make(widget: Any, methods: tuple[str, ...], **settings: Any) -> None:
        widget.methods.choose(methods)
        widget.settings.fill(CompareConfig(methods=methods, **{"device": "cpu", **settings}))

    return make


@pytest.fixture
def open_compare(make_napari_viewer, place, discs, end, choose_methods) -> Iterator[Callable[..., Any]]:
    """Opens a viewer with images (a, b, ...; pixels of 0.2 x 0.1 um), their masks if asked for, and the widget.

    Without a window, which takes most of a second, unless it is asked for: then the widget is docked in it.
    """
    from napari_metastructure.plugin.compare import CompareWidget

    made = []

    def make(images=2, truth=True, methods=("otsu", "lc", "agt"), show=False, window=False, **settings):
        viewer = make_napari_viewer(show=show) if window or show else ViewerModel()
        for name, seed in zip("abcdef", range(images), strict=False):
            image, mask = discs(seed)
            viewer.add_image(image, name=name, **WHERE)
            if truth:
                viewer.add_labels(mask, name=f"{name} mask", **WHERE)
        widget = CompareWidget(viewer)
        place(viewer, widget, "Compare methods")
        widget.picker.choose([viewer.layers[name] for name in "abcdef"[:images]])
        choose_methods(widget, methods, **settings)
        made.append(widget)
        return viewer, widget

    yield make
    for widget in made:
        end(widget)


@pytest.fixture
def stand_in(monkeypatch) -> Callable[..., None]:
    """Puts another way to segment, `draw`, `endless` or a function, in the place of a method: one that needs a seed."""

    def put(name: str, run: str | Callable[[Task], Any]) -> None:
        run = {"draw": draw, "endless": endless}[run] if isinstance(run, str) else run
        monkeypatch.setitem(METHODS, name, replace(METHODS[name], run=run, torch=False))

    return put


@pytest.fixture
def wait_for_progress(qtbot) -> Callable[..., None]:
    """Waits until the method at work has told of progress."""

    def wait(widget: Any) -> None:
        told = []
        widget.runner.event_received.connect(
            lambda event: told.append(event) if isinstance(event, MethodProgress) else None
        )
        qtbot.waitUntil(lambda: bool(told), timeout=60_000)

    return wait


@pytest.fixture
def mask_of() -> Callable[..., Any]:
    """Finds the layer of an image and a method."""
    return lambda viewer, name, method: viewer.layers[f"{name} [{METHODS[method].title}]"]


# ---- the noise and the density widget, over small labels ---------------------------------------------------


@pytest.fixture
def disc() -> Callable[..., np.ndarray]:
    """Makes labels with a disc of one class on background."""

    def make(size: int = 48, radius: float = 12, label: int = 1) -> np.ndarray:
        place = np.arange(size) - (size - 1) / 2
        return ((np.hypot(place[:, None], place) < radius) * label).astype(np.uint8)

    return make


@pytest.fixture
def mask(disc) -> np.ndarray:
    """(48, 48): a disc of 1 on 0."""
    return disc(radius=14)


@pytest.fixture
def stack(disc) -> np.ndarray:
    """(4, 48, 48): discs of 1 that grow from plane to plane."""
    return np.stack([disc(radius=r) for r in (6, 10, 14, 18)])


@pytest.fixture
def counted() -> Callable[..., np.ndarray]:
    """The box density of eq. (8), by counting neighbours one by one."""

    def count(points: np.ndarray, by: float, bx: float | None = None) -> np.ndarray:
        bx = by if bx is None else bx
        ys, xs = np.nonzero(points)
        y, x = np.mgrid[: points.shape[0], : points.shape[1]]
        result = np.zeros(points.shape)
        for py, px in zip(ys, xs, strict=True):
            result += ((y - py) / by) ** 2 + ((x - px) / bx) ** 2 < 1
        return result / (len(ys) * np.pi * by * bx)

    return count


@pytest.fixture
def settle(qtbot) -> Callable[..., None]:
    """Waits until all that widgets have under way is done."""

    def wait(*widgets: Any) -> None:
        qtbot.wait(1)
        qtbot.waitUntil(lambda: not any(widget.busy for widget in widgets), timeout=60_000)

    return wait


@pytest.fixture
def open_noise(request, qtbot, settle) -> Iterator[Callable[..., Any]]:
    """Opens a viewer with a Labels layer "cells" and the widget; viewer, layer and widget.

    Without a window, which takes seconds, unless ``window`` is asked for: then the widget is docked in it.
    """
    made = []

    def make(labels=None, reading="foreground", *, window=False, show=False, **attributes):
        from napari.components import ViewerModel

        from napari_metastructure.plugin.noise import NoiseWidget

        viewer = request.getfixturevalue("make_napari_viewer")(show=show) if window else ViewerModel()
        layer = None if labels is None else viewer.add_labels(labels, name="cells", **attributes)
        widget = NoiseWidget(viewer)
        widget.live.pause.setTimeout(1)  # tests do not wait for a dial to stand still
        if window:
            viewer.window.add_dock_widget(widget, name="noise")
        else:
            qtbot.addWidget(widget)
        made.append(widget)
        viewer.dims.set_point(range(viewer.dims.ndim - 2), [0] * (viewer.dims.ndim - 2))
        if layer is not None:
            assert widget.set_source(layer, reading)
        settle(widget)
        return viewer, layer, widget

    yield make
    for widget in made:
        try:
            widget.cancel()
            settle(widget)
        except RuntimeError:  # the test deleted it
            pass


@pytest.fixture
def open_density(request, qtbot, settle):
    """Opens label layers (a, b, c) and the widget, all of them ticked, and waits for its maps.

    With ``real`` in a viewer with a window; else in a viewer's model, which is a second quicker.
    """
    from napari.components import ViewerModel

    from napari_metastructure.plugin.density import DensityWidget

    def make(*labels, real=False, tick=True, **attributes):
        viewer = request.getfixturevalue("make_napari_viewer")() if real else ViewerModel()
        layers = [viewer.add_labels(pixels, name="abc"[i], **attributes) for i, pixels in enumerate(labels)]
        widget = DensityWidget(viewer)
        if real:
            viewer.window.add_dock_widget(widget, name="Density")
        else:
            qtbot.addWidget(widget)
        if tick:
            assert widget.choose(layers)
        settle(widget)
        return viewer, widget

    return make


@pytest.fixture(autouse=True)
def _own_paces(monkeypatch, tmp_path):
    """Paces that probes found are forgotten with the test, and those of this computer's user stay as they are."""
    from napari_metastructure.plugin import _estimate

    monkeypatch.setattr(_estimate, "_file", lambda: tmp_path / "cache" / "pace.json")
    monkeypatch.setattr(_estimate, "_paces", {})
