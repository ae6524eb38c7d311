"""Which slice of a layer is on screen, and which colours classes have."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Labels

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.plugin._layers import (
    LEAST,
    LONGEST,
    UNSEEN_COLOR,
    class_color,
    class_colormap,
    colormap,
    result_name,
    shortened,
    shown_colors,
    visible_plane,
)

# ---- the slice on screen -------------------------------------------------------------------------------------


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def stack():
    return np.arange(2 * 3 * 8 * 10).reshape(2, 3, 8, 10)


def test_it_follows_the_sliders(viewer, stack):
    layer = viewer.add_labels(stack, scale=(1, 5, 0.2, 0.1))
    viewer.dims.set_point((0, 1), (1, 10))  # in the units of the layer: T = 1, Z = 2
    plane = visible_plane(viewer, layer)
    assert (plane.at, plane.index) == ((1, 2), 5)
    np.testing.assert_array_equal(plane.pixels(), stack[1, 2])


def test_a_layer_with_fewer_axes_than_the_viewer(viewer, stack):
    viewer.add_labels(stack)
    layer = viewer.add_labels(stack[0])
    viewer.dims.set_point((0, 1), (1, 2))
    assert visible_plane(viewer, layer).at == (2,)
    flat = viewer.add_labels(stack[0, 0])
    assert visible_plane(viewer, flat).at == ()
    np.testing.assert_array_equal(visible_plane(viewer, flat).pixels(), stack[0, 0])


def test_none_outside_the_layer_and_on_other_axes(viewer, stack):
    viewer.add_labels(np.zeros((9, 8, 10), int))
    layer = viewer.add_labels(stack[0])
    viewer.dims.set_point(0, 7)
    assert visible_plane(viewer, layer) is None
    viewer.dims.set_point(0, 1)
    assert visible_plane(viewer, layer) is not None
    viewer.dims.roll()
    assert visible_plane(viewer, layer) is None
    viewer.dims.roll(), viewer.dims.roll()
    viewer.dims.ndisplay = 3
    assert visible_plane(viewer, layer) is None


def test_full_resolution_of_a_pyramid(viewer, stack):
    layer = viewer.add_labels([stack[0], stack[0][:, ::2, ::2]], multiscale=True)
    viewer.dims.set_point(0, 2)
    np.testing.assert_array_equal(visible_plane(viewer, layer).pixels(), stack[0, 2])


def test_a_flat_layer_made_from_the_placement_lies_over_the_plane(viewer, stack):
    layer = viewer.add_labels(
        stack, scale=(1, 5, 0.2, 0.1), translate=(0, 0, 3, 4), units=("s", "um", "um", "um"), rotate=np.eye(4)
    )
    turn = np.eye(5)
    turn[2:4, 2:4] = [[0, 1], [-1, 0]]
    turn[2:4, 4] = 7, 9
    layer.affine = turn
    viewer.dims.set_point((0, 1), (1, 10))
    plane = visible_plane(viewer, layer)
    over = Labels(plane.pixels(), **plane.placement())
    assert over.ndim == 2
    for corner in ((0, 0), (7, 9)):
        np.testing.assert_allclose(over.data_to_world(corner), layer.data_to_world((*plane.at, *corner))[-2:])
    assert [str(unit) for unit in over.units] == ["micrometer", "micrometer"]


# ---- names ---------------------------------------------------------------------------------------------------


def test_names_of_results_are_short_and_can_be_told_apart():
    names = [f"oxphos-axde_-aa_image_{n:03}_y0000_x{x:04}" for n, x in ((1, 512), (1, 480), (2, 0))]
    short = [result_name(name, "[Otsu]") for name in names]
    assert short == ["oxph…0000_x0512 [Otsu]", "oxph…0000_x0480 [Otsu]", "oxph…0000_x0000 [Otsu]"]
    assert result_name(names[0], "[Adaptive Gaussian]") == "oxp…_x0512 [Adaptive Gaussian]"
    assert [len(shortened("x" * n, 14)) for n in (1, 14, 15, 300)] == [1, 14, 14, 14]
    assert result_name("cells", "mask") == "cells mask"


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="…", exclude_categories=["C"]), max_size=60)


@given(NAMES, st.lists(NAMES.filter(lambda what: len(what) < 20), min_size=1, max_size=4))
@example("oxphos_tile_000000_x0000", ["strokes", "clean"])
def test_names_of_results_of_results_have_one_ellipsis_at_most(name, whats):
    for what in whats:
        source, name = name, result_name(name, what)
        assert name.count("…") <= 1 and name.endswith(f" {what}")
        assert len(name) <= max(LONGEST, LEAST + 1 + len(what))
        if len(source) + 1 + len(what) <= LONGEST:
            assert name == f"{source} {what}"


# ---- colours -------------------------------------------------------------------------------------------------


def test_each_class_has_its_colour_and_unlabelled_another():
    classes = (0, 1, 2, 3)
    layer = Labels(np.array([[0, 1, 2], [3, UNLABELLED, 7]], np.uint8), colormap=class_colormap(classes))
    colors = {label: tuple(np.round(layer.get_color(label), 3)) for label in (1, 2, 3, UNLABELLED)}
    assert len(set(colors.values())) == 4
    assert all(color[3] > 0 for color in colors.values())
    assert layer.get_color(0) is None or layer.get_color(0)[3] == 0
    assert layer.get_color(7)[3] == 0


def hexed(color):
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in color[:3])


@pytest.mark.parametrize("only_selected", [False, True])
def test_classes_have_the_colours_that_their_layer_shows(only_selected):
    layer = Labels(np.array([[0, 1], [2, 30000]], np.int32))
    shown = {label: hexed(layer.get_color(label)) for label in (1, 2, 30000)}
    layer.show_selected_label = only_selected
    assert shown_colors(layer, (0, 1, 2, 30000), "classes", None) == {0: UNSEEN_COLOR, **shown}
    assert shown_colors(layer, (0, 1), "foreground", 2) == {0: UNSEEN_COLOR, 1: shown[2]}
    assert shown_colors(layer, (0, 1), "objects", None) == {0: UNSEEN_COLOR, 1: class_color(1)}
    layer.colormap = colormap({0: "white", 1: "#12345678", 2: "black"}, others="transparent")
    expected = {0: "#ffffff", 1: "#123456", 2: UNSEEN_COLOR, 30000: UNSEEN_COLOR}
    assert shown_colors(layer, (0, 1, 2, 30000), "classes", None) == expected


def test_a_class_has_the_same_colour_whatever_others_there_are():
    alone = Labels(np.eye(2, dtype=np.uint8), colormap=class_colormap((0, 2)))
    among = Labels(np.eye(2, dtype=np.uint8), colormap=class_colormap((0, 1, 2, 3)))
    np.testing.assert_array_equal(alone.get_color(2), among.get_color(2))
