"""The labels before the first round."""

import numpy as np
import pytest

from napari_metastructure.igtt.start import candidates, start_probability
from napari_metastructure.training.metrics import dice


@pytest.mark.parametrize("method", ["fusion", "contrast", "otsu"])
def test_a_start_finds_bright_blobs(blobs, method):
    for image, mask in zip(*blobs, strict=True):
        p = start_probability(image, method)
        assert p.dtype == np.float32 and p.shape == image.shape
        assert p.min() >= 0 and p.max() <= 1
        assert dice(p > 0.5, mask) > 0.75


def test_black_is_black(blobs):
    assert not start_probability(blobs[0][0], "black").any()


@pytest.mark.parametrize("shape", [(8, 8), (8, 400), (33, 9)])
def test_tiny_and_thin_planes(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    assert candidates(image).shape == (14, *shape)
    assert np.isfinite(start_probability(image, "fusion")).all()


def test_a_plane_that_is_constant_but_for_one_pixel():
    image = np.zeros((32, 32), np.float32)
    image[5, 5] = 1
    assert np.isfinite(start_probability(image, "fusion")).all()
