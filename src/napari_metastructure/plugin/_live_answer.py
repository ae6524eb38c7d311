"""Outlines of what masks become with the strokes, while they are painted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_metastructure.plugin._igtt_layers import RunLayers, SourceLayers
from napari_metastructure.plugin._layer_order import add_above
from napari_metastructure.plugin._layers import colormap, made_from, result_name
from napari_metastructure.plugin._painting import same
from napari_metastructure.plugin._worker import LatestOnly

if TYPE_CHECKING:
    from napari_metastructure.igtt.steering import Steering


BESIDE = 2**20
"""Pixels of other planes that the answer is learned from besides those painted on; *Use strokes* takes all planes."""

COLOR = "#ffff00"

MEANING = "Yellow: the masks that your strokes will give; Use strokes applies them."


class LiveAnswer(QObject):
    """Outlines of the masks on screen as the strokes will change them, soon after the brush is lifted.

    Features are computed in a thread when a brush is taken up; of strokes that come while an answer is on its way the
    newest count.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QObject
    """

    failed = Signal(object)
    explained = Signal(str)
    """What the first outline means."""

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._layers: RunLayers | None = None
        self._explained = False
        self._prepared: tuple[Any, list[int], Steering] | None = None
        self._asked: tuple[Mapping[int, np.ndarray], int, float] | None = None
        self._shown: dict[SourceLayers, Labels] = {}
        self._latest = LatestOnly(self)
        self._latest.done.connect(self._on_done)
        self._latest.failed.connect(self.failed)

    @property
    def busy(self) -> bool:
        """True while an answer is on its way."""
        return self._latest.busy

    def ask(self, layers: RunLayers | None, start_weight: float) -> None:
        """Answer the strokes of a run on the plane on screen; without strokes that are new to the run, show nothing."""
        if layers is None or layers.probabilities is None:
            self.clear()
            return
        strokes = layers.corrections()
        if same(strokes, layers.locked):
            self.clear()
            if layers.in_hand is not None:
                self._latest.ask(self._job(layers, {}, layers.plane, start_weight))  # computes the features
            return
        asked = strokes, layers.plane, start_weight
        if self._asked is None or asked[1:] != self._asked[1:] or not same(strokes, self._asked[0]):
            self._asked, self._layers = asked, layers
            self._latest.ask(self._job(layers, *asked))

    def prepared(self, layers: RunLayers) -> tuple[list[int], Steering] | None:
        """Return the planes whose features are there, and what answers strokes on them; None before the first."""
        known = self._prepared
        return None if known is None or known[0] is not layers.probabilities else known[1:]

    def clear(self) -> None:
        """Take the outlines away, and forget what was asked."""
        self._asked = None
        self._latest.drop()
        shown, self._shown = self._shown, {}  # first: who hears of the removal asks again
        for layer in shown.values():
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def _job(
        self, layers: RunLayers, strokes: Mapping[int, np.ndarray], plane: int, start_weight: float
    ) -> Callable[[], Any]:
        """Return what is done in the thread: features of planes that are new, and the answer."""
        sources, seen = [part.source for part in layers.parts], (layers.colour, layers.mends)
        p, prepared = layers.probabilities or (), self._prepared
        sizes = [plane.size for plane in p]
        wanted = sorted({*strokes, plane})
        for index, size in enumerate(sizes):
            if index not in wanted and size + sum(sizes[i] for i in wanted if i not in strokes) <= BESIDE:
                wanted.append(index)

        def job() -> Any:
            from napari_metastructure.igtt.steering import Steering

            nonlocal prepared
            if prepared is None or prepared[0] is not p or not {*strokes, plane} <= set(prepared[1]):
                places = [(source, at) for source in sources for at in source.places]
                chosen = sorted(wanted)
                at = [places[i] for i in chosen]
                planes = [source.measured(index, *seen) for source, index in at]
                prepared = p, chosen, Steering(planes, [p[i] for i in chosen])
            _, chosen, steering = prepared
            steering.start_weight = start_weight
            given = {chosen.index(i): pixels for i, pixels in strokes.items()}
            (found,) = steering.answer(given, [chosen.index(plane)])
            return prepared, strokes, plane, found > 0.5

        return job

    def _on_done(self, result: Any) -> None:
        self._prepared, strokes, plane, mask = result
        if self._asked is None or self._layers is None or not strokes:
            return
        for part in self._layers.parts:
            if plane < part.source.count:
                self._show(part, part.source.plane_of(plane), mask)
                return
            plane -= part.source.count

    def _show(self, part: SourceLayers, plane: int, mask: np.ndarray) -> None:
        layer = self._shown.get(part)
        if layer is None or layer not in self.viewer.layers:
            layer = Labels(
                np.zeros(part.source.shape, np.uint8),
                name=result_name(part.source.name, "with strokes"),
                colormap=colormap({0: "transparent", 1: COLOR}, others=COLOR),
                metadata=made_from(part.source.layer),
                **part.source.placement(),
            )
            layer.contour, layer.editable = 1, False
            layer.data.reshape(-1, *mask.shape)[plane] = mask
            self._shown[part] = layer
            add_above(self.viewer, part.source.layer, layer, part.source.placement)
            if not self._explained:
                self._explained = True
                self.explained.emit(MEANING)
        else:
            layer.data.reshape(-1, *mask.shape)[plane] = mask
            layer.refresh(extent=False)
