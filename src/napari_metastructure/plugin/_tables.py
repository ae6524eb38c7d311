"""Tables of results, of noise transition matrices, of how alike masks are, and of numbers by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy import QtCore, QtGui, QtWidgets
from qtpy.QtCore import QEvent

from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.baselines.results import Agreement
from napari_metastructure.labels.transition import TransitionMatrix
from napari_metastructure.plugin._form import RealSpinBox, tooltip
from napari_metastructure.plugin._layers import UNLABELLED_COLOR, class_color

NOTHING = "–"
"""In the cell of a number that is not known yet."""

BLUE = QtGui.QColor("#2a7fb8")
"""A share of 1 in a matrix; the less, the more the ground of the window shows."""

SMALL = "QTableView { font-size: 11px; } QHeaderView::section { font-size: 11px; padding: 2px; }"
"""Letters that fit a table with many columns into a dock."""


MOST_NAME = 120
"""Pixels of a name that are always seen."""


def patch(color: str) -> QtGui.QIcon:
    """Make a small square in a colour."""
    pixmap = QtGui.QPixmap(12, 12)
    pixmap.fill(QtGui.QColor(color))
    return QtGui.QIcon(pixmap)


def blue(share: float) -> QtGui.QColor:
    """Return the blue of a share from 0 to 1."""
    shade = QtGui.QColor(BLUE)
    shade.setAlphaF(min(max(share, 0.0), 1.0))
    return shade


def short(share: float) -> str:
    """Write a share in few letters: ``.87``, ``0`` and ``1``."""
    text = f"{share:.2f}"
    return text[0] if text in ("0.00", "1.00") else text.removeprefix("0")


def fit_rows(table: QtWidgets.QTableWidget) -> None:
    """Make a table as high as its rows, and a bar below where it is wider: the panel scrolls, not the table."""
    table.resizeRowsToContents()
    rows = sum(table.rowHeight(row) for row in range(table.rowCount()))
    wider = table.horizontalHeader().length() > table.viewport().width()
    scrolls = wider and table.horizontalScrollBarPolicy() != QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff
    bar = table.horizontalScrollBar().sizeHint().height() if scrolls else 0
    table.setFixedHeight(rows + table.horizontalHeader().sizeHint().height() + bar + 4)


class ResultTable(QtWidgets.QTableWidget):
    """A row of numbers for each key, under headings with tooltips; rows are selected whole, one at a time.

    The first column holds names, and takes the room that is left; where that is too little, the table scrolls sideways.

    Parameters
    ----------
    heads : mapping of str to str
        Tooltip by heading, in the order of columns.

    Attributes
    ----------
    keys : list
        What each row is about.
    """

    def __init__(self, heads: Mapping[str, str]) -> None:
        super().__init__(0, len(heads))
        self.setHorizontalHeaderLabels(list(heads))
        self.setToolTip(tooltip("Hover over a column's heading to read what it holds."))
        for column, tip in enumerate(heads.values()):
            self.horizontalHeaderItem(column).setToolTip(tooltip(tip))
        self.verticalHeader().setVisible(False)
        self.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.SingleSelection)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)  # Tab leaves it; the arrows go through it
        self.setHorizontalScrollMode(QtWidgets.QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(24)
        header.setSectionResizeMode(QtWidgets.QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QtWidgets.QHeaderView.ResizeMode.Fixed)
        header.sectionResized.connect(lambda column, *_: self._fit_names() if column else None)
        self.setStyleSheet(SMALL)
        self.keys: list[Any] = []

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Share the width out again."""
        super().resizeEvent(event)
        self._fit_names()

    def _fit_names(self) -> None:
        numbers = sum(self.columnWidth(column) for column in range(1, self.columnCount()))
        enough = min(self.sizeHintForColumn(0), MOST_NAME)
        self.setColumnWidth(0, max(enough, self.viewport().width() - numbers))
        fit_rows(self)

    def show_rows(self, names: Mapping[Any, str]) -> None:
        """Show a row for each of these keys, by its name, without numbers."""
        self.keys = list(names)
        with QtCore.QSignalBlocker(self):
            self.clearContents()
            self.setRowCount(len(names))
            for row, name in enumerate(names.values()):
                for column in range(self.columnCount()):
                    item = QtWidgets.QTableWidgetItem(NOTHING if column else name)
                    item.setFlags(QtCore.Qt.ItemFlag.ItemIsEnabled | QtCore.Qt.ItemFlag.ItemIsSelectable)
                    if column:
                        item.setTextAlignment(
                            int(QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter)
                        )
                    self.setItem(row, column, item)
        self.clearSelection()
        fit_rows(self)

    def cell(self, key: Any, column: int) -> QtWidgets.QTableWidgetItem:
        """Return the cell in the row of a key."""
        return self.item(self.keys.index(key), column)

    def text(self, key: Any, column: int) -> str:
        """Return what a cell shows; nothing for an unknown key."""
        return str(self.cell(key, column).text()) if key in self.keys else ""

    def write(self, key: Any, column: int, text: str, tip: str = "") -> None:
        """Show a text in a cell, and a tooltip if one is given."""
        item = self.cell(key, column)
        item.setText(text)
        if tip:
            item.setToolTip(tooltip(tip))

    def show_running(self, running: Any) -> None:
        """Print the name of one key in bold, or of none."""
        with QtCore.QSignalBlocker(self):
            for key in self.keys:
                item = self.cell(key, 0)
                font = item.font()
                font.setBold(key == running)
                item.setFont(font)
        self.viewport().update()  # blocked signals do not redraw it

    def selected(self) -> Any:
        """Return the key of the selected row, or None."""
        rows = self.selectionModel().selectedRows()
        return self.keys[rows[0].row()] if rows else None


# ---- a noise transition matrix -----------------------------------------------------------------------------------


TALLEST, WIDEST = 26, 56
"""Largest cell, in pixels."""

MARK = 12
"""Side of the patch of colour that stands for a class."""

HEIGHT = 200
"""Cells shrink rather than make the picture higher than this."""

MOST_CELLS = 24
"""With more classes cells are painted as one image."""

DARK = 0.6
"""Lightness below which white letters are read best."""

GROUND = 0.06
"""Of the blue, where a probability is 0: the cell shows."""


class MatrixView(QtWidgets.QWidget):
    """Picture of a `TransitionMatrix`, rows true classes and columns noisy ones; the mouse says each cell's number.

    Painted, not a table: a table's rows and columns are a pixel at least, and 254 classes have to be seen at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.transition: TransitionMatrix | None = None
        self.colors: Mapping[int, str] = {}
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.show_matrix(None)

    def show_matrix(
        self, transition: TransitionMatrix | None, why_not: str = "", colors: Mapping[int, str] | None = None
    ) -> None:
        """Show another matrix, its classes in these colours or those of the palette; or none and the reason."""
        self.transition, self.why_not, self.colors = transition, why_not, colors or {}
        self.shares = np.zeros((0, 0))
        if transition is not None:
            self.shares = np.column_stack([transition.matrix, transition.unlabelled])
        self.setFixedHeight(self.sizeHint().height())
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802 - Qt's name
        """Take as much height as the cells need."""
        if self.transition is None:
            wrapped = int(QtCore.Qt.TextFlag.TextWordWrap)
            said = self.fontMetrics().boundingRect(0, 0, 240, HEIGHT, wrapped, self.why_not)
            return QtCore.QSize(240, max(said.height(), self.fontMetrics().height()) + 4)
        return QtCore.QSize(240, min(self._top() + len(self.shares) * TALLEST, HEIGHT))

    def cell(self, row: int, column: int) -> QtCore.QRect:
        """Return where a cell is painted; row or column -1 is that of the classes' marks."""
        rows, columns = self.shares.shape
        left, top = self._left(), self._top()
        # Cells end where the next begin: together they fill the picture, whatever their number.
        wide, high = min(WIDEST * columns, self.width() - left - 2), min(TALLEST * rows, self.height() - top)
        x = [left + wide * i // columns for i in (column, column + 1)] if column >= 0 else [left - MARK - 6, left]
        y = [top + high * i // rows for i in (row, row + 1)] if row >= 0 else [top - MARK - 6, top]
        return QtCore.QRect(QtCore.QPoint(x[0], y[0]), QtCore.QSize(x[1] - x[0], y[1] - y[0]))

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Paint captions, marks, cells and, where they fit, numbers."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing, False)
        text = self.palette().windowText().color()
        painter.setPen(text)
        if self.transition is None:
            painter.drawText(self.rect(), QtCore.Qt.TextFlag.TextWordWrap, self.why_not)
            return
        self._paint_captions(painter)
        rows, columns = self.shares.shape
        for label, at in zip(self.transition.classes, range(rows), strict=True):
            color = QtGui.QColor(self.colors.get(label, class_color(label)))
            self._paint_mark(painter, self.cell(at, -1), color, str(label), across=False)
            self._paint_mark(painter, self.cell(-1, at), color, str(label), across=True)
        grey = QtGui.QColor.fromRgbF(*UNLABELLED_COLOR)
        self._paint_mark(painter, self.cell(-1, columns - 1), grey, "none", across=True)
        if rows > MOST_CELLS:
            self._paint_crowd(painter)
            return
        for row in range(rows):
            for column in range(columns):
                self._paint_cell(painter, self.cell(row, column), self.shares[row, column], text)

    def event(self, event: QEvent) -> bool:
        """Say the number under the mouse."""
        if isinstance(event, QtGui.QHelpEvent) and event.type() == event.Type.ToolTip:
            said = self.say(event.pos())
            QtWidgets.QToolTip.showText(event.globalPos(), said, self) if said else QtWidgets.QToolTip.hideText()
            return True
        return bool(super().event(event))

    def say(self, at: QtCore.QPoint) -> str:
        """Say what the cell at a place means, in words."""
        if self.transition is None:
            return ""
        rows, columns = self.shares.shape
        row = next((r for r in range(rows) if self.cell(r, 0).top() <= at.y() <= self.cell(r, 0).bottom()), None)
        column = next((c for c in range(columns) if self.cell(0, c).left() <= at.x() <= self.cell(0, c).right()), None)
        if row is None or column is None:
            return "Rows: the true class. Columns: the class on the noisy label; the last one is unlabelled (255)."
        true, share = self.transition.classes[row], self.shares[row, column]
        if np.isnan(share):
            return f"There is no pixel of class {true}."
        becomes = "unlabelled" if column == columns - 1 else f"class {self.transition.classes[column]}"
        how = "stays" if column == row else "becomes"
        return f"A pixel of class {true} {how} {becomes} with probability {share:.4g}."

    def _paint_captions(self, painter: QtGui.QPainter) -> None:
        metrics = self.fontMetrics()
        first = self.cell(0, 0)
        line = QtCore.QRect(first.left(), 0, self.width() - first.left(), metrics.height())
        painter.drawText(line, QtCore.Qt.AlignmentFlag.AlignLeft | QtCore.Qt.AlignmentFlag.AlignVCenter, "noisy class")
        rows = QtCore.QRect(
            0, first.top(), self._left() - self._marks() - 4, self.cell(len(self.shares) - 1, 0).bottom()
        )
        rows.setBottom(self.cell(len(self.shares) - 1, 0).bottom())
        where = QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter
        painter.drawText(rows, where | QtCore.Qt.TextFlag.TextWordWrap, "true class")

    def _paint_mark(
        self, painter: QtGui.QPainter, place: QtCore.QRect, color: QtGui.QColor, name: str, across: bool
    ) -> None:
        """Paint a patch of a class's colour, with its name beside it where there is room."""
        room = place.width() if across else place.height()
        patch = (
            QtCore.QRect(0, 0, min(MARK, max(room - 2, 1)), MARK)
            if across
            else QtCore.QRect(0, 0, MARK, min(MARK, room))
        )
        wide = self.fontMetrics().horizontalAdvance(name)
        fits = room >= (MARK + 3 + wide if across else self.fontMetrics().height() - 3)
        patch.moveCenter(place.center())
        if not across:
            patch.moveRight(self._left() - 5)
        elif fits:
            patch.moveLeft(place.center().x() - (MARK + 3 + wide) // 2)
        painter.fillRect(patch, color)
        if not fits:
            return
        where = QtCore.Qt.AlignmentFlag.AlignVCenter
        if across:
            beside = QtCore.QRect(patch.right() + 4, place.top(), wide + 4, place.height())
            painter.drawText(beside, where | QtCore.Qt.AlignmentFlag.AlignLeft, name)
        else:
            beside = QtCore.QRect(patch.left() - 4 - wide - 4, place.top(), wide + 4, place.height())
            painter.drawText(beside, where | QtCore.Qt.AlignmentFlag.AlignRight, name)

    def _paint_cell(self, painter: QtGui.QPainter, place: QtCore.QRect, share: float, text: QtGui.QColor) -> None:
        if np.isnan(share):
            painter.fillRect(place, QtGui.QColor(128, 128, 128, 40))
            return
        gap = 1 if min(place.width(), place.height()) > 6 else 0
        shade = blue(GROUND + (1 - GROUND) * float(share))
        painter.fillRect(place.adjusted(0, 0, -gap, -gap), shade)
        number = short(share)
        metrics = self.fontMetrics()
        if place.width() > metrics.horizontalAdvance(number) + 3 and place.height() > metrics.height() - 3:
            ground = self.palette().window().color().lightnessF()
            seen = ground + shade.alphaF() * (shade.lightnessF() - ground)
            painter.setPen(QtGui.QColor("white") if seen < DARK else text)
            painter.drawText(place, QtCore.Qt.AlignmentFlag.AlignCenter, number)
            painter.setPen(text)

    def _paint_crowd(self, painter: QtGui.QPainter) -> None:
        """Cells too small for numbers and gaps, as one image: a hundred classes have ten thousand."""
        rows, columns = self.shares.shape
        pixels = np.zeros((rows, columns, 4), np.uint8)
        pixels[..., :3] = BLUE.red(), BLUE.green(), BLUE.blue()
        pixels[..., 3] = np.rint(255 * (GROUND + (1 - GROUND) * np.nan_to_num(self.shares)))
        image = QtGui.QImage(pixels.tobytes(), columns, rows, 4 * columns, QtGui.QImage.Format.Format_RGBA8888)
        painter.drawImage(self.cell(0, 0).united(self.cell(rows - 1, columns - 1)), image)

    def _marks(self) -> int:
        """Width of the column of marks and names beside the rows."""
        names = self.transition.classes if self.transition is not None else (0,)
        return MARK + 10 + max(self.fontMetrics().horizontalAdvance(str(name)) for name in names)

    def _left(self) -> int:
        return self._marks() + self.fontMetrics().horizontalAdvance("class") + 8

    def _top(self) -> int:
        return self.fontMetrics().height() + MARK + 8


# ---- how alike the masks of methods are --------------------------------------------------------------------------


TIP = (
    "Mean Dice between the masks of two methods in their first repeat, 0 to 1; columns have the numbers of their "
    "methods. Methods that agree with no other are suspect; methods that agree may err alike."
)

ROOMY = 8
"""Of more methods the numbers are written as short as they can be."""


class AgreementTable(QtWidgets.QTableWidget):
    """A numbered row per method, and a column per number; the deeper the colour, the more alike."""

    def __init__(self) -> None:
        super().__init__(0, 0)
        self.setToolTip(tooltip(TIP))
        self.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().setVisible(False)
        self.horizontalHeader().setMinimumSectionSize(20)
        self.setStyleSheet(SMALL)
        self.found: Agreement | None = None

    def begin(self, methods: Sequence[str]) -> None:
        """Show rows and columns of these methods, without numbers."""
        self.found = None
        self.clear()
        self.setRowCount(len(methods))
        self.setColumnCount(1 + len(methods))
        self.setHorizontalHeaderLabels(["Dice between", *(str(i + 1) for i in range(len(methods)))])
        for row, method in enumerate(methods):
            self.setItem(row, 0, _item(f"{row + 1}  {METHODS[method].title}"))
            self.horizontalHeaderItem(row + 1).setToolTip(METHODS[method].title)
            for column in range(len(methods)):
                self.setItem(row, column + 1, _item("", QtCore.Qt.AlignmentFlag.AlignCenter))
        header = self.horizontalHeader()
        header.setSectionResizeMode(QtWidgets.QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QtWidgets.QHeaderView.ResizeMode.ResizeToContents)
        self._methods = tuple(methods)
        fit_rows(self)

    def show_agreement(self, found: Agreement) -> None:
        """Fill in the numbers there are."""
        self.found = found
        for i, first in enumerate(found.methods):
            for j, second in enumerate(found.methods):
                share = float(found.dice[i, j])
                item = self.item(self._methods.index(first), self._methods.index(second) + 1)
                item.setText("" if i == j else short(share) if len(self._methods) > ROOMY else f"{share:.2f}")
                item.setBackground(blue(max(share, 0.0) ** 2))
                item.setToolTip(f"{METHODS[first].title} and {METHODS[second].title}: {share:.3f}")
        fit_rows(self)


def _item(
    text: str, alignment: QtCore.Qt.AlignmentFlag = QtCore.Qt.AlignmentFlag.AlignLeft
) -> QtWidgets.QTableWidgetItem:
    item = QtWidgets.QTableWidgetItem(text)
    item.setFlags(QtCore.Qt.ItemFlag.ItemIsEnabled)
    item.setTextAlignment(int(alignment | QtCore.Qt.AlignmentFlag.AlignVCenter))
    return item


# ---- probabilities by class, edited in place ---------------------------------------------------------------------


Values = Mapping[int, float]

Rows = tuple[tuple[float, ...], ...]

Role = QtCore.Qt.ItemDataRole

MOST_ROWS = 6
"""The table grows to this many rows and scrolls beyond."""

DECIMALS = 4


class ClassTable(QtWidgets.QTableView):
    """Numbers from 0 to 1 by class, edited in place; ``changed`` reports edits by hand.

    Parameters
    ----------
    tip : str
        What the numbers are.
    square : bool
        A column for each class, its rows being the classes a pixel comes from; else one column.
    """

    changed = QtCore.Signal()

    def __init__(self, tip: str, square: bool = False) -> None:
        super().__init__()
        self.numbers = _Numbers(square)
        self.setModel(self.numbers)
        self.setItemDelegate(_Share(self))
        self.setTabKeyNavigation(False)
        self.setToolTip(tooltip(tip))
        for header in (self.horizontalHeader(), self.verticalHeader()):
            header.setSectionsClickable(False)
            header.setHighlightSections(False)
        self.horizontalHeader().setMinimumSectionSize(60)
        self.horizontalHeader().setDefaultSectionSize(64)
        self.horizontalHeader().setSectionResizeMode(QtWidgets.QHeaderView.ResizeMode.Stretch)
        self.verticalHeader().setDefaultSectionSize(24)
        self.numbers.dataChanged.connect(lambda *_: self.changed.emit())
        self._fit()

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes, one row each."""
        return self.numbers.classes

    def values(self) -> dict[int, float]:
        """Return the first column, by class."""
        return dict(zip(self.classes, self.numbers.array[:, 0].tolist(), strict=True))

    def matrix(self) -> Rows:
        """Return all rows."""
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

    def show_colors(self, colors: Mapping[int, str]) -> None:
        """Show classes in these colours, and others in those of the palette."""
        self.numbers.colors = colors
        for part in (self, self.horizontalHeader(), self.verticalHeader()):
            part.viewport().update()

    def _fit(self) -> None:
        rows = min(max(self.numbers.rowCount(), 1), MOST_ROWS)
        header = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(rows * self.verticalHeader().defaultSectionSize() + header + 2 * self.frameWidth() + 2)
        crowded = self.numbers.columnCount() > MOST_ROWS
        mode = QtWidgets.QHeaderView.ResizeMode.Interactive if crowded else QtWidgets.QHeaderView.ResizeMode.Stretch
        self.horizontalHeader().setSectionResizeMode(mode)


class _Numbers(QtCore.QAbstractTableModel):
    """The numbers of a `ClassTable`."""

    def __init__(self, square: bool) -> None:
        super().__init__()
        self.square = square
        self.classes: tuple[int, ...] = ()
        self.colors: Mapping[int, str] = {}
        self.array = np.zeros((0, 0))

    def show(self, classes: tuple[int, ...], array: np.ndarray) -> None:
        """Replace everything."""
        self.beginResetModel()
        self.classes, self.array = classes, array
        self.endResetModel()

    def rowCount(self, parent: QtCore.QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Return how many classes there are."""
        return int(self.array.shape[0])

    def columnCount(self, parent: QtCore.QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Return 1, or as many as rows."""
        return int(self.array.shape[1])

    def flags(self, index: QtCore.QModelIndex) -> Any:
        """Let every cell be edited."""
        return super().flags(index) | QtCore.Qt.ItemFlag.ItemIsEditable

    def data(self, index: QtCore.QModelIndex, role: int = Role.DisplayRole) -> Any:
        """Show a number in the middle of its cell; what stays as it is stands on its class's colour."""
        row, column = index.row(), index.column()
        if role == Role.DisplayRole:
            return f"{self.array[row, column]:.3g}"
        if role == Role.EditRole:
            return float(self.array[row, column])
        if role == Role.TextAlignmentRole:
            return int(QtCore.Qt.AlignmentFlag.AlignCenter)
        if role == Role.BackgroundRole and (not self.square or row == column):
            color = QtGui.QColor(self._color(self.classes[row]))
            color.setAlpha(70)
            return color
        return None

    def headerData(self, section: int, side: QtCore.Qt.Orientation, role: int = Role.DisplayRole) -> Any:  # noqa: N802
        """Show the classes, each with a patch of its colour."""
        across = side == QtCore.Qt.Orientation.Horizontal
        if across and not self.square:
            return "probability" if role == Role.DisplayRole else None
        if not 0 <= section < len(self.classes):
            return None
        label = self.classes[section]
        if role == Role.DisplayRole:
            return f"to {label}" if across else f"class {label}"
        return patch(self._color(label)) if role == Role.DecorationRole else None

    def _color(self, label: int) -> str:
        return self.colors.get(label, class_color(label))

    def setData(self, index: QtCore.QModelIndex, value: Any, role: int = Role.EditRole) -> bool:  # noqa: N802
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


class _Share(QtWidgets.QStyledItemDelegate):
    """Edits a number from 0 to 1 and hands it on at each step, so that the preview follows."""

    def createEditor(self, parent: QtWidgets.QWidget, option: Any, index: QtCore.QModelIndex) -> QtWidgets.QWidget:  # noqa: N802 - Qt's name
        """Make a spin box."""
        box = RealSpinBox(0, 1, parent, DECIMALS)
        box.setStepType(box.StepType.DefaultStepType)
        box.setSingleStep(0.05)
        box.setFrame(False)
        box.valueChanged.connect(lambda _: self.commitData.emit(box))
        return box

    def setEditorData(self, editor: RealSpinBox, index: QtCore.QModelIndex) -> None:  # noqa: N802 - Qt's name
        """Show the number, without echo."""
        number = index.data(Role.EditRole)
        if round(number, DECIMALS) != editor.value():
            blocked = editor.blockSignals(True)
            editor.setValue(number)
            editor.blockSignals(blocked)

    def setModelData(self, editor: Any, model: Any, index: QtCore.QModelIndex) -> None:  # noqa: N802 - Qt's name
        """Take the number over, unless the box only rounds it."""
        if round(index.data(Role.EditRole), DECIMALS) != editor.value():
            model.setData(index, round(editor.value(), DECIMALS))
