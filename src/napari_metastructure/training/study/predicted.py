"""What theory says of noisy labels before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_metastructure.labels.distance import structure_left
from napari_metastructure.labels.recipes import Recipe
from napari_metastructure.labels.transition import count_pairs, from_counts
from napari_metastructure.labels.verdict import verdict


@dataclass(frozen=True, slots=True)
class Predicted:
    """Lemma 2 and Theorems 1 and 2 on one condition.

    Attributes
    ----------
    rank, classes : int
        Rank of the noise transition matrix, in closed form (RCL, RL) or estimated from all labels (PCL), and how
        many classes there are.
    left : float
        Share of the meta-structure that is left, mean over the images, 0 to 1 (`labels.distance.structure_left`).
    sentence : str
        The verdict in words.
    """

    rank: int
    classes: int
    left: float
    sentence: str


def predict(
    recipe: Recipe | None,
    clean: Sequence[np.ndarray],
    noisy: Sequence[np.ndarray],
    classes: Sequence[int],
    bandwidth: float,
) -> Predicted:
    """Compare noisy labels with the clean ones they were made of.

    Parameters
    ----------
    recipe : Recipe or None
    clean, noisy : sequence of (Y, X) integer arrays
    classes : sequence of int
    bandwidth : float
        Of the box kernel, in pixels.
    """
    matrix = recipe.transition(classes) if recipe is not None else None
    if matrix is None:
        counts = sum(count_pairs(y, noise, classes) for y, noise in zip(clean, noisy, strict=True))
        matrix = from_counts(classes, np.asarray(counts))
    left = [structure_left(y, noise, bandwidth=bandwidth) for y, noise in zip(clean, noisy, strict=True) if _two(y)]
    return Predicted(
        matrix.rank, len(classes), float(np.mean(left)) if left else float("nan"), verdict(matrix).sentence
    )


def _two(labels: np.ndarray) -> bool:
    """Whether an image holds two classes at least: else there is no structure to compare."""
    return len(np.setdiff1d(np.unique(labels), [255])) > 1
