"""Results lie right above their source, which comes to the front; nobody loses zoom, view or selection."""

import gc
import weakref
from functools import partial

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_metastructure.plugin._layer_order import add_above, belongs, bring_to_front, stay_on
from napari_metastructure.plugin._layers import made_from, placement


@pytest.fixture
def viewer():
    return ViewerModel()


def fill(viewer, names):
    """Adds an image for each capital, and labels for all other names."""
    for name in names:
        if name.isupper() and len(name) == 1:
            viewer.add_image(np.zeros((8, 8)), name=name, contrast_limits=(0, 1))
        else:
            viewer.add_labels(np.zeros((8, 8), int), name=name)
    return [viewer.layers[name] for name in names]


def names(viewer):
    return [layer.name for layer in viewer.layers]


def made(source, name):
    return Labels(np.zeros((8, 8), int), name=name, metadata=made_from(source))


def test_results_come_right_above_their_source_and_what_belongs_to_it(viewer):
    a, _, b, _ = fill(viewer, ["A", "A mask", "B", "Labels"])
    add_above(viewer, a, made(a, "A one"))
    add_above(viewer, b, made(b, "renamed"))
    add_above(viewer, a, made(a, "two"))
    add_above(viewer, b, made(b, "B two"))
    assert names(viewer) == ["A", "A mask", "A one", "two", "B", "renamed", "B two", "Labels"]
    viewer.layers.remove(a)
    add_above(viewer, a, made(a, "three"))
    assert names(viewer)[-1] == "three"


def test_results_stay_with_a_source_that_was_renamed(viewer):
    (a,) = fill(viewer, ["A"])
    add_above(viewer, a, made(a, "one"))
    a.name = "B"
    (other,) = fill(viewer, ["A"])
    add_above(viewer, a, made(a, "two"))
    assert names(viewer) == ["B", "one", "two", "A"]
    assert not belongs(viewer.layers["one"], other)


@pytest.mark.parametrize(
    ("before", "front", "after"),
    [
        (["A", "B"], "A", ["B", "A"]),
        (["A", "B"], "B", ["A", "B"]),
        (["A", "A mask", "B", "B mask"], "A", ["B", "B mask", "A", "A mask"]),
        (["A", "B", "A mask", "B mask"], "A", ["B", "B mask", "A", "A mask"]),
        (["A", "B", "Labels"], "A", ["B", "A", "Labels"]),
        (["A", "Labels", "B"], "A", ["Labels", "B", "A"]),
        (["A", "A_mask", "Ab mask"], "A", ["A", "A_mask", "Ab mask"]),
        (["A", "Ab mask", "B", "A-gt", "C"], "A", ["Ab mask", "B", "C", "A", "A-gt"]),
    ],
)
def test_the_source_comes_above_the_images_that_cover_it_and_below_all_else(viewer, before, front, after):
    fill(viewer, before)
    bring_to_front(viewer, [viewer.layers[front]])
    assert names(viewer) == after


def test_of_several_the_selected_one_comes_to_the_front_else_the_topmost(viewer):
    a, b, c = fill(viewer, "ABC")
    bring_to_front(viewer, [a, b])
    assert names(viewer) == ["A", "C", "B"]
    viewer.layers.selection.active = a
    bring_to_front(viewer, [b, a])
    assert names(viewer) == ["C", "B", "A"]
    viewer.layers.remove(c)
    bring_to_front(viewer, [c])
    bring_to_front(viewer, [])


@pytest.mark.parametrize("through", [{"visible": False}, {"opacity": 0}, {"blending": "additive"}])
def test_what_does_not_cover_it_stays_above(viewer, through):
    a, b = fill(viewer, "AB")
    for attribute, value in through.items():
        setattr(b, attribute, value)
    bring_to_front(viewer, [a])
    assert names(viewer) == ["A", "B"]


@pytest.mark.parametrize("display", [2, 3])
def test_zoom_view_and_selection_stay(viewer, display):
    a, b = fill(viewer, "AB")
    viewer.dims.ndisplay = display
    viewer.scene.camera.zoom, viewer.scene.camera.center, viewer.scene.camera.angles = 77, (0, 2, 3), (10, 20, 30)
    viewer.layers.selection = {a, b}
    before = viewer.scene.camera.zoom, viewer.scene.camera.center, viewer.scene.camera.angles
    pages = np.zeros((3, 8, 8), int)
    add_above(viewer, a, Labels(pages, metadata=made_from(a), **placement(a, "epoch")))  # one more axis
    bring_to_front(viewer, [a])
    assert (viewer.scene.camera.zoom, viewer.scene.camera.center, viewer.scene.camera.angles) == before
    assert viewer.dims.ndisplay == display
    assert set(viewer.layers.selection) == {a, b}


def test_the_first_layer_of_all_is_shown_whole(viewer):
    source = made(Labels(np.zeros((8, 8), int)), "x")
    viewer.scene.camera.zoom = 0.001
    add_above(viewer, source, Labels(np.zeros((800, 800), int)))
    assert viewer.scene.camera.zoom != 0.001


TURNED = np.diag([1.5, 0.5, 1.0])


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("scale", (0.2, 0.1)),
        ("scale", (2e-10, 1e-10)),
        ("translate", (30, -4)),
        ("rotate", 30),
        ("shear", [0.3]),
        ("affine", TURNED),
        ("units", ("um", "um")),
        ("axis_labels", ("y", "x")),
    ],
)
@pytest.mark.parametrize("leading", [None, "epoch"])
def test_a_result_stays_on_its_source_whatever_is_changed(viewer, attribute, value, leading):
    (a,) = fill(viewer, ["A"])
    where = partial(placement, a, leading)
    layer = Labels(np.zeros((8, 8) if leading is None else (3, 8, 8), int), **where())
    add_above(viewer, a, layer, where)
    setattr(a, attribute, value)
    a.translate = np.asarray(a.translate) + 2 * np.asarray(a.scale)
    for point in ((0, 0), (7, 3)):
        expected = a.data_to_world(point) if leading is None else (1, *a.data_to_world(point))
        np.testing.assert_allclose(layer.data_to_world(point if leading is None else (1, *point)), expected)
    assert [str(unit) for unit in layer.units[-2:]] == [str(unit) for unit in a.units]
    assert layer.axis_labels[-2:] == a.axis_labels


def test_a_result_that_the_user_has_moved_stays_where_it_is(viewer):
    (a,) = fill(viewer, ["A"])
    layer = Labels(np.zeros((8, 8), int))
    add_above(viewer, a, layer, partial(placement, a))
    layer.translate = (0, 20)
    a.scale = (2, 2)
    a.units = ("um", "um")
    assert (list(layer.scale), list(layer.translate), str(layer.units[0])) == ([1, 1], [0, 20], "pixel")
    a.scale, layer.translate = (1, 1), (0, 0)  # where it was made
    a.translate = (5, 5)
    assert list(layer.translate) == [5, 5]


def test_a_result_of_a_result_follows_too(viewer):
    (a,) = fill(viewer, ["A"])
    first, second = Labels(np.zeros((8, 8), int)), Labels(np.zeros((8, 8), int))
    add_above(viewer, a, first, partial(placement, a))
    add_above(viewer, first, second, partial(placement, first))
    a.scale = (3, 2)
    assert list(second.scale) == [3, 2]


def test_a_source_keeps_no_result_in_memory(viewer):
    (a,) = fill(viewer, ["A"])
    layer = Labels(np.zeros((8, 8), int))
    stay_on(a, layer, partial(placement, a))
    gone, before = weakref.ref(layer), len(a.events.scale.callbacks)
    del layer
    gc.collect()
    assert gone() is None
    a.scale = (2, 2)
    assert len(a.events.scale.callbacks) == before - 1


@pytest.mark.parametrize("act", ["add", "front", "preview"])
def test_the_list_of_layers_is_never_copied(viewer, act, monkeypatch):
    from napari.components.layerlist import LayerList

    from napari_metastructure.plugin._preview_layer import PreviewLayer

    a, labels, _ = fill(viewer, ["A", "A mask", "B"])
    # a slice of it is another one, which connects to all layers: half a second for eighty
    monkeypatch.setattr(LayerList, "__newlike__", lambda *_: pytest.fail("sliced"))
    match act:
        case "add":
            add_above(viewer, a, made(a, "one"), partial(placement, a))
        case "front":
            bring_to_front(viewer, [a])
        case _:
            preview = PreviewLayer(viewer, lambda: None)
            preview.show(labels, 0, np.ones((8, 8), np.uint8), "preview", {}, (0, 1))
            viewer.add_labels(np.zeros((8, 8), int))
            preview.release()
