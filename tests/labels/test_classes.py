"""Stacks of label planes read together as classes, and what their numbers mean."""

from collections.abc import Sequence

import numpy as np
import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import ArrayPlanes, LabelStack
from napari_metastructure.labels.pixels import (
    classes_in,
)


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
    assert LabelStack([np.array(labels)], reading).read(0).tolist() == expected


def test_instance_numbers_are_no_foreground():
    with pytest.raises(InputError, match=r"^Nuclei: 3 different labels besides 0 are not foreground and background"):
        LabelStack([np.array([[0, 1, 2, 3]])], "foreground", name="Nuclei").read(0)


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
    stack, whole = LabelStack(kind(labels), reading), LabelStack([labels], reading).read(0)
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


def test_grey_values_are_no_objects():
    """Whoever reads them: training, a comparison, or a layer of napari."""
    grey = np.random.default_rng(0).integers(0, 200, (2, 60, 60))
    with pytest.raises(InputError, match=r"^x holds the grey values of an image, not labels"):
        LabelStack(grey, "objects", name="x").meaning()
    assert LabelStack(grey, "classes").meaning().classes == tuple(range(200))
