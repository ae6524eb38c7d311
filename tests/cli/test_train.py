"""``metastructure train`` as a user calls it."""

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from napari_metastructure.images.writing import cannot_write
from napari_metastructure.networks.model import Model
from napari_metastructure.training.run_folder import FILES, RunFolder

FAST = (
    "--device", "cpu", "--set", "steps_per_epoch=3", "--set", "batch_size=1", "--set", "base_channels=4",
    "--set", "patch_size=32", "--epochs", 2,
)  # fmt: skip


@pytest.fixture
def pairs(blobs, save):
    """Writes ``images/`` and ``labels/`` of so many images."""

    def make(folder, count=4, first=0, labels="labels"):
        for i in range(first, first + count):
            image = blobs(seed=i)
            save(folder / "images" / f"{i}.png", image)
            save(folder / labels / f"{i}.png", (image > 100).astype(np.uint8) * (255 if labels == "masks" else 1))
        return folder

    return make


def test_a_folder_of_images_and_labels(run, pairs, tmp_path):
    code, stdout, err = run("train", pairs(tmp_path / "in"), "--out", tmp_path / "out", "--seed", 3, *FAST)
    assert (code, err) == (0, "")
    assert "3 planes to train on, 1 plane to validate on, classes 0, 1, on cpu" in stdout
    assert "epoch 2/2  loss" in stdout and "validation Dice" in stdout and "is kept." in stdout
    rows = list(csv.DictReader((tmp_path / "out" / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    facts = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text())
    assert (facts["config"]["seed"], facts["config"]["epochs"]) == (3, 2)
    assert len(facts["training"]) == 3 and len(facts["validation"]) == 1
    assert len(facts["inputs"]) == 8 and all(len(i["sha256"]) == 64 for i in facts["inputs"])


def test_splits_are_used_and_the_test_split_is_scored(run, pairs, tmp_path):
    for split, first, count in (("train", 0, 3), ("val", 3, 1), ("test", 4, 2)):
        pairs(tmp_path / "er" / split, count, first, "masks")
    code, stdout, err = run("train", tmp_path / "er", "--out", tmp_path / "out", *FAST)
    assert (code, err) == (0, "")
    assert "3 planes to train on, 1 plane to validate on" in stdout
    assert "test, 2 images: Dice 0." in stdout and "AUC 0." in stdout


def test_a_run_is_repeated_from_its_yaml_alone(run, pairs, tmp_path):
    assert run("train", pairs(tmp_path / "in"), "--out", tmp_path / "a", "--loss", "dice", *FAST)[0] == 0
    code, _, err = run("train", "--config", tmp_path / "a" / "run.yaml", "--out", tmp_path / "b")
    assert (code, err) == (0, "")
    rows = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in "ab"]
    for one, two in zip(*rows, strict=True):
        assert {k: v for k, v in one.items() if "seconds" not in k} == {
            k: v for k, v in two.items() if "seconds" not in k
        }
    code, _, _ = run("train", "--config", tmp_path / "a", "--out", tmp_path / "c", "--loss", "iou")
    assert code == 0
    assert yaml.safe_load((tmp_path / "c" / "run.yaml").read_text())["config"]["loss"] == "iou"
    changed = next((tmp_path / "in" / "images").iterdir())
    shutil.copy(next(path for path in changed.parent.iterdir() if path != changed), changed)
    code, _, err = run("train", "--config", tmp_path / "a", "--out", tmp_path / "d")
    assert code == 0 and f"Warning: {changed.name} changed since the run that {tmp_path / 'a' / 'run.yaml'} desc" in err


def test_resume_overwrite_and_neither(run, pairs, tmp_path):
    folder, out = pairs(tmp_path / "in"), tmp_path / "out"
    assert run("train", folder, "--out", out, *FAST)[0] == 0
    code, _, err = run("train", folder, "--out", out, *FAST)
    assert code == 2 and "--resume" in err and "--overwrite" in err
    code, stdout, _ = run("train", folder, "--out", out, "--resume", *FAST[:-1], 3)
    assert code == 0 and "resumed after epoch 2" in stdout
    code, stdout, _ = run("train", folder, "--out", out, "--overwrite", *FAST)
    assert code == 0 and "resumed" not in stdout


def test_images_that_are_trained_and_validated_on_are_told(run, pairs, tmp_path):
    folder = pairs(tmp_path / "in")
    code, _, err = run("train", folder, "--val", folder, "--out", tmp_path / "out", *FAST)
    assert code == 0 and err.count("Warning") == 1 and "more of" in err and "trained on as well" in err
    code, _, err = run("train", folder, "--val", folder, "--out", tmp_path / "b", "--validation-fraction", 0.3, *FAST)
    assert code == 2 and err.endswith(
        "Error: --validation-fraction: there are images to validate on already; leave it out.\n"
    )


def test_several_classes_and_channels(run, blobs, save, tmp_path):
    for i in range(6):
        image, folder = blobs(seed=i), tmp_path / ("in" if i < 3 else "val")
        save(folder / "images" / f"{i}.png", np.stack([image, image // 2, 255 - image], -1))
        save(folder / "labels" / f"{i}.png", (image > 100).astype(np.uint8) + (image > 150))
    arguments = (tmp_path / "in", "--out", tmp_path / "out", "--channel", "all", "--val", tmp_path / "val", *FAST)
    code, stdout, err = run("train", *arguments)
    assert (code, err) == (0, "")
    assert "classes 0, 1, 2" in stdout and "validation mIoU" in stdout
    use = Model.load(tmp_path / "out").use
    assert (use.channels, use.classes) == (3, (0, 1, 2))


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("nowhere",), "nowhere is not a folder"),
        ((), "Name a folder with images and labels"),
        (("in", "--epochs", 0), "--epochs must be a whole number from 1 to 100000, not 0."),
        (("in", "--network", "vgg"), "'deeplabv3plus', 'deeplabv3' or 'hrnet', not 'vgg'."),
        (("in", "--classes", "0;1"), "write numbers separated by commas"),
        (("in", "--classes", "0,2"), "the label 1 is none of the classes 0 and 2"),
        (("in", "--set", "los=dice"), "los"),
        (("in", "--set", "loss=dice"), "use the option --loss"),
        (("in", "--config", "none.yaml"), "none.yaml cannot be read: there is no such file"),
        (("in", "--resume",), "nothing to resume"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(run, pairs, tmp_path, monkeypatch, arguments, sentence):
    pairs(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    code, _, err = run("train", *arguments, "--out", "out")
    assert code == 2
    assert sentence in err and err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a child")
def test_ctrl_c_saves_and_resume_goes_on(pairs, tmp_path, run):
    pairs(tmp_path / "in")
    code = "from napari_metastructure.cli.main import main; main()"
    command = [sys.executable, "-c", code, "train", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    command += [str(a) for a in FAST[:-1]] + ["500"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 150
    while not (tmp_path / "out" / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=150)
    assert process.returncode == 130, err
    assert "Stopped by the user" in out
    done = len(list(csv.DictReader((tmp_path / "out" / "metrics.csv").open())))
    code, stdout, err = run("train", tmp_path / "in", "--out", tmp_path / "out", "--resume", *FAST[:-1], done + 1)
    assert (code, err) == (0, "")
    assert f"resumed after epoch {done}" in stdout


def test_resume_and_overwrite_together_are_refused(run, pairs, tmp_path):
    pairs(tmp_path / "in")
    code, _, err = run("train", tmp_path / "in", "--out", tmp_path / "out", "--resume", "--overwrite")
    assert code == 2 and "give one of them" in err and not (tmp_path / "out").exists()


def test_a_full_disk_is_said_once_and_the_run_is_saved_beside(run, pairs, tmp_path, monkeypatch):
    write = RunFolder.write_metrics

    def full(folder, rows):
        if folder.path.name == "out":
            raise cannot_write(folder.path, OSError(errno.ENOSPC, ""))
        return write(folder, rows)

    monkeypatch.setattr(RunFolder, "write_metrics", full)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr("napari_metastructure.cli._progress.gettempdir", lambda: str(tmp_path / "temporary"))
    pairs(tmp_path / "in")
    code, out, err = run("train", tmp_path / "in", "--out", tmp_path / "out", *FAST)
    assert code == 1 and err.count("the disk is full") == 1 and f"Saving to {tmp_path / 'out-2'} instead." in err
    assert {p.name for p in (tmp_path / "out-2").iterdir()} == set(FILES)
    monkeypatch.setattr(RunFolder, "write_metrics", lambda folder, rows: full(RunFolder(tmp_path / "out"), rows))
    code, out, err = run("train", tmp_path / "in", "--out", tmp_path / "third", *FAST)
    assert code == 1 and "It could be saved nowhere." in err and "epoch 2" not in out
    assert not list(tmp_path.glob("**/third-2"))
