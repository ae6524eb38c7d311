"""Live curves of a run: loss, agreement and candidate score of iGTT; loss and Dice of supervised training."""

import math
from collections.abc import Sequence
from typing import Any

import napari
import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_metastructure.plugin import _inputs, _plots
from napari_metastructure.training import events

LOSS, AGREEMENT, SCORE = "#ff8c42", "#2fb6d6", "#b07cff"

TRAINING, VALIDATION = LOSS, AGREEMENT

AGREEMENT_FROM = 0.5
"""Least agreement on the axis, as long as none is lower."""

NO_VALIDATION = "no validation"


class StepCurve(pg.PlotDataItem):
    """The thin curve of the loss of training steps; an epoch's last step falls on its number."""

    def __init__(self, plot: pg.PlotWidget) -> None:
        super().__init__(pen=pg.mkPen(_plots.faint(LOSS), width=1))
        plot.addItem(self)
        self.forget()

    def forget(self) -> None:
        """Empty the curve."""
        self._epochs: list[float] = []
        self._losses: list[float] = []
        self.setData([], [])

    def add(self, batches: Sequence[events.BatchFinished]) -> None:
        """Append training steps."""
        self._epochs += [b.epoch - 1 + b.batch / max(b.batches, 1) for b in batches]
        self._losses += [b.loss for b in batches]
        self.setData(*_plots.thin_out(self._epochs, self._losses))


class IGTTCurves(QWidget):
    """Three small plots of a run of iGTT, in the colours of napari's theme."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.loss = _plots.make_plot("Loss", "Training loss: each step (thin) and the mean of each epoch.")
        self.agreement = _plots.make_plot(
            "Agreement",
            "Mean Dice between the masks of one epoch and of the one before: near 1, they have settled.",
        )
        self.score = _plots.make_plot(
            "Candidate score",
            "Score of each candidate mask of the image on screen, by its threshold: a probability, or the share of the "
            "pixels near the objects that lie below a level of the image. The line marks the one taken.",
        )
        self.score.setXRange(0, 1)
        self._steps = StepCurve(self.loss)
        self._loss = self.loss.plot(pen=pg.mkPen(LOSS, width=2), **_plots.dots(LOSS))
        self._agreement = self.agreement.plot(pen=pg.mkPen(AGREEMENT, width=2), **_plots.dots(AGREEMENT))
        self._score = self.score.plot(pen=pg.mkPen(SCORE, width=2))
        self._chosen = pg.InfiniteLine(angle=90, pen=pg.mkPen(SCORE, style=Qt.PenStyle.DashLine))
        self._chosen.setVisible(False)
        self.score.addItem(self._chosen)
        _inputs.column(_inputs.row(self.loss, self.agreement), self.score, into=self)
        viewer.events.theme.connect(self._use_theme)
        self._use_theme()
        self.clear()

    def clear(self) -> None:
        """Forget a run."""
        self._steps.forget()
        self.rounds: list[tuple[int, float, float]] = []
        """Epoch, loss and agreement of each."""
        self._shown: events.ScoreCurve | None = None
        for curve in (self._loss, self._agreement, self._score):
            curve.setData([], [])
        self._show_agreement_from(AGREEMENT_FROM)
        self._chosen.setVisible(False)

    def begin(self, epochs: int, before: Sequence[tuple[int, float, float]] = ()) -> None:
        """Show the epochs of a run from 0 to its last, so that the curves grow into their frame.

        Of a run that is resumed, ``before`` holds (epoch, loss, agreement) of the earlier rounds.
        """
        for plot in (self.loss, self.agreement):
            plot.setXRange(0, max(epochs, 1))
        self.rounds = list(before)
        self._draw_rounds()

    def add_batches(self, batches: Sequence[events.BatchFinished]) -> None:
        """Append training steps."""
        self._steps.add(batches)

    def add_epoch(self, event: events.EpochFinished) -> None:
        """Append a round; epoch 0, the start, has neither loss nor agreement."""
        if event.epoch > 0:
            self.rounds.append((event.epoch, event.loss, event.agreement))
            self._draw_rounds()

    def _draw_rounds(self) -> None:
        if not self.rounds:
            return
        epochs, losses, agreements = map(np.array, zip(*self.rounds, strict=True))
        for curve, values in ((self._loss, losses), (self._agreement, agreements)):
            there = np.isfinite(values)  # a round that only answered strokes has no loss
            curve.setData(epochs[there], values[there])
        lowest = np.nanmin([AGREEMENT_FROM, *agreements])
        if lowest < self._agreement_from:
            self._show_agreement_from(np.floor(10 * lowest) / 10)

    def _show_agreement_from(self, lowest: float) -> None:
        """Most of the axis for the agreements there are: between settling rounds they differ in the second digit."""
        self._agreement_from = lowest
        ticks = (lowest, (1 + lowest) / 2, 1.0)
        self.agreement.setYRange(lowest, 1, padding=0.15)  # room for half a line of text at both ends
        self.agreement.getAxis("left").setTicks([[(tick, f"{tick:.2g}") for tick in ticks]])

    def show_score(self, curve: events.ScoreCurve) -> None:
        """Draw the search of one image; napari says twice that its slider was moved."""
        if curve is self._shown:
            return
        self._shown = curve
        self._score.setData(curve.thresholds, curve.scores)
        self._chosen.setPos(curve.chosen)
        self._chosen.setVisible(True)
        self.score.setTitle(f"Candidate score (taken: {curve.chosen:.3f})", size="8pt")

    def release(self) -> None:
        """Let go of the viewer."""
        self.viewer.events.theme.disconnect(self._use_theme)

    def _use_theme(self) -> None:
        _plots.use_theme(self.viewer, (self.loss, self.agreement, self.score))


class TrainCurves(QWidget):
    """Loss and score of training and validation by epoch, with the best epoch marked.

    Of a run without validation nothing is drawn for it: the plots say so instead.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.loss = _plots.make_plot(
            "Loss",
            "Loss of each training step (thin), its mean of each epoch, and of the validation images.",
        )
        self.score = _plots.make_plot(
            "Dice",
            "Agreement with the labels: on the patches trained on, while learning, and on whole validation images. "
            "Dice of the foreground; with more than two classes the mean IoU. The line marks the epoch that is kept.",
        )
        self.plots = (self.loss, self.score)
        self._steps = StepCurve(self.loss)
        self.curves = {
            (plot, who): plot.plot(pen=pg.mkPen(color, width=2), **_plots.dots(color))
            for plot in self.plots
            for who, color in (("training", TRAINING), ("validation", VALIDATION))
        }
        self.best = [pg.InfiniteLine(angle=90, pen=pg.mkPen(VALIDATION, style=Qt.PenStyle.DashLine)) for _ in range(2)]
        self.notes = [pg.TextItem(NO_VALIDATION, color=VALIDATION, anchor=(1, 1)) for _ in range(2)]
        for plot, line, note in zip(self.plots, self.best, self.notes, strict=True):
            plot.addItem(line)
            note.setParentItem(plot.getViewBox())  # it stays in its corner whatever is plotted
        _inputs.column(*self.plots, into=self)  # beside each other, their titles would not fit a narrow dock
        self.score.setYRange(0, 1, padding=0.05)
        viewer.events.theme.connect(self._use_theme)
        self.clear()

    def clear(self) -> None:
        """Forget a run."""
        self._steps.forget()
        self._rows: list[dict[str, float]] = []
        self._measure = "dice"
        for curve in self.curves.values():
            curve.setData([], [])
        for item in (*self.best, *self.notes):
            item.setVisible(False)
        self._name("Dice", True)

    def begin(self, event: events.TrainStarted) -> None:
        """Show the epochs of a run from 0 to its last, so that the curves grow into their frame."""
        self._measure = "iou" if len(event.classes) > 2 else "dice"
        self._name("mIoU" if len(event.classes) > 2 else "Dice", event.validation > 0)
        for plot, note in zip(self.plots, self.notes, strict=True):
            plot.setXRange(0, max(event.epochs, event.resumed_epoch, 1))
            note.setVisible(event.validation == 0)
        for row in event.before:
            self._add(row)
        self._draw()

    def add_batches(self, batches: Sequence[events.BatchFinished]) -> None:
        """Append training steps."""
        self._steps.add(batches)

    def add_epoch(self, event: events.TrainEpoch) -> None:
        """Append an epoch."""
        scores = {"training": event.training, "validation": event.validation}
        row = {f"{who}_{self._measure}": getattr(found, self._measure, math.nan) for who, found in scores.items()}
        facts = {"epoch": event.epoch, "loss": event.loss, "validation_loss": event.validation_loss}
        self._add({**facts, **row, "best_epoch": event.best_epoch})
        self._draw()

    def release(self) -> None:
        """Let go of the viewer."""
        self.viewer.events.theme.disconnect(self._use_theme)

    def _add(self, row: dict[str, Any]) -> None:
        self._rows.append({key: float(row.get(key, math.nan)) for key in self._keys()})

    def _keys(self) -> tuple[str, ...]:
        m = self._measure
        return "epoch", "loss", "validation_loss", f"training_{m}", f"validation_{m}", "best_epoch"

    def _draw(self) -> None:
        if not self._rows:
            return
        epoch, loss, held_loss, score, held_score, best = (
            np.array([row[key] for row in self._rows]) for key in self._keys()
        )
        values = {"training": (loss, score), "validation": (held_loss, held_score)}
        for (plot, who), curve in self.curves.items():
            y = values[who][self.plots.index(plot)]
            there = np.isfinite(y)
            curve.setData(epoch[there], y[there])
        for line in self.best:
            line.setPos(best[-1])
            line.setVisible(bool(np.isfinite(held_score).any()))

    def _name(self, score: str, validated: bool) -> None:
        """Titles that serve as legends."""
        who = f"<span style='color:{TRAINING}'>training</span>"
        if validated:
            who += f" <span style='color:{VALIDATION}'>validation</span>"
        self.loss.setTitle(f"Loss {who}")
        self.score.setTitle(f"{score} {who}")
        self._use_theme()

    def _use_theme(self, event: Any = None) -> None:
        _plots.use_theme(self.viewer, self.plots)
