"""The prior that ships: what it says of images it was not made from."""

import numpy as np
import pytest
import torch

from napari_metastructure.igtt.prior import PRIOR, SPEC, USE, load_prior, prior_probability
from napari_metastructure.images import simulate
from napari_metastructure.images.intensity import orient
from napari_metastructure.networks.checkpoint import load_model
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


@pytest.mark.parametrize("shape", [(40, 300), (17, 19)])
def test_planes_of_any_size(shape):
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    p = prior_probability(load_prior(), plane, CPU)
    assert p.shape == shape
    assert np.isfinite(p).all()
