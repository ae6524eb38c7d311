"""A box with the viewer's layers of one kind, of which one is chosen, in step with the viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_metastructure.plugin.form import tooltip

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
