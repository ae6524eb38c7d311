"""Which pixels can be worked on, and what is said about the others."""

import numpy as np
import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.images.checks import check_plane

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
        (GOOD[:1, :1], "1 x 1 pixels are too few"),
        (np.random.default_rng(0).random((3, 4000)), "4000 x 3 pixels are too few; each side needs at least 8"),
        (spoiled(np.nan, 3), "3 of 480 pixels are NaN or infinite; replace"),
        (spoiled(-np.inf), "1 of 480 pixels"),
        (np.full((20, 20), np.nan), "400 of 400"),
        (np.zeros((20, 20), np.uint16), r"same value \(0\)"),
        (np.full((20, 20), 7.5), r"same value \(7\.5\)"),
        (np.ones((20, 20), bool), "same value"),
        (spoiled(1e300), "exceed 32-bit"),
    ],
)
def test_bad_pixels_are_named_in_one_sentence(array, words):
    with pytest.raises(InputError, match=words) as caught:
        check_plane(array, "cells.tif")
    assert str(caught.value).startswith("cells.tif")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int16, np.int64, np.float16, np.float32, np.float64])
def test_good_pixels_become_float32_of_the_same_value(dtype):
    array = GOOD > 0.5 if dtype is bool else ((GOOD - 0.5) * 200).astype(dtype)
    plane = check_plane(array, "x")
    assert plane.dtype == np.float32
    np.testing.assert_array_equal(plane, array.astype(np.float32))


def test_long_and_narrow_is_fine():
    assert check_plane(np.random.default_rng(0).random((20, 4000)), "x").shape == (20, 4000)
    assert check_plane(GOOD[:8, :8], "x").shape == (8, 8)


def test_the_input_is_not_changed():
    array = GOOD.astype(np.float32)
    before = array.copy()
    check_plane(array, "x")
    np.testing.assert_array_equal(array, before)
