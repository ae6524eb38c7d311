"""Strokes on the masks of a run, by napari's own mouse callbacks: nothing moves under them, and none is lost."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils._test_utils import read_only_mouse_event
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from napari_metastructure.plugin._painting import counted
from napari_metastructure.training.control import FREE

ENDLESS = {"epochs": 2000}


class Brush:
    """The mouse on a masks layer, in its pixels."""

    def __init__(self, viewer, masks, mode="paint", size=5) -> None:
        self.viewer, self.masks = viewer, masks
        viewer.layers.selection.active = masks
        masks.brush_size, masks.mode = size, mode

    def event(self, kind, at, dragging):
        place = self.masks.data_to_world((*self.viewer.dims.point[:-2], 0, 0))
        world = (*place[:-2], at[0] * self.masks.scale[-2], at[1] * self.masks.scale[-1])
        return read_only_mouse_event(
            type=kind, is_dragging=dragging, position=world, pos=np.array(at), dims_displayed=self.viewer.dims.displayed
        )

    def press(self, at):
        mouse_press_callbacks(self.masks, self.event("mouse_press", at, False))

    def move(self, at):
        mouse_move_callbacks(self.masks, self.event("mouse_move", at, True))

    def release(self, at):
        mouse_release_callbacks(self.masks, self.event("mouse_release", at, False))

    def stroke(self, *points):
        self.press(points[0])
        for point in points[1:]:
            self.move(point)
        self.release(points[-1])


@pytest.fixture
def running(open_widget, blobs, qtbot):
    """A run without an end, at its second epoch, and its masks."""
    viewer, widget = open_widget(blobs(), config=ENDLESS)
    widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 2 and viewer.dims.point[0] >= 1)
    return viewer, widget, widget.layers.parts[0].masks


def epochs_come(widget, qtbot, number=2):
    """Wait for epochs of the run, drawn or not."""
    newest = widget.layers.newest
    qtbot.waitUntil(lambda: widget.layers.newest >= newest + number)


def test_a_stroke_is_whole_however_many_epochs_come_meanwhile(running, qtbot):
    viewer, widget, masks = running
    brush = Brush(viewer, masks)
    at = int(viewer.dims.point[0])
    brush.press((8, 8))
    for x in (16, 24, 32):
        epochs_come(widget, qtbot, 1)
        brush.move((8, x))
    brush.release((8, 32))
    epochs_come(widget, qtbot, 1)
    assert viewer.dims.point[0] == at
    assert np.all(masks.data[at, 8, 8:33] == 1)
    assert len(masks._undo_history) == 1
    newest = widget.layers.waiting[-1]
    assert widget.results.waiting_button.text() == f"Epoch {newest} is ready: show it"
    masks.undo()
    assert widget.layers.corrections() == {}


def test_the_epoch_that_waits_can_be_asked_for_and_the_stroke_stays(running, qtbot):
    viewer, widget, masks = running
    Brush(viewer, masks).stroke((8, 8), (8, 20))
    painted = widget.layers.corrections()
    epochs_come(widget, qtbot)
    newest = widget.layers.waiting[-1]
    widget.results.waiting_button.click()
    qtbot.waitUntil(lambda: viewer.dims.point[0] >= newest)
    np.testing.assert_array_equal(widget.layers.corrections()[0], painted[0])


def test_putting_an_unused_brush_away_lets_epochs_come(running, qtbot):
    viewer, widget, masks = running
    brush = Brush(viewer, masks)
    epochs_come(widget, qtbot)
    assert widget.layers.waiting
    brush.masks.mode = "pan_zoom"
    qtbot.waitUntil(lambda: not widget.layers.waiting and viewer.dims.point[0] == widget.layers.epochs[-1])


@pytest.mark.parametrize("paused", [False, True])
def test_continue_says_what_is_locked_and_goes_on(running, qtbot, paused, pause):
    viewer, widget, masks = running
    if paused:
        pause(widget)
    Brush(viewer, masks).stroke((8, 8), (8, 40))
    Brush(viewer, masks, "erase").stroke((30, 10), (50, 10))
    locked = widget.layers.corrections()[0]
    assert widget.continue_from_edits()
    assert f"{(locked == 1).sum()} pixels as object and {(locked == 0).sum()} as background" in (
        widget.progress.status.text()
    )
    assert not widget.runner.control.paused and widget.buttons.pause.isVisibleTo(widget)
    assert masks.mode == "pan_zoom"
    at = locked != 255
    # Some epochs may have been on their way.
    qtbot.waitUntil(lambda: bool((widget.layers.masks(widget.layers.epochs[-1])[0][at] == locked[at]).all()))


def test_what_is_undone_once_it_was_locked_is_free_again(running, qtbot):
    viewer, widget, masks = running
    masks.data[int(viewer.dims.point[0]), 50:60, 2:60] = 0
    Brush(viewer, masks).stroke((55, 5), (55, 58))
    assert widget.continue_from_edits()
    qtbot.waitUntil(lambda: bool(widget.layers.masks(widget.layers.epochs[-1])[0][55, 5:59].all()))
    masks.undo()
    assert widget.layers.held
    assert widget.continue_from_edits()
    assert "0 pixels as object and 0 as background" in widget.progress.status.text()
    assert not widget.layers.held
    told = widget.runner.control.take_corrections()[0]
    assert set(np.unique(told)) == {FREE, 255} and told[55, 30] == FREE


def test_all_that_a_brush_went_over_is_locked_not_what_it_changed_alone(running):
    """Else an object that was painted over gets holes where the network thought so already, later."""
    viewer, widget, masks = running
    at = int(viewer.dims.point[0])
    widget.pause()
    masks.data[at, 20:30, 20:30] = 1
    Brush(viewer, masks, size=3).stroke((25, 15), (25, 40))
    assert np.all(widget.layers.corrections()[0][25, 15:41] == 1)
    masks.undo()
    assert widget.layers.corrections() == {}
    masks.redo()
    assert np.all(widget.layers.corrections()[0][25, 15:41] == 1)


@pytest.mark.parametrize("mode", ["fill", "polygon"])
def test_other_tools_count_as_the_brush_does(running, mode):
    viewer, widget, masks = running
    widget.pause()
    at = int(viewer.dims.point[0])
    masks.data[at] = 0
    if mode == "fill":
        Brush(viewer, masks, mode).stroke((5, 5))
        assert np.all(widget.layers.corrections()[0] == 1)
    else:
        masks.paint_polygon([[at, 10, 10], [at, 10, 30], [at, 30, 30], [at, 30, 10]], 1)
        assert np.all(widget.layers.corrections()[0][12:29, 12:29] == 1)


def test_a_stroke_over_two_slices_is_told_for_both(open_widget, blobs, qtbot):
    viewer, widget = open_widget(np.stack([blobs(0), blobs(1), blobs(2)]), config=ENDLESS)
    widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 1)
    masks = widget.layers.parts[0].masks
    brush = Brush(viewer, masks)
    brush.press((8, 8))
    viewer.dims.set_point(1, 2)
    brush.move((40, 40))
    brush.release((40, 40))
    assert set(widget.layers.corrections()) == {1, 2} or set(widget.layers.corrections()) == {0, 2}
    masks.undo()
    assert widget.layers.corrections() == {}


def test_epochs_wait_in_other_views_too(running, qtbot):
    """With the axis of epochs on screen, new pages would change the picture under the brush."""
    viewer, widget, masks = running
    viewer.dims.order = (1, 0, 2)
    Brush(viewer, masks)
    shape = masks.data.shape
    epochs_come(widget, qtbot)
    qtbot.waitUntil(lambda: bool(widget.layers.waiting))
    assert masks.data.shape == shape


def test_what_is_locked_is_put_into_words():
    assert counted({0: np.array([[0, 1, 255]]), 2: np.array([[1, 1, 255]])}) == (
        "3 pixels as object and 1 as background"
    )
