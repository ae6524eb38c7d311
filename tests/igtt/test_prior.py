"""The prior that ships: what it says of images it was not made from."""

import numpy as np
import pytest
import torch
from skimage.transform import resize

from napari_metastructure.igtt.prior import PRIOR, SPEC, USE, load_prior, prior_probability
from napari_metastructure.images import simulate
from napari_metastructure.images.intensity import network_inputs, orient
from napari_metastructure.networks.checkpoint import load_model
from napari_metastructure.networks.predict import probability
from napari_metastructure.training.metrics import auc, dice

CPU = torch.device("cpu")


def test_the_file_says_what_the_code_says():
    _, spec, use = load_model(PRIOR)
    assert (spec, use) == (SPEC, USE)
    assert PRIOR.stat().st_size < 2 * 2**20  # it ships with every install


@pytest.mark.parametrize("simulator", [simulate.endoplasmic_reticulum, simulate.mitochondria, simulate.nuclei])
@pytest.mark.parametrize("objects", ["bright", "dark"])
def test_it_knows_objects_it_was_not_made_from(simulator, objects):
    image, truth = simulator((256, 256), np.random.default_rng(0))
    image = 1e5 - image.astype(float) if objects == "dark" else image
    p = prior_probability(load_prior(), orient(image, objects), CPU)
    assert p.shape == truth.shape
    assert auc(p, truth) > 0.9
    assert dice(p > 0.5, truth) > 0.6


def test_it_is_the_mean_of_the_logits_at_three_sizes():
    image, _ = simulate.mitochondria((256, 256), np.random.default_rng(1))
    plane, prior = orient(image, "bright"), load_prior()
    logits = []
    for side in (256, 181, 128):
        p = at_size(lambda z: probability(prior, network_inputs(z, USE.inputs, "bright"), USE.patch, CPU), plane, side)
        logits.append(np.log(p / (1 - p)).clip(-6.9, 6.9))
    expected = 1 / (1 + np.exp(-np.mean(logits, axis=0)))
    assert np.abs(prior_probability(prior, plane, CPU) - expected).mean() < 0.01  # sizes are changed by another library


def at_size(apply, plane, side):
    """What a function says of a plane that is resized."""
    reduced = resize(plane, (side, side), anti_aliasing=side < len(plane)).astype(np.float32)
    return resize(apply(reduced), plane.shape).clip(1e-6, 1 - 1e-6)


def test_noise_is_taken_for_less_at_several_sizes():
    plane, prior = orient(np.random.default_rng(0).normal(size=(256, 256)), "bright"), load_prior()
    one = probability(prior, network_inputs(plane, USE.inputs, "bright"), USE.patch, CPU)
    assert (prior_probability(prior, plane, CPU) > 0.5).mean() <= (one > 0.5).mean()


def test_it_can_be_left():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prior_probability(load_prior(), np.zeros((64, 64), np.float32), CPU, stop)


@pytest.mark.parametrize("shape", [(40, 300), (17, 19), (65, 1), (300, 129)])
def test_planes_of_any_size(shape):
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    p = prior_probability(load_prior(), plane, CPU)
    assert p.shape == shape
    assert np.isfinite(p).all()
