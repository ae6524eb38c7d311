"""Batches in this process: whole files, a report, and going on."""

import csv
import os
import random
import sys

import numpy as np
import pytest
import tifffile
import yaml

from napari_metastructure.batch import predict
from napari_metastructure.batch.predict import join_file, predict_file, predict_part
from napari_metastructure.batch.recipe import BatchRecipe
from napari_metastructure.batch.run import BatchStarted, UnitDone, UnitFailed, UnitProgress, run
from napari_metastructure.batch.work_units import Split
from napari_metastructure.errors import InputError
from napari_metastructure.igtt.apply import load_model
from napari_metastructure.igtt.outputs import IGTTRun
from napari_metastructure.networks import predict as networks_predict
from napari_metastructure.networks.batch import Target
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import RunStarted, Unsaved
from napari_metastructure.training.run_folder import RunFolder


def rows_of(out):
    with (out / "batch.csv").open(newline="") as file:
        return {os.path.basename(row["file"]): row for row in csv.DictReader(file)}


def test_each_file_is_done_and_a_bad_one_is_reported(recipe, go, model, images, tmp_path):
    started, *events, last = go(recipe())
    assert isinstance(started, BatchStarted) and not any(started.settled)
    assert [os.path.basename(event.name) for event in events if isinstance(event, UnitDone)] == [
        *("a.tif", "b.tif", "large.tif", "stack.tif")
    ]
    (failed,) = (event for event in events if isinstance(event, UnitFailed))
    assert "torn.tif is cut short" in failed.why
    assert (last.done, last.failed, last.stopped) == (4, 1, False)
    expected = load_model(model).predict(tifffile.imread(images / "large.tif"), "cpu")
    found = tifffile.imread(tmp_path / "out" / "large_probability.tif")
    np.testing.assert_array_equal(found, expected.probability)
    rows = rows_of(tmp_path / "out")
    assert [row["state"] for row in rows.values()] == ["done"] * 4 + ["failed"]
    assert rows["torn.tif"]["why"] == failed.why
    assert rows["a.tif"]["results"].startswith("a_mask.tif:")
    assert BatchRecipe.read(tmp_path / "out" / "batch.yaml").task == recipe().task


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("whole", [networks_predict.WHOLE, 0], ids=["at once", "by rows"])
def test_tiles_in_any_order_give_the_same_bits(recipe, go, images, same, tmp_path, monkeypatch, whole):
    monkeypatch.setattr(networks_predict, "WHOLE", whole)  # how inputs are made of large images
    predict._prepared.cache_clear()
    monkeypatch.setattr(predict, "TILES", 20)
    go(recipe())
    task = recipe().task
    file, mark = task.model / "model.safetensors", "0"
    for name in ("large", "stack"):
        target = Target(tmp_path / "parts", name)
        (tmp_path / "parts").mkdir(exist_ok=True)
        (old := tmp_path / "parts" / f"{name}_mask.ome.tif").touch()
        first = (file, mark, images / f"{name}.tif")
        split = finish(predict_file(lambda: None, *first, target, task, True))
        assert isinstance(split, Split) and len(split.parts) > 3
        assert all(work is predict_part for work, _ in split.parts)
        order = list(enumerate(split.parts))
        random.Random(1).shuffle(order)
        made = {index: finish(work(lambda: None, *args)) for index, (work, args) in order}
        assert split.join is join_file
        finish(join_file(lambda: None, *split.args, [made[index] for index in range(len(made))]))
        assert not old.exists()
    assert same(tmp_path / "parts", tmp_path / "out") == 4


def test_what_is_done_is_not_done_again_and_what_changed_is(recipe, go, images, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.tif", "b.tif"):
        (folder / name).write_bytes((images / name).read_bytes())

    def done(**how):
        _, *events, last = go(recipe(folder), **how)
        return [os.path.basename(event.name) for event in events if isinstance(event, UnitDone)], last.settled

    assert done() == (["a.tif", "b.tif"], 0)
    with pytest.raises(InputError, match=r"batch\.yaml is there already"):
        go(recipe(folder))
    assert done(resume=True) == ([], 2)
    os.utime(folder / "a.tif")  # written again, to the same bytes
    assert done(resume=True) == ([], 2)
    (tmp_path / "out" / "b_mask.tif").unlink()
    assert done(resume=True) == (["b.tif"], 1)
    (folder / "a.tif").write_bytes((images / "b.tif").read_bytes())
    (folder / "c.tif").write_bytes((images / "b.tif").read_bytes())
    assert done(resume=True) == (["a.tif", "c.tif"], 1)
    with (tmp_path / "out" / "batch.csv").open("a") as file:  # as a power cut leaves it
        file.write('"torn')
    assert done(resume=True) == ([], 3)
    assert done(overwrite=True) == (["a.tif", "b.tif", "c.tif"], 0)


def test_other_settings_are_refused_and_another_device_is_none(recipe, go, tmp_path):
    go(recipe())
    with pytest.raises(InputError, match="made with probability = True, not False"):
        go(recipe(probability=False), resume=True)
    assert go(recipe(device="auto"), resume=True)[-1].settled == 4


def test_a_stop_leaves_whole_files_and_what_is_left_can_be_done(recipe, images, same, go, tmp_path):
    control = Control()
    events = []
    for event in run(recipe(), control):
        events.append(event)
        if isinstance(event, UnitProgress) and "large" in event.name and event.share > 0.2:
            control.stop()
    assert events[-1].stopped and events[-1].done == 2
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tif")) == [
        *("a_mask.tif", "a_probability.tif", "b_mask.tif", "b_probability.tif")
    ]
    last = go(recipe(), resume=True)[-1]
    assert (last.done, last.settled, last.failed) == (2, 2, 1)
    go(recipe(out=tmp_path / "other"))
    assert same(tmp_path / "out", tmp_path / "other") == 8


def test_a_batch_stopped_in_its_first_file_can_be_gone_on_with(recipe, images, go, tmp_path):
    control = Control()
    for event in run(recipe(images / "a.tif"), control):
        if isinstance(event, BatchStarted):
            control.stop()
    (tmp_path / "out" / "a_mask.tif").write_bytes(b"written before its line in the report was")
    assert go(recipe(images / "a.tif"), resume=True)[-1].done == 1


def test_a_file_that_breaks_the_code_ends_no_other(recipe, go, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("by zero")

    files, real = predict.prediction, predict.prediction.predict_files
    monkeypatch.setattr(
        files, "predict_files", lambda m, p, *more: broken() if "b.tif" in str(p[0]) else real(m, p, *more)
    )
    *events, last = go(recipe())
    assert (last.done, last.failed) == (3, 2)
    assert any("It broke: ZeroDivisionError: by zero" in event.why for event in events if isinstance(event, UnitFailed))


def test_results_of_others_and_inputs_are_left_alone(recipe, go, images, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_mask.tif").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"a_mask\.tif is there already"):
        go(recipe())
    with pytest.raises(InputError, match=r"a_mask\.tif is there already"):
        go(recipe(), resume=True)
    assert (out / "a_mask.tif").read_bytes() == b"mine"
    assert not (out / "batch.csv").exists()


@pytest.mark.parametrize("task", [{}, {"what": "igtt", "each": True}, {"what": "igtt"}])
def test_results_in_another_form_are_replaced_only_where_that_is_asked_for(recipe, go, images, tmp_path, task):
    made = recipe(images / "a.tif")
    if task:
        made = BatchRecipe.make(inputs=made.inputs, out=made.out, task=task)
    old = tmp_path / "out" / ("a" if "each" in task else ".") / "a_mask.ome.tif"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"a_mask\.ome\.tif is there already"):
        go(made)
    assert old.read_bytes() == b"mine"
    if not task:
        go(made, overwrite=True)
        assert not old.exists()


def test_a_run_that_goes_on_and_cannot_be_saved_does_not_start_over(images, go, tmp_path, monkeypatch):
    made = BatchRecipe.make(inputs=(str(images / "a.tif"),), out=tmp_path / "out", task={"what": "igtt"})
    mask = tmp_path / "out" / "a_mask.tif"
    mask.parent.mkdir()
    for name in ("run.yaml", "last.pt", "a_mask.tif"):
        (mask.parent / name).touch()
    monkeypatch.setattr(IGTTRun, "find", IGTTRun)
    calls = []

    def iterate(*_, resume, folder, **__):
        calls.append(resume)
        yield RunStarted(1, 1, 1, "cpu")
        yield Unsaved("The disk is full.", folder)

    monkeypatch.setattr("napari_metastructure.igtt.iterate.iterate", iterate)
    (failed,) = (event for event in go(made, overwrite=True) if isinstance(event, UnitFailed))
    assert (failed.why, calls, mask.exists()) == ("The disk is full.", [True], True)


def test_two_batches_do_not_write_to_one_folder(recipe, go):
    first = run(recipe())
    assert isinstance(next(first), BatchStarted)
    with pytest.raises(InputError, match="Another batch is writing to"):
        go(recipe(), resume=True)
    first.close()
    assert go(recipe(), resume=True)[-1].done == 4


def test_a_batch_does_not_write_where_a_run_does(recipe, go, tmp_path):
    folder = RunFolder(tmp_path / "out")
    folder.lock()
    before = sorted(p.name for p in folder.path.iterdir())
    with pytest.raises(InputError, match="Another run is writing to"):
        go(recipe())
    assert sorted(p.name for p in folder.path.iterdir()) == before
    folder.unlock()
    first = run(recipe())
    assert isinstance(next(first), BatchStarted)
    with pytest.raises(InputError, match="Another run is writing to"):
        RunFolder(tmp_path / "out").lock()
    first.close()
    RunFolder(tmp_path / "out").lock()


@pytest.mark.skipif(sys.platform == "win32" or not os.getuid(), reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_named(recipe, go, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match="no permission to write there"):
        go(recipe(out=tmp_path / "locked" / "out"))


def test_noise_and_density_are_those_of_the_commands(go, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name in "ab":
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", (rng.random((2, 20, 24)) > 0.6).astype(np.uint8))
    (tmp_path / "in" / "bad.tif").write_bytes(b"II*\0")
    task = {"what": "noise", "recipe": {"kind": "flip", "fraction": 0.3}, "seed": 3}
    made = BatchRecipe.make(inputs=(str(tmp_path / "in"),), out=tmp_path / "noisy", task=task)
    last = go(made)[-1]
    assert (last.done, last.failed) == (2, 1)
    assert "Rank 2 of 2" in " ".join(last.said)
    facts = yaml.safe_load((tmp_path / "noisy" / "noise.yaml").read_text())
    assert [(file["name"], file["first_plane"]) for file in facts["files"]] == [("a.tif", 0), ("b.tif", 2)]
    assert go(made, resume=True)[-1].settled == 2
    assert yaml.safe_load((tmp_path / "noisy" / "noise.yaml").read_text()) == facts
    task = {"what": "density", "bandwidth": "3", "reference": str(tmp_path / "clean")}
    (tmp_path / "clean").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.tif").rename(tmp_path / "clean" / f"{name}.tif")
    maps = BatchRecipe.make(inputs=(str(tmp_path / "noisy"),), out=tmp_path / "maps", task=task)
    said = go(maps)[-1].said
    assert len(said) == 2 and "meta-structure retained 1.0000" in said[0]
    assert tifffile.imread(tmp_path / "maps" / "b_density.tif").shape == (2, 2, 20, 24)
