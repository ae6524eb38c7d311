"""Boxes and lists of layers follow the viewer; lines for paths say which folder or file is meant."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QLabel, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._inputs import LayerBox, LayerPicker, PathEdit, column, row
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
    return [picker.list.item(row).text() for row in range(picker.list.count())]


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


def test_selected_images_are_ticked_until_others_are_ticked_by_hand(viewer, picker):
    assert picker.chosen() == []
    first = viewer.add_image(np.eye(16))
    assert picker.chosen() == [first]
    second = viewer.add_image(np.eye(16))
    assert picker.chosen() == [second]
    viewer.layers.selection = {first, second}
    assert picker.chosen() == [first, second]
    viewer.layers.selection.active = first
    viewer.add_labels(np.zeros((16, 16), int))  # which is selected now, but no image
    viewer.add_image(np.eye(16), metadata={ORIGIN: {}})
    assert picker.chosen() == [first]
    picker.list.item(1).setCheckState(Qt.CheckState.Checked)
    viewer.layers.selection.active = viewer.add_image(np.eye(16))
    assert picker.chosen() == [first, second]
    picker.choose([second])
    viewer.layers.selection.active = first
    assert picker.chosen() == [second]


def test_what_is_selected_or_else_in_sight_is_ticked_when_it_opens(viewer, qtbot):
    def ticked():
        picker = LayerPicker(viewer, "Images.")
        qtbot.addWidget(picker)
        return [layer.name for layer in picker.chosen()]

    for name in "abcd":
        viewer.add_image(np.eye(16), name=name, visible=name != "d")
    viewer.layers.selection.active = viewer.layers["b"]
    assert ticked() == ["b"]
    viewer.layers.selection = {viewer.layers["b"], viewer.layers["d"]}
    assert ticked() == ["b", "d"]
    viewer.add_labels(np.zeros((16, 16), int), name="c mask")
    assert ticked() == ["c"]  # the topmost that is visible
    for name in "abc":
        viewer.layers[name].visible = False
    assert ticked() == ["d"]


def test_ticks_do_not_follow_the_selection_while_they_cannot_be_changed(viewer, picker):
    first, second = viewer.add_image(np.eye(16)), viewer.add_image(np.eye(16))
    picker.setEnabled(False)
    viewer.layers.selection.active = first
    assert picker.chosen() == [second]


def test_another_is_ticked_for_one_that_was_removed_but_not_for_one_that_was_unticked(viewer, picker):
    first, second = viewer.add_image(np.eye(16)), viewer.add_image(np.eye(16))
    viewer.layers.remove(second)
    assert picker.chosen() == [first]
    picker.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    third = viewer.add_image(np.eye(16))
    assert picker.chosen() == []
    viewer.layers.remove(first)
    viewer.layers.remove(third)
    viewer.add_image(np.eye(16))
    assert len(picker.chosen()) == 1


def test_all_or_none_are_ticked_by_a_button(viewer, picker):
    told = []
    picker.picked.connect(lambda: told.append(len(picker.chosen())))
    viewer.add_image(np.eye(16))
    assert picker._buttons.isHidden()
    layers = [*viewer.layers, *(viewer.add_image(np.eye(16)) for _ in range(9))]
    assert not picker._buttons.isHidden()
    told.clear()
    picker.all_button.click()
    assert picker.chosen() == layers
    picker.none_button.click()
    assert picker.chosen() == []
    assert told == [10, 0]
    viewer.layers.selection.active = layers[3]
    assert picker.chosen() == []


def test_it_says_how_many_are_ticked_and_scrolls_to_the_first(viewer, picker):
    picker.resize(300, 200)
    picker.show()
    for _ in range(20):
        viewer.add_image(np.eye(16))
    assert picker.count.text() == "1 of 20"
    ticked = picker.list.visualItemRect(picker.list.item(19))
    assert picker.list.viewport().rect().contains(ticked.center())
    picker.all_button.click()
    assert picker.count.text() == "20 of 20"
    picker.list.item(3).setCheckState(Qt.CheckState.Unchecked)
    assert picker.count.text() == "19 of 20"
    viewer.layers.pop()
    assert picker.count.text() == "18 of 19"


def test_a_long_name_covers_neither_a_row_nor_a_box(viewer, picker, qtbot):
    picker.resize(300, 200)
    for name in ("a", "long " * 60, "b"):
        viewer.add_image(np.eye(16), name=name)
    picker.show()
    qtbot.waitExposed(picker)
    inside = picker.list.viewport().rect()
    for number in range(3):
        assert inside.contains(picker.list.visualItemRect(picker.list.item(number)))
    assert not picker.list.horizontalScrollBar().isVisible()
    assert picker.list.item(1).toolTip() == ("long " * 60)


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


# ---- a box --------------------------------------------------------------------------------------------------


def box_of(viewer, qtbot, **more):
    box = LayerBox(viewer, "Labels.", lambda layer: isinstance(layer, Labels), **more)
    qtbot.addWidget(box)
    told = []
    box.picked.connect(lambda: told.append(box.chosen()))
    return box, told


def names(box):
    return [box.combo.native.itemText(row) for row in range(box.combo.native.count())]


def labels(viewer, name):
    return viewer.add_labels(np.zeros((8, 8), np.uint8), name=name)


def test_a_box_follows_layers_that_come_and_go_and_are_renamed(viewer, qtbot):
    box, told = box_of(viewer, qtbot)
    assert box.chosen() is None
    viewer.add_image(np.eye(8))
    first, second = labels(viewer, "a"), labels(viewer, "b")
    assert names(box) == ["a", "b"]
    assert box.chosen() is first
    assert box.choose(second)
    second.name = "c"
    assert box.combo.native.currentText() == "c"
    assert told == [first, second]
    viewer.layers.remove(second)
    assert box.chosen() is first
    assert told == [first, second, first]


def test_the_layer_in_sight_is_chosen_when_a_box_opens(viewer, qtbot):
    first, second, third = (labels(viewer, name) for name in "abc")
    third.visible = False
    viewer.layers.selection.active = first
    assert box_of(viewer, qtbot)[0].chosen() is first
    viewer.layers.selection.active = viewer.add_image(np.eye(8))
    box = box_of(viewer, qtbot)[0]
    assert box.chosen() is second
    viewer.layers.remove(second)
    assert box.chosen() is first


def test_none_stays_chosen_where_it_is_offered(viewer, qtbot):
    box, told = box_of(viewer, qtbot, none="no truth")
    layer = labels(viewer, "a")
    assert box.chosen() is None and box.combo.native.currentText() == "no truth"
    assert box.choose(layer) and told == [layer]
    assert box.choose(None) and told == [layer, None]
    box.choose(layer)
    viewer.layers.remove(layer)
    assert box.chosen() is None


def test_a_layer_that_is_not_offered_cannot_be_chosen(viewer, qtbot):
    box, told = box_of(viewer, qtbot)
    first = labels(viewer, "a")
    assert not box.choose(viewer.add_image(np.eye(8)))
    assert box.chosen() is first and told == [first]


def test_a_box_lets_go_of_the_viewer(viewer, qtbot):
    box, _told = box_of(viewer, qtbot)
    layer = labels(viewer, "a")
    box.release()
    layer.name = "b"
    labels(viewer, "c")
    assert names(box) == ["a"]


def test_a_box_lists_layers_in_the_order_of_the_viewer(viewer, qtbot):
    box, told = box_of(viewer, qtbot, none="no truth")
    layers = [labels(viewer, name) for name in "abc"]
    box.choose(layers[1])
    viewer.layers.move(2, 0)
    assert names(box) == ["no truth", "c", "a", "b"]
    assert box.chosen() is layers[1] and told == [layers[1]]


def test_a_layer_renamed_while_it_is_chosen_stays_chosen(viewer, qtbot):
    box, told = box_of(viewer, qtbot)
    _first, second = labels(viewer, "a"), labels(viewer, "b")
    box.choose(second)
    del told[:]
    second.name = "z"
    assert box.chosen() is second and told == [] and box.combo.native.currentText() == "z"


@pytest.mark.parametrize("make", [LayerBox, LayerPicker])
def test_a_deleted_widget_hears_no_more_of_layers(viewer, qtbot, make):
    widget = make(viewer, "Layers.", lambda layer: True)
    parent = column(widget)
    with qtbot.waitSignal(widget.destroyed):
        parent.deleteLater()
    labels(viewer, "a")  # would raise on a deleted widget


# ---- paths ----------------------------------------------------------------------------------------------------


def test_a_path_is_what_is_typed(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    edit = PathEdit("run folder", "Where it is.")
    qtbot.addWidget(edit)
    told = []
    edit.changed.connect(lambda: told.append(edit.get()))
    QTest.keyClicks(edit.line, "~/a")
    assert told[-1] == tmp_path / "a"
    edit.set("  ")
    assert edit.get() is None
    edit.set("~nobody-has-this-name/x")
    assert str(edit.get()) == "~nobody-has-this-name/x"
    edit.set(tmp_path)
    edit.set(None)
    assert told[-2:] == [tmp_path, None]


def test_dialogs_name_a_folder_or_a_file_and_cancelling_changes_nothing(qtbot, tmp_path, monkeypatch):
    folders, files = iter([str(tmp_path), ""]), iter([(str(tmp_path / "m.safetensors"), ""), ("", "")])
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: next(folders))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: next(files))
    edit = PathEdit("model", "Which.", files="Models (*.safetensors)")
    qtbot.addWidget(edit)
    for button, path in ((edit.folder_button, tmp_path), (edit.file_button, tmp_path / "m.safetensors")):
        for _ in range(2):
            button.click()
            assert edit.get() == path


def test_what_no_path_may_hold_is_left_out(qtbot):
    edit = PathEdit("folder", "Which.")
    qtbot.addWidget(edit)
    edit.set("runs\0/one\0")
    assert edit.get().parts == ("runs", "one")


def test_only_folders_are_offered_without_a_kind_of_file(qtbot):
    edit = PathEdit("folder", "Which.")
    qtbot.addWidget(edit)
    edit.show()
    assert edit.folder_button.isVisible() and not edit.file_button.isVisible()


def test_a_box_lists_layers_anew_only_where_its_own_have_changed(viewer, qtbot, monkeypatch):
    box, listed = LayerBox(viewer, "Labels.", lambda layer: isinstance(layer, Labels)), []
    qtbot.addWidget(box)
    again = box.combo.reset_choices
    monkeypatch.setattr(box.combo, "reset_choices", lambda: (listed.append(1), again()))
    viewer.add_image(np.zeros((4, 4)), name="image")
    assert not listed
    labels = viewer.add_labels(np.zeros((4, 4), int), name="labels")
    labels.name = "renamed"
    assert len(listed) == 2 and box.combo.native.itemText(0) == "renamed"
    viewer.layers["image"].name = "other"
    assert len(listed) == 2


# ---- layout ---------------------------------------------------------------------------------------------------


def test_parts_stand_beside_or_below_each_other(qtbot):
    a, b, c, widget = QLabel("a"), QLabel("b"), QLabel("c"), QWidget()
    qtbot.addWidget(widget)
    assert column(row(a, b), c, into=widget) is widget
    widget.show()
    at = [part.mapTo(widget, part.rect().topLeft()) for part in (a, b, c)]
    assert at[0].y() == at[1].y() < at[2].y() and at[0].x() < at[1].x()


def test_a_list_of_layers_ends_with_its_widget(viewer, qtbot):
    before = len(viewer.layers.events.inserted.callbacks)
    picker = LayerPicker(viewer, "Images.")
    assert len(viewer.layers.events.inserted.callbacks) == before + 1
    with qtbot.waitSignal(picker.destroyed):
        picker.deleteLater()
    viewer.add_image(np.zeros((4, 4)), name="a")
    assert len(viewer.layers.events.inserted.callbacks) == before
