"""A run in a folder goes on where it was, and no run is written over."""

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin._painting import BACKGROUND
from napari_metastructure.training.run_folder import RunFolder

OTHER = {"base_channels": 8, "learning_rate": 1.23456789e-3}
"""Settings that differ from those a widget opens with; one has more digits than its editor shows."""


@pytest.fixture
def earlier(open_widget, blobs, run, tmp_path):
    """A folder with a run of two epochs, made by a widget of its own."""
    _viewer, widget = open_widget(blobs())
    widget.folder.set(tmp_path / "run")
    run(widget)
    assert widget.failure is None
    return tmp_path / "run"


def files(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def raise_epochs(widget, epochs):
    assert widget.load_run_settings()
    widget.settings.fill(widget.settings.config(epochs=epochs))


def test_run_does_not_write_over_a_run(earlier, open_widget, blobs, said):
    viewer, widget = open_widget(blobs())
    widget.folder.set(earlier)
    before = files(earlier)
    assert not widget.start()
    assert said()[-1] == (
        "The folder already holds a run; press Resume run to go on with it, or choose another folder."
    )
    assert widget.progress.status.text() == said()[-1]
    assert not widget.running
    assert len(viewer.layers) == 1
    assert files(earlier) == before


def test_a_resumed_run_ends_as_if_it_had_never_stopped(earlier, open_widget, blobs, run):
    _viewer, whole = open_widget(blobs(), config={"epochs": 3})
    run(whole)
    viewer, widget = open_widget(blobs())
    widget.settings.fill(IGTTConfig())  # as the widget opens
    widget.folder.set(earlier)
    raise_epochs(widget, 3)
    run(widget, widget.resume_run)
    assert widget.failure is None
    assert widget.result.epoch == 3
    assert widget.layers.epochs == [2, 3]
    np.testing.assert_array_equal(widget.result.masks[0], whole.result.masks[0])
    # the slider counts epochs, whatever the first of them is
    masks = viewer.layers["a iGTT masks"]
    assert masks.data.shape == (4, 64, 64)
    assert viewer.dims.current_step[0] == 3
    np.testing.assert_array_equal(masks.data[2:], whole.layers.parts[0].masks.data[2:])
    assert not masks.data[:2].any()
    # so do curves and bars
    np.testing.assert_allclose(widget.curves._agreement.getData(), whole.curves._agreement.getData())
    assert widget.progress.outer.value() == 3
    assert not widget.folder.found.isHidden()
    assert "epoch 3" in widget.folder.found.text()


def test_masks_of_a_resumed_run_are_used_by_their_epoch(earlier, open_widget, blobs, run, tmp_path):
    viewer, widget = open_widget(blobs())
    widget.folder.set(earlier)
    raise_epochs(widget, 3)
    run(widget, widget.resume_run)
    for slider, epoch in ((2, 2), (3, 3), (0, 2)):  # before the first there is, the nearest
        viewer.dims.set_point(0, slider)
        (kept,) = widget.use_epoch()
        np.testing.assert_array_equal(kept.data, widget.layers.masks(epoch)[0])
        assert kept.metadata["napari-metastructure"]["epoch"] == epoch
        assert widget._scores[epoch]


def test_settings_come_from_the_run_unless_they_are_shown_already(open_widget, blobs, run, tmp_path):
    _viewer, first = open_widget(blobs(), config={"epochs": 1})
    config = IGTTConfig(**{**first.settings.config().model_dump(), **OTHER})
    first.settings.config = lambda: config  # as a run of the command line with --set
    first.folder.set(tmp_path)
    run(first)
    _, widget = open_widget(blobs())
    widget.folder.set(tmp_path)
    run(widget, widget.resume_run)
    assert widget.failure is None
    assert widget.layers.epochs == [1]  # of 1, not of the 2 that were shown
    assert "raise Epochs" in widget.progress.status.text()
    assert widget.settings.config().base_channels == 8
    widget.settings.fill(widget.settings.config(epochs=2))
    run(widget, widget.resume_run)
    assert widget.failure is None
    assert widget.layers.epochs == [1, 2]
    assert "raise Epochs" not in widget.progress.status.text()


def test_a_stopped_run_goes_on_in_the_same_widget(open_widget, blobs, run, qtbot, tmp_path):
    _viewer, widget = open_widget(blobs(), config={"epochs": 2000})
    widget.folder.set(tmp_path / "run")
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        assert not widget.folder.isEnabled()
        qtbot.waitUntil(lambda: len(widget.layers.epochs) >= 2, timeout=60_000)
        widget.stop()
    assert widget.folder.isEnabled()
    reached = widget.result.epoch
    widget.settings.fill(widget.settings.config(epochs=reached + 1))
    run(widget, widget.resume_run)
    assert widget.failure is None
    assert widget.layers.epochs[-1] == reached + 1
    assert widget.layers.epochs[0] <= reached


def test_continuing_from_edits_gets_a_folder_of_its_own(earlier, open_widget, blobs, run):
    _viewer, widget = open_widget(blobs())
    widget.folder.set(earlier)
    run(widget, widget.resume_run)
    before = files(earlier)
    widget.layers.parts[0].open_strokes().data_setitem((np.array([5]), np.array([6])), BACKGROUND)
    run(widget, widget.continue_from_edits)
    assert widget.failure is None
    assert widget.folder.get() == earlier.with_name("run-2")
    assert (earlier.with_name("run-2") / "last.pt").exists()
    assert files(earlier) == before
    # strokes are kept in the run, and shown when it goes on elsewhere
    painted = widget.layers.corrections()
    _, other = open_widget(blobs())
    other.folder.set(earlier.with_name("run-2"))
    raise_epochs(other, 5)
    run(other, other.resume_run)
    assert other.failure is None
    np.testing.assert_array_equal(other.layers.corrections()[0], painted[0])
    assert other.layers.corrections().keys() == painted.keys()
    assert not other.layers.held and other.strokes.list.count() == 1


def test_other_images_are_refused_and_change_nothing(earlier, open_widget, blobs, run, said):
    viewer, widget = open_widget(blobs(shape=(64, 80)))
    widget.folder.set(earlier)
    before = files(earlier)
    run(widget, widget.resume_run)
    assert "has changed" in str(widget.failure)
    assert str(widget.failure) in said()
    assert len(viewer.layers) == 1
    assert files(earlier) == before


@pytest.mark.parametrize("name", ["last.pt", "run.yaml"])
def test_what_is_missing_is_said(earlier, open_widget, blobs, said, name):
    viewer, widget = open_widget(blobs())
    (earlier / name).unlink()
    widget.folder.set(earlier)
    assert not widget.resume_run()
    assert name in said()[-1]
    assert not widget.start()
    assert "already holds a run" in said()[-1]
    assert len(viewer.layers) == 1


def test_a_damaged_state_is_said(earlier, open_widget, blobs, run, said):
    _viewer, widget = open_widget(blobs())
    whole = (earlier / "last.pt").read_bytes()
    (earlier / "last.pt").write_bytes(whole[: len(whole) // 2])
    widget.folder.set(earlier)
    run(widget, widget.resume_run)
    assert "last.pt is damaged" in str(widget.failure)
    assert widget.buttons.run.isEnabled()


def test_without_a_run_there_is_nothing_to_resume(open_widget, blobs, said, tmp_path):
    _viewer, widget = open_widget(blobs())
    for folder in (None, tmp_path):
        widget.folder.set(folder)
        assert not widget.resume_run()
        assert "no run to go on with" in said()[-1]
        assert not widget.load_run_settings()
        assert "holds no run" in said()[-1]


@pytest.mark.parametrize("chosen", [True, False])
def test_a_run_whose_folder_fails_asks_for_another_and_waits(
    open_widget, blobs, run, said, tmp_path, monkeypatch, chosen
):
    _viewer, widget = open_widget(blobs())
    write = RunFolder.write_metrics

    def full(folder, rows):
        if folder.path.name == "run":
            raise InputError("The disk is full.")
        return write(folder, rows)

    monkeypatch.setattr(RunFolder, "write_metrics", full)
    widget.folder.set(tmp_path / "run")
    asked = []

    def answer(dialog):
        asked.append(dialog.windowTitle())
        dialog.fileSelected.emit(str(tmp_path / "other")) if chosen else dialog.reject()

    monkeypatch.setattr(QFileDialog, "open", answer)
    run(widget)
    assert asked == ["Save the run elsewhere"] and widget.failure is None
    assert "The disk is full." in said()
    assert widget.layers.epochs[-1] >= (widget.settings.config().epochs if chosen else 1)
    assert (tmp_path / "other" / "last.pt").exists() == chosen
    assert ("other" if chosen else "The disk is full.") in widget.progress.status.text()
