"""The Compare widget in real viewers, with real methods in a real thread."""

import threading

import numpy as np
import pytest

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS, Segmentation
from napari_metastructure.baselines.results import (
    CompareFinished,
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
)
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.images.files import read_image
from napari_metastructure.plugin import _progress as progress_panel
from napari_metastructure.plugin import _source as sources
from napari_metastructure.plugin._compare_results import ACCURACY, AUC, DICE, FAILED, MEMORY, NOTHING, SECONDS
from napari_metastructure.plugin._layers import ORIGIN
from napari_metastructure.plugin.compare import (
    CompareProgress,
    CompareSettings,
    CompareWidget,
    MethodBoxes,
    truth_planes,
)
from napari_metastructure.training.config import TrainConfig

TITLES = {"otsu": "Otsu", "lc": "Local contrast", "agt": "Adaptive Gaussian", "dfc": "DFC", "igtt": "iGTT"}


def dice(one, other):
    """2 |A and B| / (|A| + |B|)."""
    return 2 * np.sum((one > 0) & (other > 0)) / (np.sum(one > 0) + np.sum(other > 0))


def test_layers_become_masks_and_a_table(open_compare, run, discs, mask_of):
    viewer, widget = open_compare(window=True)
    run(widget)
    assert widget.failure is None
    assert [r.method for r in widget.results] == ["otsu", "agt", "lc"]
    for method in ("otsu", "lc", "agt"):
        masks = [mask_of(viewer, name, method).data for name in "ab"]
        assert all(mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1} for mask in masks)
        truths = [discs(seed)[1] for seed in (0, 1)]
        scores = [dice(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
        assert widget.table.text(method, DICE) == f"{np.mean(scores):.3f}"
        right = [np.mean((mask > 0) == (truth > 0)) for mask, truth in zip(masks, truths, strict=True)]
        assert widget.table.text(method, ACCURACY) == f"{np.mean(right):.3f}"
        assert 0.5 < float(widget.table.text(method, AUC)) <= 1
        assert float(widget.table.text(method, SECONDS)) >= 0
        assert widget.table.text(method, MEMORY).isdigit()
    assert dice(mask_of(viewer, "a", "otsu").data, discs(0)[1]) > 0.9
    assert "All 3 runs are done" in widget.progress.status.text()
    assert (widget.progress.outer.value(), widget.progress.outer.maximum()) == (3, 3)
    assert widget.buttons.run.isEnabled()
    assert not widget.buttons.stop.isEnabled()


def test_without_ground_truth_methods_are_compared_with_each_other(open_compare, run, discs, mask_of):
    viewer, widget = open_compare(truth=False)
    run(widget)
    assert widget.failure is None
    table = widget.agreement
    methods = ["otsu", "agt", "lc"]
    for i, one in enumerate(methods):
        assert table.item(i, 0).text() == f"{i + 1}  {TITLES[one]}"
        for j, other in enumerate(methods):
            found = np.mean([dice(mask_of(viewer, n, one).data, mask_of(viewer, n, other).data) for n in "ab"])
            assert table.item(i, j + 1).text() == ("" if i == j else f"{found:.2f}")
    hidden = [widget.table.isColumnHidden(column) for column in (DICE, AUC, ACCURACY, SECONDS, MEMORY)]
    assert hidden == [True, True, True, False, False]


def test_agreement_is_there_before_the_end(open_compare, stand_in, qtbot):
    stand_in("dfc", "endless")
    _viewer, widget = open_compare(truth=False, methods=("otsu", "agt", "dfc"))
    assert widget.start()
    qtbot.waitUntil(lambda: widget.agreement.found is not None, timeout=60_000)
    assert widget.agreement.found.methods == ("otsu", "agt")
    assert widget.agreement.item(2, 1).text() == ""


def test_stacks_are_taken_slice_by_slice(open_compare, run, discs, mask_of, choose_methods):
    viewer, widget = open_compare(images=0)
    planes, masks = (np.stack(parts) for parts in zip(*(discs(seed) for seed in (3, 4, 5)), strict=True))
    image = viewer.add_image(planes, name="a", scale=(4, 0.2, 0.1))
    widget.truth.choose(image, viewer.add_labels(masks, name="any"))
    choose_methods(widget, ("otsu",))
    run(widget)
    layer = mask_of(viewer, "a", "otsu")
    assert layer.data.shape == (3, 64, 64)
    assert tuple(layer.scale) == (4, 0.2, 0.1)
    (result,) = widget.results
    assert [score.name for score in result.scores] == ["a [0]", "a [1]", "a [2]"]
    assert [score.dice for score in result.scores] == pytest.approx([dice(layer.data[i], masks[i]) for i in range(3)])


def test_dark_objects_in_colour(open_compare, run, discs, mask_of, choose_methods):
    viewer, widget = open_compare(images=0)
    image, mask = discs(0)
    dark = np.clip(255 - image, 0, 255).astype(np.uint8)
    viewer.add_image(np.repeat(dark[..., None], 3, axis=2), name="a", rgb=True)
    viewer.add_labels(mask, name="a mask")
    choose_methods(widget, ("otsu",))
    run(widget)
    assert mask_of(viewer, "a", "otsu").metadata[ORIGIN]["objects"] == "dark"
    assert float(widget.table.text("otsu", DICE)) > 0.9


def test_one_colour_is_taken_of_layers_in_colour(open_compare, run, fundus, choose_methods, said):
    viewer, widget = open_compare(images=0)
    eye = fundus(96).rgb
    viewer.add_image(eye, name="eye", rgb=True)
    choose_methods(widget, ("otsu",))
    run(widget)
    assert any("the green channel is used" in message for message in said())
    np.testing.assert_array_equal(widget._read.planes[0], eye[..., 1])


def test_masks_lie_on_their_own_image_and_the_selected_one_in_front(open_compare, run):
    viewer, widget = open_compare(images=2, methods=("otsu", "lc"))
    viewer.layers.selection.active = viewer.layers["a"]
    viewer.scene.camera.zoom, viewer.scene.camera.center = 7, (0, 2, 3)
    run(widget)
    titles = [METHODS[name].title for name in ("otsu", "lc")]
    assert [layer.name for layer in viewer.layers] == [
        *("b", "b mask", *(f"b [{title}]" for title in titles)),
        *("a", "a mask", *(f"a [{title}]" for title in titles)),
    ]
    assert (viewer.scene.camera.zoom, viewer.scene.camera.center) == (7, (0, 2, 3))
    assert viewer.layers.selection.active is viewer.layers["a"]


def test_igtt_itself(open_compare, run, mask_of):
    viewer, widget = open_compare(images=1, methods=("otsu", "igtt"), repeats=1, rounds=1)
    run(widget)
    assert widget.failure is None
    assert [r.method for r in widget.results] == ["otsu", "igtt"]
    assert mask_of(viewer, "a", "igtt").data.any()


# ---- results to keep -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [True, False])
def test_results_are_saved_on_demand(open_compare, run, qtbot, tmp_path, said, truth):
    _viewer, widget = open_compare(truth=truth)
    assert not widget.save_results(tmp_path)
    assert "run first" in said()[-1]
    run(widget)
    folder = tmp_path / "new" / "folder"
    with qtbot.waitSignal(widget.saved, timeout=60_000) as signal:
        assert widget.save_results(folder)
    names = ["results.csv", "table.csv", "agreement.csv", "table.md", "compare.png"]
    assert [path.name for path in signal.args[0]] == names
    assert str(folder) in widget.progress.status.text()
    table = (folder / "table.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in table] == ["method", "otsu", "agt", "lc"]
    assert (widget.table.text("otsu", DICE) in (folder / "table.md").read_text()) == truth
    picture = read_image(folder / "compare.png").data
    assert picture.std() > 10
    (tmp_path / "file").write_text("")
    with qtbot.waitSignal(widget.saved, timeout=60_000) as signal:
        assert widget.save_results(tmp_path / "file")
    assert signal.args[0] == []
    assert "file" in said()[-1]


def test_masks_of_quick_methods_come_one_layer_a_turn(open_compare, run):
    viewer, widget = open_compare(images=4, methods=("otsu", "agt"))
    added, deliver, turns = [0], widget.runner._deliver, []

    def one_turn():
        added[0] = 0
        empty = deliver()
        turns.append(added[0])
        return empty

    widget.runner._deliver = one_turn
    viewer.layers.events.inserted.connect(lambda _: added.__setitem__(0, added[0] + 1))
    run(widget)
    assert (sum(turns), max(turns)) == (8, 1)


def test_it_fits_a_small_screen(open_compare):
    _viewer, widget = open_compare(show=True)
    assert widget.minimumSizeHint().height() < 400
    assert widget.sizeHint().height() <= 820


# ---- stop, pause, go on ---------------------------------------------------------------------------------------


def test_pause_holds_and_resume_goes_on(open_compare, stand_in, qtbot, wait_for_progress, pause):
    stand_in("dfc", "endless")
    _viewer, widget = open_compare(methods=("dfc",))
    widget.start()
    wait_for_progress(widget)
    pause(widget)
    held = widget.progress.inner.value()
    qtbot.wait(50)
    assert widget.progress.inner.value() == held
    assert widget.buttons.resume.isVisibleTo(widget)
    assert "Paused" in widget.progress.eta.text()
    widget.resume()
    qtbot.waitUntil(lambda: widget.progress.inner.value() > held, timeout=60_000)


def test_a_stopped_comparison_keeps_what_is_done(open_compare, stand_in, qtbot, wait_for_progress, mask_of):
    stand_in("dfc", "endless")
    viewer, widget = open_compare(methods=("otsu", "dfc", "igtt"))
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        widget.start()
        wait_for_progress(widget)
        qtbot.waitUntil(lambda: bool(widget.results), timeout=60_000)
        widget.stop()
        assert not widget.buttons.stop.isEnabled()
    assert widget.failure is None
    assert "1 of 7 runs" in widget.progress.status.text()
    assert [widget.table.text(method, SECONDS) for method in ("dfc", "igtt")] == [NOTHING, NOTHING], "not failed"
    assert mask_of(viewer, "a", "otsu").visible
    assert widget.save_button.isEnabled()
    assert widget.picker.isEnabled()


def test_a_second_start_is_refused(open_compare, stand_in, wait_for_progress, said):
    stand_in("dfc", "endless")
    _viewer, widget = open_compare(methods=("dfc",))
    widget.start()
    wait_for_progress(widget)
    assert not widget.start()
    assert "stop it first" in said()[-1]
    assert not widget.picker.isEnabled()


def test_a_new_comparison_hides_the_layers_of_the_one_before(open_compare, run, mask_of, choose_methods):
    viewer, widget = open_compare(images=1, methods=("otsu",))
    run(widget)
    first = mask_of(viewer, "a", "otsu")
    choose_methods(widget, ("agt",))
    run(widget)
    assert not first.visible
    assert first in viewer.layers
    assert widget.table.rowCount() == 1
    assert [r.method for r in widget.results] == ["agt"]


@pytest.mark.parametrize("change", ["none", "paint", "name", "pixels"])
def test_the_same_method_again_replaces_its_masks_unless_they_are_the_users(open_compare, run, mask_of, change):
    viewer, widget = open_compare(images=2, methods=("otsu", "lc"))
    run(widget)
    first, other = mask_of(viewer, "a", "otsu"), mask_of(viewer, "a", "lc")
    viewer.layers.selection.active = first
    match change:
        case "paint":
            first.data_setitem((np.array([1]), np.array([1])), 7)
        case "name":
            first.name = "mine"
        case "pixels":
            first.data = first.data + 1
    before, count = first.data.copy(), len(viewer.layers)
    run(widget)
    assert other not in viewer.layers and len(viewer.layers) == count + (change != "none")
    assert (first in viewer.layers) == (change != "none")
    np.testing.assert_array_equal(first.data, before)
    new = widget.layers.layers["otsu"][0]
    assert viewer.layers.selection.active is (new if change == "none" else first)
    assert change == "none" or not first.visible
    if change != "name":
        assert new.name.startswith("a [Otsu")


def test_masks_of_other_settings_stay(open_compare, run, mask_of, choose_methods):
    viewer, widget = open_compare(images=1, methods=("otsu",))
    run(widget)
    first = mask_of(viewer, "a", "otsu")
    choose_methods(widget, ("otsu",), objects="dark")
    run(widget)
    assert first in viewer.layers and not first.visible
    assert widget.layers.layers["otsu"][0] is not first


def test_a_repeat_leaves_what_the_user_painted_on(open_compare, stand_in, qtbot):
    go = threading.Event()

    def one_after_the_other(task):
        yield 0.5
        while task.seed and not go.is_set():
            task.control.checkpoint()
            yield 0.5
        rng = np.random.default_rng(task.seed)
        return [Segmentation(rng.random(plane.shape) > 0.5, np.zeros(plane.shape, np.float32)) for plane in task.planes]

    stand_in("igtt", one_after_the_other)
    viewer, widget = open_compare(images=1, methods=("igtt",), repeats=2)
    assert widget.start()
    qtbot.waitUntil(lambda: len(widget.results) == 1, timeout=60_000)
    mine = widget.layers.layers["igtt"][0]
    mine.data_setitem((np.array([1]), np.array([1])), 7)
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        go.set()
    new = widget.layers.layers["igtt"][0]
    assert mine.data[1, 1] == 7 and new is not mine and new in viewer.layers
    assert (mine.visible, new.visible) == (False, True)


# ---- what is wrong is said -----------------------------------------------------------------------------------


def test_what_is_missing_starts_nothing(open_compare, said):
    viewer, widget = open_compare()
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
    viewer, widget = open_compare(images=1)
    viewer.layers["a"].data = np.full((64, 64), 3.0)
    run(widget)
    assert isinstance(widget.failure, InputError)
    assert "same value" in widget.progress.status.text()
    assert widget.buttons.run.isEnabled()
    assert not widget.save_results("nowhere")


def test_ground_truth_has_to_fit(open_compare, said):
    viewer, widget = open_compare()
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
    _viewer, widget = open_compare(methods=("otsu", "dfc", "agt"), repeats=1)
    run(widget)
    assert widget.failure is None
    assert [r.method for r in widget.results] == ["otsu", "agt"]
    assert widget.table.text("dfc", SECONDS) == FAILED
    assert any("DFC" in message for message in said())
    assert (str(broken) or "memory") in widget.table.item(2, DICE).toolTip()


def test_one_stack_is_too_little_for_supervised_methods(open_compare, run):
    _viewer, widget = open_compare(images=1, methods=("otsu", "unet"))
    run(widget)
    assert "two files" in widget.progress.status.text()
    assert widget.results == ()


def test_removing_an_image_stops_the_comparison(open_compare, stand_in, qtbot, wait_for_progress):
    stand_in("dfc", "endless")
    viewer, widget = open_compare(methods=("otsu", "dfc"), window=True)
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        widget.start()
        wait_for_progress(widget)
        del viewer.layers["b"]
    assert "'b' was removed" in widget.progress.status.text()
    assert [r.method for r in widget.results] == ["otsu"]


def test_a_mask_layer_that_is_taken_out_stays_out(open_compare, stand_in, run):
    stand_in("dfc", "draw")
    viewer, widget = open_compare(images=1, methods=("dfc",), repeats=3)

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
def test_closing_the_window_ends_the_thread(
    make_napari_viewer, discs, stand_in, qtbot, wait_for_progress, paused, choose_methods, posted
):
    stand_in("dfc", "endless")
    viewer = make_napari_viewer()
    viewer.add_image(discs(0)[0], name="a")
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget)
    choose_methods(widget, ("otsu", "dfc"))
    assert widget.start()
    wait_for_progress(widget)
    if paused:
        widget.pause()
    control, ended = widget.runner.control, posted(widget, CompareFinished)
    viewer.close()
    qtbot.waitUntil(lambda: bool(ended), timeout=60_000)
    assert control.stopped
    assert ended[0].stopped


def test_removing_the_widget_ends_the_run_and_frees_the_viewer(
    make_napari_viewer, discs, stand_in, qtbot, wait_for_progress, choose_methods
):
    stand_in("dfc", "endless")
    viewer = make_napari_viewer()
    viewer.add_image(discs(0)[0], name="a")
    viewer.add_labels(discs(0)[1], name="a mask")
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget)
    choose_methods(widget, ("otsu", "dfc"))
    widget.start()
    wait_for_progress(widget)
    control = widget.runner.control
    with qtbot.waitSignal(widget.destroyed, timeout=60_000):
        viewer.window.remove_dock_widget(widget)
        widget.deleteLater()
    assert control.stopped
    viewer.layers[0].name = "renamed"
    viewer.layers[1].name = "renamed, too"
    viewer.add_image(discs(0)[0])
    viewer.add_labels(discs(0)[1])
    del viewer.layers[0]


# ---- what is chosen -------------------------------------------------------------------------------------------


def test_all_methods_are_offered_those_that_learn_once_there_is_truth(qtbot):
    boxes = MethodBoxes()
    qtbot.addWidget(boxes)
    assert boxes.chosen() == CompareConfig().methods
    titles = [box.text() for box in boxes.boxes.values()]
    assert titles[::4] == ["Otsu", "DFC", "iGTT, paper", "HRNet (supervised)"]
    learning = ["light-unet", "unet", "hrnet", "deeplabv3", "deeplabv3plus"]
    assert [name for name, box in boxes.boxes.items() if not box.isEnabled()] == learning
    assert all("ground truth above" in boxes.boxes[name].toolTip() for name in learning)
    boxes.set_labelled(True)
    assert all(box.isEnabled() for box in boxes.boxes.values())
    assert not any("ground truth above" in box.toolTip() for box in boxes.boxes.values())


def test_a_method_that_lost_its_truth_is_ticked_again_with_the_next(qtbot):
    boxes = MethodBoxes()
    qtbot.addWidget(boxes)
    boxes.choose(["otsu", "unet"])
    assert boxes.chosen() == ("otsu",)
    boxes.set_labelled(True)
    assert boxes.chosen() == ("otsu", "unet")
    boxes.set_labelled(False)
    boxes.set_labelled(False)
    assert boxes.chosen() == ("otsu",)
    boxes.set_labelled(True)
    boxes.boxes["unet"].setChecked(False)
    boxes.set_labelled(False)
    boxes.set_labelled(True)
    assert boxes.chosen() == ("otsu",)


def test_the_form_gives_what_was_filled_in(qtbot):
    settings = CompareSettings()
    qtbot.addWidget(settings)
    config = CompareConfig(
        methods=("lc", "igtt"),
        repeats=5,
        seed=11,
        objects="dark",
        device="cpu",
        rounds=4,
        dfc_iterations=30,
        ac_steps=40,
        train=TrainConfig(epochs=7, batch_size=3, loss="dice"),
    )
    settings.fill(config)
    assert settings.config(config.methods) == config
    with pytest.raises(InputError, match="No method"):
        settings.config(())


def test_labels_with_the_name_of_their_image_are_its_truth(open_compare):
    viewer, widget = open_compare(images=2)
    assert [layer.name for layer in widget.truth.chosen()] == ["a mask", "b mask"]
    assert widget.methods.boxes["unet"].isEnabled()
    del viewer.layers["b mask"]
    assert widget.truth.chosen()[1] is None
    assert not widget.methods.boxes["unet"].isEnabled()
    viewer.add_labels(np.ones((64, 64), np.uint8), name="of the same shape")
    assert widget.truth.chosen()[1] is None, "nobody knows what it is"
    new = viewer.add_labels(np.ones((64, 64), np.uint8), name="b labels")
    assert widget.truth.chosen()[1] is new
    assert widget.methods.boxes["unet"].isEnabled()


def test_what_the_user_chose_is_left_alone(open_compare):
    viewer, widget = open_compare(images=2)
    a, b = viewer.layers["a"], viewer.layers["b"]
    widget.truth.choose(b, None)
    viewer.add_labels(np.ones((64, 64), np.uint8), name="b labels")
    assert widget.truth.chosen()[1] is None
    widget.truth.choose(b, viewer.layers["b labels"])
    widget.picker.choose([b])
    assert widget.truth.chosen() == [viewer.layers["b labels"]]
    widget.picker.choose([a, b])
    assert widget.truth.chosen() == [viewer.layers["a mask"], viewer.layers["b labels"]]
    widget.truth.choose(a, None)
    widget.truth.choose(b, None)
    assert widget.truth.truths() == []


def test_masks_of_a_comparison_are_no_ground_truth(open_compare, run, mask_of):
    viewer, widget = open_compare(images=1, truth=False, methods=("otsu",))
    run(widget)
    assert not widget.truth.choose(viewer.layers["a"], mask_of(viewer, "a", "otsu"))
    assert widget.truth.chosen() == [None]


def test_rows_bear_the_names_of_their_images(open_compare):
    viewer, widget = open_compare(images=1)
    viewer.layers["a"].name = "something with quite a long name"
    (row,) = widget.truth._rows
    assert row.label.text() == "somethi…te a long name"
    assert row.label.toolTip() == "something with quite a long name"
    del viewer.layers["something with quite a long name"]
    assert widget.truth.chosen() == []


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 255, 255, 0], np.uint8, [0, 1, 1, 0]),
        ([0, 1, 1, 0], np.uint8, [0, 1, 1, 0]),
        ([0, 2, 254, 301], np.uint16, [0, 1, 1, 1]),
        ([0, 1, 255, 1], np.uint16, [0, 1, 255, 1]),
        ([0, 0, 0, 0], int, [0] * 4),
    ],
)
def test_what_labels_mean_as_truth(values, dtype, expected):
    from napari.layers import Labels

    labels = np.array(values, dtype).reshape(2, 1, 2)
    planes, _ = truth_planes([(Labels(labels, name="x"), labels)])
    assert [plane.shape for plane in planes] == [(1, 2), (1, 2)]
    assert np.ravel(planes).tolist() == expected
    labels[...] = 0
    assert np.ravel(planes).tolist() == expected, "they are copies"


def test_layers_are_read_together():
    from napari.layers import Labels

    pixels = [np.array([[0, v, v, 0]]) for v in (255, 1)]
    layers = [(Labels(of, name=f"of {of.max()}"), of) for of in pixels]
    with pytest.raises(InputError, match="'of 255' holds no other number than 0 and 255"):
        truth_planes(layers)
    planes, _ = truth_planes(layers, "objects")
    assert np.ravel(planes).tolist() == [0, 1, 1, 0] * 2


def test_negative_labels_are_refused():
    from napari.layers import Labels

    with pytest.raises(InputError, match=r"'x': the label -1"):
        truth_planes([(Labels(np.array([[0, 1]]), name="x"), np.array([[0, -1]]))])


# ---- progress -------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(progress_panel.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_of_all_runs_is_told_once_every_method_was_timed(qtbot, clock):
    panel = CompareProgress()
    qtbot.addWidget(panel)
    panel.begin_comparison(
        CompareStarted(("otsu", "dfc"), 2, 3, 2, "bright", labelled=True), [("otsu", 0), ("dfc", 0), ("dfc", 1)]
    )
    assert panel.status.text() == "2 images with ground truth, bright objects."
    panel.begin_run(MethodStarted(1, 3, "otsu", 0))
    clock[0] += 1
    panel.show_share(MethodProgress("otsu", 0, 0.5))
    assert panel.eta.text() == "Otsu: 1 s left, then 1 method not timed yet"
    panel.end_run(MethodFinished(MethodResult("otsu", 0, 1.0, 0, None), ()))
    assert (panel.outer.value(), panel.outer.maximum()) == (1, 3)
    panel.begin_run(MethodStarted(2, 3, "dfc", 0))
    assert panel.inner.format() == "DFC"
    clock[0] += 10
    panel.show_share(MethodProgress("dfc", 0, 0.25))
    assert panel.eta.text() == "DFC: 30 s left, then 1 method not timed yet", "its second repeat"
    panel.end_run(MethodFinished(MethodResult("dfc", 0, 20.0, 0, None), ()))
    panel.begin_run(MethodStarted(3, 3, "dfc", 1))
    clock[0] += 10
    panel.show_share(MethodProgress("dfc", 1, 0.25))
    assert panel.eta.text().startswith("30 s left, done by ")


def test_repeats_that_are_still_to_come_count(qtbot, clock):
    panel = CompareProgress()
    qtbot.addWidget(panel)
    panel.begin_comparison(
        CompareStarted(("dfc",), 3, 3, 2, "dark", labelled=False), [("dfc", 0), ("dfc", 1), ("dfc", 2)]
    )
    panel.begin_run(MethodStarted(1, 3, "dfc", 0))
    panel.end_run(MethodFinished(MethodResult("dfc", 0, 20.0, 0, None), ()))
    panel.begin_run(MethodStarted(2, 3, "dfc", 1))
    clock[0] += 20
    panel.show_share(MethodProgress("dfc", 1, 0.5))
    assert panel.eta.text().startswith("1 min 0 s left"), "20 s of this run and 40 s of the last one"
