"""Measured objects in the viewer: shown from their row, and found by a click."""

from collections.abc import Callable, Iterator
from typing import Any

import napari
import numpy as np
from napari.layers import Labels

from napari_metastructure.labels.measures import RegionTable
from napari_metastructure.plugin._layers import full

SMALLEST, LARGEST, GOOD = 24, 600, 160
"""Screen pixels: an object that is smaller or larger than these is zoomed to the last."""

LOOKING = ("pan_zoom", "pick", "transform")
"""Modes of a Labels layer in which a click changes no label."""


class ObjectFinder:
    """Goes to an object of a Labels layer, and says which one was clicked on.

    A plain object: it can let go of the viewer when the widget that has it is deleted already.

    Parameters
    ----------
    viewer : napari.Viewer
    clicked : callable
        Takes the row of the object that was clicked on.
    changed : callable
        Called when the labels are no longer those that were measured.
    """

    def __init__(self, viewer: napari.Viewer, clicked: Callable[[int], None], changed: Callable[[], None]) -> None:
        self.viewer, self._clicked, self._changed = viewer, clicked, changed
        self.layer: Labels | None = None
        self._listening: list[Any] = []
        self.alone = False
        """Whether other objects are hidden while one is shown."""
        self._table: RegionTable | None = None
        self._rows: dict[tuple[int, ...], int] = {}
        self._shown: int | None = None
        viewer.mouse_drag_callbacks.append(self._on_mouse)
        viewer.dims.events.point.connect(self._on_slider)

    def follow(self, layer: Labels | None, table: RegionTable | None, source: Labels | None = None) -> None:
        """Take over the objects of a layer, a row of the table each; they may have been numbered from a source."""
        self._mark(None)
        for emitter in self._listening:
            emitter.disconnect(self._on_changed)
        self.layer, self._table = layer, table
        followed = [] if layer is None else [layer] if source in (None, layer) else [layer, source]
        self._listening = [emitter for part in followed for emitter in (part.events.paint, part.events.data)]
        for emitter in self._listening:
            emitter.connect(self._on_changed)
        self._rows = {}
        if table is not None:
            labels = table.columns["label"].tolist()
            places = [tuple(place) for place in table.places.tolist()]
            self._rows = {(label, *place): row for row, (label, place) in enumerate(zip(labels, places, strict=True))}

    @property
    def there(self) -> bool:
        """Whether the layer is in the viewer still."""
        return self.layer is not None and self.layer in self.viewer.layers

    def show(self, row: int) -> None:
        """Select an object, and bring it to the middle of the canvas; where it is very small or large, zoom."""
        layer, table, viewer = self.layer, self._table, self.viewer
        if layer is None or table is None or not self.there:
            return
        layer.visible = True
        viewer.layers.selection.active = layer
        layer.selected_label = int(table.columns["label"][row])
        box, place = table.boxes[row], table.places[row]
        middle = layer.data_to_world((*place, *(box.sum(axis=0) - 1) / 2))
        first = viewer.dims.ndim - layer.ndim
        for axis, value in enumerate(middle):
            if axis + first not in viewer.dims.displayed:
                viewer.dims.set_point(axis + first, value)
        camera, seen = viewer.scene.camera, [axis - first for axis in viewer.dims.displayed if axis >= first]
        corners = np.array([layer.data_to_world((*place, *corner)) for corner in box])
        size = np.abs(corners[1] - corners[0])[seen].max() * camera.zoom
        camera.center = (*(0.0,) * (3 - len(seen)), *(float(middle[axis]) for axis in seen))
        if not SMALLEST <= size <= LARGEST:
            camera.zoom *= GOOD / max(size, 1e-9)
        self._mark(row)

    def show_alone(self, alone: bool) -> None:
        """Hide all objects but the one that is shown, or show all."""
        self.alone = alone
        self._mark(self._shown)

    def release(self) -> None:
        """Let go of the viewer."""
        self.follow(None, None)
        if self._on_mouse in self.viewer.mouse_drag_callbacks:
            self.viewer.mouse_drag_callbacks.remove(self._on_mouse)
        self.viewer.dims.events.point.disconnect(self._on_slider)

    def _mark(self, row: int | None) -> None:
        """Draw a box around an object, in 2D, and hide the others if wanted."""
        self._shown = row
        if self.layer is None:
            return
        if self.layer.show_selected_label != (alone := self.alone and row is not None):
            self.layer.show_selected_label = alone
        overlay: Any = getattr(self.layer, "_overlays", {}).get("selection_box")  # napari has no public way to it
        if overlay is None:
            return
        overlay.visible = False
        if row is not None and self._table is not None and self.viewer.dims.ndisplay == 2 and self._in_sight(row):
            low, high = self._table.boxes[row][:, -2:]
            overlay.bounds = tuple(low - 1.0), tuple(high + 0.0)
            overlay.visible = True

    def _in_sight(self, row: int) -> bool:
        """Whether the sliders stand in the plane or volume of an object."""
        assert self.layer is not None
        assert self._table is not None
        place = self._table.places[row]
        at = np.rint(self.layer.world_to_data(self.viewer.dims.point)).astype(int)
        return bool((at[: len(place)] == place).all())

    def _on_changed(self, event: Any = None) -> None:
        self._changed()

    def _on_slider(self, event: Any = None) -> None:
        if self._shown is not None and self.there:
            self._mark(self._shown)

    def _on_mouse(self, viewer: Any, event: Any) -> Iterator[None]:
        """Tell a click from a drag, and find the object under it."""
        begin = np.asarray(event.pos)
        yield
        while event.type == "mouse_move":
            if np.abs(np.asarray(event.pos) - begin).max() > 3:
                return
            yield
        layer = self.layer
        active = self.viewer.layers.selection.active
        if (
            layer is None
            or not self.there
            or not layer.visible
            or str(getattr(active, "mode", "pan_zoom")) not in LOOKING
        ):
            return
        found = layer.get_value(
            event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
        )
        label = found[1] if layer.multiscale and isinstance(found, tuple) else found
        leading = 0 if self._table is None else self._table.places.shape[1]
        at = np.rint(layer.world_to_data(event.position)).astype(int)[:leading]
        row = self._rows.get((int(label or 0), *at.tolist()))
        if row is not None and all(0 <= i < n for i, n in zip(at, full(layer).shape, strict=False)):
            self._mark(row)
            layer.selected_label = int(label)
            self._clicked(row)
