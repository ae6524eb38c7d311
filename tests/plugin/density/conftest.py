"""The density widget in a real viewer, and densities counted pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel


@pytest.fixture
def disc() -> Callable[..., np.ndarray]:
    """Makes labels with a disc of one class on background."""

    def make(size: int = 48, radius: float = 12, label: int = 1, dtype: type = np.uint8) -> np.ndarray:
        place = np.arange(size) - (size - 1) / 2
        return ((np.hypot(place[:, None], place) < radius) * label).astype(dtype)

    return make


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
def settled(qtbot) -> Callable[..., None]:
    """Waits until a widget has drawn and measured the newest of everything."""

    def wait(widget, timeout=20_000):
        qtbot.waitUntil(lambda: not widget.busy, timeout=timeout)

    return wait


@pytest.fixture
def open_density(request, qtbot, settled):
    """Opens label layers (a, b, c) and the widget, all of them ticked, and waits for its maps.

    With ``real`` in a viewer with a window; else in a viewer's model, which is a second quicker.
    """
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
        settled(widget)
        return viewer, widget

    return make
