"""Layers of all kinds become checked planes, and bad ones one sentence."""

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels, Points

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._source import Source, colour_of, read_planes, sources_of

RNG = np.random.default_rng(0)


def planes(layer):
    return read_planes([Source.of(layer)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64, bool])
def test_a_plane_is_float32_with_the_layers_values(dtype):
    data = (RNG.random((16, 20)) * 100 - (0 if np.dtype(dtype).kind in "ub" else 50)).astype(dtype)
    data[0, 0] = 0
    (plane,) = planes(Image(data))
    assert plane.dtype == np.float32
    np.testing.assert_allclose(plane, data.astype(np.float32))


@pytest.mark.parametrize("lazy", [False, True])
def test_stacks_are_taken_slice_by_slice(lazy):
    data = RNG.random((2, 3, 16, 20))
    layer = Image(da.from_array(data, chunks=(1, 1, 16, 20)) if lazy else data, name="film")
    source = Source.of(layer)
    assert source.count == 6
    assert source.eager is not lazy
    np.testing.assert_allclose(np.stack(planes(layer)).reshape(data.shape), data, rtol=1e-6)
    assert source.names()[5] == "film [1, 2]"
    np.testing.assert_allclose(source.join(planes(layer)), data, rtol=1e-6)


def test_multiscale_layers_count_in_full_resolution():
    data = RNG.random((64, 80))
    layer = Image([data, data[::2, ::2]], multiscale=True)
    assert Source.of(layer).shape == (64, 80)
    np.testing.assert_allclose(planes(layer)[0], data, rtol=1e-6)


@pytest.mark.parametrize("samples", [3, 4])
def test_rgb_is_reduced_to_its_luminance(samples):
    data = RNG.random((16, 20, samples)).astype(np.float32)
    layer = Image(data, rgb=True)
    assert Source.of(layer).shape == (16, 20)
    np.testing.assert_allclose(planes(layer)[0], data[..., :3] @ [0.2125, 0.7154, 0.0721], atol=1e-4)


def test_a_colour_of_rgb_and_of_no_other_layer():
    data = RNG.random((2, 16, 20, 3)).astype(np.float32)
    rgb, grey = Source.of(Image(data, rgb=True)), Source.of(Image(data[..., 1]))
    for source in (rgb, grey):
        np.testing.assert_array_equal(np.stack(list(source.planes("green"))), data[..., 1])


def test_the_colour_is_chosen_for_all_rgb_layers_together(fundus):
    eyes = np.stack([fundus(96, seed=seed).rgb for seed in range(2)])
    layers = [Image(da.from_array(eyes, chunks=(1, 96, 96, 3)), rgb=True), Image(RNG.random((2, 16, 20)))]
    assert colour_of([Source.of(layer) for layer in layers]) == "green"
    assert colour_of([Source.of(layers[1])]) is None
    assert colour_of([Source.of(Image(np.repeat(eyes[..., :1], 3, axis=-1), rgb=True))]) is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (np.full((16, 20), np.nan), "NaN or infinite"),
        (np.zeros((16, 20)), "same value"),
        (np.eye(4), "too few"),
        (np.zeros((1, 1)), "too few"),
    ],
)
def test_pixels_that_cannot_be_used_are_refused_by_name(data, why):
    layer = Image(data, name="bad one", contrast_limits=(0, 1))
    with pytest.raises(InputError, match=f"'bad one'.*{why}"):
        planes(layer)


def test_the_bad_slice_of_a_stack_is_named():
    data = RNG.random((3, 16, 20))
    data[1, 2, 2] = 1e300
    with pytest.raises(InputError, match=r"'stack \[1\]'.*exceed"):
        planes(Image(data, name="stack", contrast_limits=(0, 1)))


def test_blank_frames_and_pixels_without_a_value_pass():
    data = RNG.random((3, 16, 20))
    data[0, 2, 2], data[1] = np.nan, 0
    assert len(planes(Image(data, name="stack", contrast_limits=(0, 1)))) == 3


@pytest.mark.parametrize("layer", [Labels(np.zeros((16, 20), int), name="x"), Points(np.zeros((1, 2)), name="x")])
def test_other_kinds_of_layer_are_refused(layer):
    with pytest.raises(InputError, match=f"'x' is a {type(layer).__name__} layer; choose an Image layer"):
        sources_of([layer])


def test_no_choice_and_mixed_dimensions_are_refused():
    with pytest.raises(InputError, match="No image layer is chosen"):
        sources_of([])
    with pytest.raises(InputError, match="'a' has 2 dimensions and 'b' has 3"):
        sources_of([Image(np.eye(16), name="a"), Image(np.zeros((3, 16, 16)), name="b")])
