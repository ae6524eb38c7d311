"""The settings of a run: the few everyone needs in sight, the rest in collapsed groups."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin.form import ModelForm, choice_editor, title, tooltip

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device

MAIN = ("preset", "objects", "network", "epochs", "device")
GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs"),
    "Pseudo-labels": (
        *("start", "criterion", "search", "thresholds", "extraction"),
        *("keep", "radius", "memory", "anchor", "balance"),
    ),
    "Training": (
        *("loss", "optimizer", "learning_rate", "steps_per_epoch", "batch_size", "patch_size"),
        *("stop_agreement", "seed"),
    ),
}


class SettingsPanel(QWidget):
    """Everything in `IGTTConfig`, as a form; choosing a preset fills the form with its values."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        # The device is free text in the config; here it is a choice, which `set_devices` fills.
        self.device = choice_editor(["auto"])
        self.main = ModelForm(IGTTConfig, MAIN, {"device": replace(self.device, set=self._choose_device)})
        layout.addWidget(self.main)
        self.forms = [self.main]
        self.groups: list[QCollapsible] = []
        for name, fields in _groups().items():
            form = ModelForm(IGTTConfig, fields)
            group = QCollapsible(name, expandedIcon="▾", collapsedIcon="▸")
            group.setDuration(0)
            group.layout().setContentsMargins(0, 0, 0, 0)
            group.layout().setSpacing(0)
            group.content().layout().setContentsMargins(12, 4, 0, 4)
            group.addWidget(form)
            group.setToolTip(tooltip(f"{name}: {', '.join(form.editors).replace('_', ' ')}."))
            layout.addWidget(group)
            self.forms.append(form)
            self.groups.append(group)
        self.fill(IGTTConfig())
        self.main.changed.connect(self._on_changed)

    def config(self, **overrides: Any) -> IGTTConfig:
        """The settings as shown, with some of them replaced.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the setting.
        """
        values = {name: value for form in self.forms for name, value in form.values().items()}
        try:
            return IGTTConfig(**{**values, **overrides})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            field = IGTTConfig.model_fields.get(name)
            where = title(name, field) if field else "Settings"
            raise InputError(f"{where}: {first['msg']}.") from None

    def fill(self, config: IGTTConfig) -> None:
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

    def _choose_device(self, device: str) -> None:
        box = self.device.widget
        if box.findData(device) < 0:
            box.addItem(device, device)
        box.setCurrentIndex(box.findData(device))

    def _on_changed(self, name: str) -> None:
        if name == "preset":
            preset = self.main.editors["preset"].get()
            self.fill(IGTTConfig.from_preset(preset, device=self.device.get()))


def _groups() -> dict[str, list[str]]:
    """Every field that is not in sight, by group; one that no group knows comes under More."""
    fields = IGTTConfig.model_fields
    groups = {group: [name for name in names if name in fields] for group, names in GROUPS.items()}
    placed = {*MAIN, *(name for names in groups.values() for name in names)}
    groups["More"] = [name for name in fields if name not in placed]
    return {group: names for group, names in groups.items() if names}
