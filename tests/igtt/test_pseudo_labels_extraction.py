"""Properties of EMS."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi
from skimage.morphology import skeletonize

from napari_metastructure.igtt.pseudo_labels import extract

masks = arrays(np.bool_, st.tuples(st.integers(3, 24), st.integers(3, 24)))
METHODS = ("none", "skeleton", "density")


@pytest.mark.parametrize("method", METHODS)
@given(mask=masks, keep=st.floats(0.05, 1), radius=st.integers(0, 4), seed=st.integers(0, 99))
def test_same_seed_same_label_and_the_mask_stays_as_it_was(method, mask, keep, radius, seed):
    before = mask.copy()
    first, second = (extract(mask, np.random.default_rng(seed), method, keep, radius) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(mask, before)
    assert first.dtype == np.uint8 and first.shape == mask.shape
    assert set(np.unique(first)) <= {0, 1, 255}


@given(mask=masks, keep=st.floats(0.05, 1))
def test_without_a_shift_density_labels_are_a_sample_of_the_mask(mask, keep):
    label = extract(mask, np.random.default_rng(0), "density", keep, 0)
    np.testing.assert_array_equal(label[label != 255], mask[label != 255])


@given(mask=masks, radius=st.integers(0, 4))
def test_a_density_label_is_found_within_the_radius(mask, radius):
    label = extract(mask, np.random.default_rng(0), "density", 1.0, radius)
    for value in (0, 1):
        distance = ndi.distance_transform_edt(mask != value) if (mask == value).any() else np.zeros(mask.shape)
        assert (label == value).sum() == 0 or distance[label == value].max() <= radius + 1


@given(mask=masks, radius=st.integers(0, 4))
def test_the_skeleton_stays_within_the_radius(mask, radius):
    label = extract(mask, np.random.default_rng(0), "skeleton", 1.0, radius)
    if label.any():
        distance = ndi.distance_transform_edt(~skeletonize(mask))
        assert distance[label == 1].max() <= radius + 1  # a shifted point lands on the nearest pixel
    assert not (label == 255).any()


@pytest.mark.parametrize("keep", [0.1, 0.6])
@pytest.mark.parametrize("half", [2, 12])
def test_density_keeps_the_width_and_samples_both_classes_alike(keep, half):
    mask = np.zeros((400, 400), bool)
    mask[200 - half : 200 + half + 1] = True
    label = extract(mask, np.random.default_rng(0), "density", keep, 2)
    assert np.mean(label != 255) == pytest.approx(keep, abs=0.01)
    # As many pixels cross the outline in one direction as in the other.
    expected = keep * mask.sum()
    assert (label == 1).sum() == pytest.approx(expected, abs=3 * expected**0.5)


def test_density_is_that_of_equation_8():
    mask = np.zeros((21, 21), bool)
    mask[:, :10] = True
    rng = np.random.default_rng(0)
    drawn = np.mean([extract(mask, rng, "density", 1.0, 3)[10] for _ in range(3000)], axis=0)
    assert (np.diff(drawn) <= 0.03).all() and drawn[0] == 1 and drawn[-1] == 0
    assert drawn[9] + drawn[10] == pytest.approx(1, abs=0.05)  # even about the outline
    assert 0.5 < drawn[9] < 0.75


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_mask_gives_no_foreground_and_a_full_one_no_background(method):
    rng = np.random.default_rng(0)
    assert not (extract(np.zeros((9, 9)), rng, method) == 1).any()
    full = extract(np.ones((9, 9)), rng, method, 1.0)
    assert (full == 1).any()
    if method != "skeleton":
        assert not (full == 0).any()
