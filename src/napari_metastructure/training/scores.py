"""How well predictions agree with labels, over a set: a confusion matrix, and what is read from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training.metrics import auc, count


@dataclass(frozen=True, slots=True)
class Scores:
    """Agreement of predictions with labels; unlabelled pixels are left out.

    Attributes
    ----------
    dice, iou : float
        Of the foreground; of more than two classes the mean over the classes there are (mIoU).
    accuracy : float
        Share of the labelled pixels that are right.
    auc : float
        Area under the ROC curve of the foreground probability; nan for more than two classes or where not asked.
    class_iou : tuple of float
        IoU of each class, nan for one that neither labels nor predictions hold.
    """

    dice: float
    iou: float
    accuracy: float
    auc: float = math.nan
    class_iou: tuple[float, ...] = ()


class Confusion:
    """Counts of (true class, predicted class) over any number of images.

    Parameters
    ----------
    classes : int
        M; class codes are 0 to M - 1.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count the pixels of an image: arrays of class codes of one shape, 255 in the truth left out."""
        known = truth != UNLABELLED
        pairs = truth[known].astype(np.int64) * self.classes + predicted[known]
        self.counts += np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    def scores(self) -> Scores:
        """What the counts come to; of two classes the foreground's Dice and IoU."""
        right = np.diag(self.counts).astype(float)
        true, predicted = self.counts.sum(1), self.counts.sum(0)
        with np.errstate(invalid="ignore"):
            ious = right / (true + predicted - right)
            dices = 2 * right / (true + predicted)
            accuracy = right.sum() / self.counts.sum() if self.counts.any() else math.nan
        if self.classes == 2:
            # As `metrics.count`: two empty masks agree.
            empty = true[1] + predicted[1] == 0
            dice, iou = (1.0, 1.0) if empty else (dices[1], ious[1])
        else:
            dice, iou = _mean(dices), _mean(ious)
        return Scores(float(dice), float(iou), float(accuracy), class_iou=tuple(map(float, ious)))


def binary_scores(probabilities: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> Scores:
    """Means over images of foreground Dice, IoU, accuracy and AUC.

    Parameters
    ----------
    probabilities : sequence of (Y, X) float arrays
        Of the foreground, cut at > 0.5.
    truths : sequence of (Y, X) uint8 arrays
        0, 1 and 255.
    """
    counts = [count(p, y) for p, y in zip(probabilities, truths, strict=True)]
    dices, ious, accuracies = zip(*((c.dice, c.iou, c.accuracy) for c in counts), strict=True)
    aucs = [auc(p, y) for p, y in zip(probabilities, truths, strict=True)]
    return Scores(_mean(dices), _mean(ious), _mean(accuracies), _mean(aucs))


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean of those that are defined; nan if none is."""
    defined = [v for v in values if not math.isnan(v)]
    return float(np.mean(defined)) if defined else math.nan
