"""Clean-up of label images: against scikit-image, by properties, and by cases that have one right answer."""

from inspect import signature

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage import morphology, segmentation
from skimage.measure import label

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.regions import (
    CleanUp,
    Numbering,
    change_stack,
    clean_up,
    look_through,
    number_objects,
    result_of,
)

NUMBERS = arrays(
    np.int32, array_shapes(min_dims=2, max_dims=3, max_side=9), elements=st.sampled_from([-1, 0, 0, 1, 1, 2])
)
WANTED = st.builds(CleanUp, st.integers(0, 12), st.integers(0, 12), st.booleans())


def blobs(seed=0, shape=(96, 96)):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 4 - len(shape)) > -0.1


@settings(max_examples=300, deadline=None)
@given(NUMBERS, WANTED)
def test_twice_is_once(numbers, wanted):
    once = clean_up(numbers, wanted)
    np.testing.assert_array_equal(clean_up(once, wanted), once)


@settings(max_examples=300, deadline=None)
@given(NUMBERS, WANTED)
def test_nothing_is_added_but_small_holes_and_unlabelled_stays(numbers, wanted):
    cleaned = clean_up(numbers, wanted)
    assert ((cleaned == -1) == (numbers == -1)).all()
    without = clean_up(numbers, CleanUp(wanted.smallest_object))  # where a small object was may be a hole of another
    assert ((without == numbers) | (without == 0)).all()
    changed = cleaned != without
    assert (cleaned[changed & (without > 0)] == 0).all()
    added = changed & (without == 0)
    holes = label(without == 0, connectivity=1)
    for hole in np.unique(holes[added]):
        assert hole > 0
        assert (holes == hole).sum() < wanted.smallest_hole
    if not wanted.smallest_hole:
        assert not added.any()


@settings(max_examples=200, deadline=None)
@given(NUMBERS, st.integers(0, 12))
def test_what_is_left_is_large_enough(numbers, least):
    left = number_objects(clean_up(numbers, CleanUp(least)))
    assert (np.bincount(left.ravel())[1:] >= least).all()


@pytest.mark.parametrize("shape", [(96, 96), (12, 40, 40)])
def test_masks_are_what_scikit_image_makes_of_them(shape):
    mask = blobs(shape=shape)
    numbers = mask.astype(np.int32)
    n = mask.ndim
    newer = (
        "max_size" in signature(morphology.remove_small_objects).parameters
    )  # before 0.26: the least size that stays
    objects, holes = ({"max_size": 19}, {"max_size": 29}) if newer else ({"min_size": 20}, {"area_threshold": 30})
    kept = morphology.remove_small_objects(mask, connectivity=n, **objects)
    np.testing.assert_array_equal(clean_up(numbers, CleanUp(20)), kept)
    np.testing.assert_array_equal(clean_up(numbers, CleanUp(0, 0, True)), segmentation.clear_border(label(mask)) > 0)
    # scikit-image counts background in a corner as a hole too
    outside = label(np.pad(~mask, 1, constant_values=True), connectivity=1)
    outside = (outside == outside[(0,) * n])[(slice(1, -1),) * n]
    filled = morphology.remove_small_holes(mask, **holes) & ~outside
    np.testing.assert_array_equal(clean_up(numbers, CleanUp(0, 30)) > 0, filled | mask)
    assert (filled & ~mask).any()


def test_a_size_that_is_reached_stays():
    numbers = np.zeros((9, 9), int)
    numbers[1, 1:4] = numbers[5:7, 5:7] = 1
    assert clean_up(numbers, CleanUp(3)).sum() == 7
    assert clean_up(numbers, CleanUp(3.01)).sum() == 4


def test_holes_belong_to_what_surrounds_them():
    ring = np.zeros((7, 22), int)
    ring[1:6, 1:6] = 1
    ring[1:6, 8:13] = 1
    ring[1:6, 15:20] = 1
    ring[3, [3, 10, 17]] = 0  # a hole in each
    ring[2, 10] = 2  # beside another class
    ring[2, 17] = -1  # beside something unknown
    filled = clean_up(ring, CleanUp(0, 5))
    assert filled[3, [3, 10, 17]].tolist() == [1, 0, 0]
    assert (filled != ring).sum() == 1


def test_touching_objects_stay_apart():
    nuclei = np.zeros((8, 12), int)
    nuclei[1:5, 1:5], nuclei[1:5, 5:7], nuclei[2:, 9:] = 70_000, 12, 9
    assert np.unique(clean_up(nuclei, CleanUp(9))).tolist() == [0, 9, 70_000]
    assert np.unique(clean_up(nuclei, CleanUp(0, 0, True))).tolist() == [0, 12, 70_000]
    assert number_objects(nuclei).max() == 3


@pytest.mark.parametrize("size", [-1, np.nan, np.inf])
def test_a_size_that_is_none(size):
    with pytest.raises(InputError, match="smallest hole must be a size from 0"):
        CleanUp(0, size)


# ---- stacks ------------------------------------------------------------------------------------------------------


def through(labels, change=lambda numbers: numbers, volumes=False):
    stack = LabelStack(labels, "auto", instances=True)
    return stack.written(
        result_of(change_stack(result_of(look_through(stack, labels.shape, volumes)), change)), stack.meaning()
    )


def numbered(labels, volumes=False):
    blocks = result_of(look_through(LabelStack(labels, "foreground"), labels.shape, volumes))
    return result_of(change_stack(blocks, Numbering()))


@pytest.mark.parametrize(
    "labels",
    [
        np.array([[0, 255, 0]], np.uint8),  # a mask
        np.array([[0, 7, 255, 7]], np.uint16),  # a mask of another number, and unlabelled
        np.array([[0, 1, 2, 255, 3]], np.uint8),  # classes, and unlabelled
        np.arange(400)[:, None].repeat(3, 1),  # objects, 255 among them
    ],
)
def test_what_is_not_changed_is_written_as_it_was(labels):
    np.testing.assert_array_equal(through(labels), labels)


def test_of_labels_made_here_255_is_unlabelled():
    ours = np.array([[0, 3, 255]])
    stack = LabelStack(ours, "objects", ours=True, instances=True)
    assert stack.numbers(0).tolist() == [[0, 3, -1]]
    assert LabelStack(ours, "objects", instances=True).numbers(0).tolist() == [[0, 3, 255]]


def test_planes_by_themselves_and_together():
    stack = np.zeros((3, 6, 6), np.uint8)
    stack[:, 2, 2] = 255
    stack[1, 4, 4:] = 255
    cut = lambda numbers: clean_up(numbers, CleanUp(2))  # noqa: E731
    assert [int((plane > 0).sum()) for plane in through(stack, change=cut)] == [0, 2, 0]
    assert [int((plane > 0).sum()) for plane in through(stack, change=cut, volumes=True)] == [1, 3, 1]
    assert numbered(stack).max() == 4  # numbers are not used twice
    assert numbered(stack, volumes=True).max() == 2


def test_volumes_of_a_movie():
    movie = np.zeros((2, 3, 5, 5), np.uint8)
    movie[:, :, 2, 2] = 1
    assert numbered(movie, volumes=True).max() == 2
    assert numbered(movie).max() == 6


def test_a_single_slice_has_no_volume():
    with pytest.raises(InputError, match="single slice"):
        through(np.eye(3, dtype=int), volumes=True)


def test_each_plane_is_a_step():
    stack = np.eye(5, dtype=int)[None].repeat(4, 0)
    looking = look_through(LabelStack(stack, "auto"), stack.shape)
    assert [(event.done, event.of) for event in looking] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    blocks = result_of(look_through(LabelStack(stack, "auto"), stack.shape))
    assert [event.done for event in change_stack(blocks, number_objects)] == [1, 2, 3, 4]
