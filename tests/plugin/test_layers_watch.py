"""Changes of layers are noticed, and the true classes of noisy layers found."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers._source import Source

from napari_metastructure.plugin._layers import ORIGIN, LayerWatch, TrueLabels, made_from


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def layer(viewer):
    layer = viewer.add_labels(np.zeros((3, 16, 16), np.uint8), name="a")
    viewer.dims.set_point(0, 0)
    return layer


@pytest.fixture
def watch(viewer, layer):
    told = []
    watch = LayerWatch(viewer, lambda: told.append(1))
    watch.told = told
    watch.follow([layer])
    return watch


def classes(watch, layer):
    return watch.stack(layer, "classes").meaning().classes


def paint(layer):
    layer.paint((0, 8, 8), 1)


def redraw(layer):
    layer.data[0, 1, 1] = 1
    layer.refresh()


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: setattr(layer, "data", np.ones((3, 16, 16), np.uint8)),
        paint,
        lambda layer: layer.data_setitem((np.array([2]), np.array([2]), np.array([2])), 1),
        redraw,
    ],
    ids=["data", "paint", "setitem", "refresh"],
)
def test_other_pixels_are_read_again(layer, watch, change):
    assert classes(watch, layer) == (0,)
    change(layer)
    assert watch.told
    assert 1 in classes(watch, layer)


def test_an_undo_is_other_pixels(layer, watch):
    paint(layer)
    assert classes(watch, layer) == (0, 1)
    layer.undo()
    assert classes(watch, layer) == (0,)


def test_planes_that_did_not_change_are_not_read_again(viewer, layer, watch, monkeypatch):
    stack, seen = watch.stack(layer, "classes"), []
    stack.meaning()
    read = stack.pixels
    monkeypatch.setattr(stack, "pixels", lambda index: seen.append(index) or read(index))
    viewer.dims.set_point(0, 1)
    paint(layer)
    classes(watch, layer)
    assert seen == [0, 1]  # the plane that was painted on and the one that was drawn again
    viewer.dims.set_point(0, 2)
    classes(watch, layer)
    assert seen == [0, 1]


def test_new_data_have_a_new_stack(layer, watch):
    """A job may be reading the old one."""
    before = watch.stack(layer, "classes")
    layer.data = np.ones((2, 8, 8), np.uint8)
    assert before.read(2).shape == (16, 16)
    assert watch.stack(layer, "classes").shape == (2, 8, 8)


def test_a_layer_that_was_moved_is_told_too(layer, watch):
    layer.translate = (0, 5, 5)
    assert watch.told


def test_a_layer_that_was_renamed_has_the_same_pixels(layer, watch):
    before = watch.stack(layer, "classes")
    layer.name = "b"
    assert watch.told
    assert watch.stack(layer, "classes") is before
    assert before.changes == 0
    assert before.name == "Layer 'b'"


def test_a_line_that_is_drawn_is_heard_of(viewer, watch):
    shapes = viewer.add_shapes([[[0, 0], [4, 4]]], shape_type="line")
    watch.follow([shapes])
    watch.told.clear()
    shapes.data = [np.array([[0.0, 0.0], [8.0, 8.0]])]
    assert watch.told


def test_it_lets_go(layer, watch):
    other = ViewerModel().add_labels(np.zeros((8, 8), np.uint8))
    watch.follow([other])
    watch.told.clear()
    paint(layer)
    assert not watch.told
    watch.release()
    other.data = np.ones((8, 8), np.uint8)
    assert not watch.told


# ---- the true classes of noisy layers --------------------------------------------------------------------


def labels(viewer, name, **origin):
    return viewer.add_labels(np.zeros((8, 8), np.uint8), name=name, metadata={ORIGIN: origin} if origin else {})


def test_the_source_that_is_named_and_there(viewer):
    clean, noisy = labels(viewer, "clean"), labels(viewer, "noisy", source="clean")
    truths = TrueLabels(viewer)
    assert truths.of(noisy) is clean
    assert truths.of(clean) is clean
    clean.name = "renamed"
    assert truths.of(noisy) is clean  # known by itself
    viewer.layers.remove(clean)
    assert truths.of(noisy) is noisy


def test_labels_that_took_the_name_since_are_not_the_true_ones(viewer):
    clean = labels(viewer, "clean")
    noisy = viewer.add_labels(np.ones((8, 8), np.uint8), name="noisy", metadata=made_from(clean))
    clean.name = "day 1"
    labels(viewer, "clean")
    assert TrueLabels(viewer).of(noisy) is clean
    viewer.layers.remove(clean)
    assert TrueLabels(viewer).of(noisy) is noisy


def test_labels_opened_anew_from_the_file_are_the_true_ones(viewer, tmp_path):
    (tmp_path / "clean.tif").touch()

    def opened():
        layer = labels(viewer, "clean")
        layer._set_source(Source(path=str(tmp_path / "clean.tif")))
        return layer

    clean = opened()
    noisy = viewer.add_labels(np.ones((8, 8), np.uint8), name="noisy", metadata=made_from(clean))
    viewer.layers.remove(clean)
    again = opened()
    assert TrueLabels(viewer).of(noisy) is again


def test_an_image_is_no_source(viewer):
    viewer.add_image(np.zeros((8, 8)), name="image")
    masks = labels(viewer, "masks", source="image")
    assert TrueLabels(viewer).of(masks) is masks


def test_another_source_by_and_by(viewer):
    first, second = labels(viewer, "first"), labels(viewer, "second")
    preview = labels(viewer, "preview", source="first")
    truths = TrueLabels(viewer)
    assert truths.of(preview) is first
    preview.metadata = {ORIGIN: {"source": "second"}}
    assert truths.of(preview) is second


def test_of_two_figures_each_has_its_own(viewer):
    labels(viewer, "CL", group="one", cell="CL")
    mine = labels(viewer, "CL", group="two", cell="CL")
    noisy = labels(viewer, "RCL", group="two", cell="RCL", source="CL")
    assert mine.name == "CL [1]"
    assert TrueLabels(viewer).of(noisy) is mine
