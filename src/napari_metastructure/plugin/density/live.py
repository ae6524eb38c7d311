"""The density widget at work: what is ticked, painted or dialled becomes maps, plots and numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.density.ask import Asker
from napari_metastructure.plugin.density.compute import Answer, Computer
from napari_metastructure.plugin.density.drawing import Drawing
from napari_metastructure.plugin.density.layout import DensityLayout, is_labels
from napari_metastructure.plugin.density.line import holds, last_line, on_map, profile
from napari_metastructure.plugin.density.maps import MapLayers
from napari_metastructure.plugin.density.measure import Measured, measure
from napari_metastructure.plugin.density.read import Reader
from napari_metastructure.plugin.density.scale import pixel_size, unit_symbol
from napari_metastructure.plugin.density.settings import DensitySettings
from napari_metastructure.plugin.density.watch import SHAPES, Watch
from napari_metastructure.plugin.latest import Latest
from napari_metastructure.plugin.visible import full

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

log = logging.getLogger(__name__)

PROBLEM = "#e5534b"
"""Colour of a sentence about what is wrong."""


class DensityLive(DensityLayout):
    """The panels in step with the viewer; `DensityWidget` is what buttons and scripts call.

    Whatever happens asks anew, once per turn of Qt's loop. The maps are drawn as soon as they are there; plots and
    numbers follow when the newest maps are on screen.
    """

    updated = Signal()
    measured = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.maps = MapLayers(viewer)
        self.answer: Answer | None = None
        self.result = Measured()
        self.problem = ""
        self.used = DensitySettings()
        self._computer, self._reader = Computer(), Reader()
        self._reframe = False
        self._density, self._measure = Latest(self), Latest(self)
        self._soon, self._line_soon = _next_turn(self), _next_turn(self)
        self._watch = Watch(self._later)
        self._asker = Asker(viewer, self._watch)
        self._line_watch = Watch(self._line_soon.start, SHAPES)
        self._connect()
        self._later()

    @property
    def busy(self) -> bool:
        """True while maps, plots or numbers on screen are not of the newest labels and settings."""
        return self._soon.isActive() or self._density.busy or self._measure.busy

    def say(self, text: str, problem: bool = False) -> None:
        """Show a sentence."""
        self.problem = text if problem else ""
        self.status.setText(text)
        self.status.setStyleSheet(f"color: {PROBLEM}" if problem else "")
        self.status.setVisible(bool(text))

    # ---- question ----------------------------------------------------------------------------------------

    def _later(self) -> None:
        """Ask at the next turn of the loop: one thing that happens comes as several events."""
        if not self._soon.isActive():
            self._soon.start()

    def _ask(self) -> None:
        layers, truth = self.picker.chosen(), self.truth.chosen()
        self._watch.follow([*layers, *(self._asker.truth_of(layer, truth) for layer in layers)])
        self._fit_slider()
        try:
            question = self._asker.question(layers, truth, self.settings.settings())
        except InputError as error:
            self.say(str(error), problem=True)
            return
        self._density.ask(lambda: self._computer.answer(question))

    def _fit_slider(self) -> None:
        """Offer bandwidths that fit the first layer, in pixels and in its unit."""
        if layers := self.picker.chosen():
            (y, x), shape = pixel_size(layers[0]), full(layers[0]).shape
            self.settings.bandwidth.fit(math.sqrt(y * x), unit_symbol(layers[0]), min(shape[-2:]))

    # ---- answer ------------------------------------------------------------------------------------------

    def _on_maps(self, answer: Answer) -> None:
        settings = answer.question.settings
        self.answer, self.used = answer, settings
        chosen = self.picker.chosen()  # by now
        about = settings.described()
        drawings = [
            Drawing(part.part.plane, label, settings.several, values, about, part.part.bandwidth)
            for part in answer.parts
            for label, values in part.maps.items()
            if any(part.part.plane.layer is layer for layer in chosen)
        ]
        drawn = [drawing.plane.layer for drawing in drawings]

        def stays(layer: Layer, label: int) -> bool:
            """Whether a map without pixels right now is emptied, not removed: on another slice there may be some."""
            if not any(layer is other for other in chosen):
                return False
            return layer not in drawn or (settings.label_class is None and label > 0)

        self.maps.draw(drawings, answer.top, settings.one_scale, settings.side_by_side, stays)
        if self._reframe:  # the maps have moved, perhaps out of sight
            self._reframe = False
            self.viewer.reset_view()
        self.settings.offer_classes(answer.classes)
        self._tell(answer)
        self._show_profiles()
        self.updated.emit()
        if not self._density.busy and not self._soon.isActive():
            self._measure.ask(lambda: measure(answer, self._reader))

    def _tell(self, answer: Answer) -> None:
        """One sentence: the first of what is wrong, else why a map is empty."""
        wrong = [*answer.question.refused, *(part.problem for part in answer.parts if part.problem)]
        notes = [part.note for part in answer.parts if part.note]
        if wrong:
            self.say(wrong[0], problem=True)
        elif notes:
            self.say(notes[0])
        else:
            self.say("" if answer.parts else "Tick a Labels layer, or press Figure 6.")

    def _on_measured(self, measured: Measured) -> None:
        self.result = measured
        self.histograms.show_humps(measured.humps)
        self.table.show_numbers(measured.numbers)
        self.measured.emit()

    def _on_broken(self, error: Exception) -> None:
        """A fault of this package's own; the widget lives on."""
        log.error("The densities broke", exc_info=error)
        self.say(f"The densities broke: {type(error).__name__}: {error}.", problem=True)

    # ---- profile -----------------------------------------------------------------------------------------

    def _show_profiles(self) -> None:
        layer = self.lines.chosen()
        self._line_watch.follow([] if layer is None else [layer])
        line = None if layer is None else last_line(layer)
        sources = self.picker.chosen()
        if line is None or not sources or not self.maps.shown:
            self.profiles.show_profiles((), "")
            return
        shown = {key: item.image for key, item in self.maps.shown.items()}
        home = next((at for at in (*shown.values(), *sources) if holds(at, line)), None)
        in_unit = self.used.unit == "layer"
        profiles = [
            profile(image.name, image.data, on_map(line, source, image, home), pixel_size(image) if in_unit else (1, 1))
            for (source, _), image in shown.items()
        ]
        unit = unit_symbol(sources[0]) if in_unit else None
        self.profiles.show_profiles(profiles, unit or "pixels")

    # ---- what happens around it ----------------------------------------------------------------------------

    def _connect(self) -> None:
        viewer, layers = self.viewer, self.viewer.layers.events
        self._soon.timeout.connect(self._ask)
        self._line_soon.timeout.connect(self._show_profiles)
        self._density.done.connect(self._on_maps)
        self._measure.done.connect(self._on_measured)
        for latest in (self._density, self._measure):
            latest.failed.connect(self._on_broken)
        self.picker.picked.connect(self._later)
        self.truth.picked.connect(self._later)
        self.settings.changed.connect(self._on_setting)
        self.lines.picked.connect(self._line_soon.start)
        listening: list[tuple[Any, Callable[[Any], None]]] = [
            (viewer.dims.events.point, self._on_event),
            (viewer.dims.events.ndisplay, self._on_event),
            (viewer.dims.events.order, self._on_event),
            (layers.inserted, self._on_layer),
            (layers.removed, self._on_layer_removed),
            (viewer.events.theme, self._use_theme),
        ]
        for emitter, callback in listening:
            emitter.connect(callback)
        held = (self.picker, self.truth, self.lines, self._watch, self._line_watch, self.maps)

        def release() -> None:
            """The viewer may outlive the widget and must not call it then."""
            for part in held:
                part.release()
            for emitter, callback in listening:
                emitter.disconnect(callback)

        self.destroyed.connect(release)

    def _on_setting(self, name: str) -> None:
        self._reframe = self._reframe or name == "side_by_side"
        self._later()

    def _on_event(self, event: Any = None) -> None:
        self._later()

    def _on_layer(self, event: Any) -> None:
        if is_labels(event.value):
            self._later()

    def _on_layer_removed(self, event: Any) -> None:
        source = self.maps.taken_out(event.value)
        if source is not None and source in self.viewer.layers:  # the user does not want this map
            self.picker.choose([layer for layer in self.picker.chosen() if layer is not source])
        self._on_layer(event)

    def _use_theme(self, event: Any = None) -> None:
        self.histograms.use_theme()
        self.profiles.use_theme()


def _next_turn(parent: QWidget) -> QTimer:
    """A timer that fires once, at the next turn of Qt's loop."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(0)
    return timer
