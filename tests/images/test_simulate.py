""""""

import runpy

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.images import simulate
from napari_metastructure.images.files import read_image
from napari_metastructure.images.simulate import Camera, photograph

SIMULATORS = [simulate.endoplasmic_reticulum, simulate.mitochondria, simulate.nuclei]


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_an_image_with_its_mask(simulator):
    image, mask = simulator((96, 128), np.random.default_rng(3))
    assert image.shape == mask.shape == (96, 128)
    assert (image.dtype, mask.dtype) == (np.uint16, np.uint8)
    assert set(np.unique(mask)) == {0, 1}
    # Objects are brighter than the pixels around them, also after the noise.
    ring = ndi.binary_dilation(mask, iterations=6) & ~ndi.binary_dilation(mask, iterations=2)
    assert image[mask > 0].mean() > image[ring].mean() + 5


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_same_seed_same_pixels(simulator):
    first, again, other = (simulator((64, 64), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()
    assert (first[1] != other[1]).any()


def test_the_er_is_one_net_of_thin_tubules():
    _, mask = simulate.endoplasmic_reticulum((256, 256), np.random.default_rng(0))
    labels, count = ndi.label(mask)
    assert np.bincount(labels.ravel())[1:].max() > 0.9 * mask.sum()
    holes = ndi.label(1 - mask)[1]
    assert holes > 50  # meshes of the net
    assert np.median(ndi.distance_transform_edt(mask)[mask > 0]) <= 2
    assert count < 30


def test_mitochondria_are_longer_than_wide():
    _, mask = simulate.mitochondria((256, 256), np.random.default_rng(0))
    labels, count = ndi.label(mask)
    width = 2 * ndi.maximum(ndi.distance_transform_edt(mask), labels, range(1, count + 1))
    area = np.bincount(labels.ravel())[1:]
    assert np.mean(area > 2 * width**2) > 0.3


def test_some_nuclei_touch():
    _, mask = simulate.nuclei((256, 256), np.random.default_rng(2), count=24)
    _, apart = ndi.label(mask)
    assert 10 < apart < 24


def test_a_full_image_takes_no_more_nuclei():
    _, mask = simulate.nuclei((32, 32), np.random.default_rng(0), count=100)
    assert 0 < mask.mean() < 1


def test_the_sample_files_are_what_the_script_makes(root):
    script = runpy.run_path(str(root / "scripts" / "make_samples.py"))
    for name in script["SAMPLES"]:
        image, mask = script["make"](name)
        stored = read_image(root / "sample_data" / "images" / f"{name}.tif")
        stored_mask = read_image(root / "sample_data" / "masks" / f"{name}.tif")
        np.testing.assert_array_equal(stored.data, image.data)
        np.testing.assert_array_equal(stored_mask.data, 255 * mask.data)
        assert (stored.axes, stored.units) == (image.axes, image.units)
        np.testing.assert_allclose(stored.scale, image.scale)
        np.testing.assert_allclose(stored_mask.scale, image.scale)


def test_the_samples_stay_small(root):
    files = [path for path in (root / "sample_data").rglob("*") if path.is_file()]
    assert len(files) == 7
    assert sum(path.stat().st_size for path in files) < 2_000_000


def test_organelles_have_four_classes_that_differ_in_brightness():
    image, labels = simulate.organelles((256, 256), np.random.default_rng(0))
    again, _ = simulate.organelles((256, 256), np.random.default_rng(0))
    np.testing.assert_array_equal(image, again)
    assert (image.dtype, labels.dtype, image.shape) == (np.uint16, np.uint8, labels.shape)
    assert np.unique(labels).tolist() == [0, 1, 2, 3]
    means = [image[labels == c].mean() for c in range(4)]
    assert means[0] < means[1] < min(means[2:])


def test_noise_is_that_of_photons_and_a_camera():
    camera = Camera(photons=0, background=50, offset=100, read_noise=3, gain=2)
    image = photograph(np.zeros((400, 400)), camera, np.random.default_rng(0)).astype(float)
    assert image.mean() == pytest.approx(100 + 2 * 50, rel=0.005)
    assert image.var() == pytest.approx(2**2 * 50 + 3**2, rel=0.03)


def test_blur_spreads_a_point_and_keeps_its_light():
    scene = np.zeros((65, 65))
    scene[32, 32] = 1
    camera = Camera(photons=1e6, background=0, haze=0, blur=2, unevenness=0, offset=0, read_noise=0, gain=1)
    image = photograph(scene, camera, np.random.default_rng(0)).astype(float)
    assert image.sum() == pytest.approx(1e6, rel=0.01)
    y, _ = np.indices(scene.shape)
    spread = np.sqrt((image * (y - 32) ** 2).sum() / image.sum())
    assert spread == pytest.approx(2, rel=0.03)
