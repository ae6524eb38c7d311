"""The samples of the menu, and the paper's Figure 6 as layers."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import read_image
from napari_metastructure.labels.figure6 import circle, figure_6
from napari_metastructure.plugin import samples
from napari_metastructure.plugin._density_model import DensitySettings
from napari_metastructure.plugin._layers import ORIGIN
from napari_metastructure.plugin.density import DensityWidget
from napari_metastructure.plugin.samples import CELLS, STEP, find_figure

ALL = [
    (samples.endoplasmic_reticulum, (4, 256, 256), (10.0, 0.1, 0.1)),
    (samples.mitochondria, (256, 256), (0.1, 0.1)),
    (samples.nuclei, (256, 256), (0.1, 0.1)),
]


@pytest.mark.parametrize(("sample", "shape", "scale"), ALL)
def test_a_sample_is_one_image_with_voxel_size(sample, shape, scale):
    ((data, attributes, kind),) = sample()
    assert (data.shape, data.dtype, kind) == (shape, np.uint16, "image")
    np.testing.assert_allclose(attributes["scale"], scale)
    assert attributes["units"][-2:] == ("micrometer", "micrometer")
    assert len(attributes["units"]) == len(attributes["axis_labels"]) == data.ndim
    assert ORIGIN not in attributes["metadata"]  # else the widget would take it for a result


@pytest.mark.parametrize(("sample", "shape", "scale"), ALL)
def test_its_mask_fits_it(sample, shape, scale):
    ((data, attributes, _),) = sample()
    mask = read_image(attributes["metadata"]["mask"])
    assert mask.data.shape == shape
    assert set(np.unique(mask.data)) == {0, 255}
    assert data[mask.data > 0].mean() > 1.2 * data[mask.data == 0].mean()


def test_missing_samples_are_said_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(samples, "__file__", str(tmp_path / "lib" / "package" / "plugin" / "samples.py"))
    with pytest.raises(InputError, match="install napari-metastructure again"):
        samples.nuclei()


def test_the_menu_opens_them_in_a_viewer(make_napari_viewer):
    viewer = make_napari_viewer()
    (layer,) = viewer.open_sample("napari-metastructure", "er")
    assert layer.name == "Endoplasmic reticulum"
    assert layer.axis_labels == ("t", "y", "x")
    np.testing.assert_allclose(layer.scale, (10, 0.1, 0.1))
    assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer"]


def test_figure_6_opens_whole_and_only_once(make_napari_viewer):
    viewer = make_napari_viewer()
    viewer.open_sample("napari-metastructure", "figure_6")
    camera = viewer.scene.camera
    shown = camera.zoom, camera.center
    viewer.reset_view()
    assert (camera.zoom, camera.center) == shown
    camera.zoom = 7
    viewer.add_image(np.zeros((8, 8)))
    assert camera.zoom == 7


def test_figure_6_is_a_sample_in_a_grid(make_napari_viewer):
    viewer = make_napari_viewer()
    layers = viewer.open_sample("napari-metastructure", "figure_6")
    assert [type(layer).__name__ for layer in layers] == ["Image"] * 6 + ["Labels"] * 3 + ["Points"]
    assert {"CL", "RCL", "RL", "RL matrix", "RL density"} <= {layer.name for layer in viewer.layers}
    assert len({tuple(layer.extent.world[0]) for layer in layers}) == 10  # each in its place, without grid mode


# ---- Figure 6 ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuples():
    return samples.figure_6()


@pytest.fixture
def figure(tuples):
    layers = [Layer.create(*made) for made in tuples]
    return {layer.name: layer for layer in layers}


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def widget(viewer, qtbot):
    widget = DensityWidget(viewer)
    qtbot.addWidget(widget)
    return widget


@pytest.fixture
def show(widget, qtbot):
    def click():
        widget.figure_button.click()
        qtbot.waitUntil(lambda: not widget.busy, timeout=60_000)

    return click


def test_there_are_three_rows_of_three_and_the_captions(figure):
    assert sorted(figure) == sorted(
        [*CELLS, *(f"{cell} matrix" for cell in CELLS), *(f"{cell} density" for cell in CELLS), "Figure 6 captions"]
    )
    np.testing.assert_array_equal(figure["CL"].data, circle())
    assert 0.4 < (figure["RCL"].data != circle()).mean() < 0.5


def test_every_cell_is_as_large_and_in_its_place(figure):
    for row, kind in enumerate(("", " matrix", " density")):
        for column, cell in enumerate(CELLS):
            low, high = figure[cell + kind]._extent_world_augmented  # with the outer half of the pixels
            np.testing.assert_allclose(low, (row * STEP - 0.5, column * STEP - 0.5))
            np.testing.assert_allclose(high - low, (256, 256))


def test_the_matrices_are_written_where_they_are_drawn(figure):
    captions = figure["Figure 6 captions"]
    for cell in CELLS:
        matrix = figure[f"{cell} matrix"]
        for i, j in np.ndindex(2, 2):
            place = matrix.data_to_world((i, j))
            (row,) = np.flatnonzero(np.linalg.norm(captions.data - place, axis=1) < 1)
            assert captions.features["caption"][row] == f"{matrix.data[i, j]:.2f}"
    ranks = [text for text in captions.features["caption"] if "rank" in text]
    assert ranks == ["rank 2", "rank 2", "rank 1"]


def test_all_of_the_figure_is_in_sight(viewer, tuples):
    for made in tuples:
        viewer.add_layer(Layer.create(*made))
    low, _high = viewer.layers.extent.world
    captions = viewer.layers["Figure 6 captions"]
    np.testing.assert_array_equal(captions.data.min(axis=0), low)
    assert low[1] < -0.6 * 256  # room for the text to the left


def test_each_density_shows_from_its_lowest_to_its_highest(figure):
    for panel in figure_6().panels:
        image = figure[f"{panel.name} density"]
        np.testing.assert_array_equal(image.data, panel.density)
        np.testing.assert_allclose(image.contrast_limits, (panel.density.min(), panel.density.max()))


def test_one_click_shows_it_and_follows_it(viewer, widget, show, tuples):
    show()
    assert widget.problem == ""
    assert [layer.name for layer in widget.picker.chosen()] == list(CELLS)
    assert {image.name for image in widget.images} == {f"{cell} density" for cell in CELLS}
    assert len(viewer.layers) == len(tuples)  # the figure's own densities are the widget's maps
    made = {attributes["name"]: (data, attributes) for data, attributes, _ in tuples}
    for image in widget.images:  # the widget computes what the figure shows
        np.testing.assert_allclose(image.data, made[image.name][0], rtol=1e-5)
        np.testing.assert_allclose(image.translate, made[image.name][1]["translate"])
        np.testing.assert_allclose(image.contrast_limits, made[image.name][1]["contrast_limits"], rtol=1e-4)


def test_its_histograms_have_two_humps_two_humps_and_one(widget, show):
    show()
    names, gaps = [], []
    for found in widget.class_histograms:
        low, high = found.means
        spread = [np.sqrt(np.average((_middles(found) - m) ** 2, weights=c)) for m, c in zip(found.means, found.counts)]  # noqa: B905
        names.append(found.name)
        gaps.append(abs(high - low) / max(spread))
    assert names == [f"{cell} density" for cell in CELLS]
    assert gaps[0] > 3 and gaps[1] > 3 and gaps[2] < 0.5
    cl, rcl, rl = widget.numbers
    assert (rcl.reference, rl.reference) == ("CL", "CL")
    assert [row.comparison.transition.rank for row in (rcl, rl)] == [2, 1]
    assert rcl.comparison.retained > 0.9 and rl.comparison.retained < 0.1
    assert cl.comparison is None


def test_the_slider_moves_the_maps_in_their_cells(widget, show, qtbot):
    show()
    before = [image.data for image in widget.images]
    with qtbot.waitSignal(widget.updated, timeout=60_000):
        widget.settings.bandwidth.slider.setValue(100)
    for image, data in zip(widget.images, before, strict=True):
        assert not np.allclose(image.data, data, rtol=1e-2)
        assert image.translate[0] == 2 * STEP
        assert image.metadata[ORIGIN]["offset"] == [2 * STEP, 0]


def test_a_second_click_opens_no_second_figure(viewer, widget, show, tuples):
    show()
    widget.choose([viewer.layers["RL"]])
    widget.set(bandwidth=3, one_scale=True)
    show()
    assert len(viewer.layers) == len(tuples)
    assert len(widget.picker.chosen()) == 3
    assert widget.settings.settings() == DensitySettings(bandwidth=figure_6().bandwidth, edges=True, one_scale=False)
    viewer.layers.remove("RL")
    show()  # a new one, for that one is not whole any more
    assert len(find_figure(viewer.layers)) == len(tuples)


def test_beside_labels_of_the_same_name_it_keeps_its_own_truth(viewer, widget, show):
    viewer.add_labels(np.zeros((9, 9), np.uint8), name="CL")
    show()
    assert [row.reference for row in widget.numbers[1:]] == ["CL [1]", "CL [1]"]
    assert [row.problem for row in widget.numbers] == [""] * 3


def test_it_can_be_opened_beside_images_with_units(viewer, widget, show):
    viewer.add_labels(np.zeros((9, 9), np.uint8), name="a", scale=(0.1, 0.1), units=("um", "um"))
    show()
    assert widget.problem == ""
    assert len(widget.images) == 3


def _middles(found):
    return (found.edges[1:] + found.edges[:-1]) / 2
