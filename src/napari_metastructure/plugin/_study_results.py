"""Results of a noise study: curves and a table by condition, and noisy labels as layers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import napari
import numpy as np
import pyqtgraph as pg
from napari.layers import Layer
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget

from napari_metastructure import __version__
from napari_metastructure.errors import counted
from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._inputs import column
from napari_metastructure.plugin._layer_order import stay_on
from napari_metastructure.plugin._layers import ORIGIN, VisiblePlane, class_colormap, colors_as_read
from napari_metastructure.plugin._plots import make_plot, use_theme
from napari_metastructure.plugin._tables import NOTHING, ResultTable, fit_rows, patch
from napari_metastructure.plugin._worker import LatestOnly
from napari_metastructure.training.pairs import Pair
from napari_metastructure.training.study_results import Condition, Predicted, RunResult, table

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Network and condition."""

STYLES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine)
"""One per network."""

# ---- curves ----------------------------------------------------------------------------------------------

HOW = (
    "A colour per condition: <b>CL</b> black or white, <b>RCL</b> blue, <b>PCL</b> orange, <b>RL</b> green, as in the "
    "table below; of several networks each has its own dashes. Thick: the mean over the repeats that are done, the "
    "band one standard deviation; thin: the current run."
)


class StudyCurves(QWidget):
    """Test score and training loss by epoch, growing while the study runs: a `_Curve` in each plot per condition."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.score = make_plot("Test Dice", f"Agreement with clean labels of images never trained on. {HOW}", 190)
        self.loss = make_plot("Training loss", f"Mean loss of each epoch, on the labels trained on. {HOW}", 130)
        self.curves: dict[Key, tuple[_Curve, _Curve]] = {}
        self._hidden: set[Key] = set()
        column(self.score, self.loss, into=self)
        self.use_theme()

    def begin(self, networks: Sequence[str], conditions: Sequence[str], epochs: int) -> None:
        """Clear the plots for a new study; `use_colors` sets its colours."""
        for plot in (self.score, self.loss):
            plot.clear()
            plot.setXRange(1, max(epochs, 2))
            plot.setYRange(0, 1)
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
        """Name the score: Dice of two classes, mIoU of more."""
        self.score.setTitle("Test Dice" if classes == 2 else "Test mIoU", size="8pt")
        use_theme(self.viewer, [self.score])

    def show_runs(self, key: Key, done: Sequence[RunResult], going: tuple[Sequence[float], Sequence[float]]) -> None:
        """Draw a condition: the finished runs, and the scores and losses so far of the one that is running."""
        if key not in self.curves:  # of an earlier study in the folder, not part of this one
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
        """Draw one condition thicker than the others, or all alike."""
        for other, pair in self.curves.items():
            for curve in pair:
                curve.emphasise(other == key)

    def use_theme(self) -> None:
        """Use the colours of the viewer's theme."""
        use_theme(self.viewer, (self.score, self.loss))

    def _fit(self) -> None:
        """Show losses from 0 to the highest one that is drawn; scores keep 0 to 1."""
        tops = [loss.top for key, (_, loss) in self.curves.items() if key not in self._hidden]
        self.loss.setYRange(0, max([top for top in tops if np.isfinite(top)], default=1.0) or 1.0)


class _Curve:
    """The runs of one condition in one plot: mean, band of one standard deviation, and the current run."""

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
        """Draw the finished runs and the current one, which is drawn as thick as a mean if it is the first."""
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
        """Draw it thicker, or like the others."""
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
    """Return (runs, epochs) values, of the epochs that all runs have."""
    epochs = min((len(run) for run in runs), default=0)
    return np.array([run[:epochs] for run in runs], float).reshape(max(len(runs), 1), epochs)


def _mark(on: bool, color: str) -> dict[str, Any]:
    """Draw a single epoch as a dot: it makes no line."""
    return {"symbol": "o" if on else None, "symbolSize": 5, "symbolBrush": color, "symbolPen": None}


# ---- colours: shades of the condition's family, as in the study's figure ------------------------------------

DARK = {"CL": ("#ffffff", "#ffffff"), "RCL": ("#b3d4f0", "#3d8fe0"), "PCL": ("#fdc99b", "#f5701a")}

DARK |= {"RL": ("#c0e8b8", "#2fae57")}

LIGHT = {"CL": ("#000000", "#000000"), "RCL": ("#7fb6de", "#08408a"), "PCL": ("#fdae6b", "#b04303")}

LIGHT |= {"RL": ("#84cc82", "#005a2b")}
"""First and last shade of each family, on dark and light ground: CL white or black, RCL blue, PCL orange, RL green."""


def condition_colors(conditions: Iterable[Condition], dark: bool) -> dict[str, str]:
    """Return a colour by the name of a condition; the last of each family is its strongest."""
    families: dict[str, list[str]] = {}
    for condition in conditions:
        families.setdefault(condition.family, []).append(condition.name)
    ends = DARK if dark else LIGHT
    return {
        name: _between(*ends[family], (i + 1) / len(names)) for family, names in families.items()
        for i, name in enumerate(names)
    }  # fmt: skip


def on_dark(viewer: napari.Viewer) -> bool:
    """Return whether the viewer's theme is a dark one."""
    from napari.utils.theme import get_theme

    return bool(QColor(get_theme(viewer.theme).background.as_hex()).lightnessF() < 0.5)


def _between(first: str, last: str, share: float) -> str:
    ends = [QColor(color).getRgb()[:3] for color in (first, last)]
    mixed = (round(a + (b - a) * share) for a, b in zip(*ends, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


# ---- the table -------------------------------------------------------------------------------------------------

CONDITION, SCORE, LOSS, RANK, RETAINED, SHOWN = range(6)

HEADS = {
    "Condition": "Ticked: its curves are drawn. The curves of the selected row are thicker.",
    "Test Dice": "On clean labels of images never trained on, after the last epoch: mean ± standard deviation over the "
    "repeats. After …: the current run.",
    "Loss": "Training loss of the last epoch, mean over the repeats.",
    "Rank": "Predicted: rank of the noise transition matrix / number of classes. Full rank: all classes can be learnt "
    "(Theorem 2); rank 1: no two classes can be told apart.",
    "Retained": "Predicted: how much of the meta-structure the noisy labels retain, 0 to 100 %.",
    "Labels": "Ticked: its training labels are shown as a layer over the image chosen below.",
}

CHECKED, UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked


class StudyTable(ResultTable):
    """A row per condition and network: its scores, and what the noise transition matrix predicts.

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

    def __init__(self) -> None:
        super().__init__(HEADS)
        self.itemChanged.connect(self._on_ticked)
        self.itemSelectionChanged.connect(lambda: self.picked.emit(self.selected()))

    def begin(self, networks: Sequence[str], conditions: Sequence[Condition]) -> None:
        """Show a row for each condition of each network, without numbers."""
        keys = [(network, condition.name) for network in networks for condition in conditions]
        self.show_rows({key: key[1] if len(networks) == 1 else f"{key[1]} · {key[0]}" for key in keys})
        with QSignalBlocker(self):
            for key in keys:
                self.write(key, SHOWN, "")
                self._make_tickable(key, CONDITION, CHECKED)
                if key[0] == networks[0]:  # the labels of all networks are the same
                    self._make_tickable(key, SHOWN, UNCHECKED)

    def use_colors(self, colors: Mapping[str, str]) -> None:
        """Show each condition's colour beside its name."""
        with QSignalBlocker(self):
            for key in self.keys:
                self.cell(key, CONDITION).setIcon(patch(colors[key[1]]))

    def show_results(self, results: Sequence[RunResult]) -> None:
        """Show the numbers of finished runs."""
        if results:
            self.horizontalHeaderItem(SCORE).setText("Test Dice" if results[0].classes == 2 else "Test mIoU")
        for line in table(results):
            if (key := (line["network"], line["condition"])) in self.keys:
                spread = "" if math.isnan(line["test_std"]) else f" ± {line['test_std']:.3f}"
                runs = counted(line["repeats"], "run")
                tip = f"{runs}; best epoch, with hindsight: {line['test_best']:.3f}."
                self.write(key, SCORE, f"{line['test_mean']:.3f}{spread}", tip)
                self.write(key, LOSS, f"{line['loss_mean']:.3f}")
                self._show_theory(key, line["rank"], line["classes"], line["left"])
        fit_rows(self)

    def show_predicted(self, condition: str, predicted: Predicted) -> None:
        """Show what theory says of a condition before it is trained."""
        for key in self.keys:
            if key[1] == condition:
                self._show_theory(key, predicted.rank, predicted.classes, predicted.retained)

    def explain(self, condition: str, sentence: str) -> None:
        """Show the verdict in words as the tooltip of a condition's rows."""
        for key in self.keys:
            if key[1] == condition:
                for column in (CONDITION, LOSS, RANK, RETAINED):
                    self.cell(key, column).setToolTip(tooltip(escape(sentence)))

    def show_score(self, key: Key, score: float) -> None:
        """Mark a row as running; its newest score is shown unless there is one of an earlier repeat."""
        self.show_running(key)
        if self.text(key, SCORE).startswith((NOTHING, "…")):
            self.write(key, SCORE, f"… {score:.3f}")

    def end_run(self, key: Key) -> None:
        """Unmark a row; the score of an unfinished run goes."""
        self.show_running(None)
        if self.text(key, SCORE).startswith("…"):
            self.write(key, SCORE, NOTHING)

    def hidden(self) -> set[Key]:
        """Return the rows whose curves are not drawn."""
        return {key for key in self.keys if self.cell(key, CONDITION).checkState() != CHECKED}

    def labels_shown(self) -> list[str]:
        """Return the conditions whose labels are shown as layers."""
        found = [condition for network, condition in self.keys if self._shows_labels((network, condition))]
        return list(dict.fromkeys(found))

    def show_labels(self, conditions: Sequence[str]) -> None:
        """Tick the labels of these conditions and of no others."""
        for key in self.keys:
            item = self.cell(key, SHOWN)
            if item.flags() & Qt.ItemFlag.ItemIsUserCheckable:
                item.setCheckState(CHECKED if key[1] in conditions else UNCHECKED)

    def _shows_labels(self, key: Key) -> bool:
        return bool(self.cell(key, SHOWN).checkState() == CHECKED)

    def _show_theory(self, key: Key, rank: int, classes: int, share: float) -> None:
        self.write(key, RANK, f"{rank}/{classes}")
        self.write(key, RETAINED, NOTHING if math.isnan(share) else f"{share:.0%}")

    def _make_tickable(self, key: Key, column: int, state: Any) -> None:
        item = self.cell(key, column)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(state)

    def _on_ticked(self, item: Any) -> None:
        if item.column() == CONDITION:
            self.curves_changed.emit()
        elif item.column() == SHOWN:
            self.labels_changed.emit()


# ---- labels as layers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoisyLabels:
    """Labels of one training image under some conditions, of the first repeat.

    Attributes
    ----------
    pair : Pair
        The image with its clean labels.
    number : int
        Its place among the training images, on which its noise depends.
    conditions : sequence of Condition
    seed : int
    classes : tuple of int
    place : VisiblePlane or None
        Where the image lies in the viewer; None for a file, which is then shown itself.
    read_as : callable
        Returns the user's Labels layer and how it is read, see `LayerSet.read_as`; None for a file.
    """

    pair: Pair
    number: int
    conditions: Sequence[Condition]
    seed: int
    classes: tuple[int, ...]
    place: VisiblePlane | None
    read_as: Callable[[], Any] = lambda: None

    def draw(self) -> tuple[NoisyLabels, dict[str, np.ndarray], np.ndarray | None, Any]:
        """Return this, the labels by condition as the study draws them, the image if in no layer, and `read_as`."""
        clean = np.asarray(self.pair.read_labels())
        labels = {c.name: c.labels(clean, self.seed, self.classes, self.number) for c in self.conditions}
        if self.place is not None:
            return self, labels, None, self.read_as()
        image = np.asarray(self.pair.read_image())
        return self, labels, image[0] if image.ndim == 3 else image, None  # of several channels the first

    def origin(self, condition: Condition) -> dict[str, Any]:
        """Return how the labels were made, for a layer's metadata."""
        return {
            "version": __version__,
            "image": self.pair.name,
            "condition": condition.name,
            "recipe": None if condition.recipe is None else condition.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "number": self.number,
            "classes": list(self.classes),
        }


class NoisyLayers(QObject):
    """A Labels layer for each condition whose labels are shown, drawn in the background."""

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layers: dict[str, Layer] = {}
        self._image: Layer | None = None
        self._shown: tuple[Pair, int] | None = None
        self._latest = LatestOnly(self)
        self._latest.done.connect(lambda drawn: self._on_drawn(*drawn))
        self._latest.failed.connect(self._on_failed)

    def show(self, wanted: NoisyLabels) -> None:
        """Show these labels and no others."""
        names = {condition.name for condition in wanted.conditions}
        same = self._shown == (wanted.pair, wanted.seed)
        for name in [name for name in self.layers if not same or name not in names]:
            self._take_out(self.layers.pop(name))
        if not self.layers and self._image is not None:
            self._take_out(self._image)
            self._image = None
        self._forget_removed()
        if names <= set(self.layers):
            self._latest.drop()
        else:
            self._latest.ask(wanted.draw)

    def let_go(self) -> None:
        """Leave the layers to the user: another study begins."""
        self._latest.drop()
        self.layers, self._image, self._shown = {}, None, None

    def _on_drawn(
        self, drawn: NoisyLabels, labels: Mapping[str, np.ndarray], image: np.ndarray | None, read: Any
    ) -> None:
        self._shown = drawn.pair, drawn.seed
        self._forget_removed()
        active = self.viewer.layers.selection.active
        if image is not None and self._image is None:
            origin = {"version": __version__, "source": drawn.pair.name}
            self._image = self.viewer.add_image(image, name=drawn.pair.name, metadata={ORIGIN: origin})
        where: dict[str, Any] = drawn.place.placement() if drawn.place else {}
        colors = colors_as_read(drawn.classes, read)
        for condition in drawn.conditions:
            if condition.name not in self.layers:
                self.layers[condition.name] = self.viewer.add_labels(
                    labels[condition.name].astype(np.uint8, copy=False),
                    name=f"{drawn.pair.name} {condition.name}",
                    colormap=class_colormap(drawn.classes, colors),
                    opacity=0.6,
                    metadata={ORIGIN: drawn.origin(condition)},
                    **where,
                )
                if drawn.place is not None:
                    stay_on(drawn.place.layer, self.layers[condition.name], drawn.place.placement)
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def _on_failed(self, error: Exception) -> None:
        log.error("Noisy labels could not be drawn", exc_info=error)
        show_error(f"The labels could not be shown: {error}")

    def _take_out(self, layer: Layer) -> None:
        if layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _forget_removed(self) -> None:
        """Forget layers that the user took out of the viewer."""
        self.layers = {name: layer for name, layer in self.layers.items() if layer in self.viewer.layers}
        if self._image is not None and self._image not in self.viewer.layers:
            self._image = None
