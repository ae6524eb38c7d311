"""Numbers by class, edited in place."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor

from napari_metastructure.plugin._layers import class_color
from napari_metastructure.plugin._tables import MOST_ROWS, ClassTable


@pytest.fixture
def table(qtbot):
    table = ClassTable("A tip.")
    qtbot.addWidget(table)
    table.show_values({0: 0.1, 2: 0.25, 7: 1.0})
    return table


@pytest.fixture
def square(qtbot):
    table = ClassTable("A tip.", square=True)
    qtbot.addWidget(table)
    table.show_matrix((0, 1, 5), [[0.6, 0.2, 0.2], [0, 1, 0], [0.1, 0.2, 0.7]])
    return table


def edit(table, row, column, number):
    """As typed into the cell's box."""
    index = table.model().index(row, column)
    box = table.itemDelegate().createEditor(table.viewport(), None, index)
    table.itemDelegate().setEditorData(box, index)
    box.setValue(number)
    table.itemDelegate().setModelData(box, table.model(), index)


def test_what_is_shown_is_what_is_read(table, square):
    assert table.values() == {0: 0.1, 2: 0.25, 7: 1.0}
    assert square.matrix() == ((0.6, 0.2, 0.2), (0.0, 1.0, 0.0), (0.1, 0.2, 0.7))
    model = table.model()
    assert [model.data(model.index(row, 0)) for row in range(3)] == ["0.1", "0.25", "1"]
    assert [model.headerData(row, Qt.Orientation.Vertical) for row in range(3)] == ["class 0", "class 2", "class 7"]


def test_a_number_typed_is_told_once(table, qtbot):
    told = []
    table.changed.connect(lambda: told.append(table.values()))
    edit(table, 1, 0, 0.5)
    edit(table, 1, 0, 0.5)
    assert told == [{0: 0.1, 2: 0.5, 7: 1.0}]


def test_a_number_finer_than_its_box_stays_unless_it_is_edited(table):
    table.show_values({0: 1 / 3, 1: 0.5})
    edit(table, 0, 0, 0.3333)
    assert table.values()[0] == 1 / 3
    edit(table, 0, 0, 0.3)
    assert table.values()[0] == 0.3


def test_what_goes_elsewhere_does_not_stay(square):
    edit(square, 1, 2, 0.3)
    assert square.matrix()[1] == (0.0, 0.7, 0.3)
    edit(square, 1, 1, 0.2)  # the diagonal is free: the row may be wrong for a while
    assert square.matrix()[1] == (0.0, 0.2, 0.3)
    edit(square, 0, 1, 0.9)
    assert square.matrix()[0] == (0.0, 0.9, 0.2)


def test_rows_have_the_colours_of_their_classes(table):
    for row, label in enumerate((0, 2, 7)):
        color = table.model().data(table.model().index(row, 0), Qt.ItemDataRole.BackgroundRole)
        assert color.rgb() == QColor(class_color(label)).rgb()


def test_many_classes_scroll(qtbot, table, square):
    three = table.height()
    table.show_values(dict.fromkeys(range(MOST_ROWS), 0.5))
    most = table.height()
    table.show_values(dict.fromkeys(range(250), 0.5))
    assert three < most == table.height()
    square.show_matrix(range(250), np.eye(250))
    assert square.height() < most + 10
    assert len(square.matrix()) == 250
