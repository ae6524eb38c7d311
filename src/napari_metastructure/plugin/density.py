"""The density widget: the meta-structure of label layers, seen, plotted and measured."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import napari
from napari.layers import Image, Labels, Layer, Shapes
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, QSignalBlocker, QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_metastructure import __version__
from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels.classes import Reader
from napari_metastructure.plugin._density_maps import COLORMAP, MADE, Drawing, MapLayers, map_name
from napari_metastructure.plugin._density_model import (
    Answer,
    Asker,
    Computer,
    DensitySettings,
    Measured,
    PlaneDone,
    Stack,
    StacksDone,
    Unit,
    bandwidth_in_pixels,
    measure,
    pixel_size,
    stacks_job,
    unit_symbol,
)
from napari_metastructure.plugin._density_plots import (
    HistogramPlots,
    NumbersTable,
    ProfilePlot,
    add_line_layer,
    holds,
    last_line,
    on_map,
    profile,
)
from napari_metastructure.plugin._form import Editor, ModelForm, tooltip
from napari_metastructure.plugin._inputs import LayerBox, LayerPicker, heading, lay_out
from napari_metastructure.plugin._layers import ORIGIN, SHAPES, Watch, full, is_ours, visible_plane
from napari_metastructure.plugin._worker import Latest, Runner
from napari_metastructure.training.control import Control

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_metastructure.errors import MetastructureError
    from napari_metastructure.labels.structure import ClassHistogram as Humps
    from napari_metastructure.plugin._density_model import Numbers
    from napari_metastructure.plugin._density_plots import Profile


# -------- The bandwidth: a slider for the hand, a number for exactness, in pixels or in the layer's unit.


STEPS = 400

LOWEST = 0.75
"""Pixels; below half a pixel only the pixel itself would count."""


class _Number(QDoubleSpinBox):
    """Shows no more digits than it takes."""

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        return f"{value:.4g}"


class BandwidthRow(QWidget):
    """Slider, number and unit; ``changed`` tells that the bandwidth or its unit is another.

    The slider is logarithmic, from less than a pixel to half the image. The number may be anything above 0.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        fields = DensitySettings.model_fields
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setMinimumWidth(50)
        self.number = _Number()
        self.number.setDecimals(6)
        self.number.setRange(1e-6, 1e6)
        self.number.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.number.setKeyboardTracking(False)  # half a number is no bandwidth
        self.number.setFixedWidth(76)
        self.units = QComboBox()
        self.units.setFixedWidth(84)
        self.units.addItem("pixels", "pixel")
        for part, name in ((self.slider, "bandwidth"), (self.number, "bandwidth"), (self.units, "unit")):
            part.setToolTip(tooltip(fields[name].description))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.slider, 1)
        layout.addWidget(self.number)
        layout.addWidget(self.units)
        self._pixel, self._highest = 1.0, 64.0
        self._unit: Unit = "pixel"
        self.number.setValue(fields["bandwidth"].default)
        self.slider.valueChanged.connect(self._on_slider)
        self.number.valueChanged.connect(self._on_number)
        self.units.currentIndexChanged.connect(lambda _: self._on_unit())
        self._show_on_slider()

    def value(self) -> float:
        """The bandwidth, in `unit`."""
        return float(self.number.value())

    def unit(self) -> Unit:
        """What it is given in."""
        return self._unit

    def offers(self, unit: Unit) -> bool:
        """Whether the bandwidth can be given in this unit."""
        return self.units.findData(unit) >= 0

    def set(self, value: float, unit: Unit | None = None) -> None:
        """Show a bandwidth; ``changed`` tells of it once, if it is another."""
        before = (self.value(), self.unit())
        with QSignalBlocker(self):
            if unit is not None and unit != self._unit:
                self.units.setCurrentIndex(max(self.units.findData(unit), 0))
            self.number.setValue(value)
        if before != (self.value(), self.unit()):
            self.changed.emit()

    def fit(self, pixel: float, symbol: str | None, side: int) -> None:
        """Fit slider and units to what is chosen: a pixel's size, the unit's symbol, the image's shorter side.

        Without a symbol there are only pixels.
        """
        if symbol is None:
            self.units.setCurrentIndex(0)  # first, while a pixel's size is still known
            self.units.removeItem(1)
        elif self.units.count() < 2:
            self.units.addItem(symbol, "layer")
        else:
            self.units.setItemText(1, symbol)
        self._pixel, self._highest = pixel, max(side / 2, 2 * LOWEST)
        self._show_on_slider()

    def _size(self) -> float:
        """A pixel's size in the unit shown."""
        return self._pixel if self._unit == "layer" else 1.0

    def _on_slider(self, place: int) -> None:
        pixels = LOWEST * (self._highest / LOWEST) ** (place / STEPS)
        self.number.setValue(float(f"{pixels * self._size():.3g}"))

    def _on_number(self, value: float) -> None:
        self._show_on_slider()
        self.changed.emit()

    def _on_unit(self) -> None:
        """Another unit, the same bandwidth."""
        unit: Unit = self.units.currentData() or "pixel"
        if unit == self._unit:
            return
        pixels = self.value() / self._size()
        self._unit = unit
        with QSignalBlocker(self.number):
            self.number.setValue(float(f"{pixels * self._size():.4g}"))
        self.changed.emit()

    def _show_on_slider(self) -> None:
        pixels = self.value() / self._size()
        place = STEPS * math.log(max(pixels, LOWEST) / LOWEST) / math.log(self._highest / LOWEST)
        with QSignalBlocker(self.slider):
            self.slider.setValue(round(min(place, STEPS)))


# -------- The settings of the density widget, as a form that tells of every change at once.


ROWS = ("reading", "label_class", "kernel", "bandwidth")

BOXES = ("edges", "one_scale", "side_by_side")


class SettingsPanel(QWidget):
    """Everything in `DensitySettings`; ``changed`` names the setting that was edited."""

    changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        fields = DensitySettings.model_fields
        self.bandwidth = BandwidthRow()
        self.classes = QComboBox()
        self.classes.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        special = {
            "label_class": Editor(
                self.classes, self.classes.currentData, self._choose_class, self.classes.currentIndexChanged
            ),
            "bandwidth": Editor(
                self.bandwidth, self.bandwidth.value, lambda v: self.bandwidth.set(v), self.bandwidth.changed
            ),
        }
        self.offer_classes(())
        self.form = ModelForm(DensitySettings, ROWS, special)
        self.boxes: dict[str, QCheckBox] = {}
        grid = QGridLayout()
        grid.setVerticalSpacing(2)
        for number, name in enumerate(BOXES):
            box = self.boxes[name] = QCheckBox(fields[name].title or name)
            box.setToolTip(tooltip(fields[name].description))
            box.toggled.connect(lambda _, name=name: self.changed.emit(name))
            grid.addWidget(box, *divmod(number, 2))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.form)
        layout.addLayout(grid)
        self.fill(DensitySettings())
        self.form.changed.connect(self.changed)

    def settings(self) -> DensitySettings:
        """The settings as shown.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the setting.
        """
        boxes = {name: box.isChecked() for name, box in self.boxes.items()}
        return DensitySettings().changed(**self.form.values(), **boxes, unit=self.bandwidth.unit())

    def fill(self, settings: DensitySettings) -> None:
        """Show these settings, silently."""
        with QSignalBlocker(self), QSignalBlocker(self.form):
            self.bandwidth.set(settings.bandwidth, settings.unit)
            self.form.fill({name: getattr(settings, name) for name in ROWS})
            for name, box in self.boxes.items():
                box.setChecked(getattr(settings, name))

    def offer_classes(self, classes: Sequence[int]) -> None:
        """Offer these classes, the one chosen, and all above 0."""
        chosen: Any = self.classes.currentData() if self.classes.count() else 1
        offered = sorted({*classes, 1, *([] if chosen is None else [chosen])})
        with QSignalBlocker(self.classes):
            self.classes.clear()
            self.classes.addItem("all classes above 0", None)
            for label in offered:
                self.classes.addItem(f"class {label}" + ("" if label else " (background)"), label)
            self.classes.setCurrentIndex(self.classes.findData(chosen))

    def _choose_class(self, label: int | None) -> None:
        if self.classes.findData(label) < 0:
            self.offer_classes([*(self.classes.itemData(row) for row in range(1, self.classes.count())), label or 0])
        self.classes.setCurrentIndex(self.classes.findData(label))


# -------- How the density widget looks: its panels in a scroll area. What they do is in `live` and `widget`.


TRUTH_TIP = (
    "The labels whose classes count as true, for histograms and numbers. By default those that a noisy layer was made "
    "from; of labels that were not made here, their own."
)


class DensityLayout(QWidget):
    """The panels, top to bottom in the order they are used; it scrolls where a screen is too low."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.picker = LayerPicker(viewer, "Labels whose density is shown, live on the visible slice.", is_labels)
        self.truth = LayerBox(viewer, TRUTH_TIP, is_labels, none="the source of each")
        self.settings = SettingsPanel()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setToolTip(tooltip("What the widget has to say about the layers and settings."))
        self.histograms = HistogramPlots(viewer)
        self.table = NumbersTable()
        self.lines = LayerBox(
            viewer, "The Shapes layer whose last line is followed.", lambda layer: isinstance(layer, Shapes), "no line"
        )
        self.draw_button = _button("Draw a line", "Draw a line over labels or a map; the plot follows it.")
        self.profiles = ProfilePlot(viewer)
        self.stack_button = _button(
            "Whole stack", "Make layers of the densities of all slices, in the background; they stay as they are then."
        )
        self.stop_button = _button("Stop", "Make no stack layers after all.")
        self.figure_button = _button(
            "Figure 6",
            "The paper's Figure 6: a circle in a rectangle (CL), with labels flipped (RCL) and random labels (RL), "
            "their noise transition matrices and their densities.",
        )
        self.progress = QProgressBar()
        self.progress.setToolTip(tooltip("Slices done."))

        lay_out(
            self,
            (
                heading("Labels"),
                self.picker,
                _row(_label("True classes from", TRUTH_TIP), self.truth),
                heading("Density"),
                self.settings,
                self.status,
                heading("Histogram per true class"),
                self.histograms,
                heading("What is left"),
                self.table,
                heading("Profile"),
                _row(self.lines, self.draw_button),
                self.profiles,
                heading("Layers"),
                _row(self.stack_button, self.stop_button, self.figure_button),
                self.progress,
            ),
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen."""
        return QSize(380, 780)


def is_labels(layer: Layer) -> bool:
    """Whether a layer is offered as labels."""
    return isinstance(layer, Labels)


def _label(text: str, tip: str) -> QLabel:
    label = QLabel(text)
    label.setToolTip(tooltip(tip))
    return label


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip(tip))
    return button


def _row(*parts: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for part in parts:
        layout.addWidget(part, 0 if isinstance(part, (QLabel, QPushButton)) and len(parts) == 2 else 1)
    return row


# -------- The density widget at work: what is ticked, painted or dialled becomes maps, plots and numbers.


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


# -------- The button "Whole stack": runs the job and adds its layers.


class StackMaker(QObject):
    """Makes density layers of whole stacks, one set at a time.

    Signals
    -------
    progress : int, int
        Slices done, and of how many.
    ended : object
        Once per job: the failure, or None.
    """

    progress = Signal(int, int)
    ended = Signal(object)

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.made: list[Image] = []
        self._runner = Runner(self)
        self._runner.told.connect(self._on_told)
        self._runner.ended.connect(self._on_ended)

    @property
    def running(self) -> bool:
        """True until ``ended``."""
        return self._runner.running

    def start(self, stacks: Sequence[Stack], settings: DensitySettings) -> None:
        """Begin in the background; ``made`` has the layers once it ``ended``."""
        self.made = []
        self._settings = settings
        control = Control()
        job = stacks_job(stacks, settings.label_class, settings.kernel, settings.edges, settings.reading, control)
        self._runner.start(cast(Any, job), control, "Densities of whole stacks")

    def stop(self) -> None:
        """End after this slice, without layers."""
        self._runner.stop()

    def _on_told(self, event: Any) -> None:
        if isinstance(event, PlaneDone):
            self.progress.emit(event.done, event.of)
        elif isinstance(event, StacksDone):
            self._add(event)

    def _add(self, done: StacksDone) -> None:
        settings = self._settings
        for stack, label, values in done.maps:
            low, high = (0.0, done.top) if settings.one_scale else (float(values.min()), float(values.max()))
            origin = {
                "version": __version__,
                "made": f"{MADE} of a stack",
                "source": stack.name,
                "class": label,
                "settings": settings.described(),
                "bandwidth in pixels": list(stack.bandwidth),
            }
            name = map_name(stack.name, label, settings.several)
            self.made.append(
                self.viewer.add_image(
                    values,
                    name=f"{name} (stack)" if values.ndim > 2 else f"{name} (kept)",
                    colormap=COLORMAP,
                    contrast_limits=(low, high if high > low else low + 1e-9),
                    metadata={ORIGIN: origin},
                    **stack.where,
                )
            )

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.ended.emit(failure)


class DensityWidget(DensityLive):
    """Shows the density of labels, eq. (8), and what it says about them.

    Buttons call `draw_line`, `make_stacks`, `stop_stacks` and `show_figure_6`; scripts may do the same, and `choose`,
    `choose_truth` and `set`. None of them raises: what is wrong is said in one sentence by a napari notification and
    in the widget, and the method returns False (or None).

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

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

    stacks_ended = Signal()

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.stacks = StackMaker(napari_viewer, self)
        self.stacks.progress.connect(self._show_progress)
        self.stacks.ended.connect(self._on_stacks_ended)
        self.draw_button.clicked.connect(lambda: self.draw_line())
        self.stack_button.clicked.connect(lambda: self.make_stacks())
        self.stop_button.clicked.connect(lambda: self.stop_stacks())
        self.figure_button.clicked.connect(lambda: self.show_figure_6())
        self._let_make(True)

    # ---- for scripts -------------------------------------------------------------------------------------

    def choose(self, layers: Sequence[Layer]) -> bool:
        """Tick these Labels layers and no others."""
        return self._try(lambda: self.picker.choose(layers))

    def choose_truth(self, layer: Layer | None) -> bool:
        """Take the true classes from this Labels layer; None: from what each layer was made from."""
        if self.truth.choose(layer):
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

    def refresh(self) -> None:
        """Read all labels anew, after a write in place that napari was not told of."""
        self._watch.forget()
        self._later()

    @property
    def images(self) -> list[Image]:
        """The density layers on screen."""
        return [shown.image for shown in self.maps.shown.values()]

    @property
    def humps(self) -> tuple[Humps, ...]:
        """The histograms on screen."""
        return self.histograms.shown

    @property
    def numbers(self) -> tuple[Numbers, ...]:
        """The table on screen."""
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
            layer = add_line_layer(self.viewer, visible_plane(self.viewer, chosen[0]) if chosen else None)
            self.lines.choose(layer)
        self.viewer.layers.selection.active = layer
        layer.mode = "add_line"
        return layer

    def make_stacks(self) -> bool:
        """Make density layers of all slices of the ticked layers, in the background."""
        if self.stacks.running:
            return self._refuse("Stack layers are being made already; stop them first.")

        def start() -> None:
            layers = self.picker.chosen()
            if not layers:
                raise InputError("No Labels layer is ticked; open labels and tick their layer in the list.")
            settings = self.settings.settings()
            self.stacks.start(
                [
                    Stack.of(layer, full(layer), is_ours(layer), bandwidth_in_pixels(settings, layer, layers[0]))
                    for layer in layers
                ],
                settings,
            )
            self._let_make(False)

        return self._try(start)

    def stop_stacks(self) -> None:
        """Make no stack layers after all."""
        self.stacks.stop()

    def show_figure_6(self) -> bool:
        """Open the paper's Figure 6, unless it is open, and follow its three labels."""
        from napari_metastructure.plugin.samples import CELLS, figure_6_layers, find_figure, settings_of

        def show() -> None:
            if not find_figure(self.viewer.layers):
                for made in figure_6_layers():
                    self.viewer.add_layer(Layer.create(*made))
            figure = find_figure(self.viewer.layers)
            self.truth.choose(None)
            self.picker.choose(figure[: len(CELLS)])
            self.settings.fill(settings_of(figure))
            self._later()
            self.viewer.layers.selection.active = figure[0]
            self.viewer.reset_view()

        return self._try(show)

    # ---- what happens ------------------------------------------------------------------------------------

    def _try(self, action: Any) -> bool:
        try:
            action()
        except MetastructureError as error:
            return self._refuse(str(error))
        return True

    def _refuse(self, why: str) -> bool:
        show_error(why)
        self.say(why, problem=True)
        return False

    def _show_progress(self, done: int, of: int) -> None:
        self.progress.setMaximum(of)
        self.progress.setValue(done)

    def _on_stacks_ended(self, failure: MetastructureError | None) -> None:
        self._let_make(True)
        if failure is not None:
            self._refuse(str(failure))
        self.stacks_ended.emit()

    def _let_make(self, free: bool) -> None:
        self.stack_button.setEnabled(free)
        self.stop_button.setEnabled(not free)
        self.progress.setVisible(not free)
        self.progress.setValue(0)
