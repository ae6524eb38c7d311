"""The settings of a comparison but its methods: four in sight, those of networks collapsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.errors import InputError
from napari_metastructure.plugin.config_panel import ConfigPanel, collapsed
from napari_metastructure.plugin.study.settings import GROUPS
from napari_metastructure.training.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_metastructure.networks.device import Device

MAIN = ("repeats", "objects", "seed", "device")
GROUPED = {"iGTT": ("rounds",), "DFC and AC": ("dfc_iterations", "ac_steps")}
GIVEN = ("network", "seed", "device", "classes", "validation_fraction", "patience", "base_channels")
"""Of a training, what the comparison sets itself, and what is of another network."""


class CompareSettings(QWidget):
    """Repeats, polarity, seed and device; rounds of iGTT, steps of DFC and AC, the training of supervised networks."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.main = ConfigPanel(CompareConfig, MAIN, GROUPED, ("methods", "train"))
        self.train = _Training()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.main)
        layout.addWidget(collapsed("Supervised networks", self.train))

    def config(self, methods: Sequence[str]) -> CompareConfig:
        """The settings as shown, for these methods.

        Raises
        ------
        InputError
            If there is no method, or a value cannot be used.
        """
        if not methods:
            raise InputError("No method is ticked; tick one at least.")
        return self.main.config(methods=tuple(methods), train=self.train.config())

    def fill(self, config: CompareConfig) -> None:
        """Show these settings."""
        self.main.fill(config)
        self.train.fill(config.train)

    def set_devices(self, devices: list[Device]) -> None:
        """Offer these devices."""
        self.main.set_devices(devices)


class _Training(ConfigPanel[TrainConfig]):
    """The settings of each training."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(TrainConfig, ("preset", "epochs"), GROUPS, GIVEN, parent)

    def of_preset(self, preset: str) -> TrainConfig:
        """What a preset fills in."""
        return TrainConfig.from_preset(preset)
