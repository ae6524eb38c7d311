"""Scores against scikit-learn and torch-free counting."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, roc_auc_score

from napari_metastructure.training.scores import Confusion, binary_scores


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
