"""Agreement of a mask with the truth: Dice, IoU, accuracy and AUC as scikit-learn and torchmetrics define them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_metastructure.errors import InputError, ReadingError, listed
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.pixels import encode
from napari_metastructure.labels.readings import Reading


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels of a binary comparison: true and false positives and negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def dice(self) -> float:
        """``2 TP / (2 TP + FP + FN)``; 1 where both masks are empty, for then they agree; nan without a pixel."""
        return self._ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """``TP / (TP + FP + FN)``; 1 where both masks are empty."""
        return self._ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def accuracy(self) -> float:
        """``(TP + TN) / all``."""
        return self._ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    def _ratio(self, part: int, whole: int) -> float:
        if not self.tp + self.fp + self.fn + self.tn:
            return math.nan
        return part / whole if whole else 1.0


def as_truth(
    masks: Sequence[np.ndarray], reading: Reading = "auto", names: Sequence[str] | None = None
) -> tuple[list[np.ndarray], list[str]]:
    """Read masks of one set as ground truth: what their numbers mean is the same in all of them.

    Parameters
    ----------
    masks : sequence of arrays
        Booleans or integers.
    reading : {"auto", "foreground", "objects", "classes"}
        See `napari_metastructure.labels.classes.LabelStack`; with ``auto`` numbered objects are foreground. Of two
        classes the greater number is.
    names : sequence of str, optional
        What messages call them.

    Returns
    -------
    truths : list of uint8 arrays
        0, 1 and 255 (unlabelled).
    notes : list of str
        What a user may not expect, in sentences.

    Raises
    ------
    InputError
        For what is no label image, or can be meant in several ways.
    """
    stack = LabelStack(list(masks), reading, name="The masks", names=names, binary=True)
    meaning = stack.meaning()
    order = two_of(meaning.classes)
    return [encode(stack.read(i, meaning), order) for i in range(len(stack))], stack.notes(meaning)


def two_of(classes: Sequence[int]) -> tuple[int, int]:
    """Return background and foreground of classes of which one may be missing.

    Raises
    ------
    InputError
        If there are more than two.
    """
    if len(classes) > 2:
        raise ReadingError(
            f"There are {len(classes)} classes, {listed(classes)}, where background and foreground are needed; read "
            "them as objects (any number is foreground), or make masks of one class."
        )
    return (classes[0], classes[1]) if len(classes) == 2 else (0, max(1, *classes, 1))


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
    """Compute the Dice coefficient (F1) of the foreground; 1 if both masks are empty. Arguments as in `count`.

    Examples
    --------
    >>> dice(np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 255]]))  # 255 is unlabelled
    0.6666666666666666
    """
    return count(prediction, truth).dice


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Compute intersection over union (Jaccard index) of the foreground; 1 if both are empty. Arguments as in `count`.

    Examples
    --------
    >>> iou(np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 255]]))  # 255 is unlabelled
    0.5
    """
    return count(prediction, truth).iou


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

    Examples
    --------
    >>> float(auc(np.array([0.9, 0.4, 0.6, 0.1]), np.array([1, 1, 0, 0])))
    0.75
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
    """Return the pixels whose truth is known, flat: their values and whether they are foreground."""
    values, truth = np.asarray(values), np.asarray(truth)
    if values.shape != truth.shape:
        raise InputError(f"Shapes differ: {values.shape} against a truth of {truth.shape}; compare equal sizes.")
    if truth.dtype == bool:
        return values.ravel(), truth.ravel()
    known = truth != UNLABELLED
    return values[known], truth[known] != 0


# ---- confusion matrix of a set, and what is read from it -------------------------------------------------------


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
        """Return what the counts come to; of two classes the foreground's Dice and IoU."""
        right = np.diag(self.counts).astype(float)
        true, predicted = self.counts.sum(1), self.counts.sum(0)
        with np.errstate(invalid="ignore"):
            ious = right / (true + predicted - right)
            dices = 2 * right / (true + predicted)
            accuracy = right.sum() / self.counts.sum() if self.counts.any() else math.nan
        if self.classes == 2:
            # As `metrics.count`: two empty masks agree.
            empty = true[1] + predicted[1] == 0 and self.counts.any()
            dice, iou = (1.0, 1.0) if empty else (dices[1], ious[1])
        else:
            dice, iou = mean(dices), mean(ious)
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
    found = []
    for p, y in zip(probabilities, truths, strict=True):
        c = count(p, y)
        found.append(Scores(c.dice, c.iou, c.accuracy, auc(p, y)))
    return mean_scores(found)


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Average binary scores of images, each score over those for which it is defined."""
    dice, iou, accuracy, auc = (
        mean([getattr(each, name) for each in scores]) for name in ("dice", "iou", "accuracy", "auc")
    )
    return Scores(dice, iou, accuracy, auc)


def mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean of those that are defined; nan if none is."""
    defined = [v for v in values if not math.isnan(v)]
    return float(np.mean(defined)) if defined else math.nan
