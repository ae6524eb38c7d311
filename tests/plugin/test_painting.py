"""Strokes on the images of a run, by napari's own mouse callbacks: nothing moves under them, and none is lost."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils._test_utils import read_only_mouse_event
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from napari_metastructure.plugin._painting import BACKGROUND, OBJECT, Strokes, painted_in_words
from napari_metastructure.training.control import FREE

ENDLESS = {"epochs": 2000}


class Brush:
    """The mouse with a brush of the widget in hand, in pixels of the strokes."""

    def __init__(self, widget, value=OBJECT, mode="paint", size=5) -> None:
        self.viewer, self.widget = widget.viewer, widget
        widget.take_brush(value)
        self.canvas = widget.layers.in_hand
        self.canvas.brush_size, self.canvas.mode = size, mode

    def event(self, kind, at, dragging):
        place = self.viewer.dims.point[-self.canvas.ndim : -2]
        world = (*place, at[0] * self.canvas.scale[-2], at[1] * self.canvas.scale[-1])
        return read_only_mouse_event(
            type=kind, is_dragging=dragging, position=world, pos=np.array(at), dims_displayed=self.viewer.dims.displayed
        )

    def press(self, at):
        mouse_press_callbacks(self.canvas, self.event("mouse_press", at, False))

    def move(self, at):
        mouse_move_callbacks(self.canvas, self.event("mouse_move", at, True))

    def release(self, at):
        mouse_release_callbacks(self.canvas, self.event("mouse_release", at, False))

    def stroke(self, *points):
        self.press(points[0])
        for point in points[1:]:
            self.move(point)
        self.release(points[-1])


@pytest.fixture
def running(open_widget, blobs, qtbot):
    """A run without an end, at its second epoch."""
    viewer, widget = open_widget(blobs(), config=ENDLESS)
    widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 2 and viewer.dims.point[0] >= 1)
    return viewer, widget


def epochs_come(widget, qtbot, number=2):
    """Wait for epochs of the run, drawn or not."""
    newest = widget.layers.newest
    qtbot.waitUntil(lambda: widget.layers.newest >= newest + number)


def drawn(widget):
    """The strokes of the first image, as the layer shows them."""
    return widget.layers.parts[0].canvas.data


def test_a_stroke_is_whole_however_many_epochs_come_meanwhile(running, qtbot):
    viewer, widget = running
    brush = Brush(widget)
    at = int(viewer.dims.point[0])
    brush.press((8, 8))
    for x in (16, 24, 32):
        epochs_come(widget, qtbot, 1)
        brush.move((8, x))
    brush.release((8, 32))
    epochs_come(widget, qtbot, 1)
    assert viewer.dims.point[0] == at
    assert np.all(drawn(widget)[8, 8:33] == OBJECT)
    assert len(brush.canvas._undo_history) == 1
    newest = widget.layers.waiting[-1]
    assert widget.results.waiting_button.text() == f"Epoch {newest} is ready: show it"
    brush.canvas.undo()
    assert widget.layers.corrections() == {}


def test_strokes_never_touch_the_masks(running):
    viewer, widget = running
    widget.pause()
    masks = widget.layers.parts[0].masks
    before = masks.data.copy()
    Brush(widget).stroke((8, 8), (8, 40))
    np.testing.assert_array_equal(masks.data[: len(before)], before)
    assert not masks.editable and masks in viewer.layers
    at = widget.layers.epochs[-1]
    assert np.all(widget.layers.masks(at)[0][8, 8:41] == 1)  # what is used or saved has them


def test_the_epoch_that_waits_can_be_asked_for_and_the_stroke_stays(running, qtbot):
    viewer, widget = running
    Brush(widget).stroke((8, 8), (8, 20))
    painted = widget.layers.corrections()
    epochs_come(widget, qtbot)
    newest = widget.layers.waiting[-1]
    widget.results.waiting_button.click()
    qtbot.waitUntil(lambda: viewer.dims.point[0] >= newest)
    np.testing.assert_array_equal(widget.layers.corrections()[0], painted[0])


def test_putting_an_unused_brush_away_lets_epochs_come(running, qtbot):
    viewer, widget = running
    button = widget.results.brushes.buttons[OBJECT]
    button.click()
    assert button.isChecked() and widget.layers.in_hand is not None
    epochs_come(widget, qtbot)
    assert widget.layers.waiting
    button.click()
    assert not button.isChecked()
    qtbot.waitUntil(lambda: not widget.layers.waiting and viewer.dims.point[0] == widget.layers.epochs[-1])


def test_the_buttons_show_which_brush_is_in_hand(running):
    viewer, widget = running
    buttons = widget.results.brushes.buttons
    buttons[BACKGROUND].click()
    assert (buttons[OBJECT].isChecked(), buttons[BACKGROUND].isChecked()) == (False, True)
    widget.layers.in_hand.selected_label = OBJECT  # napari's own control
    assert (buttons[OBJECT].isChecked(), buttons[BACKGROUND].isChecked()) == (True, False)
    viewer.layers.selection.active = viewer.layers["a"]
    assert not buttons[OBJECT].isChecked() and not buttons[BACKGROUND].isChecked()


@pytest.mark.parametrize("paused", [False, True])
def test_continue_says_what_is_locked_and_goes_on(running, qtbot, paused, pause):
    _viewer, widget = running
    if paused:
        pause(widget)
    brush = Brush(widget)
    brush.stroke((8, 8), (8, 40))
    Brush(widget, BACKGROUND).stroke((30, 10), (50, 10))
    locked = widget.layers.corrections()[0]
    assert widget.continue_from_edits()
    assert f"{(locked == 1).sum()} pixels as object and {(locked == 0).sum()} as background" in (
        widget.progress.status.text()
    )
    assert not widget.runner.control.paused and widget.buttons.pause.isVisibleTo(widget)
    assert brush.canvas.mode == "pan_zoom"
    at = locked != 255
    # Some epochs may have been on their way.
    masks = widget.layers.parts[0].masks
    qtbot.waitUntil(lambda: bool((masks.data[widget.layers.epochs[-1]][at] == locked[at]).all()))


def test_what_is_undone_once_it_was_locked_is_free_again(running, qtbot):
    _viewer, widget = running
    brush = Brush(widget)
    brush.stroke((55, 5), (55, 58))
    assert widget.continue_from_edits()
    masks = widget.layers.parts[0].masks
    qtbot.waitUntil(lambda: bool(masks.data[widget.layers.epochs[-1], 55, 5:59].all()))
    brush.canvas.undo()
    assert widget.layers.held
    assert widget.continue_from_edits()
    assert widget.progress.status.text() == "What was locked is free again from the next epoch on."
    assert not widget.layers.held
    told = widget.runner.control.take_corrections()[0]
    assert set(np.unique(told)) == {FREE, 255} and told[55, 30] == FREE


def test_a_run_whose_strokes_were_all_taken_back_shows_the_start_again(open_widget, blobs, run):
    _viewer, widget = open_widget(blobs(), config={"base_channels": 16, "epochs": 1})
    run(widget)
    brush = Brush(widget)
    brush.stroke((5, 5), (5, 58))
    run(widget, widget.continue_from_edits)
    masks = widget.layers.parts[0].masks
    assert masks.data[widget.layers.epochs[-1], 5, 5:59].all()
    brush.canvas.undo()
    run(widget, widget.continue_from_edits)
    assert len(widget.layers.epochs) == 3
    np.testing.assert_array_equal(masks.data[widget.layers.epochs[-1]], masks.data[0])
    assert not widget.continue_from_edits()


@pytest.mark.parametrize("mode", ["fill", "polygon"])
def test_other_tools_count_as_the_brush_does(running, mode):
    _viewer, widget = running
    widget.pause()
    brush = Brush(widget, mode=mode)
    if mode == "fill":
        brush.stroke((5, 5))
        assert np.all(widget.layers.corrections()[0] == 1)
    else:
        brush.canvas.paint_polygon([[10, 10], [10, 30], [30, 30], [30, 10]], OBJECT)
        assert np.all(widget.layers.corrections()[0][12:29, 12:29] == 1)


def test_a_stroke_over_two_slices_is_told_for_both(open_widget, blobs, qtbot):
    viewer, widget = open_widget(np.stack([blobs(0), blobs(1), blobs(2)]), config=ENDLESS)
    widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 1)
    brush = Brush(widget)
    brush.press((8, 8))
    viewer.dims.set_point(1, 2)
    brush.move((40, 40))
    brush.release((40, 40))
    assert set(widget.layers.corrections()) == {1, 2} or set(widget.layers.corrections()) == {0, 2}
    brush.canvas.undo()
    assert widget.layers.corrections() == {}


def test_epochs_wait_in_other_views_too(running, qtbot):
    """With the axis of epochs on screen, new pages would change the picture under the brush."""
    viewer, widget = running
    viewer.dims.order = (1, 0, 2)
    Brush(widget)
    masks = widget.layers.parts[0].masks
    shape = masks.data.shape
    epochs_come(widget, qtbot)
    qtbot.waitUntil(lambda: bool(widget.layers.waiting))
    assert masks.data.shape == shape


def test_a_stroke_is_taken_back_from_the_list_and_comes_back_by_undo(running):
    _viewer, widget = running
    widget.pause()
    Brush(widget, size=3).stroke((10, 5), (10, 40))
    brush = Brush(widget, BACKGROUND, size=3)
    brush.stroke((5, 20), (40, 20))
    texts = [widget.strokes.list.item(i).text().split(":")[0] for i in range(widget.strokes.list.count())]
    assert texts == ["Background", "Object"]
    assert drawn(widget)[10, 20] == BACKGROUND
    widget.strokes.list.setCurrentRow(0)
    widget.strokes.back.click()
    assert drawn(widget)[10, 20] == OBJECT and not np.any(drawn(widget) == BACKGROUND)  # as if it had never been
    assert widget.strokes.list.count() == 1
    brush.canvas.undo()
    assert drawn(widget)[10, 20] == BACKGROUND
    assert widget.strokes.list.count() == 2


def test_the_list_is_gone_with_the_layer_and_so_are_its_strokes(running):
    viewer, widget = running
    widget.pause()
    brush = Brush(widget)
    brush.stroke((10, 5), (10, 40))
    viewer.layers.remove(brush.canvas)
    assert widget.layers.corrections() == {} and widget.strokes.list.count() == 0
    Brush(widget).stroke((20, 5), (20, 40))  # on a new one
    assert widget.layers.corrections()[0][20, 20] == 1


# ---- the strokes alone, without a run ----------------------------------------------------------------------


@pytest.fixture
def canvas():
    return Strokes(Labels(np.zeros((2, 20, 20), np.uint8)))


def put(canvas, plane, rows, columns, value):
    at = np.ix_([plane], range(*rows), range(*columns))
    canvas.layer.data_setitem(tuple(np.broadcast_arrays(*at)), value)


def test_any_label_but_that_of_background_is_an_object(canvas):
    for row, value in enumerate((OBJECT, BACKGROUND, 3, 200)):
        put(canvas, 1, (row, row + 1), (0, 5), value)
    (index, pixels), *rest = canvas.corrections().items()
    assert index == 1 and not rest
    assert pixels[:5, 0].tolist() == [1, 0, 1, 1, 255]


def test_erased_pixels_are_free_and_the_newest_stroke_wins(canvas):
    put(canvas, 0, (0, 4), (0, 4), OBJECT)
    put(canvas, 0, (0, 2), (0, 4), BACKGROUND)
    put(canvas, 0, (1, 2), (0, 4), 0)
    assert canvas.corrections()[0][:5, 0].tolist() == [0, 255, 1, 1, 255]


@pytest.mark.parametrize("seed", range(5))
def test_a_stroke_taken_back_is_as_if_it_had_never_been(seed):
    rng = np.random.default_rng(seed)

    def painted(strokes):
        canvas = Strokes(Labels(np.zeros((20, 20), np.uint8)))
        canvas.layer.brush_size = 6
        for y, x, value in strokes:
            canvas.layer.paint((y, x), value)
        return canvas

    left = []
    while len(left) < 8:
        new = [*left, (*rng.integers(4, 16, 2), int(rng.integers(0, 3)))]
        if np.any(painted(new).layer.data != painted(left).layer.data):  # napari tells of no other stroke
            left = new
    canvas = painted(left)
    for _ in range(5):
        at = int(rng.integers(len(left)))
        canvas.take_back(canvas.strokes()[at])
        left.pop(at)
        np.testing.assert_array_equal(canvas.layer.data, painted(left).layer.data)


def test_strokes_that_were_undone_do_not_come_back_with_the_next(canvas):
    canvas.layer.brush_size = 3
    canvas.layer.paint((0, 5, 5), OBJECT)
    canvas.layer.undo()
    put(canvas, 0, (10, 12), (10, 12), BACKGROUND)  # a script's stroke
    assert [stroke.value for stroke in canvas.strokes()] == [BACKGROUND]
    assert set(np.unique(canvas.corrections()[0])) == {0, 255}


def test_corrections_of_an_earlier_run_come_before_all_strokes(canvas):
    put(canvas, 0, (0, 1), (0, 5), OBJECT)
    earlier = np.full((20, 20), 255, np.uint8)
    earlier[0, :10], earlier[5] = 0, 1
    canvas.restore({0: earlier, 1: earlier})
    assert canvas.corrections()[0][0, [0, 7]].tolist() == [1, 0]
    np.testing.assert_array_equal(canvas.corrections()[1], earlier)
    assert len(canvas.strokes()) == 5


def test_what_is_locked_is_put_into_words():
    assert painted_in_words({0: np.array([[0, 1, 255]]), 2: np.array([[1, 1, 255]])}) == (
        "3 pixels as object and 1 as background"
    )


def test_bucket_and_polygon_are_told_once_their_pixels_are_there():
    layer, told = Labels(np.zeros((20, 20), np.uint8)), []
    strokes = Strokes(layer, lambda: told.append(strokes.corrections()))
    corners = np.array([[2, 2], [2, 8], [8, 8], [8, 2]])
    for act, value in (
        (lambda: layer.paint_polygon(corners, OBJECT), 1),
        (lambda: layer.fill((15, 15), BACKGROUND), 0),
    ):
        act()
        assert value in told[-1][0]


def test_strokes_that_no_longer_lie_on_the_image_count_for_nothing(open_widget, blobs, run):
    _viewer, widget = open_widget(blobs())
    run(widget)
    Brush(widget).stroke((10, 10))
    drawn_before = widget.layers.parts[0].canvas
    drawn_before.data = np.ones((7, 9), np.uint8)
    assert widget.layers.corrections() == {} and len(widget.use_epoch()) == 1
    Brush(widget).stroke((10, 10))
    assert widget.layers.parts[0].canvas is not drawn_before
    run(widget, widget.continue_from_edits)
    assert widget.failure is None


def test_strokes_are_used_on_the_image_that_the_masks_are_of(open_widget, blobs, run):
    viewer, widget = open_widget(blobs())
    run(widget)
    Brush(widget).stroke((10, 10))
    viewer.layers["a"].data = blobs(shape=(48, 48))
    run(widget, widget.continue_from_edits)
    assert widget.failure is None and widget.layers.masks(widget.layers.newest)[0].shape == (64, 64)
    assert "Other pixels were put into 'a'" in widget.progress.status.text()


def test_a_stroke_that_others_covered_is_listed_again_once_they_are_undone():
    layer = Labels(np.zeros((20, 20), np.uint8))
    strokes = Strokes(layer)
    inner, outer = (np.array([[a, a], [a, b], [b, b], [b, a]]) for a, b in ((5, 8), (2, 12)))
    layer.paint_polygon(inner, OBJECT)
    layer.paint_polygon(outer, 0)
    (painted, erased) = strokes.strokes()
    strokes.take_back(painted)
    assert strokes.strokes() == [erased]
    layer.undo()
    assert layer.data.any() and strokes.strokes() == [painted]
    strokes.take_back(painted)
    assert not layer.data.any() and strokes.strokes() == []
