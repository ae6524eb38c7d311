from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chisquare

from napari_metastructure.errors import InputError
from napari_metastructure.labels.random import random_labels


@given(
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=12),
    st.floats(0, 1),
    st.sampled_from(["u1", "i1", "u2", "i4", "u8", ">i8"]),
    st.integers(0, 2**32 - 1),
)
def test_binary_labels(shape, probability, kind, seed):
    labels = random_labels(shape, probability, np.random.default_rng(seed), dtype=kind)
    assert labels.shape == shape and labels.dtype == np.dtype(kind)
    assert set(np.unique(labels).tolist()) <= {0, 1}
    np.testing.assert_array_equal(labels, random_labels(shape, probability, np.random.default_rng(seed), dtype=kind))
    room = 6 * np.sqrt(probability * (1 - probability) * labels.size)
    assert abs(labels.sum() - probability * labels.size) <= max(room, 9)


@pytest.mark.parametrize("probability", [0, 1])
def test_never_and_always(probability):
    assert (random_labels((300, 300), probability, np.random.default_rng(0)) == probability).all()


def test_classes_come_with_their_probabilities():
    shares = {0: 0.2, 4: 0.05, 300: 0.0, 70_000: 0.75}
    labels = random_labels((3, 300, 300), shares, np.random.default_rng(1), tuple(shares), np.int32)
    found = [(labels == c).sum() for c in shares]
    assert sum(found) == labels.size and found[2] == 0
    expected = np.array([0.2, 0.05, 0.75]) * labels.size
    assert chisquare([found[0], found[1], found[3]], expected).pvalue > 1e-3
    assert chisquare([found[0], found[1], found[3]], expected[[0, 1, 2]] + [500, -500, 0]).pvalue < 1e-3


def test_turning_the_dial_only_adds():
    low, high = (random_labels((200, 200), p, np.random.default_rng(2)) for p in (0.3, 0.5))
    assert (low <= high).all() and low.sum() < high.sum()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: random_labels((4, 4), 1.5, r), "must lie between 0 and 1, not 1.5"),
        (lambda r: random_labels((4, 4), {0: 0.5, 1: 0.4}, r), "must add up to 1, not 0.9"),
        (lambda r: random_labels((4, 4), {0: 0.5, 2: 0.5}, r), "names class 2, which is absent"),
        (lambda r: random_labels((4, 4), {0: 1.0}, r), "leaves out class 1"),
        (lambda r: random_labels((4, 4), 0.5, r, (0, 1, 2)), "give one for each of 0, 1 and 2"),
        (lambda r: random_labels((4, 4), 0.5, r, (1, 1)), "must be ascending"),
        (lambda r: random_labels((4,), 0.5, r), r"shape \(4,\) are no image"),
        (lambda r: random_labels((4, 0), 0.5, r), r"shape \(4, 0\) are no image"),
        (lambda r: random_labels((4, 4), 0.5, r, (0, 300)), "uint8 cannot hold the classes 0 and 300"),
        (lambda r: random_labels((4, 4), 0.5, r, dtype=float), "float64 cannot hold"),
    ],
)
def test_bad_input_gets_one_sentence(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call(np.random.default_rng(0))
    assert "\n" not in str(caught.value)
