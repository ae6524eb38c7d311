"""The layers made for one source of a run: masks with an epoch axis, probability, pseudo-labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_metastructure import __version__
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.plugin.epoch_pages import EpochPages
from napari_metastructure.plugin.label_colors import colormap
from napari_metastructure.plugin.placement import ORIGIN, placement

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Layer

    from napari_metastructure.igtt.config import IGTTConfig
    from napari_metastructure.plugin.sources import Source

FOREGROUND = "#00d0ff"
LABEL_COLORS = {0: (0.25, 0.45, 1, 0.9), 1: (1, 0.6, 0, 1), UNLABELLED: (0.5, 0.5, 0.5, 0.25)}
Extra = Literal["probability", "labels"]


class SourceLayers:
    """The layers made for one source; `RunLayers` keeps one of these per chosen layer."""

    def __init__(self, viewer: napari.Viewer, source: Source, config: IGTTConfig) -> None:
        self.viewer = viewer
        self.source = source
        self.masks: Labels | None = None
        self.extras: dict[Extra, Layer] = {}
        self._origin = {
            "version": __version__,
            "source": source.name,
            "seed": config.seed,
            "config": config.model_dump(mode="json"),
        }
        self._given: dict[int, np.ndarray] = {}
        self._painted: set[int] = set()
        self._pages = EpochPages(source.shape, config.epochs, "masks", source.name)

    @property
    def _buffer(self) -> np.ndarray:
        return self._pages.array

    def open(self) -> None:
        """Add the masks layer, empty: napari needs over 50 ms for a new layer, too long during the run."""
        self.masks = self.viewer.add_labels(
            self._buffer[: max(self._given, default=0) + 1],
            name=f"{self.source.name} iGTT masks",
            colormap=colormap({0: "transparent", 1: FOREGROUND}, others=FOREGROUND),
            opacity=0.5,
            metadata={ORIGIN: self._origin},
            visible=self.source.layer.visible,  # of images that lie over each other, one shows
            **placement(self.source.layer, "epoch"),
        )
        self.masks.selected_label = 1
        self.masks.events.paint.connect(self._on_paint)

    def grow(self, epoch: int, masks: Sequence[np.ndarray]) -> None:
        """Add one epoch of masks (one (Y, X) array of 0 and 1 per plane) to the epoch axis."""
        self._given[epoch] = self.source.join(masks)
        pages = self._pages.put(epoch, self._given[epoch])
        if self.masks is not None and self.masks in self.viewer.layers:
            self.masks.data = pages
            self.masks.metadata = {ORIGIN: {**self._origin, "epoch": epoch}}

    def show(self, kind: Extra, planes: Sequence[np.ndarray] | None, epoch: int | None) -> None:
        """Show the newest probability or pseudo-label, in its layer or a new one (empty before epoch 0)."""
        if planes is not None:
            data = self.source.join(planes)
        elif kind == "probability":
            data = np.zeros(self.source.shape, np.float32)
        else:
            data = np.full(self.source.shape, UNLABELLED, np.uint8)
        layer = self.extras.get(kind)
        if layer is None or layer not in self.viewer.layers:
            layer = self.extras[kind] = self._add_extra(kind, data)
        else:  # into the array it has: same shape, so neither extent nor sliders need a look
            layer.data[...] = data
            layer.refresh(extent=False)
        layer.metadata = {ORIGIN: {**self._origin, "epoch": epoch}}

    def close(self) -> None:
        """Take the layers out of the viewer again."""
        for layer in (self.masks, *self.extras.values()):
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def _add_extra(self, kind: Extra, data: np.ndarray) -> Layer:
        active = self.viewer.layers.selection.active
        where = placement(self.source.layer)
        layer: Image | Labels
        if kind == "probability":
            name = f"{self.source.name} probability"
            layer = self.viewer.add_image(data, name=name, contrast_limits=(0, 1), colormap="magma", **where)
        else:
            name = f"{self.source.name} pseudo-label"
            colors = colormap(LABEL_COLORS, others="transparent")
            layer = self.viewer.add_labels(data, name=name, colormap=colors, opacity=0.8, **where)
        if self.masks is not None and self.masks in self.viewer.layers:  # masks stay on top, and in hand
            self.viewer.layers.move(self.viewer.layers.index(layer), self.viewer.layers.index(self.masks))
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active
        return layer

    def planes(self, epoch: int) -> list[np.ndarray]:
        """The masks of one epoch, edits included: (Y, X) uint8 arrays of 0 and 1."""
        return list((self._buffer[epoch] > 0).astype(np.uint8).reshape(-1, *self.source.shape[-2:]))

    def corrections(self) -> dict[int, np.ndarray]:
        """What the user painted, by plane: (Y, X) uint8 of 1, 0 and 255 (not painted); later epochs win."""
        size = self.source.shape[-2:]
        result: dict[int, np.ndarray] = {}
        for epoch in sorted(self._painted):
            now = (self._buffer[epoch] > 0).reshape(-1, *size)
            before = self._given.get(epoch, 0 * self._buffer[epoch])  # pages before a resumed run are empty
            given = (before > 0).reshape(-1, *size)
            for plane in np.unique(np.nonzero(now != given)[0]):
                pixels = result.setdefault(int(plane), np.full(size, 255, np.uint8))
                changed = now[plane] != given[plane]
                pixels[changed] = now[plane][changed]
        return result

    def keep(self, epoch: int) -> Labels:
        """Add the masks of one epoch as a layer of their own, without the epoch axis."""
        layer = self.viewer.add_labels(
            (self._buffer[epoch] > 0).astype(np.uint8),
            name=f"{self.source.name} mask",
            colormap=colormap({0: "transparent", 1: "#ffd000"}, others="#ffd000"),
            opacity=0.6,
            metadata={ORIGIN: {**self._origin, "epoch": epoch}},
            **placement(self.source.layer),
        )
        layer.selected_label = 1
        return layer

    def _on_paint(self, event: Any) -> None:
        for atom in event.value:  # napari's undo history: what was changed, by slices or by index arrays
            first = atom[0][0]  # where along the epoch axis
            steps = range(first.start, first.stop) if isinstance(first, slice) else np.unique(first)
            self._painted.update(int(step) for step in steps)
