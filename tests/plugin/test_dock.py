"""Docks of our widgets in napari's window."""

import threading
from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QMessageBox, QPushButton

from napari_metastructure.plugin._dock import Docking
from napari_metastructure.plugin._worker import wait_for
from napari_metastructure.training.control import Control

PLUGIN = "napari-metastructure"
WIDGETS = {
    "iGTT (segment without labels)": ("Run", "Pause", "Stop", "Use epoch", "Use strokes", "Save…"),
    "Train (U-Net, DeepLabv3+, HRNet)": ("Run", "Pause", "Stop", "Save model"),
    "Predict (apply a saved model)": ("Predict", "Pause", "Cancel"),
    "Label noise (RCL, PCL, RL)": ("Apply",),
    "Meta-structure density": ("Whole stack",),
    "Noise study": ("Run", "Pause", "Stop"),
    "Compare methods": ("Run", "Pause", "Stop"),
}


@pytest.fixture
def docked(make_napari_viewer, blobs, qtbot):
    """Opens a window of a size with an image, its mask and these widgets."""

    def make(width, height, *names):
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(width, height)
        viewer.add_image(blobs(), name="cells")
        viewer.add_labels(blobs() > 140, name="cells mask")
        made = [viewer.window.add_plugin_dock_widget(PLUGIN, name) for name in names]
        for _, widget in made:
            docking = widget.findChild(Docking)
            qtbot.waitUntil(lambda d=docking: d._dock is not None)
        qtbot.wait(50)
        return viewer, made

    return make


@pytest.mark.parametrize("name", WIDGETS)
def test_what_is_pressed_in_a_run_is_in_sight_in_a_small_window(docked, name):
    _viewer, ((_dock, widget),) = docked(1280, 720, name)
    buttons = {b.text(): b for b in widget.findChildren(QPushButton)}
    for text in WIDGETS[name]:
        button = next(b for shown, b in buttons.items() if shown.startswith(text))
        if not button.isHidden():
            assert not button.visibleRegion().isEmpty(), text
            assert button.visibleRegion().boundingRect().size() == button.size(), text


@pytest.mark.parametrize("name", WIDGETS)
def test_the_canvas_keeps_more_than_half_of_a_window_of_1280(docked, name):
    viewer, _made = docked(1280, 720, name)
    assert viewer.window._qt_viewer.canvas.native.width() > 640


def test_a_second_dock_is_a_tab_of_the_first(docked):
    viewer, made = docked(1280, 720, "Label noise (RCL, PCL, RL)", "Meta-structure density", "Noise study")
    window = viewer.window._qt_window
    first, *others = [dock for dock, _ in made]
    assert set(window.tabifiedDockWidgets(first)) == set(others)
    assert made[-1][1].isVisible() and made[-1][0].height() > 400
    assert [not widget.visibleRegion().isEmpty() for _, widget in made] == [False, False, True]  # the newest in front


def test_a_dock_that_is_put_beside_another_stays_there(docked):
    viewer, made = docked(1440, 860, "Label noise (RCL, PCL, RL)", "Meta-structure density")
    window = viewer.window._qt_window
    (first, _), (second, _) = made
    window.splitDockWidget(first, second, Qt.Orientation.Horizontal)
    QApplication.processEvents()
    assert window.tabifiedDockWidgets(first) == []


@pytest.mark.parametrize(
    ("part", "folder", "left"),
    [
        ("", None, "The layers that it has made stay. Without a run folder it cannot be resumed."),
        ("", "here", "It is kept in here: choose that run folder in a new panel and press Resume run to go on."),
        ("batch", None, "Finished files stay, and Do the rest goes on with the others."),
    ],
)
def test_a_job_goes_on_while_its_panel_is_hidden_and_one_is_asked_before_it_is_closed(
    docked, qtbot, said, monkeypatch, part, folder, left
):
    _viewer, ((dock, widget),) = docked(1280, 720, "iGTT (segment without labels)")
    runner, control = (getattr(widget, part) if part else widget).runner, Control()
    widget.show_place(None if folder is None else Path(folder))
    asked, answers = [], [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *given: (asked.append(given[2]), answers.pop(0))[1])

    def until_stopped():
        wait_for(threading.Event(), control)
        yield "through"

    runner.start(until_stopped, control, "The job")
    dock.hide()
    dock.show()
    assert not control.stopped
    (close,) = dock.titleBarWidget().findChildren(QPushButton, "QTitleBarCloseButton")
    close.click()
    assert not control.stopped and dock.isVisible()
    with qtbot.waitSignal(runner.finished):
        close.click()
    assert control.stopped
    hide = "To let it go on, hide the panel instead (the eye in its title)."
    question = f"The job is going on, and is stopped if its panel is closed. {left} {hide}\n\nClose it?"
    assert asked == [question] * 2
    assert said()[-1] == f"The job was stopped because its panel was closed. {left} {hide}"


def test_a_panel_without_a_job_is_closed_at_once(docked, monkeypatch):
    viewer, ((dock, _widget),) = docked(1280, 720, "iGTT (segment without labels)")
    monkeypatch.setattr(QMessageBox, "question", lambda *given: pytest.fail("asked"))
    (close,) = dock.titleBarWidget().findChildren(QPushButton, "QTitleBarCloseButton")
    close.click()
    assert dock not in viewer.window._qt_window.findChildren(type(dock)) or not dock.isVisible()
