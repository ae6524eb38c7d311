"""A row per condition and network: what came out, and beside it what the noise transition matrix predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QTableWidgetItem, QWidget

from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.result_table import ResultTable
from napari_metastructure.plugin.study.colors import patch
from napari_metastructure.plugin.study.curves import Key
from napari_metastructure.training.study.config import Condition
from napari_metastructure.training.study.predicted import Predicted
from napari_metastructure.training.study.results import RunResult, table

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
