"""Checks and look-up tables of label arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_metastructure.errors import InputError
from napari_metastructure.labels.pixels import (
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
