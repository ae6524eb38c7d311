"""What a prediction can be told besides model and images."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field
from qtpy.QtWidgets import QWidget

from napari_metastructure.plugin.config_panel import ConfigPanel


class PredictSettings(BaseModel):
    """The form's fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, ... or mps.")
    channel: str | None = Field(
        None,
        description="For a model of one channel, which one of colour images (red, green, blue, alpha, luminance; by "
        "default the one it was trained on, else luminance) or of files with several channels (a number from 0).",
    )
    probability: bool = Field(
        True, description="Give the probability too: of the foreground, or of the class that was chosen."
    )
    ome: bool = Field(False, title="OME-TIFF", description="Write OME-TIFF instead of the ImageJ kind that Fiji reads.")
    overwrite: bool = Field(False, description="Replace results of the same names that are in the folder already.")

    @classmethod
    def from_preset(cls, preset: str = "default", **overrides: object) -> Self:
        """There is one preset: the defaults."""
        return cls.model_validate(overrides)


class PredictSettingsPanel(ConfigPanel[PredictSettings]):
    """The form; what concerns files only is collapsed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            PredictSettings, ("device", "channel", "probability"), {"Files": ("ome", "overwrite")}, parent=parent
        )
