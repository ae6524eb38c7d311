"""Recipes that place has no part in, so that they have a noise transition matrix: RCL and RL."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from napari_metastructure.errors import InputError
from napari_metastructure.labels import transition as closed
from napari_metastructure.labels.classes import listed, result_dtype
from napari_metastructure.labels.random import random_labels
from napari_metastructure.labels.randomized import flip, flip_by_matrix, sample
from napari_metastructure.labels.recipes.base import Family, RecipeBase
from napari_metastructure.labels.recipes.fields import Matrix, Shares, check_sum
from napari_metastructure.labels.transition import TransitionMatrix

_BY_CLASS = "for each class named, in place of the one number."


class Sample(RecipeBase):
    """RCL by sampling, see `napari_metastructure.labels.randomized.sample`."""

    title: ClassVar[str] = "RCL: sampling"
    family: ClassVar[Family] = "RCL"
    kind: Literal["sample"] = "sample"
    keep: float = Field(0.5, ge=0, le=1, description="Share of pixels that keep their label; the rest become 255.")
    per_class: Shares | None = Field(None, description=f"Share that keeps its label {_BY_CLASS}")

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        return sample(labels, _shares(self.keep, self.per_class, classes), rng, classes)

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix:
        return closed.sampling_matrix(classes, _shares(self.keep, self.per_class, classes))


class Flip(RecipeBase):
    """RCL by flipping, see `napari_metastructure.labels.randomized.flip`."""

    title: ClassVar[str] = "RCL: flipping"
    family: ClassVar[Family] = "RCL"
    kind: Literal["flip"] = "flip"
    fraction: float = Field(0.45, ge=0, le=1, description="Share of labels swapped with a class drawn from the others.")
    per_class: Shares | None = Field(None, description=f"Share swapped {_BY_CLASS}")
    exact: bool = Field(
        False, description="Swap exactly this share of each plane's labelled pixels, or each pixel independently."
    )

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        return flip(labels, _shares(self.fraction, self.per_class, classes), rng, classes, exact=self.exact)

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix:
        return closed.flipping_matrix(classes, _shares(self.fraction, self.per_class, classes))


class FlipByMatrix(RecipeBase):
    """RCL by a noise transition matrix, see `napari_metastructure.labels.randomized.flip_by_matrix`."""

    title: ClassVar[str] = "RCL: flipping by a matrix"
    family: ClassVar[Family] = "RCL"
    kind: Literal["matrix"] = "matrix"
    matrix: Matrix = Field(
        ((0.55, 0.45), (0.45, 0.55)),
        description="Row i, column j: probability that a pixel of the i-th class becomes the j-th; rows add up to 1.",
    )

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        return flip_by_matrix(labels, self.matrix, rng, classes)

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix:
        return closed.given_matrix(classes, self.matrix)


class Random(RecipeBase):
    """RL, see `napari_metastructure.labels.random.random_labels`; of the labels only the shape matters."""

    title: ClassVar[str] = "RL: random labels"
    family: ClassVar[Family] = "RL"
    kind: Literal["random"] = "random"
    probability: float = Field(
        0.5, ge=0, le=1, description="P_generate, the probability of the second of two classes (the foreground)."
    )
    per_class: Shares | None = Field(
        None, description="Probability of each class, adding up to 1, in place of the one number."
    )

    @field_validator("per_class")
    @classmethod
    def _adds_up(cls, shares: dict[int, float] | None) -> dict[int, float] | None:
        if shares is not None:
            check_sum(shares)
        return shares

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        return random_labels(labels.shape, self._probability(classes), rng, classes, result_dtype(labels))

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix:
        return closed.random_matrix(classes, self._probability(classes))

    def _probability(self, classes: tuple[int, ...]) -> float | dict[int, float]:
        if self.per_class is not None:
            return self.per_class
        if len(classes) == 2:
            return self.probability
        if len(classes) == 1:
            raise InputError(f"Random labels need two classes at least; there is only class {classes[0]}.")
        raise InputError(
            f"One probability is for two classes; set per_class, a probability for each of {listed(classes)}, "
            "adding up to 1."
        )


def _shares(number: float, per_class: dict[int, float] | None, classes: tuple[int, ...]) -> float | dict[int, float]:
    """One number, or each class's own: what is given for it, else the one number."""
    return number if per_class is None else {**dict.fromkeys(classes, number), **per_class}
