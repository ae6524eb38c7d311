"""A Qt form drawn from a pydantic model: one definition gives the editor, its bounds and its tooltip."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QLabel, QLineEdit, QWidget
from superqt import QLabeledDoubleSlider, QLargeIntSpinBox

from napari_metastructure.errors import InputError


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
