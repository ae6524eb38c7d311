"""Masks against the ground truth, and against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from napari_metastructure.baselines.clusters import oracle
from napari_metastructure.baselines.events import Agreement, ImageScores
from napari_metastructure.baselines.methods import Segmentation
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training.metrics import auc, count, dice


def image_scores(found: Segmentation, truth: np.ndarray, name: str) -> ImageScores:
    """How well a segmentation agrees with the ground truth (bool, or uint8 with 255 unlabelled)."""
    counts, best = count(found.mask, truth), None
    if found.clusters is not None:
        known = truth != UNLABELLED if truth.dtype != bool else np.ones(truth.shape, bool)
        best = oracle(found.clusters[known], truth[known] != 0)
    return ImageScores(name, counts.dice, auc(found.score, truth), counts.accuracy, best)


def agreement(masks: Mapping[str, Sequence[np.ndarray]]) -> Agreement | None:
    """Mean Dice between the masks of each two methods; None for fewer than two.

    Parameters
    ----------
    masks : mapping of str to sequence of (Y, X) arrays
        Of each method the masks of all images, nonzero = foreground.
    """
    if len(masks) < 2:
        return None
    table = np.ones((len(masks), len(masks)))
    for i, ours in enumerate(masks.values()):
        for j, theirs in enumerate(list(masks.values())[:i]):
            pairs = zip(ours, theirs, strict=True)
            table[i, j] = table[j, i] = np.mean([dice(a, b != 0) for a, b in pairs])
    return Agreement(tuple(masks), table)
