"""Small images that a run on a CPU gets through in a second."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.surround import surround


@pytest.fixture
def blobs() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two noisy images of bright blobs (of unlike sizes), and their masks."""
    rng = np.random.default_rng(7)
    images, masks = [], []
    for shape in ((64, 80), (72, 64)):
        mask = ndi.gaussian_filter(rng.standard_normal(shape), 4) > 0.05
        images.append(
            (60 * ndi.gaussian_filter(mask.astype(float), 1) + 20 + rng.normal(0, 6, shape)).astype(np.float32)
        )
        masks.append(mask)
    return images, masks


@pytest.fixture
def quick() -> IGTTConfig:
    """Settings of a run that takes a second."""
    return IGTTConfig(epochs=2, steps_per_epoch=4, base_channels=4, batch_size=2, device="cpu", stop_agreement=1)


@pytest.fixture
def green(fundus):
    """The green channel of a small photograph, its vessels, and what lies outside."""
    picture = fundus(128)
    plane = picture.rgb[..., 1].astype(np.float32)
    return plane, picture.vessels, surround(plane, "dark")
