"""The picture of a noise transition matrix."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint
from qtpy.QtGui import QColor, QPalette

from napari_metastructure.labels.transition import TransitionMatrix, flipping_matrix, sampling_matrix
from napari_metastructure.plugin._layers import class_color
from napari_metastructure.plugin._tables import HEIGHT, MatrixView


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
