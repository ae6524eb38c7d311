"""Images and labels belong together, a set is split between images, and its labels are read as they are meant."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_metastructure.errors import InputError
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.pairs import TrainingSet, pairs_of, split


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
    with pytest.raises(InputError, match=r"b: the image has 8 x 9 pixels, its labels 8 x 8"):
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


# ---- Sets


CONFIG = TrainConfig(validation_fraction=0.25)


def labelled(*labels, validation=None, files=()):
    """A set of images with these labels, each value in a part of an image."""

    def pairs(some, name):
        masks = [np.repeat(np.array(values), 128).reshape(-1, 16) for values in some]
        images = [np.random.default_rng(0).random(mask.shape) for mask in masks]
        made = pairs_of(images, masks, [f"{name}{i}" for i in range(len(masks))])
        return [replace(pair, files=tuple(Path(f) for f in files)) for pair in made]

    return TrainingSet(pairs(labels, "t"), None if validation is None else pairs(validation, "v"))


def values(given):
    return [np.unique(pair.read_labels()).tolist() for pair in given.pairs]


@pytest.mark.parametrize(
    ("labels", "reading", "expected"),
    [
        ([[0, 1], [0, 2]], "classes", [[0, 1], [0, 2]]),
        ([[0, 255], [255, 0]], "classes", [[0, 255], [0, 255]]),  # masks: what comes later knows them
        ([[0, 255]], "objects", [[0, 255]]),
        ([[0, 7], [7, 255]], "foreground", [[0, 1], [1, 255]]),
        ([[0, 7, 900], [0, 255]], "objects", [[0, 1], [0, 1]]),
        ([list(range(40))], "objects", [[0, 1]]),
    ],
)
def test_labels_are_read_as_they_are_meant(labels, reading, expected):
    assert values(labelled(*labels).read_as(reading)) == expected


@pytest.mark.parametrize(
    ("labels", "reading", "sentence"),
    [
        ([[0, 1], [0, 300]], "classes", "t1: the label 300 looks like an instance number"),
        ([list(range(22))], "classes", "hold 21 different numbers besides 0"),
        ([[0, 1], [0, 2]], "foreground", "t1: 2 different labels besides 0 are not foreground"),
    ],
)
def test_labels_that_are_meant_otherwise_are_named(labels, reading, sentence):
    with pytest.raises(InputError, match=sentence):
        labelled(*labels).read_as(reading)


def test_many_classes_are_classes_once_the_user_lists_them():
    given = labelled(list(range(22)))
    assert given.read_as("classes", classes=range(22)) is given


@pytest.mark.parametrize(("labels", "kept"), [([0, 1, 255], True), ([0, 7], False)])
def test_a_set_whose_labels_change_can_no_longer_be_repeated_from_its_files(labels, kept):
    given = labelled(labels, files=["a.tif", "b.tif"]).read_as("foreground")
    assert [bool(pair.files) for pair in given.pairs] == [kept]


def test_a_set_says_what_is_kept_to_validate_on():
    four = labelled(*[[0, 1]] * 4)
    training, validation = four.held(CONFIG)
    assert (len(training), len(validation)) == (3, 1)
    assert four.in_words(CONFIG) == "3 images to train on, 1 to validate on (kept by Validation fraction)."
    given = labelled([0, 1], validation=[[0, 1]] * 2)
    assert given.in_words(CONFIG) == "1 image to train on, 2 to validate on."
    assert replace(labelled([0, 1]), test=3).in_words(CONFIG) == (
        "1 image to train on, none to validate on; 3 of a test split stay out."
    )


def test_a_set_is_checked_whole():
    labelled([0, 1], [0, 1], validation=[[0, 255]]).check(CONFIG)
    with pytest.raises(InputError, match="v0: the label 2 is none of the classes 0 and 1"):
        labelled([0, 1], validation=[[0, 2]]).check(CONFIG)
    bad = labelled([0, 1])
    bad = bad.mapped(lambda pair: replace(pair, read_image=lambda: np.full(pair.shape, np.nan)))
    with pytest.raises(InputError, match=r"t0: .* NaN"):
        bad.check(CONFIG)


def test_a_set_of_another_kind_stays_one():
    @dataclass(frozen=True)
    class Layers(TrainingSet):
        rows: tuple = ()

    given = Layers(labelled([0, 5]).training, rows=(1, 2))
    assert given.read_as("objects").rows == (1, 2)


def test_a_set_can_be_left_while_it_is_read():
    def stop():
        raise KeyboardInterrupt

    for leave in (lambda s: s.read_as("classes", checkpoint=stop), lambda s: s.check(CONFIG, stop)):
        with pytest.raises(KeyboardInterrupt):
            leave(labelled([0, 1]))
