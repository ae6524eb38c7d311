"""A Qt form drawn from a pydantic model: one definition gives the editor, its bounds and its tooltip."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QLabel, QLineEdit, QVBoxLayout, QWidget
from superqt import QCollapsible, QLabeledDoubleSlider, QLargeIntSpinBox

from napari_metastructure.errors import InputError

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device


@dataclass(frozen=True)
class Editor:
    """A Qt widget for one value: how to read it, set it and hear of changes."""

    widget: Any
    get: Callable[[], Any]
    set: Callable[[Any], None]
    changed: Any


class ModelForm(QWidget):
    """Editors for some fields of a model, one row each; ``changed`` tells which field was edited."""

    changed = Signal(str)

    def __init__(
        self,
        model: type[BaseModel],
        names: Iterable[str],
        special: Mapping[str, Editor] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.editors: dict[str, Editor] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setVerticalSpacing(4)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name in names:
            field = model.model_fields[name]
            editor = self.editors[name] = (special or {}).get(name) or make_editor(name, field)
            label = QLabel(title(name, field))
            for part in (label, editor.widget):
                part.setToolTip(tooltip(field.description))
            layout.addRow(label, editor.widget)
            editor.changed.connect(lambda *_, name=name: self.changed.emit(name))

    def values(self) -> dict[str, Any]:
        """Every field's value as the editors show it."""
        return {name: editor.get() for name, editor in self.editors.items()}

    def fill(self, values: dict[str, Any]) -> None:
        """Show these values; names that are not in the form are passed over."""
        for name, editor in self.editors.items():
            if name in values:
                editor.set(values[name])


def make_editor(name: str, field: FieldInfo) -> Editor:
    """The editor that fits a field's type and bounds; anything without one of its own is edited as text."""
    kind, optional = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        return choice_editor([*([None] if optional else []), *get_args(kind)])
    if not optional and kind is bool:
        box = QCheckBox()
        return Editor(box, box.isChecked, lambda v: box.setChecked(bool(v)), box.toggled)
    if not optional and kind in (int, float):
        return _number_editor(kind, *bounds(field))
    return _text_editor(name, field)


def choice_editor(options: Iterable[Any]) -> Editor:
    """A combo box of given values; None reads "none"."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    for option in options:
        box.addItem("none" if option is None else str(option), option)

    def choose(value: Any) -> None:
        box.setCurrentIndex(box.findData(value))

    return Editor(box, box.currentData, choose, box.currentIndexChanged)


def slider_editor(low: float, high: float, decimals: int = 3) -> Editor:
    """A slider with its number beside it."""
    slider: Any = QLabeledDoubleSlider(Qt.Orientation.Horizontal)  # its types say int
    slider.setRange(low, high)
    slider.setDecimals(decimals)
    slider.setSingleStep((high - low) / 100)
    slider.setPageStep((high - low) / 10)
    return rounding_editor(slider, decimals)


def rounding_editor(widget: Any, decimals: int) -> Editor:
    """An editor that shows few digits: a value that was set comes back as it is, whatever the widget makes of it."""
    given = [float(widget.value())] * 2  # what was set, and where that put the widget

    def get() -> float:
        return given[0] if widget.value() == given[1] else round(float(widget.value()), decimals)

    def put(value: Any) -> None:
        widget.setValue(float(value))
        given[:] = float(value), float(widget.value())

    return Editor(widget, get, put, widget.valueChanged)


def _number_editor(kind: type, low: float | None, high: float | None) -> Editor:
    if kind is int:
        box = QLargeIntSpinBox()  # seeds go to 2**32, beyond Qt's own spin box
        box.setRange(int(low if low is not None else -(2**31)), int(high if high is not None else 2**31))
        return Editor(box, lambda: int(box.value()), lambda v: box.setValue(int(v)), box.valueChanged)
    real = QDoubleSpinBox()
    real.textFromValue = lambda v: f"{v:.6g}"  # type: ignore[method-assign]  # first: what follows writes the text
    real.setDecimals(6)  # learning rates
    real.setRange(low if low is not None else -1e9, high if high is not None else 1e9)
    real.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
    return Editor(real, real.value, lambda v: real.setValue(float(v)), real.valueChanged)


def _text_editor(name: str, field: FieldInfo) -> Editor:
    """A line of text, read by pydantic itself: numbers apart by commas make a tuple, nothing makes None."""
    line = QLineEdit()
    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or str)
    plural = _is_plural(field.annotation)

    def read() -> Any:
        text = line.text().strip()
        value: Any = [part.strip() for part in text.split(",") if part.strip()] if plural else text
        if not text and _without_none(field.annotation)[1]:
            value = None
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise InputError(f"{title(name, field)}: {text!r} cannot be used ({why}).") from None

    def write(value: Any) -> None:
        parts = value if isinstance(value, (tuple, list)) else [] if value is None else [value]
        line.setText(", ".join(map(str, parts)))

    return Editor(line, read, write, line.editingFinished)


def title(name: str, field: FieldInfo) -> str:
    """What a row is called: the field's title, or its name in words."""
    return field.title or name.replace("_", " ").capitalize()


def tooltip(text: str | None) -> str:
    """Rich text, so that Qt wraps it."""
    return f"<qt>{text}</qt>" if text else ""


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """Lowest and highest value allowed; of open bounds the next whole number (or just inside) counts."""
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
    """``X | None`` as (X, True), anything else as it is."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [a for a in get_args(annotation) if a is not type(None)]
        if len(kinds) == 1:
            return kinds[0], len(kinds) < len(get_args(annotation))
    return annotation, False


def _is_plural(annotation: Any) -> bool:
    kind, _ = _without_none(annotation)
    return get_origin(kind) in (tuple, list)


# -------- The settings of a run as a form: the few everyone needs in sight, the rest in collapsed groups.


C = TypeVar("C", bound=BaseModel)


class ConfigPanel(QWidget, Generic[C]):
    """Everything in a model of settings, as a form; choosing a preset fills the form with its values.

    Parameters
    ----------
    model : type
        With a field ``device`` and a class method ``from_preset``.
    main : sequence of str
        The fields in sight.
    groups : mapping of str to sequence of str
        The others, by the title of their collapsed group; those in none come under More.
    without : iterable of str
        Fields that are not shown and keep their defaults.
    """

    def __init__(
        self,
        model: type[C],
        main: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        without: Iterable[str] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.model = model
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        # The device is free text in the config; here it is a choice, which `set_devices` fills.
        self.device = choice_editor(["auto"])
        self.main = ModelForm(model, main, {"device": replace(self.device, set=self._choose_device)})
        layout.addWidget(self.main)
        self.forms = [self.main]
        self.groups: list[QCollapsible] = []
        for name, fields in _complete(model, {*main, *without}, groups).items():
            form = ModelForm(model, fields)
            group = collapsed(name, form)
            group.setToolTip(tooltip(f"{name}: {', '.join(form.editors).replace('_', ' ')}."))
            layout.addWidget(group)
            self.forms.append(form)
            self.groups.append(group)
        self.fill(model())
        self.main.changed.connect(self._on_changed)

    def config(self, **overrides: Any) -> C:
        """The settings as shown, with some of them replaced.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the setting.
        """
        values = {name: value for form in self.forms for name, value in form.values().items()}
        try:
            return self.model(**{**values, **overrides})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            field = self.model.model_fields.get(name)
            where = title(name, field) if field else "Settings"
            raise InputError(f"{where}: {first['msg']}.") from None

    def fill(self, config: C) -> None:
        """Show these settings."""
        with QSignalBlocker(self.main):
            for form in self.forms:
                form.fill({name: getattr(config, name) for name in form.editors})

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
        """What choosing a preset fills in."""
        model: Any = self.model
        config: C = model.from_preset(preset, device=self.device.get())
        return config

    def _choose_device(self, device: str) -> None:
        box = self.device.widget
        if box.findData(device) < 0:
            box.addItem(device, device)
        box.setCurrentIndex(box.findData(device))

    def _on_changed(self, name: str) -> None:
        if name == "preset":
            self.fill(self.of_preset(self.main.editors["preset"].get()))


def collapsed(name: str, content: QWidget) -> QCollapsible:
    """Something under a title that opens it."""
    group = QCollapsible(name, expandedIcon="▾", collapsedIcon="▸")
    group.setDuration(0)
    group.layout().setContentsMargins(0, 0, 0, 0)
    group.layout().setSpacing(0)
    group.content().layout().setContentsMargins(12, 4, 0, 4)
    group.addWidget(content)
    return group


def _complete(
    model: type[BaseModel], elsewhere: set[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """Every field that is not shown elsewhere, by group; one that no group knows comes under More."""
    left = [name for name in model.model_fields if name not in elsewhere]
    result: dict[str, Sequence[str]] = {
        group: [name for name in names if name in left] for group, names in groups.items()
    }
    placed = {name for names in result.values() for name in names}
    result["More"] = [name for name in left if name not in placed]
    return {group: names for group, names in result.items() if names}
