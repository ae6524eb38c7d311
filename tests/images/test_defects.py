"""Hot pixels and dead lines take the values around them; all else stays as it is."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_metastructure.images.defects import mended
from napari_metastructure.images.lazy import as_plane
from napari_metastructure.images.scenes import Scenes
from napari_metastructure.images.simulate import nuclei


@cache
def picture():
    image = nuclei((300, 128), np.random.default_rng(0))[0].astype(float)
    return (1000 * image / image.max() + 200).astype(np.uint16)


@given(seed=st.integers(0, 99), share=st.floats(0.00002, 0.002), bright=st.booleans())
def test_hot_pixels_take_the_median_around_them(seed, share, bright):
    rng, clean = np.random.default_rng(seed), picture().astype(np.float32)
    bad = rng.random(clean.shape) < share
    plane = np.where(bad, clean.max() + (1 if bright else -1) * 4 * np.ptp(clean), clean)
    found = mended(plane)
    np.testing.assert_array_equal(found[~bad], clean[~bad])
    np.testing.assert_array_equal(found[bad], ndi.median_filter(plane, 3, mode="nearest")[bad])
    if not bad.any():
        assert found is plane


@pytest.mark.parametrize("value", [0, 20000])
def test_lines_of_one_value_are_interpolated(value):
    clean = picture()
    plane = clean.copy()
    plane[100], plane[:, 40:42] = value, value
    found = mended(plane)
    good = np.ones(clean.shape, bool)
    good[100], good[:, 40:42] = False, False
    np.testing.assert_array_equal(found[good], clean[good])
    line = clean[[99, 101], :39].mean(axis=0)
    np.testing.assert_allclose(found[100, :39], line, atol=1)
    np.testing.assert_allclose(found[:99, 40], (clean[:99, 39] * 2.0 + clean[:99, 42]) / 3, atol=1)
    wide = clean.copy()
    wide[100:103] = value
    assert np.ptp(mended(wide)[100:103]) == 0


def test_small_spots_objects_and_backgrounds_of_one_value_are_none():
    y, x = np.indices((200, 200))
    spot = np.exp(-((y - 60.3) ** 2 + (x - 99.8) ** 2) / (2 * 0.85**2))  # as wide as a pixel and twice: Nyquist
    noise = np.random.default_rng(0).normal(100, 1, spot.shape)
    assert mended(noise + 1000 * spot)[60, 100] > 900
    for plane in (
        np.round(picture() / 400),
        np.where(picture() > 600, picture(), 0),
        np.random.default_rng(0).poisson(0.05, (200, 200)),
        np.zeros((9, 9)),
        np.full((9, 9), np.nan),
        np.eye(50),
        (np.hypot(y - 100, x - 100) < 4) * 1.0,
    ):
        assert mended(plane) is plane


def test_what_is_frequent_is_no_defect():
    plane, kind = picture().astype(float), np.random.default_rng(0).random(picture().shape)
    plane[kind < 0.007], plane[kind > 0.993] = 65000, -65000
    assert mended(plane) is plane


def test_scenes_have_none():
    scenes = Scenes(64, np.random.default_rng(3), stock=20)
    for plane, _ in (scenes.draw() for _ in range(60)):
        assert mended(plane) is plane


def test_values_that_are_none_and_large_planes():
    plane = picture().astype(np.float32)
    plane[:30, :30], plane[255], plane[256, 7], plane[5, 40] = np.nan, 0, 1e6, -1e6
    plane[90, 90], plane[95, 90] = np.inf, -np.inf
    found = mended(plane)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(plane))
    known = found[np.isfinite(found)]
    assert known.max() < 3000 and known.min() > 0
    lazy = mended(as_plane(plane))
    np.testing.assert_array_equal(np.asarray(lazy), found)
    np.testing.assert_array_equal(lazy[250:258, 3:9], found[250:258, 3:9])
    assert plane[256, 7] == np.float32(1e6)  # what was given is not changed


@given(seed=st.integers(0, 999), row=st.integers(1, 296), column=st.integers(1, 124), wide=st.integers(1, 2))
def test_it_is_the_same_however_the_image_lies_and_is_scaled(seed, row, column, wide):
    plane, rng = picture().astype(float), np.random.default_rng(seed)
    free = np.ones(plane.shape, bool)  # beside both lines five of nine pixels are dead
    free[max(0, row - 2) : row + 4], free[:, max(0, column - 2) : column + 4] = False, False
    plane.ravel()[rng.choice(np.flatnonzero(free), 9, replace=False)] = rng.choice([65000, -20000])
    plane[row : row + wide], plane[:, column : column + wide] = 0, 0  # they cross
    found = mended(plane)
    assert np.ptp(found) < 1200 and mended(found) is found
    for change in (np.flipud, np.fliplr, np.transpose, np.negative, lambda a: 4 * a, lambda a: a + 1024):
        np.testing.assert_allclose(mended(change(plane)), change(found))
    np.testing.assert_array_equal(np.asarray(mended(as_plane(plane))), found)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("lazy", [False, True])
def test_whole_numbers_are_rounded(dtype, lazy):
    plane = np.full((40, 40), 9, dtype)
    plane[::2, ::3] = 4
    plane[20:22], plane[:, 5] = 0, 0  # between 9 and 4, so that means are no whole numbers
    found = mended(as_plane(plane) if lazy else plane)
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found), mended(plane.astype(float)), atol=0.76)
    assert np.asarray(found).min() == 4


def test_a_hot_pixel_among_infinite_ones():
    plane = picture().astype(np.float32)
    plane[50, 50] = 1e6
    plane[51:54, 48:53], plane[50, 49], plane[49, 49] = np.inf, np.inf, np.inf
    assert mended(plane)[50, 50] < 3000
