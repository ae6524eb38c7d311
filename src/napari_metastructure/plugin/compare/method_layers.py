"""A Labels layer for each method and image, of which those of one method are in sight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure import __version__
from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.plugin.label_colors import class_color, colormap
from napari_metastructure.plugin.placement import ORIGIN, placement

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels

    from napari_metastructure.plugin.sources import Source


class MethodLayers:
    """The layers of one comparison; `shown` is the method in sight."""

    def __init__(self, viewer: napari.Viewer, sources: Sequence[Source], config: CompareConfig) -> None:
        self.viewer = viewer
        self.sources = sources
        self.config = config
        self.layers: dict[str, list[Labels]] = {}
        self.shown: str | None = None
        self._colors = method_colors(config.methods)

    def put(self, method: str, repeat: int, masks: Sequence[np.ndarray], polarity: str) -> Iterator[None]:
        """Lay the masks of a run over their images, a layer at a time, so that the window is drawn in between.

        Later repeats are drawn into the layers of the first; those the user took out of the viewer stay out.

        Parameters
        ----------
        method : str
        repeat : int
        masks : sequence of (Y, X) uint8 arrays of 0 and 1
            One per plane of all sources, in turn.
        polarity : {"bright", "dark"}
        """
        layers = self.layers.setdefault(method, [])
        start = 0
        for number, source in enumerate(self.sources):
            pixels = source.join(masks[start : start + source.count])
            start += source.count
            origin = {ORIGIN: self._origin(source, method, repeat, polarity)}
            if number < len(layers):
                layers[number].data[...] = pixels  # same shape: neither extent nor sliders need a look
                layers[number].refresh(extent=False)
                layers[number].metadata = origin
            else:
                layers.append(self._add(source, method, pixels, origin))
            yield

    def show(self, method: str) -> None:
        """Show the layers of a method and hide those of the others; does nothing before it has any."""
        layers = self.layers.get(method)
        if not layers:
            return
        before, self.shown = self._in_sight(), method
        for number, layer in enumerate(layers):
            if layer not in self.viewer.layers:  # the user took it out, and asks for it now
                self.viewer.add_layer(layer)
            _set_visible(layer, self.sources[number].layer.visible or number in before)
        for other, theirs in self.layers.items():
            for layer in theirs if other != method else ():
                _set_visible(layer, False)

    def hide(self) -> None:
        """Put all of them out of sight: a new comparison draws its own."""
        for layers in self.layers.values():
            for layer in layers:
                _set_visible(layer, False)

    def _in_sight(self) -> set[int]:
        """The images whose mask can be seen now, be the image itself hidden."""
        return {number for number, layer in enumerate(self.layers.get(self.shown or "", ())) if layer.visible}

    def _add(self, source: Source, method: str, pixels: np.ndarray, origin: dict[str, Any]) -> Labels:
        active = self.viewer.layers.selection.active
        color = self._colors[method]
        layer = self.viewer.add_labels(
            pixels,
            name=f"{source.name} [{METHODS[method].title}]",
            colormap=colormap({0: "transparent", 1: color}, others=color),
            opacity=0.6,
            metadata=origin,
            visible=method == self.shown and source.layer.visible,  # of images that lie over each other, one shows
            **placement(source.layer),
        )
        layer.selected_label = 1
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active
        return layer

    def _origin(self, source: Source, method: str, repeat: int, polarity: str) -> dict[str, Any]:
        """How the masks were made."""
        return {
            "version": __version__,
            "source": source.name,
            "method": method,
            "repeat": repeat,
            "seed": self.config.seed + repeat,
            "objects": polarity,
            "config": self.config.model_dump(mode="json"),
        }


def _set_visible(layer: Labels, visible: bool) -> None:
    if layer.visible != visible:  # napari redraws even if nothing changed
        layer.visible = visible


def method_colors(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method, in turn."""
    return {method: class_color(1 + number) for number, method in enumerate(methods)}
