from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.io import imread
from skimage.measure import label

from napari_metastructure.errors import InputError
from napari_metastructure.labels import components, template
from napari_metastructure.labels.classes import as_classes
from napari_metastructure.labels.objects import perturb_objects, random_steps

SQUARE = np.ones((3, 3), bool)
SHAPES = st.tuples(st.integers(1, 16), st.integers(1, 16))
masks = hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 0, 1]))
several = hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 0, 1, 1, 3, 255]))
seeds = st.integers(0, 2**32)


class Given:
    """A generator that draws what it was given."""

    def __init__(self, *steps):
        self.steps = steps

    def integers(self, low, high, size):
        assert size == len(self.steps) and low <= min(self.steps) and max(self.steps) < high
        return np.array(self.steps)


def squares(side=9, gap=12, count=12):
    """Objects in rows, far apart."""
    one = np.pad(np.ones((side, side), np.uint8), gap)
    return np.tile(one, (count, count))


def numbered(plane):
    """scikit-image's numbers of the objects, class by class; from 1, in the order of their first pixels."""
    return label(np.where(plane == 255, 0, plane), background=0, connectivity=2)


@given(masks, st.integers(1, 4), seeds)
def test_every_object_of_a_mask_takes_its_own_steps(mask, n, seed):
    numbers = numbered(mask)
    drawn = np.random.default_rng(seed).integers(-n, n + 1, size=numbers.max())
    expected = np.zeros(mask.shape, bool)
    for number, step in enumerate(drawn, 1):
        thing = numbers == number
        if step > 0:
            thing = ndi.binary_dilation(thing, SQUARE, step)
        elif step < 0:
            thing = ndi.binary_erosion(thing, SQUARE, -step, border_value=1)
        expected |= thing
    np.testing.assert_array_equal(perturb_objects(mask, n, np.random.default_rng(seed)), expected)


@given(several, seeds)
def test_objects_are_those_of_scikit_image(plane, seed):
    numbers = numbered(plane)
    steps = random_steps(plane, 100, np.random.default_rng(seed))
    drawn = np.random.default_rng(seed).integers(-100, 101, size=numbers.max())
    np.testing.assert_array_equal(steps, np.concatenate([[0], drawn])[numbers])


@pytest.mark.parametrize("strip", [1, 100, 5000])
def test_objects_across_strips_are_one(monkeypatch, strip):
    monkeypatch.setattr(components, "STRIP", strip)
    plane = np.random.default_rng(0).choice(np.array([0, 0, 0, 1, 2, 255], np.uint8), (150, 40))
    plane[:, 3] = 1
    numbers = numbered(plane)
    steps = random_steps(plane, 30_000, np.random.default_rng(1))
    drawn = np.random.default_rng(1).integers(-30_000, 30_001, size=numbers.max())
    np.testing.assert_array_equal(steps, np.concatenate([[0], drawn])[numbers])


def shrink_and_grow(plane, steps, n):
    """The rule in words, pixel by pixel: `steps` are those of each pixel's object."""
    result = plane.copy()
    for y, x in np.argwhere(steps < 0):
        far = -steps[y, x]
        # Without unlabelled pixels, eroding is a look at the whole window.
        window = plane[max(0, y - far) : y + far + 1, max(0, x - far) : x + far + 1]
        if (window != plane[y, x]).any():
            result[y, x] = 0
    growing = np.zeros(plane.shape, bool)
    for left in range(n, 0, -1):
        growing |= steps >= left
        new, new_growing = result.copy(), growing.copy()
        for y, x in np.argwhere(result == 0):
            here = np.s_[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            if growing[here].any():
                new[y, x] = result[here][growing[here]].min()
                new_growing[y, x] = True
        result, growing = new, new_growing
    return result


@given(hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 0, 1, 3])), st.integers(1, 4), seeds)
def test_classes_collide_by_the_rule(plane, n, seed):
    steps = random_steps(plane, n, np.random.default_rng(seed)).astype(int)
    expected = shrink_and_grow(plane, steps, n)
    np.testing.assert_array_equal(perturb_objects(plane, n, np.random.default_rng(seed)), expected)


def test_who_gets_a_pixel_on_small_examples():
    between = np.array([[2, 0, 0, 0, 1]], np.uint8)
    np.testing.assert_array_equal(perturb_objects(between, 3, Given(3, 3)), [[2, 2, 1, 1, 1]])
    np.testing.assert_array_equal(perturb_objects(between, 3, Given(3, 2)), [[2, 2, 2, 1, 1]])
    np.testing.assert_array_equal(perturb_objects(between, 3, Given(1, 3)), [[2, 1, 1, 1, 1]])
    np.testing.assert_array_equal(perturb_objects(between, 3, Given(1, 2)), [[2, 2, 1, 1, 1]])
    # What one has left in shrinking, another can take.
    touching = np.array([[2, 2, 2, 1, 1, 1]], np.uint8)
    np.testing.assert_array_equal(perturb_objects(touching, 2, Given(1, -2)), [[2, 2, 2, 2, 0, 1]])
    np.testing.assert_array_equal(perturb_objects(touching, 2, Given(2, 2)), touching)


def test_unlabelled_pixels_stop_growth_and_do_not_erode():
    labels = np.array([[1, 1, 255, 0, 0], [1, 1, 255, 0, 0]], np.uint8)
    np.testing.assert_array_equal(perturb_objects(labels, 2, Given(2)), labels)
    np.testing.assert_array_equal(perturb_objects(labels, 2, Given(-2)), labels)


def test_all_steps_are_equally_likely():
    result = perturb_objects(squares(count=30), 3, np.random.default_rng(0))
    _, sizes = np.unique(numbered(result), return_counts=True)
    sides, counts = np.unique(np.sqrt(sizes[1:]), return_counts=True)
    assert sides.tolist() == [3, 5, 7, 9, 11, 13, 15]
    expected = 30 * 30 / 7
    assert ((counts - expected) ** 2 / expected).sum() < 22.5  # chi-square, 6 degrees of freedom, p = 0.001


def test_blocks_leave_no_seam(monkeypatch):
    field = ndi.gaussian_filter(np.random.default_rng(0).standard_normal((300, 120)), 4)
    labels = np.digitize(field, np.quantile(field, [0.5, 0.8])).astype(np.uint8)
    labels[50:60, 20:90] = 255
    whole = perturb_objects(labels, 4, np.random.default_rng(1))
    monkeypatch.setattr(template, "BLOCK", 500)
    np.testing.assert_array_equal(perturb_objects(labels, 4, np.random.default_rng(1)), whole)


@given(several, st.integers(0, 5), seeds)
def test_same_seed_same_result_and_the_rest_stays(labels, n, seed):
    labels.setflags(write=False)
    before = labels.copy()
    result = perturb_objects(labels, n, np.random.default_rng(seed))
    np.testing.assert_array_equal(result, perturb_objects(labels, n, np.random.default_rng(seed)))
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(result == 255, labels == 255)
    assert result.dtype == np.uint8 and set(np.unique(result)) <= {0, *np.unique(labels)}
    if not n:
        np.testing.assert_array_equal(result, labels)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int32, np.uint64])
def test_any_integers_and_stacks(dtype):
    stack = np.stack([squares(5, 6, 3), squares(6, 5, 4)[:51, :51]]).astype(dtype)
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    result = perturb_objects(stack, 2, rng)
    assert result.dtype == (np.uint8 if dtype in (bool, np.int8) else dtype) and result.shape == stack.shape
    np.testing.assert_array_equal(result, [perturb_objects(plane, 2, again) for plane in stack])
    if np.iinfo(result.dtype).max > 255:
        large = perturb_objects(stack * dtype(700), 2, np.random.default_rng(3))
        np.testing.assert_array_equal(large, result * dtype(700))


def test_more_steps_than_a_byte_holds():
    labels = np.zeros((500, 3), np.uint8)
    labels[0] = 1
    assert perturb_objects(labels, 300, Given(200)).sum() == 3 * 201
    assert perturb_objects(labels, 300, Given(-200)).sum() == 0


def test_wrong_input_is_refused():
    rng = np.random.default_rng()
    with pytest.raises(InputError, match="whole number from 0, not -2"):
        perturb_objects(squares(), -2, rng)
    with pytest.raises(InputError, match="float64 are no labels"):
        perturb_objects(squares() * 1.0, 2, rng)


def test_real_masks(real_images):
    for path in sorted((real_images / "nuclei" / "masks").iterdir())[:5]:
        mask = as_classes(imread(path), "foreground")
        result = perturb_objects(mask, 2, np.random.default_rng(0))
        numbers = numbered(mask)
        drawn = np.random.default_rng(0).integers(-2, 3, size=numbers.max())
        assert (result[np.isin(numbers, np.flatnonzero(drawn >= 0) + 1)] == 1).all()
        assert 0.5 * mask.sum() < result.sum() < 2 * mask.sum()
