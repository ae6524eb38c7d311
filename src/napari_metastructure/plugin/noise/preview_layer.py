"""The layer of the live preview: one plane of noisy labels, laid over its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.plugin.label_colors import UNLABELLED_COLOR, class_color, class_colormap, colormap
from napari_metastructure.plugin.placement import ORIGIN
from napari_metastructure.plugin.visible import VisiblePlane

if TYPE_CHECKING:
    import napari

    from napari_metastructure.plugin.noise.draw import Drawn

OPACITY = 0.8
GROUND = (0.07, 0.07, 0.08, 0.8)
"""The background class over labels that can be seen: it must not look like the class beneath."""

CHANGES_BENEATH = ("visible", "inserted", "removed", "moved", "reordered")
"""Events of the list of layers, and of those in it, after which other labels may lie beneath."""


class PreviewLayer:
    """Makes, fills, hides and removes the layer; it is the same one from plane to plane and source to source.

    A plain object: it can let go of the viewer when the widget that has it is deleted already.

    Parameters
    ----------
    viewer : napari.Viewer
    closed : callable
        Called when the user took the layer away.
    """

    def __init__(self, viewer: napari.Viewer, closed: Callable[[], None]) -> None:
        self.viewer = viewer
        self.layer: Labels | None = None
        self._closed = closed
        self._classes: tuple[int, ...] = ()
        self._colors: tuple[Any, ...] = ()
        self._placed: tuple[Any, ...] = ()
        self._hidden = False
        viewer.layers.events.connect(self._on_layers)

    def show(self, drawn: Drawn) -> None:
        """Put a plane on screen, in the layer there is or a new one."""
        assert drawn.noisy is not None
        source = drawn.order.source.layer
        name = f"{source.name} noise preview"
        metadata = {ORIGIN: {**drawn.order.origin(drawn.classes, None), "preview of plane": drawn.index}}
        where = VisiblePlane(source, drawn.index, ()).placement()
        placed = (source, name, repr(where))
        if self.layer is None:
            self._add(Labels(drawn.noisy, name=name, metadata=metadata, opacity=OPACITY, **where))
        else:
            self.layer.data = drawn.noisy  # which tells whoever follows the layer
            self.layer.metadata = metadata
            if placed != self._placed:  # only then: napari redraws at each of them, even if nothing changes
                self._move_above(source)
                for attribute, value in {"name": name, **where}.items():
                    setattr(self.layer, attribute, value)
        self._placed, self._classes = placed, drawn.classes
        self._use_colors()
        if self._hidden and self.layer is not None:
            self.layer.visible = True
        self._hidden = False

    def hide(self) -> None:
        """Put the layer out of sight until there is something to show."""
        if self.layer is not None and self.layer.visible:
            self._hidden = True
            self.layer.visible = False

    def remove(self) -> None:
        """Take the layer away."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def release(self) -> None:
        """Let go of the viewer, and take the layer away."""
        self.viewer.layers.events.disconnect(self._on_layers)
        self.remove()

    def _add(self, layer: Labels) -> None:
        selected = set(self.viewer.layers.selection)
        self.layer = layer  # before it is in the viewer: lists of sources must not offer it
        self._colors, self._hidden = (), False
        self.viewer.add_layer(layer)
        self.viewer.layers.selection = selected  # whoever paints on the source goes on painting

    def _move_above(self, source: Labels) -> None:
        layers = self.viewer.layers
        if source in layers and layers.index(self.layer) < layers.index(source):
            layers.move(layers.index(self.layer), layers.index(source) + 1)

    def _use_colors(self) -> None:
        """The colours of the classes; over other labels in sight the background has one too."""
        layers = self.viewer.layers
        if self.layer is None or self.layer not in layers:
            return
        below = layers[: layers.index(self.layer)]
        colors = self._classes, any(isinstance(layer, Labels) and layer.visible for layer in below)
        if colors != self._colors:
            self._colors = colors
            self.layer.colormap = preview_colormap(*colors)

    def _on_layers(self, event: Any) -> None:
        """Layers came, went or moved, or one of them said something."""
        if event.type == "removed" and self.layer is not None and event.value is self.layer:
            self.layer = None
            self._closed()
        elif event.type in CHANGES_BENEATH:
            self._use_colors()


def preview_colormap(classes: tuple[int, ...], over_labels: bool) -> Any:
    """The classes' colours; with labels beneath in sight, background and unlabelled cover those."""
    if not over_labels:
        return class_colormap(classes)
    colors = {label: class_color(label) for label in classes if label > 0}
    return colormap({0: GROUND, **colors, UNLABELLED: (*UNLABELLED_COLOR[:3], 0.9)}, others="transparent")
