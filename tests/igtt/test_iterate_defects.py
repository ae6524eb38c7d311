"""Ordinary flaws of cameras and files change little in what a run finds, and it says what it did about them."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.images.simulate import nuclei
from napari_metastructure.training.events import Finished, Warned
from napari_metastructure.training.metrics import dice


def scene():
    image, truth = nuclei((128, 160), np.random.default_rng(5))
    return 1000 * image.astype(np.float32) / image.max() + 300, truth


def run(*images):
    *events, last = iterate(images, IGTTConfig(device="cpu"), names=["a", "b"][: len(images)])
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
