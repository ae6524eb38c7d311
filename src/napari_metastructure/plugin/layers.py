"""Draw a run's events as layers, in step with its epochs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure.plugin.placement import placement
from napari_metastructure.plugin.source_layers import Extra, SourceLayers
from napari_metastructure.plugin.writer import write_labels, write_labels_ome
from napari_metastructure.training.events import EpochFinished

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels, Layer

    from napari_metastructure.igtt.config import IGTTConfig
    from napari_metastructure.plugin.sources import Source


class RunLayers:
    """All layers of one run, in step with its epochs."""

    def __init__(self, viewer: napari.Viewer, sources: Sequence[Source], config: IGTTConfig) -> None:
        self.viewer = viewer
        self.parts = [SourceLayers(viewer, source, config) for source in sources]
        self.epochs: list[int] = []
        self.shown: dict[Extra, bool] = {"probability": False, "labels": False}
        self._last: EpochFinished | None = None

    def add(self, event: EpochFinished) -> None:
        """Draw a finished epoch; the slider follows if it stood at the newest."""
        following = not self.epochs or self.epoch == self.epochs[-1]
        self.epochs.append(event.epoch)
        self._last = event
        for part, masks in zip(self.parts, self._split(event.masks), strict=True):
            part.grow(event.epoch, masks)
        for kind, shown in self.shown.items():
            if shown:
                self.show(kind, True)
        if following and (axis := self._axis) is not None:
            self.viewer.dims.set_point(axis, event.epoch)

    def open(self) -> Iterator[None]:
        """Add the layers, empty, one at a time, so that the window is drawn in between; `add` fills them."""
        for part in self.parts:
            part.open()
            yield
        for kind, shown in self.shown.items():
            for part in self.parts if shown else ():
                part.show(kind, None, None)
                yield
        visible = [part.masks for part in self.parts if part.source.layer.visible]
        if visible:  # ready to be painted on
            self.viewer.layers.selection.active = visible[0]

    def close(self) -> None:
        """Take the layers out of the viewer again (a run that never got to its start)."""
        for part in self.parts:
            part.close()

    def show(self, kind: Extra, shown: bool) -> None:
        """Show or hide the probability or the pseudo-labels; hidden ones cost nothing."""
        self.shown[kind] = shown
        if shown:
            last, epoch = self._last, self._last.epoch if self._last else None
            pixels = None if last is None else last.probabilities if kind == "probability" else last.labels
            split = [None] * len(self.parts) if pixels is None else self._split(pixels)
            for part, planes in zip(self.parts, split, strict=True):
                part.show(kind, planes, epoch)
        for part in self.parts:
            layer = part.extras.get(kind)
            if layer is not None and layer.visible != shown:  # napari redraws even if nothing changed
                layer.visible = shown

    @property
    def epoch(self) -> int:
        """The epoch on screen: where the slider stands, or the nearest there is (the newest if the masks are gone)."""
        if not self.epochs:
            return 0
        first, last = self.epochs[0], self.epochs[-1]
        axis = self._axis
        return last if axis is None else int(np.clip(round(self.viewer.dims.point[axis]), first, last))

    @property
    def plane(self) -> int:
        """The image on screen, in the engine's count: of the source in hand (selected), else of the first."""
        active = self.viewer.layers.selection.active
        offset = 0
        for part in self.parts:
            if active is not None and (active is part.source.layer or active is part.masks):
                return offset + self._slice(part.source)
            offset += part.source.count
        return self._slice(self.parts[0].source)

    def _slice(self, source: Source) -> int:
        """Which plane of a source is on screen."""
        if not source.leading:
            return 0
        point = np.asarray(self.viewer.dims.point)[-len(source.shape) :]
        at = np.round(source.layer.world_to_data(point)[: len(source.leading)]).astype(int)
        return int(np.ravel_multi_index(tuple(at), source.leading, mode="clip"))

    def masks(self, epoch: int) -> list[np.ndarray]:
        """Every image's mask of one epoch, with the user's edits."""
        return [plane for part in self.parts for plane in part.planes(epoch)]

    def corrections(self) -> dict[int, np.ndarray]:
        """What the user painted, by the engine's image index."""
        result, offset = {}, 0
        for part in self.parts:
            result.update({offset + index: pixels for index, pixels in part.corrections().items()})
            offset += part.source.count
        return result

    def keep(self, epoch: int) -> list[Labels]:
        """Turn one epoch into final mask layers, one per source."""
        return [part.keep(epoch) for part in self.parts]

    def save(self, path: Path, kept: Sequence[Labels], ome: bool = False) -> list[Path]:
        """Write final mask layers, or the epoch on screen where none was kept, as TIFF.

        Parameters
        ----------
        path : Path
            The file; with several sources each one's name is added to its stem.
        kept : sequence of Labels
            What `keep` returned, or nothing.
        ome : bool
            OME-TIFF instead of ImageJ TIFF.

        Returns
        -------
        list of Path
            What was written.
        """
        write = write_labels_ome if ome else write_labels
        paths: list[Path] = []
        for number, part in enumerate(self.parts):
            data = kept[number].data if kept else part.source.join(part.planes(self.epoch))
            target = path
            if len(self.parts) > 1:
                stem, ending = path.name.partition(".")[::2]
                target = path.with_name(f"{stem}_{_plain(part.source.name)}.{ending or 'tif'}")
            paths += map(Path, write(str(target), data, placement(part.source.layer)))
        return paths

    def go_to(self, epoch: int) -> None:
        """Move the slider to an epoch, if it stands at the newest."""
        axis = self._axis
        if axis is not None and epoch in self.epochs and self.epoch == self.epochs[-1]:
            self.viewer.dims.set_point(axis, epoch)

    def hide(self) -> None:
        """Put this run's layers out of sight (a new run draws its own)."""
        for part in self.parts:
            for layer in (part.masks, *part.extras.values()):
                if layer is not None:
                    layer.visible = False

    def needs(self, layer: Layer) -> bool:
        """Whether the run is pointless without this layer: a source, or its masks."""
        return any(layer is part.source.layer or layer is part.masks for part in self.parts)

    @property
    def _axis(self) -> int | None:
        """The viewer's axis number of the epochs."""
        for part in self.parts:
            if part.masks is not None and part.masks in self.viewer.layers:
                return self.viewer.dims.ndim - part.masks.ndim
        return None

    def _split(self, planes: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
        """The engine's flat list of images, by source."""
        result, start = [], 0
        for part in self.parts:
            result.append(planes[start : start + part.source.count])
            start += part.source.count
        return result


def _plain(name: str) -> str:
    """A layer's name as part of a file name."""
    return re.sub(r"[^\w-]+", "_", name).strip("_") or "layer"
