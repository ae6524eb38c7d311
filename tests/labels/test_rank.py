"""The rank test: its p-value against scipy, its level and its power over hundreds of drawn tables."""

import numpy as np
import pytest
from scipy.stats import binom, chi2_contingency

from napari_metastructure.labels.rank import ALPHA, homogeneity, rank_of_counts, rank_of_matrix, surplus

PIXELS = 256 * 256
FUSED = [[0.98, 0.01, 0.01], [0.01, 0.5, 0.49], [0.01, 0.5, 0.49]]
MIXTURE = [[0.8, 0.1, 0.1], [0.45, 0.1, 0.45], [0.1, 0.1, 0.8]]
PAIRS = [[0.7, 0.1, 0.1, 0.1]] * 2 + [[0.1, 0.1, 0.4, 0.4]] * 2
THREE_OF_FOUR = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4], [0.1, 0.1, 0.4, 0.4]]


def flip(size, fraction):
    matrix = np.full((size, size), fraction / (size - 1))
    np.fill_diagonal(matrix, 1 - fraction)
    return matrix


def tables(matrix, pixels, count, seed=0):
    """Counts of labels that each pixel draws from its class's row; what a row lacks of 1 is unlabelled."""
    rng = np.random.default_rng(seed)
    matrix = np.asarray(matrix, float)
    rows = np.column_stack([matrix, np.clip(1 - matrix.sum(axis=1), 0, 1)])
    rows /= rows.sum(axis=1, keepdims=True)
    drawn = np.stack([rng.multinomial(n, row, size=count) for n, row in zip(pixels, rows, strict=True)], axis=1)
    return drawn[..., :-1]


def share(*parts):
    return [round(PIXELS * p / sum(parts)) for p in parts]


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (4, 3), (2, 5)])
def test_rank_1_is_tested_as_pearson_does(shape):
    rng = np.random.default_rng(shape)
    for _ in range(20):
        table = rng.poisson(rng.uniform(200, 300, shape))
        expected = chi2_contingency(table, correction=False).pvalue
        assert surplus(table, 1) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("rank", "matrix", "pixels"),
    [
        (1, [[0.5, 0.5]] * 2, share(0.7, 0.3)),
        (1, [[0.9, 0.1]] * 2, share(0.7, 0.3)),
        (1, [[0.99, 0.01]] * 2, [PIXELS, 20]),
        (1, [[0.999, 0.001]] * 2, [PIXELS, 500]),
        (1, [[0.5, 0.5]] * 2, [PIXELS, 3]),
        (1, [[0.0005, 0.0005]] * 2, share(0.7, 0.3)),
        (1, [[0.9, 0.09, 0.009, 0.001]] * 4, [PIXELS, 300, 30, 5]),
        (2, FUSED, share(5, 3, 2)),
        (2, FUSED, share(98, 1, 1)),
        (2, FUSED, [PIXELS, 30, 10]),
        (2, [[1, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]], share(5, 3, 2)),
        (2, MIXTURE, share(5, 3, 2)),
        (2, PAIRS, share(4, 3, 2, 1)),
        (3, THREE_OF_FOUR, share(4, 3, 2, 1)),
        (3, THREE_OF_FOUR, [PIXELS, 3000, 300, 100]),
    ],
)
def test_the_rank_is_right_and_hardly_ever_too_high(rank, matrix, pixels):
    assert rank_of_matrix(np.array(matrix, float)) == rank
    found = [rank_of_counts(table)[0] for table in tables(matrix, pixels, 600)]
    assert max(found) <= rank + 1
    # 0.6 are expected at the level; more than 5 have a probability of 4e-5 (1e-3 at twice the level).
    assert sum(r > rank for r in found) <= 5
    assert sum(r < rank for r in found) == 0


@pytest.mark.parametrize(
    ("rank", "matrix", "pixels"),
    [(1, [[0.5, 0.5]] * 2, share(7, 3)), (2, FUSED, share(98, 1, 1)), (2, PAIRS, share(4, 3, 2, 1))],
)
def test_p_values_of_true_ranks_are_spread_evenly(rank, matrix, pixels):
    found = np.array([surplus(table.astype(float), rank) for table in tables(matrix, pixels, 1000)])
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(found < level) == pytest.approx(level, abs=5 * np.sqrt(level * (1 - level) / 1000))


@pytest.mark.parametrize(
    ("matrix", "pixels", "power"),
    [
        (flip(2, 0.49), share(5, 5), 0.93),  # 0.97 in 20000 tables: |z| > 3.3 where 5.1 is expected
        (flip(2, 0.49), share(61, 39), 0.91),  # 0.95
        (flip(2, 0.49), [16 * n for n in share(8, 2)], 1),
        (flip(2, 0.45), share(95, 5), 1),
        (flip(2, 0.2), [PIXELS, 40], 0.99),
        (np.eye(2), [PIXELS, 1], 1),
        (np.eye(2) * 0.001, share(7, 3), 0.99),
        (flip(3, 0.6), share(6, 3, 1), 1),
        (flip(4, 0.7), share(4, 3, 2, 1), 1),
        (flip(10, 0.8), [PIXELS] * 10, 1),
        (np.eye(19), [2**k for k in range(20, 1, -1)], 1),
    ],
)
def test_full_rank_is_found(matrix, pixels, power):
    found = [rank_of_counts(table) for table in tables(matrix, pixels, 300 if len(pixels) < 10 else 10)]
    assert np.mean([rank == len(pixels) for rank, _ in found]) >= power
    assert all((p < ALPHA) == (rank == len(pixels)) for rank, p in found)


def test_many_rare_classes_do_not_hide_the_common_ones():
    pixels = [int(2e6 / 2**k) for k in range(1, 20)]
    found = [rank_of_counts(table)[0] for table in tables(flip(19, 0.9), pixels, 20)]
    assert min(found) >= 10


def test_few_pixels_are_judged_by_a_bound_that_holds():
    """One row is as good as exact, so the other's pixels are binomial; a chi-square law would be wrong 50-fold."""
    for labelled in range(1, 6):
        table = np.array([[990_000, 10_000], [5 - labelled, labelled]])
        exact = binom.sf(labelled - 1, 5, 0.01)
        assert exact <= surplus(table, 1)
    assert surplus(table, 1) < 1e-4
    assert rank_of_counts(np.array([[990_000, 10_000], [4, 1]])) == (1, pytest.approx(0.4, abs=0.4))


def test_rows_and_columns_without_a_pixel_lose_a_rank():
    assert rank_of_counts(np.array([[900, 100, 0], [100, 900, 0], [0, 0, 0]]))[0] == 2
    assert rank_of_counts(np.array([[900, 0], [100, 0]])) == (1, None)
    assert rank_of_counts(np.array([[900, 100]])) == (1, None)
    assert rank_of_counts(np.diag([900, 100, 30]))[0] == 3


def test_tables_of_the_largest_images_lose_nothing():
    assert rank_of_counts(np.diag([10**12, 10**12])) == (2, 0)
    assert rank_of_counts(np.full((2, 2), 10**12)) == (1, 1)


def test_homogeneity_is_a_chi_square_test_of_two_rows():
    first, second = np.array([100, 200, 0, 50]), np.array([120, 190, 0, 80])
    expected = chi2_contingency([[100, 200, 50], [120, 190, 80]], correction=False).pvalue
    assert homogeneity(first, second) == pytest.approx(expected)
    assert homogeneity(first, np.zeros(4)) == 1
