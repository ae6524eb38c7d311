"""RCL and RL: what is drawn agrees with its probabilities, exact fractions are exact, and the rest stays."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chisquare

from napari_metastructure.errors import InputError
from napari_metastructure.labels import noise as module
from napari_metastructure.labels.noise import (
    DrawTable,
    choose_exactly,
    flip,
    flip_by_matrix,
    random_labels,
    random_words,
    sample,
)


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
    table = DrawTable(probability, codes)

    ends = np.rint(np.cumsum(probability, axis=1) * 2**32).astype(np.int64).ravel()
    words = np.concatenate([rng.integers(0, 2**32, 200), ends - 2, ends + 1, [0, 2**32 - 1]]).clip(0, 2**32 - 1)
    row = rng.integers(0, rows, words.size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "random_words", lambda n, _: words.astype(np.uint32))
        drawn = table.draw(table.starts[row], words.size, rng)
    expected = [by_hand(probability[r], codes[r], w) for r, w in zip(row.tolist(), words.tolist(), strict=True)]
    assert drawn.tolist() == expected


def test_never_and_always():
    table = DrawTable(np.array([[0, 1, 0], [0.5, 0.5, 0]]), np.tile(np.arange(3), (2, 1)))
    starts = table.starts
    rng = np.random.default_rng(0)
    assert set(table.draw(int(starts[0]), 100_000, rng).tolist()) == {1}
    assert set(table.draw(int(starts[1]), 100_000, rng).tolist()) == {0, 1}
    assert set(table.draw(int(starts[2]), 100_000, rng).tolist()) == {255}, "the last row is unlabelled"


def test_rounding_leaves_nothing_to_an_outcome_of_probability_0():
    row = np.full(11, 0.1)
    row[-1] = 0  # ten times 0.1 adds up to a little less than 1
    table = DrawTable(row[None], np.arange(11)[None])
    assert 10 not in table.cells and table.edges[9] == 2**32


def test_all_254_classes_can_be_drawn():
    table = DrawTable(np.full((1, 254), 1 / 254), np.arange(254)[None])
    found = np.bincount(table.draw(0, 508_000, np.random.default_rng(1)), minlength=256)
    assert not found[254:].any()
    assert chisquare(found[:254]).pvalue > 1e-3


@pytest.mark.parametrize("n", [1, 2, 1001])
def test_words_are_the_halves_of_the_generators_own(n):
    words = random_words(n, np.random.default_rng(3))
    raw = np.random.default_rng(3).bit_generator.random_raw((n + 1) // 2)
    halves = np.stack([raw & 0xFFFFFFFF, raw >> np.uint64(32)], axis=1).ravel()
    assert words.dtype == np.uint32 and words.tolist() == halves[:n].tolist()


@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.booleans())
def test_of_each_group_exactly_so_many_are_chosen(seed, classes, together):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, 300).astype(np.uint8)
    codes[rng.random(300) < 0.2] = 255
    shares = rng.random(1 if together else classes)
    chosen = choose_exactly(codes, shares, rng)
    assert not chosen[codes == 255].any()
    groups = [codes != 255] if together else [codes == c for c in range(classes)]
    for group, share in zip(groups, shares, strict=True):
        assert chosen[group].sum() == round(share * int(group.sum()))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_of_a_rare_class_exactly_so_many_are_chosen(share):
    """Places picked at random would hardly ever be of it."""
    rng = np.random.default_rng(0)
    codes = np.zeros(300_000, np.uint8)
    codes[rng.choice(codes.size, 250, replace=False)] = 1
    for _ in range(20):
        chosen = choose_exactly(codes, np.array([0.4, share]), rng)
        assert chosen[codes == 1].sum() == round(share * 250)
        assert chosen[codes == 0].sum() == round(0.4 * (codes == 0).sum())


@pytest.mark.parametrize("block", [2, 4, 1024])
def test_every_set_of_pixels_is_equally_likely(monkeypatch, block):
    monkeypatch.setattr("napari_metastructure.labels.noise.BLOCK", block)
    labels = np.array([[0, 255, 1, 0], [0, 0, 1, 255]])
    rng = np.random.default_rng(block)
    found = Counter(tuple(np.flatnonzero(flip(labels, 0.5, rng, exact=True) != labels)) for _ in range(2000))
    sets = list(combinations(np.flatnonzero(labels != 255), 3))
    assert set(found) <= set(sets)
    assert chisquare([found[s] for s in sets]).pvalue > 1e-3


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
def test_random_labels_of_probability_0_and_1(probability):
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
def test_bad_shapes_and_probabilities_get_one_sentence(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call(np.random.default_rng(0))
    assert "\n" not in str(caught.value)


KINDS = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u2"]


MATRIX = [[0.5, 0.3, 0.2], [0, 1, 0], [0.01, 0.09, 0.9]]


@st.composite
def clean(draw, least=1):
    """Labels of any integer dtype, number of axes and order in memory, read-only, some of them 255; their classes."""
    kind = np.dtype(draw(st.sampled_from(KINDS)))
    top = 1 if kind.kind == "b" else np.iinfo(kind).max
    known = [0, 1, 2, 3, 17, 100, 127, 128, 254, 300, 65_535, 70_000, 2_000_000_000]
    classes = sorted(draw(st.sets(st.sampled_from([k for k in known if k <= top]), min_size=least, max_size=6)))
    shape = draw(st.lists(st.integers(1, 4), max_size=2)) + draw(st.lists(st.integers(3, 30), min_size=2, max_size=2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.choice(np.array(classes, np.int64), shape).astype(kind)
    labels.ravel()[: len(classes)] = classes[: labels.size]
    if top >= 255 and draw(st.booleans()):
        labels[rng.random(shape) < 0.3] = 255
        labels.ravel()[: len(classes)] = classes
    seen = draw(st.sampled_from(["C", "F", "turned", "every second"]))
    if seen == "F":
        labels = np.asfortranarray(labels)
    elif seen == "turned":
        labels = np.ascontiguousarray(labels[..., ::-1, ::-1])[..., ::-1, ::-1]
    elif seen == "every second":
        labels = np.repeat(labels, 2, axis=-1)[..., ::2]
    labels.flags.writeable = False
    return labels, tuple(np.unique(labels[labels != 255]).tolist())


def cyclic(size: int, stay: float) -> np.ndarray:
    """A matrix that is not symmetric: what does not stay goes to the next class."""
    return stay * np.eye(size) + (1 - stay) * np.roll(np.eye(size), 1, axis=1)


RECIPES = {
    "sample": lambda labels, share, rng, classes: sample(labels, share, rng, classes),
    "flip": lambda labels, share, rng, classes: flip(labels, share, rng, classes),
    "exact": lambda labels, share, rng, classes: flip(labels, share, rng, classes, exact=True),
    "by class": lambda labels, share, rng, classes: flip(labels, dict.fromkeys(classes, share), rng, exact=True),
    "matrix": lambda labels, share, rng, classes: flip_by_matrix(labels, cyclic(len(classes), share), rng, classes),
}


@pytest.mark.parametrize("name", RECIPES)
@given(clean(least=2), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_what_holds_for_every_recipe(name, labels_and_classes, share, seed):
    labels, classes = labels_and_classes
    before = labels.copy()
    noisy = RECIPES[name](labels, share, np.random.default_rng(seed), classes)
    np.testing.assert_array_equal(labels, before)
    assert noisy.shape == labels.shape and not np.shares_memory(noisy, labels)
    assert noisy.dtype == (np.uint8 if labels.dtype.kind == "b" or labels.dtype == np.int8 else labels.dtype)
    assert (noisy[labels == 255] == 255).all()
    assert set(np.unique(noisy).tolist()) <= {*classes, 255}
    if name != "sample":
        assert (noisy[labels != 255] != 255).all()
    again = RECIPES[name](np.ascontiguousarray(labels), share, np.random.default_rng(seed), classes)
    np.testing.assert_array_equal(noisy, again, "the same seed gives the same, in whatever order pixels lie in memory")
    other = RECIPES[name](labels, 0.5, np.random.default_rng(seed + 1), classes)
    if (labels != 255).sum() > 300:
        assert (RECIPES[name](labels, 0.5, np.random.default_rng(seed), classes) != other).any(), "another seed"


@given(clean(), st.integers(0, 99))
def test_sampling_keeps_a_label_or_drops_it(labels_and_classes, seed):
    labels, classes = labels_and_classes
    keep = dict(zip(classes, np.linspace(0, 1, len(classes)), strict=True))
    noisy = sample(labels, keep, np.random.default_rng(seed))
    kept = noisy != 255
    np.testing.assert_array_equal(noisy[kept], labels[kept])
    assert not kept[labels == classes[0]].any(), "kept with probability 0"
    if len(classes) > 1:
        assert kept[labels == classes[-1]].all(), "kept with probability 1"


@given(clean(least=2), st.floats(0, 1), st.integers(0, 99))
def test_exactly_the_asked_number_is_flipped(labels_and_classes, fraction, seed):
    labels, classes = labels_and_classes
    noisy = flip(labels, fraction, np.random.default_rng(seed), exact=True)
    assert (noisy != labels).sum() == round(fraction * int((labels != 255).sum()))
    shares = {c: fraction / (1 + i) for i, c in enumerate(classes)}
    noisy = flip(labels, shares, np.random.default_rng(seed), exact=True)
    for c in classes:
        assert (noisy != labels)[labels == c].sum() == round(shares[c] * int((labels == c).sum()))


@given(st.sampled_from([0.0, 0.1, 0.45, 0.5, 0.9, 1.0]), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_fractions_are_those_asked_for(share, size, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, size, (2, 150, 200))
    labels[:, :20] = 255
    n = (labels != 255).sum()
    room = 6 * np.sqrt(share * (1 - share) * n)  # six standard deviations
    assert abs((sample(labels, share, rng)[:, 20:] != 255).sum() - share * n) <= room
    assert abs((flip(labels, share, rng) != labels).sum() - share * n) <= room


@pytest.mark.parametrize("exact", [False, True])
def test_fractions_of_each_class(exact):
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, (400, 400)).astype(np.uint8) * 9
    noisy = flip(labels, {0: 0.0, 9: 0.3, 18: 1.0}, rng, exact=exact)
    found = [(noisy != labels)[labels == c].mean() for c in (0, 9, 18)]
    assert found[0] == 0 and found[2] == 1
    assert found[1] == pytest.approx(0.3, abs=6 * np.sqrt(0.21 * 3) / 400)


@pytest.mark.parametrize("exact", [False, True])
def test_other_classes_are_chosen_uniformly(exact):
    labels = np.repeat(np.arange(5), 40_000).reshape(400, 500)
    noisy = flip(labels, 0.6, np.random.default_rng(6), exact=exact)
    for c in range(5):
        found = np.bincount(noisy[(labels == c) & (noisy != c)], minlength=5)
        assert found[c] == 0
        assert chisquare(np.delete(found, c)).pvalue > 1e-3


def rows_that_agree(noisy: np.ndarray, labels: np.ndarray, matrix: np.ndarray) -> list[bool]:
    """For each class, whether what it became agrees with its row by a chi-square test."""
    agree = []
    for c, row in enumerate(matrix):
        found, possible = np.bincount(noisy[labels == c], minlength=len(matrix)), row > 0
        if found[~possible].any():
            agree.append(False)
        else:
            expected = row[possible] * found.sum()
            agree.append(possible.sum() == 1 or bool(chisquare(found[possible], expected).pvalue > 1e-3))
    return agree


def test_rows_agree_with_the_matrix():
    labels = np.repeat(np.arange(3), 100_000).reshape(3, 250, 400).astype(np.uint16)
    noisy = flip_by_matrix(labels, MATRIX, np.random.default_rng(7))
    assert rows_that_agree(noisy, labels, np.array(MATRIX)) == [True, True, True]
    a_little_else = np.array([[0.49, 0.31, 0.2], [0.001, 0.999, 0], [0, 0.1, 0.9]])
    assert rows_that_agree(noisy, labels, a_little_else) == [False, False, False], "the test can fail"


def test_neighbours_are_independent():
    labels = np.zeros((500, 501), np.uint8)
    flipped = flip(labels, 0.5, np.random.default_rng(8), (0, 1)) == 1
    for a, b in [(flipped[1:], flipped[:-1]), (flipped[:, 1:], flipped[:, :-1])]:
        table = np.histogram2d(a.ravel(), b.ravel(), bins=2)[0]
        assert chisquare(table.ravel()).pvalue > 1e-3


@pytest.mark.parametrize("draw", [sample, flip])
def test_a_pixel_changed_stays_changed_as_the_share_grows(draw):
    labels = np.random.default_rng(9).integers(0, 4, (200, 200))
    changed = [draw(labels, share, np.random.default_rng(10)) != labels for share in (0.2, 0.3, 0.7)]
    if draw is sample:
        changed.reverse()
    assert (changed[0] <= changed[1]).all() and (changed[1] <= changed[2]).all()
    assert changed[0].sum() < changed[1].sum() < changed[2].sum()


def test_a_pixel_does_not_hear_of_the_others(monkeypatch):
    labels = np.random.default_rng(11).integers(0, 4, (100, 101))
    noisy = flip(labels, 0.5, np.random.default_rng(12))
    altered = labels.copy()
    altered[:50] = 3 - altered[:50]
    np.testing.assert_array_equal(flip(altered, 0.5, np.random.default_rng(12))[50:], noisy[50:])
    monkeypatch.setattr("napari_metastructure.labels.noise.BLOCK", 64)
    np.testing.assert_array_equal(flip(labels, 0.5, np.random.default_rng(12)), noisy, "nor of the size of blocks")


@pytest.mark.parametrize("name", RECIPES)
def test_numbers_of_classes_do_not_matter(name):
    codes = np.random.default_rng(13).integers(0, 3, (60, 60))
    values = np.array([4, 300, 2_000_000_000])
    expected = RECIPES[name](codes, 0.4, np.random.default_rng(1), (0, 1, 2))
    expected = np.where(expected == 255, 255, values[np.where(expected == 255, 0, expected)])
    found = RECIPES[name](values[codes], 0.4, np.random.default_rng(1), tuple(values.tolist()))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("exact", [False, True])
def test_classes_that_are_absent_can_be_flipped_to(exact):
    labels = np.zeros((50, 50), np.uint8)
    noisy = flip(labels, 0.5, np.random.default_rng(0), (0, 1, 2), exact=exact)
    assert set(np.unique(noisy)) == {0, 1, 2}


@pytest.mark.parametrize("name", ["sample", "flip", "exact", "matrix"])
def test_a_plane_without_labels_stays_as_it_is(name):
    labels = np.full((5, 6), 255, np.int16)
    noisy = RECIPES[name](labels, 0.5, np.random.default_rng(0), (0, 1))
    np.testing.assert_array_equal(noisy, labels)


def test_many_classes():
    labels = np.random.default_rng(0).permuted(np.tile(np.r_[0:254], 600)).reshape(400, -1).astype(np.uint8)
    rng = np.random.default_rng(1)
    assert (flip(labels, 0.5, rng, exact=True) != labels).sum() == labels.size // 2
    noisy = flip_by_matrix(labels, cyclic(254, 0), rng)
    np.testing.assert_array_equal(noisy, (labels.astype(int) + 1) % 254)
    with pytest.raises(InputError, match="look like instance numbers"):
        flip(np.arange(400).reshape(20, 20), 0.5, rng)


BINARY = np.array([[0, 1], [1, 255]])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: sample(np.zeros((2, 2)), 0.5, r), "pixels of type float64 are no labels"),
        (lambda r: flip(-BINARY, 0.5, r), "the label -255 is negative"),
        (lambda r: flip_by_matrix(np.zeros((0, 2), int), np.eye(2), r), "there are no pixels"),
        (lambda r: sample(np.full((2, 2), 255), 0.5, r), "every pixel is 255, unlabelled"),
        (lambda r: sample(BINARY, 1.5, r), "must lie between 0 and 1, not 1.5"),
        (lambda r: sample(BINARY, {0: 0.1, 1: -1}, r), "of class 1 must lie between 0 and 1, not -1"),
        (lambda r: sample(BINARY, {0: 0.1, 1: 0.1, 7: 0.1}, r), "names class 7, which is absent"),
        (lambda r: flip(BINARY, {1: 0.1}, r), "leaves out class 0"),
        (lambda r: flip(BINARY, float("nan"), r), "must lie between 0 and 1, not nan"),
        (lambda r: flip(BINARY * 0, 0.5, r), "two classes at least; there is only class 0"),
        (lambda r: flip(BINARY * 0, 0.5, r, exact=True), "two classes at least; there is only class 0"),
        (lambda r: flip(BINARY, 0.5, r, (0, 2)), "the label 1 is none of the classes 0 and 2"),
        (lambda r: flip(BINARY, 0.5, r, (1, 0)), "must be ascending"),
        (lambda r: flip_by_matrix(BINARY, [[1, 0]], r), "must be square, not 1 x 2"),
        (lambda r: flip_by_matrix(BINARY, np.eye(3), r), "3 x 3 .* does not fit the classes 0 and 1"),
        (lambda r: flip_by_matrix(BINARY, [[0.9, 0.2], [0, 1]], r), "row of class 0 must add up to 1, not 1.1"),
        (
            lambda r: flip_by_matrix(BINARY, [[1, 0], [1.5, -0.5]], r),
            "row of class 1 must lie between 0 and 1, not 1.5",
        ),
    ],
)
def test_bad_labels_and_shares_get_one_sentence(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call(np.random.default_rng(0))
    assert "\n" not in str(caught.value)


def test_rows_may_be_off_by_rounding():
    noisy = flip_by_matrix(BINARY, [[1 - 5e-7, 0], [0, 1 + 5e-7 - 1e-6]], np.random.default_rng(0))
    np.testing.assert_array_equal(noisy, BINARY)
