"""Layers of an iGTT run: masks with an epoch axis, probability and pseudo-labels, in step with its epochs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import napari
import numpy as np
from napari.layers import Image, Labels, Layer

from napari_metastructure.errors import InputError, listed
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.film import Epochs
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.plugin import _layers, _painting
from napari_metastructure.plugin._layer_order import (
    Where,
    add_above,
    bring_to_front,
    earlier,
    is_replaceable,
    is_untouched,
    kept_view,
    note_as_made,
)
from napari_metastructure.plugin._source import Source
from napari_metastructure.plugin.writer import save_masks
from napari_metastructure.training.control import FREE
from napari_metastructure.training.events import EpochFinished

FOREGROUND = "#00d0ff"

OUTLINE = 2
"""Pixels that an outline is wide."""

LABEL_COLORS = {0: (0.25, 0.45, 1, 0.9), 1: (1, 0.6, 0, 1), UNLABELLED: (0.5, 0.5, 0.5, 0.25)}

STROKE_COLORS = {0: "transparent", _painting.OBJECT: "#ff9900", _painting.BACKGROUND: "#4073ff"}
"""As in the pseudo-label, where strokes are taken over."""

Extra = Literal["probability", "labels"]


class SourceLayers:
    """The layers made for one source; `RunLayers` keeps one of these per chosen layer."""

    def __init__(
        self, viewer: napari.Viewer, source: Source, config: IGTTConfig, painted: Callable[[], None] = lambda: None
    ) -> None:
        self.viewer = viewer
        self.source = source
        self._painted = painted
        self.masks: Labels | None = None
        self.strokes: _painting.Strokes | None = None
        self.extras: dict[Extra, Layer] = {}
        self.outlined = False
        self._origin = _origin(source, config)
        self._pages = _layers.EpochPages(source.shape, config.epochs, "masks", source.name)

    @property
    def _buffer(self) -> np.ndarray:
        return self._pages.array

    def open(self) -> Labels:
        """Add the masks layer, empty: napari needs over 50 ms for a new layer, too long during the run."""
        masks = Labels(
            self._buffer[:1],
            name=_layers.result_name(self.source.name, "iGTT masks"),
            colormap=_layers.colormap({0: "transparent", 1: FOREGROUND}, others=FOREGROUND),
            opacity=0.5,
            metadata={_layers.ORIGIN: self._origin},
            visible=self.source.layer.visible,  # of images that lie over each other, one shows
            **self.source.placement("epoch"),
        )
        masks.editable = False  # strokes have a layer of their own
        masks.contour = OUTLINE if self.outlined else 0
        self.masks = masks  # first: it may be removed as soon as it is added
        self._add(masks, partial(self.source.placement, "epoch"))
        return masks

    def open_strokes(self) -> Labels:
        """Add the layer to paint on, above the masks, unless it is there."""
        if self.canvas is not None:
            return self.canvas
        layer = Labels(
            np.zeros(self.source.shape, np.uint8),
            name=_layers.result_name(self.source.name, "strokes"),
            colormap=_layers.colormap(STROKE_COLORS, others=STROKE_COLORS[_painting.OBJECT]),
            opacity=0.8,
            metadata={_layers.ORIGIN: self._origin},
            visible=self.source.layer.visible,
            **self.source.placement(),
        )
        layer.selected_label = _painting.OBJECT
        self.strokes = _painting.Strokes(layer, self._painted)
        self._add(layer, self.source.placement)
        return layer

    def _add(self, layer: Layer, where: Where) -> None:
        try:
            add_above(self.viewer, self.source.layer, layer, where)
        except ValueError:  # it was removed as it was added, and napari cannot select it then
            if layer in self.viewer.layers:
                raise

    @property
    def there(self) -> bool:
        """Whether the masks layer is in the viewer."""
        return self.masks is not None and self.masks in self.viewer.layers

    @property
    def canvas(self) -> Labels | None:
        """The layer of strokes; None if it is not in the viewer, or was given pixels that do not lie on the source."""
        if self.strokes is None or self.strokes.layer not in self.viewer.layers:
            return None
        return self.strokes.layer if self.strokes.layer.data.shape == self.source.shape else None

    @property
    def own(self) -> list[Layer]:
        """The layers in the viewer that were made for the source."""
        made = (self.masks, self.canvas, *self.extras.values())
        return [layer for layer in made if layer is not None and layer in self.viewer.layers]

    @property
    def seen(self) -> bool:
        """Whether the image or its masks show: of images that lie over each other, one does."""
        return bool(self.source.layer.visible or (self.masks is not None and self.masks.visible))

    def show_again(self, shown: bool = False) -> None:
        """Show masks and strokes, which a final mask that was ``shown`` had hidden."""
        shown = shown or self.seen
        for layer in (self.masks, self.canvas):
            if layer is not None:
                layer.visible = shown

    def go_on(self, config: IGTTConfig) -> None:
        """Make room for a run that goes on from this one, and show its masks."""
        self.show_again()
        self._origin = _origin(self.source, config)
        if self._pages.reserve(config.epochs) and self.masks is not None:
            self.masks.data = self._buffer[: len(self.masks.data)]
            self.masks.editable = False

    def grow(self, epoch: int, masks: Sequence[np.ndarray]) -> None:
        """Add one epoch of masks (one (Y, X) array of 0 and 1 per plane) to the pages."""
        self._pages.put(epoch, self.source.join(masks))

    def draw(self, epoch: int, slider: _layers.EpochSlider) -> None:
        """Show the pages up to an epoch in the layer, if it is still there."""
        if self.masks is not None and self.there:
            slider.set_data(self.masks, self._buffer[: epoch + 1], epoch)
            self.masks.editable = False  # new data make it editable
            self.masks.metadata = {_layers.ORIGIN: {**self._origin, "epoch": epoch}}
            note_as_made(self.masks)

    def show(self, kind: Extra, planes: Sequence[np.ndarray] | None, epoch: int | None) -> None:
        """Show the newest probability or pseudo-label, in its layer or a new one (empty before epoch 0)."""
        if planes is not None:
            data = self.source.join(planes, 0 if kind == "probability" else UNLABELLED)
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
        layer.metadata = {_layers.ORIGIN: {**self._origin, "epoch": epoch}}

    def close(self) -> None:
        """Take the layers out of the viewer again."""
        for layer in self.own:
            self.viewer.layers.remove(layer)

    def _add_extra(self, kind: Extra, data: np.ndarray) -> Layer:
        look = {"metadata": {_layers.ORIGIN: self._origin}, "visible": self.seen}
        where = {**look, **self.source.placement()}
        layer: Image | Labels
        if kind == "probability":
            name = _layers.result_name(self.source.name, "probability")
            layer = Image(data, name=name, contrast_limits=(0, 1), colormap="magma", **where)
        else:
            name = _layers.result_name(self.source.name, "pseudo-label")
            colors = _layers.colormap(LABEL_COLORS, others="transparent")
            layer = Labels(data, name=name, colormap=colors, opacity=0.8, **where)
        add_above(self.viewer, self.source.layer, layer, self.source.placement)
        if self.masks is not None and self.there:  # masks stay on top
            with kept_view(self.viewer):
                self.viewer.layers.move(self.viewer.layers.index(layer), self.viewer.layers.index(self.masks))
        return layer

    def planes(self, epoch: int) -> list[np.ndarray]:
        """Return the masks of one epoch with the strokes on them: (Y, X) uint8 arrays of 0 and 1."""
        planes = self.drawn(epoch)
        for index, pixels in self.corrections().items():
            np.copyto(planes[index], pixels, where=pixels <= 1)
        return planes

    def drawn(self, epoch: int) -> list[np.ndarray]:
        """Return the masks of one epoch as the run made them: (Y, X) uint8 arrays of 0 and 1."""
        return self.source.part((self._buffer[epoch] > 0).astype(np.uint8))

    def corrections(self) -> dict[int, np.ndarray]:
        """Return what the user painted, by plane of those the run takes, see `Strokes`; elsewhere it is for nothing.

        Nothing once the layer was removed.
        """
        painted = {} if self.strokes is None or self.canvas is None else self.strokes.corrections()
        numbers = {plane: self.source.number(plane) for plane in painted}
        return {number: painted[plane] for plane, number in numbers.items() if number is not None}

    def keep(self, epoch: int) -> Labels:
        """Add the masks of one epoch as a layer of their own, without the epoch axis, in place of the epochs."""
        layer = Labels(
            self.source.join(self.planes(epoch)),
            name=_layers.result_name(self.source.name, "mask"),
            colormap=_layers.colormap({0: "transparent", 1: "#ffd000"}, others="#ffd000"),
            opacity=0.6,
            metadata={_layers.ORIGIN: {**self._origin, "epoch": epoch, "final": True}},
            visible=self.seen,
            **self.source.placement(),
        )
        layer.selected_label = 1
        layer.contour = OUTLINE if self.outlined else 0
        before = [
            other
            for other in earlier(self.viewer, layer, self.source.layer, "final")
            if np.array_equal(other.data, layer.data)
        ]
        _layers.hide_earlier(self.viewer.layers, self.source.layer, "final")
        add_above(self.viewer, self.source.layer, layer, self.source.placement, before)
        for covered in (self.masks, self.canvas):
            if covered is not None:
                covered.visible = False  # its colour would mix with that of the final mask
        return layer


def _origin(source: Source, config: IGTTConfig) -> dict[str, Any]:
    planes = {_layers.PLANES: source.note} if source.note else {}
    how: dict[str, Any] = _layers.made_from(
        source.layer, seed=config.seed, config=config.model_dump(mode="json"), **planes
    )
    return how[_layers.ORIGIN]  # type: ignore[no-any-return]


class RunLayers:
    """All layers of one run, and of those that go on from it, in step with its epochs.

    Nothing moves under a brush: while one is in hand, or paint is not locked yet, new epochs wait.

    Attributes
    ----------
    waiting : list of int
        Epochs that are there and not drawn, or that the slider would have gone to.
    kept : list of Labels
        The final masks, see `keep`.
    locked : dict of int to (Y, X) uint8 array
        The corrections that were passed to the run, by the engine's image index.
    colour : str or None
        The channel that the run takes of RGB layers, once that is known.
    mends : bool
        Whether the run mends flaws of images.
    painted : callable
        Called when strokes come or go, and when a brush is taken up or put away.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        sources: Sequence[Source],
        config: IGTTConfig,
        painted: Callable[[], None] = lambda: None,
    ) -> None:
        self.viewer, self.painted, self.mends = viewer, painted, config.flaws == "mend"
        self.parts = [SourceLayers(viewer, source, config, lambda: self.painted()) for source in sources]
        self.slider = _layers.EpochSlider(viewer, lambda: self.held)
        self.epochs = self.slider.epochs
        self.waiting: list[int] = []
        self.locked: dict[int, np.ndarray] = {}
        self.colour: str | None = None
        self.shown: dict[Extra, bool] = {"probability": False, "labels": False}
        self.kept: list[Labels] = []
        self._last: EpochFinished | None = None

    @property
    def newest(self) -> int | None:
        """The newest epoch, drawn or not."""
        return max((*self.epochs, *self.waiting), default=None)

    @property
    def probabilities(self) -> Sequence[np.ndarray] | None:
        """The newest probabilities, one a plane; None before the first epoch."""
        return None if self._last is None else self._last.probabilities

    @property
    def held(self) -> bool:
        """Whether the masks have to stay as they are: a brush is in hand, or what was painted is not locked yet."""
        return self.in_hand is not None or self.unlocked

    @property
    def unlocked(self) -> bool:
        """Whether strokes came or went since the run took them up, and not with all its layers."""
        return any(part.there for part in self.parts) and not _painting.same(self.corrections(), self.locked)

    def put_brush_away(self) -> bool:
        """Let the mouse move the image again; whether it held a brush."""
        held = self._brushes()
        for layer in held:
            layer.mode = "pan_zoom"
        return bool(held)

    def _brushes(self) -> list[Labels]:
        """Return the layers of strokes with a brush in hand."""
        return [part.canvas for part in self.parts if part.canvas is not None and part.canvas.mode in _painting.BRUSHES]

    @property
    def in_hand(self) -> Labels | None:
        """The layer of strokes that a brush is in use on, if there is one."""
        active = self.viewer.layers.selection.active
        return next((layer for layer in self._brushes() if layer is active), None)

    def take_brush(self, value: int) -> None:
        """Take up a brush of one class, on the strokes of the image on screen; final masks would cover them.

        Raises
        ------
        InputError
            If the masks of the image on screen were removed.
        """
        if not self._part.there:
            raise InputError("The masks to paint on were removed; press Run to make them again.")
        for part, kept in zip(self.parts, self.kept, strict=False):
            if kept.visible:
                part.show_again(True)
                kept.visible = False
        layer = self._part.open_strokes()
        layer.visible = True
        layer.selected_label = value
        self.viewer.layers.selection.active = layer
        layer.mode = "paint"

    def go_on(self, config: IGTTConfig) -> None:
        """Make room for a run that goes on from this one, and show its masks if they were hidden."""
        for part in self.parts:
            part.go_on(config)
        self._set_kept_aside()

    def lock(self, painted: Mapping[int, np.ndarray]) -> None:
        """Note the corrections that were passed to the run."""
        self.locked = dict(painted)
        self._set_kept_aside()

    def _set_kept_aside(self) -> None:
        """Hide final masks of earlier epochs, which stay in the viewer, and show what they had hidden."""
        kept, self.kept = self.kept, []
        for part, layer in zip(self.parts, kept, strict=False):
            part.show_again(layer.visible)
            layer.visible = False
            if layer is self.viewer.layers.selection.active and part.there:
                self.viewer.layers.selection.active = part.masks

    def add(self, event: EpochFinished) -> None:
        """Keep a finished epoch; `show_waiting` draws it."""
        self._last = event
        for part, masks in zip(self.parts, self._split(event.masks), strict=True):
            part.grow(event.epoch, masks)
        self.waiting.append(event.epoch)

    def show_waiting(self, wanted: bool = False) -> Iterator[None]:
        """Draw what waits in steps of one layer, unless a brush holds it; go there if the slider was at the newest.

        What is ``wanted`` is drawn all the same, and gone to.
        """
        if not self.waiting or self._last is None or (self.held and not wanted):
            return
        epochs, self.waiting = self.waiting, []
        undrawn = [epoch for epoch in epochs if epoch not in self.epochs]
        follows = not self.epochs or len(undrawn) < len(epochs) or self.slider.epoch == self.epochs[-1]
        if undrawn:
            yield from self.slider.follow(undrawn, self._draw(self._last))
        if (axis := self.slider.axis) is None or self.slider.epoch == epochs[-1]:
            return
        if wanted or (follows and not self.held):
            self.viewer.dims.set_point(axis, epochs[-1])
        elif follows:  # a brush was taken up meanwhile
            self.waiting.insert(0, epochs[-1])

    def _draw(self, event: EpochFinished) -> Iterator[None]:
        for part in self.parts:
            part.draw(event.epoch, self.slider)
            yield
        for kind in self.shown:
            for part, planes in self._pixels(kind):
                if self.shown[kind]:  # it may be hidden meanwhile
                    part.show(kind, planes, event.epoch)
                    yield

    def _pixels(self, kind: Extra) -> list[tuple[SourceLayers, Sequence[np.ndarray] | None]]:
        """Return each source with the newest probabilities or pseudo-labels; None before the first epoch."""
        last = self._last
        pixels = None if last is None else last.probabilities if kind == "probability" else last.labels
        return list(zip(self.parts, [None] * len(self.parts) if pixels is None else self._split(pixels), strict=True))

    def open(self) -> Iterator[None]:
        """Add the layers, empty, one at a time, so that the window is drawn in between; `add` fills them."""
        bring_to_front(self.viewer, [part.source.layer for part in self.parts])
        for part in self.parts:
            self.slider.layers.append(part.open())
            yield
        for kind, shown in self.shown.items():
            for part in self.parts if shown else ():
                part.show(kind, None, None)
                yield
        visible = [part.masks for part in self.parts if part.source.layer.visible and part.there]
        if visible:
            self.viewer.layers.selection.active = max(visible, key=self.viewer.layers.index)

    def close(self) -> None:
        """Take the layers out of the viewer again (a run that never got to its start)."""
        for part in self.parts:
            part.close()

    def show(self, kind: Extra, shown: bool) -> None:
        """Show or hide the probability or the pseudo-labels; hidden ones cost nothing."""
        self.shown[kind] = shown
        if shown:
            for part, planes in self._pixels(kind):
                part.show(kind, planes, self._last.epoch if self._last else None)
        for part in self.parts:
            layer, wanted = part.extras.get(kind), shown and part.seen
            if layer is not None and layer.visible != wanted:  # napari redraws even if nothing changed
                layer.visible = wanted

    @property
    def epoch(self) -> int:
        """The epoch on screen: where the slider stands, or the nearest there is (the newest if the masks are gone)."""
        return self.slider.epoch

    @property
    def plane(self) -> int:
        """The image on screen, in the engine's count: of the source in hand (selected), else of the first."""
        before = self.parts[: self.parts.index(self._part)]
        return sum(part.source.count for part in before) + (self._slice(self._part) or 0)

    @property
    def _part(self) -> SourceLayers:
        """The source in hand: that of the selected layer, else the first."""
        active = self.viewer.layers.selection.active
        return next((p for p in self.parts if active is p.source.layer or active in p.own), self.parts[0])

    def film(self, rounds: Sequence[tuple[int, float, float]]) -> Callable[[], Epochs]:
        """Return what reads the plane on screen and its masks of all epochs, in any thread.

        Parameters
        ----------
        rounds : sequence of (epoch, loss, agreement)

        Raises
        ------
        InputError
            If the plane is none of those that were segmented.
        """
        part, epochs, rounds, colour = self._part, list(self.epochs), list(rounds), self.colour
        if (number := self._slice(part)) is None:
            raise InputError(f"The plane on screen of {part.source.name} was not segmented; {part.source.note} were.")

        def read() -> Epochs:
            from napari_metastructure.igtt.film import Epochs

            pixels = part.source.plane(part.source.places[number], colour)
            return Epochs(pixels, {epoch: part.drawn(epoch)[number] for epoch in epochs}, rounds)

        return read

    def _slice(self, part: SourceLayers) -> int | None:
        """Return which of the planes that are taken of a source is on screen; None for another."""
        source = part.source
        if not source.leading:
            return 0
        if part.masks is None:
            return None
        at = np.round(part.masks.world_to_data(self.viewer.dims.point)[1 : 1 + len(source.leading)]).astype(int)
        return source.number(int(np.ravel_multi_index(tuple(at), source.leading, mode="clip")))

    def masks(self, epoch: int) -> list[np.ndarray]:
        """Return every image's mask of one epoch, with the user's edits."""
        return [plane for part in self.parts for plane in part.planes(epoch)]

    def corrections(self) -> dict[int, np.ndarray]:
        """Return what the user painted, by the engine's image index."""
        result, offset = {}, 0
        for part in self.parts:
            result.update({offset + index: pixels for index, pixels in part.corrections().items()})
            offset += part.source.count
        return result

    def restore(self, corrections: Mapping[int, np.ndarray]) -> None:
        """Show what a run that is resumed had locked, unless there are strokes already."""
        if not any(np.any(pixels <= 1) for pixels in corrections.values()) or self.corrections():
            return
        offset = 0
        for part in self.parts:
            there = {i - offset: pixels for i, pixels in corrections.items() if 0 <= i - offset < part.source.count}
            if there:
                part.open_strokes()
                if part.strokes is not None:
                    part.strokes.restore({part.source.plane_of(number): pixels for number, pixels in there.items()})
            offset += part.source.count
        self.locked = self.corrections()

    def corrections_for_run(self) -> dict[int, np.ndarray]:
        """Return the corrections to pass to a run: pixels that were locked and then undone are free again (254)."""
        told = dict(self.corrections())
        for index, before in self.locked.items():
            now = told.get(index, np.full_like(before, UNLABELLED))
            told[index] = np.where((now == UNLABELLED) & (before != UNLABELLED), np.uint8(FREE), now)
        return told

    def keep(self, epoch: int) -> list[Labels]:
        """Turn one epoch into final mask layers, one per source, which show in place of the run's."""
        in_hand = self.parts.index(self._part)
        self.kept = [part.keep(epoch) for part in self.parts]
        self.viewer.layers.selection.active = self.kept[in_hand]  # what is measured or saved next
        return self.kept

    def outline(self, on: bool) -> None:
        """Draw the masks as outlines, or filled."""
        for part in self.parts:
            part.outlined = on
        for layer in self.mask_layers():
            layer.contour = OUTLINE if on else 0

    def mask_layers(self) -> list[Labels]:
        """Return the layers of masks that are in the viewer, those of the epochs first."""
        layers = [*(part.masks for part in self.parts), *self.kept]
        return [layer for layer in layers if layer is not None and layer in self.viewer.layers]

    def save(self, path: Path, ome: bool = False) -> list[Path]:
        """Write the final masks, or the epoch on screen where none was kept, as TIFF.

        Parameters
        ----------
        path : Path
            The file; with several sources each one's name comes before its own.
        ome : bool
            OME-TIFF instead of ImageJ TIFF.

        Returns
        -------
        list of Path
            What was written.
        """
        there = [layer for layer in self.kept if layer in self.viewer.layers]
        if there and len(there) < len(self.kept):
            raise InputError("Some of the final masks were removed; press Use epoch to make them again, then save.")
        masks = [layer.data for layer in there] or [part.source.join(part.planes(self.epoch)) for part in self.parts]
        notes = [part.source.note for part in self.parts]
        return save_masks(path, masks, [part.source.layer for part in self.parts], ome, notes)

    def hide(self) -> None:
        """Hide this run's layers, its final masks too (a new run draws its own)."""
        for layer in (*self.kept, *(layer for part in self.parts for layer in part.own)):
            layer.visible = False

    def replace(self, before: "RunLayers") -> Iterator[None]:
        """Take away the layers of a run before this one in steps, if it has made the same and was left alone."""
        if before.locked or before.corrections() or len(before.parts) != len(self.parts):
            return
        for old, new in zip(before.parts, self.parts, strict=True):
            if old.masks is None or new.masks is None or old.source.layer is not new.source.layer:
                return
            if not is_replaceable(self.viewer, old.masks) or old.masks.data.shape != new.masks.data.shape:
                return
            for one, other in zip(old.masks.data, new.masks.data, strict=True):
                if not np.array_equal(one, other):
                    return
                yield
        names = [part.masks.name for part in before.parts if part.masks is not None]
        yield from before.drop()
        for name, new in zip(names, self.parts, strict=True):
            if new.masks is not None and is_untouched(new.masks):
                new.masks.name = name  # without napari's number for a second of a name
                note_as_made(new.masks)

    def drop(self, *more: Layer) -> Iterator[None]:
        """Take the layers, and more, out of the viewer in steps, unless they were painted on."""
        made = [] if self.corrections() else [layer for part in self.parts for layer in part.own]
        for layer in (*made, *more):
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
                yield

    @property
    def removed(self) -> str:
        """Say whose masks were removed, in a sentence; empty if all are there."""
        gone = [part.source.name for part in self.parts if not part.there]
        return f"The masks layer of {listed(gone)} was removed; press Run for a new run." if gone else ""

    def needs(self, layer: Layer) -> bool:
        """Tell whether the run is pointless without this layer: a source, or its masks."""
        return any(layer is part.source.layer or layer is part.masks for part in self.parts)

    def _split(self, planes: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
        """Split the engine's flat list of images by source."""
        result, start = [], 0
        for part in self.parts:
            result.append(planes[start : start + part.source.count])
            start += part.source.count
        return result
