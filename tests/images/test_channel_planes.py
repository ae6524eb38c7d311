"""Planes of several channels, for models that were trained on such."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_metastructure.errors import InputError
from napari_metastructure.images.axes import channel_planes, planes
from napari_metastructure.images.image import Image

SIZES = {"T": 2, "Z": 3, "C": 4, "Y": 5, "X": 6, "S": 3}


def image(axes, **sizes):
    shape = [{**SIZES, **sizes}[a] for a in axes]
    return Image(np.arange(np.prod(shape)).reshape(shape), axes, (1.0,) * len(axes), ("pixel",) * len(axes), "x")


@given(st.permutations("TZCYX"), st.sets(st.sampled_from("TZ")), st.sampled_from("CS"))
def test_channel_k_is_what_planes_gives_for_it(order, left_out, axis):
    axes = "".join(a for a in order if a not in left_out).replace("C", axis)
    start = image(axes)
    found = channel_planes(start, SIZES[axis])
    for k in range(SIZES[axis]):
        for mine, theirs in zip(found, planes(start, k), strict=True):
            np.testing.assert_array_equal(mine[k], theirs)


def test_one_channel_is_left_to_planes_and_alpha_is_left_over():
    np.testing.assert_array_equal(channel_planes(image("CYX"), 1, 2)[0], image("CYX").data[2])
    rgba = image("YXS", S=4)
    np.testing.assert_array_equal(channel_planes(rgba, 3)[0], rgba.data[..., :3].transpose(2, 0, 1))
    assert channel_planes(rgba, 4)[0].shape == (4, 5, 6)
    assert channel_planes(image("CYXS", C=1), 3)[0].shape == (3, 5, 6)
    assert channel_planes(image("CYXS", S=1), 4)[0].shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("axes", "sizes", "wanted", "channel", "words"),
    [
        ("CYX", {}, 3, None, "x has 4 channels, but 3 are needed"),
        ("YX", {}, 2, None, "x has 1 channel, but 2 are needed"),
        ("YXS", {}, 2, None, "x has 3 channels, but 2 are needed"),
        ("CYXS", {}, 4, None, "channels and colours at once"),
        ("CYX", {}, 4, 1, "leave out the option channel"),
        ("CYX", {}, 1, None, "choose one with the option channel"),
    ],
)
def test_another_number_of_channels_is_refused(axes, sizes, wanted, channel, words):
    with pytest.raises(InputError, match=words):
        channel_planes(image(axes, **sizes), wanted, channel)
