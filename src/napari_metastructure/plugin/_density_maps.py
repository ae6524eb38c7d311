"""The density layers in the viewer: one per label layer and class, laid over their source or beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure import __version__
from napari_metastructure.plugin._layers import ORIGIN, origin_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer

    from napari_metastructure.plugin._layers import VisiblePlane


# -------- Where maps lie that are shown side by side with their labels.


GAP = 0.06
"""Space between neighbours, as a share of their size."""


def offsets(planes: Sequence[VisiblePlane]) -> list[np.ndarray]:
    """How far each map is moved from its labels along Y and X, in world units.

    Where all labels lie over each other, their maps stand in a row to the right of them, a row per class; where
    labels lie apart, each one's maps hang below it.

    Parameters
    ----------
    planes : sequence of VisiblePlane
        One per map; several maps of one layer follow each other.

    Returns
    -------
    list of (2,) array
    """
    layers = [plane.layer for plane in planes]
    sources = list(dict.fromkeys(layers))
    steps = {layer: (1 + GAP) * _size(plane) for layer, plane in zip(layers, planes, strict=True)}
    corners = [np.asarray(layer.translate[-2:]) for layer in sources]
    apart = any(not np.allclose(corner, corners[0]) for corner in corners[1:])
    largest = np.max([*steps.values(), np.zeros(2)], axis=0)
    result = []
    for number, layer in enumerate(layers):
        row = number - layers.index(layer)
        cell = (row + 1, 0) if apart else (row, sources.index(layer) + 1)
        result.append(np.array(cell) * (steps[layer] if apart else largest))
    return result


def _size(plane: VisiblePlane) -> np.ndarray:
    from napari_metastructure.plugin._layers import full

    return np.asarray(full(plane.layer).shape[-2:]) * np.abs(plane.layer.scale[-2:])


# -------- One density map: what is to be drawn, and the layer in which it was.


COLORMAP = "magma"

MADE = "density"
"""What the metadata of a map says it is."""


@dataclass(frozen=True)
class Drawing:
    """One map to draw: of which plane and class, its pixels, and how it was made."""

    plane: VisiblePlane
    label_class: int
    several: bool
    values: np.ndarray
    settings: dict[str, Any]
    bandwidth: tuple[float, float]

    @property
    def key(self) -> tuple[Layer, int]:
        """What tells maps apart."""
        return self.plane.layer, self.label_class

    @property
    def name(self) -> str:
        """What the layer is called."""
        return map_name(self.plane.layer.name, self.label_class, self.several)

    def origin(self) -> dict[str, Any]:
        """What the layer's metadata says."""
        return {
            "version": __version__,
            "made": MADE,
            "source": self.plane.layer.name,
            "class": self.label_class,
            "plane": list(self.plane.at),
            "settings": self.settings,
            "bandwidth in pixels": list(self.bandwidth),
        }


def map_name(source: str, label_class: int, several: bool) -> str:
    """What a density layer is called: class 1 alone needs no number."""
    return f"{source} density {label_class}" if several or label_class != 1 else f"{source} density"


class Shown:
    """A map in the viewer, and what was last set on it: setting costs a redraw each, and users may rename."""

    def __init__(self, image: Image, drawing: Drawing) -> None:
        self.image = image
        self.title = (drawing.name, image.name)
        self.where: dict[str, Any] = {}

    def clear(self) -> None:
        """Show nothing: what was shown is not true of what is chosen now."""
        if np.any(self.image.data):
            self.image.data = np.zeros(self.image.data.shape, np.float32)

    def update(self, drawing: Drawing, where: dict[str, Any], limits: tuple[float, float]) -> None:
        """Show other pixels."""
        image = self.image
        image.data = drawing.values
        image.contrast_limits_range = limits
        image.contrast_limits = limits
        for name, value in where.items():
            if name not in self.where or not np.array_equal(self.where[name], value):
                setattr(image, name, value)
        self.where = where
        kept = {key: value for key, value in origin_of(image).items() if key in ("offset", "group")}
        image.metadata = {**image.metadata, ORIGIN: {**drawing.origin(), **kept}}
        asked, given = self.title
        if drawing.name != asked and image.name == given:
            image.name = drawing.name
            self.title = drawing.name, image.name


Key = tuple["Layer", int]


class MapLayers:
    """All density layers of a viewer, in step with drawings."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.shown: dict[Key, Shown] = {}
        self._one_scale = True
        self._busy = False

    def draw(
        self,
        drawings: Sequence[Drawing],
        top: float,
        one_scale: bool = True,
        side_by_side: bool = False,
        stays: Callable[[Layer, int], bool] = lambda layer, label_class: False,
    ) -> None:
        """Show these maps and no others.

        Parameters
        ----------
        drawings : sequence of Drawing
        top : float
            The upper end of the one contrast scale.
        one_scale : bool
            Else each map has its own, from its lowest to its highest value.
        side_by_side : bool
            Beside their labels instead of over them.
        stays : callable
            Whether a map that is not drawn, of these labels and class, is emptied instead of taken away.
        """
        active = self.viewer.layers.selection.active
        self._busy, self._one_scale = True, one_scale
        try:
            wanted = {drawing.key for drawing in drawings}
            for key in [key for key in self.shown if key not in wanted]:
                if stays(*key):
                    self.shown[key].clear()
                else:
                    self._remove(self.shown.pop(key).image)
            shifts = offsets([drawing.plane for drawing in drawings]) if side_by_side else [np.zeros(2)] * len(drawings)
            for drawing, shift in zip(drawings, shifts, strict=True):
                values = drawing.values
                low, high = (0.0, top) if one_scale else (float(values.min()), float(values.max()))
                self._draw(drawing, shift, (low, high if high > low else low + 1e-9))
        finally:
            self._busy = False
        # Adding a layer takes it in hand; who paints wants to go on painting.
        if active is not None and active in self.viewer.layers and self.viewer.layers.selection.active is not active:
            self.viewer.layers.selection.active = active

    def taken_out(self, layer: Layer) -> Layer | None:
        """The source of a map that somebody else took out of the viewer; None if it was none, or done here."""
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

    def _draw(self, drawing: Drawing, shift: np.ndarray, limits: tuple[float, float]) -> None:
        shown = self.shown.get(drawing.key)
        if shown is None:
            image = self._left_over(drawing) or self.viewer.add_image(
                drawing.values,
                name=drawing.name,
                colormap=COLORMAP,
                contrast_limits=limits,
                **drawing.plane.placement(),
            )
            shown = self.shown[drawing.key] = Shown(image, drawing)
            image.events.contrast_limits.connect(self._share_contrast)
        where = drawing.plane.placement()
        own = origin_of(shown.image).get("offset")  # a cell of Figure 6 stays in its place
        where["translate"] = np.asarray(where["translate"]) + (shift if own is None else own)
        shown.update(drawing, where, limits)

    def _left_over(self, drawing: Drawing) -> Image | None:
        """A map of this source and class that an earlier widget or the Figure 6 sample has left."""
        from napari.layers import Image

        source = origin_of(drawing.plane.layer)
        mine = [shown.image for shown in self.shown.values()]
        for layer in self.viewer.layers:
            origin = origin_of(layer)
            if (
                isinstance(layer, Image)
                and layer.ndim == 2
                and origin.get("made") == MADE
                and origin.get("class") == drawing.label_class
                and origin.get("group") == source.get("group")
                and origin.get("source") in (drawing.plane.layer.name, source.get("cell"))
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
        """The user moved the contrast of one map: on one scale, that is the contrast of all."""
        if self._busy or not self._one_scale:
            return
        self._busy = True
        try:
            for shown in self.shown.values():
                if shown.image is not event.source:
                    shown.image.contrast_limits = event.source.contrast_limits
        finally:
            self._busy = False
