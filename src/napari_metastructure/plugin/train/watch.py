"""The predictions of one image, epoch after epoch, as a Labels layer with an epoch axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure import __version__
from napari_metastructure.plugin.epoch_pages import EpochPages
from napari_metastructure.plugin.label_colors import class_colormap
from napari_metastructure.plugin.placement import ORIGIN, placement
from napari_metastructure.plugin.train.rows import shape_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Layer

    from napari_metastructure.plugin.train.job import Watching
    from napari_metastructure.training.config import TrainConfig
    from napari_metastructure.training.events import TrainEpoch


class WatchedImage:
    """One image of the validation set and what the network says of it.

    Parameters
    ----------
    viewer : napari.Viewer
    watching : Watching
    source : napari.layers.Image or None
        Its layer; without one it is added.
    config : TrainConfig

    Raises
    ------
    InputError
        If memory does not suffice for all epochs.
    """

    def __init__(self, viewer: napari.Viewer, watching: Watching, source: Image | None, config: TrainConfig) -> None:
        self.viewer = viewer
        self.names = watching.names
        self.labels: Labels | None = None
        self.epochs: list[int] = []
        self._config = config
        self._hidden: list[Layer] = []
        self._added = source is None
        if source is None:
            source = viewer.add_image(**(watching.image or {}), metadata={ORIGIN: {"version": __version__}})
        self.source = source
        self._pages = EpochPages(shape_of(source), config.epochs, "predictions", source.name)

    def open(self, others: Sequence[Layer]) -> None:
        """Add the layer, empty, and bring it in sight: of images that lie over each other the topmost shows only."""
        self._hidden = [layer for layer in others if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        self.source.visible = True
        origin = {
            "version": __version__,
            "source": self.source.name,
            "seed": self._config.seed,
            "config": self._config.model_dump(mode="json"),
        }
        self.labels = self.viewer.add_labels(
            self._pages.array[:1],
            name=f"{self.source.name} prediction",
            opacity=0.6,
            metadata={ORIGIN: origin},
            **placement(self.source, "epoch"),
        )
        self.labels.editable = False

    def use_colors(self, classes: Sequence[int]) -> None:
        """Of two classes the second is foreground, whatever its number; a lower one is not drawn."""
        if self.labels is not None:
            self.labels.colormap = class_colormap(classes if len(classes) > 2 else classes[1:])

    def close(self) -> None:
        """Undo `open` (for a run that never finished an epoch)."""
        for layer in self._hidden:
            layer.visible = True
        for layer in (self.labels, self.source if self._added else None):
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def add(self, event: TrainEpoch) -> None:
        """Draw an epoch; the slider follows if it stood at the newest."""
        if self.labels is None or self.labels not in self.viewer.layers:
            return
        following = not self.epochs or self.epoch == self.epochs[-1]
        self.epochs.append(event.epoch)
        planes = np.stack([event.predictions[name] for name in self.names])
        self.labels.data = self._pages.put(event.epoch, planes.reshape(self._pages.shape))
        if following:
            self.viewer.dims.set_point(self._axis, event.epoch)

    def go_to(self, epoch: int) -> None:
        """Move the slider to an epoch, if it stands at the newest."""
        there = self.labels is not None and self.labels in self.viewer.layers
        if there and epoch in self.epochs and self.epoch == self.epochs[-1]:
            self.viewer.dims.set_point(self._axis, epoch)

    def hide(self) -> None:
        """Put it out of sight (a new run draws its own)."""
        if self.labels is not None:
            self.labels.visible = False

    @property
    def epoch(self) -> int:
        """Where the slider stands."""
        return round(self.viewer.dims.point[self._axis])

    @property
    def _axis(self) -> int:
        assert self.labels is not None
        return int(self.viewer.dims.ndim - self.labels.ndim)
