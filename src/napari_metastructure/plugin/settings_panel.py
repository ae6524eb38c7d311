"""The settings of an iGTT run."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin.config_panel import ConfigPanel

MAIN = ("preset", "objects", "network", "epochs", "device")
GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs", "weights"),
    "Pseudo-labels": (
        *("start", "criterion", "search", "thresholds", "extraction"),
        *("keep", "radius", "memory", "anchor", "balance"),
    ),
    "Training": (
        *("loss", "optimizer", "learning_rate", "steps_per_epoch", "batch_size", "patch_size"),
        *("stop_agreement", "seed"),
    ),
}


class SettingsPanel(ConfigPanel[IGTTConfig]):
    """Everything in `IGTTConfig`, as a form; choosing a preset fills the form with its values."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(IGTTConfig, MAIN, GROUPS, parent=parent)
