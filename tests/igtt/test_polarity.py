"""Polarity is settled from the images alone."""

import numpy as np
import pytest

from napari_metastructure.igtt.polarity import asymmetry, settle


def test_turning_an_image_around_turns_its_polarity_around(blobs):
    rng = np.random.default_rng(0)
    spots = np.zeros((96, 96))
    spots[rng.integers(0, 96, 30), rng.integers(0, 96, 30)] = 50
    from scipy import ndimage as ndi

    image = ndi.gaussian_filter(spots, 2) + rng.normal(0, 0.02, spots.shape)
    assert settle([image]) == "bright"
    assert settle([-image]) == "dark"
    assert asymmetry(-image) == pytest.approx(-asymmetry(image), rel=1e-4)


def test_uneven_illumination_does_not_decide():
    rng = np.random.default_rng(1)
    from scipy import ndimage as ndi

    spots = (ndi.gaussian_filter(rng.standard_normal((128, 128)), 2) > 0.4) * 1.0
    ramp = 20 * np.exp(np.linspace(0, 2, 128))[None, :] * np.ones((128, 1))
    assert settle([ramp - ndi.gaussian_filter(spots, 1)]) == "dark"


@pytest.mark.parametrize("folder, expected", [("er", "bright"), ("mito", "bright"), ("nuclei", "bright"), ("em", "dark")])
def test_real_images(real_data, folder, expected):
    from napari_metastructure.images.files import list_images, planes, read_image

    files = list_images([real_data / folder / "images"])
    assert settle([planes(read_image(f))[0] for f in files]) == expected
