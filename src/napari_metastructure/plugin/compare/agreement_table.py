"""How alike the masks of the methods are, each with each."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_metastructure.baselines.events import Agreement
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.plugin.form import tooltip

TIP = (
    "Mean Dice between the masks of two methods in their first repeat, 0 to 1; a column bears the number of its "
    "method. Methods that agree with no other are suspect; methods that agree may err alike."
)
DEEP = (42, 127, 184)
"""The colour of full agreement; none has the ground of the window."""
ROOMY = 8
"""Of more methods the numbers are written as short as they can be."""


class AgreementTable(QTableWidget):
    """A numbered row per method, and a column per number; the deeper the colour, the more alike."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 0, parent)
        self.setToolTip(tooltip(TIP))
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().setVisible(False)
        self.horizontalHeader().setMinimumSectionSize(20)
        self.setStyleSheet("QTableView { font-size: 11px; } QHeaderView::section { font-size: 11px; padding: 2px; }")
        self.found: Agreement | None = None

    def begin(self, methods: Sequence[str]) -> None:
        """Rows and columns of these methods, without numbers."""
        self.found = None
        self.clear()
        self.setRowCount(len(methods))
        self.setColumnCount(1 + len(methods))
        self.setHorizontalHeaderLabels(["Dice between", *(str(i + 1) for i in range(len(methods)))])
        for row, method in enumerate(methods):
            self.setItem(row, 0, _item(f"{row + 1}  {METHODS[method].title}"))
            self.horizontalHeaderItem(row + 1).setToolTip(METHODS[method].title)
            for column in range(len(methods)):
                self.setItem(row, column + 1, _item("", Qt.AlignmentFlag.AlignCenter))
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self._methods = tuple(methods)
        self._fit()

    def show_agreement(self, found: Agreement) -> None:
        """Fill in the numbers there are."""
        self.found = found
        for i, first in enumerate(found.methods):
            for j, second in enumerate(found.methods):
                share = float(found.dice[i, j])
                item = self.item(self._methods.index(first), self._methods.index(second) + 1)
                item.setText("" if i == j else _short(share) if len(self._methods) > ROOMY else f"{share:.2f}")
                item.setBackground(QColor(*DEEP, round(255 * max(share, 0.0) ** 2)))
                item.setToolTip(f"{METHODS[first].title} and {METHODS[second].title}: {share:.3f}")
        self._fit()

    def _fit(self) -> None:
        self.resizeRowsToContents()
        rows = sum(self.rowHeight(row) for row in range(self.rowCount()))
        self.setFixedHeight(rows + self.horizontalHeader().sizeHint().height() + 4)


def _short(share: float) -> str:
    """As ``.87``, and 1."""
    text = f"{share:.2f}"
    return "1" if text == "1.00" else text.removeprefix("0")


def _item(text: str, alignment: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setFlags(Qt.ItemFlag.ItemIsEnabled)
    item.setTextAlignment(int(alignment | Qt.AlignmentFlag.AlignVCenter))
    return item
