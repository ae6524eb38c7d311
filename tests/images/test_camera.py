from __future__ import annotations

import numpy as np
import pytest

from napari_metastructure.images.camera import Camera, photograph


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
