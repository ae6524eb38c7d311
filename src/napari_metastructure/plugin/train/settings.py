"""The settings of a training run, and what a run folder says of an earlier one."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from napari_metastructure.plugin.config_panel import ConfigPanel
from napari_metastructure.plugin.earlier_run import FoundRun
from napari_metastructure.training.config import TrainConfig

MAIN = ("preset", "network", "epochs", "loss", "device")
GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs"),
    "Data": ("validation_fraction", "classes", "patch_size", "batch_size", "steps_per_epoch", "augment"),
    "Optimisation": ("optimizer", "learning_rate", "schedule", "patience", "seed"),
}


class TrainSettings(ConfigPanel[TrainConfig]):
    """Everything in `TrainConfig`, as a form."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(TrainConfig, MAIN, GROUPS, parent=parent)


class EarlierTraining(FoundRun[TrainConfig]):
    """A run of supervised training."""

    model = TrainConfig
    columns = ("loss",)
