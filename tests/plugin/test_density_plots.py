"""Profiles along drawn lines."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from skimage.measure import profile_line

from napari_metastructure.plugin._density_plots import add_line_layer, holds, last_line, on_map, profile
from napari_metastructure.plugin._layers import visible_plane


@pytest.fixture
def values():
    return np.random.default_rng(0).random((40, 50)).astype(np.float32)


def test_along_a_straight_line_it_is_scikit_images(values):
    start, end = (3.0, 4.0), (33.0, 44.0)  # 50 pixels: both sample once a pixel
    found = profile("a", values, np.array([start, end]), (1, 1))
    expected = profile_line(values, start, end, order=1, mode="constant")
    np.testing.assert_allclose(found.density / values.size, expected, rtol=1e-5)
    np.testing.assert_allclose(found.distance, np.arange(51))


def test_a_path_goes_through_its_vertices(values):
    found = profile("a", values, np.array([(5.0, 5.0), (5.0, 15.0), (25.0, 15.0)]), (1, 1))
    np.testing.assert_allclose(found.density[[0, 10, 30]] / values.size, values[[5, 5, 25], [5, 15, 15]], rtol=1e-6)


def test_distance_is_in_the_unit_of_the_pixels(values):
    found = profile("a", values, np.array([(0.0, 0.0), (30.0, 40.0)]), (0.2, 0.1))
    np.testing.assert_allclose(found.distance[-1], np.hypot(6, 4))


def test_outside_there_is_nothing(values):
    found = profile("a", values, np.array([(-10.0, 5.0), (10.0, 5.0)]), (1, 1))
    assert np.isnan(found.density[:10]).all()
    assert np.isfinite(found.density[10:]).all()


def test_a_click_without_length_is_no_profile(values):
    assert profile("a", values, np.array([(5.0, 5.0), (5.0, 5.0)]), (1, 1)).density.size == 0


def test_the_last_line_counts_in_world_coordinates():
    viewer = ViewerModel()
    labels = viewer.add_labels(np.zeros((3, 40, 50), np.uint8), scale=(1, 0.2, 0.1), translate=(0, 7, 9))
    layer = add_line_layer(viewer, visible_plane(viewer, labels))
    assert layer.mode == "add_line"
    assert last_line(layer) is None
    layer.add([[0, 0], [1, 1]], shape_type="line")
    layer.add([[10, 20], [30, 40]], shape_type="line")
    layer.add([[0, 0], [0, 9], [9, 9], [9, 0]], shape_type="rectangle")  # no line
    np.testing.assert_allclose(last_line(layer), [[9, 11], [13, 13]])


def test_a_line_beside_a_map_lies_at_the_same_place_in_it():
    labels = Labels(np.zeros((40, 50), np.uint8), scale=(0.2, 0.1), translate=(7, 9))
    other = Labels(np.zeros((40, 50), np.uint8), scale=(0.2, 0.1), translate=(7, 109))
    image = Image(np.zeros((40, 50)), scale=(0.2, 0.1), translate=(107, 9))
    far = Image(np.zeros((40, 50)), scale=(0.2, 0.1), translate=(107, 109))
    line = np.array([[9.0, 11.0], [13.0, 13.0]])
    pixels = [[10, 20], [30, 40]]
    assert holds(labels, line) and not holds(image, line) and not holds(other, line)
    np.testing.assert_allclose(on_map(line, labels, image, labels), pixels)
    np.testing.assert_allclose(on_map(line, other, far, labels), pixels)
    np.testing.assert_allclose(on_map(line + np.array((100, 0)), labels, image, image), pixels)
