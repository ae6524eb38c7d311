"""The bandwidth: a slider for the hand, a number for exactness, in pixels or in the layer's unit."""

from __future__ import annotations

import math

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QSlider, QWidget

from napari_metastructure.plugin.density.settings import DensitySettings, Unit
from napari_metastructure.plugin.form import tooltip

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
