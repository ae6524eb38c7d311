"""A narrow table of results for a dock widget: rows are picked, nothing is edited."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QWidget

from napari_metastructure.plugin.form import tooltip


class ResultTable(QTableWidget):
    """Columns with tooltips, one of which takes the room that is left; whole rows are selected, one at a time.

    Parameters
    ----------
    heads : mapping of str to str
        Tooltip by heading, in the order of columns.
    wide : int
        The column that takes the room that is left.
    parent : QWidget, optional
    """

    def __init__(self, heads: Mapping[str, str], wide: int, parent: QWidget | None = None) -> None:
        super().__init__(0, len(heads), parent)
        self.setHorizontalHeaderLabels(list(heads))
        for column, tip in enumerate(heads.values()):
            self.horizontalHeaderItem(column).setToolTip(tooltip(tip))
        self.verticalHeader().setVisible(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(24)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(wide, QHeaderView.ResizeMode.Stretch)
        self.setStyleSheet("QTableView { font-size: 11px; } QHeaderView::section { font-size: 11px; padding: 2px; }")
