"""A list of the viewer's image layers with check boxes, in step with the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.placement import ORIGIN
from napari_metastructure.plugin.sources import Source

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

ROLE = Qt.ItemDataRole.UserRole
MOST_ROWS = 4
"""The list grows to this many rows and scrolls beyond."""


class LayerPicker(QListWidget):
    """Tick one or many image layers; layers this plugin made are left out."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.setToolTip(tooltip("Images to segment together: 2D, or T/Z stacks, taken slice by slice."))
        self._named: list[Layer] = []
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._refresh)
        self._refresh()

    def chosen(self) -> list[Image]:
        """The ticked layers, in the order of the viewer."""
        return [item.data(ROLE) for item in self._items() if item.checkState() == Qt.CheckState.Checked]

    def choose(self, layers: Sequence[Layer]) -> None:
        """Tick these layers and no others.

        Raises
        ------
        InputError
            If one is no image layer.
        """
        for layer in layers:
            Source.of(layer)
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
        chosen = self.chosen()
        layers = [layer for layer in self.viewer.layers if _offered(layer)]
        if not chosen and layers:  # nothing ticked: the one at hand, else the first
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


def _offered(layer: Layer) -> bool:
    return isinstance(layer, Image) and ORIGIN not in layer.metadata


def _size(layer: Image) -> str:
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    text = " x ".join(map(str, shape[:-1] if layer.rgb else shape))
    return f"{text} RGB" if layer.rgb else text
