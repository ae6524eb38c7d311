"""How a comparison ends: stopped, refused, failed, or with its window."""

import numpy as np
import pytest

from napari_metastructure.baselines.results import MethodFinished
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.plugin import _source as sources
from napari_metastructure.plugin._compare_results import DICE, FAILED, NOTHING, SECONDS
from napari_metastructure.plugin.compare import CompareWidget

# ---- stop, pause, go on ---------------------------------------------------------------------------------------


def test_pause_holds_and_resume_goes_on(open_compare, stand_in, qtbot, going):
    stand_in("dfc", "endless")
    _viewer, widget = open_compare(methods=("dfc",))
    widget.start()
    going(widget)
    widget.pause()
    qtbot.wait(300)
    held = widget.progress.inner.value()
    qtbot.wait(300)
    assert widget.progress.inner.value() == held
    assert widget.buttons.resume.isVisibleTo(widget)
    assert "left" in widget.progress.eta.text()
    widget.resume()
    qtbot.waitUntil(lambda: widget.progress.inner.value() > held, timeout=20_000)


def test_a_stopped_comparison_keeps_what_is_done(open_compare, stand_in, qtbot, going, made):
    stand_in("dfc", "endless")
    viewer, widget = open_compare(methods=("otsu", "dfc", "igtt"))
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        widget.start()
        going(widget)
        qtbot.waitUntil(lambda: bool(widget.results), timeout=60_000)
        widget.stop()
        assert not widget.buttons.stop.isEnabled()
    assert widget.failure is None
    assert "1 of 7 runs" in widget.progress.status.text()
    assert [widget.table.text(method, SECONDS) for method in ("dfc", "igtt")] == [NOTHING, NOTHING], "not failed"
    assert made(viewer, "a", "otsu").visible
    assert widget.save_button.isEnabled()
    assert widget.picker.isEnabled()


def test_a_second_start_is_refused(open_compare, stand_in, going, said):
    stand_in("dfc", "endless")
    _viewer, widget = open_compare(methods=("dfc",), window=False)
    widget.start()
    going(widget)
    assert not widget.start()
    assert "stop it first" in said()[-1]
    assert not widget.picker.isEnabled()


def test_a_new_comparison_hides_the_layers_of_the_one_before(open_compare, run, made, ready):
    viewer, widget = open_compare(images=1, methods=("otsu",), window=False)
    run(widget)
    first = made(viewer, "a", "otsu")
    ready(widget, ("agt",))
    run(widget)
    assert not first.visible
    assert first in viewer.layers
    assert widget.table.rowCount() == 1
    assert [r.method for r in widget.results] == ["agt"]


# ---- what is wrong is said -----------------------------------------------------------------------------------


def test_what_is_missing_starts_nothing(open_compare, said):
    viewer, widget = open_compare(window=False)
    widget.methods.choose([])
    assert not widget.start()
    assert "No method" in said()[-1]
    widget.methods.choose(["otsu"])
    widget.picker.choose([])
    assert not widget.start()
    assert "No image" in said()[-1]
    widget.picker.choose([viewer.layers["a"]])
    viewer.layers["a"].data = np.full((64, 64), 3.0)
    assert not widget.start()
    assert "'a'" in said()[-1]
    assert "same value" in said()[-1]
    assert widget.progress.status.text() == said()[-1]
    assert not widget.running


def test_a_constant_image_that_takes_long_to_read_is_told_by_the_thread(open_compare, run, monkeypatch):
    monkeypatch.setattr(sources, "EAGER_BYTES", 0)
    viewer, widget = open_compare(images=1, window=False)
    viewer.layers["a"].data = np.full((64, 64), 3.0)
    run(widget)
    assert isinstance(widget.failure, InputError)
    assert "same value" in widget.progress.status.text()
    assert widget.buttons.run.isEnabled()
    assert not widget.save_results("nowhere")


def test_ground_truth_has_to_fit(open_compare, said):
    viewer, widget = open_compare(window=False)
    small = viewer.add_labels(np.ones((32, 64), np.uint8), name="small")
    assert widget.truth.choose(viewer.layers["b"], small)
    assert not widget.start()
    assert "'small' has 32 x 64" in said()[-1]
    widget.truth.choose(viewer.layers["b"], None)
    assert not widget.start()
    assert "'b' has no ground truth" in said()[-1]


@pytest.mark.parametrize("broken", [RunFailed("the device has gone"), MemoryError()])
def test_a_method_that_breaks_is_left_out(open_compare, stand_in, run, said, broken):
    def breaking(task):
        yield 0.5
        raise broken

    stand_in("dfc", breaking)
    _viewer, widget = open_compare(methods=("otsu", "dfc", "agt"), repeats=1, window=False)
    run(widget)
    assert widget.failure is None
    assert [r.method for r in widget.results] == ["otsu", "agt"]
    assert widget.table.text("dfc", SECONDS) == FAILED
    assert any("DFC" in message for message in said())
    assert (str(broken) or "memory") in widget.table.item(2, DICE).toolTip()


def test_one_stack_is_too_little_for_supervised_methods(open_compare, run):
    _viewer, widget = open_compare(images=1, methods=("otsu", "unet"), window=False)
    run(widget)
    assert "two files" in widget.progress.status.text()
    assert widget.results == ()


def test_removing_an_image_stops_the_comparison(open_compare, stand_in, qtbot, going):
    stand_in("dfc", "endless")
    viewer, widget = open_compare(methods=("otsu", "dfc"))
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        widget.start()
        going(widget)
        del viewer.layers["b"]
    assert "'b' was removed" in widget.progress.status.text()
    assert [r.method for r in widget.results] == ["otsu"]


def test_a_mask_layer_that_is_taken_out_stays_out(open_compare, stand_in, run):
    stand_in("dfc", "draw")
    viewer, widget = open_compare(images=1, methods=("dfc",), repeats=3, window=False)

    def take_out(event):
        if isinstance(event, MethodFinished) and event.result.repeat == 0:
            del viewer.layers["a [DFC]"]

    widget.runner.event_received.connect(take_out)
    run(widget)
    assert widget.failure is None
    assert len(widget.results) == 3
    assert "a [DFC]" not in viewer.layers


# ---- ends in the middle ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True])
def test_closing_the_window_ends_the_thread(make_napari_viewer, discs, stand_in, qtbot, going, paused, ready):
    stand_in("dfc", "endless")
    viewer = make_napari_viewer()
    viewer.add_image(discs(0)[0], name="a")
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget)
    ready(widget, ("otsu", "dfc"))
    assert widget.start()
    going(widget)
    if paused:
        widget.pause()
    pump, control = widget.runner._run, widget.runner.control
    ended = []
    put = pump.post
    pump.post = lambda event: (put(event), type(event).__name__ == "CompareFinished" and ended.append(event))
    viewer.close()
    qtbot.waitUntil(lambda: bool(ended), timeout=20_000)
    assert control.stopped
    assert ended[0].stopped


def test_removing_the_widget_ends_the_run_and_frees_the_viewer(
    make_napari_viewer, discs, stand_in, qtbot, going, ready
):
    stand_in("dfc", "endless")
    viewer = make_napari_viewer()
    viewer.add_image(discs(0)[0], name="a")
    viewer.add_labels(discs(0)[1], name="a mask")
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget)
    ready(widget, ("otsu", "dfc"))
    widget.start()
    going(widget)
    control = widget.runner.control
    with qtbot.waitSignal(widget.destroyed, timeout=5000):
        viewer.window.remove_dock_widget(widget)
        widget.deleteLater()
    assert control.stopped
    viewer.layers[0].name = "renamed"
    viewer.layers[1].name = "renamed, too"
    viewer.add_image(discs(0)[0])
    viewer.add_labels(discs(0)[1])
    del viewer.layers[0]
