"""Histograms by true class, counted against numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.structure import humps

SHAPE = (9, 11)


@given(
    arrays(np.float32, SHAPE, elements=st.integers(0, 1000).map(lambda n: n / 1024)),
    arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 3, UNLABELLED])),
)
def test_counts_are_those_of_numpy(density, truth):
    found = humps("a", density, truth, (0, 1, 3), bins=16)
    relative = density.astype(np.float64) * density.size
    assert found.classes == tuple(c for c in (0, 1, 3) if (truth == c).any())
    for label, counts, mean in zip(found.classes, found.counts, found.means, strict=True):
        values = relative[truth == label]
        assert counts.sum() == len(values)
        np.testing.assert_allclose(mean, values.mean(), rtol=1e-5, atol=1e-9)
        expected, _ = np.histogram(np.clip(values, found.edges[0], found.edges[-1]), bins=found.edges)
        # A value within rounding of an edge may fall on its other side.
        near = np.abs(values[:, None] - found.edges).min(axis=1) < 1e-3 * (found.edges[1] - found.edges[0])
        assert np.abs(np.cumsum(counts) - np.cumsum(expected)).max() <= near.sum()


def test_values_off_the_edges_are_counted_exactly():
    rng = np.random.default_rng(0)
    density = rng.random((300, 400)).astype(np.float32)
    truth = (rng.random(density.shape) < 0.3).astype(np.uint8)
    found = humps("a", density, truth, (0, 1), bins=50)
    relative = density.astype(np.float64) * density.size
    for label in (0, 1):
        expected, _ = np.histogram(relative[truth == label], bins=found.edges)
        assert np.abs(found.counts[label] - expected).max() <= 1
    np.testing.assert_allclose(found.shares.sum(axis=1), 1)


def test_a_map_of_one_value_is_one_bin():
    found = humps("a", np.full((8, 8), 1 / 64, np.float32), np.eye(8, dtype=np.uint8), (0, 1))
    assert [np.count_nonzero(counts) for counts in found.counts] == [1, 1]
    np.testing.assert_allclose(found.means, 1)


@pytest.mark.parametrize("levels", [2, 7, 64, 65, 200])
def test_bins_hold_equally_many_of_the_steps_of_a_box(levels):
    """Else a histogram of whole numbers has teeth."""
    step = 0.01
    values = (np.arange(levels)[:, None] * np.ones(10) * step / (levels * 10)).astype(np.float32)
    found = humps("a", values, np.ones(values.shape, np.uint8), (1,), bins=64, step=step)
    counts = found.counts[0]
    assert len(counts) <= 64
    assert counts.sum() == levels * 10
    assert len(set(counts[:-1].tolist())) <= 1  # the last may hold fewer


def test_classes_above_those_of_the_image_are_left_out():
    assert humps("a", np.eye(4, dtype=np.float32), np.eye(4, dtype=np.int64), (0, 1, 7)).classes == (0, 1)
