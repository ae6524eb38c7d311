"""Tests of the plugin: they need a display, and the Qt binding that was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

os.environ["NAPARI_CONFIG"] = ""  # before napari reads it: its settings, and those of its user, are left as they are

import napari
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from npe2 import PluginManager

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
def end(qtbot) -> Callable[..., None]:
    """Stops a widget's run, if there is one."""

    def stop(widget):
        widget.stop()
        qtbot.waitUntil(lambda: not widget.running, timeout=20_000)

    return stop


@pytest.fixture
def said() -> Callable[[], list[str]]:
    """What napari's notifications said in this test."""
    notification_manager.records.clear()
    return lambda: [record.message for record in notification_manager.records]


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
        qtbot.waitUntil(lambda: not any(widget.busy for widget in widgets), timeout=20_000)

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
