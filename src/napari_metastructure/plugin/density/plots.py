"""Histograms of densities by true class, and densities along a line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.label_colors import class_color
from napari_metastructure.plugin.plots import make_plot, use_theme

if TYPE_CHECKING:
    import napari

    from napari_metastructure.plugin.density.humps import Humps
    from napari_metastructure.plugin.density.line import Profile

MOST = 6
"""Histograms drawn; more would not be read."""

LINES = ("#00d0ff", "#ff8c42", "#b07cff", "#7bd66b", "#ff6fae", "#d8c34a")

TIP = (
    "How often each density occurs among the pixels of each true class. Two humps apart: the classes can still be "
    "told from the label (rank 2). One hump: they are fused (rank 1). 1 is the density of pixels spread evenly; each "
    "class is drawn up to its own highest bin, and dashed at its mean."
)


class HistogramPlots(QWidget):
    """A small histogram per map, one filled curve per true class."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        self.legend.setToolTip(tooltip(TIP))
        self.plots: list[pg.PlotWidget] = []
        self.shown: tuple[Humps, ...] = ()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self._column.addWidget(self.legend)
        self.show_humps(())

    def show_humps(self, humps: Sequence[Humps]) -> None:
        """Draw these histograms."""
        self.shown = tuple(humps)
        drawn = self.shown[:MOST]
        while len(self.plots) < len(drawn):
            plot = make_plot("", TIP, height=84)
            self.plots.append(plot)
            self._column.addWidget(plot)
            plot.hideAxis("left")
            use_theme(self.viewer, [plot])
        for number, plot in enumerate(self.plots):
            plot.setVisible(number < len(drawn))
            if number < len(drawn):
                _draw_humps(plot, drawn[number])
        classes = sorted({c for hump in drawn for c in hump.classes})
        legend = "&nbsp; ".join(f'<span style="color:{class_color(c)}">■</span> class {c}' for c in classes)
        more = f" &nbsp;(and {len(self.shown) - MOST} more maps)" if len(self.shown) > MOST else ""
        self.legend.setText(f"True classes: {legend}{more}" if classes else "No map to count yet.")

    def use_theme(self) -> None:
        """Take on the colours of the viewer's theme."""
        use_theme(self.viewer, self.plots)


class ProfilePlot(QWidget):
    """Each map along the line drawn last."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.shown: tuple[Profile, ...] = ()
        self.plot = make_plot(
            "",
            "The density of each map along the line drawn last. 1 is the density of pixels spread evenly.",
            height=100,
        )
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.legend)
        column.addWidget(self.plot)
        self.show_profiles((), "")
        self.use_theme()

    def show_profiles(self, profiles: Sequence[Profile], unit: str) -> None:
        """Draw these profiles over distance in a unit."""
        self.shown = tuple(profiles)
        self.plot.clear()
        names = []
        for shown, color in zip(self.shown, cycle(LINES)):
            self.plot.plot(shown.distance, shown.density, pen=pg.mkPen(color, width=2), connect="finite")
            names.append(f'<span style="color:{color}">■</span> {shown.name}')
        tops = [np.nanmax(shown.density) for shown in self.shown if np.isfinite(shown.density).any()]
        self.plot.setYRange(0, max([1.0, *tops]))
        self.plot.setTitle(f"Density over distance ({unit})" if names else "", size="8pt")
        self.plot.setVisible(bool(names))
        self.legend.setText("&nbsp; ".join(names) or "Draw a line over the labels or a map.")

    def use_theme(self) -> None:
        """Take on the colours of the viewer's theme."""
        use_theme(self.viewer, [self.plot])


def _draw_humps(plot: pg.PlotWidget, humps: Humps) -> None:
    plot.clear()
    plot.setTitle(humps.name, size="8pt")
    for label, shares, mean in zip(humps.classes, humps.shares, humps.means, strict=True):
        color = pg.mkColor(class_color(label))
        fill = pg.mkColor(color)
        fill.setAlpha(90)
        plot.plot(
            humps.edges, shares / shares.max(), stepMode="center", pen=pg.mkPen(color, width=2), fillLevel=0, brush=fill
        )
        plot.addItem(pg.InfiniteLine(mean, angle=90, pen=pg.mkPen(color, style=Qt.PenStyle.DashLine)))
