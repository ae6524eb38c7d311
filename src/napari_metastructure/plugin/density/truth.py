"""Where the true classes of a label layer are: in the layer it was made from, if this plugin made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_metastructure.plugin.placement import ORIGIN

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


class Truths:
    """Finds the true classes of noisy layers; once found, a layer is known by itself and may be renamed."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self._found: WeakKeyDictionary[Layer, tuple[Any, Layer]] = WeakKeyDictionary()

    def of(self, layer: Layer) -> Layer:
        """The labels that a layer was made from, or the layer itself."""
        origin = origin_of(layer)
        name = origin.get("source")
        known = self._found.get(layer)
        if known is not None and known[0] == name and known[1] in self.viewer.layers:
            return known[1]
        source = find_source(self.viewer, layer)
        if source is None:
            return layer
        self._found[layer] = name, source
        return source


def origin_of(layer: Layer) -> dict[str, Any]:
    """How this plugin made a layer; empty if it did not."""
    origin = layer.metadata.get(ORIGIN)
    return origin if isinstance(origin, dict) else {}


def is_ours(layer: Layer) -> bool:
    """Whether this plugin made a layer: 255 is unlabelled in it for sure."""
    return ORIGIN in layer.metadata


def find_source(viewer: napari.Viewer, layer: Layer) -> Layer | None:
    """The label layer that a layer's metadata names as its source, of those opened together the one with that name."""
    from napari.layers import Labels

    origin = origin_of(layer)
    named = origin.get("source")
    if named is None:
        return None
    labels = [other for other in viewer.layers if isinstance(other, Labels) and other is not layer]
    group = origin.get("group")
    for other in labels:
        theirs = origin_of(other)
        if group is not None and theirs.get("group") == group and theirs.get("cell") == named:
            return other
    return next((other for other in labels if other.name == named), None)
