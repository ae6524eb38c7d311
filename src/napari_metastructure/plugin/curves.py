"""Live curves: loss and agreement by epoch, and the threshold search of the image on screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_metastructure.plugin.plots import dots, faint, make_plot, thin_out, use_theme
from napari_metastructure.training.events import BatchFinished, EpochFinished, ScoreCurve

if TYPE_CHECKING:
    import napari

AGREEMENT_FROM = 0.5
"""Least agreement on the axis, as long as none is lower."""

LOSS, AGREEMENT, SCORE = "#ff8c42", "#2fb6d6", "#b07cff"


class Curves(QWidget):
    """Three small plots in the colours of napari's theme."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.loss = make_plot("Loss", "Training loss: each step (thin) and the mean of each epoch.")
        self.agreement = make_plot(
            "Agreement",
            "Mean Dice between the masks of one epoch and of the one before: near 1, they have settled.",
        )
        self.score = make_plot(
            "Candidate score",
            "Score of each candidate mask of the image on screen, by its threshold: a probability, or the share of the "
            "pixels near the objects that lie below a level of the image. The line marks the one taken.",
        )
        self.score.setXRange(0, 1)
        thin = pg.mkPen(faint(LOSS), width=1)
        self._steps = self.loss.plot(pen=thin)
        self._loss = self.loss.plot(pen=pg.mkPen(LOSS, width=2), **dots(LOSS))
        self._agreement = self.agreement.plot(pen=pg.mkPen(AGREEMENT, width=2), **dots(AGREEMENT))
        self._score = self.score.plot(pen=pg.mkPen(SCORE, width=2))
        self._chosen = pg.InfiniteLine(angle=90, pen=pg.mkPen(SCORE, style=Qt.PenStyle.DashLine))
        self._chosen.setVisible(False)
        self.score.addItem(self._chosen)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.loss, 0, 0)
        layout.addWidget(self.agreement, 0, 1)
        layout.addWidget(self.score, 1, 0, 1, 2)
        viewer.events.theme.connect(self._use_theme)
        self._use_theme()
        self.clear()

    def clear(self) -> None:
        """Forget a run."""
        self._step_x: list[float] = []
        self._step_y: list[float] = []
        self._rounds: list[tuple[int, float, float]] = []
        for curve in (self._steps, self._loss, self._agreement, self._score):
            curve.setData([], [])
        self._show_agreement_from(AGREEMENT_FROM)
        self._chosen.setVisible(False)

    def begin(self, epochs: int, before: Sequence[tuple[int, float, float]] = ()) -> None:
        """Show the epochs of a run from 0 to its last, so that the curves grow into their frame.

        Of a run that is resumed, ``before`` holds (epoch, loss, agreement) of the earlier rounds.
        """
        for plot in (self.loss, self.agreement):
            plot.setXRange(0, max(epochs, 1))
        self._rounds = list(before)
        self._draw_rounds()

    def add_batches(self, batches: Sequence[BatchFinished]) -> None:
        """Append training steps; an epoch's last step falls on its number."""
        self._step_x += [b.epoch - 1 + b.batch / max(b.batches, 1) for b in batches]
        self._step_y += [b.loss for b in batches]
        self._steps.setData(*thin_out(self._step_x, self._step_y))

    def add_epoch(self, event: EpochFinished) -> None:
        """Append a round; epoch 0, the start, has neither loss nor agreement."""
        if event.epoch > 0:
            self._rounds.append((event.epoch, event.loss, event.agreement))
            self._draw_rounds()

    def _draw_rounds(self) -> None:
        if not self._rounds:
            return
        epochs, losses, agreements = map(np.array, zip(*self._rounds, strict=True))
        self._loss.setData(epochs, losses)
        self._agreement.setData(epochs, agreements)
        lowest = np.nanmin([AGREEMENT_FROM, *agreements])
        if lowest < self._agreement_from:
            self._show_agreement_from(np.floor(10 * lowest) / 10)

    def _show_agreement_from(self, lowest: float) -> None:
        """Most of the axis for the agreements there are: between settling rounds they differ in the second digit."""
        self._agreement_from = lowest
        ticks = (lowest, (1 + lowest) / 2, 1.0)
        self.agreement.setYRange(lowest, 1, padding=0.15)  # room for half a line of text at both ends
        self.agreement.getAxis("left").setTicks([[(tick, f"{tick:.2g}") for tick in ticks]])

    def show_score(self, curve: ScoreCurve) -> None:
        """Draw the search of one image."""
        self._score.setData(curve.thresholds, curve.scores)
        self._chosen.setPos(curve.chosen)
        self._chosen.setVisible(True)
        self.score.setTitle(f"Candidate score (taken: {curve.chosen:.3f})", size="8pt")

    def release(self) -> None:
        """Let go of the viewer."""
        self.viewer.events.theme.disconnect(self._use_theme)

    def _use_theme(self) -> None:
        use_theme(self.viewer, (self.loss, self.agreement, self.score))
