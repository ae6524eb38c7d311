"""What lies outside a field of view is found where there is one, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_metastructure.images import simulate
from napari_metastructure.images import surround as module
from napari_metastructure.images.files import list_images, read_image
from napari_metastructure.images.image import planes
from napari_metastructure.images.surround import RIM, fill, surround


def disc(shape=(120, 140), radius=50.0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - shape[0] / 2, x - shape[1] / 2) < radius


def photograph(field, seed=0, noise=5.0):
    rng = np.random.default_rng(seed)
    return np.where(field, 100 + rng.normal(0, noise, field.shape), 0).astype(np.float32)


def rim(field, pixels):
    """The field without so many pixels at its edge, counted as a square window counts."""
    return ndi.minimum_filter(field, size=2 * pixels + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_black_round_a_disc_and_a_rim(dtype):
    field = disc()
    outside = surround(photograph(field).clip(0).astype(dtype), "dark")
    assert outside.dtype == bool
    assert outside[~field].all()
    assert not outside[rim(field, RIM + 2)].any()
    assert outside[field & ~rim(field, RIM - 1)].all()


@pytest.mark.parametrize(("gain", "offset"), [(0.01, -3), (200, 1000)])
def test_exposure_changes_nothing_and_bright_is_dark_turned_around(gain, offset):
    plane = photograph(disc())
    outside = surround(plane, "dark")
    np.testing.assert_array_equal(surround(gain * plane + offset, "dark"), outside)
    np.testing.assert_array_equal(surround(-plane, "bright"), outside)


def test_only_what_could_be_taken_for_an_object_counts():
    assert surround(photograph(disc()), "bright") is None  # bright objects on black: nothing to mistake


def test_a_turned_image_a_date_and_ripples():
    field = ndi.rotate(np.ones((120, 120)), 20, reshape=True, order=0) > 0
    plane = photograph(field)
    plane[3:8, 3:20] = 90  # a date in the corner
    plane[ndi.binary_dilation(field, iterations=6) & ~field] = 6  # as JPEG leaves them, less than a tenth of the range
    outside = surround(plane, "dark")
    assert outside[~field].all()
    assert not outside[rim(field, RIM + 4)].any()


def test_no_surround():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :140]
    assert surround(np.zeros((50, 60), np.float32), "dark") is None
    assert surround(rng.normal(size=(120, 140)).astype(np.float32), "dark") is None
    assert surround(photograph(~disc(radius=30)), "dark") is None  # touches no border
    small = np.ones((120, 140), bool)
    small[:10, :20] = False
    assert surround(photograph(small), "dark") is None  # 1 % of the image
    rods = ((x % 40) > 12) | (y > 100)
    assert surround(photograph(rods), "dark") is None  # gaps between objects, not round them
    assert surround(photograph(disc(radius=6)), "dark") is None  # nothing would be left


def test_a_small_field_in_a_large_frame():
    field = disc(radius=20)
    outside = surround(photograph(field), "dark")
    assert 0.9 < (~field).mean() < outside.mean() < 0.98
    assert not outside[60, 70]


@given(st.integers(1, 12), st.integers(1, 40), st.sampled_from(["bright", "dark"]), st.integers(0, 9))
def test_any_small_image(height, width, objects, seed):
    plane = np.random.default_rng(seed).integers(0, 3, (height, width)).astype(np.float32)
    outside = surround(plane, objects)
    assert outside is None or (outside.shape == plane.shape and not outside.all())


@pytest.mark.parametrize("folder", ["er", "er_frames", "mito", "nuclei", "em"])
def test_ordinary_images_have_none(real_images, folder):
    for path in list_images([real_images / folder / "images"]):
        for plane in planes(read_image(path)):
            found = [o for o in ("bright", "dark") if surround(plane.astype(np.float32), o) is not None]
            assert not found, path


@pytest.mark.parametrize("maker", [simulate.endoplasmic_reticulum, simulate.mitochondria, simulate.nuclei])
def test_simulated_images_have_none(maker):
    light, _ = maker((256, 256), np.random.default_rng(0))
    for plane in (light.astype(np.float32), -light.astype(np.float32)):
        assert surround(plane, "bright") is None
        assert surround(plane, "dark") is None


def test_fundus_photographs_have_one(real_images):
    folder = real_images / "vessels"
    for path in list_images([folder / "images"]):
        image = read_image(path)
        vessels = planes(read_image(folder / "masks" / path.name))[0] > 0
        outside = surround(planes(image, "green")[0], "dark")
        black = ndi.binary_opening(image.data.max(axis=-1) < 5, iterations=4)
        assert outside[black].mean() > 0.999
        assert outside.mean() < black.mean() + 0.05
        assert outside[vessels].mean() < 0.03


@pytest.mark.parametrize("pixels", [2**22, 3000])
def test_the_inside_is_kept_and_continued(pixels, monkeypatch):
    monkeypatch.setattr(module, "PIXELS", pixels)
    y, x = np.mgrid[:120, :140]
    field = disc()
    plane = np.where(field, 100 + 0.5 * x, 0).astype(np.float32)
    outside = surround(plane, "dark")
    before = plane.copy()
    filled = fill(plane, outside)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(plane, before)
    np.testing.assert_array_equal(filled[~outside], plane[~outside])
    inside = plane[~outside]
    assert inside.min() <= filled.min() and filled.max() <= inside.max()
    # the nearest place inside lies along the radius
    angle = np.arctan2(y - 60, x - 70)
    expected = 100 + 0.5 * (70 + (50 - RIM) * np.cos(angle))
    assert np.abs(filled - expected)[outside].max() < 6
    assert filled[60, 0] < filled[60, -1] - 30


def test_a_flat_inside_is_continued_flat():
    plane = np.where(disc(), 80, 0).astype(np.uint8)
    outside = ~disc(radius=40)
    np.testing.assert_allclose(fill(plane, outside), 80, rtol=1e-5)
