"""Masks that levels of the image and the probability agree upon, against trying every level by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_metastructure.igtt import levels as module
from napari_metastructure.igtt.levels import NEAR, SMOOTH, SURROUND, Levels


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def sample(seed, shape=(70, 60)):
    """Blurred blobs in noise, and a probability that is shifted against them and misses some."""
    rng = np.random.default_rng(seed)
    truth = ndi.gaussian_filter(rng.standard_normal(shape), 4) > 0.05
    image = ndi.gaussian_filter(truth.astype(float), 1.5) + rng.normal(0, 0.05, shape)
    p = ndi.gaussian_filter(np.roll(truth, 1, axis=0).astype(np.float32), 1)
    return truth, image.astype(np.float32), p


def best_level(g, p):
    """The best mask of all levels, and its Dice."""
    near = ndi.binary_dilation(p > 0.5, iterations=NEAR)
    masks = (near & (g >= t) for t in np.unique(g[near]))
    return max(((dice(m, p > 0.5), m) for m in masks), key=lambda pair: pair[0])


@given(st.integers(0, 50))
def test_it_is_the_vote_of_three_masks(seed):
    _, image, p = sample(seed)
    g = ndi.gaussian_filter(image, SMOOTH)
    (score, one), (_, two) = best_level(g, p), best_level(g - ndi.gaussian_filter(image, SURROUND), p)
    votes = sum(m.astype(float) for m in (one, two, p > 0.5))
    found, curve = Levels(image).cut(p)
    assert dice(found, ndi.gaussian_filter(votes, SMOOTH) > 1.5) > 0.985  # levels are 1/8192 apart
    assert curve.scores.max() == pytest.approx(score, abs=0.01)
    assert not found[~ndi.binary_dilation(p > 0.5, iterations=NEAR + 1)].any()


def test_the_outline_is_that_of_the_image():
    truth, image, p = sample(0)
    assert dice(Levels(image).cut(p)[0], truth) > dice(p > 0.5, truth) + 0.02


def test_uneven_light_is_no_object():
    truth, image, _ = sample(0, (120, 240))
    p = ndi.gaussian_filter(truth.astype(np.float32), 1)
    slope = np.linspace(0, 5, image.shape[1], dtype=np.float32)  # five times the height of an object
    found, curve = Levels(image + slope).cut(p)
    assert curve.scores.max() < 0.8  # one level of the image is no use
    assert dice(found, truth) > 0.9


@pytest.mark.parametrize("pixels", [1, 60 * 7, 60 * 33 + 5])
def test_blocks_make_no_difference(monkeypatch, pixels):
    _, image, p = sample(1)
    expected, curve = Levels(image).cut(p)
    monkeypatch.setattr(module, "PIXELS", pixels)
    found, again = Levels(image).cut(p)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(again.scores, curve.scores)


def test_dark_objects_are_bright_ones_turned_around():
    _, image, p = sample(2)
    differ = Levels(100 - image, "dark").cut(p)[0] != Levels(image).cut(p)[0]
    assert differ.mean() < 0.002  # levels are rounded


@pytest.mark.parametrize("change", [(37, 900), (-1, 0)])
def test_a_linear_change_of_the_image_changes_nothing(change):
    _, image, p = sample(3)
    factor, shift = change
    objects = "bright" if factor > 0 else "dark"
    assert np.mean(Levels(factor * image + shift, objects).cut(p)[0] != Levels(image).cut(p)[0]) < 0.002


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64])
def test_images_of_any_kind(dtype):
    _, image, p = sample(4)
    grey = np.clip(40 + 100 * image, 0, 255).astype(dtype)
    expected = Levels(grey.astype(np.float32)).cut(p)[0]
    np.testing.assert_array_equal(Levels(grey).cut(p)[0], expected)
    assert expected.any()


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_nothing_above_one_half_is_nothing(value):
    found, curve = Levels(np.random.default_rng(0).random((20, 30))).cut(np.full((20, 30), value, np.float32))
    assert not found.any()
    assert np.isneginf(curve.scores).all()


def test_a_full_or_flat_plane_does_not_break():
    full, flat = np.ones((20, 30), np.float32), np.zeros((20, 30), np.float32)
    assert Levels(np.random.default_rng(0).random((20, 30))).cut(full)[0].mean() > 0.9
    assert Levels(flat).cut(full)[0].shape == (20, 30)


def test_it_can_be_left():
    asked = []

    def stop():
        asked.append(1)
        if len(asked) > 1:
            raise KeyboardInterrupt

    _, image, p = sample(0)
    levels = Levels(image, checkpoint=stop)
    with pytest.raises(KeyboardInterrupt):
        levels.cut(p)
