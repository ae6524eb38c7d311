"""The widget in real viewers, with the real engine in a real thread."""

import csv

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers._source import Source
from qtpy.QtWidgets import QFileDialog

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.igtt import iterate as engine
from napari_metastructure.igtt.config import PRESETS, IGTTConfig
from napari_metastructure.images.files import read_image
from napari_metastructure.networks.device import Device
from napari_metastructure.networks.model_file import load_model
from napari_metastructure.plugin._layers import ORIGIN, made_from
from napari_metastructure.plugin._painting import BACKGROUND, OBJECT
from napari_metastructure.plugin.igtt import IGTTWidget, SettingsPanel
from napari_metastructure.training.events import EpochFinished, Finished, RunStarted, Warned

ENDLESS = {"epochs": 2000}
SCALE = (0.2, 0.1)


def test_two_images_become_masks(open_widget, blobs, run):
    viewer, widget = open_widget(blobs(0), blobs(1), window=True)
    run(widget)
    assert isinstance(widget.result, Finished)
    assert widget.failure is None
    assert not widget.result.stopped
    for name in "ab":
        masks = viewer.layers[f"{name} iGTT masks"]
        assert masks.data.shape == (3, 64, 64)
        assert tuple(masks.scale) == (1, *SCALE)
        assert 0 < masks.data[-1].mean() < 1
    shown = widget.layers.masks(widget.result.epoch)
    for mine, theirs in zip(shown, widget.result.masks, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert widget.progress.outer.value() == 2
    assert widget.progress.status.text() == widget.result.reason
    assert len(widget.curves._loss.getData()[0]) == 2
    assert widget.buttons.run.isEnabled()
    assert not widget.buttons.stop.isEnabled()


def test_masks_lie_on_the_selected_image_and_nobody_loses_zoom_or_view(open_widget, blobs, run):
    viewer, widget = open_widget(blobs(0), blobs(1))
    a, camera = viewer.layers["a"], viewer.scene.camera
    widget.picker.choose([a])
    viewer.layers.selection.active = a
    camera.zoom, camera.center = 77, (0, 3, 4)
    widget.results.probability.setChecked(True)
    run(widget)
    assert [layer.name for layer in viewer.layers] == ["b", "a", "a probability", "a iGTT masks"]
    assert (camera.zoom, camera.center) == (77, (0, 3, 4))
    assert viewer.layers.selection.active is viewer.layers["a iGTT masks"]
    assert viewer.layers["b"].visible
    (kept,) = widget.use_epoch()
    assert viewer.layers[-1] is kept and not viewer.layers["a iGTT masks"].visible
    assert (camera.zoom, camera.center) == (77, (0, 3, 4))


def test_what_runs_is_said(open_widget):
    _viewer, widget = open_widget()
    widget.on_event(RunStarted(epochs=4, batches=10, images=2, device="cpu", objects="dark"))
    assert widget.progress.status.text() == "2 images on cpu, dark objects."
    assert widget.progress.outer.format() == "0 of 4 epochs"
    assert widget.progress.inner.format() == "batch 0 of 10"


def test_a_stack_comes_back_as_a_stack(open_widget, blobs, run):
    viewer, widget = open_widget(np.stack([blobs(0), blobs(1)]))
    run(widget)
    masks = viewer.layers["a iGTT masks"]
    assert masks.data.shape == (3, 2, 64, 64)
    np.testing.assert_array_equal(masks.data[widget.result.epoch, 1], widget.result.masks[1])


def test_a_brush_is_taken_up_in_2d(open_widget, blobs, run):
    viewer, widget = open_widget(np.stack([blobs(0), blobs(1)]))
    run(widget)
    viewer.dims.ndisplay = 3
    widget.take_brush(1)
    assert viewer.dims.ndisplay == 2
    assert viewer.layers.selection.active.mode == "paint"


def test_an_rgb_layer_is_segmented_in_its_best_channel(open_widget, fundus, run, said, tmp_path):
    picture = fundus(96)
    viewer, widget = open_widget(config={"objects": "dark"})
    widget.picker.choose([viewer.add_image(picture.rgb, name="eye", rgb=True)])
    widget.folder.set(tmp_path / "run")
    run(widget)
    assert widget.failure is None
    assert any("the green channel is used" in message for message in said())
    (mask,) = widget.layers.masks(widget.layers.epoch)
    assert mask[picture.vessels].mean() > 0.5 and not mask[~picture.field].any()
    assert load_model(tmp_path / "run" / "model.safetensors")[2].colour == "green"


def test_a_bad_rgb_layer_is_told(open_widget, run, said):
    viewer, widget = open_widget()
    widget.picker.choose([viewer.add_image(np.full((64, 64, 3), np.nan, np.float32), name="eye", rgb=True)])
    run(widget)
    assert "'eye'" in str(widget.failure) and "NaN" in str(widget.failure)


def test_probability_and_pseudo_label_are_shown_on_demand(open_widget, blobs, run):
    viewer, widget = open_widget(blobs(), window=True)
    widget.results.probability.setChecked(True)
    run(widget)
    probability = viewer.layers["a probability"]
    assert probability.visible
    assert probability.data.max() > 0
    widget.results.labels.setChecked(True)
    labels = viewer.layers["a pseudo-label"]
    assert {1, 255} <= set(np.unique(labels.data))
    widget.results.labels.setChecked(False)
    assert not labels.visible


def test_stop_keeps_the_last_result(open_widget, qtbot, blobs):
    _viewer, widget = open_widget(blobs(), config=ENDLESS)
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 3, timeout=60_000)
        widget.stop()
    assert widget.result.stopped
    assert len(widget.layers.epochs) >= 3
    assert widget.use_epoch()[0].data.max() == 1


def test_pause_holds_and_resume_goes_on(open_widget, qtbot, blobs, pause):
    _viewer, widget = open_widget(blobs(), config=ENDLESS)
    widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 2, timeout=60_000)
    pause(widget)
    held = len(widget.layers.epochs)
    assert not widget.buttons.pause.isVisibleTo(widget)
    assert widget.buttons.resume.isVisibleTo(widget)
    qtbot.wait(50)
    assert len(widget.layers.epochs) == held
    widget.resume()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) > held, timeout=60_000)


def test_the_same_run_again_replaces_the_first_one(open_widget, blobs, run, qtbot):
    viewer, widget = open_widget(blobs(), window=True)
    run(widget)
    (kept,) = widget.use_epoch()
    first = viewer.layers["a iGTT masks"]
    run(widget)
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == ["a", "a mask", "a iGTT masks"])
    assert first not in viewer.layers
    assert (kept.visible, viewer.layers["a iGTT masks"].visible) == (False, True)


@pytest.mark.parametrize("what", ["another seed", "renamed", "painted on", "something made from it"])
def test_a_run_that_is_not_the_same_or_in_use_stays_and_is_hidden(open_widget, blobs, run, tiny, qtbot, what):
    viewer, widget = open_widget(blobs())
    run(widget)
    first = viewer.layers["a iGTT masks"]
    match what:
        case "another seed":
            widget.settings.fill(IGTTConfig(**{**tiny, "rounds": "always", "seed": 9}))
        case "renamed":
            first.name = "mine"
        case "painted on":
            widget.take_brush(1)
            widget.layers.in_hand.data_setitem((np.array([5]), np.array([5])), 1)
        case _:
            viewer.add_labels(np.zeros((64, 64), int), metadata=made_from(first))
    run(widget)
    qtbot.wait(200)
    assert first in viewer.layers and not first.visible


def test_a_new_run_says_that_it_leaves_strokes_out(open_widget, blobs, run, said):
    _viewer, widget = open_widget(blobs())
    run(widget)
    widget.take_brush(OBJECT)
    widget.layers.in_hand.data_setitem((np.array([5]), np.array([5])), OBJECT)
    run(widget)
    told = "Strokes on the masks before are not used by a new run; Use strokes does that."
    assert told in said() and told in widget.progress.status.text()
    run(widget)
    assert "Strokes" not in widget.progress.status.text()


def test_strokes_that_went_with_their_layers_are_not_spoken_of(open_widget, blobs, run, said):
    viewer, widget = open_widget(blobs())
    run(widget)
    widget.take_brush(OBJECT)
    widget.layers.in_hand.data_setitem((np.array([5]), np.array([5])), OBJECT)
    viewer.layers.clear()
    widget.take_brush(OBJECT)
    assert not viewer.layers and "masks to paint on were removed" in said()[-1]
    widget.picker.choose([viewer.add_image(blobs(1), name="other")])
    run(widget)
    assert "Strokes" not in widget.progress.status.text()


def test_of_epochs_used_one_after_the_other_the_last_shows(open_widget, blobs, run):
    viewer, widget = open_widget(blobs())
    run(widget)
    viewer.dims.set_point(0, 0)
    (first,) = widget.use_epoch()
    first.name = "mine"
    viewer.dims.set_point(0, 2)
    (second,) = widget.use_epoch()
    widget.use_epoch()
    finals = [layer for layer in viewer.layers if layer.metadata.get(ORIGIN, {}).get("final")]
    assert [(layer.name, layer.visible) for layer in finals] == [("mine", False), ("a mask", True)]
    assert finals == [first, *widget.layers.kept] and second not in viewer.layers


# ---- what is wrong is said before anything starts --------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.full((64, 64), np.nan, np.float32), "NaN"),
        (np.zeros((64, 64), np.float32), "same value"),
        (np.eye(4, dtype=np.float32), "too few"),
    ],
)
def test_bad_pixels_start_nothing(open_widget, image, why, said):
    viewer, widget = open_widget(image)
    assert not widget.start()
    assert not widget.running
    assert len(viewer.layers) == 1
    assert "'a'" in said()[-1]
    assert why in said()[-1]
    assert widget.progress.status.text() == said()[-1]


def test_no_layer_starts_nothing(open_widget, said):
    _viewer, widget = open_widget()
    assert not widget.start()
    assert "No image layer is chosen" in said()[-1]


def test_buttons_without_a_result_say_so(open_widget, tmp_path, blobs, said):
    _viewer, widget = open_widget(blobs())
    assert widget.use_epoch() == []
    assert not widget.continue_from_edits()
    assert widget.save_mask(tmp_path / "m.tif") == []
    assert all("run first" in message for message in said()[-3:])
    assert list(tmp_path.iterdir()) == []


def test_lazy_layers_are_checked_in_the_thread(open_widget, blobs, run, said):
    import dask.array as da

    bad = da.from_array(np.stack([blobs().astype(float), np.full((64, 64), 1e300)]), chunks=(1, 64, 64))
    viewer, widget = open_widget(bad)
    run(widget)
    assert "'a [1]'" in str(widget.failure)
    assert str(widget.failure) in said()
    assert len(viewer.layers) == 1
    assert widget.buttons.run.isEnabled()


@pytest.mark.parametrize("after", [0, 1])
def test_a_run_that_breaks_is_told_and_leaves_the_widget_ready(open_widget, monkeypatch, after, blobs, run, said):
    """torch's errors are RuntimeErrors, which a generator worker would swallow."""
    real = engine.iterate

    def breaking(*args, **kwargs):
        events = real(*args, **kwargs)
        seen = 0
        for event in events:
            yield event
            seen += isinstance(event, EpochFinished)
            if seen >= after:
                raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(engine, "iterate", breaking)
    viewer, widget = open_widget(blobs())
    run(widget)
    assert isinstance(widget.failure, RunFailed)
    assert any("unspecified launch failure" in message for message in said())
    assert ("a iGTT masks" in viewer.layers) is bool(after)
    monkeypatch.undo()
    run(widget)
    assert widget.failure is None


def test_a_run_folder_that_cannot_be_written_is_told(open_widget, tmp_path, blobs, run):
    _viewer, widget = open_widget(blobs())
    (tmp_path / "file").write_text("")
    widget.folder.set(tmp_path / "file")
    run(widget)
    assert widget.failure is not None
    assert "file" in str(widget.failure)


def test_a_run_folder_holds_the_run(open_widget, tmp_path, blobs, run):
    _viewer, widget = open_widget(blobs())
    widget.folder.set(tmp_path / "run")
    run(widget)
    assert {"run.yaml", "metrics.csv"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert str(tmp_path / "run") in widget.progress.status.text()


# ---- ends in the middle ------------------------------------------------------------------------------------


def test_a_run_stopped_before_its_first_mask_leaves_nothing(open_widget, blobs, qtbot, said):
    viewer, widget = open_widget(blobs(), config=ENDLESS)
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        widget.stop()
    assert widget.failure is None
    assert widget.result.stopped
    assert widget.result.masks == ()
    assert len(viewer.layers) == 1
    assert "before there was a first mask" in widget.progress.status.text()
    assert widget.use_epoch() == []
    assert not widget.results.save_button.isEnabled()
    assert widget.buttons.run.isEnabled()


def test_a_warning_is_told_and_the_run_goes_on(open_widget, blobs, run, said, monkeypatch):
    """The engine warns when the masks collapse, for one."""
    real, message = engine.iterate, "The masks hold 97.0 % foreground: the run has collapsed."

    def warning(*args, **kwargs):
        for event in real(*args, **kwargs):
            yield event
            if isinstance(event, EpochFinished) and event.epoch == 1:
                yield Warned(message)

    monkeypatch.setattr(engine, "iterate", warning)
    _viewer, widget = open_widget(blobs())
    shown = []
    say = widget.progress.say
    widget.progress.say = lambda text: (shown.append(text), say(text))
    run(widget)
    assert said().count(message) == 1
    assert message in shown
    assert widget.failure is None
    assert widget.layers.epochs == [0, 1, 2]


@pytest.mark.parametrize("name", ["a", "a iGTT masks"])
def test_deleting_a_layer_of_the_run_ends_it(open_widget, qtbot, name, blobs):
    viewer, widget = open_widget(blobs(), config=ENDLESS, window=True)
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 2, timeout=60_000)
        del viewer.layers[name]
    assert widget.result.stopped
    assert f"'{name}' was removed" in widget.progress.status.text()


def test_deleting_another_layer_does_not(open_widget, qtbot, blobs):
    viewer, widget = open_widget(blobs(0), blobs(1), config=ENDLESS)
    widget.picker.choose([viewer.layers["a"]])
    widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 1, timeout=60_000)
    del viewer.layers["b"]
    epochs = len(widget.layers.epochs)
    qtbot.waitUntil(lambda: len(widget.layers.epochs) > epochs, timeout=60_000)
    assert widget.running


@pytest.mark.parametrize("paused", [False, True])
def test_closing_the_window_ends_the_thread(make_napari_viewer, qtbot, paused, blobs, tiny, posted):
    viewer = make_napari_viewer()
    viewer.add_image(blobs(), name="a")
    widget = IGTTWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.settings.fill(IGTTConfig(**{**tiny, **ENDLESS}))
    assert widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 1, timeout=60_000)
    if paused:
        widget.pause()
    control, ended = widget.runner.control, posted(widget, Finished)
    viewer.close()
    qtbot.waitUntil(lambda: bool(ended), timeout=60_000)
    assert control.stopped
    assert ended[0].stopped


def test_napari_knows_that_a_run_is_going_on(open_widget, qtbot, blobs, end):
    """It asks before its window is closed."""
    viewer, widget = open_widget(blobs(), config=ENDLESS, window=True)
    tasks = viewer.window._task_status_manager
    widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 1, timeout=60_000)
    assert tasks.is_busy()
    assert any("The iGTT run" in line for line in tasks.get_status())
    end(widget)
    qtbot.waitUntil(lambda: not tasks.is_busy(), timeout=60_000)


def test_removing_the_widget_ends_the_run_and_frees_the_viewer(make_napari_viewer, qtbot, blobs, tiny):
    viewer = make_napari_viewer()
    layer = viewer.add_image(blobs(), name="a")
    widget = IGTTWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.settings.fill(IGTTConfig(**{**tiny, **ENDLESS}))
    widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 1, timeout=60_000)
    control = widget.runner.control
    with qtbot.waitSignal(widget.destroyed, timeout=60_000):
        viewer.window.remove_dock_widget(widget)
        widget.deleteLater()
    assert control.stopped
    layer.name = "renamed"
    viewer.add_image(blobs())
    viewer.theme = "light"
    viewer.dims.set_point(0, 0)


# ---- masks in the user's hands ---------------------------------------------------------------------------


def paint(widget, rows, value):
    """As the brush does: an edit that napari can undo."""
    canvas = widget.layers.parts[0].open_strokes()
    canvas.data_setitem(tuple(np.indices((rows, 64)).reshape(2, -1)), value)


def test_use_this_epoch_keeps_scale_and_has_no_epoch_axis(open_widget, blobs, run):
    viewer, widget = open_widget(blobs())
    run(widget)
    viewer.dims.set_point(0, 1)
    (kept,) = widget.use_epoch()
    assert kept.name == "a mask"
    assert kept.visible and not viewer.layers["a iGTT masks"].visible
    np.testing.assert_array_equal(kept.data, viewer.layers["a iGTT masks"].data[1])
    assert tuple(kept.scale) == SCALE
    assert [str(unit) for unit in kept.units] == ["micrometer"] * 2


def test_nothing_painted_is_said(open_widget, blobs, run, said):
    _viewer, widget = open_widget(blobs())
    run(widget)
    assert not widget.continue_from_edits()
    assert "Nothing was painted" in said()[-1]


@pytest.mark.parametrize("value", [OBJECT, BACKGROUND])
def test_edits_during_a_run_are_locked_in_later_epochs(open_widget, qtbot, value, blobs):
    _viewer, widget = open_widget(blobs(), config=ENDLESS)
    widget.start()
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 2, timeout=60_000)
    paint(widget, 10, value)
    locked = widget.layers.corrections()[0] == (value == OBJECT)
    assert locked.any()
    assert widget.continue_from_edits()
    # made before they were locked: what is drawn, what waits to be, and at most the one at work
    waiting = [event for event in widget.runner._run.events if isinstance(event, EpochFinished)]
    first = len(widget.layers.epochs) + len(waiting) + 1
    qtbot.waitUntil(lambda: len(widget.layers.epochs) >= first + 3 or not widget.running, timeout=60_000)
    assert widget.failure is None
    for epoch in range(first, first + 3):
        assert np.all(widget.layers.parts[0].masks.data[epoch][locked] == (value == OBJECT))


def test_edits_after_a_run_go_on_in_the_same_layers_and_count_on(open_widget, blobs, run, said, tmp_path):
    viewer, widget = open_widget(blobs(), window=True)
    widget.folder.set(tmp_path / "run")
    run(widget)
    viewer.dims.set_point(0, 1)
    paint(widget, 10, OBJECT)
    expected, before = widget.layers.masks(1)[0], widget.layers
    locked = widget.layers.corrections()[0]
    told = []
    say = widget.progress.say
    widget.progress.say = lambda text: (told.append(text), say(text))
    run(widget, widget.continue_from_edits)
    assert any(f"{(locked == 1).sum()} pixels as object and 0 as background are locked" in text for text in told)
    assert widget.layers is before and [layer.name for layer in viewer.layers] == ["a", "a iGTT masks", "a strokes"]
    assert widget.layers.epochs == [0, 1, 2, 3, 4]
    assert widget.progress.outer.format() == "4 of 4 epochs" and widget.progress.inner.format() == ""
    assert [row[0] for row in widget.curves.rounds] == [1, 2, 3, 4]
    np.testing.assert_array_equal(widget.layers.masks(1)[0], expected)
    for index in (3, 4):
        assert np.all(widget.layers.masks(index)[0][locked == 1] == 1)
    assert read_rows(tmp_path / "run-2") == [2, 3, 4]
    # and they stay locked when the user goes on once more
    paint(widget, 5, BACKGROUND)
    erased = widget.layers.corrections()[0] == 0
    run(widget, widget.continue_from_edits)
    assert widget.layers.epochs[-1] == 6
    assert np.all(widget.layers.masks(6)[0][(locked == 1) & ~erased] == 1)
    assert np.all(widget.layers.masks(6)[0][erased] == 0)


def read_rows(folder):
    with (folder / "metrics.csv").open() as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("ome", [False, True])
def test_the_saved_mask_has_the_sources_scale(open_widget, tmp_path, ome, blobs, run):
    viewer, widget = open_widget(blobs())
    run(widget)
    viewer.dims.set_point(0, 0)
    (path,) = widget.save_mask(tmp_path / "mask.tif", ome)
    image = read_image(path)
    assert image.axes == "YX"
    assert image.scale == pytest.approx(SCALE)
    assert image.units == ("micrometer",) * 2
    np.testing.assert_array_equal(image.data, viewer.layers["a iGTT masks"].data[0] * 255)
    (kept,) = widget.use_epoch()
    kept.data[:] = 1
    widget.save_mask(path, ome)
    assert read_image(path).data.min() == 255


def test_masks_of_several_layers_are_saved_by_name(open_widget, tmp_path, blobs, run):
    _viewer, widget = open_widget(blobs(0), blobs(1))
    run(widget)
    assert [path.name for path in widget.save_mask(tmp_path / "mask.tif")] == ["a_mask.tif", "b_mask.tif"]


def test_the_voxel_size_that_napari_left_in_the_file_is_saved(open_widget, tmp_path, blobs, run, monkeypatch, said):
    tifffile.imwrite(tmp_path / "cells.tif", blobs(), imagej=True, resolution=(10, 5), metadata={"unit": "um"})
    viewer, widget = open_widget(blobs())
    viewer.layers["a"].scale, viewer.layers["a"].units = (1, 1), ("pixel", "pixel")
    viewer.layers["a"]._set_source(Source(path=str(tmp_path / "cells.tif")))
    run(widget)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *given: (given[2].removesuffix(".tif"), ""))
    widget.results.save_button.menu().actions()[0].trigger()
    image = read_image(tmp_path / "a_mask.tif")
    assert (image.scale, image.units) == (pytest.approx((0.2, 0.1)), ("micrometer",) * 2)
    assert "that of its file is saved, 0.2 x 0.1 micrometer" in said()[-1]
    assert widget.progress.status.text() == f"Saved a_mask.tif in {tmp_path}."


def test_a_final_mask_that_was_removed_is_not_saved(open_widget, tmp_path, blobs, run, said):
    viewer, widget = open_widget(blobs(0), blobs(1))
    run(widget)
    kept = widget.use_epoch()
    for layer in kept:
        layer.data[:] = 1
    viewer.layers.remove(kept[0])
    assert widget.save_mask(tmp_path / "mask.tif") == [] and "were removed" in said()[-1]
    viewer.layers.remove(kept[1])
    for path, layer in zip(widget.save_mask(tmp_path / "mask.tif"), widget.layers.mask_layers(), strict=True):
        np.testing.assert_array_equal(read_image(path).data, layer.data[-1] * 255)


def test_a_folder_that_is_not_there_is_told(open_widget, tmp_path, blobs, run, said):
    _viewer, widget = open_widget(blobs())
    run(widget)
    assert widget.save_mask(tmp_path / "nowhere" / "mask.tif") == []
    assert "nowhere" in said()[-1]
    assert widget.progress.status.text() == said()[-1]


def test_what_needs_masks_that_were_removed_says_so(open_widget, blobs, run, said):
    viewer, widget = open_widget(blobs(0), blobs(1))
    run(widget)
    viewer.layers.remove(widget.layers.mask_layers()[0])
    for button in (widget.results.ask_button, widget.results.edits_button):
        said().clear()
        button.click()
        assert said()[-1] == "The masks layer of a was removed; press Run for a new run."


# ---- smooth, small and quick to open -----------------------------------------------------------------------


def test_it_fits_a_small_screen_and_scrolls(open_widget, qtbot, blobs):
    _viewer, widget = open_widget(blobs(), show=True)
    assert widget.minimumSizeHint().height() < 300
    assert widget.sizeHint().height() <= 820
    for group in widget.settings.groups:
        group.expand(animate=False)
    qtbot.wait(50)
    assert widget.height() < 900 or widget.window().height() < 1000
    assert widget.minimumSizeHint().height() < 300


def test_devices_arrive_after_it_is_shown(open_widget, qtbot, blobs):
    _viewer, widget = open_widget(blobs(), show=True)
    box = widget.settings.device.widget
    qtbot.waitUntil(lambda: box.findData("cpu") >= 0 and "auto: " in box.itemText(0), timeout=60_000)
    assert widget.settings.config().device == "cpu"


# ---- the settings ----------------------------------------------------------------------------------------


@pytest.fixture
def panel(qtbot):
    panel = SettingsPanel()
    qtbot.addWidget(panel)
    return panel


def test_every_setting_has_one_editor_with_a_tooltip(panel):
    names = [name for form in panel.forms for name in form.editors]
    assert sorted(names) == sorted(IGTTConfig.model_fields)
    for form in panel.forms:
        assert all(editor.widget.toolTip() for editor in form.editors.values())


def test_defaults_and_presets_come_back(panel):
    assert panel.config() == IGTTConfig()
    for preset in PRESETS:
        panel.main.editors["preset"].set(preset)
        assert panel.config() == IGTTConfig.from_preset(preset)


def test_changing_the_preset_keeps_the_device(panel):
    panel.set_devices([Device("cuda:0", "Fast one", 8 * 2**30), Device("cpu", "CPU", None)])
    panel.device.widget.setCurrentIndex(1)
    panel.main.editors["preset"].set("paper")
    assert panel.config().device == "cuda:0"


def test_devices_show_name_and_free_memory(panel):
    panel.set_devices([Device("cuda:0", "Fast one", 3 * 2**29), Device("cpu", "CPU", None)])
    box = panel.device.widget
    assert [box.itemText(i) for i in range(box.count())] == [
        "auto: Fast one",
        "Fast one (cuda:0, 1.5 GiB free)",
        "CPU (cpu)",
    ]
    assert panel.config().device == "auto"


def test_groups_start_collapsed(panel):
    assert len(panel.groups) >= 3
    assert not any(group.isExpanded() for group in panel.groups)


def test_zero_epochs_cannot_be_chosen_and_are_refused_in_words(panel):
    panel.main.editors["epochs"].set(0)
    assert panel.config().epochs == 1
    with pytest.raises(InputError, match=r"^Epochs must be a whole number from 1 to 10000, not 0\.$"):
        panel.config(epochs=0)


def test_a_value_the_model_refuses_is_named(panel):
    (form,) = (form for form in panel.forms if "patch_size" in form.editors)
    form.editors["patch_size"].set(100)
    with pytest.raises(InputError, match=r"^Patch size must be a multiple of 32 from 32 to 4096, not 100; take 96\.$"):
        panel.config()


def test_masks_are_drawn_as_outlines(open_widget, blobs, run):
    viewer, widget = open_widget(blobs())
    press = {str(key): action for key, action in ViewerModel.class_keymap.items()}
    widget.results.outlines.setChecked(True)
    run(widget)
    masks = viewer.layers["a iGTT masks"]
    assert masks.contour
    widget.results.outlines.setChecked(False)
    assert not masks.contour
    widget.results.outlines.setChecked(True)
    (kept,) = widget.use_epoch()
    assert kept.contour and masks.contour
    assert viewer.layers.selection.active is kept
    assert not masks.visible
    press["Shift+M"](viewer)
    assert not kept.visible and not masks.visible
    press["Shift+M"](viewer)
    assert kept.visible and not masks.visible
    viewer.layers.remove(kept)
    press["Shift+M"](viewer)
    assert masks.visible


def test_the_epochs_are_saved_as_film_and_figure(open_widget, blobs, run, qtbot, tmp_path, said, monkeypatch):
    viewer, widget = open_widget(np.stack([blobs(0), blobs(1)]), blobs(2)[None])
    assert not widget.save_film(tmp_path / "x.gif") and "no masks yet" in said()[-1]
    run(widget)
    viewer.layers.selection.active = viewer.layers["a iGTT masks"]
    viewer.dims.set_point(1, 1)
    epochs = widget.layers.film(widget.curves.rounds)()
    np.testing.assert_array_equal(epochs.image, blobs(1))
    assert list(epochs.masks) == [0, 1, 2] and [row[0] for row in epochs.rounds] == [1, 2]
    np.testing.assert_array_equal(epochs.masks[2], widget.result.masks[1])
    answers = iter([("film", "GIF (*.gif)"), ("grid.PDF", "PNG (*.png)"), ("", "")])

    def answer(*_):
        name, kind = next(answers)
        return name and str(tmp_path / name), kind

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    *_mask, film, figure = widget.results.save_button.menu().actions()
    for action, name in ((film, "film.gif"), (figure, "grid.PDF")):
        with qtbot.waitSignal(widget.saved) as saved:
            action.trigger()
        assert [path.name for path in saved.args[0]] == [name]
        assert widget.progress.status.text() == f"Saved {name} in {tmp_path}."
    film.trigger()  # cancelled
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.gif", "grid.PDF"]
    with qtbot.waitSignal(widget.saved):
        assert widget.save_film(tmp_path / "none" / "x.png")
    assert "folder does not exist" in said()[-1]
