"""Densities of whole stacks of several layers."""

import numpy as np
from napari.layers import Labels

from napari_metastructure.labels.classes import LabelStack, PlaneDone
from napari_metastructure.plugin._density_model import DensityRequest, DensitySettings, stacks_job


def run(layers, bandwidth=(4.0, 4.0), **settings):
    how = DensitySettings(**settings)
    stacks = [LabelStack(layer.data, how.reading, False, f"Layer {layer.name!r}") for layer in layers]
    return list(stacks_job([DensityRequest(*pair, bandwidth=bandwidth) for pair in zip(layers, [how] * 9, stacks)]))  # noqa: B905


def test_each_plane_is_its_own_density(disc, counted):
    stack = np.stack([disc(32, 6), disc(32, 10), np.zeros((32, 32), np.uint8)])
    *steps, (first, second) = run([Labels(stack), Labels(disc(32, 8))])
    assert steps == [PlaneDone(n, 4) for n in (1, 2, 3, 4)]
    np.testing.assert_allclose(first[1][0], counted(stack[0], 4), atol=1e-7)
    np.testing.assert_allclose(first[1][1], counted(stack[1], 4), atol=1e-7)
    assert not first[1][2].any()
    assert second[1].shape == (32, 32)
