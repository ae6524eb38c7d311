"""The labels that networks are trained on, as layers over one training image."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject

from napari_metastructure import __version__
from napari_metastructure.labels.recipes import apply
from napari_metastructure.plugin.label_colors import class_colormap
from napari_metastructure.plugin.latest import Latest
from napari_metastructure.plugin.placement import ORIGIN

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_metastructure.plugin.visible import VisiblePlane
    from napari_metastructure.training.pairs import Pair
    from napari_metastructure.training.study.config import Condition

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What is to be shown.

    Attributes
    ----------
    pair : Pair
        A training image with its clean labels.
    number : int
        Its place among them, of which its noise is drawn.
    conditions : sequence of Condition
    seed : int
        Of the first repeat.
    classes : tuple of int
    place : VisiblePlane or None
        Where it lies in the viewer; None for a file, which is then shown itself.
    """

    pair: Pair
    number: int
    conditions: Sequence[Condition]
    seed: int
    classes: tuple[int, ...]
    place: VisiblePlane | None


@dataclass(frozen=True)
class Drawn:
    """The answer: pixels by condition, and the image if it is not in the viewer."""

    order: Order
    labels: Mapping[str, np.ndarray]
    image: np.ndarray | None


def draw(order: Order) -> Drawn:
    """Draw the labels anew, just as the study drew them: same recipe, seed and number."""
    clean = np.asarray(order.pair.read_labels())
    labels = {
        c.name: clean if c.recipe is None else apply(c.recipe, clean, order.seed, order.classes, first=order.number)
        for c in order.conditions
    }
    return Drawn(order, labels, None if order.place else np.asarray(order.pair.read_image()))


class NoisyLayers(QObject):
    """One Labels layer per condition asked for, drawn in the background; those not asked for any more go."""

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layers: dict[str, Layer] = {}
        self._image: Layer | None = None
        self._shown: tuple[Pair, int] | None = None
        self._latest = Latest(self)
        self._latest.done.connect(self._on_drawn)
        self._latest.failed.connect(self._on_failed)

    @property
    def busy(self) -> bool:
        """Whether something is still to come."""
        return self._latest.busy

    def show(self, order: Order) -> None:
        """Show these labels and no others."""
        if self._shown != (order.pair, order.seed):
            self._remove(list(self.layers))
        self._remove([name for name in self.layers if all(name != c.name for c in order.conditions)])
        self._forget_gone()
        missing = [c for c in order.conditions if c.name not in self.layers]
        if not missing:
            self._latest.drop()
            return
        self._latest.ask(lambda: draw(order))

    def let_go(self) -> None:
        """Another study begins: what is shown stays and is the user's."""
        self._latest.drop()
        self.layers, self._image, self._shown = {}, None, None

    def _on_drawn(self, drawn: Drawn) -> None:
        order = drawn.order
        self._shown = order.pair, order.seed
        self._forget_gone()
        active = self.viewer.layers.selection.active
        if drawn.image is not None and self._image is None:
            origin = {"version": __version__, "source": order.pair.name}
            self._image = self.viewer.add_image(drawn.image, name=order.pair.name, metadata={ORIGIN: origin})
        where: dict[str, Any] = order.place.placement() if order.place else {}
        for condition in order.conditions:
            if condition.name not in self.layers:
                self.layers[condition.name] = self.viewer.add_labels(
                    drawn.labels[condition.name].astype(np.uint8, copy=False),
                    name=f"{order.pair.name} {condition.name}",
                    colormap=class_colormap(order.classes),
                    opacity=0.6,
                    metadata={ORIGIN: _origin(order, condition)},
                    **where,
                )
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def _on_failed(self, error: Exception) -> None:
        log.error("Noisy labels could not be drawn", exc_info=error)
        show_error(f"The labels could not be shown: {error}")

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            self._take_out(self.layers.pop(name))
        if not self.layers and self._image is not None:
            self._take_out(self._image)
            self._image = None

    def _take_out(self, layer: Layer) -> None:
        if layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _forget_gone(self) -> None:
        """The user may have taken layers out."""
        self.layers = {name: layer for name, layer in self.layers.items() if layer in self.viewer.layers}
        if self._image is not None and self._image not in self.viewer.layers:
            self._image = None


def _origin(order: Order, condition: Condition) -> dict[str, Any]:
    """How the labels were made."""
    return {
        "version": __version__,
        "image": order.pair.name,
        "condition": condition.name,
        "recipe": None if condition.recipe is None else condition.recipe.model_dump(mode="json"),
        "seed": order.seed,
        "number": order.number,
        "classes": list(order.classes),
    }
