"""Masks from the levels of the image, against trying every level by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_metastructure.igtt import levels as module
from napari_metastructure.igtt.levels import NEAR, SMOOTH, cut_at_level


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def sample(seed, shape=(70, 60)):
    """Blurred blobs in noise, and a probability that is shifted against them and misses some."""
    rng = np.random.default_rng(seed)
    truth = ndi.gaussian_filter(rng.standard_normal(shape), 4) > 0.05
    image = ndi.gaussian_filter(truth.astype(float), 1.5) + rng.normal(0, 0.05, shape)
    p = ndi.gaussian_filter(np.roll(truth, 1, axis=0).astype(np.float32), 1)
    return truth, image.astype(np.float32), p


@given(st.integers(0, 50))
def test_no_level_does_better(seed):
    _, image, p = sample(seed)
    found, curve = cut_at_level(p, image)
    near, blurred = ndi.binary_dilation(p > 0.5, iterations=NEAR), ndi.gaussian_filter(image, SMOOTH)
    best = max(dice(near & (blurred > t), p > 0.5) for t in np.unique(blurred[near]))
    assert dice(found, p > 0.5) > best - 0.005
    assert dice(found, p > 0.5) == pytest.approx(curve.scores.max(), abs=0.01)
    assert not found[~near].any()


def test_the_outline_is_that_of_the_image():
    truth, image, p = sample(0)
    assert dice(cut_at_level(p, image)[0], truth) > dice(p > 0.5, truth) + 0.02


@pytest.mark.parametrize("pixels", [1, 60 * 7, 60 * 33 + 5])
def test_blocks_make_no_difference(monkeypatch, pixels):
    _, image, p = sample(1)
    expected, curve = cut_at_level(p, image)
    monkeypatch.setattr(module, "PIXELS", pixels)
    found, again = cut_at_level(p, image)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(again.scores, curve.scores)


def test_dark_objects_are_bright_ones_turned_around():
    _, image, p = sample(2)
    np.testing.assert_array_equal(cut_at_level(p, 100 - image, objects="dark")[0], cut_at_level(p, image)[0])


def test_a_linear_change_of_the_image_changes_nothing():
    _, image, p = sample(3)
    assert np.mean(cut_at_level(p, 37 * image + 900)[0] != cut_at_level(p, image)[0]) < 0.002


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_nothing_above_one_half_is_nothing(value):
    found, curve = cut_at_level(np.full((20, 30), value, np.float32), np.random.default_rng(0).random((20, 30)))
    assert not found.any()
    assert np.isneginf(curve.scores).all()


def test_a_full_or_flat_plane_does_not_break():
    full, flat = np.ones((20, 30), np.float32), np.zeros((20, 30), np.float32)
    assert cut_at_level(full, np.random.default_rng(0).random((20, 30)))[0].mean() > 0.9
    assert cut_at_level(full, flat)[0].shape == (20, 30)


def test_it_can_be_left():
    def stop():
        raise KeyboardInterrupt

    _, image, p = sample(0)
    with pytest.raises(KeyboardInterrupt):
        cut_at_level(p, image, checkpoint=stop)
