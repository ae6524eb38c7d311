"""Models read and used: labels and probabilities against the network's own output, and files that are none."""

import json
import struct

import numpy as np
import pytest
import torch

from napari_metastructure.errors import InputError
from napari_metastructure.images.intensity import network_inputs
from napari_metastructure.images.surround import fill, surround
from napari_metastructure.networks.model import Model
from napari_metastructure.networks.model_file import load_model


def image(*shape, seed=0):
    return np.random.default_rng(seed).gamma(2, 100, shape).astype(np.float32)


def untiled(path, pixels):
    """What the network says of an image of one tile, by hand."""
    network, _, use = load_model(path)
    with torch.no_grad():
        logits = network(torch.from_numpy(network_inputs(pixels, use.inputs, use.objects))[None])[0]
    return (torch.sigmoid(logits) if len(logits) == 1 else torch.softmax(logits, 0)).numpy()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_two_classes_are_cut_at_one_half(saved, dtype):
    path = saved(classes=(0, 3))
    pixels = image(32, 32).clip(0, 255).astype(dtype)
    labels, probability = Model.load(path).predict(pixels, "cpu")
    (expected,) = untiled(path, pixels)
    np.testing.assert_allclose(probability, expected, atol=2e-5)
    clear = np.abs(expected - 0.5) > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(labels[clear], np.where(expected > 0.5, 3, 0)[clear])
    assert labels.dtype == np.uint8
    assert len(np.unique(labels)) == 2


@pytest.mark.parametrize(("inputs", "objects"), [("local", "bright"), ("percentile", "dark"), ("multiscale", "dark")])
def test_of_more_classes_the_likeliest_is_taken(saved, inputs, objects):
    path = saved(classes=(0, 2, 5, 9), channels=3, inputs=inputs, objects=objects)
    pixels = image(3, 32, 32)
    labels, probability = Model.load(path).predict(pixels, torch.device("cpu"))
    expected = untiled(path, pixels)
    np.testing.assert_allclose(probability, expected.max(axis=0), atol=2e-5)
    clear = np.diff(np.sort(expected, axis=0)[-2:], axis=0)[0] > 1e-4  # no tie that rounding decides
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(labels[clear], np.array([0, 2, 5, 9])[expected.argmax(axis=0)][clear])
    assert len(np.unique(labels)) > 1


def test_large_and_odd_images_and_no_probability(saved):
    model = Model.load(saved(classes=(1, 2, 3)))
    pixels = image(75, 131)
    labels, probability = model.predict(pixels, "cpu")
    assert labels.shape == probability.shape == (75, 131)
    only, none = model.predict(pixels, "cpu", want_probability=False)
    np.testing.assert_array_equal(only, labels)
    assert none is None


def test_steps_tell_how_far_it_is(saved):
    steps = Model.load(saved()).steps(image(100, 40), "cpu")
    shares = list(steps)
    assert shares == sorted(shares)
    assert len(shares) > 2
    assert 0 < shares[0] < shares[-1] == 1


def test_it_can_be_left(saved):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Model.load(saved()).predict(image(40, 40), "cpu", stop)


def test_an_image_without_contrast_is_the_first_class_without_asking_the_network(saved):
    model = Model.load(saved(classes=(2, 4), channels=2))
    blank = np.stack([np.full((40, 50), 7.0), np.zeros((40, 50))])
    labels, probability = model.predict(blank, "cpu")
    assert (labels == 2).all()
    assert (probability == 0).all()
    half = np.stack([image(40, 50), np.zeros((40, 50))])  # one of the channels has something to say
    assert model.predict(half, "cpu").probability.max() > 0


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.ones((3, 40, 40)), "cells has 3 channels, but .*model.safetensors was trained on images of one channel"),
        (np.ones((2, 3, 40, 40)), "cells has 4 dimensions"),
        (np.ones((3, 40)), r"cells: 3 x 40 pixels \(Y x X\) are too few"),
        (np.random.default_rng(0).random((3, 40)), r"cells: 3 x 40 pixels \(Y x X\) are too few"),
        (np.ones((40, 40), complex), "cells: its pixels are complex"),
        (np.full((40, 40), "a"), "cells: its pixels are of type"),
        (np.ones((0, 40)), "cells: it has no pixels"),
    ],
)
def test_pixels_that_cannot_be_used(saved, pixels, words):
    with pytest.raises(InputError, match=words):
        Model.load(saved()).predict(pixels, "cpu", name="cells")


@pytest.mark.parametrize("channels", [1, 2])
def test_where_nothing_was_measured_is_background(saved, channels):
    pixels = image(channels, 40, 40)
    pixels[0, :, :5], pixels[-1, :2] = np.nan, np.inf
    labels, probability = Model.load(saved(channels=channels)).predict(pixels.squeeze(), "cpu")
    assert (labels[:, :5] == labels[0, 0]).all()
    assert not probability[:, :5].any()
    assert not probability[:2].any()
    assert probability[2:, 5:].all()
    assert not Model.load(saved()).predict(np.full((40, 40), np.nan), "cpu").probability.any()


def test_of_several_channels_the_bad_one_is_named(saved):
    pixels = image(2, 40, 40)
    pixels = pixels.astype(float)
    pixels[1, 3, 3] = 1e300
    with pytest.raises(InputError, match="cells, channel 1: its values exceed 32-bit floats"):
        Model.load(saved(channels=2)).predict(pixels, "cpu", name="cells")
    with pytest.raises(InputError, match=r"cells has 1 channel, but .* of 2 channels"):
        Model.load(saved(channels=2)).predict(pixels[0], "cpu", name="cells")


def test_the_cut_by_a_criterion_is_left_to_who_knows_it(saved):
    path = saved(cut="correlation")
    with pytest.raises(ValueError, match="load_model"):
        Model.load(path).predict(image(40, 40), "cpu")
    asked = []

    def cut(p, pixels, checkpoint, device):
        assert device == torch.device("cpu")
        asked.append((p.copy(), pixels))
        yield slice(0, len(p)), p, p > np.quantile(p, 0.9)

    pixels = image(40, 40)
    model = Model.load(path)
    model.cut = cut
    labels, probability = model.predict(pixels, "cpu")
    assert labels.mean() == pytest.approx(0.1, abs=0.01)
    np.testing.assert_array_equal(asked[0][0], probability)
    np.testing.assert_array_equal(asked[0][1], pixels)
    only, none = model.predict(pixels, "cpu", want_probability=False)
    np.testing.assert_array_equal(only, labels)
    assert none is None


def test_a_folder_stands_for_the_model_in_it_and_a_line_says_what_it_is(saved):
    path = saved(classes=(0, 1, 2), channels=2, inputs="percentile", objects="dark", patch=(64, 32))
    assert Model.load(path.parent).path == path
    line = str(Model.load(str(path.parent)))
    for words in ("light-unet", "4 channels", "0, 1, 2", "2 channels", "percentile", "dark", "64 x 32"):
        assert words in line
    assert "edge" in str(Model.load(saved(cut="edge")))


class Payload:
    """What a pickle may do when it is read."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code of the file was run')",)


def test_what_is_no_model_is_refused_in_a_sentence(saved, tmp_path):
    whole = saved().read_bytes()
    header = json.dumps({"__metadata__": {"format": "napari-metastructure/1"}}).encode()
    bad = {
        "cut.safetensors": whole[:-100],
        "head.safetensors": whole[:20],
        "empty.safetensors": b"",
        "long_header.safetensors": struct.pack("<Q", 2**60) + whole[8:],
        "flipped.safetensors": whole[:40] + b"\xff\xff" + whole[42:],
        "no_facts.safetensors": struct.pack("<Q", len(header)) + header,
        "text.safetensors": b"hello",
        "zip.safetensors": b"PK\x03\x04" + bytes(100),
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"weights": Payload()}, tmp_path / "last.pt")
    torch.save(torch.nn.Conv2d(1, 1, 1).state_dict(), tmp_path / "plain.pth")
    (tmp_path / "nothing").mkdir()
    for name in (*bad, "last.pt", "plain.pth", "nothing", "missing.safetensors"):
        with pytest.raises(InputError) as refused:
            Model.load(tmp_path / name)
        assert name in str(refused.value)
        assert "\n" not in str(refused.value)
        assert str(refused.value).endswith(".")


def test_models_of_other_programs_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"other\.safetensors is no model of this program"):
        Model.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("use", "spec", "words"),
    [
        ({"classes": (0, 1, 2)}, {"classes": 1}, "3 classes but 1 outputs"),
        ({"classes": (0, 1)}, {"classes": 2}, "2 classes but 2 outputs"),
        ({"inputs": "multiscale"}, {"in_channels": 1}, "4 inputs .* network has 1"),
        ({"channels": 2}, {"in_channels": 1}, "2 inputs .* network has 1"),
        ({"classes": (1, 0)}, {}, "no ascending values"),
        ({"classes": (0, 255)}, {}, "no ascending values"),
        ({"classes": (0, 0, 1)}, {}, "no ascending values"),
        ({"patch": (0, 32)}, {}, "tiles of 0 x 32"),
        ({"patch": (32, 30)}, {}, "tiles of 32 x 30"),
        ({"patch": (2**20, 32)}, {}, "tiles of 1048576 x 32"),
        ({"cut": "edge", "classes": (0, 1, 2)}, {}, "more than two classes"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(saved, use, spec, words):
    with pytest.raises(InputError, match=words):
        Model.load(saved(spec=spec, **use))


def test_a_field_of_view_is_predicted_as_if_it_went_on(saved, fundus):
    plane = fundus(96).rgb[..., 1].astype(np.float32)
    outside = surround(plane, "dark")
    model = Model.load(saved(objects="dark", surround=True, classes=(2, 5)))
    labels, probability = model.predict(plane, "cpu")
    expected = Model.load(saved("plain", objects="dark", classes=(2, 5))).predict(fill(plane, outside), "cpu")
    np.testing.assert_array_equal(labels, np.where(outside, 2, expected.labels))
    np.testing.assert_array_equal(probability, np.where(outside, 0, expected.probability))
    assert (expected.labels[outside] == 5).any()
    np.testing.assert_array_equal(model.predict(plane, "cpu", want_probability=False).labels, labels)


def test_defects_and_margins_are_predicted_as_a_run_saw_them(saved):
    pixels = image(60, 70)
    clean = pixels.copy()
    pixels[:, :12], pixels[30, 40] = 0, 1e7
    ours, plain = (Model.load(saved(str(on), surround=on)).predict(pixels, "cpu") for on in (True, False))
    clean[30, 40] = np.median(pixels[29:32, 39:42])
    margin = np.indices(pixels.shape)[1] < 12
    expected = Model.load(saved("clean")).predict(fill(clean, margin), "cpu").probability
    np.testing.assert_allclose(ours.probability, np.where(margin, 0, expected), atol=1e-5)
    assert np.abs(plain.probability - ours.probability)[~margin].max() > 0.1


def test_images_without_a_surround_are_predicted_as_before(saved):
    pixels = image(50, 60)
    ours, plain = (Model.load(saved(str(on), surround=on)).predict(pixels, "cpu") for on in (True, False))
    np.testing.assert_array_equal(ours.probability, plain.probability)
    np.testing.assert_array_equal(ours.labels, plain.labels)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "float16", "float64"])
def test_pixels_of_any_type_are_predicted_as_the_same_floats(saved, dtype):
    grey = (image(40, 48) / 4).clip(0, 120) - (0 if dtype.startswith("u") else 60)
    pixels = grey > 0 if dtype == "bool" else grey.astype(dtype)
    model = Model.load(saved(surround=True, inputs="multiscale"))
    ours, floats = model.predict(pixels, "cpu"), model.predict(pixels.astype(np.float32), "cpu")
    np.testing.assert_array_equal(ours.labels, floats.labels)
    np.testing.assert_allclose(ours.probability, floats.probability, atol=1e-5)


@pytest.mark.parametrize("use", [{"colour": "green", "channels": 3}, {"surround": True, "classes": (0, 1, 2)}])
def test_a_colour_or_field_of_view_that_cannot_be_is_refused(saved, use):
    with pytest.raises(InputError, match=r"model.safetensors contradicts itself \(a (single colour|field of view)"):
        Model.load(saved(**use))
