"""Dice, IoU, accuracy and AUC against scikit-learn, and where they are a matter of definition."""

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, roc_auc_score

from napari_metastructure.errors import InputError
from napari_metastructure.training.metrics import Confusion, auc, binary_scores, count, dice, iou

SHAPE = (5, 7)


labels = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 255]))


masks = arrays(bool, SHAPE)


scores = arrays(np.float32, SHAPE, elements=st.integers(0, 6).map(lambda i: np.float32(i / 6)))  # many ties


@settings(deadline=None)
@given(prediction=masks, truth=labels, probability=scores)
def test_agree_with_scikit_learn_on_labelled_pixels(prediction, truth, probability):
    known = truth != 255
    y, p = (truth[known] == 1), prediction[known]
    if not known.any():
        return
    assert count(prediction, truth).accuracy == pytest.approx(sklearn.metrics.accuracy_score(y, p))
    assert dice(prediction, truth) == pytest.approx(sklearn.metrics.f1_score(y, p, zero_division=1.0))
    assert iou(prediction, truth) == pytest.approx(sklearn.metrics.jaccard_score(y, p) if (y | p).any() else 1)
    if 0 < y.sum() < y.size:
        assert auc(probability, truth) == pytest.approx(sklearn.metrics.roc_auc_score(y, probability[known]))
    else:
        assert math.isnan(auc(probability, truth))


@given(truth=masks, probability=scores)
def test_auc_of_the_opposite_score_is_the_complement(truth, probability):
    if 0 < truth.sum() < truth.size:
        assert auc(1 - probability, truth) == pytest.approx(1 - auc(probability, truth))


def test_two_empty_masks_agree():
    empty = np.zeros(SHAPE, bool)
    assert (dice(empty, empty), iou(empty, empty), count(empty, empty).accuracy) == (1, 1, 1)
    assert dice(~empty, empty) == 0


def test_masks_of_0_and_255_and_probabilities_as_predictions():
    truth = np.array([[True, False, True, False]])
    assert count(np.array([[255, 0, 0, 255]], np.uint8), truth) == count(np.array([[0.9, 0.5, 0.1, 0.6]]), truth)
    assert dice(np.array([[255, 0, 0, 255]], np.uint8), truth) == 0.5


def test_unlabelled_pixels_do_not_count():
    truth = np.array([[1, 0, 255, 255]], np.uint8)
    assert count(np.array([[1, 0, 1, 0]], np.uint8), truth).accuracy == 1
    assert auc(np.array([[0.6, 0.5, 0.0, 1.0]]), truth) == 1


def test_wrong_shapes_and_nan_are_refused():
    with pytest.raises(InputError, match=r"\(2, 2\).*\(3, 3\)"):
        dice(np.ones((2, 2)), np.ones((3, 3)))
    with pytest.raises(InputError, match="NaN"):
        auc(np.array([np.nan, 1]), np.array([True, False]))


# Scores against scikit-learn and torch-free counting.


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_several_classes_agree_with_scikit_learn(rng):
    truth, said = rng.integers(0, 4, (3, 20, 20)), rng.integers(0, 4, (3, 20, 20))
    truth[:, :3] = 255
    confusion = Confusion(4)
    for y, p in zip(truth, said, strict=True):
        confusion.add(p.astype(np.uint8), y.astype(np.uint8))
    scores, known = confusion.scores(), truth != 255
    assert scores.iou == pytest.approx(jaccard_score(truth[known], said[known], average="macro"))
    assert scores.dice == pytest.approx(f1_score(truth[known], said[known], average="macro"))
    assert scores.accuracy == pytest.approx(accuracy_score(truth[known], said[known]))
    np.testing.assert_allclose(scores.class_iou, jaccard_score(truth[known], said[known], average=None))


def test_a_class_that_is_nowhere_is_not_averaged():
    confusion = Confusion(3)
    confusion.add(np.array([[0, 1]], np.uint8), np.array([[0, 1]], np.uint8))
    assert confusion.scores().iou == 1
    assert math.isnan(confusion.scores().class_iou[2])


def test_two_classes_score_the_foreground(rng):
    truth, said = rng.integers(0, 2, (20, 20)), rng.integers(0, 2, (20, 20))
    confusion = Confusion(2)
    confusion.add(said, truth)
    assert confusion.scores().dice == pytest.approx(f1_score(truth.ravel(), said.ravel()))
    empty = Confusion(2)
    empty.add(np.zeros((4, 4), int), np.zeros((4, 4), int))
    assert empty.scores().dice == 1


def test_binary_scores_are_means_over_images(rng):
    truths = [rng.integers(0, 2, (16, 16)).astype(np.uint8) for _ in range(3)]
    found = [rng.random((16, 16)) for _ in range(3)]
    scores = binary_scores(found, truths)
    pairs = [(y.ravel(), p.ravel()) for p, y in zip(found, truths, strict=True)]
    assert scores.auc == pytest.approx(np.mean([roc_auc_score(y, p) for y, p in pairs]))
    assert scores.dice == pytest.approx(np.mean([f1_score(y, p > 0.5) for y, p in pairs]))
