"""Models of iGTT runs on other images: they are cut as in the run."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from napari_metastructure.igtt import levels as blocks
from napari_metastructure.igtt.apply import load_model, turn_upright
from napari_metastructure.igtt.candidates import Steepness, search
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.igtt.levels import Levels
from napari_metastructure.images.surround import fill, surround


def sample(seed, shape=(150, 110)):
    """An image of blobs, and a probability that knows them roughly."""
    rng = np.random.default_rng(seed)
    field = ndi.gaussian_filter(rng.standard_normal(shape), 4)
    image = ndi.gaussian_filter((field > 0.05).astype(np.float32), 1.5) * 100 + rng.normal(300, 5, shape)
    return image.astype(np.float32), (1 / (1 + np.exp(-60 * (field - 0.02)))).astype(np.float32)


@pytest.mark.parametrize(("inputs", "criterion"), [("multiscale", "edge"), ("zscore", "level")])
def test_a_run_s_model_finds_the_same_objects_elsewhere(tmp_path, inputs, criterion):
    """Trained on one image of dark blobs, it has to find them on another."""
    settings = {"base_channels": 4, "patch_size": 64, "epochs": 1, "steps_per_epoch": 40, "seed": 1, "device": "cpu"}
    settings |= {"network": "light-unet", "learning_rate": 2e-3}  # from random weights
    config = IGTTConfig(**settings, inputs=inputs, objects="dark", start="otsu", criterion=criterion)
    rng = np.random.default_rng(0)
    truth = [ndi.gaussian_filter(rng.standard_normal((96, 96)), 5) > 0.04 for _ in range(2)]
    images = [(200 - 80 * ndi.gaussian_filter(t.astype(float), 1) + rng.normal(0, 10, t.shape)) for t in truth]
    for _ in iterate(images[:1], config, folder=tmp_path / "run"):
        pass
    model = load_model(tmp_path / "run")
    assert (model.use.cut, model.use.objects) == (criterion, "dark")
    labels, probability = model.predict(images[1], "cpu")
    if criterion == "edge":
        cut = search(probability, "edge", steep=Steepness(images[1].astype(np.float32))).chosen
        np.testing.assert_array_equal(labels, probability > cut)
    else:
        np.testing.assert_array_equal(labels, Levels(-images[1]).cut(probability)[0])
    dice = 2 * (labels & truth[1]).sum() / (labels.sum() + truth[1].sum())
    assert dice > 0.8


@pytest.mark.parametrize("pixels", [1, 2**22])
@pytest.mark.parametrize("objects", ["bright", "dark"])
def test_a_probability_that_falls_where_the_objects_are_is_turned_around(monkeypatch, pixels, objects):
    monkeypatch.setattr(blocks, "PIXELS", pixels)
    monkeypatch.setattr(blocks, "LEAST_ROWS", 1)
    image, p = sample(3)
    image = 1000 - image if objects == "dark" else image
    for given in (p.copy(), 1 - p):
        turn_upright(given, image, objects)
        np.testing.assert_allclose(given, p, atol=1e-6)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("criterion", ["dmi", "correlation"])
def test_a_model_that_learned_the_inverse_is_used_as_its_run_used_it(tmp_path, inverse, criterion):
    """With the loss of eq. (6) the network may call the background foreground; the run turns that around."""
    settings = {"base_channels": 4, "patch_size": 64, "epochs": 2, "steps_per_epoch": 20, "device": "cpu"}
    config = IGTTConfig.from_preset("paper", network="light-unet", objects="bright", criterion=criterion, **settings)
    image, _ = sample(0, (64, 64))
    *_, end = iterate([image], config, folder=tmp_path / "run")
    model = load_model(tmp_path / "run")
    if inverse:
        with torch.no_grad():
            for parameter in model.network.head.parameters():
                parameter.neg_()
    labels, probability = model.predict(image, "cpu")
    assert 0.02 < end.masks[0].mean() < 0.98  # it says something at all
    np.testing.assert_allclose(probability, end.probabilities[0], atol=2e-3)  # kept as half floats by the run
    assert (labels == end.masks[0]).mean() > 0.9


# ---- Fields of view


def test_a_model_that_was_saved_leaves_the_surround_out_as_well(green, quick, tmp_path):
    plane, _, outside = green
    list(iterate([plane], quick.model_copy(update={"objects": "dark"}), folder=tmp_path))
    model = load_model(tmp_path)
    labels, probability = model.predict(plane, "cpu")
    assert not labels[outside].any() and not probability[outside].any()
    filled = fill(plane, outside)
    assert surround(filled, "dark") is None
    p = model.predict(filled, "cpu").probability
    np.testing.assert_array_equal(probability[~outside], p[~outside])
    mask, _ = Levels(filled, "dark").cut(np.where(outside, 0, p))
    np.testing.assert_array_equal(labels > 0, mask & ~outside)
    assert 0.01 < mask.mean() < 0.5
