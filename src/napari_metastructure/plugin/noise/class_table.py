"""A small table of probabilities with one row per class: a single column, or a column per class (a matrix)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QDoubleSpinBox, QHeaderView, QStyledItemDelegate, QTableView, QWidget

from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.label_colors import class_color

Values = Mapping[int, float]
Rows = tuple[tuple[float, ...], ...]
Role = Qt.ItemDataRole

MOST_ROWS = 6
"""The table grows to this many rows and scrolls beyond."""

DECIMALS = 4


class ClassTable(QTableView):
    """Numbers from 0 to 1 by class, edited in place; ``changed`` tells of edits by hand.

    Parameters
    ----------
    tip : str
        What the numbers are.
    square : bool
        A column for each class, its rows being the classes a pixel comes from; else one column.
    """

    changed = Signal()

    def __init__(self, tip: str, square: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.numbers = _Numbers(square)
        self.setModel(self.numbers)
        self.setItemDelegate(_Share(self))
        self.setToolTip(tooltip(tip))
        for header in (self.horizontalHeader(), self.verticalHeader()):
            header.setSectionsClickable(False)
            header.setHighlightSections(False)
        self.horizontalHeader().setMinimumSectionSize(60)
        self.horizontalHeader().setDefaultSectionSize(64)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.verticalHeader().setDefaultSectionSize(24)
        self.numbers.dataChanged.connect(lambda *_: self.changed.emit())
        self._fit()

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes, one row each."""
        return self.numbers.classes

    def values(self) -> dict[int, float]:
        """The first column, by class."""
        return dict(zip(self.classes, self.numbers.array[:, 0].tolist(), strict=True))

    def matrix(self) -> Rows:
        """All rows."""
        return tuple(tuple(row) for row in self.numbers.array.tolist())

    def show_values(self, values: Values) -> None:
        """Show one column of numbers."""
        classes = tuple(sorted(values))
        self.numbers.show(classes, np.array([values[c] for c in classes], float).reshape(-1, 1))
        self._fit()

    def show_matrix(self, classes: Sequence[int], matrix: Any) -> None:
        """Show a square of numbers, however many classes there are."""
        array = np.array(matrix, float).reshape(len(matrix), -1)
        names = tuple(classes) if len(classes) == len(array) else tuple(range(len(array)))
        self.numbers.show(names, array)
        self._fit()

    def _fit(self) -> None:
        rows = min(max(self.numbers.rowCount(), 1), MOST_ROWS)
        header = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(rows * self.verticalHeader().defaultSectionSize() + header + 2 * self.frameWidth() + 2)
        crowded = self.numbers.columnCount() > MOST_ROWS
        mode = QHeaderView.ResizeMode.Interactive if crowded else QHeaderView.ResizeMode.Stretch
        self.horizontalHeader().setSectionResizeMode(mode)


class _Numbers(QAbstractTableModel):
    """The numbers of a `ClassTable`."""

    def __init__(self, square: bool) -> None:
        super().__init__()
        self.square = square
        self.classes: tuple[int, ...] = ()
        self.array = np.zeros((0, 0))

    def show(self, classes: tuple[int, ...], array: np.ndarray) -> None:
        """Replace everything."""
        self.beginResetModel()
        self.classes, self.array = classes, array
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """How many classes there are."""
        return int(self.array.shape[0])

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """1, or as many as rows."""
        return int(self.array.shape[1])

    def flags(self, index: QModelIndex) -> Any:
        """Every cell can be edited."""
        return super().flags(index) | Qt.ItemFlag.ItemIsEditable

    def data(self, index: QModelIndex, role: int = Role.DisplayRole) -> Any:
        """A number, in the middle of its cell; what stays as it is stands on its class's colour."""
        row, column = index.row(), index.column()
        if role == Role.DisplayRole:
            return f"{self.array[row, column]:.3g}"
        if role == Role.EditRole:
            return float(self.array[row, column])
        if role == Role.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignCenter)
        if role == Role.BackgroundRole and (not self.square or row == column):
            color = QColor(class_color(self.classes[row]))
            color.setAlpha(70)
            return color
        return None

    def headerData(self, section: int, side: Qt.Orientation, role: int = Role.DisplayRole) -> Any:  # noqa: N802
        """The classes, each with a patch of its colour."""
        across = side == Qt.Orientation.Horizontal
        if across and not self.square:
            return "probability" if role == Role.DisplayRole else None
        if not 0 <= section < len(self.classes):
            return None
        label = self.classes[section]
        if role == Role.DisplayRole:
            return f"to {label}" if across else f"class {label}"
        return color_patch(label) if role == Role.DecorationRole else None

    def setData(self, index: QModelIndex, value: Any, role: int = Role.EditRole) -> bool:  # noqa: N802
        """Take a number over."""
        row, column = index.row(), index.column()
        number = float(value)
        if role != Role.EditRole or number == self.array[row, column]:
            return False
        self.array[row, column] = number
        if self.square and row != column:  # what goes elsewhere does not stay
            rest = 1 - np.delete(self.array[row], row).sum()
            self.array[row, row] = round(max(rest, 0.0), DECIMALS)
        self.dataChanged.emit(self.index(row, 0), self.index(row, self.columnCount() - 1))
        return True


class _Share(QStyledItemDelegate):
    """Edits a number from 0 to 1 and hands it on at each step, so that the preview follows."""

    def createEditor(self, parent: QWidget, option: Any, index: QModelIndex) -> QWidget:  # noqa: N802 - Qt's name
        """A spin box."""
        box = QDoubleSpinBox(parent)
        box.setRange(0, 1)
        box.setDecimals(DECIMALS)
        box.setSingleStep(0.05)
        box.setFrame(False)
        box.valueChanged.connect(lambda _: self.commitData.emit(box))
        return box

    def setEditorData(self, editor: QDoubleSpinBox, index: QModelIndex) -> None:  # noqa: N802 - Qt's name
        """Show the number, without echo."""
        number = index.data(Role.EditRole)
        if round(number, DECIMALS) != editor.value():
            blocked = editor.blockSignals(True)
            editor.setValue(number)
            editor.blockSignals(blocked)

    def setModelData(self, editor: QDoubleSpinBox, model: QAbstractTableModel, index: QModelIndex) -> None:  # noqa: N802
        """Take the number over, unless the box only rounds it."""
        if round(index.data(Role.EditRole), DECIMALS) != editor.value():
            model.setData(index, round(editor.value(), DECIMALS))


def color_patch(label: int) -> QIcon:
    """A small square in the colour of a class."""
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor(class_color(label)))
    return QIcon(pixmap)
