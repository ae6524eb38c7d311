"""The study widget in real viewers, on discs, with trainings of a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from napari.components import ViewerModel

from napari_metastructure.labels.recipes import Random, Sample
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.study_results import Condition, StudyConfig

THREE = (
    Condition(name="CL"),
    Condition(name="kept", recipe=Sample(keep=0.3)),
    Condition(name="RL", recipe=Random(probability=0.5)),
)


@pytest.fixture(scope="session")
def conditions() -> tuple[Condition, ...]:
    """CL, RCL and RL."""
    return THREE


@pytest.fixture
def config() -> Callable[..., StudyConfig]:
    """Settings of a study whose runs take a fraction of a second."""

    def make(conditions=THREE, repeats=1, networks=("light-unet",), **training) -> StudyConfig:
        small = {"epochs": 2, "steps_per_epoch": 6, "batch_size": 2, "base_channels": 4, "patch_size": 64}
        train = TrainConfig(**{**small, "device": "cpu", "learning_rate": 2e-2, **training})
        return StudyConfig(conditions=conditions, repeats=repeats, networks=networks, train=train)

    return make


@pytest.fixture
def open_viewer(make_napari_viewer, discs) -> Callable[..., Any]:
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
def open_study(open_viewer, place, end, config) -> Iterator[Callable[..., Any]]:
    """Opens such a viewer and the widget, ready to run.

    Without a window, which takes most of a second, unless it is asked for: then the widget is docked in it.
    """
    from napari_metastructure.plugin.study import StudyWidget

    made = []

    def make(images=4, settings=None, window=False, show=False):
        viewer = open_viewer(images, window, show)
        widget = StudyWidget(viewer)
        place(viewer, widget, "Noise study")
        ready(widget, settings or config())
        made.append(widget)
        return viewer, widget

    yield make
    for widget in made:
        end(widget)


def ready(widget: Any, settings: StudyConfig) -> None:
    """Show these settings."""
    widget.settings.fill(settings)
    widget.conditions.choose(settings.conditions)
