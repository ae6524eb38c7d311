"""What a network sees: comparable whatever the exposure, one block of channels per image channel."""

import numpy as np
import pytest

from napari_metastructure.images.intensity import channels_of, network_inputs, percentile

KINDS = ("zscore", "multiscale", "percentile", "local")


@pytest.fixture
def image():
    return np.random.default_rng(0).gamma(2, 100, (40, 50)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_exposure_and_offset_change_nothing(kind, image):
    shown = network_inputs(image, kind, "bright")
    assert shown.shape == (channels_of(kind), 40, 50)
    assert shown.dtype == np.float32
    np.testing.assert_allclose(network_inputs(3 * image + 50, kind, "bright"), shown, atol=2e-3)


@pytest.mark.parametrize("kind", ("zscore", "percentile", "local"))
def test_dark_objects_are_turned_around(kind, image):
    upside_down = network_inputs(-image, kind, "dark")
    np.testing.assert_allclose(upside_down, network_inputs(image, kind, "bright"), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_are_normalised_each_by_itself(kind, image):
    two = np.stack([image, 1000 - 2 * image[::-1]])
    shown = network_inputs(two, kind, "bright")
    assert len(shown) == channels_of(kind, 2)
    np.testing.assert_array_equal(shown[: len(shown) // 2], network_inputs(two[0], kind, "bright"))
    np.testing.assert_array_equal(shown[len(shown) // 2 :], network_inputs(two[1], kind, "bright"))


def test_percentiles_are_where_they_should_be(image):
    scaled = percentile(image)
    assert np.percentile(scaled, 1) == pytest.approx(0, abs=1e-5)
    assert np.percentile(scaled, 99.8) == pytest.approx(1, abs=1e-5)
    assert scaled.max() > 1  # not cut off
    lonely = np.zeros((40, 50))
    lonely[0, 0] = 7
    assert percentile(lonely).max() == 1
    assert not percentile(np.full((4, 4), 3.0)).any()
