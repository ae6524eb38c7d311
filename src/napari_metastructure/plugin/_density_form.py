"""Density settings form, with a logarithmic slider for the bandwidth in pixels or in the layer's unit."""

import math
from collections.abc import Sequence
from typing import Any

from qtpy import QtCore, QtWidgets

from napari_metastructure.plugin._density_model import DensitySettings, Unit
from napari_metastructure.plugin._form import Editor, ModelForm, RealSpinBox, tooltip
from napari_metastructure.plugin._inputs import column, reading_editor, row

STEPS = 400

LOWEST = 0.75
"""Pixels; below half a pixel only the pixel itself would count."""


class _Number(RealSpinBox):
    """Shows no more digits than it takes."""

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        return f"{value:.4g}"


class BandwidthRow(QtWidgets.QWidget):
    """Slider, number and unit; ``changed`` says that the bandwidth or its unit is another.

    The slider is logarithmic, from less than a pixel to half the image. The number may be anything above 0.
    """

    changed = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        fields = DensitySettings.model_fields
        self.slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.number = _Number(1e-6, 1e6)
        self.number.setKeyboardTracking(False)  # half a number is no bandwidth
        self.units = QtWidgets.QComboBox()
        self.units.setMinimumWidth(60)
        self.units.addItem("pixels", "pixel")
        for part, name in ((self.slider, "bandwidth"), (self.number, "bandwidth"), (self.units, "unit")):
            part.setToolTip(tooltip(fields[name].description))
        column(row(self.number, self.units), self.slider, into=self)  # beside each other, too wide for a narrow dock
        self._pixel, self._highest = 1.0, 64.0
        self._unit: Unit = "pixel"
        self.number.setValue(fields["bandwidth"].default)
        self.slider.valueChanged.connect(self._on_slider)
        self.number.valueChanged.connect(self._on_number)
        self.units.currentIndexChanged.connect(lambda _: self._on_unit())
        self._show_on_slider()

    def value(self) -> float:
        """Return the bandwidth, in `unit`."""
        return float(self.number.value())

    def unit(self) -> Unit:
        """Return what it is given in."""
        return self._unit

    def offers(self, unit: Unit) -> bool:
        """Whether the bandwidth can be given in this unit."""
        return self.units.findData(unit) >= 0

    def set(self, value: float, unit: Unit | None = None) -> None:
        """Show a bandwidth; ``changed`` says so once, if it is another."""
        before = (self.value(), self.unit())
        with QtCore.QSignalBlocker(self):
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
        """Return a pixel's size in the unit shown."""
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
        with QtCore.QSignalBlocker(self.number):
            self.number.setValue(float(f"{pixels * self._size():.4g}"))
        self.changed.emit()

    def _show_on_slider(self) -> None:
        pixels = self.value() / self._size()
        place = STEPS * math.log(max(pixels, LOWEST) / LOWEST) / math.log(self._highest / LOWEST)
        with QtCore.QSignalBlocker(self.slider):
            self.slider.setValue(round(min(place, STEPS)))


ROWS = ("reading", "label_class", "kernel", "bandwidth")

BOXES = ("edges", "one_scale", "side_by_side")


class DensityForm(QtWidgets.QWidget):
    """Everything in `DensitySettings`; ``changed`` names the setting that was edited."""

    changed = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        fields = DensitySettings.model_fields
        self.bandwidth = BandwidthRow()
        self.classes = QtWidgets.QComboBox()
        self.classes.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        special = {
            "reading": reading_editor(automatic=False),
            "label_class": Editor(
                self.classes, self.classes.currentData, self._choose_class, self.classes.currentIndexChanged
            ),
            "bandwidth": Editor(
                self.bandwidth, self.bandwidth.value, lambda v: self.bandwidth.set(v), self.bandwidth.changed
            ),
        }
        self.offer_classes(())
        self.form = ModelForm(DensitySettings, ROWS, special)
        self.boxes: dict[str, QtWidgets.QCheckBox] = {}
        grid = QtWidgets.QGridLayout()
        grid.setVerticalSpacing(2)
        for number, name in enumerate(BOXES):
            box = self.boxes[name] = QtWidgets.QCheckBox(fields[name].title or name)
            box.setToolTip(tooltip(fields[name].description))
            box.toggled.connect(lambda _, name=name: self.changed.emit(name))
            grid.addWidget(box, *divmod(number, 2))
        column(self.form, grid, into=self)
        self.fill(DensitySettings())
        self.form.changed.connect(self.changed)

    def settings(self) -> DensitySettings:
        """Return the settings as shown.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the setting.
        """
        boxes = {name: box.isChecked() for name, box in self.boxes.items()}
        return DensitySettings().changed(**self.form.values(), **boxes, unit=self.bandwidth.unit())

    def fill(self, settings: DensitySettings) -> None:
        """Show these settings, silently."""
        with QtCore.QSignalBlocker(self), QtCore.QSignalBlocker(self.form):
            self.bandwidth.set(settings.bandwidth, settings.unit)
            self.form.fill({name: getattr(settings, name) for name in ROWS})
            for name, box in self.boxes.items():
                box.setChecked(getattr(settings, name))

    def offer_classes(self, classes: Sequence[int]) -> None:
        """Offer these classes, the one chosen, and all above 0."""
        chosen: Any = self.classes.currentData() if self.classes.count() else 1
        offered = sorted({*classes, 1, *([] if chosen is None else [chosen])})
        with QtCore.QSignalBlocker(self.classes):
            self.classes.clear()
            self.classes.addItem("all classes above 0", None)
            for label in offered:
                self.classes.addItem(f"class {label}" + ("" if label else " (background)"), label)
            self.classes.setCurrentIndex(self.classes.findData(chosen))

    def _choose_class(self, label: int | None) -> None:
        if self.classes.findData(label) < 0:
            self.offer_classes([*(self.classes.itemData(row) for row in range(1, self.classes.count())), label or 0])
        self.classes.setCurrentIndex(self.classes.findData(label))
