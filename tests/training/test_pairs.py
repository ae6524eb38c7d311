"""Images and labels belong together, and a set is split between images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_metastructure.errors import InputError
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.pairs import TrainingSet, check_values, pairs_of, read_pairs, split


def test_planes_of_a_stack_share_a_group():
    images = [np.arange(24).reshape(2, 3, 4), np.zeros((3, 4))]
    labels = [np.arange(24).reshape(2, 3, 4) % 2, np.ones((3, 4), int)]
    pairs = pairs_of(images, labels, ["stack", "flat"])
    assert [(p.name, p.group, p.shape) for p in pairs] == [
        ("stack [0]", "stack", (3, 4)),
        ("stack [1]", "stack", (3, 4)),
        ("flat", "flat", (3, 4)),
    ]
    np.testing.assert_array_equal(pairs[1].read_image(), images[0][1])
    np.testing.assert_array_equal(pairs[1].read_labels(), labels[0][1])


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"b: the image has 8 x 9 pixels \(Y x X\), its labels 8 x 8"):
        pairs_of([np.zeros((8, 8)), np.zeros((8, 9))], [np.zeros((8, 8), int)] * 2, ["a", "b"])
    with pytest.raises(InputError, match="2 images and 1 labels"):
        pairs_of([np.zeros((8, 8))] * 2, [np.zeros((8, 8), int)])


@given(st.lists(st.integers(1, 4), min_size=2, max_size=12), st.floats(0.01, 0.9), st.integers(0, 9))
def test_groups_stay_whole_and_one_is_left_to_train_on(planes, fraction, seed):
    images = [np.zeros((n, 4, 4)) for n in planes]
    pairs = pairs_of(images, [i.astype(int) for i in images])
    training, validation = split(pairs, fraction, seed)
    assert sorted(p.name for p in training + validation) == sorted(p.name for p in pairs)
    assert not {p.group for p in training} & {p.group for p in validation}
    assert training and validation
    again = split(pairs[::-1], fraction, seed)
    assert {p.name for p in again[1]} == {p.name for p in validation}
    enough = len(validation) >= fraction * len(pairs)
    assert enough or len({p.group for p in training}) == 1


def test_one_image_cannot_be_split_and_nothing_is_kept_where_nothing_is_asked():
    stack = pairs_of([np.zeros((5, 4, 4))], [np.zeros((5, 4, 4), int)])
    assert split(stack, 0.5, 0) == (stack, [])
    two = pairs_of([np.zeros((4, 4))] * 2, [np.zeros((4, 4), int)] * 2)
    assert split(two, 0.0, 0) == (two, [])


# ---- sets, and what the numbers in their labels mean -----------------------------------------------------


def labelled(*labels):
    """A set of images that vary, with these labels of 2 rows."""
    labels = [np.array([row, row]) for row in labels]
    return TrainingSet(pairs_of([np.arange(label.size, dtype=float).reshape(label.shape) for label in labels], labels))


@pytest.mark.parametrize(
    ("reading", "given", "read"),
    [
        ("foreground", [0, 7, 255], [0, 1, 255]),
        ("objects", [0, 7, 300], [0, 1, 1]),
        ("objects", [0, 255, 3], [0, 1, 1]),
        ("classes", [0, 7, 255], [0, 7, 255]),
        ("auto", [0, 7, 255], [0, 7, 255]),
        ("auto", [0, 255, 0], [0, 1, 0]),
        ("auto", [0, 65535, 0], [0, 1, 0]),
    ],
)
def test_labels_are_read_as_they_are_meant(reading, given, read):
    ((pair,), notes) = read_pairs(labelled(given).training, reading)
    assert pair.read_labels()[0].tolist() == read and not notes
    assert pair.values == tuple(sorted(set(read) - {255}))
    assert read_pairs([pair], "foreground") == ([pair], []), "what is settled stays"


@pytest.mark.parametrize(
    ("reading", "given", "why"),
    [
        ("classes", [0, 300, 1], "image 1: the label 300 is above 254"),
        ("classes", list(range(30)), "30 different numbers"),
        ("foreground", [0, 1, 2], "image 1: 2 different labels"),
        ("auto", [0, 1, 2, 3], "image 1: the 3 different labels of this set look like instance numbers"),
        ("auto", [0] * 8 + [128] * 8 + [255] * 8, "image 1: 255 stands beside 128, as in grey levels"),
        ("auto", [255, 255, 255], "every pixel is 255, unlabelled"),
    ],
)
def test_numbers_that_do_not_fit_the_reading_are_named(reading, given, why):
    with pytest.raises(InputError, match=why):
        labelled(given).check(TrainConfig(reading=reading))


def test_many_classes_are_read_if_they_are_listed():
    given = labelled(list(range(30)))
    pairs, _ = read_pairs(given.training, "auto", range(30))
    assert check_values(pairs, range(30)) == tuple(range(30))


def test_255_means_the_same_in_all_splits():
    partly, strip = labelled([0, 1, 255]).training, labelled([0, 0, 255]).training
    pairs, notes = read_pairs([*partly, *strip], "auto")
    assert [pair.read_labels()[0].tolist() for pair in pairs] == [[0, 1, 255], [0, 0, 255]]
    assert notes == ["image 1 (2): 255 is read as unlabelled, for others hold classes beside it."]
    pairs = [*labelled([0, 1, 1]).training, *strip]
    for reading in ("auto", "foreground"):
        with pytest.raises(InputError, match=r"image 1 \(2\) holds no other number than 0 and 255, image 1 holds"):
            read_pairs(pairs, reading)
    for reading, last in (("objects", 1), ("classes", 255)):
        assert read_pairs(pairs, reading)[0][1].read_labels()[0].tolist() == [0, 0, last]


def test_a_set_says_what_a_run_would_use_and_checks_it():
    given = labelled(*([0, 1, 1, 0] for _ in range(4)))
    kept = TrainConfig(validation_fraction=0.25)
    assert given.in_words(kept) == "3 images to train on, 1 to validate on (kept by Validation fraction)."
    assert given.in_words(TrainConfig(validation_fraction=0)) == "4 images to train on, none to validate on."
    own = TrainingSet(given.training[:1], given.training[1:3], test=5)
    assert own.in_words(kept) == "1 image to train on, 2 to validate on; 5 of a test split stay out."
    assert own.held(kept) == (given.training[:1], given.training[1:3])
    with pytest.raises(InputError, match="nothing to tell apart"):
        labelled([1, 1, 1]).check(kept)
