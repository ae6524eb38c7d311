"""Density widget: the meta-structure of label layers as maps, histograms by true class, numbers and profiles."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import napari
from napari.layers import Image, Labels, Layer, Shapes
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QSize, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QWidget
from superqt.utils import QSignalDebouncer

from napari_metastructure import __version__
from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.structure import ClassHistogram
from napari_metastructure.plugin import _density_model, _density_plots, _inputs, _layers
from napari_metastructure.plugin._calibration import pixel_size
from napari_metastructure.plugin._density_form import DensityForm
from napari_metastructure.plugin._density_maps import COLORMAP, MADE, MapLayers
from napari_metastructure.plugin._density_plots import Profile
from napari_metastructure.plugin._form import tooltip, with_tip
from napari_metastructure.plugin._help import Tools
from napari_metastructure.plugin._layer_order import add_above, earlier
from napari_metastructure.plugin._live import LivePreview, StackRun
from napari_metastructure.plugin._pairs import apart
from napari_metastructure.plugin._preferences import Memory, of_settings
from napari_metastructure.plugin._shortcuts import Keys
from napari_metastructure.plugin._worker import EventLoopSteps

log = logging.getLogger(__name__)

PROBLEM = "#e5534b"
"""Colour of a sentence about what is wrong."""

REFERENCE_TIP = (
    "The labels whose classes count as true, for histograms and numbers. By default those that a noisy layer was made "
    "from; for labels made elsewhere, the labels themselves."
)


class DensityWidget(QWidget):
    """The density of labels, eq. (8), live on the visible slice, and what it says about them.

    Buttons call `draw_line`, `make_stacks` and `show_figure_6`; scripts may do the same, and `choose`,
    `choose_reference`, `set` and `stop_stacks`. None of them raises: what is wrong is said in one sentence by a napari
    notification and in the widget, and the method returns False (or None).

    Attributes
    ----------
    updated : Signal
        The maps on screen are of the newest labels and settings that could be followed.
    measured : Signal
        So are histograms and numbers; comes after ``updated``, once the newest maps are drawn.
    stacks_ended : Signal
        The layers of whole stacks are there, or will not come.
    problem : str
        What is wrong, in one sentence; empty if nothing is.
    """

    updated = Signal()
    measured = Signal()
    stacks_ended = Signal()

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer = _layers.unwrapped(napari_viewer)
        self.problem = ""
        self.made: list[Image] = []
        self._used = _density_model.DensitySettings()
        self._reframe = self._changed = False
        self._let_go: Callable[[], None] = lambda: None
        self._make_parts()
        self._lay_out()
        self.maps = MapLayers(viewer)
        self._worker, self._references = _density_model.DensityWorker(), _layers.TrueLabels(viewer)
        self.live = LivePreview(
            viewer,
            self,
            request=self._request,
            show=self._show_maps,
            measure=_density_model.measure,
            show_measured=self._show_measured,
            failed=self._show_failure,
        )
        self._line_changed, self._adding = QSignalDebouncer(parent=self), EventLoopSteps(self)
        self.watch = _layers.LayerWatch(viewer, self.live.refresh)
        self._line_watch = _layers.LayerWatch(viewer, self._line_changed.throttle)
        self.live.hold(self.watch, self._line_watch, self.maps)
        self._connect()
        kept = {"settings": of_settings(_density_model.DensitySettings, self.settings.settings, self._show_settings)}
        self.memory = Memory(self, "density", kept)
        self.tools.reset_button.clicked.connect(lambda: self.memory.reset())
        self.keys = Keys(self, viewer, {"stop": (self.run.cancel_button,)}, results=lambda: self.images)
        self.live.refresh()

    def _make_parts(self) -> None:
        viewer = self.viewer
        self.tools = Tools("density")
        self.picker = _inputs.LayerPicker(
            viewer, "Labels whose density is shown, live on the visible slice.", is_labels
        )
        self.reference = _inputs.LayerBox(viewer, REFERENCE_TIP, is_labels, none="the source of each")
        self.settings = DensityForm()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setToolTip(tooltip("Messages about the layers and settings."))
        self.histograms = _density_plots.HistogramPlots(viewer)
        self.table = _density_plots.ComparisonTable()
        self.lines = _inputs.LayerBox(
            viewer, "The Shapes layer whose last line is followed.", lambda layer: isinstance(layer, Shapes), "no line"
        )
        self.draw_button = _button("Draw a line", "Draw a line over labels or a map; the plot follows it.")
        self.profiles = _density_plots.ProfilePlot(viewer)
        self.stack_button = _button(
            "Whole stack",
            "Make layers of the densities of all slices, in the background; settings no longer change them.",
        )
        self.figure_button = _button(
            "Figure 6",
            "The paper's Figure 6: a circle in a rectangle (CL), with labels flipped (RCL) and random labels (RL), "
            "their noise transition matrices and their densities.",
        )
        self.run = StackRun("Densities of whole stacks", "Slices done.")

    def _lay_out(self) -> None:
        label = with_tip(QLabel("True classes from"), REFERENCE_TIP)
        reference = _inputs.row(label, self.reference, wide=self.reference)
        line = _inputs.row(self.lines, self.draw_button, wide=self.lines)
        parts = (
            *(_inputs.row(_inputs.heading("Labels"), self.tools), self.picker, reference),
            *(_inputs.heading("Density"), self.settings, self.status),
            *(_inputs.heading("Histogram per true class"), self.histograms),
            *(_inputs.heading("Meta-structure retained"), self.table),
            *(_inputs.heading("Profile"), line, self.profiles),
        )
        _inputs.lay_out(self, parts, (_inputs.row(self.stack_button, self.figure_button), self.run))

    def _connect(self) -> None:
        viewer, live = self.viewer, self.live
        self.picker.picked.connect(live.refresh)
        self.reference.picked.connect(live.refresh)
        self.settings.changed.connect(self._on_setting)
        self.lines.picked.connect(self._line_changed.throttle)
        self._line_changed.triggered.connect(self._show_profiles)
        self.draw_button.clicked.connect(lambda: self.draw_line())
        self.stack_button.clicked.connect(lambda: self.make_stacks())
        self.figure_button.clicked.connect(lambda: self.show_figure_6())
        self.run.ended.connect(self._on_stacks_ended)
        live.listen(viewer.layers.events.inserted, self._on_layer)
        live.listen(viewer.layers.events.removed, self._on_layer_removed)
        live.listen(viewer.events.theme, self._use_theme)
        live.closed.connect(self.run.cancel)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size for which there is room on a small laptop's screen."""
        return QSize(380, 780)

    # ---- for buttons and scripts -----------------------------------------------------------------------

    def choose(self, layers: Sequence[Layer]) -> bool:
        """Tick these Labels layers and no others."""
        return self._try(lambda: self.picker.choose(layers))

    def choose_reference(self, layer: Layer | None) -> bool:
        """Take the true classes from this Labels layer; None: from what each layer was made from."""
        if self.reference.choose(layer):
            return True
        name = layer.name if layer is not None else "none"
        return self._refuse(f"Layer {name!r} has no true classes; choose a Labels layer of this viewer.")

    def set(self, **settings: Any) -> bool:
        """Change settings, those of `DensitySettings`: ``set(bandwidth=12, kernel="gaussian")``."""

        def fill() -> None:
            self._fit_slider()  # the layers may have been ticked just now
            before = self.settings.settings()
            after = before.changed(**settings)
            if not self.settings.bandwidth.offers(after.unit):
                raise InputError("The ticked layers have no unit but pixels; give the bandwidth in pixels.")
            self.settings.fill(after)
            for name in [name for name in settings if settings[name] != getattr(before, name)]:
                self._on_setting(name)

        return self._try(fill)

    def _show_settings(self, how: _density_model.DensitySettings) -> None:
        """Show settings of the last time, whose unit the layers of this time may not have."""
        self._fit_slider()
        if not self.settings.bandwidth.offers(how.unit):
            how = how.changed(unit="pixel", bandwidth=_density_model.DensitySettings().bandwidth)
        self.settings.fill(how)
        self.live.refresh()

    def refresh(self) -> None:
        """Read all labels again, after a write in place that napari was not told of."""
        self.watch.forget()
        self.live.refresh()

    @property
    def busy(self) -> bool:
        """True while maps, plots or numbers on screen are not of the newest labels and settings."""
        return self.live.busy

    @property
    def images(self) -> list[Image]:
        """The density layers on screen."""
        return [shown.image for shown in self.maps.shown.values()]

    @property
    def class_histograms(self) -> tuple[ClassHistogram, ...]:
        """The histograms on screen."""
        return self.histograms.shown

    @property
    def numbers(self) -> tuple[_density_model.DensityResult, ...]:
        """The rows of the table on screen."""
        return self.table.shown

    @property
    def curves(self) -> tuple[Profile, ...]:
        """The profiles on screen."""
        return self.profiles.shown

    def draw_line(self) -> Shapes:
        """Put a Shapes layer into line mode, over the first ticked layer; profiles follow its last line."""
        layer = self.lines.chosen()
        if layer is None:
            chosen = self.picker.chosen()
            layer = _density_plots.add_line_layer(
                self.viewer, _layers.visible_plane(self.viewer, chosen[0]) if chosen else None
            )
            self.lines.choose(layer)
        self.viewer.layers.selection.active = layer
        layer.mode = "add_line"
        return layer

    def make_stacks(self) -> bool:
        """Make density layers of all slices of the ticked layers, in the background."""
        if self.run.running:
            return self._refuse("Stack layers are being made already; stop them first.")

        def start() -> None:
            layers = self.picker.chosen()
            if not layers:
                raise InputError("No Labels layer is ticked; open labels and tick their layer in the list.")
            how = self.settings.settings()
            requests = [
                _density_model.DensityRequest(
                    layer,
                    how,
                    LabelStack(_layers.full(layer), how.reading, _layers.is_ours(layer), f"Layer {layer.name!r}"),
                    bandwidth=_density_model.bandwidth_in_pixels(how, layer, layers[0]),
                )
                for layer in layers
            ]
            self.made, self._changed = [], False
            read = [emitter for layer in layers for emitter in (layer.events.paint, layer.events.data)]
            self._let_go = _inputs.follow(read, self._on_changed)
            self.stack_button.setEnabled(False)
            self.run.start(lambda: _density_model.stacks_job(requests))

        return self._try(start)

    def stop_stacks(self) -> None:
        """Make no stack layers after all."""
        self.run.cancel()

    def show_figure_6(self) -> bool:
        """Open the paper's Figure 6, unless it is open, and follow its three labels."""
        from napari_metastructure.plugin.samples import CELLS, figure_6, find_figure, settings_of

        def show() -> None:
            if not find_figure(self.viewer.layers):
                for made in figure_6():
                    self.viewer.add_layer(Layer.create(*made))
            figure = find_figure(self.viewer.layers)
            self.reference.choose(None)
            self.picker.choose(figure[: len(CELLS)])
            self.settings.fill(settings_of(figure))
            self.live.refresh()
            self.viewer.layers.selection.active = figure[0]
            self.viewer.reset_view()

        return self._try(show)

    def say(self, text: str, problem: bool = False) -> None:
        """Show a sentence."""
        self.problem = text if problem else ""
        self.status.setText(text)
        self.status.setStyleSheet(f"color: {PROBLEM}" if problem else "")
        self.status.setVisible(bool(text))

    def _try(self, action: Callable[[], Any]) -> bool:
        try:
            action()
        except MetastructureError as error:
            return self._refuse(str(error))
        return True

    def _refuse(self, why: str) -> bool:
        show_error(why)
        self.say(why, problem=True)
        return False

    # ---- the maps --------------------------------------------------------------------------------------

    def _request(self) -> Callable[[Callable[[], bool]], list[_density_model.DensityResult]] | None:
        """Return the job that computes the densities of what is ticked now, or say what is wrong."""
        layers, chosen = self.picker.chosen(), self.reference.chosen()
        references = [self._references.of(layer) if chosen is None else chosen for layer in layers]
        self.watch.follow([*layers, *references])
        self._fit_slider()
        try:
            how = self.settings.settings()
        except InputError as error:
            self.say(str(error), problem=True)
            return None
        requests = []
        for layer, reference in zip(layers, references, strict=True):
            try:
                plane, stack = self._visible(layer), self.watch.stack(layer, how.reading)
                bandwidth = _density_model.bandwidth_in_pixels(how, layer, layers[0])
            except InputError as error:
                requests.append(_density_model.DensityRequest(layer, how, problem=str(error)))
                continue
            request = _density_model.DensityRequest(layer, how, stack, plane, bandwidth, versions=(stack.changes,))
            if reference is not layer or chosen is not None:
                request = self._with_reference(request, reference)
            requests.append(request)
        worker = self._worker
        return lambda wanted: worker.compute(requests)

    def _with_reference(self, request: _density_model.DensityRequest, layer: Layer) -> _density_model.DensityRequest:
        stack = self.watch.stack(layer, request.settings.reading)
        try:
            reference = stack, self._visible(layer).index
        except InputError as error:
            return replace(request, problem=str(error))
        return replace(
            request, reference=reference, reference_layer=layer, versions=(request.versions[0], stack.changes)
        )

    def _visible(self, layer: Layer) -> _layers.VisiblePlane:
        """Return a layer's plane on screen."""
        plane = _layers.visible_plane(self.viewer, layer)
        if plane is None and self.viewer.dims.ndisplay == 3:
            raise InputError("Densities are computed on slices; switch the viewer back to 2D.")
        if plane is None:
            raise InputError(
                f"Layer {layer.name!r} has no slice here; move the sliders into it, with Y and X on screen."
            )
        return plane

    def _fit_slider(self) -> None:
        """Offer bandwidths that fit the first layer, in pixels and in its unit."""
        if layers := self.picker.chosen():
            (y, x), shape = pixel_size(layers[0]), _layers.full(layers[0]).shape
            self.settings.bandwidth.fit(math.sqrt(y * x), _density_model.unit_symbol(layers[0]), min(shape[-2:]))

    def _show_maps(self, results: list[_density_model.DensityResult]) -> bool:
        if results:
            self._used = results[0].request.settings
        how, chosen = self._used, self.picker.chosen()  # by now
        results = [result for result in results if any(result.request.layer is layer for layer in chosen)]
        drawn = [result.request.layer for result in results if result.maps]

        def keep_empty(layer: Layer, label: int) -> bool:
            """Whether a map without pixels right now is emptied, not removed: another slice may have some."""
            if not any(layer is other for other in chosen):
                return False
            return layer not in drawn or (how.label_class is None and label > 0)

        self.maps.draw(results, keep_empty)
        if self._reframe:  # the maps have moved, perhaps out of the canvas
            self._reframe = False
            self.viewer.reset_view()
        self.settings.offer_classes(sorted({label for result in results for label in result.classes}))
        problems = [result.problem for result in results if result.problem]
        notes = [result.note for result in results if result.note]
        compared = [(result.request.layer, result.request.reference_layer) for result in results]
        notes += filter(None, (apart(layer, other) for layer, other in compared if other is not None))
        if problems:
            self.say(problems[0], problem=True)
        else:
            self.say(notes[0] if notes else "" if results else "Tick a Labels layer, or press Figure 6.")
        self._show_profiles()
        self.updated.emit()
        return True

    def _show_measured(self, results: list[_density_model.DensityResult]) -> None:
        pairs = [(found, result) for result in results for found in result.histograms]
        self.histograms.show_histograms(
            [found for found, _ in pairs], [_colors(result, found.classes) for found, result in pairs]
        )
        self.table.show_results(results)
        self.measured.emit()

    def _show_failure(self, error: Exception) -> None:
        """Report a fault of this package's own; the widget lives on."""
        log.error("The densities failed", exc_info=error)
        self.say(f"The densities could not be computed: {type(error).__name__}: {error}.", problem=True)

    def _on_setting(self, name: str) -> None:
        self._reframe = self._reframe or name == "side_by_side"
        self.live.refresh()

    def _on_layer(self, event: Any) -> None:
        if is_labels(event.value):
            self.live.refresh()

    def _on_layer_removed(self, event: Any) -> None:
        source = self.maps.taken_out(event.value)
        if source is not None and source in self.viewer.layers:  # the user does not want this map
            self.picker.choose([layer for layer in self.picker.chosen() if layer is not source])
        self._on_layer(event)

    def _use_theme(self, event: Any = None) -> None:
        self.histograms.use_theme()
        self.profiles.use_theme()

    # ---- profiles and whole stacks ---------------------------------------------------------------------

    def _show_profiles(self) -> None:
        layer = self.lines.chosen()
        self._line_watch.follow([] if layer is None else [layer])
        line = None if layer is None else _density_plots.last_line(layer)
        sources = self.picker.chosen()
        if line is None or not sources or not self.maps.shown:
            self.profiles.show_profiles((), "")
            return
        shown = {key: item.image for key, item in self.maps.shown.items()}
        home = next((at for at in (*shown.values(), *sources) if _density_plots.holds(at, line)), None)
        in_unit = self._used.unit == "layer"
        profiles = [
            _density_plots.profile(
                image.name,
                image.data,
                _density_plots.on_map(line, source, image, home),
                pixel_size(image) if in_unit else (1, 1),
            )
            for (source, _), image in shown.items()
        ]
        unit = _density_model.unit_symbol(sources[0]) if in_unit else None
        self.profiles.show_profiles(profiles, unit or "pixels")

    def _on_changed(self) -> None:
        self._changed = True

    def _on_stacks_ended(self, found: tuple[_density_model.StackMap, ...] | None, why: str) -> None:
        self._let_go()
        if found and self._changed:
            show_warning("Labels were changed while whole stacks were made of them; make them again for what is new.")
        if why:
            self._refuse(why)
        self._adding.start(self._add_stacks(found or ()), self._on_stacks_added)

    def _on_stacks_added(self) -> None:
        self.stack_button.setEnabled(True)
        self.stacks_ended.emit()

    def _add_stacks(self, found: Sequence[_density_model.StackMap]) -> Iterator[None]:
        for made in found:
            layer, how, (low, high) = made.request.layer, made.request.settings, made.limits
            name = _density_model.map_name(layer.name, made.label_class, how.several)
            origin = {"version": __version__, "made": f"{MADE} of a stack", **made.request.origin(made.label_class)}
            where = partial(_layers.placement, layer, ndim=made.values.ndim)
            image = Image(
                made.values,
                name=f"{name} (stack)" if made.values.ndim > 2 else f"{name} (kept)",
                colormap=COLORMAP,
                contrast_limits=(low, high if high > low else low + 1e-9),
                metadata={_layers.ORIGIN: origin},
                **where(),
            )
            before = earlier(self.viewer, image, layer, "made", "settings", "class")
            add_above(self.viewer, layer, image, where, before)
            self.made.append(image)
            yield


def is_labels(layer: Layer) -> bool:
    """Whether a layer is offered as labels."""
    return isinstance(layer, Labels)


def _colors(result: _density_model.DensityResult, classes: Sequence[int]) -> dict[int, str]:
    """Return the colours that the layer of the true classes shows."""
    request = result.request
    layer = request.layer if request.reference_layer is None else request.reference_layer
    return _layers.shown_colors(layer, classes, request.settings.reading, result.foreground)


def _button(text: str, tip: str) -> QPushButton:
    button = with_tip(QPushButton(text), tip)
    return button
