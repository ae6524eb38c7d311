"""Tables: matrices as pictures, and numbers by class that are edited in place."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor, QPalette

from napari_metastructure.baselines.results import Agreement
from napari_metastructure.labels.transition import TransitionMatrix, flipping_matrix, sampling_matrix
from napari_metastructure.plugin._layers import class_color
from napari_metastructure.plugin._tables import HEIGHT, MOST_ROWS, AgreementTable, ClassTable, MatrixView

# ---- a noise transition matrix -------------------------------------------------------------------------------


@pytest.fixture
def view(qtbot):
    view = MatrixView()
    qtbot.addWidget(view)
    palette = view.palette()
    palette.setColor(QPalette.ColorRole.Window, QColor("black"))
    palette.setColor(QPalette.ColorRole.WindowText, QColor("white"))
    view.setPalette(palette)
    view.setAutoFillBackground(True)
    view.resize(330, 100)
    return view


def blue(view, row, column):
    """How blue a corner of a cell is (numbers stand in the middle)."""
    place = view.cell(row, column)
    return QColor(
        view.grab().toImage().pixel(place.topLeft() + QPoint(min(1, place.width() - 1), min(1, place.height() - 1)))
    ).blue()


def test_the_more_probable_the_deeper(view):
    view.show_matrix(sampling_matrix((0, 1), {0: 0.2, 1: 0.9}))
    shares = np.array([[0.2, 0, 0.8], [0, 0.9, 0.1]])
    painted = np.array([[blue(view, row, column) for column in range(3)] for row in range(2)])
    np.testing.assert_array_equal(np.argsort(painted.ravel(), kind="stable"), np.argsort(shares.ravel(), kind="stable"))


def test_rows_and_columns_have_the_colours_of_their_classes(view):
    view.show_matrix(flipping_matrix((0, 3), 0.1))
    image = view.grab().toImage()
    row, column = view.cell(1, -1), view.cell(-1, 1)
    colors = {QColor(image.pixel(x, row.center().y())).name() for x in range(row.left(), row.right())}
    assert class_color(3) in colors
    colors = {QColor(image.pixel(x, column.center().y())).name() for x in range(column.left(), column.right())}
    assert class_color(3) in colors


def test_the_colours_of_a_layer_stand_in_for_those_of_the_palette(view, table):
    view.show_matrix(flipping_matrix((0, 3), 0.1), colors={3: "#ff00ff"})
    image, row = view.grab().toImage(), view.cell(1, -1)
    colors = {QColor(image.pixel(x, row.center().y())).name() for x in range(row.left(), row.right())}
    assert "#ff00ff" in colors and class_color(3) not in colors
    told = []
    table.changed.connect(lambda: told.append(1))
    table.show_colors({2: "#ff00ff"})
    color = table.model().data(table.model().index(1, 0), Qt.ItemDataRole.BackgroundRole)
    assert color.name() == "#ff00ff" and not told


def test_the_mouse_tells_the_number(view):
    view.show_matrix(sampling_matrix((0, 4), {0: 0.2, 4: 0.9}))
    assert view.say(view.cell(1, 1).center()) == "A pixel of class 4 stays class 4 with probability 0.9."
    assert view.say(view.cell(0, 2).center()) == "A pixel of class 0 becomes unlabelled with probability 0.8."
    assert "Rows: the true class" in view.say(QPoint(1, 1))


def test_a_class_without_a_pixel_has_no_numbers(view):
    counts = np.array([[5, 5, 0], [0, 0, 0]])
    view.show_matrix(TransitionMatrix((0, 1), np.array([[0.5, 0.5], [np.nan, np.nan]]), counts))
    view.grab()
    assert view.say(view.cell(1, 0).center()) == "There is no pixel of class 1."


@pytest.mark.parametrize("many", [9, 24, 25, 100, 254])
def test_many_classes_fit(view, many):
    view.show_matrix(flipping_matrix(range(many), 0.5))
    assert view.height() <= HEIGHT
    last = view.cell(many - 1, many)
    assert last.bottom() <= view.height()
    assert last.right() <= view.width()
    if many <= 100:  # cells of a pixel or more
        assert blue(view, 10 % many, 10 % many) > blue(view, 10 % many, 10 % many + 1)


def test_without_a_matrix_it_says_why(view):
    view.show_matrix(flipping_matrix((0, 1), 0.1))
    high = view.height()
    view.show_matrix(None, "No labels.")
    assert view.height() < high
    assert view.say(QPoint(5, 5)) == ""
    image = view.grab().toImage()
    row = [QColor(image.pixel(x, view.height() // 2)).lightness() for x in range(80)]
    assert max(row) > 100, "no text"


# ---- numbers by class ----------------------------------------------------------------------------------------


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


# ---- how alike masks are -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "text", "one"), [(3, "0.87", "1.00"), (9, ".87", "1")])
def test_agreement_is_short_where_there_is_little_room(qtbot, count, text, one):
    names = ("otsu", "agt", "lc", "ridge", "dfc", "ac", "igtt", "igtt-no-ems", "igtt-paper")[:count]
    table = AgreementTable()
    qtbot.addWidget(table)
    table.begin(names)
    table.show_agreement(Agreement(names[:3], np.array([[1, 0.8749, 0.999], [0.8749, 1, 0.1], [0.999, 0.1, 1]])))
    assert [table.item(0, column).text() for column in (1, 2, 3)] == ["", text, one]
    assert "Otsu and Adaptive Gaussian: 0.875" in table.item(0, 2).toolTip()
    assert table.item(0, 3).background().color().alpha() > table.item(2, 2).background().color().alpha()
    assert table.columnCount() == count + 1
