"""The density layers in the viewer: one per label layer and class, laid over their source or beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.plugin.density.arrange import offsets
from napari_metastructure.plugin.density.drawing import COLORMAP, MADE, Drawing, Shown
from napari_metastructure.plugin.density.truth import origin_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer

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
