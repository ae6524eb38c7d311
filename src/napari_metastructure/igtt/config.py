"""Every choice of an iGTT run, in one validated model: widget tooltips, YAML and CLI options come from here."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # Filled by igtt/config.py's owner: Algorithm 1 as printed.
    "paper": {},
}


class IGTTConfig(BaseModel):
    """Settings of `igtt.iterate`; `IGTTConfig.from_preset` fills them by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["default", "paper"] = Field("default", description="Where the settings below started from.")
    objects: Literal["auto", "bright", "dark"] = Field(
        "auto", description="Whether objects are brighter or darker than their surround; auto settles it from the images."
    )
    network: Literal["light-unet", "unet", "deeplabv3plus"] = Field(
        "light-unet", description="The network; light-unet suits small data and CPUs, the others take any smp encoder."
    )
    encoder: str = Field("resnet18", description="Encoder of unet and deeplabv3plus, any name smp offers.")
    encoder_weights: Literal["imagenet"] | None = Field(
        None, description="Start the encoder from ImageNet weights (downloaded once) or from scratch."
    )
    epochs: int = Field(8, ge=1, le=10_000, description="Rounds of training and relabelling at most.")
    seed: int = Field(0, ge=0, lt=2**32, description="Same seed, same device: the same masks.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, ... or mps.")

    @classmethod
    def from_preset(cls, preset: str = "default", **overrides: Any) -> Self:
        """Settings of a preset, with some of them replaced."""
        return cls(**{"preset": preset, **PRESETS[preset], **overrides})
