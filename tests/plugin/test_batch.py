"""Folder in, folder out in the widgets: states of files, cancel, continue, and the recipe as YAML."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel

from napari_metastructure.batch.recipe import BatchRecipe
from napari_metastructure.cli.main import main
from napari_metastructure.labels.recipes import Flip
from napari_metastructure.plugin._batch import FolderBatch
from napari_metastructure.plugin.noise import NoiseWidget


@pytest.fixture
def labels(tmp_path):
    """A folder of label files, one of them damaged."""
    folder = tmp_path / "clean"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        tifffile.imwrite(folder / f"{name}.tif", (rng.random((30, 40)) > 0.5).astype(np.uint8))
    (folder / "torn.tif").write_bytes((folder / "a.tif").read_bytes()[:300])
    return folder


@pytest.fixture
def panel(qtbot, labels, tmp_path):
    """A panel that makes noise of the folder."""
    panel = FolderBatch(lambda: {"what": "noise", "recipe": Flip(fraction=0.3), "seed": 5}, "labels", "<stem>.tif")
    panel.choose(labels, tmp_path / "out")
    yield panel
    panel.cancel()
    qtbot.waitUntil(lambda: not panel.running)
    panel.deleteLater()


@pytest.fixture
def go(qtbot):
    """Starts a panel and waits for its end."""

    def end(panel, **how):
        with qtbot.waitSignal(panel.finished):
            assert panel.start(**how)
        return panel.table.files.states

    return end


def short(states):
    return [state.partition(",")[0].partition(":")[0] for state in states]


def test_the_noise_widget_does_a_folder_as_the_command_line_does(make_napari_viewer, place, qtbot, labels, tmp_path):
    viewer = make_napari_viewer()
    widget = NoiseWidget(viewer)
    place(viewer, widget, "Noise")
    widget.set_recipe(Flip(fraction=0.3))
    widget.set_seed(5)
    panel = widget.batch
    assert panel.choose(labels, tmp_path / "out")
    with qtbot.waitSignal(panel.finished):
        assert panel.start()
    assert panel.failure is None
    assert short(panel.table.files.states) == ["done", "done", "done", "failed"]
    assert panel.table.files.data(panel.table.files.index(3, 0)) == "torn.tif"
    assert "cut short" in panel.table.files.states[3]
    assert panel.progress.outer.format() == "4 of 4 files"
    assert "Rank 2 of 2" in panel.progress.status.text()

    assert panel.save_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(SystemExit) as ended:
        main(["batch", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "again")])
    assert ended.value.code == 2  # for the damaged file
    for name in "abc":
        one, other = (tmp_path / folder / f"{name}.tif" for folder in ("out", "again"))
        assert one.read_bytes() == other.read_bytes()
    assert BatchRecipe.read(tmp_path / "recipe.yaml").task.seed == 5


def test_continue_does_what_is_left(panel, go, labels, tmp_path):
    assert short(go(panel)) == ["done", "done", "done", "failed"]
    (tmp_path / "out" / "b.tif").unlink()
    (labels / "torn.tif").write_bytes((labels / "c.tif").read_bytes())
    assert short(go(panel, go_on=True)) == ["done before", "done", "done before", "done"]
    assert "2 files done, 2 before" in panel.progress.status.text()
    go(panel)
    assert "press Do the rest to go on with it, or tick Replace" in str(panel.failure)
    panel.replace.setChecked(True)
    assert short(go(panel)) == ["done"] * 4


def test_pause_and_cancel(panel, qtbot, monkeypatch):
    assert not panel.pause() and not panel.resume() and not panel.cancel()
    seen = []
    monkeypatch.setattr(panel, "_on_event", seen.append)
    assert panel.start()
    assert panel.pause()
    assert not panel.settings.isEnabled()
    assert not panel.start()
    assert panel.resume()
    with qtbot.waitSignal(panel.finished):
        assert panel.cancel()
    assert panel.settings.isEnabled()


@pytest.mark.parametrize(
    ("inputs", "out", "scheduler", "words"),
    [
        ("", "out", "", "Two folders are needed"),
        ("clean", "", "", "Two folders are needed"),
        ("gone", "out", "", "There is no folder"),
        ("clean", "clean/a.tif", "", "is a file; choose a folder"),
        ("clean", "out", "somewhere", "neither local:N"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(panel, said, tmp_path, inputs, out, scheduler, words):
    panel.choose(*(tmp_path / name if name else "" for name in (inputs, out)), scheduler)
    assert not panel.start() and not panel.running
    assert words in said()[-1]
    assert panel.progress.status.text() == said()[-1]
    assert not panel.save_recipe(tmp_path / "recipe.yaml") and not (tmp_path / "recipe.yaml").exists()
    panel.choose("", "")
    assert panel.progress.status.text() == "Ready."


def test_the_command_that_is_named_reads_the_recipe_that_was_saved(panel, tmp_path):
    assert panel.save_recipe(tmp_path / "my recipe")
    command = shlex.split(panel.progress.status.text().partition(": ")[2])
    assert command[:2] == ["metastructure", "batch"]
    assert BatchRecipe.read(Path(command[2])).task.seed == 5


def test_files_of_an_earlier_batch_are_not_listed_for_one_that_does_not_begin(panel, go, tmp_path):
    go(panel)
    assert panel.table.isVisibleTo(panel)
    panel.choose(tmp_path, tmp_path / "out")
    go(panel)
    assert panel.failure is not None and not panel.table.isVisibleTo(panel)


def test_a_folder_that_may_not_be_entered(panel, said, tmp_path, monkeypatch):
    panel.choose(tmp_path / "closed" / "in", tmp_path / "out")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert not panel.start() and not panel.save_recipe(tmp_path / "recipe.yaml")
    assert said()[-1].startswith(f"No permission to use {tmp_path / 'closed' / 'in'};")


def test_a_folder_without_images_ends_in_a_sentence(panel, go, tmp_path):
    (tmp_path / "empty").mkdir()
    panel.choose(tmp_path / "empty", tmp_path / "out")
    go(panel)
    assert "holds no image" in str(panel.failure)
    assert not (tmp_path / "out").exists()


def test_a_dial_that_does_not_fit_is_said(place, said, tmp_path, labels):
    viewer = ViewerModel()
    widget = NoiseWidget(viewer)
    place(viewer, widget, "Noise")
    widget.batch.choose(labels, tmp_path / "out")
    widget.batch._task = lambda: {"what": "noise", "recipe": {"kind": "flip", "fraction": 3.0}}
    assert not widget.batch.start()
    assert "from 0 to 1" in said()[-1]
