"""The box of layers is in step with the viewer, and tells when another one is chosen."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_metastructure.plugin._inputs import LayerBox


@pytest.fixture
def viewer():
    return ViewerModel()


def box_of(viewer, qtbot, **more):
    box = LayerBox(viewer, "Labels.", lambda layer: isinstance(layer, Labels), **more)
    qtbot.addWidget(box)
    told = []
    box.picked.connect(lambda: told.append(box.chosen()))
    return box, told


def labels(viewer, name):
    return viewer.add_labels(np.zeros((8, 8), np.uint8), name=name)


def test_layers_come_and_go_and_are_renamed(viewer, qtbot):
    box, told = box_of(viewer, qtbot)
    assert box.chosen() is None
    viewer.add_image(np.eye(8))
    first, second = labels(viewer, "a"), labels(viewer, "b")
    assert [box.itemText(row) for row in range(box.count())] == ["a", "b"]
    assert box.chosen() is first
    assert box.choose(second)
    second.name = "c"
    assert box.currentText() == "c"
    assert told == [first, second]
    viewer.layers.remove(second)
    assert box.chosen() is first
    assert told == [first, second, first]


def test_none_stays_chosen_where_it_is_offered(viewer, qtbot):
    box, told = box_of(viewer, qtbot, none="no truth")
    layer = labels(viewer, "a")
    assert box.chosen() is None and box.currentText() == "no truth"
    assert box.choose(layer) and told == [layer]
    assert box.choose(None) and told == [layer, None]


def test_a_layer_that_is_not_offered_cannot_be_chosen(viewer, qtbot):
    box, told = box_of(viewer, qtbot)
    first = labels(viewer, "a")
    assert not box.choose(viewer.add_image(np.eye(8)))
    assert box.chosen() is first and told == [first]


def test_it_lets_go_of_the_viewer(viewer, qtbot):
    box, _told = box_of(viewer, qtbot)
    layer = labels(viewer, "a")
    box.release()
    layer.name = "b"
    labels(viewer, "c")
    assert [box.itemText(row) for row in range(box.count())] == ["a"]
