"""The study widget in real viewers, with real trainings in a real thread."""

import numpy as np
import pytest
from PIL import Image

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.labels.recipes import Dilate
from napari_metastructure.plugin._layers import colormap
from napari_metastructure.plugin._study_results import LOSS, RANK, RETAINED, SCORE
from napari_metastructure.plugin.study import StudyWidget
from napari_metastructure.training import study as engine
from napari_metastructure.training import study_results as files
from napari_metastructure.training.events import TrainEpoch
from napari_metastructure.training.study_results import CONDITIONS, Condition, StudyFinished

NET = "light-unet"
ENDLESS = {"epochs": 2000, "steps_per_epoch": 3}


@pytest.fixture
def going(qtbot):
    """Waits until the run at work has finished so many epochs."""

    def wait(widget, epochs=1):
        qtbot.waitUntil(lambda: widget._current is not None and len(widget._current[1]) >= epochs, timeout=60_000)

    return wait


def test_layers_become_curves_and_a_table(open_study, study_config, run):
    _viewer, widget = open_study(settings=study_config(repeats=2), window=True)
    drawn = []
    widget.runner.event_received.connect(
        lambda event: (
            isinstance(event, TrainEpoch) and drawn.append(_points(widget.curves.curves[widget._current[0]][0]))
        )
    )
    run(widget)
    assert widget.failure is None
    assert [(r.condition, r.seed) for r in widget.results] == [(c, s) for s in (0, 1) for c in ("CL", "kept", "RL")]
    assert drawn == [1, 2] * 6, "not one epoch more with each event"
    score = widget.curves.curves
    for name in ("CL", "kept", "RL"):
        runs = np.array([r.test for r in widget.results if r.condition == name])
        losses = np.array([r.loss for r in widget.results if r.condition == name])
        curve, loss = score[NET, name]
        np.testing.assert_allclose(curve.mean.getData()[1], runs.mean(0))
        np.testing.assert_allclose(curve.high.getData()[1] - curve.low.getData()[1], 2 * runs.std(0, ddof=1))
        np.testing.assert_allclose(loss.mean.getData()[1], losses.mean(0))
        assert len(curve.going.getData()[1] if curve.going.getData()[1] is not None else ()) == 0
        finals = runs[:, -1]
        assert widget.table.text((NET, name), SCORE) == f"{finals.mean():.3f} ± {finals.std(ddof=1):.3f}"
        assert widget.table.text((NET, name), LOSS) == f"{losses[:, -1].mean():.3f}"
    assert [widget.table.text((NET, c), RANK) for c in ("CL", "kept", "RL")] == ["2/2", "2/2", "1/2"]
    assert [widget.table.text((NET, c), RETAINED) for c in ("CL", "RL")] == ["100%", "0%"]
    assert "All 6 runs are done" in widget.progress.status.text()
    assert (widget.progress.outer.value(), widget.progress.outer.maximum()) == (6, 6)
    assert widget.buttons.run.isEnabled()
    assert not widget.buttons.stop.isEnabled()


def _points(curve):
    """Epochs drawn of the run at work: alone it is the mean, beside others a thin line."""
    going = curve.going.getData()[1]
    return len(going) if going is not None and len(going) else len(curve.mean.getData()[1])


def test_two_networks_and_a_condition_of_ones_own(open_study, study_config, run):
    _viewer, widget = open_study(settings=study_config(conditions=(CONDITIONS["CL"],), epochs=1, steps_per_epoch=1))
    widget.settings.networks["unet"].setChecked(True)
    widget.conditions.free.expand(animate=False)
    widget.conditions.form.fill(Dilate(n=3))
    widget.conditions.name.setText("thick")
    widget.conditions.add_button.click()
    assert widget.conditions.conditions()[-1] == Condition(name="thick", recipe=Dilate(n=3))
    run(widget)
    assert widget.failure is None
    assert [(r.network, r.condition, r.family) for r in widget.results] == [
        (network, name, family)
        for network in (NET, "unet")
        for name, family in (("CL", "CL"), ("thick", "PCL"))
    ]  # fmt: skip
    assert widget.table.rowCount() == 4
    assert widget.table.item(3, 0).text() == "thick · unet"


# ---- stop, pause, go on ---------------------------------------------------------------------------------------


def test_a_stopped_study_goes_on_where_it_was(open_study, study_config, three_conditions, run, qtbot, tmp_path):
    _viewer, widget = open_study(settings=study_config(conditions=three_conditions[:2], repeats=2))
    widget.folder.set(tmp_path / "study")
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        qtbot.waitUntil(lambda: len(widget.results) >= 1, timeout=60_000)
        widget.stop()
    first = widget.results
    assert 1 <= len(first) < 4
    assert f"{len(first)} of 4 runs" in widget.progress.status.text()
    assert f"Holds {len(first)} run" in widget.folder.found.text()
    seen = []
    widget.runner.event_received.connect(lambda event: seen.append(type(event).__name__))
    run(widget)
    assert len(widget.results) == 4
    assert [(r.condition, r.seed) for r in widget.results[: len(first)]] == [(r.condition, r.seed) for r in first]
    assert seen.count("ConditionFinished") == 4 - len(first)
    written = {path.name for path in (tmp_path / "study").iterdir()}
    assert {"curves.csv", "table.csv", "study.png", "study.svg", "run.yaml"} <= written
    assert files.read(tmp_path / "study")[-1].test == pytest.approx(widget.results[-1].test)


def test_settings_come_back_from_the_folder(open_study, study_config, run, tmp_path, said):
    thick = Condition(name="thick", recipe=Dilate(n=3))
    settings = study_config(conditions=(CONDITIONS["CL"], thick), epochs=1, steps_per_epoch=1, learning_rate=0.005)
    viewer, widget = open_study(settings=settings)
    widget.folder.set(tmp_path)
    run(widget)
    other = StudyWidget(viewer)
    assert not other.load_run_settings()
    assert "holds no study" in said()[-1]
    other.folder.set(tmp_path)
    assert other.load_run_settings()
    assert other.settings.config(other.conditions.conditions()) == settings
    other.settings.fill(study_config())
    other.conditions.choose(settings.conditions)
    run(other)
    assert isinstance(other.failure, InputError)
    assert "other settings" in other.progress.status.text()
    other.deleteLater()


def test_pause_holds_and_resume_goes_on(open_study, study_config, qtbot, going, pause):
    _viewer, widget = open_study(settings=study_config(**ENDLESS))
    widget.start()
    going(widget, 2)
    pause(widget)
    held = len(widget._current[1])
    qtbot.wait(50)
    assert len(widget._current[1]) == held
    assert widget.buttons.resume.isVisibleTo(widget)
    widget.resume()
    going(widget, held + 1)


def test_half_a_run_is_no_result(open_study, study_config, qtbot, going, tmp_path, said):
    _viewer, widget = open_study(settings=study_config(**ENDLESS))
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        widget.start()
        going(widget)
        assert widget.table.text((NET, "CL"), SCORE).startswith("…")
        assert not widget.start()
        assert "is going on" in said()[-1]
        widget.stop()
    assert widget.results == ()
    assert widget.table.text((NET, "CL"), SCORE) == "–"
    assert not widget.save_button.isEnabled()
    assert not widget.save_results(tmp_path / "s")
    assert "no results yet" in said()[-1]


def test_a_study_stopped_at_once_ends_well(open_study, study_config, qtbot):
    _viewer, widget = open_study(settings=study_config(**ENDLESS))
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        widget.stop()
    assert widget.failure is None
    assert "Stopped by the user" in widget.progress.status.text()


# ---- what is wrong is said -----------------------------------------------------------------------------------


def test_what_is_missing_starts_nothing(open_study, said):
    _viewer, widget = open_study()
    widget.conditions.choose([])
    assert not widget.start()
    assert "No condition" in said()[-1]
    widget.conditions.choose([CONDITIONS["CL"]])
    widget.settings.networks[NET].setChecked(False)
    assert not widget.start()
    assert "No network" in said()[-1]
    widget.settings.networks[NET].setChecked(True)
    widget.data.from_folder.setChecked(True)
    assert not widget.start()
    assert "No folder" in said()[-1]
    assert not widget.show_labels(["CL"])
    assert "run first" in said()[-1]
    widget.data.from_layers.setChecked(True)
    widget.data.table.clear()
    assert not widget.start()
    assert "pair" in said()[-1]
    assert widget.progress.status.text() == said()[-1]
    assert not widget.running


def test_one_image_is_not_enough(open_study, run):
    _viewer, widget = open_study(images=1)
    run(widget)
    assert "two images" in str(widget.failure)
    assert widget.buttons.run.isEnabled()


def test_instance_numbers_are_read_as_objects_only_if_asked(open_study, run):
    viewer, widget = open_study(images=2)
    for name in "ab":
        mask = viewer.layers[f"{name} mask"]
        mask.data = (mask.data > 0) * np.uint16(300) + (np.arange(64) > 32) * (mask.data > 0) * np.uint16(7)
    run(widget)
    assert "objects" in str(widget.failure)
    widget.data.reading.set("objects")
    run(widget)
    assert widget.failure is None
    assert {r.classes for r in widget.results} == {2}


def test_a_training_that_breaks_is_told_and_the_results_stay(open_study, run, monkeypatch, said):
    real, calls = engine.train, []

    def breaking(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return real(*args, **kwargs)

    monkeypatch.setattr(engine, "train", breaking)
    _viewer, widget = open_study()
    run(widget)
    assert isinstance(widget.failure, RunFailed)
    assert any("unspecified launch failure" in message for message in said())
    assert [r.condition for r in widget.results] == ["CL"]
    assert widget.save_button.isEnabled()
    monkeypatch.undo()
    run(widget)
    assert widget.failure is None


# ---- folders ---------------------------------------------------------------------------------------------------


def test_a_folder_of_files(open_study, discs, run, tmp_path, qtbot):
    for split, seeds in (("train", (0, 1)), ("test", (2,))):
        for seed in seeds:
            for kind, pixels in zip(("images", "labels"), discs(seed), strict=True):
                folder = tmp_path / split / kind
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{seed}.png")
    viewer, widget = open_study(images=0)
    widget.data.use_folder(tmp_path)
    qtbot.waitUntil(lambda: not widget.data.folder.looking, timeout=60_000)
    assert widget.data.summary.text() == "2 images to train on, 1 to test on."
    run(widget)
    assert widget.failure is None
    assert len(widget.results) == 3
    assert widget.show_labels(["RL"], image="1")
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=60_000)
    np.testing.assert_array_equal(viewer.layers["1"].data, np.clip(discs(1)[0], 0, 255).astype(np.uint8))
    assert set(np.unique(viewer.layers["1 RL"].data)) == {0, 1}
    widget.show_labels([])
    assert len(viewer.layers) == 0


def test_noisy_labels_have_the_colours_of_the_users_labels(open_study, run, qtbot):
    viewer, widget = open_study()
    red = [1, 0, 0, 1]
    for layer in viewer.layers:
        if layer.name.endswith("mask"):
            layer.colormap = colormap({0: "transparent", int(layer.data.max()): red}, others="blue")
    run(widget)
    assert widget.show_labels(["CL"])
    qtbot.waitUntil(lambda: any(layer.name.endswith("CL") for layer in viewer.layers), timeout=60_000)
    shown = next(layer for layer in viewer.layers if layer.name.endswith("CL"))
    np.testing.assert_allclose(shown.colormap.map(1), red, atol=0.01)


def test_rows_are_kept_for_testing(open_study):
    _viewer, widget = open_study()
    assert widget.data.summary.text() == "3 images to train on, 1 to test on (kept by Test fraction)."
    table = widget.data.table
    uses = [table.table.item(row, 2) for row in range(4)]
    assert sorted(item.text() for item in uses) == ["(test)", "train", "train", "train"]
    assert "Kept to test on, see Test fraction" in next(i for i in uses if i.text() == "(test)").toolTip()
    table.swap_use([0])
    assert table.table.item(0, 2).text() == "test"
    assert widget.data.summary.text() == "3 images to train on, 1 to test on."


def test_an_odd_folder_is_told(open_study, run, tmp_path):
    _viewer, widget = open_study(images=0)
    widget.data.use_folder(tmp_path / "nowhere")
    run(widget)
    assert "nowhere" in str(widget.failure)


# ---- labels as layers ------------------------------------------------------------------------------------------


def test_painting_on_the_clean_labels_changes_no_later_run(open_study, study_config, qtbot):
    viewer, widget = open_study(settings=study_config(conditions=(CONDITIONS["CL"],), repeats=2))
    starts = []
    widget.runner.event_received.connect(lambda event: starts.append(event) if hasattr(event, "predicted") else None)
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        widget.start()
        qtbot.waitUntil(lambda: bool(starts), timeout=60_000)
        for name in "abcd":
            viewer.layers[f"{name} mask"].data[:] = 0
    assert all(pixels.any() for start in starts for pixels in start.labels)
    assert len(starts) == 2


# ---- what is shown ---------------------------------------------------------------------------------------------


def test_results_are_saved_on_demand(open_study, run, qtbot, tmp_path, said):
    _viewer, widget = open_study()
    run(widget)
    with qtbot.waitSignal(widget.saved, timeout=60_000) as signal:
        assert widget.save_results(tmp_path / "new" / "folder")
    assert [path.name for path in signal.args[0]] == ["curves.csv", "table.csv", "study.png", "study.svg"]
    assert all(path.stat().st_size for path in signal.args[0])
    assert files.read(tmp_path / "new" / "folder") == list(widget.results)
    (tmp_path / "file").write_text("")
    with qtbot.waitSignal(widget.saved, timeout=60_000) as signal:
        assert widget.save_results(tmp_path / "file")
    assert signal.args[0] == []
    assert "file" in said()[-1]


# ---- ends in the middle ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True])
def test_closing_the_window_ends_the_thread(open_with_masks, qtbot, study_config, going, paused, posted):
    viewer = open_with_masks()
    widget = StudyWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.settings.fill(study_config(**ENDLESS))
    assert widget.start()
    going(widget)
    if paused:
        widget.pause()
    control, ended = widget.runner.control, posted(widget, StudyFinished)
    viewer.close()
    qtbot.waitUntil(lambda: bool(ended), timeout=60_000)
    assert control.stopped
    assert ended[0].stopped


def test_removing_the_widget_ends_the_study_and_frees_the_viewer(open_with_masks, qtbot, discs, study_config, going):
    viewer = open_with_masks()
    widget = StudyWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.settings.fill(study_config(**ENDLESS))
    widget.start()
    going(widget)
    control = widget.runner.control
    with qtbot.waitSignal(widget.destroyed, timeout=60_000):
        viewer.window.remove_dock_widget(widget)
        widget.deleteLater()
    assert control.stopped
    viewer.layers[0].name = "renamed"
    viewer.add_image(discs(0)[0])
    viewer.theme = "light"
    del viewer.layers[0]


def test_it_fits_a_small_screen(open_study):
    _viewer, widget = open_study(show=True)
    assert widget.minimumSizeHint().height() < 400
    assert widget.sizeHint().height() <= 820
