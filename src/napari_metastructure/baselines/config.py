"""Settings of a comparison of methods, and the names of the methods; forms, YAML and options are made from them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_metastructure.labels.readings import READING, Reading
from napari_metastructure.training.config import TrainConfig

MethodName = Literal[
    "otsu", "agt", "lc", "ridge", "dfc", "ac", "igtt", "igtt-no-ems", "igtt-paper", "igtt-paper-no-ems",
    "light-unet", "unet", "hrnet", "deeplabv3", "deeplabv3plus",
]  # fmt: skip

TITLES: dict[str, str] = {
    "otsu": "Otsu",
    "agt": "Adaptive Gaussian",
    "lc": "Local contrast",
    "ridge": "Ridge filter",
    "dfc": "DFC",
    "ac": "AC",
    "igtt": "iGTT",
    "igtt-no-ems": "iGTT without EMS",
    "igtt-paper": "iGTT, paper",
    "igtt-paper-no-ems": "iGTT, paper, without EMS",
    "light-unet": "Light U-Net (supervised)",
    "unet": "U-Net (supervised)",
    "hrnet": "HRNet (supervised)",
    "deeplabv3": "DeepLabv3 (supervised)",
    "deeplabv3plus": "DeepLabv3+ (supervised)",
}
"""Names in tables and widgets, in their order; what each does is in `methods.METHODS`."""

SUPERVISED: tuple[MethodName, ...] = ("light-unet", "unet", "hrnet", "deeplabv3", "deeplabv3plus")
"""Those that are trained on masks."""

LIMITED: dict[str, tuple[MethodName, ...]] = {
    "epochs": SUPERVISED,
    "rounds": ("igtt", "igtt-no-ems", "igtt-paper", "igtt-paper-no-ems"),
    "flaws": ("igtt", "igtt-no-ems"),
    "dfc_iterations": ("dfc",),
    "ac_steps": ("ac",),
}
"""The methods that go by each setting that not all have."""

ALL = "all"
"""Stands for all methods."""


class CompareConfig(BaseModel):
    """Settings of `compare.compare`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[MethodName, ...] = Field(
        ("otsu", "agt", "lc", "ridge", "igtt"),
        min_length=1,
        description=f"What is compared: {', '.join(TITLES)}; {ALL} stands for all of them.",
    )
    repeats: int = Field(
        3, ge=1, le=100, description="Runs of each method that depends on a seed; the others run once."
    )
    seed: int = Field(
        0, ge=0, lt=2**31, description="Seed of the first repeat; each further repeat takes the next number."
    )
    objects: Literal["auto", "bright", "dark"] = Field(
        "auto",
        description="Are objects brighter or darker than their surround? auto settles it from the images.",
    )
    reading: Reading = Field("auto", title="Labels are", description=f"For the ground truth. {READING}")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, ... or mps.")
    rounds: int | None = Field(
        None, ge=1, le=10_000, description="Rounds of iGTT at most; left empty, what its preset says."
    )
    flaws: Literal["mend", "keep"] = Field(
        "mend",
        description="What iGTT does with hot pixels, dead lines, margins of one value and scale bars: mend them, or "
        "keep them, as the preset paper always does.",
    )
    dfc_iterations: int = Field(
        1000,
        title="DFC iterations",
        ge=1,
        le=100_000,
        description="Steps of DFC on each image at most (T of its paper); a step of 256 x 256 pixels takes about half "
        "a second on a CPU core.",
    )
    ac_steps: int = Field(300, title="AC steps", ge=1, le=1_000_000, description="Steps of AC, on all images together.")
    train: TrainConfig = Field(
        TrainConfig(),
        description="Training of the supervised networks; network, seed, device and validation are set by the "
        "comparison.",
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Take names apart by commas, and "all"."""
        if not isinstance(value, str):
            return value
        names = tuple(name.strip() for name in value.split(","))
        return tuple(TITLES) if ALL in names else names

    @field_validator("methods")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [name for name in value if value.count(name) > 1]:
            raise ValueError(f"{twice[0]} is named twice; name each method once")
        return value
