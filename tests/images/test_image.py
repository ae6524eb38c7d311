"""From axes to planes and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_metastructure.errors import InputError
from napari_metastructure.images.image import (
    Image,
    channel_planes,
    parse_length,
    plane_count,
    plane_names,
    planes,
    stack,
    stacks,
)

SIZES = {"T": 2, "Z": 3, "C": 4, "Y": 5, "X": 6, "S": 3}


def image(axes, dtype=np.uint16, **sizes):
    shape = [{**SIZES, **sizes}[a] for a in axes]
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    scale = tuple({"T": 9.0, "Z": 2.0, "Y": 0.5, "X": 0.25}.get(a, 1.0) for a in axes)
    return Image(data, axes, scale, tuple("micrometer" if a in "ZYX" else "pixel" for a in axes), "x")


@given(st.permutations("TZYX"), st.integers(2, 4))
def test_planes_and_stack_are_inverse_for_any_order_of_axes(order, count):
    axes = "".join(a for a in order if a in "TZYX"[-count:])
    start = image(axes)
    cut = planes(start)
    back = stack(cut, like=start)
    assert (back.axes, back.scale, back.units) == (start.axes, start.scale, start.units)
    np.testing.assert_array_equal(back.data, start.data)
    assert len(cut) == len(plane_names(start)) == max(1, int(np.prod([SIZES[a] for a in axes if a in "TZ"])))


def test_planes_run_over_z_first():
    start = image("TZYX")
    np.testing.assert_array_equal(planes(start)[4], start.data[1, 1])
    assert plane_names(start)[4] == "x (T=1, Z=1)"
    assert plane_names(image("YX")) == ["x"]


def test_stack_drops_channels_and_refuses_what_does_not_fit():
    start = image("TCYX")
    cut = planes(start, channel=2)
    np.testing.assert_array_equal(cut[1], start.data[1, 2])
    back = stack(cut, like=start)
    assert (back.axes, back.scale) == ("TYX", (9.0, 0.5, 0.25))
    with pytest.raises(InputError, match="1 planes"):
        stack(cut[:1], like=start)


def test_rgb_is_luminance_without_alpha():
    data = np.random.default_rng(0).integers(0, 255, (5, 6, 4), dtype=np.uint8)
    rgba = Image(data, "YXS", (1, 1, 1), ("pixel",) * 3, "x")
    (grey,) = planes(rgba)
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey, data[..., :3] @ [0.2125, 0.7154, 0.0721], rtol=1e-5)
    np.testing.assert_array_equal(planes(rgba, "luminance")[0], grey)
    for at, name in enumerate(("red", "green", "blue", "alpha")):
        for channel in (name, at, str(at)):
            np.testing.assert_array_equal(planes(rgba, channel)[0], data[..., at])


def test_planar_rgb_and_single_channel():
    np.testing.assert_array_equal(planes(image("SYX"), "green")[0], image("SYX").data[1])
    single = Image(np.ones((1, 5, 6)), "CYX", (1, 1, 1), ("pixel",) * 3, "x")
    assert planes(single)[0].shape == (5, 6)
    assert planes(single, 0)[0].shape == (5, 6)


@pytest.mark.parametrize(
    ("axes", "channel", "words"),
    [
        ("CYX", None, r"4 channels.*--channel 0 to --channel 3"),
        ("CYX", 4, "no channel 4; choose 0 to 3"),
        ("CYX", -1, "no channel -1"),
        ("CYX", "green", "no channel 'green'"),
        ("YXS", "alpha", "no channel 'alpha'.*red, green, blue, luminance"),
        ("YX", 1, "single channel"),
        ("YX", "red", "single channel"),
    ],
)
def test_a_channel_that_is_not_there(axes, channel, words):
    with pytest.raises(InputError, match=words):
        planes(image(axes), channel)


# Planes of several channels, for models that were trained on such.


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


def test_planes_of_several_images_come_back_to_each():
    several = [image("TZYX"), image("YX"), image("ZYX"), image("YXS")]
    cut = [plane for one in several for plane in planes(one)]
    assert [plane_count(one) for one in several] == [6, 1, 3, 1]
    back = stacks(cut, like=several)
    assert [one.axes for one in back] == ["TZYX", "YX", "ZYX", "YX"]
    for one, found in zip(several[:3], back, strict=False):
        np.testing.assert_array_equal(found.data, one.data)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("8", (8, "pixel")),
        (" 1.5 um ", (1.5, "micrometer")),
        ("1.5µm", (1.5, "micrometer")),
        ("2e2 nm", (200, "nanometer")),
        (".5px", (0.5, "pixel")),
        ("0.001 inch", (0.001, "inch")),
    ],
)
def test_lengths_as_users_write_them(text, length):
    assert parse_length(text) == length


@pytest.mark.parametrize(
    ("text", "words"),
    [("wide", "give a number of pixels"), ("0", "above 0"), ("-1 um", "above 0"), ("5 s", "no unit of length"),
     ("5 stones", "stones is no unit"), ("1e999", "above 0")],
)  # fmt: skip
def test_what_is_no_length_is_said(text, words):
    with pytest.raises(InputError, match=words):
        parse_length(text)
