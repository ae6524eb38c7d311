"""Density layers in the viewer: one for each label layer and class, over its source or beside it."""

from collections.abc import Callable, Sequence
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Layer

from napari_metastructure import __version__
from napari_metastructure.plugin._density_model import DensityResult, map_name
from napari_metastructure.plugin._layer_order import add_above, stay_on
from napari_metastructure.plugin._layers import ORIGIN, full, origin_of, placement

GAP = 0.06
"""Space between neighbours, as a share of their size."""


def offsets(layers: Sequence[Layer]) -> list[np.ndarray]:
    """Compute how far maps beside their labels are moved from them along Y and X, in world units.

    Where all labels lie over each other, their maps stand in a row to the right of them, a row per class; where
    labels lie apart, each one's maps hang below it.

    Parameters
    ----------
    layers : sequence of napari.layers.Labels
        The labels of each map; several maps of one layer follow each other.

    Returns
    -------
    list of (2,) array
    """
    sources = list(dict.fromkeys(layers))
    steps = {layer: (1 + GAP) * np.asarray(full(layer).shape[-2:]) * np.abs(layer.scale[-2:]) for layer in sources}
    corners = [np.asarray(layer.translate[-2:]) for layer in sources]
    apart = any(not np.allclose(corner, corners[0]) for corner in corners[1:])
    largest = np.max([*steps.values(), np.zeros(2)], axis=0)
    result = []
    for number, layer in enumerate(layers):
        index = number - layers.index(layer)
        cell = (index + 1, 0) if apart else (index, sources.index(layer) + 1)
        result.append(np.array(cell) * (steps[layer] if apart else largest))
    return result


COLORMAP = "magma"

MADE = "density"
"""What the metadata of a map says it is."""


class DensityMap:
    """A map in the viewer, and what was last set on it: setting costs a redraw each, and users may rename."""

    def __init__(self, image: Image, name: str, source: Layer) -> None:
        self.image = image
        self.title = (name, image.name)
        self.shift = shift = np.zeros(2)

        def where() -> dict[str, Any]:
            lies = placement(source, ndim=2)
            return {**lies, "translate": np.asarray(lies["translate"]) + shift}

        self.put = stay_on(source, image, where)

    def clear(self) -> None:
        """Show nothing: what was shown is not true of what is chosen now."""
        if np.any(self.image.data):
            self.image.data = np.zeros(self.image.data.shape, np.float32)

    def update(
        self, name: str, values: np.ndarray, origin: dict[str, Any], shift: np.ndarray, limits: tuple[float, float]
    ) -> None:
        """Show other pixels, so far from the source."""
        image = self.image
        image.data = values
        image.contrast_limits_range = limits
        image.contrast_limits = limits
        self.shift[:] = shift
        self.put()
        kept = {key: value for key, value in origin_of(image).items() if key in ("offset", "group")}
        image.metadata = {**image.metadata, ORIGIN: {**origin, **kept}}
        asked, given = self.title
        if name != asked and image.name == given:
            image.name = name
            self.title = name, image.name


class MapLayers:
    """All density layers of a viewer, in step with results."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.shown: dict[tuple[Layer, int], DensityMap] = {}
        self._one_scale = True
        self._busy = False

    def draw(
        self, results: Sequence[DensityResult], keep_empty: Callable[[Layer, int], bool] = lambda layer, label: False
    ) -> None:
        """Show the maps of these results and no others.

        Parameters
        ----------
        results : sequence of DensityResult
            Those without maps show none.
        keep_empty : callable
            Whether a map without a result, of these labels and class, is emptied instead of removed.
        """
        maps = [(result, label) for result in results for label in result.maps]
        how = results[0].request.settings if results else None
        top = max((result.tops[label] for result, label in maps), default=0.0)
        self._busy, self._one_scale = True, how is None or how.one_scale
        try:
            wanted = {(result.request.layer, label) for result, label in maps}
            for key in [key for key in self.shown if key not in wanted]:
                if keep_empty(*key):
                    self.shown[key].clear()
                else:
                    self._remove(self.shown.pop(key).image)
            shifts = offsets([result.request.layer for result, _ in maps])
            for (result, label), shift in zip(maps, shifts, strict=True):
                values = result.maps[label]
                low, high = (0.0, top) if self._one_scale else (float(values.min()), float(values.max()))
                beside = how is not None and how.side_by_side
                self._draw(result, label, shift if beside else 0 * shift, (low, high if high > low else low + 1e-9))
        finally:
            self._busy = False

    def taken_out(self, layer: Layer) -> Layer | None:
        """Let go of a removed layer; return its source if it was a map that was removed by the user, else None."""
        if self._busy:
            return None
        key = next((key for key, shown in self.shown.items() if shown.image is layer), None)
        if key is None:
            return None
        self._leave(self.shown.pop(key).image)
        return key[0]

    def release(self) -> None:
        """Let go of the maps; they stay in the viewer."""
        for shown in self.shown.values():
            self._leave(shown.image)
        self.shown = {}

    def _draw(self, result: DensityResult, label: int, shift: np.ndarray, limits: tuple[float, float]) -> None:
        request, values = result.request, result.maps[label]
        source, plane = request.layer, request.plane
        assert plane is not None
        name = map_name(source.name, label, request.settings.several)
        shown = self.shown.get((source, label))
        if shown is None:
            if (image := self._left_over(source, label)) is None:
                image = Image(values, name=name, colormap=COLORMAP, contrast_limits=limits, **plane.placement())
                add_above(self.viewer, source, image)
            shown = self.shown[source, label] = DensityMap(image, name, source)
            image.events.contrast_limits.connect(self._share_contrast)
        own = origin_of(shown.image).get("offset")  # a cell of Figure 6 stays in its place
        origin = {"version": __version__, "made": MADE, "plane": list(plane.at), **request.origin(label)}
        shown.update(name, values, origin, shift if own is None else np.asarray(own), limits)

    def _left_over(self, source: Layer, label: int) -> Image | None:
        """Find a map of this source and class that an earlier widget or the Figure 6 sample has left."""
        about = origin_of(source)
        mine = [shown.image for shown in self.shown.values()]
        for layer in self.viewer.layers:
            origin = origin_of(layer)
            if (
                isinstance(layer, Image)
                and layer.ndim == 2
                and origin.get("made") == MADE
                and origin.get("class") == label
                and origin.get("group") == about.get("group")
                and origin.get("source") in (source.name, about.get("cell"))
                and not any(layer is other for other in mine)
            ):
                return layer
        return None

    def _remove(self, image: Image) -> None:
        self._leave(image)
        if image in self.viewer.layers:
            self.viewer.layers.remove(image)

    def _leave(self, image: Image) -> None:
        image.events.contrast_limits.disconnect(self._share_contrast)

    def _share_contrast(self, event: Any) -> None:
        """Give all maps the contrast that the user gave one, if they are on one scale."""
        if self._busy or not self._one_scale:
            return
        self._busy = True
        try:
            for shown in self.shown.values():
                if shown.image is not event.source:
                    shown.image.contrast_limits = event.source.contrast_limits
        finally:
            self._busy = False
