from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, hypergeom

from napari_metastructure.labels.exact import choose, count, share_out
from napari_metastructure.labels.randomized import flip


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20), st.floats(0, 1), st.integers(0, 99))
def test_shares_of_blocks_add_up(counts, fraction, seed):
    counts = np.array(counts)
    n = round(fraction * int(counts.sum()))
    shares = share_out(counts, n, np.random.default_rng(seed))
    assert shares.sum() == n and (shares >= 0).all() and (shares <= counts).all()


def test_shares_of_more_pixels_than_numpy_shares_out():
    counts = np.full(20_000, 1 << 17)
    shares = share_out(counts, counts.sum() // 3, np.random.default_rng(0))
    assert shares.sum() == counts.sum() // 3
    assert abs(shares / (1 << 17) - 1 / 3).max() < 6 * np.sqrt(2 / 9 / (1 << 17))


def test_shares_are_hypergeometric():
    rng = np.random.default_rng(0)
    first = [share_out(np.array([5, 7, 3]), 6, rng)[0] for _ in range(4000)]
    observed = np.bincount(first, minlength=6)
    assert chisquare(observed, hypergeom(15, 5, 6).pmf(np.arange(6)) * 4000).pvalue > 1e-3


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.booleans())
def test_of_each_group_exactly_so_many_are_chosen(seed, classes, together):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, 300).astype(np.uint8)
    codes[rng.random(300) < 0.2] = 255
    counts = count(codes, 1 if together else classes)
    expected = [(codes != 255).sum()] if together else [(codes == c).sum() for c in range(classes)]
    assert counts.tolist() == expected
    numbers = rng.integers(0, counts + 1)
    places = choose(codes, counts, numbers, rng)
    assert len(set(places.tolist())) == len(places) == numbers.sum()
    assert (codes[places] != 255).all()
    if not together:
        assert np.bincount(codes[places], minlength=classes).tolist() == numbers.tolist()


@pytest.mark.parametrize("block", [2, 4, 1024])
def test_every_set_of_pixels_is_equally_likely(monkeypatch, block):
    monkeypatch.setattr("napari_metastructure.labels.randomized.BLOCK", block)
    labels = np.array([[0, 255, 1, 0], [0, 0, 1, 255]])
    rng = np.random.default_rng(block)
    found = Counter(tuple(np.flatnonzero(flip(labels, 0.5, rng, exact=True) != labels)) for _ in range(2000))
    sets = list(combinations(np.flatnonzero(labels != 255), 3))
    assert set(found) <= set(sets)
    assert chisquare([found[s] for s in sets]).pvalue > 1e-3
