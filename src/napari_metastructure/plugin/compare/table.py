"""A row per method: what came out, as soon as there is any."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QTableWidgetItem, QWidget

from napari_metastructure.baselines.events import MethodResult
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.baselines.table import ORACLE, summary
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.result_table import ResultTable
from napari_metastructure.plugin.study.colors import patch

METHOD, DICE, AUC, ACCURACY, SECONDS, MEMORY = range(6)
MEASURES = {DICE: "dice", AUC: "auc", ACCURACY: "accuracy", SECONDS: "seconds", MEMORY: "memory"}
OVER = "mean over the images, ± standard deviation over the repeats"
HEADS = {
    "Method": "Click a row to see the masks of its method, and of no other.",
    "Dice": f"Overlap with the ground truth, 0 to 1: {OVER}.",
    "AUC": f"Area under the ROC curve of what was thresholded, 0 to 1: {OVER}.",
    "Accuracy": f"Share of pixels that are right: {OVER}.",
    "s/image": "Seconds per image, training included: mean over the repeats.",
    "MB": "Peak of memory over what was taken before, in 10<sup>6</sup> bytes: mean over the repeats.",
}
NOTHING, FAILED = "–", "failed"


class MethodTable(ResultTable):
    """What each method of a comparison reached.

    Signals
    -------
    picked : str
        A method is selected, or its row clicked again.
    """

    picked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(HEADS, METHOD, parent)
        self._methods: tuple[str, ...] = ()
        self.itemSelectionChanged.connect(self._on_selected)
        self.cellClicked.connect(lambda *_: self._on_selected())  # also on the row that is selected already

    def begin(self, methods: Sequence[str], colors: Mapping[str, str], labelled: bool) -> None:
        """A row for each method, without numbers; without ground truth there are no scores to have."""
        self._methods = tuple(methods)
        self.clearSelection()
        self.clearContents()
        self.setRowCount(len(methods))
        for row, method in enumerate(methods):
            for column in range(len(HEADS)):
                item = QTableWidgetItem(NOTHING if column else METHODS[method].title)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
                if column:
                    item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
                self.setItem(row, column, item)
            self.item(row, METHOD).setIcon(patch(colors[method]))
            self.item(row, METHOD).setToolTip(tooltip(METHODS[method].title))
        for column in (DICE, AUC, ACCURACY):
            self.setColumnHidden(column, not labelled)
        self._fit()

    def show_results(self, results: Sequence[MethodResult]) -> None:
        """Fill in what came out."""
        for line in summary(results):
            for column, measure in MEASURES.items():
                item = self._item(line["method"], column)
                item.setText(_cell(line, measure))
                item.setToolTip(tooltip(_detail(line, measure)))
        self._fit()

    def show_going(self, method: str | None) -> None:
        """Mark the method at work."""
        for name in self._methods:
            item = self._item(name, METHOD)
            font = item.font()
            font.setBold(name == method)
            item.setFont(font)

    def show_failed(self, method: str, why: str) -> None:
        """Say that a run gave nothing; what earlier repeats gave stays."""
        for column in range(len(HEADS)):
            self._item(method, column).setToolTip(tooltip(why))
        if self.text(method, SECONDS) == NOTHING:
            self._item(method, SECONDS).setText(FAILED)

    def text(self, method: str, column: int) -> str:
        """What stands in a cell."""
        return str(self._item(method, column).text())

    def select(self, method: str) -> None:
        """Select the row of a method."""
        self.selectRow(self._methods.index(method))

    def selected(self) -> str | None:
        """The method of the selected row, or None."""
        rows = self.selectionModel().selectedRows()
        return self._methods[rows[0].row()] if rows else None

    def _item(self, method: str, column: int) -> QTableWidgetItem:
        return self.item(self._methods.index(method), column)

    def _on_selected(self) -> None:
        if (method := self.selected()) is not None:
            self.picked.emit(method)

    def _fit(self) -> None:
        """As high as its rows, so that the panel scrolls and not the table."""
        self.resizeRowsToContents()
        rows = sum(self.rowHeight(row) for row in range(self.rowCount()))
        self.setFixedHeight(rows + self.horizontalHeader().sizeHint().height() + 4)


def _cell(line: Mapping[str, Any], measure: str) -> str:
    mean, std = line[f"{measure}_mean"], line[f"{measure}_std"]
    if math.isnan(mean):
        return NOTHING
    if measure in ("seconds", "memory"):  # their spread is in the tooltip: there is no room for all
        return f"{mean:.0f}" if mean >= 100 or measure == "memory" else f"{mean:.{3 if mean < 1 else 1}f}"
    return f"{mean:.3f}" + ("" if math.isnan(std) else f" ± {std:.3f}")


def _detail(line: Mapping[str, Any], measure: str) -> str:
    """What the cell has no room for."""
    runs = "1 run" if line["repeats"] == 1 else f"{line['repeats']} runs"
    spread = "" if math.isnan(line[f"{measure}_std"]) else f" ± {line[f'{measure}_std']:.3g}"
    detail = f"{runs}: {line[f'{measure}_mean']:.4g}{spread}"
    if measure == "dice" and not math.isnan(line["oracle_mean"]):
        detail += f"; {ORACLE}: {line['oracle_mean']:.3f}"
    return f"{detail}."
