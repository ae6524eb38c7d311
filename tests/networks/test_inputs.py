"""Normalisation in pieces: the numbers of `images.intensity.network_inputs`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_metastructure.images.intensity import network_inputs
from napari_metastructure.networks import inputs as module
from napari_metastructure.networks.inputs import LazyInputs, prepared

KINDS = ("zscore", "multiscale", "percentile", "local")


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Statistics over many blocks, the last of another height."""
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "ROWS", 37)
    yield
    patch.undo()


@given(
    st.sampled_from(KINDS),
    st.sampled_from(["bright", "dark"]),
    st.integers(8, 260),
    st.integers(8, 60),
    st.integers(1, 90),
    st.sampled_from([1, 2]),
)
def test_rows_are_those_of_the_whole(kind, objects, height, width, at_once, channels):
    rng = np.random.default_rng(height * 1000 + width)
    image = rng.gamma(2, 100, (channels, height, width)).astype(np.float32) + np.arange(height)[:, None]
    image = image[0] if channels == 1 else image
    whole, lazy = network_inputs(image, kind, objects), LazyInputs(image, kind, objects)
    assert lazy.shape == whole.shape
    pieces = [lazy[:, first : first + at_once] for first in range(0, height, at_once)]
    assert pieces[0].dtype == np.float32
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_offset_much_larger_than_the_contrast_costs_no_precision(kind):
    image = 30_000 + np.random.default_rng(0).normal(0, 10, (200, 40)).astype(np.float32)
    image[:40] += 500  # the first block is not like the others
    np.testing.assert_allclose(
        LazyInputs(image, kind, "bright")[:, :], network_inputs(image, kind, "bright"), atol=1e-3
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 0.1, 7.0])
def test_a_channel_of_one_value_is_zeros(kind, value):
    image = np.full((100, 40), value, np.float32)
    np.testing.assert_array_equal(LazyInputs(image, kind, "dark")[:, :], network_inputs(image, kind, "dark"))


def test_all_but_one_pixel_alike():
    image = np.zeros((100, 100), np.float32)
    image[50, 50] = 3
    for kind in KINDS:
        np.testing.assert_allclose(
            LazyInputs(image, kind, "bright")[:, :], network_inputs(image, kind, "bright"), atol=1e-3
        )


def test_only_large_images_are_taken_in_pieces(monkeypatch):
    image = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    assert isinstance(prepared(image, "zscore", "bright"), np.ndarray)
    monkeypatch.setattr(module, "WHOLE", 64 * 64 - 1)
    assert isinstance(prepared(image, "zscore", "bright"), LazyInputs)


def test_it_can_be_left_while_it_gathers_statistics(monkeypatch):
    monkeypatch.setattr(module, "WHOLE", 1)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(np.eye(100, dtype=np.float32), "zscore", "bright", stop)
