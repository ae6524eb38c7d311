"""Models of iGTT runs on other images: the cut is that of `igtt.candidates.search`, whatever the size."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from napari_metastructure.igtt import apply as module
from napari_metastructure.igtt.apply import load_model, threshold, turn_upright
from napari_metastructure.igtt.candidates import search, steepness
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.igtt.levels import Levels
from napari_metastructure.images.intensity import orient

CRITERIA = ("edge", "correlation", "dmi", "iou", "bce")


def sample(seed, shape=(150, 110)):
    """An image of blobs, and a probability that knows them roughly."""
    rng = np.random.default_rng(seed)
    field = ndi.gaussian_filter(rng.standard_normal(shape), 4)
    image = ndi.gaussian_filter((field > 0.05).astype(np.float32), 1.5) * 100 + rng.normal(300, 5, shape)
    return image.astype(np.float32), (1 / (1 + np.exp(-60 * (field - 0.02)))).astype(np.float32)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("pixels", [1, 110 * 7 + 3, 2**22])
@pytest.mark.parametrize("seed", [0, 1])
def test_in_blocks_or_at_once_it_is_the_threshold_of_the_search(monkeypatch, criterion, pixels, seed):
    monkeypatch.setattr(module, "PIXELS", pixels)
    image, p = sample(seed)
    steep = steepness(orient(image, "dark" if seed else "bright"))
    expected = search(p, criterion, "exact", steep=steep).chosen
    assert threshold(p, image, criterion) == pytest.approx(expected, rel=1e-6)


def test_steepness_in_blocks_is_that_of_the_whole(monkeypatch):
    monkeypatch.setattr(module, "PIXELS", 110 * 20)
    image, _ = sample(2)
    rows = module._steepness(image, None)
    together = np.concatenate([rows(a, min(a + 33, 150)) for a in range(0, 150, 33)])
    np.testing.assert_array_equal(together, steepness(image))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_constant_probability_gives_an_empty_mask(criterion):
    p = np.full((40, 40), 0.7, np.float32)
    assert not (p > threshold(p, sample(0, (40, 40))[0], criterion)).any()


def test_it_can_be_left():
    def stop():
        raise KeyboardInterrupt

    image, p = sample(0)
    with pytest.raises(KeyboardInterrupt):
        threshold(p, image, "edge", stop)


@pytest.mark.parametrize(("inputs", "criterion"), [("multiscale", "edge"), ("zscore", "level")])
def test_a_run_s_model_finds_the_same_objects_elsewhere(tmp_path, inputs, criterion):
    """Trained on one image of dark blobs, it has to find them on another."""
    settings = {"base_channels": 4, "patch_size": 64, "epochs": 1, "steps_per_epoch": 40, "seed": 1, "device": "cpu"}
    settings["learning_rate"] = 2e-3  # from random weights
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
        cut = search(probability, "edge", steep=steepness(images[1].astype(np.float32))).chosen
        np.testing.assert_array_equal(labels, probability > cut)
    else:
        np.testing.assert_array_equal(labels, Levels(-images[1]).cut(probability)[0])
    dice = 2 * (labels & truth[1]).sum() / (labels.sum() + truth[1].sum())
    assert dice > 0.8


@pytest.mark.parametrize("pixels", [1, 2**22])
@pytest.mark.parametrize("objects", ["bright", "dark"])
def test_a_probability_that_falls_where_the_objects_are_is_turned_around(monkeypatch, pixels, objects):
    monkeypatch.setattr(module, "PIXELS", pixels)
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
