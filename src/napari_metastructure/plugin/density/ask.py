"""From ticked layers to a question: which plane of each is on screen, at which bandwidth, and where its truth is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.density.compute import Part, Question
from napari_metastructure.plugin.density.read import Pixels
from napari_metastructure.plugin.density.scale import bandwidth_in_pixels
from napari_metastructure.plugin.density.truth import Truths, is_ours
from napari_metastructure.plugin.visible import full, visible_plane

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_metastructure.plugin.density.settings import DensitySettings
    from napari_metastructure.plugin.density.watch import Watch
    from napari_metastructure.plugin.visible import VisiblePlane


class Asker:
    """Puts questions about layers as they are right now; reads no pixels."""

    def __init__(self, viewer: napari.Viewer, watch: Watch) -> None:
        self.viewer = viewer
        self._watch = watch
        self._truths = Truths(viewer)

    def truth_of(self, layer: Layer, chosen: Layer | None) -> Layer:
        """Where a layer's true classes are: as chosen, else in what it was made from, else in itself."""
        return self._truths.of(layer) if chosen is None else chosen

    def question(self, layers: Sequence[Layer], truth: Layer | None, settings: DensitySettings) -> Question:
        """Ask about these layers.

        Parameters
        ----------
        layers : sequence of napari.layers.Labels
            They and their truths are watched.
        truth : napari.layers.Labels or None
            Of all of them; None for `truth_of` each.
        settings : DensitySettings
            A bandwidth in a unit is in that of the first layer.
        """
        refused: list[str] = []
        parts = []
        for layer in layers:
            try:
                plane, pixels = self._visible(layer)
                bandwidth = bandwidth_in_pixels(settings, layer, layers[0])
            except InputError as error:
                refused.append(str(error))
                continue
            parts.append(Part(plane, pixels, bandwidth, self._true_pixels(layer, truth, refused)))
        return Question(tuple(parts), settings, tuple(refused))

    def _true_pixels(self, layer: Layer, chosen: Layer | None, refused: list[str]) -> Pixels | None:
        truth = self.truth_of(layer, chosen)
        if truth is layer and chosen is None:
            return None
        try:
            return self._visible(truth)[1]
        except InputError as error:
            refused.append(str(error))
            return None

    def _visible(self, layer: Layer) -> tuple[VisiblePlane, Pixels]:
        """A layer's plane on screen, its pixels unread."""
        plane = visible_plane(self.viewer, layer)
        if plane is None and self.viewer.dims.ndisplay == 3:
            raise InputError("Densities are of slices; switch the viewer back to 2D.")
        if plane is None:
            raise InputError(
                f"Layer {layer.name!r} has no slice here; move the sliders into it, with Y and X on screen."
            )
        stamp, whole = self._watch.stamp(layer), self._watch.whole(layer)
        return plane, Pixels(layer.name, full(layer), plane.at, is_ours(layer), (stamp, plane.at), whole)
