"""Properties of EMS."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi
from skimage.morphology import skeletonize

from napari_metastructure.igtt.extraction import extract

masks = arrays(np.bool_, st.tuples(st.integers(3, 24), st.integers(3, 24)))
METHODS = ("none", "skeleton", "width")


@pytest.mark.parametrize("method", METHODS)
@given(mask=masks, keep=st.floats(0.05, 1), radius=st.integers(0, 4), seed=st.integers(0, 99))
def test_same_seed_same_label_and_the_mask_stays_as_it_was(method, mask, keep, radius, seed):
    before = mask.copy()
    first, second = (extract(mask, np.random.default_rng(seed), method, keep, radius) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(mask, before)
    assert first.dtype == np.uint8 and first.shape == mask.shape
    assert set(np.unique(first)) <= {0, 1, 255}


@given(mask=masks, keep=st.floats(0.05, 1), radius=st.integers(0, 4))
def test_width_labels_are_a_sample_of_the_mask(mask, keep, radius):
    label = extract(mask, np.random.default_rng(0), "width", keep, radius)
    assert mask[label == 1].all()
    assert not mask[label == 0].any()


@given(mask=masks, radius=st.integers(0, 4))
def test_the_skeleton_stays_within_the_radius(mask, radius):
    label = extract(mask, np.random.default_rng(0), "skeleton", 1.0, radius)
    if label.any():
        distance = ndi.distance_transform_edt(~skeletonize(mask))
        assert distance[label == 1].max() <= radius + 1  # a shifted point lands on the nearest pixel
    assert not (label == 255).any()


@pytest.mark.parametrize("keep", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("half", [2, 5, 12])
def test_width_samples_both_classes_at_about_the_same_rate_whatever_the_width(keep, half):
    mask = np.zeros((400, 400), bool)
    mask[200 - half : 200 + half + 1, 20:380] = True
    label = extract(mask, np.random.default_rng(0), "width", keep, 1)
    assert np.mean(label[~mask] == 0) == pytest.approx(keep, abs=0.02)
    # Points may fall on one another, so the foreground's rate lies below the number of points.
    assert keep / 2 <= np.mean(label[mask] == 1) <= 1.3 * keep


def test_width_reaches_the_edge_of_an_object_and_the_skeleton_does_not():
    mask = np.zeros((120, 120), bool)
    mask[50:71, 10:110] = True
    rims = mask & ~ndi.binary_erosion(mask, iterations=3)
    rng = np.random.default_rng(0)
    assert np.mean(extract(mask, rng, "width", 0.5, 1)[rims] == 1) > 0.05
    assert np.mean(extract(mask, rng, "skeleton", 1.0, 1)[rims] == 1) < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_mask_gives_no_foreground_and_a_full_one_no_background(method):
    rng = np.random.default_rng(0)
    assert not (extract(np.zeros((9, 9)), rng, method) == 1).any()
    full = extract(np.ones((9, 9)), rng, method, 1.0)
    assert (full == 1).any()
    if method != "skeleton":
        assert not (full == 0).any()
