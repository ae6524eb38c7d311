"""Settings of supervised training, validated: widget tooltips, YAML and CLI options come from here."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_metastructure.labels.readings import READING, Reading
from napari_metastructure.networks import Architecture

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "network": "unet",
        "loss": "cross_entropy",
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "schedule": "step",
        "inputs": "zscore",
        "augment": "flips",
        "batch_size": 4,
        "epochs": 100,
        "patience": 0,
    },
}
"""Named settings.

``paper``: U-Net, cross-entropy with unlabelled pixels left out and SGD with momentum, as the paper says. It leaves
encoder, learning rate, schedule, batch and epochs to an appendix; those here are ours.
"""

MAY_CHANGE = ("epochs", "patience", "device")
"""Settings that may differ when a run is resumed."""


class TrainConfig(BaseModel):
    """Settings of `train.train`; `TrainConfig.from_preset` fills them by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["default", "paper"] = Field("default", description="The preset that the settings below began with.")
    network: Architecture = Field(
        "light-unet",
        description="The network; light-unet suits small data, fast-unet suits slow CPUs and objects of any size.",
    )
    epochs: int = Field(40, ge=1, le=100_000, description="Epochs at most.")
    validation_fraction: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of the images kept for validation where none are given for it; 0 trains without.",
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="Same seed, same device: the same network (on a GPU except for rounding)."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, ... or mps.")

    encoder: str | None = Field(
        None,
        description="Encoder of unet, deeplabv3plus and deeplabv3 (any name smp offers; default resnet34) or a hrnet_ "
        "of timm (default hrnet_w18).",
    )
    encoder_weights: Literal["imagenet"] | None = Field(
        None, description="Start the encoder from ImageNet weights (downloaded once) or from scratch."
    )
    base_channels: int = Field(
        16, ge=4, le=128, description="Channels of light-unet and fast-unet before the first halving."
    )
    inputs: Literal["percentile", "zscore", "local", "multiscale"] = Field(
        "percentile",
        description="How each image is normalised: percentiles 1 and 99.8 to 0 and 1, z-score, local contrast, or "
        "four channels of these kinds.",
    )

    reading: Reading = Field("auto", title="Labels are", description=READING)
    classes: tuple[int, ...] | None = Field(
        None, description="Label values that are classes, ascending; left empty, those found in the training labels."
    )
    loss: Literal["cross_entropy", "dice", "iou", "dmi_iou"] = Field(
        "cross_entropy", description="Cross-entropy (the paper's), Dice, IoU, or DMI + IoU of eq. (6)."
    )
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with momentum (the paper's).")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Step size of the optimiser; onecycle peaks there.")
    schedule: Literal["constant", "step", "onecycle"] = Field(
        "constant",
        description="Learning rate over the epochs: constant, a tenth after half of them and a hundredth after three "
        "quarters, or one cycle.",
    )
    steps_per_epoch: int = Field(
        0, ge=0, le=100_000, description="Steps an epoch; 0: as many as cover the training images once, at least 20."
    )
    batch_size: int = Field(4, ge=1, le=1024, description="Patches a step; halved by itself if memory runs out.")
    patch_size: int = Field(
        256, ge=32, le=4096, multiple_of=32, description="Side of patches and tiles in pixels, a multiple of 32."
    )
    augment: Literal["none", "flips", "full"] = Field(
        "flips",
        description="flips: flips and quarter turns; full: also any turn, scales of 0.8 to 1.25, brightness, blur and "
        "noise.",
    )
    patience: int = Field(
        0, ge=0, le=100_000, description="Stop after this many epochs without a better validation score; 0 never stops."
    )

    @field_validator("classes")
    @classmethod
    def _are_classes(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (len(value) < 2 or list(value) != sorted(set(value)) or value[0] < 0 or 255 in value):
            raise ValueError("at least two ascending label values from 0 are needed, each once, without 255")
        return value

    @classmethod
    def from_preset(cls, preset: str = "default", **overrides: Any) -> Self:
        """Return the settings of a preset, with some of them replaced."""
        return cls(**{"preset": preset, **PRESETS.get(preset, {}), **overrides})
