"""Places shown one after the other, answered by keys and buttons; the answers are strokes."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit

from napari_metastructure.igtt import asking
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin._asking import _questions
from napari_metastructure.plugin._igtt_layers import RunLayers
from napari_metastructure.plugin._painting import BACKGROUND, OBJECT
from napari_metastructure.plugin._source import sources_of


@pytest.fixture
def ask(open_widget, blobs, run, qtbot):
    """A finished run on some images, its first place on screen, and a function that waits for the next."""

    def make(*images, **how):
        viewer, widget = open_widget(*(images or (blobs(),)), config={"epochs": 1}, **how)
        run(widget)
        before = {layer.name: layer.visible for layer in viewer.layers}
        widget.results.ask_button.click()

        def settled():
            qtbot.waitUntil(lambda: not (widget.asking.busy or widget.answer.busy or widget.asking.moving))
            return widget.asking.place

        settled()
        return viewer, widget, settled, before

    return make


def painted(widget):
    """Return the pixels that are strokes, by image of the run, and their classes."""
    return {
        (plane, int(y), int(x)): int(pixels[y, x])
        for plane, pixels in widget.layers.corrections().items()
        for y, x in zip(*np.nonzero(pixels <= 1), strict=True)
    }


def test_answers_are_strokes_of_one_pixel_and_can_be_taken_back(ask):
    _viewer, widget, settled, _ = ask()
    me, first = widget.asking, widget.asking.place
    me.buttons["object"].click()
    second = settled()
    me.buttons["background"].click()
    third = settled()
    me.buttons["skip"].click()
    fourth = settled()
    assert len({first, second, third, fourth}) == 4
    assert painted(widget) == {tuple(first): 1, tuple(second): 0}
    assert me.counter.text() == "2 answered, 1 skipped"
    assert len(widget.strokes._shown) == 2
    for back in (third, second, first):
        me.buttons["back"].click()
        assert settled() == back
    assert painted(widget) == {} and not me.buttons["back"].isEnabled()
    me.take(BACKGROUND)
    assert settled() == second
    assert painted(widget) == {tuple(first): 0}


def test_many_answers_never_repeat_a_place_and_the_gain_is_said(ask, monkeypatch):
    monkeypatch.setattr(asking, "LAST", 4)
    _viewer, widget, settled, _ = ask()
    seen = []
    for _ in range(12):
        seen.append(widget.asking.place)
        p = widget.asking._p[0][seen[-1].y, seen[-1].x]
        widget.asking.take(OBJECT if p > 0.5 else BACKGROUND)
        settled()
    assert len(set(seen)) == 12
    assert widget.asking.said.text().startswith("0 of the last 4 answers corrected the masks, which changed by")


def test_random_places_take_the_place_of_the_least_sure(ask):
    _viewer, widget, settled, _ = ask()
    widget.asking.how.setCurrentText("Random pixels")
    place = settled()
    expected = asking.Questions([np.zeros((64, 64)) + np.arange(64)].__getitem__).next(
        [np.zeros((64, 64))], 1, "random"
    )
    assert [place] == expected


def test_keys_answer_and_end_in_a_window(ask, qtbot):
    viewer, widget, settled, before = ask(window=True, show=True)
    canvas = viewer.window._qt_viewer.canvas.native
    camera = viewer.scene.camera
    canvas.setFocus()
    first = widget.asking.place
    for key in (Qt.Key.Key_F, Qt.Key.Key_B, Qt.Key.Key_Space, Qt.Key.Key_Z):
        qtbot.keyClick(canvas, key)
        settled()
    assert widget.asking.counter.text() == "2 answered, 0 skipped"
    assert sorted(painted(widget).values()) == [0, 1] and painted(widget)[tuple(first)] == 1
    field = QLineEdit(widget)
    qtbot.keyClick(field, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert widget.asking.number == 2
    assert camera.zoom > 20  # of pixels of 0.2 x 0.1 um
    qtbot.keyClick(canvas, Qt.Key.Key_Escape)
    assert not widget.asking.asking and widget.asking.isHidden()
    qtbot.keyClick(canvas, Qt.Key.Key_F)
    assert len(painted(widget)) == 2
    after = {layer.name: layer.visible for layer in viewer.layers}
    assert before.items() <= after.items()
    assert [name for name in after if "asked" in name] == []


def test_the_place_is_centred_on_stacks_that_are_turned(ask, blobs):
    viewer, widget, settled, _ = ask(np.stack([blobs(0), blobs(1), blobs(2)]))
    source = viewer.layers["a"]
    source.rotate = 30
    for layer in widget.layers.parts[0].own:
        layer.rotate = source.rotate
    planes = set()
    for _ in range(6):
        widget.asking.take(OBJECT)
        plane, y, x = settled()
        planes.add(plane)
        world = source.data_to_world((plane, y, x))
        np.testing.assert_allclose(viewer.scene.camera.center[-2:], world[-2:], atol=1e-5)
        assert viewer.dims.point[-3] == pytest.approx(world[0])
        (marker,) = [layer for layer in viewer.layers if "asked" in layer.name]
        np.testing.assert_array_equal(marker.data, [(plane, y, x)])
    assert len(planes) > 1


def test_of_several_layers_the_one_in_question_is_seen(ask, blobs):
    viewer, widget, settled, before = ask(blobs(0), blobs(1))
    seen = set()
    for _ in range(8):
        here = "ab"[widget.asking.place.plane]
        seen.add(here)
        assert [name for name in "ab" if viewer.layers[name].visible] == [here]
        assert [n for n in "ab" if viewer.layers[f"{n} iGTT masks"].visible] == [here]
        widget.asking.take(BACKGROUND)
        settled()
    assert seen == {"a", "b"}
    widget.asking.end()
    assert {layer.name: layer.visible for layer in viewer.layers}.items() >= before.items()


def test_an_answer_undone_elsewhere_counts_no_more(ask):
    _viewer, widget, settled, _ = ask()
    widget.asking.take(OBJECT)
    settled()
    widget.layers.parts[0].canvas.undo()
    settled()
    assert widget.asking.counter.text() == "0 answered, 0 skipped"
    widget.asking.back()
    assert painted(widget) == {}


def test_it_ends_with_the_layer_a_new_run_or_the_widget(ask, run):
    viewer, widget, settled, _ = ask()
    run(widget)
    assert not widget.asking.asking
    widget.results.ask_button.click()
    settled()
    viewer.layers.remove(widget.layers.parts[0].masks)
    assert not widget.asking.asking and widget.asking.isHidden()
    assert [layer.name for layer in viewer.layers if "asked" in layer.name] == []
    assert not widget.asking.begin()


def test_a_failure_is_said_and_it_can_be_left(ask, monkeypatch):
    _viewer, widget, settled, _ = ask()

    def fail(*_):
        raise MemoryError("no memory left")

    monkeypatch.setattr(asking.Questions, "next", fail)
    widget.asking.how.setCurrentText("Random pixels")
    assert settled() is None
    assert "no memory left" in widget.asking.said.text()
    assert not widget.asking.buttons["object"].isEnabled()
    widget.asking.take(OBJECT)
    widget.asking.skip()
    assert painted(widget) == {}
    widget.asking.end()
    assert not widget.asking.asking


def test_the_next_place_is_in_sight_whatever_was_turned_meanwhile(ask):
    viewer, widget, settled, _ = ask()
    viewer.dims.roll()
    viewer.dims.ndisplay = 3
    widget.asking.skip()
    settled()
    assert viewer.dims.ndisplay == 2 and viewer.dims.order == (0, 1, 2)
    widget.asking.end()


def test_what_was_not_measured_is_left_for_the_questions_to_find(monkeypatch):
    viewer, pixels = ViewerModel(), np.random.default_rng(0).random((16, 16)).astype(np.float32)
    pixels[3, 4] = np.nan  # filled, it could be asked about
    layers = RunLayers(viewer, sources_of([viewer.add_image(pixels)]), IGTTConfig())
    monkeypatch.setattr(asking, "Questions", lambda read, mends: read)
    np.testing.assert_array_equal(_questions(layers)(0), pixels)


def test_places_are_looked_for_in_the_channel_of_the_run(monkeypatch):
    viewer, rng = ViewerModel(), np.random.default_rng(0)
    layer = viewer.add_image(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8), rgb=True)
    layers = RunLayers(viewer, sources_of([layer]), IGTTConfig())
    layers.colour = "blue"
    monkeypatch.setattr(asking, "Questions", lambda read, mends: read)
    np.testing.assert_array_equal(_questions(layers)(0), layer.data[..., 2])
