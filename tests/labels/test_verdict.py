"""The verdict: which classes are fused, how hard the rest is, and the words."""

import json

import numpy as np
import pytest

from napari_metastructure.labels.transition import (
    TransitionMatrix,
    estimate_transition_matrix,
    flipping_matrix,
    random_matrix,
    sampling_matrix,
)
from napari_metastructure.labels.verdict import pixels_needed, verdict


def closed(rows):
    return TransitionMatrix(tuple(range(len(rows))), np.array(rows, float))


def drawn(rows, shares, pixels=65536, seed=0):
    """An estimate from pixels that drew their labels from the rows."""
    rng = np.random.default_rng(seed)
    clean = rng.choice(len(shares), (1, pixels), p=shares)
    noisy = (rng.random((*clean.shape, 1)) > np.cumsum(np.array(rows, float), axis=1)[clean][..., :-1]).sum(-1)
    return estimate_transition_matrix(clean, noisy, tuple(range(len(rows))))


FUSED = [[0.98, 0.01, 0.01], [0, 0.5, 0.5], [0, 0.5, 0.5]]
MIXTURE = [[0.8, 0.1, 0.1], [0.45, 0.1, 0.45], [0.1, 0.1, 0.8]]
SUMS = [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]]  # first + second = third + fourth


@pytest.mark.parametrize(
    ("matrix", "count", "fused", "words"),
    [
        (flipping_matrix((0, 1), 0.45), 2, (), ["Rank 2 of 2: both classes remain", "Theorem 2", "by 0.1."]),
        (flipping_matrix((0, 1), 0.5), 1, ((0, 1),), ["Rank 1 of 2", "do not depend on the class", "nothing to learn"]),
        (random_matrix((0, 1, 2), {0: 0.5, 1: 0.3, 2: 0.2}), 1, ((0, 1, 2),), ["Rank 1 of 3", "nothing to learn"]),
        (flipping_matrix((0, 1), 0.8), 2, (), ["both classes remain", "swapped on average", "learns the inverse"]),
        (flipping_matrix((0, 1, 2), 0.8), 3, (), ["all 3 classes remain", "On classes 0, 1 and 2 another label"]),
        (sampling_matrix((0, 1), 0.1), 2, (), ["about 10 pixels", "by 1."]),
        (sampling_matrix((0, 1), 0), 0, (), ["Rank 0 of 2", "no label is left"]),
        (sampling_matrix((0, 1), {0: 1, 1: 0}), 1, (), ["only class 0 keeps labels", "nothing to learn"]),
        (sampling_matrix((0, 1, 2), {0: 1, 1: 0, 2: 1}), 2, (), ["Rank 2 of 3", "Class 1 keeps no label."]),
        (closed([[0.45, 0.45], [0.05, 0.05]]), 1, ((0, 1),), ["nothing to learn"]),  # alike among labelled pixels
        (closed([[1]]), 1, (), ["a single class"]),
        (closed(FUSED), 2, ((1, 2),), ["Rank 2 of 3", "1 and 2 have the same noisy labels and are fused"]),
        (closed(MIXTURE), 2, (), ["No two classes", "a density of its own", "a mixture of others"]),
        (closed(SUMS), 3, (), ["No two classes", "a mixture of some", "a mixture of others"]),
        (closed([[0.9, 0.1], [0.6, 0.4]]), 2, (), ["On class 1 another label is commoner than its own"]),
        (drawn(FUSED, [0.5, 0.3, 0.2]), 2, ((1, 2),), ["as far as 65536 labelled pixels tell", "1 and 2 have"]),
        (drawn(MIXTURE, [0.5, 0.3, 0.2]), 2, (), ["a density of its own", "mixture of some"]),
        (drawn([[0.5, 0.5]] * 2, [0.7, 0.3]), 1, ((0, 1),), ["Rank 1 of 2 as far as 65536 labelled pixels tell"]),
        (drawn([[0.55, 0.45], [0.45, 0.55]], [0.7, 0.3]), 2, (), ["as long as the noise does not depend on the place"]),
    ],
)  # fmt: skip
def test_how_many_remain_and_which_are_fused(matrix, count, fused, words):
    found = verdict(matrix)
    assert (found.distinguishable, found.fused) == (count, fused)
    assert found.classes == matrix.classes
    for text in words:
        assert text in found.sentence
    assert ("nothing to" in found.sentence) == (count < 2)
    assert (found.contrast is None) == (found.pixels is None) == (count < 2)


def test_a_label_commoner_by_chance_is_no_warning():
    """Both labels of class 1 are equally common, so in a drawn image one leads by chance."""
    for seed in range(20):
        matrix = drawn([[0.9, 0.1], [0.5, 0.5]], [0.7, 0.3], pixels=2000, seed=seed)
        assert "commoner" not in verdict(matrix).sentence
    assert "commoner" in verdict(drawn([[0.9, 0.1], [0.7, 0.3]], [0.7, 0.3])).sentence


def test_a_rare_class_joins_the_one_it_is_most_like_and_joins_no_others_together():
    counts = np.array([[9000, 1000, 0], [1000, 9000, 0], [1, 6, 0]])
    matrix = TransitionMatrix((0, 1, 2), counts[:, :-1] / counts.sum(1, keepdims=True), counts)
    table = TransitionMatrix((0, 1, 2), np.pad(matrix.matrix, ((0, 0), (0, 1))), np.pad(counts, ((0, 0), (0, 1))))
    found = verdict(table)
    assert (found.distinguishable, found.fused) == (2, ((1, 2),))


def test_many_classes_that_a_network_learns_wrongly_are_counted_instead_of_named():
    assert "On 6 classes another label is commoner than their own" in verdict(flipping_matrix(range(6), 0.9)).sentence


def test_classes_without_a_clean_pixel_are_left_out_and_named():
    found = verdict(estimate_transition_matrix(np.array([[0] * 50 + [1] * 50]), np.array([[0] * 50 + [7] * 50])))
    assert found.classes == (0, 1)
    assert found.distinguishable == 2
    assert "Class 7 has no clean pixel and is left out." in found.sentence


@pytest.mark.parametrize(("fraction", "pixels"), [(0.45, 198), (0.49, 4998), (0.25, 6), (0, 1)])
def test_pixels_needed_of_flipping(fraction, pixels):
    """4 * 2 p (1 - p) / (1 - 2 p)^2, one at least."""
    found = verdict(flipping_matrix((0, 1), fraction))
    assert found.pixels == pixels
    assert found.contrast == pytest.approx(1 - 2 * fraction)


@pytest.mark.parametrize("labelled", [1.0, 0.2])
def test_neighbourhoods_of_that_many_pixels_differ_by_two_standard_errors(labelled):
    rng = np.random.default_rng(0)
    first, second = np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.3, 0.2])
    n = round(pixels_needed(first, second, labelled) * labelled)
    shares = [rng.binomial(n, p, 20000) / n for p in (first[2], second[2])]  # the label that tells most
    difference = shares[1] - shares[0]
    assert difference.mean() / difference.std() == pytest.approx(2, rel=0.03)
    other = rng.binomial(n, first[0], 20000) / n - rng.binomial(n, second[0], 20000) / n
    assert other.mean() / other.std() < 2


def test_the_hardest_pair_is_named():
    found = verdict(closed([[1, 0, 0], [0, 0.6, 0.4], [0, 0.4, 0.6]]))
    assert "to tell 1 from 2, the hardest pair, by two" in found.sentence
    assert found.contrast == pytest.approx(0.2)
    assert found.pixels == pytest.approx(4 * 2 * 0.24 / 0.04, abs=1)
    apart = verdict(closed([[0.9, 0.1, 0], [0, 1, 0], [0, 0, 1]])).sentence
    assert apart.endswith("It takes a single pixel to tell 0 from 1, the hardest pair.")


def test_as_dict_is_json():
    found = json.loads(json.dumps(verdict(closed(FUSED)).as_dict(), allow_nan=False))
    assert found["fused"] == [[1, 2]]
    assert (found["distinguishable"], found["classes"]) == (2, [0, 1, 2])
