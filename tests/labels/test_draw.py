from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from napari_metastructure.labels import draw as module
from napari_metastructure.labels.draw import draw, draw_table, random_words


def by_hand(row: np.ndarray, codes: np.ndarray, word: int) -> int:
    """The outcome in whose share of the words from 0 to 2**32 a word lies."""
    for code, end in zip(codes, np.cumsum(row) / row.sum(), strict=True):
        if word < round(float(end) * 2**32):
            return int(code)
    return int(codes[np.flatnonzero(row)[-1]])


@given(st.integers(1, 7), st.integers(1, 6), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_word_gives_the_outcome_in_whose_share_it_lies(width, rows, sparse, seed):
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.full(width, 0.3), rows)
    if sparse:
        probability[:, rng.integers(width)] = 0
        probability[~probability.any(axis=1), 0] = 1
        probability /= probability.sum(axis=1, keepdims=True)
    codes = np.array([rng.permutation(width) for _ in range(rows)])
    table = draw_table(probability, codes)

    ends = np.rint(np.cumsum(probability, axis=1) * 2**32).astype(np.int64).ravel()
    words = np.concatenate([rng.integers(0, 2**32, 200), ends - 2, ends + 1, [0, 2**32 - 1]]).clip(0, 2**32 - 1)
    row = rng.integers(0, rows, words.size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "random_words", lambda n, _: words.astype(np.uint32))
        drawn = draw(table, table.row_starts()[row], words.size, rng)
    expected = [by_hand(probability[r], codes[r], w) for r, w in zip(row.tolist(), words.tolist(), strict=True)]
    assert drawn.tolist() == expected


def test_never_and_always():
    table = draw_table(np.array([[0, 1, 0], [0.5, 0.5, 0]]), np.tile(np.arange(3), (2, 1)))
    starts = table.row_starts()
    rng = np.random.default_rng(0)
    assert set(draw(table, int(starts[0]), 100_000, rng).tolist()) == {1}
    assert set(draw(table, int(starts[1]), 100_000, rng).tolist()) == {0, 1}
    assert set(draw(table, int(starts[2]), 100_000, rng).tolist()) == {255}, "the last row is unlabelled"


def test_rounding_leaves_nothing_to_an_outcome_of_probability_0():
    row = np.full(11, 0.1)
    row[-1] = 0  # ten times 0.1 adds up to a little less than 1
    table = draw_table(row[None], np.arange(11)[None])
    assert 10 not in table.cells and table.edges[9] == 2**32


def test_all_254_classes_can_be_drawn():
    table = draw_table(np.full((1, 254), 1 / 254), np.arange(254)[None])
    found = np.bincount(draw(table, 0, 508_000, np.random.default_rng(1)), minlength=256)
    assert not found[254:].any()
    assert chisquare(found[:254]).pvalue > 1e-3


@pytest.mark.parametrize("n", [1, 2, 1001])
def test_words_are_the_halves_of_the_generators_own(n):
    words = random_words(n, np.random.default_rng(3))
    raw = np.random.default_rng(3).bit_generator.random_raw((n + 1) // 2)
    halves = np.stack([raw & 0xFFFFFFFF, raw >> np.uint64(32)], axis=1).ravel()
    assert words.dtype == np.uint32 and words.tolist() == halves[:n].tolist()
