"""The settings of the density widget, as a form that tells of every change at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QVBoxLayout, QWidget

from napari_metastructure.plugin.density.bandwidth_row import BandwidthRow
from napari_metastructure.plugin.density.settings import DensitySettings
from napari_metastructure.plugin.form import Editor, ModelForm, tooltip

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
