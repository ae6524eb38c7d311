"""The settings of a study: networks and repeats in sight, the rest of each training collapsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QVBoxLayout, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.config_panel import ConfigPanel, collapsed
from napari_metastructure.plugin.form import ModelForm, tooltip
from napari_metastructure.training.config import PRESETS, TrainConfig
from napari_metastructure.training.study.config import Condition, Network, StudyConfig

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device

MAIN = ("preset", "epochs", "seed", "device")
WITHOUT = ("network", "validation_fraction", "patience")
"""The study sets these itself."""
GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs"),
    "Training": (
        *("loss", "optimizer", "learning_rate", "schedule"),
        *("steps_per_epoch", "batch_size", "patch_size", "augment"),
    ),
}
NETWORKS: tuple[Network, ...] = get_args(Network)


class StudySettings(QWidget):
    """All of `StudyConfig` but its conditions; ``changed`` tells that what is kept for testing may be."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.networks = {name: QCheckBox(name) for name in NETWORKS}
        self.repeats = ModelForm(StudyConfig, ("repeats",))
        self.train = TrainingSettings()
        self.more = ModelForm(StudyConfig, ("test_fraction", "bandwidth"))
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, box in enumerate(self.networks.values()):
            box.setToolTip(tooltip("Each ticked network is trained by itself; light-unet suits small data and CPUs."))
            grid.addWidget(box, place // 2, place % 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(grid)
        for part in (self.repeats, self.train, collapsed("Test and prediction", self.more)):
            layout.addWidget(part)
        self.fill(StudyConfig())
        for form in (self.more, self.train.main):
            form.changed.connect(lambda _: self.changed.emit())

    def config(self, conditions: Sequence[Condition]) -> StudyConfig:
        """The settings as shown.

        Raises
        ------
        InputError
            If nothing is ticked where something has to be, or a value cannot be used.
        """
        networks = tuple(name for name, box in self.networks.items() if box.isChecked())
        if not networks:
            raise InputError("No network is chosen; tick one at least.")
        if not conditions:
            raise InputError("No condition is chosen; tick one at least.")
        return StudyConfig(
            conditions=tuple(conditions),
            networks=networks,
            train=self.train.config(),
            **self.repeats.values(),
            **self.more.values(),
        )

    def set_devices(self, devices: list[Device]) -> None:
        """Offer these devices."""
        self.train.set_devices(devices)

    def fill(self, config: StudyConfig) -> None:
        """Show these settings."""
        for name, box in self.networks.items():
            box.setChecked(name in config.networks)
        for form in (self.repeats, self.more):
            form.fill({name: getattr(config, name) for name in form.editors})
        self.train.fill(config.train)
        self.changed.emit()

    @property
    def kept(self) -> tuple[float, int]:
        """The share of the images kept for testing, and the seed of the split."""
        return float(self.more.values()["test_fraction"]), int(self.train.main.values()["seed"])


class TrainingSettings(ConfigPanel[TrainConfig]):
    """The settings of each training."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(TrainConfig, MAIN, GROUPS, WITHOUT, parent)

    def of_preset(self, preset: str) -> TrainConfig:
        """What a preset fills in; epochs where it says nothing of them, seed and device stay as they are."""
        shown = self.main.values()
        kept = {name: shown[name] for name in ("epochs", "seed", "device") if name not in PRESETS[preset]}
        return TrainConfig.from_preset(preset, **kept)
