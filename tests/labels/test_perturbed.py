from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.io import imread
from skimage.morphology import skeletonize

from napari_metastructure.errors import InputError
from napari_metastructure.labels import template
from napari_metastructure.labels.classes import as_classes
from napari_metastructure.labels.perturbed import closing, dilate, erode, opening, skeleton

SQUARE = np.ones((3, 3), bool)
STEPPED = [dilate, erode, opening, closing]
ALL = [*STEPPED, lambda labels, n: skeleton(labels)]
SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))

masks = hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 1))
classes_of_four = hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 1, 1, 2, 3]))
with_unlabelled = hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 0, 1, 1, 2, 7, 255]))
steps = st.integers(0, 5)


def neighbours(labels, y, x):
    return labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].ravel()


def dilate_pixel_by_pixel(labels, n):
    for _ in range(n):
        new = labels.copy()
        for y, x in np.argwhere(labels == 0):
            new[y, x] = min((v for v in neighbours(labels, y, x) if v not in (0, 255)), default=0)
        labels = new
    return labels


def erode_pixel_by_pixel(labels, n, by_classes=True):
    for _ in range(n):
        new = labels.copy()
        for y, x in np.argwhere(labels != 255):
            others = {v for v in neighbours(labels, y, x) if v not in (labels[y, x], 255)}
            if others if by_classes else 0 in others:
                new[y, x] = 0
        labels = new
    return labels


def blobs(seed=0, size=200, sigma=4, share=0.4):
    field = ndi.gaussian_filter(np.random.default_rng(seed).standard_normal((size, size)), sigma)
    return (field > np.quantile(field, 1 - share)).astype(np.uint8)


@given(masks, steps)
def test_one_class_is_what_scipy_makes_of_it(mask, n):
    if not n:
        assert (dilate(mask, 0) == mask).all() and (erode(mask, 0) == mask).all()
        return
    larger = ndi.binary_dilation(mask, SQUARE, n)
    smaller = ndi.binary_erosion(mask, SQUARE, n, border_value=1)
    np.testing.assert_array_equal(dilate(mask, n), larger)
    np.testing.assert_array_equal(erode(mask, n), smaller)
    np.testing.assert_array_equal(opening(mask, n), ndi.binary_dilation(smaller, SQUARE, n))
    np.testing.assert_array_equal(closing(mask, n), ndi.binary_erosion(larger, SQUARE, n, border_value=1))


@pytest.mark.parametrize("n", [1, 3, 8, 31])
def test_large_masks_are_cut_into_blocks_without_a_seam(n, monkeypatch):
    mask = blobs(size=300)
    monkeypatch.setattr(template, "BLOCK", 1000)
    np.testing.assert_array_equal(dilate(mask, n), ndi.binary_dilation(mask, SQUARE, n))
    np.testing.assert_array_equal(erode(mask, n), ndi.binary_erosion(mask, SQUARE, n, border_value=1))
    stack = np.stack([mask[:20], mask[20:40], mask[40:60]] * 5) * 3
    for function in STEPPED:
        np.testing.assert_array_equal(function(stack, n), [function(plane, n) for plane in stack])


@given(hnp.arrays(np.uint8, (60, 1), elements=st.sampled_from([0, 0, 0, 1, 1, 1, 4])), st.integers(1, 3))
def test_tall_planes_are_cut_into_blocks_without_a_seam(labels, n):
    whole = [function(labels, n) for function in STEPPED]
    size, template.BLOCK = template.BLOCK, 1
    try:
        for function, expected in zip(STEPPED, whole, strict=True):
            np.testing.assert_array_equal(function(labels, n), expected)
    finally:
        template.BLOCK = size


@given(with_unlabelled, steps)
def test_classes_follow_the_rules_pixel_by_pixel(labels, n):
    larger, smaller = dilate_pixel_by_pixel(labels, n), erode_pixel_by_pixel(labels, n)
    np.testing.assert_array_equal(dilate(labels, n), larger)
    np.testing.assert_array_equal(erode(labels, n), smaller)
    np.testing.assert_array_equal(opening(labels, n), dilate_pixel_by_pixel(smaller, n))
    np.testing.assert_array_equal(closing(labels, n), erode_pixel_by_pixel(larger, n, by_classes=False))


def test_the_lower_class_gets_what_both_reach_at_once():
    labels = np.array([[5, 0, 0, 0, 2]], np.uint8)
    np.testing.assert_array_equal(dilate(labels, 1), [[5, 5, 0, 2, 2]])
    np.testing.assert_array_equal(dilate(labels, 2), [[5, 5, 2, 2, 2]])
    # The farther one comes too late, whatever its number.
    labels = np.array([[5, 0, 0, 1, 1, 0, 9]], np.uint8)
    np.testing.assert_array_equal(dilate(labels, 3), [[5, 5, 1, 1, 1, 1, 9]])


def test_unlabelled_pixels_neither_grow_nor_yield_nor_erode():
    labels = np.array([[0, 255, 1, 255, 0, 0]], np.uint8)
    np.testing.assert_array_equal(dilate(labels, 9), labels)
    np.testing.assert_array_equal(erode(labels, 9), labels)
    np.testing.assert_array_equal(erode(np.array([[1, 1, 0, 255]]), 1), [[1, 0, 0, 255]])


def test_touching_classes_both_lose_their_side():
    labels = np.array([[1, 1, 1, 2, 2, 2]] * 3, np.uint8)
    np.testing.assert_array_equal(erode(labels, 1), [[1, 1, 0, 0, 2, 2]] * 3)
    np.testing.assert_array_equal(closing(labels, 2), labels)


@pytest.mark.parametrize("side", [np.s_[:4, :4], np.s_[-4:, -4:], np.s_[:, :1], np.s_[:1]])
def test_closing_and_opening_at_the_border_eat_nothing(side):
    labels = np.zeros((20, 20), np.uint8)
    labels[side] = 1
    np.testing.assert_array_equal(closing(labels, 3), labels)
    if min(labels[side].shape) > 1:
        np.testing.assert_array_equal(opening(labels, 3), labels)


@given(classes_of_four, st.integers(0, 4))
def test_growing_and_shrinking_are_what_their_names_say(labels, n):
    labelled = labels > 0
    larger, smaller = dilate(labels, n), erode(labels, n)
    assert (larger[labelled] == labels[labelled]).all()
    assert np.isin(smaller[labelled], [0]).sum() == (smaller != labels).sum()
    assert ((dilate(labels, n + 1) == larger) | (larger == 0)).all()
    assert ((erode(labels, n + 1) == smaller) | (erode(labels, n + 1) == 0)).all()
    assert (closing(labels, n)[labelled] == labels[labelled]).all()
    opened = opening(labels, n)
    assert ((opened == labels) | (opened == 0)).all()


@given(with_unlabelled, st.integers(0, 4))
def test_opening_and_closing_twice_is_once(labels, n):
    for function in (opening, closing):
        once = function(labels, n)
        np.testing.assert_array_equal(function(once, n), once)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    "dtype", [bool, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_type_shape_and_input_stay(function, dtype):
    labels = np.stack([blobs(1, 40), blobs(2, 40)])[None].astype(dtype)
    labels.setflags(write=False)
    before = labels.copy()
    result = function(labels, 2)
    assert result.dtype == (np.uint8 if dtype in (bool, np.int8) else dtype)
    assert result.shape == labels.shape
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(result, function(before.astype(np.uint8), 2))
    assert 0 < (result != labels).sum() < labels.size
    result[...] = 9
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("function", STEPPED)
def test_no_step_changes_nothing_and_copies(function):
    labels = blobs(3, 30)
    result = function(labels, 0)
    np.testing.assert_array_equal(result, labels)
    assert not np.shares_memory(result, labels)


@pytest.mark.parametrize("function", ALL)
def test_a_stack_is_its_planes(function):
    stack = np.stack([blobs(seed, 30) * (seed % 3 + 1) for seed in range(6)]).reshape(2, 3, 30, 30)
    stack[:, :, 4:7, 10:12] = 255
    result = function(stack, 2)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(result[index], function(stack[index], 2))
    np.testing.assert_array_equal(function(stack.swapaxes(0, 1), 2), result.swapaxes(0, 1))
    np.testing.assert_array_equal(function(stack[..., ::-2], 2), function(stack[..., ::-2].copy(), 2))


@pytest.mark.parametrize("function", ALL)
def test_large_label_values_are_classes_too(function):
    small = blobs(4, 60) * 2
    small[30:] //= 2
    small[:3] = 255
    large = np.array([0, 300, 2**40, *[0] * 252, 255])[small]
    np.testing.assert_array_equal(function(large, 2), np.array([0, 300, 2**40, *[0] * 252, 255])[function(small, 2)])
    # Without background, the lowest label is a class like others.
    blocks = np.kron([[1, 2], [2, 255]], np.ones((9, 9), int))
    names = np.array([0, 300, 2**40, *[0] * 252, 255])
    np.testing.assert_array_equal(function(names[blocks], 2), names[function(blocks, 2)])


@pytest.mark.parametrize("function", ALL)
def test_labels_that_say_nothing_stay(function):
    nothing = np.full((5, 6), 255, np.uint8)
    np.testing.assert_array_equal(function(nothing, 2), nothing)
    empty = np.zeros((5, 6), np.uint8)
    np.testing.assert_array_equal(function(empty, 2), empty)


@pytest.mark.parametrize("function", STEPPED)
def test_more_steps_than_pixels_end(function):
    labels = np.array([[0, 1, 2, 0], [0, 1, 255, 0], [0, 0, 0, 0]], np.uint8)
    np.testing.assert_array_equal(function(labels, 10**6), function(labels, 12))


def test_memory_is_that_of_the_result():
    labels = np.tile(blobs(size=256), (8, 8))
    for function in STEPPED:
        tracemalloc.start()
        function(labels, 3)
        assert tracemalloc.get_traced_memory()[1] < 2 * labels.size
        tracemalloc.stop()


@pytest.mark.parametrize("function", STEPPED)
@pytest.mark.parametrize("n", [-1, 1.5, None])
def test_a_count_that_is_none_is_refused(function, n):
    with pytest.raises(InputError, match="whole number from 0"):
        function(blobs(size=20), n)


@pytest.mark.parametrize("function", ALL)
def test_what_is_no_label_image_is_refused(function):
    with pytest.raises(InputError, match="float32 are no labels"):
        function(np.zeros((4, 4), np.float32), 1)
    with pytest.raises(InputError, match="negative"):
        function(np.full((4, 4), -1), 1)
    with pytest.raises(InputError, match="no image"):
        function(np.zeros(4, int), 1)


@pytest.mark.parametrize("function", STEPPED)
def test_classes_given_are_held_to(function):
    labels = np.array([[0, 1, 2, 255]] * 3, np.uint8)
    np.testing.assert_array_equal(function(labels, 1, (0, 1, 2, 3)), function(labels, 1))
    with pytest.raises(InputError, match="label 2 is none of the classes"):
        function(labels, 1, (0, 1))
    nothing = np.full((3, 3), 255, np.uint8)
    np.testing.assert_array_equal(function(nothing, 1, (0, 1)), nothing)


def test_instance_numbers_are_refused_where_they_are_no_classes():
    with pytest.raises(InputError, match="instance numbers"):
        dilate(np.arange(400).reshape(20, 20))


def test_a_skeleton_is_thinned_class_by_class():
    one = blobs(5, 120)
    two = one.copy()
    two[:, 60:] *= 2
    two[:2] = 255
    thin = skeleton(two)
    for value in (1, 2):
        np.testing.assert_array_equal(thin == value, skeletonize(two == value))
    np.testing.assert_array_equal(thin == 255, two == 255)
    np.testing.assert_array_equal(skeleton(one), skeletonize(one > 0))


def test_a_skeleton_is_one_pixel_wide():
    y, x = np.mgrid[:120, :120]
    disc = np.hypot(y - 40, x - 40) < 30
    tube = abs(np.hypot(y - 60, x - 110) - 50) < 4
    bars = (y > 90) & (y % 12 < 7) & (x < 55)
    for shape in (disc, tube, bars, disc | tube | bars):
        thin = skeleton(shape.astype(np.uint8)).astype(bool)
        assert thin.any() and not (thin & ~shape).any()
        assert not (thin[1:, 1:] & thin[:-1, 1:] & thin[1:, :-1] & thin[:-1, :-1]).any()
        assert ndi.label(thin, SQUARE)[1] == ndi.label(shape, SQUARE)[1]


@pytest.mark.parametrize("folder", ["er", "nuclei"])
def test_real_masks(real_images, folder):
    for path in sorted((real_images / folder / "masks").iterdir())[:3]:
        mask = as_classes(imread(path), "foreground")
        np.testing.assert_array_equal(dilate(mask, 3), ndi.binary_dilation(mask, SQUARE, 3))
        np.testing.assert_array_equal(erode(mask, 3), ndi.binary_erosion(mask, SQUARE, 3, border_value=1))
        np.testing.assert_array_equal(skeleton(mask), skeletonize(mask > 0))
        assert erode(mask, 2).sum() < opening(mask, 2).sum() <= mask.sum() <= closing(mask, 2).sum()
