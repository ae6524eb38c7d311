"""The class of the brush in hand stands beside the mouse only where it is of use."""

import pytest
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QDialog

from napari_metastructure.plugin._painting import BACKGROUND, OBJECT


@pytest.fixture
def tag(open_widget, blobs, run, qtbot):
    """The tag of a finished run with a brush in hand, the widget, and a function that moves the mouse."""
    viewer, widget = open_widget(blobs(), config={"epochs": 1}, show=True)
    run(widget)
    window = viewer.window._qt_window
    window.show()
    window.activateWindow()
    qtbot.waitUntil(lambda: QGuiApplication.focusWindow() is not None)
    widget.take_brush(OBJECT)

    def move():
        for callback in viewer.mouse_move_callbacks:
            callback(viewer, None)

    move()
    return widget.brush_tag, widget, move


def test_it_names_the_class_until_the_brush_is_put_away(tag):
    shown, widget, move = tag
    assert shown.isVisible() and shown.text() == "object"
    widget.take_brush(BACKGROUND)
    move()
    assert shown.isVisible() and shown.text() == "background"
    widget.layers.put_brush_away()
    assert not shown.isVisible()


def test_continue_hides_it(tag, run, qtbot):
    shown, widget, _move = tag
    canvas = widget.layers.in_hand
    canvas.paint((0, *[5] * (canvas.ndim - 1))[-canvas.ndim :], OBJECT)
    assert shown.isVisible()
    run(widget, widget.continue_from_edits)
    assert widget.failure is None and not shown.isVisible()


def test_it_hides_behind_another_window(tag, qtbot):
    shown, widget, _move = tag
    dialog = QDialog(widget)
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.activateWindow()
    qtbot.waitUntil(lambda: not shown.isVisible())
    dialog.close()


def test_it_stays_away_while_another_application_is_in_front(tag, monkeypatch):
    shown, _widget, move = tag
    monkeypatch.setattr(QGuiApplication, "focusWindow", lambda: None)
    move()
    assert not shown.isVisible()
    monkeypatch.undo()
    move()
    assert shown.isVisible()


def test_strokes_of_several_images_are_listed_newest_first(open_widget, blobs, run):
    viewer, widget = open_widget(blobs(0), blobs(1), config={"epochs": 1})
    run(widget)
    for name, at in (("a", (5, 5)), ("b", (5, 5)), ("a", (40, 40))):
        viewer.layers.selection.active = viewer.layers[name]
        widget.take_brush(OBJECT)
        widget.layers.in_hand.paint(at, OBJECT)
    listed = [widget.strokes.list.item(row).text() for row in range(3)]
    assert [text.split(" in ")[1][0] for text in listed] == ["a", "b", "a"]
    widget.strokes.list.setCurrentRow(0)
    widget.strokes.take_back()
    listed = [widget.strokes.list.item(row).text() for row in range(2)]
    assert [text.split(" in ")[1][0] for text in listed] == ["b", "a"]
