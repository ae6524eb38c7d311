"""Test score and training loss by epoch, a colour per condition, growing while the study goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_metastructure.plugin.plots import make_plot, use_theme

if TYPE_CHECKING:
    import napari

    from napari_metastructure.training.study.results import RunResult

Key = tuple[str, str]
"""Network and condition."""

STYLES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine)
"""One per network."""

HOW = (
    "A colour per condition: <b>CL</b> black or white, <b>RCL</b> blue, <b>PCL</b> orange, <b>RL</b> green, as in the "
    "table below; of several networks each has its own dashes. Thick: the mean over the repeats that are done, the "
    "band one standard deviation; thin: the run at work."
)


class StudyCurves(QWidget):
    """Two plots in the colours of napari's theme; each condition of each network is a `_Curve` in both."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.score = make_plot("Test Dice", f"Agreement with clean labels of images never trained on. {HOW}", 190)
        self.loss = make_plot("Training loss", f"Mean loss of each epoch, on the labels trained on. {HOW}", 130)
        self.curves: dict[Key, tuple[_Curve, _Curve]] = {}
        self._hidden: set[Key] = set()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for plot in (self.score, self.loss):
            layout.addWidget(plot)
        self.use_theme()

    def begin(self, networks: Sequence[str], conditions: Sequence[str], epochs: int) -> None:
        """Make room for a study; its colours come by `use_colors`."""
        for plot in (self.score, self.loss):
            plot.clear()
            plot.setXRange(1, max(epochs, 2))
        self.score.setYRange(0, 1)
        self._hidden = set()
        self.curves = {
            (network, condition): (
                _Curve(self.score, STYLES[number % len(STYLES)]),
                _Curve(self.loss, STYLES[number % len(STYLES)]),
            )
            for number, network in enumerate(networks)
            for condition in conditions
        }

    def use_colors(self, colors: Mapping[str, str]) -> None:
        """Draw every condition in its colour."""
        for (_, condition), pair in self.curves.items():
            for curve in pair:
                curve.use_color(colors[condition])

    def name_score(self, classes: int) -> None:
        """Say what the score is."""
        self.score.setTitle("Test Dice" if classes == 2 else "Test mIoU", size="8pt")
        use_theme(self.viewer, [self.score])

    def show_runs(self, key: Key, done: Sequence[RunResult], going: tuple[Sequence[float], Sequence[float]]) -> None:
        """Draw a condition: the runs that are done, and scores and losses of the one at work so far."""
        if key not in self.curves:  # of an earlier study in the folder, not asked for now
            return
        score, loss = self.curves[key]
        score.show([run.test for run in done], going[0])
        loss.show([run.loss for run in done], going[1])
        self._fit()

    def show_only(self, hidden: set[Key]) -> None:
        """Hide these curves and show all others."""
        self._hidden = hidden
        for key, pair in self.curves.items():
            for curve in pair:
                curve.set_visible(key not in hidden)
        self._fit()

    def emphasise(self, key: Key | None) -> None:
        """Draw one condition thicker than the others, or none."""
        for other, pair in self.curves.items():
            for curve in pair:
                curve.emphasise(other == key)

    def use_theme(self) -> None:
        """Take on the colours of the viewer's theme."""
        use_theme(self.viewer, (self.score, self.loss))

    def _fit(self) -> None:
        """From 0 to the highest loss in sight; scores keep 0 to 1."""
        tops = [loss.top for key, (_, loss) in self.curves.items() if key not in self._hidden]
        self.loss.setYRange(0, max([top for top in tops if np.isfinite(top)], default=1.0) or 1.0)


class _Curve:
    """The runs of one condition in one plot: mean, band of one standard deviation, and the run at work."""

    def __init__(self, plot: pg.PlotWidget, style: Any) -> None:
        self.style = style
        self.color = "#808080"
        self.width = 2
        self.top = 0.0
        self.low, self.high = pg.PlotCurveItem(), pg.PlotCurveItem()
        self.band = pg.FillBetweenItem(self.low, self.high)
        self.mean, self.going = pg.PlotDataItem(connect="finite"), pg.PlotDataItem(connect="finite")
        self.band.setZValue(-1)
        for item in (self.low, self.high):
            item.setPen(None)
        for item in (self.low, self.high, self.band, self.going, self.mean):
            plot.addItem(item)

    def show(self, done: Sequence[Sequence[float]], going: Sequence[float]) -> None:
        """Draw runs that are done, and one at work; a run that is the first is drawn as thick as a mean."""
        first = not done
        values = _common([going] if first and len(going) else done)
        mean = values.mean(0)
        spread = values.std(0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
        x = np.arange(1, len(mean) + 1)
        self.mean.setData(x, mean, **_mark(len(mean) == 1, self.color))
        self.low.setData(x, mean - spread)
        self.high.setData(x, mean + spread)
        self.band.setVisible(len(values) > 1 and self.mean.isVisible())
        now = np.asarray([] if first else going, float)
        self.going.setData(np.arange(1, len(now) + 1), now, **_mark(len(now) == 1, self.color))
        self.top = float(np.nanmax([0.0, *(mean + spread), *now]))

    def set_visible(self, shown: bool) -> None:
        """Show or hide all of it."""
        for item in (self.mean, self.going):
            item.setVisible(shown)
        high = self.high.getData()[1]
        self.band.setVisible(shown and high is not None and bool(np.any(high != self.low.getData()[1])))

    def use_color(self, color: str) -> None:
        """Draw it in a colour."""
        self.color = color
        self._pen()

    def emphasise(self, on: bool) -> None:
        """Thicker, or as the others."""
        self.width = 4 if on else 2
        self._pen()

    def _pen(self) -> None:
        self.mean.setPen(pg.mkPen(self.color, width=self.width, style=self.style))
        self.going.setPen(pg.mkPen(self.color, width=1, style=self.style))
        for item in (self.mean, self.going):
            item.setSymbolBrush(self.color)
        fill = pg.mkColor(self.color)
        fill.setAlpha(45)
        self.band.setBrush(pg.mkBrush(fill))


def _common(runs: Sequence[Sequence[float]]) -> np.ndarray:
    """(runs, epochs) values, as far as all of them go."""
    epochs = min((len(run) for run in runs), default=0)
    return np.array([run[:epochs] for run in runs], float).reshape(max(len(runs), 1), epochs)


def _mark(on: bool, color: str) -> dict[str, Any]:
    """A single epoch is no line yet: a dot."""
    return {"symbol": "o" if on else None, "symbolSize": 5, "symbolBrush": color, "symbolPen": None}
