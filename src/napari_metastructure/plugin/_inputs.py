"""A box with the viewer's layers of one kind, of which one is chosen, in step with the viewer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._layers import ORIGIN, full
from napari_metastructure.training.run_folder import FoundRun

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


class LayerBox(QComboBox):
    """Choose one layer; ``picked`` tells that it is another one now.

    Parameters
    ----------
    viewer : napari.Viewer
    tip : str
        What the layer is for.
    offered : callable
        Whether a layer is in the list.
    none : str, optional
        Text of an entry for no layer, which stands first; without it a layer is chosen as soon as there is one.
    """

    picked = Signal()

    def __init__(
        self,
        viewer: napari.Viewer,
        tip: str,
        offered: Callable[[Layer], bool],
        none: str | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.setToolTip(tooltip(tip))
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._offered = offered
        self._none = none
        self._named: list[Layer] = []
        for event in self._events():
            event.connect(self._refresh)
        self._refresh()
        self._before = self.chosen()
        self.currentIndexChanged.connect(lambda _: self._tell())

    def chosen(self) -> Any:
        """The chosen layer, or None."""
        return self.currentData()

    def choose(self, layer: Layer | None) -> bool:
        """Choose a layer, or none; False if it is not in the list."""
        for row in range(self.count()):
            if self.itemData(row) is layer:
                self.setCurrentIndex(row)
                return True
        return False

    def release(self) -> None:
        """Let go of the viewer (its events would call a deleted widget)."""
        for event in self._events():
            event.disconnect(self._refresh)
        for layer in self._named:
            layer.events.name.disconnect(self._refresh)
        self._named = []

    def _events(self) -> tuple[Any, ...]:
        events = self.viewer.layers.events
        return events.inserted, events.removed, events.reordered

    def _refresh(self, event: Any = None) -> None:
        chosen = self.chosen()
        for layer in self._named:
            layer.events.name.disconnect(self._refresh)
        self._named = [layer for layer in self.viewer.layers if self._offered(layer)]
        with QSignalBlocker(self):
            self.clear()
            if self._none is not None:
                self.addItem(self._none, None)
            for layer in self._named:
                self.addItem(layer.name, layer)
                layer.events.name.connect(self._refresh)
            self.choose(chosen)
        if hasattr(self, "_before"):
            self._tell()

    def _tell(self) -> None:
        now = self.chosen()
        if now is not self._before:
            self._before = now
            self.picked.emit()


# -------- A list of the viewer's layers of one kind with check boxes, in step with the viewer.


ROLE = Qt.ItemDataRole.UserRole

MOST_ROWS = 4
"""The list grows to this many rows and scrolls beyond."""


class LayerPicker(QListWidget):
    """Tick one or many layers; ``picked`` tells that the choice changed.

    Parameters
    ----------
    viewer : napari.Viewer
    tip : str
        What the layers are for.
    offered : callable, optional
        Whether a layer is in the list; by default images this plugin did not make.
    """

    picked = Signal()

    def __init__(
        self,
        viewer: napari.Viewer,
        tip: str,
        offered: Callable[[Layer], bool] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.setToolTip(tooltip(tip))
        self._offered = offered or _is_source
        self._named: list[Layer] = []
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._refresh)
        self._refresh()
        self.itemChanged.connect(lambda _: self.picked.emit())

    def chosen(self) -> list[Any]:
        """The ticked layers, in the order of the viewer."""
        return [item.data(ROLE) for item in self._items() if item.checkState() == Qt.CheckState.Checked]

    def choose(self, layers: Sequence[Layer]) -> None:
        """Tick these layers and no others.

        Raises
        ------
        InputError
            If one is not in the list.
        """
        for layer in layers:
            if not self._offered(layer):
                raise InputError(f"Layer {layer.name!r} is a {type(layer).__name__} layer that cannot be chosen here.")
        for item in self._items():
            on = any(item.data(ROLE) is layer for layer in layers)
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def release(self) -> None:
        """Let go of the viewer (its events would call a deleted widget)."""
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._refresh)
        for layer in self._named:
            layer.events.name.disconnect(self._refresh)
        self._named = []

    def _items(self) -> list[QListWidgetItem]:
        return [self.item(row) for row in range(self.count())]

    def _refresh(self, event: Any = None) -> None:
        before = self.chosen()
        layers = [layer for layer in self.viewer.layers if self._offered(layer)]
        chosen = [layer for layer in before if any(layer is other for other in layers)]
        unticked = self.count() > 0 and not before  # by the user, who does not want one
        if not chosen and layers and not unticked:  # the one at hand, else the first
            active = self.viewer.layers.selection.active
            chosen = [active if any(active is layer for layer in layers) else layers[0]]
        for layer in self._named:
            layer.events.name.disconnect(self._refresh)
        self._named = layers
        with QSignalBlocker(self):
            self.clear()
            for layer in layers:
                item = QListWidgetItem(f"{layer.name}  ({_size(layer)})", self)
                item.setData(ROLE, layer)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                on = any(layer is other for other in chosen)
                item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
                layer.events.name.connect(self._refresh)
        rows = min(max(len(layers), 1), MOST_ROWS)
        height = max(self.sizeHintForRow(0), self.fontMetrics().height() + 2)
        self.setFixedHeight(rows * height + 2 * self.frameWidth() + 6)
        now = self.chosen()
        if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True)):
            self.picked.emit()


def _is_source(layer: Layer) -> bool:
    return isinstance(layer, Image) and ORIGIN not in layer.metadata


def _size(layer: Layer) -> str:
    rgb = getattr(layer, "rgb", False)
    shape = full(layer).shape
    text = " x ".join(map(str, shape[:-1] if rgb else shape))
    return f"{text} RGB" if rgb else text


# An optional run folder: a line of text, a file dialog, and what can be done with a run that is in it already.


class FolderRow(QWidget):
    """Where a run is written; empty means nowhere. A folder with a run in it offers to go on with it.

    Parameters
    ----------
    kind : type
        How a run in the folder is read.
    resumed : str
        What a run goes on with, and what may be changed then, as the tooltip of the button says.
    """

    load_settings = Signal()
    resume_run = Signal()

    def __init__(
        self,
        kind: type[FoundRun[Any]],
        resumed: str,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.kind = kind
        self.line = QLineEdit()
        self.line.setPlaceholderText("run folder (optional)")
        self.line.setClearButtonEnabled(True)
        browse = QPushButton("Browse…")
        for part in (self.line, browse):
            part.setToolTip(
                tooltip("Where the run keeps its settings, curves and network. Leave empty to keep nothing.")
            )
        self.found = QLabel()
        self.found.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # the buttons come first
        self.found.setToolTip(tooltip("The last epoch that the run in this folder finished."))
        self.load_button = QPushButton("Load settings")
        self.load_button.setToolTip(
            tooltip("Take over the settings of the run in this folder, to raise Epochs and go further, say.")
        )
        self.resume_button = QPushButton("Resume run")
        self.resume_button.setToolTip(
            tooltip(f"Go on with the run in this folder from the last epoch it saved, on {resumed}")
        )
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.setColumnStretch(0, 1)
        layout.addWidget(self.line, 0, 0, 1, 2)
        layout.addWidget(browse, 0, 2)
        layout.addWidget(self.found, 1, 0)
        layout.addWidget(self.load_button, 1, 1)
        layout.addWidget(self.resume_button, 1, 2)
        browse.clicked.connect(self._browse)
        self.load_button.clicked.connect(self.load_settings)
        self.resume_button.clicked.connect(self.resume_run)
        self.line.textChanged.connect(self.look)
        self.look()

    def get(self) -> Path | None:
        """The folder, or None."""
        text = self.line.text().strip()
        return Path(os.path.expanduser(text)) if text else None  # pathlib's own raises at a "~" it does not know

    def set(self, folder: Path | str | None) -> None:
        """Show this folder."""
        self.line.setText("" if folder is None else str(folder))

    def look(self) -> None:
        """See whether the folder holds a run, and offer what can be done with it."""
        run = self.kind.find(self.get())
        for part in (self.found, self.load_button, self.resume_button):
            part.setVisible(run is not None)
        if run is not None:
            self.found.setText(f"Run at epoch {run.epoch}" if run.can_go_on else "Holds a run")
            self.resume_button.setEnabled(run.can_go_on)

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Run folder", self.line.text())
        if folder:
            self.set(folder)


# -------- A folder: a line of text and a file dialog.


class FolderLine(QWidget):
    """Name a folder; ``changed`` tells that it is another one.

    Parameters
    ----------
    hint : str
        What stands in the empty line.
    tip : str
    """

    changed = Signal()

    def __init__(self, hint: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = QLineEdit()
        self.line.setPlaceholderText(hint)
        self.line.setClearButtonEnabled(True)
        self.browse = QPushButton("Browse…")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for part in (self.line, self.browse):
            part.setToolTip(tooltip(tip))
            row.addWidget(part)
        self.browse.clicked.connect(self._ask)
        self.line.textChanged.connect(lambda _: self.changed.emit())

    def get(self) -> Path | None:
        """The folder, or None."""
        text = self.line.text().strip()
        return Path(os.path.expanduser(text)) if text else None  # pathlib's own raises at a "~" it does not know

    def set(self, folder: Path | str | None) -> None:
        """Show this folder."""
        self.line.setText("" if folder is None else str(folder))

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self.line.placeholderText(), self.line.text())
        if folder:
            self.set(folder)


# -------- A widget's parts below each other, in a scroll area where a screen is too low.


def lay_out(widget: QWidget, parts: Iterable[QWidget | QLayout]) -> QScrollArea:
    """Put parts, widgets or rows of them, into a widget, top to bottom; what scrolls them."""
    content = QWidget()
    column = QVBoxLayout(content)
    column.setContentsMargins(6, 6, 6, 6)
    column.setSpacing(6)
    for part in parts:
        column.addWidget(part) if isinstance(part, QWidget) else column.addLayout(part)
    column.addStretch(1)
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(content)
    outer = QVBoxLayout(widget)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(scroll)
    widget.setMinimumWidth(340)
    return scroll


def pages_above(widget: QWidget, pages: Mapping[str, Iterable[QWidget]], below: Iterable[QWidget]) -> QTabWidget:
    """Put pages of parts, by their titles, into a widget, and below them what all pages need; the tabs."""
    tabs = QTabWidget()
    tabs.setDocumentMode(True)
    for title, parts in pages.items():
        page = QWidget()
        lay_out(page, parts)
        tabs.addTab(page, title)
    column = QVBoxLayout()
    column.setContentsMargins(6, 0, 6, 6)
    column.setSpacing(6)
    for part in below:
        column.addWidget(part)
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 6, 0, 0)  # napari's title would cut the tabs
    layout.setSpacing(6)
    layout.addWidget(tabs, 1)
    layout.addLayout(column)
    widget.setMinimumWidth(360)
    return tabs


def heading(text: str) -> QLabel:
    """The title of what stands below it."""
    label = QLabel(f"<b>{text}</b>")
    label.setTextFormat(Qt.TextFormat.RichText)
    return label
