"""Runs in their folders: one at a time, and resumed as the same run or not at all."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from napari_metastructure.errors import InputError
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.pairs import pairs_of
from napari_metastructure.training.run_folder import FILES, RunFolder, read_config, read_state, write_state
from napari_metastructure.training.train import train

HOLD = """
import sys
from pathlib import Path
from napari_metastructure.training.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.lock()
(Path(sys.argv[1]) / ".1-00000000.tmp").rename(Path(sys.argv[1]) / f".{__import__('os').getpid()}-0123abcd.tmp")
print("locked", flush=True)
sys.stdin.read()
"""


def test_another_process_is_named_and_a_killed_one_leaves_nothing(tmp_path):
    (tmp_path / ".1-00000000.tmp").touch()
    (tmp_path / ".notes-x.tmp").touch()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match=rf"Another run is writing to .*\(process {process.pid} on .*, since 20"):
            RunFolder(tmp_path).lock()
    finally:
        process.kill()
        process.communicate()
    folder = RunFolder(tmp_path)
    folder.lock()
    assert {p.name for p in tmp_path.iterdir()} == {".lock", ".lock.txt", ".notes-x.tmp"}
    folder.unlock()
    assert {p.name for p in tmp_path.iterdir()} == {".notes-x.tmp"}


def test_two_runs_in_one_process_keep_out_of_each_others_folder(discs, small, tmp_path):
    pairs = pairs_of(*discs())
    first = train(pairs, small, folder=tmp_path)
    next(first)
    before = (tmp_path / ".lock.txt").read_text()
    assert f"process {os.getpid()} on " in before
    with pytest.raises(InputError, match="Another run is writing"):
        list(train(pairs, small.model_copy(update={"seed": 5}), folder=tmp_path))
    first.close()
    list(train(pairs, small, folder=tmp_path))
    assert {p.name for p in tmp_path.iterdir()} == set(FILES)


@pytest.fixture(scope="module")
def half(discs, small, tmp_path_factory):
    """A run of one epoch, its pairs, and the settings to go on with."""
    folder, pairs = tmp_path_factory.mktemp("run"), pairs_of(*discs())
    list(train(pairs, small.model_copy(update={"epochs": 1}), folder=folder))
    return folder, pairs, small.model_copy(update={"epochs": 2})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i, y: (i, [1 - m for m in y]), "The labels of image .* has changed"),
        (lambda i, y: ([x + 1 for x in i], y), "The image of image .* has changed"),
        (lambda i, y: (i[:-1], y[:-1]), "fewer images or labels than before"),
        (lambda i, y: ([*i, i[0]], [*y, y[0]]), "more images or labels than before"),
        (lambda i, y: (i[::-1], y[::-1]), "has changed"),
    ],
)
def test_a_run_of_other_images_or_labels_is_not_resumed_and_stays_as_it_was(half, discs, change, words):
    folder, _, config = half
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(InputError, match=words):
        list(train(pairs_of(*change(*discs())), config, folder=folder, resume=True))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def put(*keys):
    """Make a function that puts a value into nested dicts."""
    *way, last = keys[:-1]

    def change(state):
        inner = state
        for key in way:
            inner = inner[key]
        inner[last] = keys[-1]

    return change


def without(*keys):
    *way, last = keys

    def change(state):
        inner = state
        for key in way:
            inner = inner[key]
        del inner[last]

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(without(k) for k in ("config", "identity", "rows", "rng", "trainer", "schedule", "best")),
        *(without("trainer", k) for k in ("network", "optimizer", "scaler", "steps")),
        *(without("best", k) for k in ("epoch", "value", "network")),
        *(put(k, 5) for k in ("config", "identity", "rows", "rng", "trainer", "schedule", "best")),
        *(
            put("rows", v)
            for v in ([], [5], [{}], [{"epoch": "x"}], [{"epoch": 10**30}, {"epoch": 1}], [{"epoch": [1]}])
        ),
        *(put("config", v) for v in ("[" * 100_000, "9" * 10_000, "5", "null")),
        *(put("rng", v) for v in ("{}", "{", '{"bit_generator": "x"}', "9" * 10_000)),
        *(put("best", "epoch", v) for v in (0, -1, 99, 10**30, "x", None)),
        put("best", "network", {}),
        put("best", "network", {"head.bias": torch.zeros(9)}),
        put("trainer", "steps", "x"),
        put("trainer", "network", {}),
        put("trainer", "optimizer", {"state": {}, "param_groups": []}),
        put("trainer", "optimizer", "state", 0, "exp_avg", torch.zeros(7, 7)),
        put("trainer", "optimizer", "state", 0, "exp_avg", torch.zeros(1).expand(10**6, 10**6)),
        put("format", "napari-metastructure-x"),
    ],
)
def test_a_state_that_is_not_what_a_run_writes_is_one_sentence(half, tmp_path, change):
    folder, pairs, config = half
    state = read_state(folder / "last.pt")
    change(state)
    write_state(tmp_path / "last.pt", state)
    with pytest.raises(InputError, match=r"last\.pt is (damaged|of another version)") as refused:
        list(train(pairs, config, folder=tmp_path, resume=True))
    assert "\n" not in str(refused.value)
    assert {p.name for p in tmp_path.iterdir()} == {"last.pt"}


def test_a_run_from_before_a_setting_existed_took_its_default(half, tmp_path):
    folder, pairs, config = half
    state, description = read_state(folder / "last.pt"), yaml.safe_load((folder / "run.yaml").read_text())
    settings = json.loads(state["config"])
    del settings["reading"], description["config"]["reading"]
    write_state(tmp_path / "last.pt", {**state, "config": json.dumps(settings)})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(description))
    assert read_config(tmp_path, TrainConfig).reading == "auto"
    with pytest.raises(InputError, match="was made with reading = auto, not classes"):
        list(train(pairs, config.model_copy(update={"reading": "classes"}), folder=tmp_path, resume=True))
    assert list(train(pairs, config, folder=tmp_path, resume=True))[-1].best_epoch


class Hostile:
    def __reduce__(self):
        return bytearray, (10**11,)


def test_a_state_that_asks_for_memory_or_code_is_refused(tmp_path):
    for name, hostile in (("a", Hostile()), ("b", np.zeros(2)), ("c", os.getcwd)):
        path = tmp_path / name
        torch.save({"format": "napari-metastructure-state/2", "x": hostile}, path)
        with pytest.raises(InputError, match="damaged or of another program"):
            read_state(path)


def test_a_state_of_before_and_the_run_yaml_of_now(half, tmp_path):
    torch.save({"format": "napari-metastructure-run/1"}, tmp_path / "last.pt")
    with pytest.raises(InputError, match="of another version"):
        read_state(tmp_path / "last.pt")
    assert yaml.safe_load((half[0] / "run.yaml").read_text())["config"]["epochs"] == 1
