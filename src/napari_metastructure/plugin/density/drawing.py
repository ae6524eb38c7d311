"""One density map: what is to be drawn, and the layer in which it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure import __version__
from napari_metastructure.plugin.density.truth import origin_of
from napari_metastructure.plugin.placement import ORIGIN

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_metastructure.plugin.visible import VisiblePlane

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
