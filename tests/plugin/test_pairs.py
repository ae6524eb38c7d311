"""The table of pairs: what names and shapes suggest, what the user chose, and layers that come and go."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QComboBox

from napari_metastructure.plugin._layers import ORIGIN
from napari_metastructure.plugin._pairs import PairsTable, apart


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def table(viewer, qtbot):
    table = PairsTable(viewer)
    qtbot.addWidget(table)
    return table


def image(viewer, name, shape=(16, 16), **more):
    return viewer.add_image(np.zeros(shape), name=name, **more)


def labels(viewer, name, shape=(16, 16), **more):
    return viewer.add_labels(np.zeros(shape, int), name=name, **more)


def pairs(table):
    return [(row.image and row.image.name, row.labels and row.labels.name) for row in table.rows]


def texts(table):
    t = table.table
    return [tuple(t.item(row, column).text() for column in range(3)) for row in range(t.rowCount())]


def test_names_put_pairs_together_in_whatever_order_they_come(viewer, table):
    for name in ("x_01", "x_02", "y"):
        image(viewer, name)
    for name in ("x_02_mask", "Y labels", "mask x-01"):
        labels(viewer, name)
    assert set(pairs(table)) == {("x_01", "mask x-01"), ("x_02", "x_02_mask"), ("y", "Y labels")}


def test_files_of_the_same_name_from_two_folders_are_pairs(viewer, table):
    for name in ("p", "q"):
        image(viewer, name)
        labels(viewer, name)  # napari calls it "p [1]"
    assert pairs(table) == [("p", "p [1]"), ("q", "q [1]")]


def test_the_only_ones_of_a_shape_are_a_pair_until_there_are_more(viewer, table):
    image(viewer, "cells")
    labels(viewer, "drawn by hand")
    image(viewer, "stack", (3, 16, 16))
    labels(viewer, "of the stack", (3, 16, 16))
    assert pairs(table) == [("cells", "drawn by hand"), ("stack", "of the stack")]
    image(viewer, "drawn by hand raw")
    assert pairs(table) == [("stack", "of the stack"), ("drawn by hand raw", "drawn by hand")]


def test_nothing_is_guessed(viewer, table):
    image(viewer, "a")
    image(viewer, "b")
    labels(viewer, "c")
    assert pairs(table) == []
    labels(viewer, "a mask", (16, 20))  # the name fits, the shape does not
    assert pairs(table) == []
    labels(viewer, "b noisy", metadata={ORIGIN: {}})
    assert pairs(table) == []


def test_rgb_counts_without_its_samples(viewer, table):
    viewer.add_image(np.zeros((16, 20, 3), np.uint8), name="a", rgb=True)
    labels(viewer, "a gt", (16, 20))
    assert pairs(table) == [("a", "a gt")]
    assert table.rows[0].problem == ""


def test_renaming_keeps_a_pair_and_removing_takes_it_out(viewer, table):
    a, mask = image(viewer, "a"), labels(viewer, "a mask")
    a.name, mask.name = "other", "else"
    assert texts(table) == [("other", "else", "train")]
    viewer.layers.remove(mask)
    assert texts(table) == []
    table.add(a, None)
    viewer.layers.remove(a)
    assert texts(table) == []


def test_what_the_user_chose_stays_with_a_gap_where_a_layer_is_gone(viewer, table):
    a, mask = image(viewer, "a"), labels(viewer, "a mask")
    table.swap_use([0])
    assert texts(table) == [("a", "a mask", "validate")]
    viewer.layers.remove(mask)
    assert texts(table) == [("a", "choose…", "validate")]
    assert "has no labels for image 'a'" in table.rows[0].problem
    viewer.layers.remove(a)
    assert texts(table) == []


def test_a_row_that_was_taken_out_does_not_come_back(viewer, table):
    for name in ("a", "b"):
        image(viewer, name)
        labels(viewer, f"{name} mask")
    table.table.selectRow(0)
    table.remove_button.click()
    assert pairs(table) == [("b", "b mask")]
    image(viewer, "c")
    labels(viewer, "c mask")
    assert pairs(table) == [("b", "b mask"), ("c", "c mask")]


def test_a_cell_offers_the_layers_that_fit(viewer, table):
    image(viewer, "a")
    image(viewer, "made here", metadata={ORIGIN: {}})
    labels(viewer, "m", (8, 8))
    n = labels(viewer, "n", (16, 16), metadata={ORIGIN: {}})  # noisy labels can be chosen by hand
    table.add(viewer.layers["a"])
    delegate, model = table.table.itemDelegate(), table.table.model()
    offered = []
    for column in range(3):
        box = delegate.createEditor(table, None, model.index(0, column))
        offered.append([box.itemText(i) for i in range(box.count())])
        if column == 1:
            box.setCurrentText("n")
            delegate.setModelData(box, model, model.index(0, column))
        assert isinstance(box, QComboBox)
    assert offered == [["a"], ["m", "n"], ["train", "validate"]]
    assert table.rows[0].labels is n and table.rows[0].problem == ""


def test_rows_that_are_kept_for_validation_are_marked(viewer, table):
    for name in ("a", "b"):
        image(viewer, name)
        labels(viewer, f"{name} mask")
    table.show_kept(["b"])
    assert [row[2] for row in texts(table)] == ["train", "(validate)"]
    table.show_kept([])
    assert [row[2] for row in texts(table)] == ["train", "train"]


def test_another_name_is_a_change(viewer, table, qtbot):
    """What lists the images by name, such as those to watch, has to list them again."""
    a = image(viewer, "a")
    labels(viewer, "a mask")
    with qtbot.waitSignal(table.changed):
        a.name = "b"
    assert texts(table) == [("b", "a mask", "train")]


def test_released_it_hears_no_more_of_the_viewer(viewer, table):
    a = image(viewer, "a")
    labels(viewer, "a mask")
    table.release()
    a.name = "renamed"
    image(viewer, "b")
    viewer.layers.remove(a)
    assert texts(table) == [("a", "a mask", "train")]


# ---- layers that do not lie on each other ------------------------------------------------------------------------

SHEAR = [[1, 0.2], [0, 1]]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"scale": (0.5, 0.5)}, "scale"),
        ({"scale": (-1, 1)}, "scale"),
        ({"translate": (0, 3)}, "translate"),
        ({"rotate": 90}, "rotate"),
        ({"shear": SHEAR}, "shear"),
        ({"affine": np.diag([0.5, 0.5, 1])}, "affine"),
        ({"scale": (2, 2), "translate": (5, 5)}, "scale and translate"),
    ],
)
def test_pairs_that_lie_apart_are_told_in_whatever_order(viewer, more, what):
    one, other = image(viewer, "cells"), labels(viewer, "cells mask", **more)
    for said in (apart(one, other), apart(other, one)):
        assert "'cells'" in said and "'cells mask'" in said and f"differ in {what})" in said
    flat, stack = image(viewer, "flat", **more), labels(viewer, "stack", (3, 16, 16), scale=(5, 1, 1))
    assert "'flat'" in apart(flat, stack) and apart(flat, stack) == apart(stack, flat)


def test_layers_that_lie_on_each_other_are_not_told(viewer):
    where = {"scale": (0.2, 0.1), "translate": (7, 3), "rotate": 30, "shear": SHEAR}
    colour = viewer.add_image(np.zeros((16, 16, 3), np.uint8), **where)
    assert apart(colour, labels(viewer, "mask", **where)) == ""
    rounded = {**where, "scale": (0.2004, 0.0999)}
    assert apart(colour, labels(viewer, "rounded", **rounded)) == ""
    whole = viewer.add_image([np.zeros((16, 16)), np.zeros((8, 8))], affine=np.diag([0.5, 0.5, 1]), multiscale=True)
    assert apart(whole, labels(viewer, "scaled", scale=(0.5, 0.5))) == ""
    assert apart(image(viewer, "flat"), labels(viewer, "film", (3, 16, 16), translate=(9, 0, 0))) == ""


def test_a_shape_suggests_no_pair_that_lies_apart_but_a_name_does(viewer, table):
    image(viewer, "cells")
    labels(viewer, "drawn by hand", scale=(3, 3))
    assert pairs(table) == []
    labels(viewer, "cells mask", scale=(3, 3))
    assert pairs(table) == [("cells", "cells mask")]
