"""Noise transition matrices: closed forms against drawn labels, counts against scikit-learn."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binom, chi2_contingency
from sklearn.metrics import confusion_matrix

from napari_metastructure.errors import InputError
from napari_metastructure.labels.transition import (
    ALPHA,
    TransitionMatrix,
    estimate_transition_matrix,
    flipping_matrix,
    from_counts,
    given_matrix,
    homogeneity,
    random_matrix,
    rank_of_counts,
    sampling_matrix,
    surplus,
)


def test_sampling_keeps_the_diagonal_and_leaves_the_rest_unlabelled():
    found = sampling_matrix((0, 2), {0: 0.25, 2: 1})
    assert found.matrix.tolist() == [[0.25, 0], [0, 1]]
    assert found.unlabelled.tolist() == [0.75, 0]
    assert (found.classes, found.counts, found.rank, found.p_value) == ((0, 2), None, 2, None)
    assert sampling_matrix((0, 1, 2), {0: 1, 1: 0, 2: 0.5}).rank == 2  # class 1 is lost


def test_flipping_overall_and_per_class():
    np.testing.assert_allclose(flipping_matrix((0, 1), 0.45).matrix, [[0.55, 0.45], [0.45, 0.55]])
    found = flipping_matrix((0, 1, 5), {0: 0, 1: 0.5, 5: 1})
    np.testing.assert_allclose(found.matrix, [[1, 0, 0], [0.25, 0.5, 0.25], [0.5, 0.5, 0]])
    np.testing.assert_array_equal(found.unlabelled, 0)


@pytest.mark.parametrize("size", range(2, 21))
def test_flipping_loses_all_rank_where_every_class_is_equally_likely_and_nowhere_else(size):
    assert flipping_matrix(range(size), (size - 1) / size).rank == 1
    for fraction in (0, 0.1, 0.9, 1):
        if abs(fraction - (size - 1) / size) > 1e-3:
            found = flipping_matrix(range(size), fraction)
            assert found.rank == size
            # Eigenvalues of a I + b J: 1 once, and 1 - p M / (M - 1) for the rest.
            contrast = abs(1 - fraction * size / (size - 1))
            np.testing.assert_allclose(sorted(found.singular_values)[:-1], contrast, atol=1e-12)


def test_random_labels_have_equal_rows():
    assert random_matrix((0, 1), 0.1).matrix.tolist() == [[0.9, 0.1]] * 2
    found = random_matrix((0, 1, 2), {0: 0.5, 1: 0.25, 2: 0.25})
    assert found.matrix.tolist() == [[0.5, 0.25, 0.25]] * 3
    assert found.rank == 1


def test_a_given_matrix_is_taken_as_it_is():
    rows = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0, 0, 1]]
    found = given_matrix((0, 1, 2), rows)
    np.testing.assert_allclose(found.matrix, rows)
    assert found.rank == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sampling_matrix((0, 1), 1.2), "fraction kept must lie between 0 and 1, not 1.2"),
        (lambda: sampling_matrix((0, 1), {0: 0.5}), "leaves out class 1"),
        (lambda: sampling_matrix((0, 1), {0: 0.5, 1: 1, 3: 1}), "names class 3, which is absent"),
        (lambda: flipping_matrix((0, 1), float("nan")), "not nan"),
        (lambda: flipping_matrix((1,), 0.5), "two classes at least"),
        (lambda: given_matrix((0, 1), [[1, 0]]), "must be square, not 1 x 2"),
        (lambda: given_matrix((0, 1), [0.5, 0.5]), "must be square, not 2;"),
        (lambda: given_matrix((0, 1, 2), np.eye(2)), "does not fit the classes 0, 1 and 2"),
        (lambda: given_matrix((0, 4), [[1, 0], [0.5, 0.4]]), "row of class 4 must add up to 1, not 0.9"),
        (
            lambda: given_matrix((0, 4), [[1, 0], [1.5, -0.5]]),
            "in the row of class 4 must lie between 0 and 1, not 1.5",
        ),
        (lambda: random_matrix((0, 1), -0.1), "must lie between 0 and 1, not -0.1"),
        (lambda: random_matrix((0, 1, 2), 0.5), "single probability is for two classes"),
        (lambda: random_matrix((0, 1), {0: 0.5, 1: 0.6}), "must add up to 1, not 1.1"),
    ],
)
def test_numbers_that_are_no_probabilities_are_named(make, words):
    with pytest.raises(InputError) as raised:
        make()
    assert words in str(raised.value)


labels = hnp.arrays(
    st.sampled_from([np.uint8, np.int16, np.uint16, np.int64]),
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    elements=st.sampled_from([0, 1, 3, 255]),
)


@given(labels, st.randoms(use_true_random=False))
def test_counts_agree_with_scikit_learn(clean, random):
    noisy = clean.copy().reshape(-1)
    random.shuffle(noisy)
    noisy = noisy.reshape(clean.shape).astype(np.uint16)
    if not ((clean != 255) & (noisy != 255)).any():
        with pytest.raises(InputError):
            estimate_transition_matrix(clean, noisy)
        return
    before = clean.copy(), noisy.copy()
    found = estimate_transition_matrix(clean, noisy, classes=(0, 1, 3))
    expected = confusion_matrix(clean.ravel(), noisy.ravel(), labels=[0, 1, 3, 255])[:3]
    np.testing.assert_array_equal(found.counts, expected)
    total = expected.sum(axis=1)
    for row, unlabelled, counts, n in zip(found.matrix, found.unlabelled, expected, total, strict=True):
        assert np.isnan(row).all() == (n == 0)
        if n:
            np.testing.assert_allclose([*row, unlabelled], counts / n)
    np.testing.assert_array_equal(clean, before[0])
    np.testing.assert_array_equal(noisy, before[1])


@given(st.integers(2, 5), st.floats(0, 1), st.integers(0, 99))
def test_an_estimate_comes_to_the_closed_form(size, fraction, seed):
    """Drawn here by comparing uniform numbers with cumulated probabilities, not by the package."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, size, (200, 200), dtype=np.uint8)
    exact = flipping_matrix(range(size), fraction)
    noisy = (rng.random((*clean.shape, 1)) > np.cumsum(exact.matrix, axis=1)[clean][..., :-1]).sum(-1)
    found = estimate_transition_matrix(clean, noisy, tuple(range(size)))
    # 40000 / size pixels a row; six standard errors of a share are at most 3 / sqrt(n).
    np.testing.assert_allclose(found.matrix, exact.matrix, atol=3 / np.sqrt(40000 / size * 0.9))


def test_classes_are_those_of_both_and_one_without_a_clean_pixel_has_no_row():
    clean, noisy = np.array([[0, 0, 1, 255]]), np.array([[0, 7, 255, 1]])
    found = estimate_transition_matrix(clean, noisy)
    assert found.classes == (0, 1, 7)
    np.testing.assert_array_equal(found.counts, [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found.known, [True, True, False])
    assert np.isnan(found.matrix[2]).all()
    assert np.isnan(found.unlabelled[2])
    assert (found.rank, len(found.singular_values)) == (1, 2)
    assert found.unlabelled[1] == 1


def test_labels_of_any_size_layout_and_dtype():
    clean = np.array([[0, 4_000_000_000], [70_000, 255]], np.uint32)
    found = estimate_transition_matrix(clean, np.array([[0, 70_000], [70_000, 0]], np.uint64))
    assert found.classes == (0, 70_000, 4_000_000_000)
    np.testing.assert_array_equal(found.counts, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]])
    mask = np.arange(24).reshape(2, 3, 4) % 3 == 0
    turned = estimate_transition_matrix(mask.T, mask.astype(np.int8).T)
    np.testing.assert_array_equal(turned.counts, [[16, 0, 0], [0, 8, 0]])


def test_counting_takes_little_memory():
    clean = np.zeros((2048, 2048), np.uint8)
    clean[::2] = 1
    tracemalloc.start()
    estimate_transition_matrix(clean, clean)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < clean.nbytes * 2


@pytest.mark.parametrize(
    ("clean", "noisy", "classes", "words"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3), int), None, "The clean labels: pixels of type float64 are no labels"),
        (np.zeros((2, 3), int), np.zeros((2, 3)), None, "The noisy labels: pixels of type float64 are no labels"),
        (np.zeros((2, 3), int), np.zeros((3, 2), int), None, "2 x 3 pixels (Y x X) but the noisy ones 3 x 2"),
        (np.full((2, 3), 255), np.zeros((2, 3), int), None, "The clean labels: every pixel is 255"),
        (np.zeros((2, 3), int), np.full((2, 3), 255), None, "The noisy labels: every pixel is 255"),
        (np.array([[0, 255]]), np.array([[255, 0]]), None, "No pixel is labelled in both"),
        (np.full((2, 3), -1), np.zeros((2, 3), int), None, "negative"),
        (
            np.array([[0, 1]]),
            np.array([[0, 2]]),
            (0, 1),
            "The noisy labels: the label 2 is none of the classes 0 and 1",
        ),
    ],
)
def test_labels_that_cannot_be_compared_are_named(clean, noisy, classes, words):
    with pytest.raises(InputError) as raised:
        estimate_transition_matrix(clean, noisy, classes)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_counts_of_several_images_add_up():
    a = estimate_transition_matrix(np.array([[0, 0, 1]]), np.array([[0, 1, 255]]), (0, 1))
    b = estimate_transition_matrix(np.array([[1, 1]]), np.array([[1, 1]]), (0, 1))
    both = from_counts((0, 1), a.counts + b.counts)
    np.testing.assert_allclose(both.matrix, [[0.5, 0.5], [0, 2 / 3]])


def test_as_dict_is_json_without_nan():
    found = estimate_transition_matrix(np.array([[0, 0, 1]]), np.array([[0, 7, 1]]))
    back = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert back["classes"] == [0, 1, 7]
    assert back["matrix"] == [[0.5, 0, 0.5], [0, 1, 0], [None] * 3]
    assert back["counts"] == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert back["unlabelled"] == [0, 0, None]
    closed = json.loads(json.dumps(random_matrix((0, 1), 0.5).as_dict()))
    assert (closed["counts"], closed["rank"], closed["p_value"]) == (None, 1, None)


def test_rounding_is_no_unlabelled_pixel():
    matrix = np.tile([0.7, 0.2, 0.1], (3, 1))
    assert (matrix.sum(axis=1) < 1).all()  # in floating point
    assert TransitionMatrix((0, 1, 2), matrix).unlabelled.tolist() == [0, 0, 0]


# The rank test: its p-value against scipy, its level and its power over hundreds of drawn tables.


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
    assert TransitionMatrix(tuple(range(len(matrix))), np.array(matrix, float)).rank == rank
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
