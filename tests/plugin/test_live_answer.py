"""What strokes change is outlined as soon as the brush is lifted, and nothing else moves."""

import numpy as np
import pytest

from napari_metastructure.igtt import steering
from napari_metastructure.plugin._live_answer import MEANING
from napari_metastructure.plugin._painting import BACKGROUND, OBJECT


@pytest.fixture
def painting(open_widget, blobs, run, qtbot):
    """A finished run on some images, and a function that paints a square on the strokes of the one on screen."""

    def make(*images):
        viewer, widget = open_widget(*(images or (blobs(),)), config={"epochs": 1})
        run(widget)

        def paint(value, rows, columns=(5, 15)):
            widget.take_brush(value)
            canvas = widget.layers.in_hand
            leading = [[int(i)] for i in viewer.dims.point[1:-2]]
            at = np.ix_(*leading, range(*rows), range(*columns))
            canvas.data_setitem(tuple(axis.ravel() for axis in np.broadcast_arrays(*at)), value)
            qtbot.waitUntil(lambda: not widget.answer.busy, timeout=60_000)
            return canvas

        return viewer, widget, paint

    return make


def outlined(viewer, name="a"):
    return [layer for layer in viewer.layers if layer.name == f"{name} with strokes"]


def test_the_answer_has_the_strokes_and_leaves_brush_and_masks_alone(painting):
    viewer, widget, paint = painting()
    before = widget.layers.parts[0].masks.data.copy()
    canvas = paint(OBJECT, (2, 6))
    (layer,) = outlined(viewer)
    assert layer.contour and not layer.editable
    assert np.all(layer.data[2:6, 5:15] == 1)
    assert viewer.layers.selection.active is canvas and canvas.mode == "paint"
    np.testing.assert_array_equal(widget.layers.parts[0].masks.data, before)
    paint(BACKGROUND, (40, 50))
    assert outlined(viewer) == [layer]
    assert np.all(layer.data[2:6, 5:15] == 1) and not np.any(layer.data[40:50, 5:15])


def test_what_the_outline_means_is_said_once(painting, said):
    _viewer, widget, paint = painting()
    paint(OBJECT, (2, 6))
    assert widget.progress.status.text() == MEANING
    widget.say("something else")
    paint(BACKGROUND, (40, 50))
    assert widget.progress.status.text() == "something else"


def test_without_strokes_there_is_no_answer(painting, qtbot):
    viewer, widget, paint = painting()
    canvas = paint(OBJECT, (2, 6))
    canvas.undo()
    qtbot.waitUntil(lambda: not widget.answer.busy, timeout=60_000)
    assert outlined(viewer) == []
    canvas.redo()
    qtbot.waitUntil(lambda: len(outlined(viewer)) == 1, timeout=60_000)


def test_what_a_run_has_taken_up_is_no_longer_outlined(painting, run):
    viewer, widget, paint = painting()
    paint(OBJECT, (2, 6))
    run(widget, widget.continue_from_edits)
    assert widget.failure is None and outlined(viewer) == []
    assert np.all(widget.layers.parts[0].masks.data[-1, 2:6, 5:15] == 1)


def test_the_plane_on_screen_is_answered_as_the_slider_moves(painting, blobs, qtbot):
    viewer, _widget, paint = painting(np.stack([blobs(0), blobs(1), blobs(2)]))
    paint(OBJECT, (2, 6))
    (layer,) = outlined(viewer)
    first = int(viewer.dims.point[1])
    other = (first + 1) % 3
    assert layer.data[first].any() and not layer.data[other].any()
    viewer.dims.set_point(1, other)
    qtbot.waitUntil(lambda: bool(layer.data[other].any()), timeout=60_000)


def test_the_outline_follows_the_weight_of_the_start(painting, qtbot):
    viewer, widget, paint = painting()
    paint(OBJECT, (2, 6))
    paint(BACKGROUND, (40, 50))
    (layer,) = outlined(viewer)
    before = layer.data.copy()
    (editor,) = (form.editors["start_weight"] for form in widget.settings.forms if "start_weight" in form.editors)
    editor.widget.setValue(0.0)
    qtbot.waitUntil(lambda: not np.array_equal(layer.data, before), timeout=60_000)
    assert outlined(viewer) == [layer]
    editor.widget.setValue(1.0)
    qtbot.waitUntil(lambda: np.array_equal(layer.data, before), timeout=60_000)


def test_a_new_run_begins_without_it(painting, run):
    viewer, widget, paint = painting()
    paint(OBJECT, (2, 6))
    run(widget)
    assert outlined(viewer) == []


def test_a_failure_is_said_once_and_painting_goes_on(painting, monkeypatch, said):
    viewer, widget, paint = painting()

    def fail(*_):
        raise MemoryError("no memory left")

    monkeypatch.setattr(steering.Steering, "answer", fail)
    paint(OBJECT, (2, 6))
    assert "no memory left" in said()[-1]
    assert outlined(viewer) == [] and widget.layers.corrections()


def test_strokes_are_answered_on_the_colour_that_is_segmented(open_widget, blobs, run, qtbot, monkeypatch):
    viewer, widget = open_widget(config={"epochs": 1})
    picture = np.stack([blobs(0), blobs(1) // 2, blobs(2) // 3], -1).clip(0, 255).astype(np.uint8)
    widget.picker.choose([viewer.add_image(picture, rgb=True, name="a")])
    widget.ranges.colour.set("blue")
    run(widget)
    seen, make = [], steering.Steering.__init__
    monkeypatch.setattr(
        steering.Steering, "__init__", lambda self, planes, *p: seen.extend(planes) or make(self, planes, *p)
    )
    widget.take_brush(OBJECT)
    qtbot.waitUntil(lambda: bool(seen) and not widget.answer.busy, timeout=60_000)
    np.testing.assert_array_equal(seen[0], picture[..., 2])


@pytest.mark.parametrize("flaws", ["mend", "keep"])
def test_strokes_are_answered_on_the_image_as_the_run_saw_it(open_widget, blobs, run, qtbot, flaws, monkeypatch):
    image = blobs().astype(np.float32)
    image[9, 9] = 1e6
    _viewer, widget = open_widget(image, config={"epochs": 1, "flaws": flaws})
    run(widget)
    seen, make = [], steering.Steering.__init__
    monkeypatch.setattr(
        steering.Steering, "__init__", lambda self, planes, *p: seen.extend(planes) or make(self, planes, *p)
    )
    widget.take_brush(OBJECT)
    qtbot.waitUntil(lambda: bool(seen) and not widget.answer.busy, timeout=60_000)
    assert (seen[0][9, 9] == 1e6) == (flaws == "keep")


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_strokes_are_answered_where_pixels_hold_no_number(painting, blobs, said, nothing):
    image = blobs().astype(np.float32)
    image[30:40, 30:40] = nothing
    viewer, _widget, paint = painting(image)
    paint(OBJECT, (2, 6))
    assert len(outlined(viewer)) == 1 and not [message for message in said() if "could not" in message]
