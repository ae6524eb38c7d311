"""Polarity is settled from the images alone."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.igtt.polarity import asymmetry, settle
from napari_metastructure.images.axes import planes
from napari_metastructure.images.files import list_images, read_image


@pytest.fixture
def spots() -> np.ndarray:
    """Bright spots on a noisy ground."""
    rng = np.random.default_rng(0)
    image = np.zeros((96, 96))
    image[rng.integers(0, 96, 30), rng.integers(0, 96, 30)] = 50
    return ndi.gaussian_filter(image, 2) + rng.normal(0, 0.02, image.shape)


def test_turning_an_image_around_turns_its_polarity_around(spots):
    assert settle([spots]) == "bright"
    assert settle([-spots]) == "dark"
    assert asymmetry(-spots) == pytest.approx(-asymmetry(spots), rel=1e-3)


def test_uneven_illumination_does_not_decide(spots):
    ramp = 2 * spots.max() * np.linspace(0, 1, 96)[None, :] ** 2
    assert settle([ramp + spots]) == "bright"
    assert settle([ramp - spots]) == "dark"


@pytest.mark.parametrize(
    "folder, expected",
    [("er", "bright"), ("mito", "bright"), ("nuclei", "bright"), ("em", "dark"), ("vessels", "dark")],
)
def test_real_images(real_images, folder, expected):
    files = list_images([real_images / folder / "images"])
    assert settle([planes(read_image(f))[0] for f in files]) == expected
