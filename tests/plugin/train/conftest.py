"""The Train widget in a real viewer, with settings that make a run a matter of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager

SCALE = (0.2, 0.1)


@pytest.fixture(scope="session")
def discs() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
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
            where = {"scale": (1,) * (labels.ndim - 2) + SCALE, "units": ("um",) * labels.ndim}
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
