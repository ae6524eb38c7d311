"""Layer of a live preview: one slice in place of its source, which is out of sight meanwhile."""

from collections.abc import Callable, Mapping
from typing import Any

import napari
import numpy as np
from napari.layers import Labels, Layer

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.plugin import _layers
from napari_metastructure.plugin._layer_order import kept_view

GROUND = (0.07, 0.07, 0.08, 1)
"""The background class over other visible labels: it must not look like the class beneath."""

CHANGES_BENEATH = ("visible", "opacity", "inserted", "removed", "moved", "reordered")
"""Events of the layer list, and of its layers, after which other labels may lie beneath."""


class PreviewLayer:
    """One 2D Labels layer in place of its source; it is the same one from plane to plane and source to source.

    While it shows, the source is out of sight: clean labels that shine through make random ones look right. That is
    done by its opacity, because napari does not allow painting on an invisible layer.

    A plain object: it can let go of the viewer when the widget that has it is deleted already.

    Parameters
    ----------
    viewer : napari.Viewer
    removed : callable
        Called when the user removed the layer.

    Attributes
    ----------
    in_sight : bool
        False while the layer shall follow, but stay hidden.
    """

    def __init__(self, viewer: napari.Viewer, removed: Callable[[], None]) -> None:
        self.viewer = viewer
        self.layer: Labels | None = None
        self._removed = removed
        self.in_sight = True
        self._classes: tuple[int, ...] | None = None
        self._given: Mapping[int, str] = {}
        self._colors: tuple[Any, ...] = ()
        self._copied: Any = None
        self._placed: tuple[Any, ...] = ()
        self._hidden = False
        self._others: tuple[Labels, ...] = ()
        self._aside: dict[Labels, float] = {}  # layers that are out of sight, and their opacities
        viewer.layers.events.connect(self._on_layers)

    def show(
        self,
        source: Labels,
        index: int,
        labels: np.ndarray,
        what: str,
        metadata: dict[str, Any],
        classes: tuple[int, ...] | None = None,
        others: tuple[Labels, ...] = (),
        colors: Mapping[int, str] | None = None,
    ) -> None:
        """Put a plane on screen, in the layer there is or a new one.

        Parameters
        ----------
        source : napari.layers.Labels
        index : int
            Number of the plane.
        labels : (Y, X) array
        what : str
            What the layer's name adds to that of its source.
        metadata : dict
            How the labels were made.
        classes : tuple of int, optional
            Those of the source, each of which has its colour; without them the colours are those of the source.
        others : tuple of napari.layers.Labels
            What else is out of sight meanwhile.
        colors : mapping of int to str, optional
            By class; those of the palette where there is none.
        """
        name = _layers.result_name(source.name, what)
        where = _layers.VisiblePlane(source, index, ()).placement()
        placed = (source, name, repr(where))
        new = self.layer is None or not self._placed or self._placed[0] is not source
        if self.layer is None:
            self._add(Labels(labels, name=name, metadata=metadata, opacity=1, visible=self.in_sight, **where))
        else:
            self.layer.data = labels
            self.layer.metadata = metadata
            if placed != self._placed:  # only then: napari redraws at each of them, even if nothing changes
                self._move_above(source)
                for attribute, value in {"name": name, **where}.items():
                    setattr(self.layer, attribute, value)
        self._placed, self._classes, self._others, self._given = placed, classes, others, colors or {}
        if classes is None and self.layer is not None:
            if new or self._copied is not source.colormap:
                self._copied = source.colormap
                self.layer.colormap = source.colormap.model_copy()  # its own: napari changes it as a label is selected
            if new:
                self.layer.opacity = self._aside.get(source, source.opacity)
        self._use_colors()
        if self._hidden and self.in_sight and self.layer is not None:
            self.layer.visible = True
        self._hidden = not self.in_sight
        self._set_aside()

    def hide(self) -> None:
        """Hide the layer until there is something to show."""
        if self.layer is not None and self.layer.visible:
            self._hidden = True
            self.layer.visible = False  # which puts the source back

    def remove(self) -> None:
        """Remove the layer."""
        layer, self.layer = self.layer, None
        self._set_aside()
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def release(self) -> None:
        """Let go of the viewer, and remove the layer."""
        self.viewer.layers.events.disconnect(self._on_layers)
        self.remove()

    def _add(self, layer: Labels) -> None:
        self.layer = layer  # before it is in the viewer: lists of sources must not offer it
        self._colors, self._hidden = (), False
        with kept_view(self.viewer):  # a user who paints on the source goes on painting
            self.viewer.add_layer(layer)

    def _move_above(self, source: Labels) -> None:
        layers = self.viewer.layers
        if source in layers and layers.index(self.layer) < layers.index(source):
            layers.move(layers.index(self.layer), layers.index(source) + 1)

    def _set_aside(self) -> None:
        """Take source and others out of sight while the preview shows, and put them back, unless the user has."""
        shown = self.layer is not None and self.layer.visible and self._placed
        wanted = [self._placed[0], *self._others] if shown else []
        for layer in [layer for layer in self._aside if layer not in wanted]:
            if (before := self._aside.pop(layer, None)) is not None:  # else it was put back meanwhile
                layer.opacity = layer.opacity or before
        for layer in wanted:
            if layer not in self._aside:
                self._aside[layer] = layer.opacity
                layer.opacity = 0

    def _show_copy(self, layer: Layer) -> None:
        """Let a duplicate of a layer that is out of sight be seen."""
        original = None if layer.source.parent is None else layer.source.parent()
        if layer.opacity == 0 and original in self._aside:
            layer.opacity = self._aside[original]

    def _use_colors(self) -> None:
        """Colour the classes; over other visible labels background and unlabelled pixels cover those."""
        layers = self.viewer.layers
        if self.layer is None or self.layer not in layers or self._classes is None:
            return
        below = list(layers)[: layers.index(self.layer)]
        over_labels = any(isinstance(layer, Labels) and layer.visible and layer.opacity for layer in below)
        classes, colors = self._classes, (self._classes, dict(self._given), over_labels)
        if colors == self._colors:
            return
        self._colors = colors
        if over_labels:
            by_label = {label: self._given.get(label, _layers.class_color(label)) for label in classes if label > 0}
            covering = {0: GROUND, **by_label, UNLABELLED: _layers.UNLABELLED_COLOR[:3]}
            self.layer.colormap = _layers.colormap(covering, others="transparent")
        else:
            self.layer.colormap = _layers.class_colormap(classes, self._given)

    def _on_layers(self, event: Any) -> None:
        """React to layers that came, went or moved, or changed themselves."""
        if event.type == "removed" and self.layer is not None and event.value is self.layer:
            self.layer = None
            self._set_aside()
            self._removed()
        elif event.type in CHANGES_BENEATH:
            if event.type == "inserted":
                self._show_copy(event.value)
            self._set_aside()
            self._use_colors()
