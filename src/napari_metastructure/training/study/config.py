"""What a noise study compares."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_metastructure.labels.recipes import Dilate, Erode, Flip, Random, Recipe, Sample, Skeleton
from napari_metastructure.training.config import TrainConfig

Network = Literal["light-unet", "unet", "deeplabv3plus", "hrnet"]


class Condition(BaseModel):
    """One kind of training label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="What curves, tables and layers call it.")
    recipe: Recipe | None = Field(None, description="The noise; none for the clean labels (CL).")

    @property
    def family(self) -> str:
        """CL, RCL, PCL or RL."""
        return self.recipe.family if self.recipe else "CL"


_ALL = (
    Condition(name="CL"),
    *(Condition(name=f"RCL sampling {p:g}", recipe=Sample(keep=p)) for p in (0.5, 0.3, 0.1)),
    *(Condition(name=f"RCL flipping {p:g}", recipe=Flip(fraction=p)) for p in (0.2, 0.45, 0.49)),
    Condition(name="PCL dilation", recipe=Dilate(n=2)),
    Condition(name="PCL erosion", recipe=Erode(n=2)),
    Condition(name="PCL skeleton", recipe=Skeleton()),
    *(Condition(name=f"RL {p:g}", recipe=Random(probability=p)) for p in (0.1, 0.3, 0.5)),
)
CONDITIONS: dict[str, Condition] = {condition.name: condition for condition in _ALL}
"""Those of the paper, by name. It does not say how far its labels were dilated and eroded; twice is ours."""

STUDIES: dict[str, tuple[str, ...]] = {
    "all": tuple(CONDITIONS),
    "figure 1": ("CL", "RCL flipping 0.45", "PCL skeleton", "RL 0.5"),
    "figure 2": ("CL", *(name for name in CONDITIONS if name.startswith("RCL"))),
    "figure 5": (
        *("CL", "RCL flipping 0.49", "PCL dilation", "PCL erosion", "PCL skeleton"),
        *("RL 0.1", "RL 0.3", "RL 0.5"),
    ),
}
"""The paper's figures, by their conditions."""


class StudyConfig(BaseModel):
    """Settings of `study.run.study`; `StudyConfig.preset` fills the conditions by a figure's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conditions: tuple[Condition, ...] = Field(
        tuple(CONDITIONS[name] for name in STUDIES["figure 1"]), min_length=1, description="The kinds of labels."
    )
    networks: tuple[Network, ...] = Field(("light-unet",), min_length=1, description="The networks, each by itself.")
    repeats: int = Field(3, ge=1, le=100, description="Runs of each kind, with other noise and other first weights.")
    test_fraction: float = Field(
        0.25, gt=0, lt=1, description="Share of the images kept for testing where none are given for it; clean labels."
    )
    bandwidth: float = Field(
        4.0, gt=0, description="Radius in pixels of the kernel that says how much of the meta-structure is left."
    )
    train: TrainConfig = Field(
        TrainConfig(epochs=20, patience=0),
        description="Training of each run; its network, seed and validation are set by the study.",
    )

    @field_validator("conditions")
    @classmethod
    def _told_apart(cls, value: tuple[Condition, ...]) -> tuple[Condition, ...]:
        names = [condition.name for condition in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two conditions are called {twice[0]!r}; give each a name of its own")
        return value

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """The conditions of a figure of the paper (`STUDIES`), with other settings replaced."""
        return cls(**{"conditions": tuple(CONDITIONS[condition] for condition in STUDIES[name]), **overrides})

    def runs(self) -> list[tuple[str, Condition, int]]:
        """Network, condition and seed of every run: all conditions of a repeat before the next repeat."""
        first = self.train.seed
        return [
            (network, condition, first + repeat)
            for network in self.networks
            for repeat in range(self.repeats)
            for condition in self.conditions
        ]
