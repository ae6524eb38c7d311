"""A noise transition matrix as a picture: rows are true classes, columns noisy ones, the darkness a probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPoint, QRect, QSize, Qt
from qtpy.QtGui import QColor, QHelpEvent, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_metastructure.plugin.label_colors import UNLABELLED_COLOR, class_color

if TYPE_CHECKING:
    from qtpy.QtCore import QEvent

    from napari_metastructure.labels.transition import TransitionMatrix

TALLEST, WIDEST = 26, 56
"""Largest cell, in pixels."""

MARK = 12
"""Side of the patch of colour that stands for a class."""

HEIGHT = 200
"""Cells shrink rather than make the picture higher than this."""

MOST_CELLS = 24
"""With more classes cells are painted as one image."""

DEEP = QColor("#2a7fb8")
"""A probability of 1; 0 is the ground of the window."""


class MatrixView(QWidget):
    """Paints a `TransitionMatrix`; the mouse tells each cell's number."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.transition: TransitionMatrix | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.show_matrix(None)

    def show_matrix(self, transition: TransitionMatrix | None, why_not: str = "") -> None:
        """Paint another matrix, or none and the reason."""
        self.transition, self.why_not = transition, why_not
        self.shares = np.zeros((0, 0))
        if transition is not None:
            self.shares = np.column_stack([transition.matrix, transition.unlabelled])
        self.setFixedHeight(self.sizeHint().height())
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as the cells need."""
        if self.transition is None:
            return QSize(240, self.fontMetrics().height() + 4)
        return QSize(240, min(self._top() + len(self.shares) * TALLEST, HEIGHT))

    def cell(self, row: int, column: int) -> QRect:
        """Where a cell is painted; row or column -1 is that of the classes' marks."""
        rows, columns = self.shares.shape
        left, top = self._left(), self._top()
        # Cells end where the next begin: together they fill the picture, whatever their number.
        wide, high = min(WIDEST * columns, self.width() - left - 2), min(TALLEST * rows, self.height() - top)
        x = [left + wide * i // columns for i in (column, column + 1)] if column >= 0 else [left - MARK - 6, left]
        y = [top + high * i // rows for i in (row, row + 1)] if row >= 0 else [top - MARK - 6, top]
        return QRect(QPoint(x[0], y[0]), QSize(x[1] - x[0], y[1] - y[0]))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Paint captions, marks, cells and, where they fit, numbers."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        text = self.palette().windowText().color()
        painter.setPen(text)
        if self.transition is None:
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter, self.why_not)
            return
        self._paint_captions(painter)
        rows, columns = self.shares.shape
        for label, at in zip(self.transition.classes, range(rows), strict=True):
            self._paint_mark(painter, self.cell(at, -1), QColor(class_color(label)), str(label), across=False)
            self._paint_mark(painter, self.cell(-1, at), QColor(class_color(label)), str(label), across=True)
        grey = QColor.fromRgbF(*UNLABELLED_COLOR)
        self._paint_mark(painter, self.cell(-1, columns - 1), grey, "none", across=True)
        if rows > MOST_CELLS:
            self._paint_crowd(painter)
            return
        for row in range(rows):
            for column in range(columns):
                self._paint_cell(painter, self.cell(row, column), self.shares[row, column], text)

    def event(self, event: QEvent) -> bool:
        """Tell the number under the mouse."""
        if isinstance(event, QHelpEvent) and event.type() == event.Type.ToolTip:
            said = self.say(event.pos())
            QToolTip.showText(event.globalPos(), said, self) if said else QToolTip.hideText()
            return True
        return bool(super().event(event))

    def say(self, at: QPoint) -> str:
        """What the cell at a place means, in words."""
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

    def _paint_captions(self, painter: QPainter) -> None:
        metrics = self.fontMetrics()
        first = self.cell(0, 0)
        line = QRect(first.left(), 0, self.width() - first.left(), metrics.height())
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, "noisy class")
        rows = QRect(0, first.top(), self._left() - self._marks() - 4, self.cell(len(self.shares) - 1, 0).bottom())
        rows.setBottom(self.cell(len(self.shares) - 1, 0).bottom())
        where = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(rows, where | Qt.TextFlag.TextWordWrap, "true class")

    def _paint_mark(self, painter: QPainter, place: QRect, color: QColor, name: str, across: bool) -> None:
        """A patch of a class's colour, with its name beside it where there is room."""
        room = place.width() if across else place.height()
        patch = QRect(0, 0, min(MARK, max(room - 2, 1)), MARK) if across else QRect(0, 0, MARK, min(MARK, room))
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
        where = Qt.AlignmentFlag.AlignVCenter
        if across:
            beside = QRect(patch.right() + 4, place.top(), wide + 4, place.height())
            painter.drawText(beside, where | Qt.AlignmentFlag.AlignLeft, name)
        else:
            beside = QRect(patch.left() - 4 - wide - 4, place.top(), wide + 4, place.height())
            painter.drawText(beside, where | Qt.AlignmentFlag.AlignRight, name)

    def _paint_cell(self, painter: QPainter, place: QRect, share: float, text: QColor) -> None:
        if np.isnan(share):
            painter.fillRect(place, QColor(128, 128, 128, 40))
            return
        shade = QColor(DEEP)
        shade.setAlphaF(0.06 + 0.94 * float(share))
        gap = 1 if min(place.width(), place.height()) > 6 else 0
        painter.fillRect(place.adjusted(0, 0, -gap, -gap), shade)
        number = f"{share:.2f}".removeprefix("0") if 0 < share < 1 else f"{share:.0f}"
        metrics = self.fontMetrics()
        if place.width() > metrics.horizontalAdvance(number) + 3 and place.height() > metrics.height() - 3:
            painter.setPen(QColor("white") if share > 0.5 else text)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, number)
            painter.setPen(text)

    def _paint_crowd(self, painter: QPainter) -> None:
        """Cells too small for numbers and gaps, as one image: a hundred classes have ten thousand."""
        rows, columns = self.shares.shape
        pixels = np.zeros((rows, columns, 4), np.uint8)
        pixels[..., :3] = DEEP.red(), DEEP.green(), DEEP.blue()
        pixels[..., 3] = np.rint(255 * (0.06 + 0.94 * np.nan_to_num(self.shares)))
        image = QImage(pixels.tobytes(), columns, rows, 4 * columns, QImage.Format.Format_RGBA8888)
        painter.drawImage(self.cell(0, 0).united(self.cell(rows - 1, columns - 1)), image)

    def _marks(self) -> int:
        """Width of the column of marks and names beside the rows."""
        names = self.transition.classes if self.transition is not None else (0,)
        return MARK + 10 + max(self.fontMetrics().horizontalAdvance(str(name)) for name in names)

    def _left(self) -> int:
        return self._marks() + self.fontMetrics().horizontalAdvance("class") + 8

    def _top(self) -> int:
        return self.fontMetrics().height() + MARK + 8
