"""Clusters called foreground by brightness, and the best that any choice could do, against brute force."""

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score

from napari_metastructure.baselines.methods import foreground, oracle
from napari_metastructure.errors import InputError

maps = arrays(np.int64, (6, 7), elements=st.integers(-2, 3))
masks = arrays(bool, (6, 7))


def choices(clusters):
    """The mask of every subset of the clusters."""
    names = np.unique(clusters)
    subsets = chain.from_iterable(combinations(names, k) for k in range(len(names) + 1))
    return [np.isin(clusters, subset) for subset in subsets]


@given(clusters=maps, mask=masks)
def test_the_oracle_is_the_best_dice_of_all_choices(clusters, mask):
    best = max(f1_score(mask.ravel(), c.ravel(), zero_division=1.0) for c in choices(clusters))
    assert oracle(clusters, mask) == pytest.approx(best)


@given(clusters=maps, seed=st.integers(0, 999))
def test_the_split_maximises_the_between_class_variance_of_the_cluster_means(clusters, seed):
    plane = np.random.default_rng(seed).normal(size=clusters.shape).astype(np.float32)
    mask, score = foreground(clusters, plane)
    for name in np.unique(clusters):
        np.testing.assert_allclose(score[clusters == name], plane[clusters == name].mean(dtype=np.float64), atol=1e-6)
        assert len(np.unique(mask[clusters == name])) == 1
    if len(np.unique(clusters)) == 1:
        assert not mask.any()
        return

    def within(m):
        return sum(score[part].var(dtype=np.float64) * part.sum() for part in (m, ~m))

    proper = [c for c in choices(clusters) if c.any() and not c.all()]
    assert within(mask) == pytest.approx(min(within(c) for c in proper), abs=1e-5)
    assert score[mask].min() > score[~mask].max()


def test_the_brighter_of_two_clusters_is_foreground_whatever_its_number_and_size():
    plane = np.zeros((10, 10), np.float32)
    plane[2:4, 2:4] = 1
    for inside, outside in ((0, 1), (1, 0), (-5, 70)):
        mask, _ = foreground(np.where(plane > 0, inside, outside), plane)
        np.testing.assert_array_equal(mask, plane > 0)
        mask, _ = foreground(np.where(plane > 0, inside, outside), -plane)
        np.testing.assert_array_equal(mask, plane == 0)


def test_equally_bright_clusters_are_all_background():
    clusters = np.arange(12).reshape(3, 4)
    mask, score = foreground(clusters, np.full((3, 4), 7, np.float32))
    assert not mask.any() and (score == 7).all()


def test_the_oracle_of_an_empty_mask_chooses_nothing():
    assert oracle(np.array([[0, 1]]), np.zeros((1, 2), bool)) == 1.0


@pytest.mark.parametrize("call", [foreground, oracle])
def test_sizes_that_differ_are_refused(call):
    with pytest.raises(InputError, match=r"\(2, 3\)"):
        call(np.zeros((2, 3), int), np.ones((3, 2), bool))
