"""Bandwidths in the unit of a layer, and densities of whole stacks of several layers."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import LabelStack, PlaneDone
from napari_metastructure.plugin._density_model import (
    DensityRequest,
    DensitySettings,
    bandwidth_in_pixels,
    stacks_job,
    unit_symbol,
)


def layer(**attributes):
    return Labels(np.zeros((4, 4), np.uint8), **attributes)


def test_pixels_are_the_same_along_both_axes():
    anisotropic = layer(scale=(0.2, 0.1), units=("um", "um"))
    assert bandwidth_in_pixels(DensitySettings(bandwidth=3), anisotropic, anisotropic) == (3, 3)


def test_pixels_that_are_not_square_give_two_bandwidths():
    anisotropic = layer(scale=(0.2, 0.1), units=("um", "um"))
    found = bandwidth_in_pixels(DensitySettings(bandwidth=0.6, unit="layer"), anisotropic, anisotropic)
    np.testing.assert_allclose(found, (3, 6))


def test_each_layer_has_its_own_pixels_and_unit():
    first, second = layer(scale=(0.2, 0.2), units=("um", "um")), layer(scale=(50, 50), units=("nm", "nm"))
    settings = DensitySettings(bandwidth=0.6, unit="layer")
    np.testing.assert_allclose(bandwidth_in_pixels(settings, second, first), (12, 12))


def test_units_that_measure_different_things_are_told():
    first, second = layer(scale=(0.2, 0.2), units=("um", "um")), layer(name="b")
    with pytest.raises(InputError, match=r"'b' is in pixel.*in pixels"):
        bandwidth_in_pixels(DensitySettings(unit="layer"), second, first)


@pytest.mark.parametrize(
    ("attributes", "symbol"),
    [({}, None), ({"scale": (2, 2)}, "scaled"), ({"units": ("um", "um")}, "µm")],
)
def test_the_unit_is_written_as_its_symbol(attributes, symbol):
    assert unit_symbol(layer(**attributes)) == symbol


# ---- whole stacks ----------------------------------------------------------------------------------------


def run(layers, bandwidth=(4.0, 4.0), **settings):
    how = DensitySettings(**settings)
    stacks = [LabelStack(layer.data, how.reading, False, f"Layer {layer.name!r}") for layer in layers]
    return list(stacks_job([DensityRequest(*pair, bandwidth=bandwidth) for pair in zip(layers, [how] * 9, stacks)]))  # noqa: B905


def test_each_plane_is_its_own_density(disc, counted):
    stack = np.stack([disc(32, 6), disc(32, 10), np.zeros((32, 32), np.uint8)])
    *steps, (first, second) = run([Labels(stack), Labels(disc(32, 8))])
    assert steps == [PlaneDone(n, 4) for n in (1, 2, 3, 4)]
    np.testing.assert_allclose(first.values[0], counted(stack[0], 4), atol=1e-7)
    np.testing.assert_allclose(first.values[1], counted(stack[1], 4), atol=1e-7)
    assert not first.values[2].any()
    assert second.values.shape == (32, 32)
    assert first.limits == second.limits == (0, max(first.values.max(), second.values.max()))


def test_all_classes_have_a_stack_each_with_its_own_contrast(disc):
    stack = np.stack([disc(label=1), disc(label=3)])
    *_, made = run([Labels(stack)], label_class=None, reading="classes", one_scale=False)
    assert [(one.label_class, one.values.any(axis=(1, 2)).tolist()) for one in made] == [
        (1, [True, False]),
        (3, [False, True]),
    ]
    assert [one.limits for one in made] == [(one.values.min(), one.values.max()) for one in made]
