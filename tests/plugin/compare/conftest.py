"""The Compare widget in real viewers, on discs, with methods of a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS, Segmentation, Task
from napari_metastructure.baselines.results import MethodProgress

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
def ready() -> Callable[..., None]:
    """Ticks these methods of a widget and shows these settings."""

    def make(widget: Any, methods: tuple[str, ...], **settings: Any) -> None:
        widget.methods.choose(methods)
        widget.settings.fill(CompareConfig(methods=methods, **{"device": "cpu", **settings}))

    return make


@pytest.fixture
def open_compare(make_napari_viewer, discs, end, ready) -> Iterator[Callable[..., Any]]:
    """Opens a viewer with images (a, b, ...; pixels of 0.2 x 0.1 um), their masks if asked for, and the widget.

    Without a window a test takes a third of the time: for what has nothing to do with it.
    """
    from napari_metastructure.plugin.compare import CompareWidget

    made = []

    def make(images=2, truth=True, methods=("otsu", "lc", "agt"), show=False, window=True, **settings):
        viewer = make_napari_viewer(show=show) if window else ViewerModel()
        for name, seed in zip("abcdef", range(images), strict=False):
            image, mask = discs(seed)
            viewer.add_image(image, name=name, **WHERE)
            if truth:
                viewer.add_labels(mask, name=f"{name} mask", **WHERE)
        widget = CompareWidget(viewer)
        if window:
            viewer.window.add_dock_widget(widget, name="Compare methods")
        widget.picker.choose([viewer.layers[name] for name in "abcdef"[:images]])
        ready(widget, methods, **settings)
        made.append(widget)
        return viewer, widget

    yield make
    for widget in made:
        end(widget)
        widget.deleteLater()


@pytest.fixture
def stand_in(monkeypatch) -> Callable[..., None]:
    """Puts another way to segment, `draw`, `endless` or a function, in the place of a method: one that needs a seed."""

    def put(name: str, run: str | Callable[[Task], Any]) -> None:
        run = {"draw": draw, "endless": endless}[run] if isinstance(run, str) else run
        monkeypatch.setitem(METHODS, name, replace(METHODS[name], run=run, torch=False))

    return put


@pytest.fixture
def going(qtbot) -> Callable[..., None]:
    """Waits until the method at work has told of progress."""

    def wait(widget: Any) -> None:
        told = []
        widget.runner.event_received.connect(
            lambda event: told.append(event) if isinstance(event, MethodProgress) else None
        )
        qtbot.waitUntil(lambda: bool(told), timeout=60_000)

    return wait


@pytest.fixture
def made() -> Callable[..., Any]:
    """Finds the layer of an image and a method."""
    return lambda viewer, name, method: viewer.layers[f"{name} [{METHODS[method].title}]"]
