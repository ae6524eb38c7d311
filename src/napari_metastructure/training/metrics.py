"""How well a mask agrees with the truth: Dice, IoU, accuracy and AUC as scikit-learn and torchmetrics define them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels of a binary comparison: true and false positives and negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def dice(self) -> float:
        """``2 TP / (2 TP + FP + FN)``; 1 where both masks are empty, for then they agree."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """``TP / (TP + FP + FN)``; 1 where both masks are empty."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def accuracy(self) -> float:
        """``(TP + TN) / all``."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)


def count(prediction: np.ndarray, truth: np.ndarray) -> Counts:
    """Compare a mask with the truth, pixel by pixel.

    Parameters
    ----------
    prediction : array
        Booleans or integers: anything but 0 is foreground. Floats are probabilities, cut at > 0.5.
    truth : array of the same shape
        Booleans, or integers: 0 = background, 255 = unlabelled and left out, anything else foreground.
        A mask of 0 and 255 must be made boolean first (``truth > 0``).

    Returns
    -------
    Counts

    Raises
    ------
    InputError
        If the shapes differ.
    """
    prediction, truth = _labelled(prediction, truth)
    foreground = prediction > 0.5 if prediction.dtype.kind == "f" else prediction != 0
    tp = int(np.count_nonzero(foreground & truth))
    fp = int(np.count_nonzero(foreground)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return Counts(tp, fp, fn, truth.size - tp - fp - fn)


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient (F1) of the foreground; 1 if both masks are empty. Arguments as in `count`."""
    return count(prediction, truth).dice


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union (Jaccard index) of the foreground; 1 if both are empty. Arguments as in `count`."""
    return count(prediction, truth).iou


def accuracy(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Fraction of labelled pixels that agree. Arguments as in `count`."""
    return count(prediction, truth).accuracy


def auc(probability: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve: how often a foreground pixel ranks above a background one, ties counting half.

    Parameters
    ----------
    probability : real array
        Any score that rises with the belief in foreground; only its order counts.
    truth : array of the same shape
        As in `count`.

    Returns
    -------
    float
        0 to 1; nan if the labelled truth is all foreground or all background.

    Raises
    ------
    InputError
        If the shapes differ or the scores hold NaN.

    References
    ----------
    Mann and Whitney, 1947: AUC = (R - n(n+1)/2) / (n m), with R the sum of the n foreground ranks.
    """
    probability, truth = _labelled(probability, truth)
    if np.isnan(probability).any():
        raise InputError("The probabilities hold NaN; an AUC needs numbers only.")
    _, place, sizes = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2  # tied scores share their mean rank
    n = int(np.count_nonzero(truth))
    m = truth.size - n
    if not n or not m:
        return float("nan")
    return float((ranks[place[truth]].sum() - n * (n + 1) / 2) / (n * m))


def _labelled(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels whose truth is known, flat: their values and whether they are foreground."""
    values, truth = np.asarray(values), np.asarray(truth)
    if values.shape != truth.shape:
        raise InputError(f"Shapes differ: {values.shape} against a truth of {truth.shape}; compare equal sizes.")
    if truth.dtype == bool:
        return values.ravel(), truth.ravel()
    known = truth != UNLABELLED
    return values[known], truth[known] != 0


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
