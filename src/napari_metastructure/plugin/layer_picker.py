"""A list of the viewer's layers of one kind with check boxes, in step with the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.placement import ORIGIN
from napari_metastructure.plugin.visible import full

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

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
