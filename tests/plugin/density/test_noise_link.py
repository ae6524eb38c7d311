"""The noise widget's dial moves the density."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_metastructure.labels.recipes import Flip, Random
from napari_metastructure.plugin.density import DensityWidget
from napari_metastructure.plugin.noise import NoiseWidget


@pytest.fixture
def both(request, qtbot):
    """Label pixels, the noise widget, and the density widget on its preview and them; ``real`` in a window."""

    def make(pixels, real=False):
        viewer = request.getfixturevalue("make_napari_viewer")() if real else ViewerModel()
        source = viewer.add_labels(pixels, name="a")
        noise, density = NoiseWidget(viewer), DensityWidget(viewer)
        for widget in (noise, density):
            viewer.window.add_dock_widget(widget) if real else qtbot.addWidget(widget)
        noise.set_recipe(Flip(fraction=0.1))
        noise.preview_on(True)
        settle(noise, density)
        assert density.choose([source, noise.preview.layer])
        settle(noise, density)
        return viewer, noise, density

    def settle(*widgets):
        qtbot.waitUntil(lambda: not any(widget.busy for widget in widgets), timeout=20_000)

    make.settle = settle
    return make


def test_the_dial_moves_the_density(both, disc, counted, qtbot):
    viewer, noise, density = both(disc(64, 20), real=True)
    preview = noise.preview.layer
    image = viewer.layers["a noise preview density"]
    left = []
    for recipe in (Flip(fraction=0.2), Flip(fraction=0.45), Random(probability=0.3)):
        with qtbot.waitSignal(density.updated, timeout=10_000):
            noise.set_recipe(recipe)
        both.settle(noise, density)
        assert noise.preview.layer is preview
        np.testing.assert_allclose(image.data, counted(preview.data == 1, 8), atol=1e-7)
        row = density.numbers[1]
        assert (row.name, row.reference) == ("a noise preview", "a")
        left.append(row.comparison.retained)
    assert left[0] > 0.8 and left[2] < 0.2
    assert density.numbers[1].comparison.transition.rank == 1
    top = max(shown.data.max() for shown in density.images)
    assert {tuple(shown.contrast_limits) for shown in density.images} == {(0.0, top)}


def test_painting_the_source_moves_both(both, disc, counted):
    viewer, noise, density = both(disc(64, 20))
    viewer.layers["a"].paint((4, 4), 1)
    both.settle(noise, density)
    both.settle(noise, density)
    np.testing.assert_allclose(
        viewer.layers["a noise preview density"].data, counted(noise.preview.layer.data == 1, 8), atol=1e-7
    )
    np.testing.assert_allclose(viewer.layers["a density"].data, counted(viewer.layers["a"].data, 8), atol=1e-7)


def test_a_stack_with_a_preview_of_the_slice_in_sight(both, disc, counted):
    viewer, noise, density = both(np.stack([disc(48, 14), disc(48, 6), 0 * disc()]))
    for step in (0, 1, 2):
        viewer.dims.set_current_step(0, step)
        both.settle(noise, density)
        both.settle(noise, density)
        assert density.problem == ""
        points = noise.preview.layer.data == 1
        expected = counted(points, 8) if points.any() else np.zeros(points.shape)
        np.testing.assert_allclose(viewer.layers["a noise preview density"].data, expected, atol=1e-7)


def test_without_its_preview_the_density_goes_on(both, disc):
    viewer, noise, density = both(disc(48, 14))
    noise.preview_on(False)
    both.settle(noise, density)
    assert sorted(layer.name for layer in viewer.layers) == ["a", "a density"]
    assert density.problem == ""
