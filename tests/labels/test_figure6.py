"""Figure 6: ranks, humps and ratios that the paper states."""

from __future__ import annotations

import numpy as np
import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.labels.density import density
from napari_metastructure.labels.figure6 import circle, figure_6


def apart(panel, clean, bandwidth):
    """The classes' mean densities, their difference in standard errors; a disc of pixels is one independent value."""
    inside, outside = panel.density[clean == 1], panel.density[clean == 0]
    errors = [hump.var() / (hump.size / (np.pi * bandwidth**2)) for hump in (inside, outside)]
    return (inside.mean(dtype=float) - outside.mean(dtype=float)) / np.sqrt(sum(errors)), inside, outside


def test_the_circle_lies_in_the_middle_of_the_rectangle():
    clean = circle()
    assert clean.shape == (256, 256)
    assert clean.dtype == np.uint8
    assert set(np.unique(clean)) == {0, 1}
    np.testing.assert_array_equal(clean, clean[::-1, ::-1])
    y, x = np.nonzero(clean)
    assert y.max() - y.min() == x.max() - x.min() == 183
    assert clean.sum() == pytest.approx(np.pi * 92**2, rel=5e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rank_two_has_two_humps_and_rank_one_has_one(seed):
    figure = figure_6(seed)
    assert [panel.name for panel in figure.panels] == ["CL", "RCL", "RL"]
    assert [panel.matrix.rank for panel in figure.panels] == [2, 2, 1]
    clean = figure.cl.labels
    for panel in (figure.cl, figure.rcl):
        errors, inside, outside = apart(panel, clean, figure.bandwidth)
        assert errors > 10
        # Humps, not tails of one: half-way between the means there is less than at either.
        middle, half = (inside.mean() + outside.mean()) / 2, (inside.mean() - outside.mean()) / 2
        near = [np.mean(np.abs(panel.density - place) < half / 4) for place in (outside.mean(), middle, inside.mean())]
        assert near[1] < 0.7 * min(near[0], near[2])
    errors, inside, outside = apart(figure.rl, clean, figure.bandwidth)
    assert abs(errors) < 4
    assert abs(inside.mean() - outside.mean()) < inside.std()


def test_rcl_shows_what_lemma_1_says():
    figure = figure_6(seed=3, flip=0.3)
    matrix = figure.rcl.matrix.matrix
    np.testing.assert_allclose(matrix, [[0.7, 0.3], [0.3, 0.7]], atol=0.02)
    deep = np.hypot(*(np.indices((256, 256)) - 127.5)) < 92 - figure.bandwidth
    far = np.hypot(*(np.indices((256, 256)) - 127.5)) > 92 + figure.bandwidth
    ratio = figure.rcl.density[deep].mean() / figure.rcl.density[far].mean()
    assert ratio == pytest.approx(0.7 / 0.3, rel=0.03)


def test_the_same_seed_gives_the_same_figure_and_settings_are_used():
    one, same, other = figure_6(4), figure_6(4), figure_6(5)
    for a, b, c in zip(one.panels[1:], same.panels[1:], other.panels[1:], strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)
        assert (a.labels != c.labels).any()
    figure = figure_6(0, random=0.1, kernel="gaussian", bandwidth=5)
    assert figure.rl.labels.mean() == pytest.approx(0.1, abs=0.01)
    expected = density(figure.rl.labels, 1, "gaussian", 5, edges=True)
    np.testing.assert_array_equal(figure.rl.density, expected)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"flip": 1.5}, "between 0 and 1"),
        ({"random": -0.1}, "between 0 and 1"),
        ({"random": 0}, "no pixel of class 1"),
        ({"bandwidth": 0}, "above 0"),
        ({"bandwidth": 300}, "larger than the image"),
    ],
)
def test_bad_settings_are_told(arguments, told):
    with pytest.raises(InputError, match=told):
        figure_6(**arguments)
