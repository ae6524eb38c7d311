"""Every choice of a comparison, in one validated model: widget tooltips, YAML and CLI options come from here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.training.config import TrainConfig

ALL = "all"


class CompareConfig(BaseModel):
    """Settings of `compare.compare`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = Field(
        ("otsu", "agt", "lc", "ridge", "igtt"),
        min_length=1,
        description=f"What is compared: {', '.join(METHODS)}; {ALL} stands for all of them.",
    )
    repeats: int = Field(
        3, ge=1, le=100, description="Runs of each method that depends on a seed; the others run once."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of the first repeat; the next one has the next number.")
    objects: Literal["auto", "bright", "dark"] = Field(
        "auto",
        description="Are objects brighter or darker than their surround? auto settles it from the images.",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, ... or mps.")
    rounds: int | None = Field(
        None, ge=1, le=10_000, description="Rounds of iGTT at most; left empty, what its preset says."
    )
    dfc_iterations: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Steps of DFC on each image at most (T of its paper); a step of 256 x 256 pixels takes about half "
        "a second on a CPU core.",
    )
    ac_steps: int = Field(300, ge=1, le=1_000_000, description="Steps of AC, on all images together.")
    train: TrainConfig = Field(
        TrainConfig(),
        description="Training of the supervised networks; network, seed, device and validation are set by the "
        "comparison.",
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Names apart by commas, or "all"."""
        if not isinstance(value, str):
            return value
        names = tuple(name.strip() for name in value.split(","))
        return tuple(METHODS) if ALL in names else names

    @field_validator("methods")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in METHODS]:
            raise ValueError(f"there is no method {unknown[0]!r}; choose from {', '.join(METHODS)}")
        if twice := [name for name in value if value.count(name) > 1]:
            raise ValueError(f"{twice[0]} is named twice; name each method once")
        return value

    def runs(self) -> list[tuple[str, int]]:
        """Method and repeat of every run: all methods of a repeat before the next repeat."""
        return [
            (name, repeat)
            for repeat in range(self.repeats)
            for name in self.methods
            if repeat == 0 or METHODS[name].random
        ]
