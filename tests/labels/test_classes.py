"""Classes of label images: checks, values, codes, readings, and stacks of planes read together."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import (
    ArrayPlanes,
    LabelStack,
    as_classes,
    blocks,
    by_class,
    check_class_list,
    check_classes,
    check_labels,
    check_share,
    classes_in,
    encode,
    lookup,
    result_dtype,
    values_in,
)

INTEGERS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u2", ">i4"]


@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from([1, 200, 70_000, 2**25, 2**62]))
def test_values_are_those_that_numpy_finds(data, kind, top):
    top = min(top, np.iinfo(kind).max)
    shape = hnp.array_shapes(min_dims=2, max_dims=3, max_side=9)
    labels = data.draw(hnp.arrays(np.dtype(kind), shape, elements=st.integers(0, top)))
    seen = data.draw(st.sampled_from([labels, labels.T, labels[::-1, ::-1]]))
    assert values_in(seen) == tuple(np.unique(labels).tolist())


def test_values_of_several_blocks_and_an_odd_number_of_pixels():
    labels = np.zeros((1500, 1501), np.uint8)
    labels[-1, -1], labels[0, 0], labels[700, 4] = 200, 7, 255
    assert values_in(labels) == (0, 7, 200, 255)
    assert values_in(labels[::-1, ::-1]) == values_in(labels[:, ::2].T) == (0, 7, 200, 255)
    assert values_in(labels.astype(np.int64) * 9_000_000) == (0, 63_000_000, 1_800_000_000, 2_295_000_000)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((3, 3)), "float64.*convert them to integers"),
        (np.zeros((3, 3), complex), "complex128"),
        (np.array([["a"]]), "are no labels"),
        (np.zeros(3, int), r"\(3,\) is no image"),
        (np.zeros((0, 3), int), "there are no pixels"),
        (np.array([[0, -2]]), "the label -2 is negative"),
    ],
)
def test_what_is_no_label_image_is_refused(labels, words):
    with pytest.raises(InputError, match=f"^Cells: .*{words}"):
        check_labels(labels, "Cells")


def test_booleans_are_labels():
    labels = check_labels(np.array([[True, False]]))
    assert labels.dtype == np.uint8 and labels.tolist() == [[1, 0]]


def test_classes_leave_out_unlabelled():
    assert classes_in(np.array([[3, 255, 0]])) == (0, 3)
    with pytest.raises(InputError, match="every pixel is 255, unlabelled"):
        classes_in(np.full((2, 2), 255))
    assert len(classes_in(np.arange(254)[None])) == 254
    with pytest.raises(InputError, match="255 different labels look like instance numbers"):
        classes_in(np.arange(256)[None])


@pytest.mark.parametrize(
    ("labels", "reading", "expected"),
    [
        ([[0, 255]], "foreground", [[0, 1]]),
        ([[0, 255]], "classes", [[0, 1]]),
        ([[0, 7]], "foreground", [[0, 1]]),
        ([[0, 7, 255]], "foreground", [[0, 1, 255]]),
        ([[0, 7, 9]], "objects", [[0, 1, 1]]),
        ([[0, 7, 9, 255]], "classes", [[0, 7, 9, 255]]),
    ],
)
def test_readings(labels, reading, expected):
    assert as_classes(np.array(labels), reading).tolist() == expected


def test_instance_numbers_are_no_foreground():
    with pytest.raises(InputError, match=r"^Nuclei: 3 different labels besides 0 are not foreground and background"):
        as_classes(np.array([[0, 1, 2, 3]]), "foreground", "Nuclei")


def test_given_classes_have_to_hold_every_label():
    labels = np.array([[0, 2, 255]])
    assert check_classes(labels, None) == (0, 2)
    assert check_classes(labels, [0, 1, 2]) == (0, 1, 2)
    with pytest.raises(InputError, match="the label 2 is none of the classes 0 and 1; add it"):
        check_classes(labels, (0, 1))


def test_a_plane_without_labels_passes_only_where_it_may():
    empty = np.full((2, 2), 255)
    assert check_classes(empty, (0, 1), may_be_empty=True) == (0, 1)
    for classes, may_be_empty in (((0, 1), False), (None, True)):
        with pytest.raises(InputError, match="every pixel is 255"):
            check_classes(empty, classes, may_be_empty=may_be_empty)


@pytest.mark.parametrize("classes", [(), (1, 0), (0, 0), (0, 255), (-1, 0)])
def test_lists_that_are_none_of_classes(classes):
    with pytest.raises(InputError, match="must be ascending numbers from 0, each once, without 255"):
        check_class_list(classes)


def test_too_many_classes():
    with pytest.raises(InputError, match="255 classes are too many; 254 at most"):
        check_class_list(range(300, 555))


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_what_is_no_share(value):
    with pytest.raises(InputError, match=r"^The fraction must lie between 0 and 1, not "):
        check_share(value, "The fraction")


def test_shares_by_class():
    assert by_class(0.25, (0, 3), "The fraction").tolist() == [0.25, 0.25]
    assert by_class({3: 1, 0: 0}, (0, 3), "The fraction").tolist() == [0, 1]
    with pytest.raises(InputError, match="names class 1, which is absent; the classes are 0 and 3"):
        by_class({0: 0.1, 3: 0.1, 1: 0.1}, (0, 3), "The fraction")
    with pytest.raises(InputError, match="leaves out class 3; give a value for each of 0 and 3"):
        by_class({0: 0.1}, (0, 3), "The fraction")
    with pytest.raises(InputError, match="The fraction of class 3 must lie between 0 and 1, not 2"):
        by_class({0: 0.1, 3: 2}, (0, 3), "The fraction")


@pytest.mark.parametrize(("kind", "expected"), [("u1", "u1"), ("i1", "u1"), ("i2", "i2"), ("u8", "u8")])
def test_results_can_hold_255(kind, expected):
    assert result_dtype(np.zeros((1, 1), kind)) == np.dtype(expected)


def test_blocks_are_views_that_cover_every_pixel_once():
    labels = np.arange(77).reshape(7, 11)
    result = np.zeros_like(labels)
    for source, target in blocks(labels, result, size=10):
        assert source.size <= 10
        target += source
    np.testing.assert_array_equal(result, labels)


KINDS = ["u1", "u2", "i4", "i8", "u8", ">u2", ">i8"]


SCALES = [1, 3, 60, 4_000, 500_000_000, 2**61]


@pytest.mark.parametrize(("kind", "scale"), [(k, s) for k in KINDS for s in SCALES if 2 * s <= np.iinfo(k).max])
def test_codes_are_places_among_the_classes(kind, scale):
    values = np.array([0, 1, 2, 4], np.uint64) * np.uint64(scale)
    values = values[values <= np.iinfo(kind).max]
    labels = values[np.random.default_rng(0).integers(0, len(values), (5, 301))].astype(kind)
    labels[0, :2] = 255
    classes = [int(v) for v in values[:-1]]  # the greatest is no class
    expected = [[classes.index(v) if v in classes else 255 for v in row] for row in labels.tolist()]
    for order in "CF":
        codes = encode(np.asarray(labels, order=order), classes)
        assert codes.dtype == np.uint8
        np.testing.assert_array_equal(codes, expected)


def test_classes_beyond_the_labels_change_nothing():
    labels = np.array([[0, 70_000]])
    assert encode(labels, (0, 70_000, 2**40)).tolist() == [[0, 1]]
    assert encode(labels.astype(np.uint8) * 0, (0, 300)).tolist() == [[0, 0]]


def test_what_is_looked_up_keeps_its_type():
    start = lookup(np.array([[1, 9]]), (1, 9), np.array([10, 20]), -1)
    assert start(np.array([9, 1, 5])).tolist() == [20, 10, -1]


# ---- stacks


def values(*choices, shape=(3, 16, 16), dtype=np.uint8):
    return np.random.default_rng(0).choice(np.array(choices, dtype), shape)


class Counting(Sequence):
    """Planes of which it is noted when each is read; their sizes may differ."""

    def __init__(self, *planes):
        self.of, self.seen = list(planes), []

    def __len__(self):
        return len(self.of)

    def __getitem__(self, index):
        self.seen.append(index)
        return self.of[index]


class Lazy:
    """An array that is not in memory and is read plane by plane."""

    def __init__(self, data):
        self.data, self.shape, self.seen = np.asarray(data), np.shape(data), []

    def __getitem__(self, place):
        self.seen.append(place)
        assert len(place) == len(self.shape) - 2
        return self.data[place]


@pytest.mark.parametrize("kind", [np.asarray, Lazy, lambda labels: list(labels.reshape(-1, *labels.shape[-2:]))])
@pytest.mark.parametrize(
    ("labels", "reading"),
    [
        (values(0, 1), "foreground"),
        (values(0, 255), "foreground"),
        (values(0, 7), "foreground"),
        (values(0, 7, 255), "foreground"),
        (values(0, 1, 255), "foreground"),
        (values(0, 1, 2, 40, 255), "classes"),
        (values(0, 1, 300, dtype=np.uint16), "classes"),
        (values(0, 255), "classes"),
        (values(0, 1, 2**31 - 5, dtype=np.int32), "objects"),
        (values(0, 3, 255, 1000, dtype=np.int64), "objects"),
        (values(0, 1, shape=(2, 2, 8, 9)), "foreground"),
        (values(False, True, dtype=bool), "foreground"),
        (values(0, 5, shape=(8, 9)), "foreground"),
    ],
)
def test_planes_are_read_as_the_whole_would_be(labels, reading, kind):
    stack, whole = LabelStack(kind(labels), reading), as_classes(labels, reading)
    planes = whole.reshape(-1, *whole.shape[-2:])
    assert len(stack) == len(planes)
    assert stack.meaning().classes == classes_in(whole)
    for index, plane in enumerate(planes):
        found = stack.read(index)
        np.testing.assert_array_equal(found, plane)
        assert found.dtype == stack.meaning().dtype == (np.uint8 if whole.max() < 256 else np.uint16)
        assert not np.shares_memory(found, labels)
        alone, classes = stack.read_alone(index)
        np.testing.assert_array_equal(alone, plane)
        assert classes == tuple(v for v in np.unique(plane).tolist() if v != 255)


def test_a_plane_of_0_and_255_in_a_stack_that_says_more():
    """Alone it would be background and foreground; its stack says that 255 is unlabelled."""
    labels = np.zeros((2, 8, 8), np.uint8)
    labels[0, :4] = 255
    labels[1, :4] = 1
    for reading in ("foreground", "classes"):
        stack = LabelStack(labels, reading)
        assert stack.meaning().classes == (0, 1)
        np.testing.assert_array_equal(stack.read(0), labels[0])
        plane, classes = LabelStack(labels, reading).read_alone(0)
        np.testing.assert_array_equal(plane, labels[0])
        assert classes == (0,)


def test_other_planes_are_asked_only_in_memory_and_only_if_a_plane_is_not_clear():
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[0, :2] = 255
    labels[2, :2] = 7
    lazy = Lazy(labels)
    stack = LabelStack(lazy, "foreground")
    assert stack.read_alone(0)[0].max() == 1, "by itself it is a mask"
    assert stack.read_alone(2)[1] == (0, 1)
    assert set(lazy.seen) == {(0,), (2,)}


@pytest.mark.parametrize("reading", ["foreground", "objects", "classes"])
def test_in_labels_of_this_package_255_is_always_unlabelled(reading):
    labels = values(0, 255)
    stack = LabelStack(labels, reading, ours=True)
    assert stack.meaning().classes == (0,)
    np.testing.assert_array_equal(stack.read(1), labels[1])
    plane, classes = stack.read_alone(1)
    np.testing.assert_array_equal(plane, labels[1])
    assert classes == (0,)
    gone = np.full((4, 4), 255, np.uint8)
    assert LabelStack(gone, reading, ours=True).read_alone(0)[1] == ()
    with pytest.raises(InputError, match="every pixel is 255"):
        LabelStack(gone, reading, ours=True).meaning()


def test_planes_of_an_array_are_a_sequence():
    labels = values(0, 1, 2, shape=(2, 3, 4, 5))
    planes = ArrayPlanes(labels)
    np.testing.assert_array_equal(list(planes), labels.reshape(6, 4, 5))
    with pytest.raises(IndexError):
        planes[6]
    assert len(ArrayPlanes(labels[0, 0])) == 1


def test_planes_of_different_sizes_and_origin_are_read_together():
    mask, own = np.array([[0, 255, 255]], np.int32), np.array([[0, 255], [0, 0]], np.uint8)
    stack = LabelStack([mask, own], "foreground", ours=[False, True])
    assert stack.meaning().classes == (0, 1)
    assert [stack.read(i).tolist() for i in (0, 1)] == [[[0, 1, 1]], [[0, 255], [0, 0]]]
    stack = LabelStack([mask, own, np.array([[3]])], "foreground", ours=[False, True, False])
    assert [stack.read(i).tolist() for i in range(3)] == [[[0, 255, 255]], [[0, 255], [0, 0]], [[1]]]


@pytest.mark.parametrize(
    ("labels", "reading", "why"),
    [
        (np.arange(60).reshape(3, 4, 5), "foreground", "59 different labels besides 0"),
        (values(-1, 0, 1, dtype=np.int16), "classes", "the label -1 is negative"),
        (values(0.5, dtype=float), "objects", "type float64 are no labels"),
        (np.arange(3 * 256).reshape(3, 16, 16), "classes", "look like instance numbers"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_that_names_the_stack(labels, reading, why):
    with pytest.raises(InputError, match=f"^Cells: .*{why}"):
        LabelStack(labels, reading, name="Cells").meaning()


def test_messages_about_one_plane_name_it():
    stack = LabelStack([np.zeros((2, 2), int), np.array([[1, 2]])], "foreground", names=["a.tif", "b.tif"])
    with pytest.raises(InputError, match=r"^b\.tif: 2 different labels"):
        stack.read_alone(1)
    assert stack.read_alone(0)[1] == (0,)


def test_planes_are_looked_at_once_and_again_when_they_changed():
    planes = Counting(*values(0, 1))
    stack = LabelStack(planes, "classes")
    assert [done.done for done in stack.survey()] == [1, 2, 3]
    assert stack.meaning().classes == (0, 1)
    assert planes.seen == [0, 1, 2]
    planes.of[1] = planes.of[1] + 8
    stack.forget([1])
    assert stack.changes == 1
    assert stack.meaning().classes == (0, 1, 8, 9)
    np.testing.assert_array_equal(stack.read(1), planes.of[1])
    assert planes.seen == [0, 1, 2, 1], "the plane looked at last is at hand"
    stack.forget()
    stack.meaning()
    assert planes.seen == [0, 1, 2, 1, 0, 1, 2]


def test_other_planes_may_take_their_place():
    stack = LabelStack(values(0, 1), "classes")
    assert (stack.meaning().classes, stack.shape) == ((0, 1), (3, 16, 16))
    stack.forget(planes=values(0, 2, 255, shape=(8, 8)), ours=True)
    assert (stack.meaning().classes, stack.shape, len(stack)) == ((0, 2), (8, 8), 1)


def test_what_was_found_before_a_survey_was_stopped_is_kept():
    planes = Counting(*values(0, 1))
    stack = LabelStack(planes, "classes")
    for done in stack.survey():
        assert done.of == 3
        if done.done == 2:
            break
    assert planes.seen == [0, 1]
    assert len(list(stack.survey())) == 3
    assert planes.seen == [0, 1, 2]


def test_what_was_read_while_pixels_changed_is_not_kept():
    class Changing(Counting):
        def __getitem__(self, index):
            plane = super().__getitem__(index).copy()
            if len(self.seen) == 1:
                self.of[0] = self.of[0] + 5
                stack.forget([0])
            return plane

    planes = Changing(*values(0, 1, shape=(1, 4, 4)))
    stack = LabelStack(planes, "classes")
    assert stack.values_of(0) == (0, 1)
    assert stack.values_of(0) == (5, 6)
