"""Random scenes: what the prior learns from."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.images.scenes import FAMILIES, LARGEST, SMALLEST, field, scene


@pytest.mark.parametrize("shape", [(96, 96), (70, 130)])
def test_a_scene_is_an_image_of_bright_objects(shape):
    brighter, sizes = [], []
    for seed in range(12):
        image, mask = scene(shape, np.random.default_rng(seed))
        assert (image.shape, image.dtype, mask.shape, mask.dtype) == (shape, np.float32, shape, np.bool_)
        assert np.isfinite(image).all()
        assert image.min() >= 0
        sizes.append(mask.mean())
        ring = ndi.binary_dilation(mask, iterations=4) & ~mask
        if mask.any() and ring.any():
            brighter.append(image[mask].mean() > image[ring].mean())
    assert np.mean(brighter) > 0.9  # noise may drown one
    assert SMALLEST / 10 < np.mean(sizes) < LARGEST + 0.2
    assert len(set(np.round(sizes, 4))) > 10


def test_the_same_seed_gives_the_same_scene():
    for first, second in zip(*(scene((64, 64), np.random.default_rng(3)) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_draws_objects_and_background(name):
    shares = [np.mean(FAMILIES[name][0]((96, 96), np.random.default_rng(seed)) < 1) for seed in range(8)]
    assert 0.01 < np.mean(shares) < 0.9
    assert max(shares) > min(shares)


@pytest.mark.parametrize("sigma", [1.0, 3.9, 9.0, 40.0])
def test_a_field_has_mean_0_deviation_1_and_grows_smoother(sigma):
    found = field((120, 90), sigma, np.random.default_rng(0))
    assert found.shape == (120, 90)
    assert abs(found.mean()) < 1e-6
    assert found.std() == pytest.approx(1, abs=1e-6)
    neighbours = np.corrcoef(found[1:].ravel(), found[:-1].ravel())[0, 1]
    assert neighbours == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.08)  # of a Gaussian filter's output
