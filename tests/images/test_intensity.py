"""What a network sees: comparable whatever the exposure, one block of channels per image channel."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import list_images, read_image
from napari_metastructure.images.image import planes
from napari_metastructure.images.intensity import (
    bandpass_skewness,
    channels_of,
    check_plane,
    check_planes,
    common_polarity,
    is_blank,
    network_inputs,
    percentile,
)

KINDS = ("zscore", "multiscale", "percentile", "local")


@pytest.fixture
def image():
    return np.random.default_rng(0).gamma(2, 100, (40, 50)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_exposure_and_offset_change_nothing(kind, image):
    shown = network_inputs(image, kind, "bright")
    assert shown.shape == (channels_of(kind), 40, 50)
    assert shown.dtype == np.float32
    np.testing.assert_allclose(network_inputs(3 * image + 50, kind, "bright"), shown, atol=2e-3)


@pytest.mark.parametrize("kind", ("zscore", "percentile", "local"))
def test_dark_objects_are_turned_around(kind, image):
    upside_down = network_inputs(-image, kind, "dark")
    np.testing.assert_allclose(upside_down, network_inputs(image, kind, "bright"), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_are_normalised_each_by_itself(kind, image):
    two = np.stack([image, 1000 - 2 * image[::-1]])
    shown = network_inputs(two, kind, "bright")
    assert len(shown) == channels_of(kind, 2)
    np.testing.assert_array_equal(shown[: len(shown) // 2], network_inputs(two[0], kind, "bright"))
    np.testing.assert_array_equal(shown[len(shown) // 2 :], network_inputs(two[1], kind, "bright"))


def test_percentiles_are_where_they_should_be(image):
    scaled = percentile(image)
    assert np.percentile(scaled, 1) == pytest.approx(0, abs=1e-5)
    assert np.percentile(scaled, 99.8) == pytest.approx(1, abs=1e-5)
    assert scaled.max() > 1  # not cut off
    lonely = np.zeros((40, 50))
    lonely[0, 0] = 7
    assert percentile(lonely).max() == 1
    assert not percentile(np.full((4, 4), 3.0)).any()


# Polarity is settled from the images alone.


@pytest.fixture
def spots() -> np.ndarray:
    """Bright spots on a noisy ground."""
    rng = np.random.default_rng(0)
    image = np.zeros((96, 96))
    image[rng.integers(0, 96, 30), rng.integers(0, 96, 30)] = 50
    return ndi.gaussian_filter(image, 2) + rng.normal(0, 0.02, image.shape)


def test_turning_an_image_around_turns_its_polarity_around(spots):
    assert common_polarity([spots]) == "bright"
    assert common_polarity([-spots]) == "dark"
    assert bandpass_skewness(-spots) == pytest.approx(-bandpass_skewness(spots), rel=1e-3)


def test_uneven_illumination_does_not_decide(spots):
    ramp = 2 * spots.max() * np.linspace(0, 1, 96)[None, :] ** 2
    assert common_polarity([ramp + spots]) == "bright"
    assert common_polarity([ramp - spots]) == "dark"


@pytest.mark.parametrize(
    "folder, expected",
    [("er", "bright"), ("mito", "bright"), ("nuclei", "bright"), ("em", "dark"), ("vessels", "dark")],
)
def test_real_images(real_images, folder, expected):
    files = list_images([real_images / folder / "images"])
    assert common_polarity([planes(read_image(f))[0] for f in files]) == expected


# Which pixels can be worked on, and what is said about the others.


GOOD = np.random.default_rng(0).random((20, 24))


def spoiled(value, count=1):
    array = GOOD.copy()
    array.flat[:count] = value
    return array


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (GOOD.astype(complex), "complex"),
        (GOOD.astype(object), "of type object"),
        (GOOD.astype(str), "real numbers"),
        (GOOD[None], "two dimensions"),
        (GOOD[:0], "no pixels"),
        (GOOD[0], "this has 1; give a list of planes, be it of one"),
        (GOOD[:1, :1], "1 x 1 pixels are too few"),
        (
            np.random.default_rng(0).random((3, 4000)),
            r"3 x 4000 pixels \(Y x X\) are too few; each side needs",
        ),
        (spoiled(1e300), "exceed 32-bit"),
        (np.linspace(0, 1e-60, 400).reshape(20, 20), "too small for 32-bit floats .1e-60.; scale them up"),
    ],
)
def test_bad_pixels_are_named_in_one_sentence(array, words):
    with pytest.raises(InputError, match=words) as caught:
        check_plane(array, "cells.tif")
    assert str(caught.value).startswith("cells.tif")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((20, 20), np.nan), "all pixels are NaN or infinite"),
        (np.zeros((20, 20), np.uint16), r"all pixels have the same value \(0\)"),
        (np.full((20, 20), 7.5), r"all pixels have the same value \(7\.5\)"),
        (np.ones((20, 20), bool), "same value"),
    ],
)
def test_planes_of_one_value_are_refused_where_there_is_no_other(array, words):
    with pytest.raises(InputError, match=words) as caught:
        check_planes([array, array], ["cells.tif", "more.tif"])
    assert str(caught.value).startswith("cells.tif: ")
    checked = check_planes([array, GOOD], ["cells.tif", "more.tif"])
    assert list(map(is_blank, checked)) == [True, False]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_without_a_value_pass(value):
    np.testing.assert_array_equal(check_plane(spoiled(value, 3), "cells.tif"), spoiled(value, 3).astype(np.float32))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int16, np.int64, np.float16, np.float32, np.float64])
def test_good_pixels_become_float32_of_the_same_value(dtype):
    array = GOOD > 0.5 if dtype is bool else ((GOOD - 0.5) * 200).astype(dtype)
    plane = check_plane(array, "x")
    assert plane.dtype == np.float32
    np.testing.assert_array_equal(plane, array.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint32])
def test_a_large_offset_leaves_what_varies_on_it(dtype):
    varies = np.round(200 * GOOD)
    offset = (2e9 if dtype is np.uint32 else 1e15) + varies
    np.testing.assert_array_equal(check_plane(offset.astype(dtype), "x"), (varies - varies.min()).astype(np.float32))


def test_long_and_narrow_is_fine():
    assert check_plane(np.random.default_rng(0).random((20, 4000)), "x").shape == (20, 4000)
    assert check_plane(GOOD[:8, :8], "x").shape == (8, 8)


def test_the_input_is_not_changed():
    array = GOOD.astype(np.float32)
    before = array.copy()
    check_plane(array, "x")
    np.testing.assert_array_equal(array, before)
