"""The label noise widget in a real viewer, over small labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_metastructure.plugin.noise import NoiseWidget


def disc(size: int = 48, radius: float = 14, label: int = 1) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.where(np.hypot(y - size / 2, x - size / 2) < radius, label, 0).astype(np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    """(48, 48): a disc of 1 on 0."""
    return disc()


@pytest.fixture
def stack() -> np.ndarray:
    """(4, 48, 48): discs of 1 that grow from plane to plane."""
    return np.stack([disc(radius=r) for r in (6, 10, 14, 18)])


@pytest.fixture
def settle(qtbot) -> Callable[[NoiseWidget], None]:
    """Waits until all that a widget has under way is done."""

    def wait(widget: NoiseWidget) -> None:
        qtbot.wait(1)
        qtbot.waitUntil(lambda: not widget.busy, timeout=20_000)

    return wait


@pytest.fixture
def open_noise(request, qtbot, settle) -> Iterator[Callable[..., Any]]:
    """Opens a viewer with a Labels layer "cells" and the widget; viewer, layer and widget.

    Without a window, which takes seconds, unless ``window`` is asked for: then the widget is docked in it.
    """
    made = []

    def make(labels=None, reading="foreground", *, window=False, show=False, **attributes):
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
