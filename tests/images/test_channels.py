"""The colour channel for a set of photographs: most contrast, as far as other channels show the same."""

import numpy as np
import PIL.Image
import pytest
import tifffile
from scipy import ndimage as ndi

from napari_metastructure.errors import InputError
from napari_metastructure.images.channels import (
    SAMPLE,
    channel_for,
    choose_channel,
    colour_named,
    has_colours,
    read_set,
)
from napari_metastructure.images.files import list_images, read_image
from napari_metastructure.images.image import Image, planes


def image(data, axes="YXS"):
    return Image(data, axes, (1.0,) * data.ndim, ("pixel",) * data.ndim, "x")


def blobs(seed=0, shape=(96, 112)):
    """(Y, X) float array of bright blobs, 0 to 1, mostly background."""
    smooth = ndi.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3)
    return ndi.gaussian_filter((smooth > 1.5 * smooth.std()).astype(float), 1)


def coloured(*channels):
    return image(np.dstack([np.clip(c, 0, 255) for c in channels]).astype(np.uint8))


def test_vessels_show_best_in_green(fundus):
    pictures = [image(fundus(seed=seed).rgb) for seed in range(3)]
    assert [choose_channel([p]) for p in pictures] == ["green"] * 3
    assert choose_channel(pictures) == "green"


def test_real_fundus_photographs_too(real_images):
    pictures = [read_image(path) for path in list_images([real_images / "vessels" / "images"])]
    assert [choose_channel([p]) for p in pictures] == ["green"] * 3
    assert choose_channel(pictures) == "green"


@pytest.mark.parametrize("used", [0, 1, 2])
@pytest.mark.parametrize("noise", [0, 2])
def test_the_only_channel_used_of_a_fluorescence_picture(used, noise):
    rng = np.random.default_rng(1)
    channels = [np.zeros((96, 112)) for _ in range(3)]
    channels[used] = 200 * blobs() + rng.normal(0, noise, (96, 112)) + 2 * noise
    assert choose_channel([coloured(*channels)]) == ("red", "green", "blue")[used]


def test_noise_in_one_channel_does_not_win():
    rng, light = np.random.default_rng(0), blobs()
    red = 100 + rng.normal(0, 60, light.shape)  # by far the most contrast, and nothing in it
    picture = coloured(red, 60 + 60 * light + rng.normal(0, 4, light.shape), 60 + 30 * light)
    assert choose_channel([picture]) == "green"


def test_the_edge_of_a_field_of_view_is_no_contrast():
    y, x = np.mgrid[:160, :160]
    field = np.hypot(y - 80, x - 80) < 70
    light, rng = 60 * blobs(2, (160, 160)), np.random.default_rng(0)
    channels = [250 + 0 * light, 60 + light, 60 + light / 2]
    picture = coloured(*((c + rng.normal(0, 2, light.shape)) * field for c in channels))
    assert choose_channel([picture]) == "green"


def test_nothing_to_choose():
    light = 200 * blobs()
    assert choose_channel([]) is None
    assert choose_channel([image(light, "YX"), image(np.stack([light] * 3), "CYX")]) is None
    assert choose_channel([coloured(light, light, light)]) is None
    assert choose_channel([image(np.dstack([light, light]))]) is None
    assert choose_channel([image(np.zeros((20, 20, 3), np.uint8))]) is None
    assert choose_channel([image(np.full((8, 9, 3), np.nan))]) is None


def test_images_without_colours_say_nothing_beside_those_with(fundus):
    grey = np.dstack([blobs()] * 3)
    assert choose_channel([image(blobs(), "YX"), image(grey), image(fundus().rgb)]) == "green"


@pytest.mark.parametrize("axes", ["TZYXS", "SYX", "CYXS"])
def test_any_order_of_axes_and_alpha(fundus, axes):
    rgba = np.dstack([fundus().rgb, np.full((160, 160), 255, np.uint8)])
    data = {"TZYXS": np.stack([np.stack([rgba] * 3)] * 2), "SYX": np.moveaxis(rgba, -1, 0), "CYXS": rgba[None]}[axes]
    assert choose_channel([image(data, axes)]) == "green"


def test_only_some_planes_of_a_stack_are_looked_at(fundus, monkeypatch):
    from napari_metastructure.images import channels

    seen = []
    monkeypatch.setattr(channels, "_scores", lambda plane: seen.append(plane) or np.array([0.0, 0.0, 1.0]))
    stack = np.zeros((50, 16, 20, 3), np.uint8)
    stack[..., 0] = np.arange(50)[:, None, None]
    assert choose_channel([image(stack, "ZYXS")]) == "blue"
    levels = [int(plane[0, 0, 0]) for plane in seen]
    assert len(levels) == SAMPLE
    assert (levels[0], levels[-1]) == (0, 49)
    assert max(np.diff(levels)) <= 4


def test_large_images_are_looked_at_in_less_detail(monkeypatch, fundus):
    from napari_metastructure.images import channels

    rgb = fundus(200).rgb
    assert channels._reduced(rgb[..., 1]).shape == (200, 200)
    monkeypatch.setattr(channels, "SIDE", 100)
    small = channels._reduced(rgb[..., 1])
    assert small.shape == (100, 100)
    np.testing.assert_allclose(small[3, 5], rgb[6:8, 10:12, 1].mean())
    assert choose_channel([image(rgb)]) == "green"
    assert channels._reduced(np.ones((3, 4000))).shape == (1, 1333)


def test_a_set_has_one_channel_and_grey_images_none(fundus):
    colour, grey = image(fundus().rgb), image(blobs(), "YX")
    assert has_colours(colour) and not has_colours(grey)
    assert not has_colours(image(np.zeros((2, 20, 20, 3)), "CYXS"))
    assert channel_for(colour, "green") == "green" and channel_for(grey, "green") is None
    np.testing.assert_array_equal(planes(colour, channel_for(colour, "green"))[0], colour.data[..., 1])


@pytest.mark.parametrize(
    ("given", "colour"),
    [
        ("green", "green"),
        (" Blue", "blue"),
        ("0", "red"),
        (2, "blue"),
        ("3", None),
        ("luminance", None),
        ("alpha", None),
    ],
)
def test_the_colour_a_user_named(fundus, given, colour):
    assert colour_named([image(fundus().rgb)], given) == colour
    assert colour_named([image(np.zeros((3, 20, 20)), "CYX")], given) is None


def test_a_set_of_files_is_read_in_one_colour_and_bad_ones_are_all_named(fundus, tmp_path):
    PIL.Image.fromarray(fundus().rgb).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", np.random.default_rng(0).random((2, 20, 24)).astype(np.float32))
    found = read_set([tmp_path])
    assert (found.colour, found.chosen, [i.name for i in found.images]) == ("green", True, ["a.png", "b.tif"])
    assert found.names == ["a.png", "b.tif (Z=0)", "b.tif (Z=1)"]
    np.testing.assert_array_equal(found.planes[0], fundus().rgb[..., 1])
    assert [p.shape for p in found.planes[1:]] == [(20, 24)] * 2
    assert (read_set([tmp_path / "b.tif"]).colour, read_set([tmp_path / "b.tif"]).chosen) == (None, False)
    assert read_set([tmp_path / "a.png"], "red")[3:5] == ("red", False)
    (tmp_path / "c.tif").write_bytes(b"II*")
    PIL.Image.fromarray(np.zeros((20, 4), np.uint8)).save(tmp_path / "d.png")
    with pytest.raises(InputError) as caught:
        read_set([tmp_path])
    first, second = str(caught.value).splitlines()
    assert "c.tif" in first and "d.png" in second and "too few" in second
