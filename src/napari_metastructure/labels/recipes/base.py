"""What all recipes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from napari_metastructure.labels.transition import TransitionMatrix

Family = Literal["RCL", "PCL", "RL"]
"""Randomized, perturbed clean labels; random labels."""


class RecipeBase(BaseModel):
    """A recipe of label noise; its fields are the dials."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: ClassVar[str]
    family: ClassVar[Family]

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Make noisy labels from clean ones.

        Parameters
        ----------
        labels : (Y, X) array of integers or booleans
            A plane; not changed.
        rng : numpy.random.Generator
        classes : sequence of int
            Ascending; those of the whole stack, for the plane may lack some.

        Returns
        -------
        (Y, X) array
            The input's dtype, uint8 if that cannot hold 255.

        Raises
        ------
        InputError
            If the labels are none, or the recipe does not fit the classes.
        """
        return self._noisy(labels, rng, tuple(classes))

    def transition(self, classes: Sequence[int]) -> TransitionMatrix | None:
        """Give the noise transition matrix in closed form; None for PCL, whose noise depends on the place.

        Raises
        ------
        InputError
            If the recipe does not fit the classes.
        """
        return self._transition(tuple(classes))

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        raise NotImplementedError

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix | None:
        return None
