"""Several processes under torchrun, here two on a CPU: what one comes to, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from napari_metastructure.cli import batch
from napari_metastructure.cli.main import app, main
from napari_metastructure.errors import InputError
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.training import distributed
from napari_metastructure.training.control import Control
from napari_metastructure.training.distributed import ALONE, Ranks
from napari_metastructure.training.events import BatchFinished, Finished
from napari_metastructure.training.train import train

sys.path.insert(0, str(Path(__file__).parent))
from several import IGTT, STEPS, TRAIN, blobs, network_step, training_pairs

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo"),
    pytest.mark.skipif(os.name == "nt", reason="processes are stopped and killed by signals"),
]

TWICE = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")

COMMAND = """
import os, signal, sys
from napari_metastructure.cli.main import main
from napari_metastructure.errors import InputError
from napari_metastructure.training import patches

calls, real = [], patches.PatchSampler.draw

def draw(self, *more):
    calls.append(1)
    if len(calls) == 6 and os.environ["RANK"] == "1":
        {odd}
    return real(self, *more)

patches.PatchSampler.draw = draw
main({arguments})
"""
"""The command, in which something happens to the second process in its sixth step."""

ENDS = {
    "stopped": "os.kill(os.getppid(), signal.SIGTERM)",
    "failed": 'raise InputError("That image can no longer be read.")',
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
}

OPTIONS = ("--device", "cpu", "--epochs", "4", "--set", "steps_per_epoch=4", "--set", "patch_size=64")
OPTIONS = (*OPTIONS, "--set", "base_channels=4", "--set", "augment=full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a training set."""
    folder = tmp_path_factory.mktemp("several")
    for number, (image, mask) in enumerate(zip(*blobs(5), strict=True)):
        for kind, pixels in (("images", image), ("labels", mask)):
            (folder / "set" / kind).mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(pixels.astype(np.uint8)).save(folder / "set" / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def launched(folder, root):
    """What torchrun starts side by side, the library before the command that fails: what they print, and exit codes."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1", "RANK": ""}
    del environment["RANK"]
    calls = {}
    for name, odd in ENDS.items():
        command = ("train", str(folder / "set"), "--out", str(folder / name), *OPTIONS)
        calls[name] = ("-c", COMMAND.format(odd=odd, arguments=command))
    calls["failed"] = (str(Path(__file__).with_name("several.py")), str(folder), calls["failed"][1])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment}
    running = {name: subprocess.Popen([*TWICE, sys.executable, *call], **pipes) for name, call in calls.items()}
    return {name: (one.communicate(timeout=120)[0], one.returncode) for name, one in running.items()}


@pytest.fixture(scope="module")
def found(launched, folder):
    """What each of the two processes found by calling the library."""
    assert (folder / "found-1.pt").exists(), launched["failed"][0]
    return [torch.load(folder / f"found-{rank}.pt", weights_only=False) for rank in range(2)]


def close(some, others, tolerance=1e-3):
    """Compare the weights of two networks."""
    assert some.keys() == others.keys()
    for name in some:
        torch.testing.assert_close(some[name], others[name], rtol=tolerance, atol=tolerance)


@cache
def alone():
    """The same training in one process: the last event, and the losses of its steps."""
    events = list(train(training_pairs(), TRAIN))
    return events[-1], [event.loss for event in events if isinstance(event, BatchFinished)]


# ---- What they come to


def test_training_comes_to_what_one_process_comes_to(found):
    last, losses = alone()
    for each in found:
        np.testing.assert_allclose(each["losses"], losses, rtol=1e-3)
        close(each["train"], last.model.network.state_dict())
        assert each["scores"].dice == pytest.approx(last.scores.dice, abs=5e-3)
    assert found[0]["losses"] == found[1]["losses"]
    close(found[0]["train"], found[1]["train"], 0)


@pytest.mark.parametrize("step", STEPS)
def test_the_gradients_of_every_loss_are_those_of_the_whole_batch(found, step):
    """Unequal shares with unequal numbers of unlabelled pixels."""
    gradients, buffers = network_step(ALONE, *step)
    for each in found:
        close(each["steps"][step][0], gradients, 1e-4)
        close(each["steps"][step][1], buffers, 1e-6)


def test_igtt_gives_the_masks_of_one_process_to_all(found):
    for start in ("prior", "fusion"):
        *_, last = iterate(blobs(5)[0], IGTT.model_copy(update={"start": start}))
        assert isinstance(last, Finished)
        for each in found:
            event = each["igtt", start]
            assert (event.stopped, event.reason, event.epoch) == (last.stopped, last.reason, last.epoch)
            differ = [np.mean(a != b) for a, b in zip(event.masks, last.masks, strict=True)]
            assert max(differ) < 0.005
            for mine, first in zip(event.masks, found[0]["igtt", start].masks, strict=True):
                np.testing.assert_array_equal(mine, first)


def test_a_run_stopped_in_one_process_stops_in_all_and_goes_on_in_any_number(found, folder):
    """Stopped in the second epoch by the second process, then resumed by both, and by one."""
    assert [each["stopped at"] for each in found] == [found[0]["stopped at"]] * 2
    assert found[0]["stopped at"] < (3, 1)
    *_, last = train(training_pairs(), TRAIN, folder=folder / "one goes on", resume=True)
    whole, _ = alone()
    close(last.model.network.state_dict(), whole.model.network.state_dict())
    for each in found:
        close(each["resumed"], whole.model.network.state_dict())
    for event in (found[0]["igtt resumed"], list(iterate(blobs(5)[0], IGTT, folder=folder / "i", resume=True))[-1]):
        for mine, theirs in zip(event.masks, found[0]["igtt", "prior"].masks, strict=True):
            assert np.mean(mine != theirs) < 0.005


def test_a_pause_in_one_process_holds_all(found):
    assert all(each["paused"] > 0 for each in found)


def test_one_process_writes(found, folder):
    assert sorted(p.name for p in (folder / "whole").iterdir()) == [
        "last.pt",
        "metrics.csv",
        "model.safetensors",
        "run.yaml",
    ]
    assert found[1]["saved"] == [] and found[0]["saved"]


def test_what_one_process_cannot_do_is_said_in_all(found):
    assert [each["refused"] for each in found] == ["Piece 3 cannot be done."] * 2
    assert [each["shared"] for each in found] == [[0, 1, 4, 9, 16]] * 2


# ---- The command


def test_sigterm_to_torchrun_stops_the_run_and_resumed_it_is_the_undisturbed_one(launched, folder, capsys):
    said, code = launched["stopped"]
    assert code != 0 and said.count("Stopped by the user") == 1 and said.count("to train on") == 1
    assert "terminate called" not in said
    assert {"last.pt", "model.safetensors"} < {p.name for p in (folder / "stopped").iterdir()}
    for out, more in (("stopped", ["--resume"]), ("undisturbed", [])):
        with pytest.raises(SystemExit) as ended:
            main(["train", str(folder / "set"), "--out", str(folder / out), *OPTIONS, *more])
        assert not ended.value.code
    close(*(load_file(folder / out / "model.safetensors") for out in ("stopped", "undisturbed")), tolerance=5e-3)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("failed", "That image can no longer be read."), ("killed", "Another process of this run has ended")],
)
def test_an_error_in_one_process_ends_all_with_one_sentence(launched, folder, name, sentence):
    said, code = launched[name]
    assert code != 0 and said.count("\nError: ") == 1 and f"Error: {sentence}" in said
    assert "Stopping after" not in said
    assert not (folder / name / ".lock").exists() and (folder / name / "last.pt").exists()


def test_other_commands_are_refused_before_they_do_anything(monkeypatch, tmp_path):
    for name in distributed.TORCHRUN_VARIABLES:
        monkeypatch.setenv(name, "0")
    with pytest.raises(InputError, match="metastructure predict is not shared out to several processes"):
        app(["predict", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "no")])
    assert not (tmp_path / "no").exists()


def test_a_batch_is_refused_in_all_processes(monkeypatch, tmp_path):
    monkeypatch.setattr(batch, "join", lambda: Ranks(1, 2, store=object()))
    with pytest.raises(InputError, match="start it without torchrun, with --scheduler local:N"):
        batch.shared_out([tmp_path], tmp_path / "no", None, {}, False, False)
    assert not (tmp_path / "no").exists()


# ---- One process


def test_without_torchrun_there_is_one_process_that_nothing_is_imported_for(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert distributed.join() is ALONE and ALONE.first and ALONE.alone
    assert ALONE.shared_out(3, lambda mine: [n**2 for n in mine]) == [0, 1, 4]
    x = torch.ones(2)
    assert ALONE.total(x) is x and ALONE.parallel(x, torch.device("cpu")) is x


@pytest.mark.parametrize(("size", "count"), [(1, 4), (2, 5), (4, 4), (3, 2), (7, 100)])
def test_shares_are_even_and_leave_nothing_out(size, count):
    shares = [range(*Ranks(rank, size, store=object()).share(count)) for rank in range(size)]
    assert [n for share in shares for n in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_that_not_all_get_a_patch_of_is_refused():
    several = Ranks(1, 4, store=object())
    with pytest.raises(InputError, match="Batches of 2 cannot be shared out to 4 processes; set batch_size to 4"):
        several.check_batch(2)
    several.check_batch(5)


def test_a_device_for_one_is_refused_and_the_cpu_is_taken_by_all():
    several = Ranks(1, 2, store=object())
    with pytest.raises(InputError, match="'cuda:1' is one, and there are several processes"):
        several.resolve("cuda:1")
    assert several.resolve("cpu").type == "cpu"


def test_processes_without_a_gpu_of_their_own_are_told(monkeypatch):
    monkeypatch.setattr("napari_metastructure.networks.device.resolve", torch.device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert Ranks(2, 4, local=0, store=object()).resolve("cuda") == torch.device("cuda", 0) and chosen == [0]
    with pytest.raises(InputError, match=r"found no GPU of its own, for there are 1; .* \(--nproc-per-node 1\)"):
        Ranks(3, 4, local=1, store=object()).resolve("cuda")


@pytest.mark.parametrize("rank", ["", "one", "3"])
def test_an_environment_that_no_torchrun_made_is_said(monkeypatch, rank):
    for name, value in zip(distributed.TORCHRUN_VARIABLES, (rank, "2", "localhost", "70000"), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="cannot join at localhost:70000"):
        distributed.join()


def test_stops_are_seen_between_pieces_that_are_shared_out():
    control = Control()
    check = Ranks(0, 2, store=object()).stopping(control)
    control.pause()
    check()  # a pause waits for a place that all come to
    control.stop()
    with pytest.raises(distributed.Stopped):
        check()
