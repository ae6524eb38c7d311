"""The table of pairs: image layer, labels layer, what they are used for; in step with the viewer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QStyledItemDelegate,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.train.rows import Row, Use, is_image, is_labels, suggest

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels

HEADS = ("image", "labels", "used to")
USES: dict[Use, str] = {"train": "train", "validation": "validate"}
MOST_ROWS = 6
"""The table grows to this many rows and scrolls beyond."""
PROBLEM = "#e5534b"
NOTHING = "choose…"
KEPT = "(validate)"
"""Shown for rows that are kept for validation without being set to it."""


class PairsTable(QWidget):
    """Pairs of layers; those that names or shapes suggest come by themselves. ``changed`` tells of any change.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.rows: list[Row] = []
        self._kept: frozenset[str] = frozenset()
        self._unwanted: set[int] = set()  # images whose row the user took out
        self._named: list[Any] = []
        self.table = QTableWidget(0, len(HEADS))
        self._make_table()
        self.add_button = QPushButton("Add pair")
        self.add_button.setToolTip(tooltip("Add a row; choose its layers by a double click."))
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip(tooltip("Take the selected rows out of the table; the layers stay."))
        self.use_button = QPushButton("Train ⇄ validate")
        self.use_button.setToolTip(tooltip("Use the selected rows for the other purpose."))
        buttons = QHBoxLayout()
        layout = QVBoxLayout(self)
        for box in (buttons, layout):
            box.setContentsMargins(0, 0, 0, 0)
            box.setSpacing(4)
        for button in (self.add_button, self.remove_button, self.use_button):
            buttons.addWidget(button)
        layout.addWidget(self.table)
        layout.addLayout(buttons)
        self.add_button.clicked.connect(lambda: self.add())
        self.remove_button.clicked.connect(lambda: self.remove(self.selected()))
        self.use_button.clicked.connect(lambda: self.swap_use(self.selected()))
        events = viewer.layers.events
        events.inserted.connect(self._on_inserted)
        events.removed.connect(self._on_removed)
        self._on_inserted()

    # ---- what scripts and buttons do ---------------------------------------------------------------------

    def add(self, image: Image | None = None, labels: Labels | None = None, use: Use = "train") -> None:
        """Add a row."""
        self.rows.append(Row(image, labels, use))
        self._tell()

    def remove(self, numbers: list[int]) -> None:
        """Take rows out, by number from 0."""
        for number in sorted(numbers, reverse=True):
            row = self.rows.pop(number)
            if row.image is not None:
                self._unwanted.add(id(row.image))
        self._tell()

    def swap_use(self, numbers: list[int]) -> None:
        """Use rows for the other purpose."""
        for number in numbers:
            row = self.rows[number]
            row.use, row.by = "validation" if row.use == "train" else "train", "user"
        self._tell()

    def clear(self) -> None:
        """Take all rows out."""
        self.remove(list(range(len(self.rows))))

    def selected(self) -> list[int]:
        """The numbers of the selected rows."""
        return sorted({index.row() for index in self.table.selectionModel().selectedIndexes()})

    def show_kept(self, images: Iterable[str]) -> None:
        """Mark the rows of these images, which the settings keep for validation."""
        kept = frozenset(images)
        if kept != self._kept:
            self._kept = kept
            self._show()

    def release(self) -> None:
        """Let go of the viewer (its events would call a deleted widget)."""
        events = self.viewer.layers.events
        events.inserted.disconnect(self._on_inserted)
        events.removed.disconnect(self._on_removed)
        for layer in self._named:
            layer.events.name.disconnect(self._show)
        self._named = []

    # ---- in step with the viewer -----------------------------------------------------------------------------

    def _on_inserted(self, event: Any = None) -> None:
        """Suggest anew what nobody has chosen and no name says."""
        kept = [row for row in self.rows if row.by != "shape"]
        layers = [layer for layer in self.viewer.layers if id(layer) not in self._unwanted]
        self.rows = kept + suggest(layers, kept)
        self._tell()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        self._unwanted.discard(id(layer))
        for row in list(self.rows):
            if row.image is layer or row.labels is layer:
                row.image = None if row.image is layer else row.image
                row.labels = None if row.labels is layer else row.labels
                if row.by != "user" or (row.image is None and row.labels is None):
                    self.rows.remove(row)
        self._tell()

    def _tell(self) -> None:
        self._show()
        self.changed.emit()

    # ---- how it looks ------------------------------------------------------------------------------------------

    def _make_table(self) -> None:
        self.table.setHorizontalHeaderLabels(HEADS)
        self.table.setToolTip(
            tooltip(
                "Images and their labels. Double-click a cell to choose another layer, or what the pair is used for. "
                "Where no row is used to validate, the share of the images set under Data is kept for it."
            )
        )
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        self.table.verticalHeader().setVisible(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setWordWrap(False)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        delegate = _Chooser(self._options, self._choose, self.table)
        self.table.setItemDelegate(delegate)

    def _show(self, event: Any = None) -> None:
        for layer in self._named:
            layer.events.name.disconnect(self._show)
        self._named = list({id(x): x for row in self.rows for x in (row.image, row.labels) if x is not None}.values())
        for layer in self._named:
            layer.events.name.connect(self._show)
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(self.rows))
            for number, row in enumerate(self.rows):
                kept = row.use == "train" and row.image is not None and row.image.name in self._kept
                names = [NOTHING if layer is None else layer.name for layer in (row.image, row.labels)]
                texts = (*names, KEPT if kept else USES[row.use])
                for column, text in enumerate(texts):
                    item = QTableWidgetItem(text)
                    why = "Kept for validation, see Validation fraction under Data." if text == KEPT else text
                    item.setToolTip(tooltip(f"This pair {row.problem}." if row.problem else why))
                    if row.problem:
                        item.setForeground(QColor(PROBLEM))
                    self.table.setItem(number, column, item)
        height = max(self.table.sizeHintForRow(0), self.fontMetrics().height() + 8)
        self.table.verticalHeader().setDefaultSectionSize(height)
        shown = min(max(len(self.rows), 2), MOST_ROWS)
        self.table.setFixedHeight(shown * height + self.table.horizontalHeader().sizeHint().height() + 4)

    # ---- choosing ------------------------------------------------------------------------------------------------

    def _options(self, column: int) -> list[tuple[str, Any]]:
        """What can be chosen in a column: texts and values."""
        if column == 2:
            return [(text, use) for use, text in USES.items()]
        fits = is_labels if column else is_image
        return [(layer.name, layer) for layer in self.viewer.layers if fits(layer)]

    def _choose(self, number: int, column: int, value: Any) -> None:
        if number >= len(self.rows) or value is None:
            return
        row, name = self.rows[number], ("image", "labels", "use")[column]
        if getattr(row, name) is value:
            return
        setattr(row, name, value)
        row.by = "user"
        self._tell()


class _Chooser(QStyledItemDelegate):
    """Offers a cell's options in a box that opens at once."""

    def __init__(
        self,
        options: Callable[[int], list[tuple[str, Any]]],
        choose: Callable[[int, int, Any], None],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._options, self._choose = options, choose

    def createEditor(self, parent: QWidget, option: Any, index: Any) -> QWidget:  # noqa: N802 - Qt's name
        box = QComboBox(parent)
        for text, value in self._options(index.column()):
            box.addItem(text, value)
        box.activated.connect(lambda _: (self.commitData.emit(box), self.closeEditor.emit(box)))
        QTimer.singleShot(0, box.showPopup)
        return box

    def setEditorData(self, editor: Any, index: Any) -> None:  # noqa: N802 - Qt's name
        editor.setCurrentIndex(editor.findText(USES["train"] if index.data() == KEPT else index.data()))

    def setModelData(self, editor: Any, model: Any, index: Any) -> None:  # noqa: N802 - Qt's name
        self._choose(index.row(), index.column(), editor.currentData())
