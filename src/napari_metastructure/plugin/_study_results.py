"""Test score and training loss by epoch, a colour per condition, growing while the study goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QTableWidgetItem, QVBoxLayout, QWidget

from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._plots import make_plot, use_theme
from napari_metastructure.plugin._tables import ResultTable, patch
from napari_metastructure.training.study_results import Condition, Predicted, RunResult, table

if TYPE_CHECKING:
    import napari

    from napari_metastructure.training.study_results import RunResult


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


# -------- A colour for each condition: shades of its family's, as in the study's figure.


DARK = {"CL": ("#ffffff", "#ffffff"), "RCL": ("#b3d4f0", "#3d8fe0"), "PCL": ("#fdc99b", "#f5701a")}

DARK |= {"RL": ("#c0e8b8", "#2fae57")}

LIGHT = {"CL": ("#000000", "#000000"), "RCL": ("#7fb6de", "#08408a"), "PCL": ("#fdae6b", "#b04303")}

LIGHT |= {"RL": ("#84cc82", "#005a2b")}
"""First and last shade of each family, on dark and light ground: CL white or black, RCL blue, PCL orange, RL green."""


def condition_colors(conditions: Iterable[Condition], dark: bool) -> dict[str, str]:
    """A colour by the name of a condition; the last of each family is its strongest."""
    families: dict[str, list[str]] = {}
    for condition in conditions:
        families.setdefault(condition.family, []).append(condition.name)
    ends = DARK if dark else LIGHT
    return {
        name: _between(*ends[family], (i + 1) / len(names)) for family, names in families.items()
        for i, name in enumerate(names)
    }  # fmt: skip


def on_dark(viewer: napari.Viewer) -> bool:
    """Whether the viewer's theme is a dark one."""
    from napari.utils.theme import get_theme

    return bool(QColor(get_theme(viewer.theme).background.as_hex()).lightnessF() < 0.5)


def _between(first: str, last: str, share: float) -> str:
    ends = [QColor(color).getRgb()[:3] for color in (first, last)]
    mixed = (round(a + (b - a) * share) for a, b in zip(*ends, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


# -------- A row per condition and network: what came out, and beside it what the noise transition matrix predicted.


CONDITION, SCORE, LOSS, RANK, LEFT, SHOWN = range(6)

HEADS = {
    "Condition": "Ticked: its curves are drawn. A selected row's curves are thicker.",
    "Test Dice": "On clean labels of images never trained on, after the last epoch: mean ± standard deviation over the "
    "repeats. Behind …: the run at work.",
    "Loss": "Training loss of the last epoch, mean over the repeats.",
    "Rank": "Predicted: rank of the noise transition matrix of so many classes. Full rank: all classes can be learnt "
    "(Theorem 2); rank 1: none can be told from another.",
    "Left": "Predicted: how much of the meta-structure is left in the noisy labels, 0 to 100 %.",
    "Labels": "Ticked: the labels it is trained on, as a layer over the image chosen below.",
}

CHECKED, UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked


class StudyTable(ResultTable):
    """All conditions of a study, with numbers as soon as there are any.

    Signals
    -------
    curves_changed, labels_changed
        Another choice of curves to draw, or of conditions whose labels are shown.
    picked : (network, condition) or None
        Another row is selected.
    """

    curves_changed = Signal()
    labels_changed = Signal()
    picked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(HEADS, CONDITION, parent)
        self._keys: list[Key] = []
        self.itemChanged.connect(self._on_ticked)
        self.itemSelectionChanged.connect(lambda: self.picked.emit(self.selected()))

    # ---- what is shown -----------------------------------------------------------------------------------

    def begin(self, networks: Sequence[str], conditions: Sequence[Condition]) -> None:
        """A row for each condition of each network, without numbers."""
        self._keys = [(network, condition.name) for network in networks for condition in conditions]
        with QSignalBlocker(self):
            self.clearContents()
            self.setRowCount(len(self._keys))
            for row, (network, condition) in enumerate(self._keys):
                name = condition if len(networks) == 1 else f"{condition} · {network}"
                for column, text in enumerate((name, "–", "–", "–", "–", "")):
                    item = QTableWidgetItem(text)
                    item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
                    if column in (SCORE, LOSS, RANK, LEFT):
                        item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
                    self.setItem(row, column, item)
                self._make_tickable(row, CONDITION, True)
                if network == networks[0]:  # the labels of all networks are the same
                    self._make_tickable(row, SHOWN, False)
        self.clearSelection()
        self._fit()

    def use_colors(self, colors: Mapping[str, str]) -> None:
        """Show each condition's colour beside its name."""
        with QSignalBlocker(self):
            for row, (_, condition) in enumerate(self._keys):
                self.item(row, CONDITION).setIcon(patch(colors[condition]))

    def show_results(self, results: Sequence[RunResult]) -> None:
        """Fill in what came out."""
        if results:
            self.horizontalHeaderItem(SCORE).setText("Test Dice" if results[0].classes == 2 else "Test mIoU")
        for line in table(results):
            key = line["network"], line["condition"]
            if key in self._keys:
                spread = "" if math.isnan(line["test_std"]) else f" ± {line['test_std']:.3f}"
                self._write(key, SCORE, f"{line['test_mean']:.3f}{spread}", f"{_runs(line)}; {_best(line)}.")
                self._write(key, LOSS, f"{line['loss_mean']:.3f}")
                self._write(key, RANK, f"{line['rank']}/{line['classes']}")
                self._write(key, LEFT, _share(line["left"]))
        self._fit()

    def show_predicted(self, key: Key, predicted: Predicted) -> None:
        """Fill in what theory says, before it is known what comes out."""
        for network, condition in self._keys:
            if condition == key[1]:
                self._write((network, condition), RANK, f"{predicted.rank}/{predicted.classes}")
                self._write((network, condition), LEFT, _share(predicted.left))

    def explain(self, condition: str, sentence: str) -> None:
        """The verdict in words, as tooltip of the whole row."""
        for row, (_, name) in enumerate(self._keys):
            if name == condition:
                for column in (CONDITION, LOSS, RANK, LEFT):
                    self.item(row, column).setToolTip(tooltip(escape(sentence)))

    def show_going(self, key: Key, score: float | None) -> None:
        """Mark the run at work, with its newest score."""
        for row, other in enumerate(self._keys):
            font = self.item(row, CONDITION).font()
            font.setBold(other == key and score is not None)
            with QSignalBlocker(self):
                self.item(row, CONDITION).setFont(font)
        text = self.text(key, SCORE)
        if score is not None and key in self._keys and (text == "–" or text.startswith("…")):
            self._write(key, SCORE, f"… {score:.3f}")

    def forget_going(self, key: Key) -> None:
        """The run at work was broken off."""
        if self.text(key, SCORE).startswith("…"):
            self._write(key, SCORE, "–")

    # ---- what is chosen -----------------------------------------------------------------------------------

    def text(self, key: Key, column: int) -> str:
        """What stands in a cell."""
        return str(self.item(self._keys.index(key), column).text()) if key in self._keys else ""

    def hidden(self) -> set[Key]:
        """Those whose curves are not to be drawn."""
        return {key for row, key in enumerate(self._keys) if self.item(row, CONDITION).checkState() != CHECKED}

    def labels_shown(self) -> list[str]:
        """Conditions whose labels are to be shown as layers."""
        found = [c for row, (_, c) in enumerate(self._keys) if self.item(row, SHOWN).checkState() == CHECKED]
        return list(dict.fromkeys(found))

    def show_labels(self, conditions: Sequence[str]) -> None:
        """Tick the labels of these conditions and of no others."""
        for row, (_, condition) in enumerate(self._keys):
            item = self.item(row, SHOWN)
            if item.flags() & Qt.ItemFlag.ItemIsUserCheckable:
                item.setCheckState(CHECKED if condition in conditions else UNCHECKED)

    def selected(self) -> Key | None:
        """The selected row, or None."""
        rows = self.selectionModel().selectedRows()
        return self._keys[rows[0].row()] if rows else None

    # ---- how -------------------------------------------------------------------------------------------------

    def _make_tickable(self, row: int, column: int, on: bool) -> None:
        item = self.item(row, column)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(CHECKED if on else UNCHECKED)

    def _write(self, key: Key, column: int, text: str, tip: str | None = None) -> None:
        item = self.item(self._keys.index(key), column)
        with QSignalBlocker(self):
            item.setText(text)
            if tip is not None:
                item.setToolTip(tooltip(tip))
        self.viewport().update()  # a blocked model tells nobody

    def _on_ticked(self, item: Any) -> None:
        if item.column() == CONDITION:
            self.curves_changed.emit()
        elif item.column() == SHOWN:
            self.labels_changed.emit()

    def _fit(self) -> None:
        """As high as its rows, so that the panel scrolls and not the table."""
        self.resizeRowsToContents()
        rows = sum(self.rowHeight(row) for row in range(self.rowCount()))
        self.setFixedHeight(rows + self.horizontalHeader().sizeHint().height() + 4)


def _runs(line: Mapping[str, Any]) -> str:
    return "1 run" if line["repeats"] == 1 else f"{line['repeats']} runs"


def _best(line: Mapping[str, Any]) -> str:
    return f"best epoch, with hindsight: {line['test_best']:.3f}"


def _share(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.0%}"
