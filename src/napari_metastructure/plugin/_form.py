"""Settings forms: magicgui editors for the fields of a pydantic model, in rows and collapsible groups, with presets."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from magicgui.widgets import ComboBox, create_widget
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy import QtCore, QtGui, QtWidgets
from superqt import QCollapsible, QLabeledDoubleSlider

from napari_metastructure.errors import InputError, explain, title_of
from napari_metastructure.plugin._glossary import explain_terms

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device


DECIMALS = 6
"""Of real numbers: learning rates need them."""

SLIDER_DECIMALS = 3
"""Of shares, on sliders."""


@dataclass(frozen=True)
class Editor:
    """A Qt widget for one value: how to read it, set it and hear of changes."""

    widget: Any
    get: Callable[[], Any]
    set: Callable[[Any], None]
    changed: Any


class ModelForm(QtWidgets.QWidget):
    """Editors for some fields of a model, one row each; ``changed`` names the field that was edited."""

    changed = QtCore.Signal(str)

    def __init__(
        self, model: type[BaseModel], names: Iterable[str], special: Mapping[str, Editor] | None = None
    ) -> None:
        super().__init__()
        self.editors: dict[str, Editor] = {}
        layout = form_layout(into=self)
        for name in names:
            field = model.model_fields[name]
            editor = self.editors[name] = (special or {}).get(name) or make_editor(field)
            title = title_of(name, field)
            label = QtWidgets.QLabel(title)
            for part in (label, editor.widget):
                part.setToolTip(tooltip(field.description, title))
            layout.addRow(label, editor.widget)
            editor.changed.connect(lambda *_, name=name: self.changed.emit(name))

    def values(self) -> dict[str, Any]:
        """Return every field's value as the editors show it; what was typed as text is for the model to read."""
        return {name: editor.get() for name, editor in self.editors.items()}

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show these values; names that are not in the form are passed over."""
        for name, editor in self.editors.items():
            if name in values:
                editor.set(values[name])


class _Choices(ComboBox):
    """A combo box in which no choice reads "none"."""

    null_string = "none"


def make_editor(field: FieldInfo) -> Editor:
    """Make the editor that fits a field's type and bounds.

    magicgui makes those of choices, flags and whole numbers. What may be left empty, and what holds several values, is
    edited as text: magicgui's spin boxes cannot be empty, and its tuples have a fixed number of items.
    """
    kind, optional = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        choices: Any = _Choices(choices=get_args(kind), nullable=optional)
        narrow(choices.native)
        return Editor(choices.native, choices.get_value, lambda v: setattr(choices, "value", v), choices.changed)
    if optional or kind not in (bool, int, float):
        return _text_editor(field)
    if kind is bool:
        flag: Any = create_widget(annotation=bool)
        return Editor(flag.native, flag.get_value, lambda v: setattr(flag, "value", bool(v)), flag.changed)
    low, high = bounds(field)
    if kind is float:
        return rounding_editor(RealSpinBox(-1e9 if low is None else low, 1e9 if high is None else high), DECIMALS)
    step = next((rule.multiple_of for rule in field.metadata if hasattr(rule, "multiple_of")), 1)
    return _whole_editor(int(-(2**31) if low is None else low), int(2**31 if high is None else high), step)


def choice_editor(options: Iterable[Any]) -> Editor:
    """Make a combo box of given values, by a mapping with their texts; without, None reads "none"."""
    box = QtWidgets.QComboBox()
    narrow(box)
    for option in options:
        text = options[option] if isinstance(options, Mapping) else "none" if option is None else str(option)
        box.addItem(text, option)

    def choose(value: Any) -> None:
        box.setCurrentIndex(box.findData(value))

    return Editor(box, box.currentData, choose, box.currentIndexChanged)


class PresetBox(QtWidgets.QWidget):
    """Choose a preset: it reads "default (changed)" when the form shows other values, and Reset brings them back.

    Signals
    -------
    chosen
        Its values are wanted, also those of the preset that was chosen already.
    """

    chosen = QtCore.Signal()

    def __init__(self, presets: Sequence[str]) -> None:
        super().__init__()
        self._presets = presets
        self._choice = choice_editor(presets)
        self.box, self.get, self.set = self._choice.widget, self._choice.get, self._choice.set
        self.reset_button = with_tip(QtWidgets.QPushButton("Reset to preset"), "Restore all values of this preset.")
        # below each other: in a narrow dock "default (changed)" needs the whole width
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.box)
        layout.addWidget(self.reset_button)
        self._choice.changed.connect(self.chosen)
        self.box.activated.connect(self.chosen)  # of the same one too
        self.reset_button.clicked.connect(self.chosen)
        self.show_changed(False)

    def show_changed(self, changed: bool) -> None:
        """Say whether other values are shown than those of the preset."""
        for place, preset in enumerate(self._presets):
            here = changed and place == self.box.currentIndex()
            self.box.setItemText(place, f"{preset} (changed)" if here else preset)
        self.reset_button.setVisible(changed)


def slider_editor(low: float, high: float) -> Editor:
    """Make a slider with its number beside it."""
    slider: Any = QLabeledDoubleSlider(QtCore.Qt.Orientation.Horizontal)  # its types say int
    number = slider.findChild(QtWidgets.QLineEdit)
    number.setValidator(_PointValidator(number))
    slider.setRange(low, high)
    slider.setDecimals(SLIDER_DECIMALS)
    slider.setSingleStep((high - low) / 100)
    slider.setPageStep((high - low) / 10)
    return rounding_editor(slider, SLIDER_DECIMALS)


class _PointValidator(QtGui.QDoubleValidator):
    """Takes a comma for a point, whatever the system's decimal point is: Python reads the text."""

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setLocale(QtCore.QLocale.c())

    def validate(self, text: str, at: int) -> tuple[QtGui.QValidator.State, str, int]:
        """Check what was typed so far."""
        checked: tuple[QtGui.QValidator.State, str, int] = super().validate(text.replace(",", "."), at)
        return checked


def rounding_editor(widget: Any, decimals: int) -> Editor:
    """Make an editor that shows few digits: a value that was set comes back as it is, however the widget rounds it."""
    given = [float(widget.value())] * 2  # what was set, and where that put the widget

    def get() -> float:
        return given[0] if widget.value() == given[1] else round(float(widget.value()), decimals)

    def put(value: Any) -> None:
        widget.setValue(float(value))
        shown = float(widget.value())
        given[:] = float(value) if abs(value - shown) < 10**-decimals else shown, shown  # else it is out of bounds

    return Editor(widget, get, put, widget.valueChanged)


class RealSpinBox(QtWidgets.QDoubleSpinBox):
    """A box for a real number that is shown without zeros at its end; a comma is read as a point.

    magicgui's own shows all decimals, and what it shows cannot be changed once it is made.
    """

    def __init__(
        self, low: float, high: float, parent: QtWidgets.QWidget | None = None, decimals: int = DECIMALS
    ) -> None:
        super().__init__(parent)
        self.setLocale(QtCore.QLocale.c())  # text and value agree, whatever the system's decimal point is
        self.setDecimals(decimals)
        self.setRange(low, high)
        self.setStepType(QtWidgets.QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.setCorrectionMode(QtWidgets.QDoubleSpinBox.CorrectionMode.CorrectToNearestValue)

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        """Write 0.5, not 0.500000."""
        return f"{value:.{self.decimals()}f}".rstrip("0").rstrip(".")

    def validate(self, text: str, at: int) -> tuple[QtGui.QValidator.State, str, int]:
        """Check what was typed so far."""
        checked: tuple[QtGui.QValidator.State, str, int] = super().validate(text.replace(",", "."), at)
        return checked


def _whole_editor(low: int, high: int, step: int) -> Editor:
    """Make a box for a whole number.

    Not magicgui's box for integers, which moves a number into its bounds at each key: 64 became 324 where 32 is the
    least. That for real numbers waits until typing ends, and is exact up to 2**53.
    """
    options = {"min": low, "max": high, "step": step}
    widget: Any = create_widget(annotation=int, widget_type="FloatSpinBox", options=options)
    box = widget.native
    box.setDecimals(0)
    box.setLocale(QtCore.QLocale.c())
    box.setCorrectionMode(QtWidgets.QDoubleSpinBox.CorrectionMode.CorrectToNearestValue)
    return Editor(box, lambda: int(box.value()), lambda v: box.setValue(int(v)), widget.changed)


def _text_editor(field: FieldInfo) -> Editor:
    """Make a line of text, which the model reads: values apart by commas make a tuple, an empty line can mean None."""
    line = QtWidgets.QLineEdit()
    kind, optional = _without_none(field.annotation)
    plural = get_origin(kind) in (tuple, list)
    line.setPlaceholderText("automatic" if optional else "")

    def read() -> str | tuple[str, ...] | None:
        text = line.text().strip()
        if not text and optional:
            return None
        return tuple(part.strip() for part in text.split(",") if part.strip()) if plural else text

    def write(value: Any) -> None:
        parts = value if isinstance(value, (tuple, list)) else [] if value is None else [value]
        line.setText(", ".join(map(str, parts)))

    return Editor(line, read, write, line.editingFinished)


def form_layout(*rows: Sequence[Any], into: QtWidgets.QWidget | None = None) -> QtWidgets.QFormLayout:
    """Make a form of these rows: a label and a field, or one part alone."""
    form = QtWidgets.QFormLayout(into)
    form.setContentsMargins(0, 0, 0, 0)
    form.setVerticalSpacing(4)
    form.setFieldGrowthPolicy(QtWidgets.QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for parts in rows:
        form.addRow(*parts)
    return form


def tooltip(text: str | None, about: str = "") -> str:
    """Return rich text, which Qt wraps, with what the terms in it mean, and those in what it is ``about``."""
    return f"<qt>{text}{explain_terms(about, text)}</qt>" if text else ""


def with_tip(widget: Any, tip: str | None) -> Any:
    """Give a widget its tooltip, and return it."""
    widget.setToolTip(tooltip(tip))
    return widget


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the lowest and highest value allowed; of open bounds the next whole number, or a value just inside."""
    low = high = None
    whole = _without_none(field.annotation)[0] is int
    inside = 1 if whole else 1e-6
    for bound in field.metadata:
        low = getattr(bound, "ge", low)
        high = getattr(bound, "le", high)
        if (open_low := getattr(bound, "gt", None)) is not None:
            low = open_low + inside
        if (open_high := getattr(bound, "lt", None)) is not None:
            high = open_high - inside
    return low, high


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """Return ``X | None`` as (X, True), anything else as it is."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [a for a in get_args(annotation) if a is not type(None)]
        if len(kinds) == 1:
            return kinds[0], len(kinds) < len(get_args(annotation))
    return annotation, False


def narrow(box: QtWidgets.QComboBox) -> None:
    """Let a combo box be narrower than its longest entry."""
    box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)


C = TypeVar("C", bound=BaseModel)


class ConfigPanel(QtWidgets.QWidget, Generic[C]):
    """All settings of a model: the main ones in view, the others in groups; a preset fills the form with its values.

    Parameters
    ----------
    model : type
        With a field ``device`` and a class method ``from_preset``.
    main : sequence of str
        The fields that are always in view.
    groups : mapping of str to sequence of str
        The others, by the title of their collapsed group; those in none come under More.
    without : iterable of str
        Fields that are not shown and keep their defaults.
    special : mapping of str to Editor, optional
        Editors of main fields, in place of those that follow from their types.
    """

    def __init__(
        self,
        model: type[C],
        main: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        without: Iterable[str] = (),
        special: Mapping[str, Editor] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        # The device is free text in the config; here it is a choice, which `set_devices` fills.
        self.device = choice_editor(["auto"])
        special = {"device": replace(self.device, set=self._choose_device), **(special or {})}
        self.preset: PresetBox | None = None
        if "preset" in main:
            self.preset = PresetBox(get_args(model.model_fields["preset"].annotation))
            special["preset"] = Editor(self.preset, self.preset.get, self.preset.set, self.preset.chosen)
        self.main = ModelForm(model, main, special)
        layout.addWidget(self.main)
        self.forms = [self.main]
        self.groups: list[QCollapsible] = []
        for name, fields in _complete(model, {*main, *without}, groups).items():
            form = ModelForm(model, fields)
            group = collapsed(name, form, f"{name}: {', '.join(form.editors).replace('_', ' ')}.")
            layout.addWidget(group)
            self.forms.append(form)
            self.groups.append(group)
        self.fill(model())
        self.main.changed.connect(self._on_changed)
        for form in self.forms:
            form.changed.connect(self._show_changed)

    def config(self, **overrides: Any) -> C:
        """Return the settings as shown, with some of them replaced.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the setting.
        """
        values = {name: value for form in self.forms for name, value in form.values().items()}
        try:
            return self.model(**{**values, **overrides})
        except ValidationError as error:
            raise InputError(explain(error, self.model)) from None

    def fill(self, config: C) -> None:
        """Show these settings."""
        with QtCore.QSignalBlocker(self.main):
            for form in self.forms:
                form.fill({name: getattr(config, name) for name in form.editors})
        self._show_changed()

    def set_devices(self, devices: list[Device]) -> None:
        """Offer these devices, with name and free memory."""
        box, chosen = self.device.widget, self.device.get()
        while box.count() > 1:
            box.removeItem(1)
        for device in devices:
            free = "" if device.free_bytes is None else f", {device.free_bytes / 2**30:.1f} GiB free"
            box.addItem(f"{device.name} ({device.id}{free})", device.id)
        if devices:
            box.setItemText(0, f"auto: {devices[0].name}")
        self._choose_device(chosen)

    def of_preset(self, preset: str) -> C:
        """Return what choosing a preset fills in; device and seed stay as they are."""
        model: Any = self.model
        shown = {name: value for form in self.forms for name, value in form.values().items()}
        kept = {name: shown[name] for name in ("device", "seed") if name in shown}
        config: C = model.from_preset(preset, **kept)
        return config

    def _choose_device(self, device: str) -> None:
        box = self.device.widget
        if box.findData(device) < 0:
            box.addItem(device, device)
        box.setCurrentIndex(box.findData(device))

    def _on_changed(self, name: str) -> None:
        if name == "preset" and self.preset is not None:
            self.fill(self.of_preset(self.preset.get()))

    def _show_changed(self, _: str = "") -> None:
        """Say beside the preset whether the form shows what it fills in."""
        if self.preset is None:
            return
        try:
            shown, meant = self.config(), self.of_preset(self.preset.get())
        except InputError:  # half typed
            return
        names = [name for form in self.forms for name in form.editors]
        self.preset.show_changed(any(getattr(shown, name) != getattr(meant, name) for name in names))


def collapsed(name: str, content: QtWidgets.QWidget, tip: str) -> QCollapsible:
    """Put a widget under a title that opens it."""
    group = QCollapsible(name, expandedIcon="▾", collapsedIcon="▸")
    group.toggleButton().setToolTip(tooltip(tip, name))
    group.setDuration(0)
    group.layout().setContentsMargins(0, 0, 0, 0)
    group.layout().setSpacing(0)
    group.content().layout().setContentsMargins(12, 4, 0, 4)
    group.addWidget(content)
    return group


def _complete(
    model: type[BaseModel], elsewhere: set[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """Return every field that is not shown elsewhere by group; one that no group knows comes under More."""
    left = [name for name in model.model_fields if name not in elsewhere]
    result: dict[str, Sequence[str]] = {
        group: [name for name in names if name in left] for group, names in groups.items()
    }
    placed = {name for names in result.values() for name in names}
    result["More"] = [name for name in left if name not in placed]
    return {group: names for group, names in result.items() if names}
