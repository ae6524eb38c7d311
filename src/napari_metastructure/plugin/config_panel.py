"""The settings of a run as a form: the few everyone needs in sight, the rest in collapsed groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.form import ModelForm, choice_editor, title, tooltip

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device

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
