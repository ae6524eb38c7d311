"""The GPU check: all of its steps on the CPU, and what becomes of steps that fail, hang or die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

STEPS = ["doctor", "iGTT", "training", "prediction", "memory", "stop and resume", "determinism", "several GPUs"]


@pytest.fixture(scope="module")
def check(root, tmp_path_factory):
    """The command, run on the CPU: its exit code, what it printed, and the folder it wrote."""
    folder = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, root / "scripts" / "gpu_check.py", "--out", folder, "--device", "cpu"]
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    return done.returncode, done.stdout, folder


@pytest.fixture
def parts(root, monkeypatch):
    """Makes the modules of the check importable."""
    monkeypatch.syspath_prepend(str(root / "scripts"))


@pytest.mark.timeout(700)
def test_every_step_runs_on_the_cpu_and_says_so(check):
    code, printed, folder = check
    found = json.loads((folder / "gpu.json").read_text())
    rows = found["rows"]
    assert list(dict.fromkeys(row["step"] for row in rows)) == STEPS
    assert not found["on_gpu"] and "CPU" in found["device"]
    assert [row for row in rows if row["status"] in ("failed", "skipped")] == []
    assert [row["what"] for row in rows if row["status"] == "missed"] == []
    assert code == 0
    table = (folder / "gpu.md").read_text()
    assert "**CPU**: the same steps at the smallest sizes" in table and "**" not in printed
    for row in rows:
        assert f"| {row['what']} |" in table and row["what"] in printed


@pytest.mark.timeout(700)
def test_every_point_has_its_rows(check):
    rows = {row["what"]: row for row in json.loads((check[2] / "gpu.json").read_text())["rows"]}

    def some(*words):
        found = [row for what, row in rows.items() if all(word in what for word in words)]
        assert found, words
        return found

    assert [row["value"] for row in some("precision of the engine")] == ["torch.float32"] * 2
    for name in ("crops", "frame"):
        for word in ("first masks", "final masks", "outside the network", "Dice", "another seed"):
            some(name, word)
        assert [row["value"] for row in some(name, "the CPU decides")] == [0]
    assert [row["target"] for row in some("crops", "final masks")] == ["<= 10 s"]
    for network in ("light-unet", "unet", "deeplabv3plus", "hrnet"):
        for precision in ("mixed", "float32"):
            for row in some(network, "batch", precision):
                assert row["value"] > 0 and row["target"] == ">= 85% on the device" and row["status"] == ""
                assert "on the device" in row["more"] and row["more"]["loss"] > 0
        some(network, "mixed less float32")
    assert {row["target"] for row in some("x", "uint16")} == {"<= 20 s"}
    for kind in ("training", "iGTT"):
        assert [row["status"] for row in some(kind, "less before")] == ["ok"]
        assert "going on with" in some(kind, "too little memory")[0]["note"]
        for word in ("Pause", "Stop", "kill -9", "resumed on"):
            some(kind, word)
    assert [row["status"] for row in some("processes or one")] == ["ok"] * 3


STEPS_THAT_FAIL = """
import os, time
def good(step):
    step.row("works", 1.5, "s")
def refuse(step):
    step.row("before", "it")
    with step.part("one part"):
        raise ValueError("no such thing\\nat all")
    step.row("after", "it")
    raise KeyError("elsewhere")
def late(step):
    while True:
        step.check_time()
        time.sleep(0.01)
def hang(step):
    step.row("before", "the end")
    time.sleep(3600)
def die(step):
    os._exit(7)
"""


def test_a_step_that_fails_hangs_or_dies_is_a_row_and_the_next_one_goes_on(parts, monkeypatch, tmp_path, capsys):
    from gpu.report import Report
    from gpu.worker import Job, run

    (tmp_path / "steps_that_fail.py").write_text(STEPS_THAT_FAIL)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("refuse", "die", "hang", "late", "good")
    jobs = [Job(name, f"steps_that_fail:{name}", 0.001 if name in ("hang", "late") else 1) for name in names]
    report = Report(tmp_path)
    run(jobs, "cpu", 300, report)  # would not end within the hour if it waited for the one that hangs
    rows = [(row.step, row.what, row.status) for row in report.rows if row.what != "the whole step"]
    assert rows == [
        ("refuse", "before", ""),
        ("refuse", "one part", "failed"),
        ("refuse", "after", ""),
        ("refuse", "the step", "failed"),
        ("die", "the step", "failed"),
        ("hang", "before", ""),
        ("hang", "the step", "failed"),
        ("late", "the step", "skipped"),
        ("good", "works", ""),
    ]
    notes = {row.step: row.note for row in report.bad}
    assert "KeyError" in notes["refuse"] and "exit code 7" in notes["die"] and "did not end within" in notes["hang"]
    (part,) = [row for row in report.rows if row.what == "one part"]
    assert part.note == "ValueError: no such thing" and "Traceback" in part.trace
    assert "ValueError: no such thing" in (tmp_path / "gpu.md").read_text()
    assert "Traceback" in (tmp_path / "gpu.json").read_text()


def test_a_part_that_has_no_time_left_is_skipped_and_ends_the_step(parts):
    import torch
    from gpu.measure import OutOfTime, Step

    rows = []
    step = Step("late", torch.device("cpu"), -1, rows.append)
    with pytest.raises(OutOfTime), step.part("first"):
        pytest.fail("It was begun.")
    assert [(row.what, row.status) for row in rows] == [("first", "skipped")]


def test_without_time_or_device_every_step_is_a_row(parts, tmp_path, capsys):
    from gpu.report import Report
    from gpu.worker import Job, run

    jobs = [Job(name, "gpu.speed:doctor", 1) for name in ("one", "two")]
    report = Report(tmp_path)
    run(jobs, "cpu", 0, report)
    assert [(row.step, row.status) for row in report.rows] == [("one", "skipped"), ("two", "skipped")]
    report = Report(tmp_path)
    run(jobs[:1], "cuda:99", 120, report)
    assert [(row.step, row.status) for row in report.rows] == [("one", "failed")]
    assert "cuda:99" in report.rows[0].note


def test_rows_as_they_are_shown(parts, tmp_path, capsys):
    from gpu.report import Report, Row

    report = Report(tmp_path)
    more = {"loss": float("nan"), "a|b": 1234.5}
    report.add(Row("a step", "speed", 12.345678, "s", "<= 10 s", "missed", "slow", more))
    text = (tmp_path / "gpu.md").read_text()
    assert r"| speed | 12.3 s | <= 10 s | missed | loss nan; a\|b 1234; slow |" in text
    assert "0 ok, 1 missed" in text
    row = json.loads((tmp_path / "gpu.json").read_text(), parse_constant=pytest.fail)["rows"][0]
    assert row["value"] == 12.345678 and row["more"]["loss"] is None


def test_the_device_works_for_the_union_of_its_intervals(parts):
    from gpu.measure import covered

    assert covered([(5, 6), (0, 2), (1, 3), (1, 2)]) == 4
    assert covered([]) == 0


def test_a_profiler_that_does_not_work_costs_its_number_only(parts, monkeypatch):
    import torch
    from gpu.measure import Busy

    def refuse(*_):
        raise RuntimeError("no CUPTI here")

    cpu = torch.device("cpu")
    with Busy(cpu) as busy:
        torch.zeros(1000).sum()
    assert busy.seconds > 0 and not busy.trouble
    monkeypatch.setattr(torch.profiler.profile, "__enter__", refuse)
    monkeypatch.setattr(torch.profiler.profile, "__exit__", refuse)
    with Busy(cpu) as busy:
        torch.zeros(1000).sum()
    assert busy.seconds != busy.seconds and "no CUPTI here" in busy.trouble[0]


def test_memory_that_is_kept_is_seen(parts):
    import torch
    from gpu.measure import memory

    cpu = torch.device("cpu")
    (before,) = memory(cpu).values()
    held = torch.zeros(2**20)
    (after,) = memory(cpu).values()
    assert after - before == held.nbytes


def test_peaks_of_the_host(root):
    # In a process of its own: what the tests before it give back meanwhile would be taken off the peak.
    code = """
import numpy as np, torch
from gpu.measure import MIB, Peaks
with Peaks(torch.device("cpu")) as peaks:
    held = np.ones(64 * MIB // 8)
assert 60 < peaks.host < 100, peaks.host
assert peaks.more == {"host MiB": peaks.host}
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root / "scripts")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=150)
    assert done.returncode == 0, done.stderr


def test_samples(parts):
    from gpu.measure import Sampled

    with Sampled(lambda: 1 / 0, 0.001) as broken:
        pass
    assert broken.values == []
    with Sampled(lambda: 7.0, 0.001) as working:
        pass
    assert set(working.values) == {7.0} and len(working.values) >= 2


@pytest.fixture
def card(monkeypatch):
    """Plays a card of 80 GiB, as far as asking it goes; it cannot compute."""
    import shutil

    import torch

    facts = SimpleNamespace(total_memory=80 * 2**30, major=9, minor=0)
    answers = {
        "get_device_properties": facts, "is_bf16_supported": True, "synchronize": None, "memory_allocated": 3 * 2**20,
        "memory_reserved": 5 * 2**20, "reset_peak_memory_stats": None, "max_memory_allocated": 7 * 2**20,
        "utilization": 93,
    }  # fmt: skip
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    return torch.device("cuda:0")


def test_what_a_card_tells(parts, card, monkeypatch):
    from gpu import speed
    from gpu.measure import FULL, Peaks, Step, memory, sizes_of, utilisation

    monkeypatch.setattr(speed, "_precision", lambda step: {"training": "torch.bfloat16"})
    assert memory(card) == {"allocated": 3 * 2**20, "reserved": 5 * 2**20}
    with Peaks(card) as peaks, utilisation(card) as used:
        pass
    assert peaks.more["device MiB"] == 7 and set(used.values) == {93.0}
    rows = []
    step = Step("doctor", card, 60, rows.append)
    assert sizes_of(step) is FULL
    speed.doctor(step)
    told = {row.what: row.value for row in rows if row.status == ""}
    assert (told["memory of the card"], told["compute capability"], told["bfloat16"]) == (80, "9.0", "supported")
    assert "nvidia-smi" in told["driver"]
    assert {row.what for row in rows if row.status == "failed"} == {
        f"convolution in torch.{dtype}" for dtype in ("float32", "bfloat16", "float16")
    }


def test_targets_are_judged_on_a_card_only(parts):
    import torch
    from gpu.measure import Step

    def status(device, **row):
        rows = []
        Step("a step", torch.device(device), 60, rows.append).row("speed", 1.0, target="more", **row)
        return rows[0].status

    assert [status("cuda:0", ok=ok, judged=False) for ok in (True, False)] == ["ok", "missed"]
    assert [status("cpu", ok=ok, judged=False) for ok in (True, False)] == ["", ""]
    assert [status("cpu", ok=ok) for ok in (True, False, None)] == ["ok", "missed", ""]


def test_float32_means_no_mixed_precision(parts, monkeypatch):
    import torch
    from gpu.measure import float32

    from napari_metastructure.networks import predict
    from napari_metastructure.training import loop

    half = lambda device, training=False: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    monkeypatch.setattr(loop, "mixed_precision", half)
    monkeypatch.setattr(predict, "mixed_precision", half)
    cpu = torch.device("cpu")
    for module in (loop, predict):
        with module.mixed_precision(cpu):
            assert torch.is_autocast_enabled("cpu")
        with float32(), module.mixed_precision(cpu, training=True):
            assert not torch.is_autocast_enabled("cpu")
        assert module.mixed_precision is half


@pytest.mark.parametrize("cuda", [False, True])
def test_a_squeezed_device(parts, monkeypatch, cuda):
    """On the CPU a stand-in; on a card (played here) one allocation takes all but what is to be left."""
    import torch
    from gpu.measure import squeezed

    layer = torch.nn.Linear(1, 1)
    if not cuda:
        with squeezed(torch.device("cpu"), 0, most=2) as how:
            layer(torch.zeros(2, 1))
            with pytest.raises(torch.OutOfMemoryError):
                layer(torch.zeros(3, 1))
        layer(torch.zeros(3, 1))
        assert "simulated" in how
        return
    taken = []
    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: taken.append("emptied"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100 * 2**20, 200 * 2**20))
    monkeypatch.setattr(torch, "empty", lambda size, **_: taken.append(size) or empty(size, dtype=torch.uint8))
    with squeezed(torch.device("cuda:0"), 30 * 2**20, most=2) as how:
        assert taken == ["emptied", 70 * 2**20]
    assert taken[-1] == "emptied" and "held 70 MiB, 30 MiB were left" in how
