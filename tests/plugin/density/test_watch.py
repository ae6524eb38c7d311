"""Whatever changes pixels is heard of, and gives them another stamp."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_metastructure.plugin._layers import Watch


@pytest.fixture
def layer():
    return ViewerModel().add_labels(np.zeros((3, 16, 16), np.uint8), name="a")


@pytest.fixture
def watch(layer):
    told = []
    watch = Watch(lambda: told.append(1))
    watch.told = told
    watch.follow([layer])
    return watch


def paint(layer):
    layer.paint((0, 8, 8), 1)


def redraw(layer):
    layer.data[0, 1, 1] = 1
    layer.refresh()


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        (lambda layer: setattr(layer, "data", np.ones((3, 16, 16), np.uint8)), True),
        (paint, True),
        (lambda layer: layer.data_setitem((np.array([0]), np.array([2]), np.array([2])), 1), True),
        (redraw, False),
    ],
    ids=["data", "paint", "setitem", "refresh"],
)
def test_other_pixels_have_another_stamp(layer, watch, change, whole):
    before = watch.stamp(layer), watch.whole(layer)
    change(layer)
    assert watch.told
    assert watch.stamp(layer) != before[0]
    assert (watch.whole(layer) != before[1]) == whole


def test_an_undo_is_other_pixels(layer, watch):
    paint(layer)
    before = watch.stamp(layer)
    layer.undo()
    assert not layer.data.any()
    assert watch.stamp(layer) != before


def test_a_layer_that_was_moved_is_told_too(layer, watch):
    layer.translate = (0, 5, 5)
    assert watch.told


def test_a_layer_that_was_renamed_has_the_same_pixels(layer, watch):
    before = watch.stamp(layer)
    layer.name = "b"
    assert watch.told
    assert watch.stamp(layer) == before


def test_it_lets_go(layer, watch):
    other = ViewerModel().add_labels(np.zeros((8, 8), np.uint8))
    watch.follow([other])
    watch.told.clear()
    paint(layer)
    assert not watch.told
    watch.release()
    other.data = np.ones((8, 8), np.uint8)
    assert not watch.told
