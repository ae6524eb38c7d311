"""The list of images is in step with the viewer's layers."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._inputs import LayerPicker
from napari_metastructure.plugin._layers import ORIGIN


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def picker(viewer, qtbot):
    picker = LayerPicker(viewer, "Images.")
    qtbot.addWidget(picker)
    return picker


def texts(picker):
    return [picker.item(row).text() for row in range(picker.count())]


def test_images_come_and_go_and_are_renamed(viewer, picker):
    first = viewer.add_image(np.eye(16), name="a")
    viewer.add_image(np.zeros((3, 16, 20)), name="b")
    viewer.add_labels(np.zeros((16, 16), int))
    viewer.add_image(np.eye(16), name="made here", metadata={ORIGIN: {}})
    viewer.add_image(np.zeros((16, 20, 3), np.uint8), name="c", rgb=True)
    assert texts(picker) == ["a  (16 x 16)", "b  (3 x 16 x 20)", "c  (16 x 20 RGB)"]
    first.name = "renamed"
    assert texts(picker)[0].startswith("renamed")
    viewer.layers.remove(first)
    assert len(texts(picker)) == 2


def test_the_first_image_is_ticked_by_itself_and_ticks_stay(viewer, picker):
    assert picker.chosen() == []
    first = viewer.add_image(np.eye(16))
    assert picker.chosen() == [first]
    second = viewer.add_image(np.eye(16))
    assert picker.chosen() == [first]
    picker.item(1).setCheckState(Qt.CheckState.Checked)
    viewer.add_image(np.eye(16))
    assert picker.chosen() == [first, second]
    picker.choose([second])
    assert picker.chosen() == [second]


def test_another_is_ticked_for_one_that_was_removed_but_not_for_one_that_was_unticked(viewer, picker):
    first, second = viewer.add_image(np.eye(16)), viewer.add_image(np.eye(16))
    viewer.layers.remove(first)
    assert picker.chosen() == [second]
    picker.item(0).setCheckState(Qt.CheckState.Unchecked)
    third = viewer.add_image(np.eye(16))
    assert picker.chosen() == []
    viewer.layers.remove(second)
    viewer.layers.remove(third)
    viewer.add_image(np.eye(16))
    assert len(picker.chosen()) == 1


def test_only_images_can_be_chosen(viewer, picker):
    labels = viewer.add_labels(np.zeros((16, 16), int), name="nuclei")
    with pytest.raises(InputError, match="'nuclei' is a Labels layer"):
        picker.choose([labels])


def test_it_lets_go_of_the_viewer(viewer, picker):
    layer = viewer.add_image(np.eye(16), name="a")
    picker.release()
    layer.name = "b"
    viewer.add_image(np.eye(16))
    assert texts(picker) == ["a  (16 x 16)"]
