"""Ordinary flaws of cameras and files change little in what a run finds, and it says what it did about them."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.apply import load_model
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.images.simulate import nuclei
from napari_metastructure.training.events import Finished, Warned
from napari_metastructure.training.metrics import dice


def scene():
    image, truth = nuclei((128, 160), np.random.default_rng(5))
    return 1000 * image.astype(np.float32) / image.max() + 300, truth


def run(*images, folder=None, **settings):
    config = IGTTConfig(device="cpu", **settings)
    *events, last = iterate(images, config, names=["a", "b"][: len(images)], folder=folder)
    assert isinstance(last, Finished)
    return last.masks, [event.message for event in events if isinstance(event, Warned)]


def hot(image):
    image.ravel()[np.random.default_rng(0).choice(image.size, 8, replace=False)] = 65535


def line(image):
    image[60] = 0


def frame(image):
    image[:10], image[-10:], image[:, :10], image[:, -10:] = 0, 0, 0, 0


def tiles(image):
    image[:30, :60], image[100:, 90:] = 1e4, 1e4


def turned(image):
    image[ndi.rotate(np.ones(image.shape), 8, reshape=False, order=0) == 0] = 0


@pytest.mark.parametrize(
    ("flaw", "said"), [(hot, "hot pixels"), (line, "lines"), (frame, "margin"), (tiles, "margin"), (turned, "margin")]
)
def test_a_flaw_costs_little_and_is_told(flaw, said):
    image, truth = scene()
    flawed = image.copy()
    flaw(flawed)
    margin = (flawed != image) & (said == "margin")
    (clean, found), told = run(image, flawed)
    assert [message for message in told if said in message and message.startswith("b: ")] == told != []
    assert not found[margin].any()
    assert dice(found[~margin], truth[~margin]) > dice(clean[~margin], truth[~margin]) - 0.02 > 0.8


def test_where_there_is_none_nothing_is_told():
    image, _ = scene()
    (first, second), told = run(image, np.rint(image / 4).clip(0, 255).astype(np.uint8))
    assert told == [] and dice(first, second) > 0.95


# ---- What looks like a flaw and is none


def saturated(image):
    """An object cut by the border, along a straight edge and brighter than the camera can tell."""
    image[30:90, :24] = 4000


def spots(image):
    """Objects of a single pixel."""
    image[::12, ::12] = 65535


@pytest.mark.parametrize("start", ["prior", "otsu"])
def test_objects_that_look_like_flaws_can_be_kept(start, tmp_path):
    image, _ = scene()
    saturated(image)
    settings = {"objects": "bright", "start": start, "weights": "random", "epochs": 1, "steps_per_epoch": 1}
    mended, told = run(image, **settings)
    assert [m for m in told if m.endswith("set flaws to keep if it is an object.")] == told != []
    assert not mended[0][30:90, :24].any()
    kept, told = run(image, folder=tmp_path, flaws="keep", **settings)
    assert told == []
    assert kept[0][32:88, :22].all()
    model = load_model(tmp_path)
    assert model.predict(image, "cpu").probability[30:90, :24].all()  # outside of a field of view it is 0
    with pytest.raises(InputError, match="was made with flaws = keep, not mend; resume it with the same settings"):
        list(iterate([image], IGTTConfig(device="cpu", **settings), names=["a"], folder=tmp_path, resume=True))


def test_single_pixels_can_be_objects():
    image = np.random.default_rng(0).normal(300, 5, (90, 90)).astype(np.float32)
    spots(image)
    settings = {"start": "otsu", "objects": "bright", "inputs": "zscore", "epochs": 1, "steps_per_epoch": 1}
    (seen,), _ = run(image, flaws="keep", **settings)
    (gone,), told = run(image, **settings)
    assert seen[::12, ::12].all() and not gone[::12, ::12].all()
    assert told == [
        "a: hot pixels, or lines of one value, were replaced by the pixels around them; set flaws to keep if they are "
        "objects."
    ]


def test_algorithm_1_takes_images_as_they_are():
    assert (IGTTConfig().flaws, IGTTConfig.from_preset("paper").flaws) == ("mend", "keep")


def test_bright_and_dark_are_told_without_a_field_of_view_where_flaws_are_kept(monkeypatch):
    monkeypatch.setattr("napari_metastructure.igtt.polarity.surround", lambda *_: pytest.fail("looked for one"))
    image, _ = scene()
    run(image, flaws="keep")


# ---- What is told and not mended


def dust(image):
    image[20:28, 30:38] += 20_000


def coarse(image):
    image[:] = np.floor(15.999 * ((image - image.min()) / np.ptp(image)) ** 3)


def photons(image):
    image[:] = np.random.default_rng(0).poisson(2 * (image - image.min()) / np.ptp(image) + 1)


@pytest.mark.parametrize(
    ("flaw", "said"), [(dust, "far brighter than all else"), (coarse, "16 grey levels"), (photons, "noise is so")]
)
@pytest.mark.parametrize("flaws", ["mend", "keep"])
def test_what_hides_objects_is_told_and_left(flaw, said, flaws):
    image, _ = scene()
    flaw(image)
    _, told = run(image, start="otsu", objects="bright", epochs=1, steps_per_epoch=1, patch_size=32, flaws=flaws)
    assert [message.startswith("a: ") for message in told if said in message] == [True]
