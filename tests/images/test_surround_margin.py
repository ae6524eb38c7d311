"""A margin of one value is found where a program has put one, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_metastructure.images import surround as module
from napari_metastructure.images.lazy import as_plane
from napari_metastructure.images.scenes import Scenes
from napari_metastructure.images.simulate import nuclei
from napari_metastructure.images.surround import margin, measured

IMAGE = nuclei((160, 200), np.random.default_rng(1))[0].astype(np.float32)
CLEAN = 1000 * IMAGE / IMAGE.max() + 200


def padded(**sides):
    outside = np.zeros(CLEAN.shape, bool)
    for side, pixels in sides.items():
        if pixels:
            outside[{"top": np.s_[:pixels], "bottom": np.s_[-pixels:]}.get(side, np.s_[:])] |= side in ("top", "bottom")
            outside[:, {"left": np.s_[:pixels], "right": np.s_[-pixels:]}.get(side, np.s_[:0])] = True
    return outside


@settings(max_examples=40)
@given(
    sides=st.fixed_dictionaries(dict.fromkeys(("top", "bottom", "left", "right"), st.integers(0, 20))),
    value=st.sampled_from([0.0, 65535.0, 1234.5]),
)
def test_strips_along_the_border(sides, value):
    outside = padded(**sides)
    plane = np.where(outside, value, CLEAN)
    found = margin(plane)
    if not outside.any():
        assert found is None
    else:
        np.testing.assert_array_equal(found, outside)
        for turned in (np.flipud, np.fliplr, np.transpose):
            np.testing.assert_array_equal(margin(turned(plane)), turned(outside))
        for other in (-plane, 4 * plane + 1024):
            np.testing.assert_array_equal(margin(other), outside)


def test_tiles_that_are_missing_a_turned_image_and_a_bar_with_text():
    stitched = np.zeros(CLEAN.shape, bool)
    stitched[:40, :70], stitched[-30:, 120:] = True, True
    np.testing.assert_array_equal(margin(np.where(stitched, 0, CLEAN)), stitched)
    turned = ndi.rotate(np.ones(CLEAN.shape), 8, reshape=False, order=0) == 0
    np.testing.assert_array_equal(margin(np.where(turned, 0, CLEAN)), turned)
    bar = padded(bottom=20)
    plane = np.where(bar, 0, CLEAN)
    plane[-14:-6, 20:60:3], plane[-12:-9, 100:150] = 65535, 65535
    np.testing.assert_array_equal(margin(plane), bar)


@pytest.mark.parametrize(("value", "axis"), [(0, 0), (3000, 0), (3000, 1)])
def test_a_scale_bar_and_its_text(value, axis):
    plane = CLEAN if axis == 0 else CLEAN.T
    overlay = np.zeros(plane.shape, bool)
    overlay[130:134, 60:100] = True
    overlay[120:127, 70:90:4] = True  # digits
    far = np.zeros_like(overlay)
    far[20:24, 20:26] = True  # of the same value, and no text
    overlay, far, plane = (a if axis == 0 else a.T for a in (overlay, far, plane))
    found = margin(np.where(overlay | far, value, plane))
    assert found[overlay].all() and not found[far].any()
    assert not found[~ndi.maximum_filter(overlay, 5)].any()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_strip_of_infinite_values_is_no_margin_of_that_value(value):
    plane = np.where(padded(left=12), np.float32(value), CLEAN)
    assert margin(plane) is None  # warnings are errors here
    plane[padded(top=8)] = 0
    np.testing.assert_array_equal(margin(plane), margin(np.where(np.isfinite(plane), plane, np.nan)))


def test_no_margin():
    y, x = np.indices(CLEAN.shape)
    disc = np.hypot(y - 80, x - 100) < 60
    for plane in (
        CLEAN,
        np.clip(CLEAN - 400, 0, None),  # a background that is cut off at zero
        np.where(disc, CLEAN, 0),  # less than half is left: an object as well as a field of view
        np.where(padded(left=20), 0, 100.0),  # nothing but two values
        np.where(CLEAN > 600, 600, CLEAN),  # saturated objects
        ndi.gaussian_filter(np.where(np.hypot(y - 80, x - 100) < 120, CLEAN, 0), 4).round(),  # as a lens makes it
        ((np.abs(y - 50) < 4) & (np.abs(x - 90) < 30)) * 1.0,  # a drawing of a rod
        np.zeros(CLEAN.shape),
        np.full(CLEAN.shape, np.nan),
        np.where(padded(left=20) | (np.random.default_rng(0).random(CLEAN.shape) < 0.03), 0, CLEAN),  # a common value
        np.where(np.hypot(y, x - 100) < 40, 3000, CLEAN),  # a saturated object at the border
        np.where((np.abs(y - 130.5) < 1) & (np.abs(x - 65) < 5), 3000, CLEAN),  # too short for a scale bar
        CLEAN[:1],  # as long and narrow planes are when they are thinned out
    ):
        assert margin(np.asarray(plane, np.float32)) is None


def test_scenes_have_none():
    scenes = Scenes(64, np.random.default_rng(4), stock=20)
    for plane, _ in (scenes.draw() for _ in range(60)):
        assert margin(plane) is None
        assert margin(np.floor(255 * plane / plane.max())) is None


@pytest.mark.parametrize("lazy", [False, True])
def test_it_is_filled_only_where_it_is_asked_for(lazy):
    outside = padded(left=20, top=10)
    plane = np.where(outside, 0, CLEAN)
    plane[50, 60] = np.nan
    given_ = as_plane(plane) if lazy else plane
    filled, missing = measured(given_, margins=True)
    gone = outside.copy()
    gone[50, 60] = True
    np.testing.assert_array_equal(np.asarray(missing), gone)
    np.testing.assert_array_equal(np.asarray(filled)[~gone], CLEAN[~gone])
    assert np.asarray(filled).min() >= CLEAN.min()
    assert np.asarray(measured(given_)[1]).sum() == 1


def test_the_margin_of_large_planes(monkeypatch):
    outside = padded(left=20, top=10)
    plane = np.where(outside, 0, CLEAN)
    monkeypatch.setattr(module, "DETAILED", CLEAN.size // 4)
    assert np.mean(np.asarray(margin(as_plane(plane))) != outside) < 0.01
