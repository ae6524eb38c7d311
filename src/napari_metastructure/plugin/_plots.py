"""Small plots that look alike, in the colours of napari's theme."""

from collections.abc import Iterable
from typing import Any

import napari
import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt

from napari_metastructure.plugin._form import tooltip

HEIGHT = 108

MOST = 2000
"""Points of a curve that are drawn."""


def make_plot(title: str, tip: str, height: int = HEIGHT) -> pg.PlotWidget:
    """Make an empty plot of fixed height without a menu; its title stands in a line of its own."""
    plot = pg.PlotWidget(title=title)
    plot.setFixedHeight(height)
    plot.setMinimumWidth(60)
    plot.setToolTip(tooltip(tip, title))
    plot.setMenuEnabled(False)
    plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # there is nothing to type
    plot.hideButtons()
    plot.setMouseEnabled(x=False, y=False)  # the wheel scrolls the panel, not the plot
    plot.showGrid(x=True, y=True, alpha=0.15)
    plot.getPlotItem().titleLabel.setMaximumHeight(16)
    plot.getPlotItem().layout.setRowFixedHeight(0, 16)
    for side in ("left", "bottom"):
        plot.getAxis(side).setStyle(tickLength=3, maxTickLevel=0)
    return plot


def use_theme(viewer: napari.Viewer, plots: Iterable[pg.PlotWidget]) -> None:
    """Give plots the colours of the viewer's theme; call it again when ``viewer.events.theme`` tells of another."""
    from napari.utils.theme import get_theme

    theme = get_theme(viewer.theme)
    text, ground = theme.text.as_hex(), theme.background.as_hex()
    for plot in plots:
        plot.setBackground(ground)
        for side in ("left", "bottom"):
            plot.getAxis(side).setPen(text)
            plot.getAxis(side).setTextPen(text)
        plot.getPlotItem().titleLabel.setText(plot.getPlotItem().titleLabel.text, color=text, size="8pt")


def dots(color: str) -> dict[str, Any]:
    """Arguments of ``plot`` that mark every point."""
    return {"symbol": "o", "symbolSize": 5, "symbolBrush": color, "symbolPen": None}


def faint(color: str) -> tuple[int, int, int, int]:
    """Return the colour for what stands behind."""
    return (*pg.mkColor(color).getRgb()[:3], 90)


def thin_out(x: list[float], y: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST` points, so that a long run draws as fast as a short one."""
    stride = max(1, -(-len(x) // MOST))
    return np.asarray(x[::stride]), np.asarray(y[::stride])
