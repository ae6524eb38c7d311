"""Table of measured objects: thousands of rows, sorted by any column."""

from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_metastructure.labels.measures import RegionTable
from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._tables import NOTHING, SMALL

Role = Qt.ItemDataRole

ROOM = 28
"""Pixels beside the name of a column, for the arrow that says it is sorted."""

TIP = (
    "A row for each object. Click on a row to see the object, or on an object to find its row; on the head of a column "
    "to sort by it."
)


class RegionView(QTableView):
    """Shows a `RegionTable`; ``picked`` gives the number of the row in it that a user went to.

    Rows are sorted here and not by a proxy of Qt's, which asks Python for two values at each comparison.
    """

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.rows = _Rows()
        self.setModel(self.rows)
        self.setToolTip(tooltip(TIP))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSortingEnabled(True)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setStyleSheet(SMALL)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(20)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.setMinimumHeight(130)
        self.selectionModel().currentRowChanged.connect(self._on_current)
        self._by_program = False

    def show_table(self, table: RegionTable | None) -> None:
        """Show other measurements, or none."""
        self.rows.show(table)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        metrics = self.fontMetrics()
        for column, head in enumerate(self.rows.heads):
            self.setColumnWidth(column, metrics.horizontalAdvance(head) + ROOM)

    def select(self, row: int | None) -> None:
        """Go to a row of the table, without ``picked``."""
        self._by_program = True
        try:
            if row is None:
                self.setCurrentIndex(QModelIndex())
                self.clearSelection()
            else:
                self.setCurrentIndex(self.rows.index(self.rows.where(row), max(self.currentIndex().column(), 0)))
        finally:
            self._by_program = False

    @property
    def selected(self) -> int | None:
        """The row of the table that is selected."""
        at = self.currentIndex()
        return int(self.rows.order[at.row()]) if at.isValid() else None

    def _on_current(self, now: QModelIndex, before: QModelIndex) -> None:
        if now.isValid() and not self._by_program:
            self.picked.emit(int(self.rows.order[now.row()]))


class _Rows(QAbstractTableModel):
    """The rows of a `RegionView`, in the order in which they are shown."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[str] = []
        self.columns: list[np.ndarray] = []
        self.order = np.zeros(0, int)

    def show(self, table: RegionTable | None) -> None:
        """Replace everything."""
        self.beginResetModel()
        self.heads = [] if table is None else table.heads()
        self.columns = [] if table is None else list(table.columns.values())
        self.order = np.arange(0 if table is None else len(table))
        self.endResetModel()

    def where(self, row: int) -> int:
        """Find where a row of the table is shown."""
        return int(np.flatnonzero(self.order == row)[0])

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Return how many objects there are."""
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Return how many measurements there are of each."""
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def data(self, index: QModelIndex, role: int = Role.DisplayRole) -> Any:
        """Show a number at the right of its cell."""
        if role == Role.DisplayRole:
            value = self.columns[index.column()][self.order[index.row()]].item()
            return NOTHING if value != value else f"{value:.4g}" if isinstance(value, float) else str(value)
        return (
            int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter) if role == Role.TextAlignmentRole else None
        )

    def headerData(self, section: int, side: Qt.Orientation, role: int = Role.DisplayRole) -> Any:  # noqa: N802
        """Show names with their units."""
        across = side == Qt.Orientation.Horizontal and 0 <= section < len(self.heads)
        return self.heads[section] if across and role == Role.DisplayRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; the selected object stays selected. Without a column the rows are in the table's order."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        rows = [self.order[index.row()] for index in before]
        values = self.columns[column] if 0 <= column < len(self.columns) else np.zeros(len(self.order))
        descending = order == Qt.SortOrder.DescendingOrder and values.size
        self.order = np.argsort(-values if descending else values, kind="stable")
        after = [self.index(self.where(row), index.column()) for row, index in zip(rows, before, strict=True)]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()
