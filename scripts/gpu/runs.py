"""Steps 5 to 8 of a GPU check: memory given back, stop and resume, the same seed twice, several GPUs."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from gpu import measure
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control
from napari_metastructure.training.distributed import ALONE, Ranks, join
from napari_metastructure.training.events import BatchFinished, Event, Finished, Saved, TrainFinished, Warned
from napari_metastructure.training.pairs import pairs_of
from napari_metastructure.training.train import train

Kind = Literal["training", "iGTT"]
KINDS: tuple[Kind, ...] = ("training", "iGTT")

ROUNDING = 0.01
"""Mean difference of probabilities that rounding makes in a few steps on a GPU; a CPU repeats itself exactly."""


# ---- runs that steps 5 to 8 begin, stop and compare --------------------------------------------------------------


def begin(
    step: measure.Step,
    kind: Kind,
    device: str,
    *,
    epochs: int = 3,
    batch: int = 2,
    network: str = "light-unet",
    control: Control | None = None,
    folder: Path | None = None,
    resume: bool = False,
    ranks: Ranks = ALONE,
) -> Iterator[Event]:
    """Start a short run of either kind, always on the same images."""
    sizes = measure.sizes_of(step)
    images, masks = measure.scenes(4, (sizes.side, sizes.side))
    common = {
        "device": device,
        "epochs": epochs,
        "batch_size": batch,
        "patch_size": sizes.patch,
        "seed": 0,
        "steps_per_epoch": sizes.short,
    }
    if kind == "iGTT":
        config = IGTTConfig.from_preset("default", **common, rounds="always", stop_agreement=1.0)
        return iterate(images, config, control, folder=folder, resume=resume, ranks=ranks)
    settings = TrainConfig.from_preset("default", **common, network=network, validation_fraction=0)
    return train(pairs_of(images, masks), settings, control, folder=folder, resume=resume, ranks=ranks)


def result(step: measure.Step, kind: Kind, events: Iterator[Event]) -> list[np.ndarray]:
    """Return the foreground probabilities that a run ends with, of the images it had."""
    *_, last = step.timely(events)
    if kind == "iGTT":
        assert isinstance(last, Finished)
        return list(last.probabilities)
    assert isinstance(last, TrainFinished) and last.model is not None
    images, _ = measure.scenes(4, (measure.sizes_of(step).side,) * 2)
    return [p for p in (last.model.predict(image, "cpu").probability for image in images) if p is not None]


@dataclass(frozen=True)
class Apart:
    """How far two results are from each other."""

    mean: float
    most: float
    masks: float

    @property
    def more(self) -> dict[str, float | str]:
        """For a row whose value is the mean."""
        return {"greatest": self.most, "masks differ at": f"{100 * self.masks:.3g} %"}


def apart(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> Apart:
    gaps = np.concatenate([np.abs(a - b).ravel() for a, b in zip(some, others, strict=True)])
    return Apart(
        float(gaps.mean()), float(gaps.max()), measure.differing([a > 0.5 for a in some], [b > 0.5 for b in others])
    )


# ---- 5: memory ---------------------------------------------------------------------------------------------------


class _Injected(RuntimeError):
    """The fault that runs are made to fail of."""


def memory_use(step: measure.Step) -> None:
    """Check that runs give all memory back, and that one which lacks memory goes on with less at once."""
    ways = (_ended, _failing, _stopped)  # the last of 5 or 20 is one that fails
    for kind in KINDS:
        with step.part(f"{kind}: memory given back"):
            for way in ways:
                way(step, kind)
            before = measure.memory(step.device)
            for number in range(measure.sizes_of(step).runs):
                step.check_time()
                ways[number % len(ways)](step, kind)
            after = measure.memory(step.device)
            for name in before:
                grown = (after[name] - before[name]) / measure.MIB
                step.row(
                    f"{kind}: {name} after {measure.sizes_of(step).runs} runs, less before",
                    grown, "MiB", "within 1 MB", abs(after[name] - before[name]) <= 1e6,
                    more={"before": before[name] / measure.MIB},
                )  # fmt: skip
    for kind in KINDS:
        with step.part(f"{kind}: out of memory"):
            _out_of_memory(step, kind)


def _ended(step: measure.Step, kind: Kind) -> None:
    for _ in begin(step, kind, str(step.device), epochs=1):
        pass


def _stopped(step: measure.Step, kind: Kind) -> None:
    control = Control()
    for event in begin(step, kind, str(step.device), epochs=2, control=control):
        if isinstance(event, BatchFinished) and event.batch == 2:
            control.stop()


def _failing(step: measure.Step, kind: Kind) -> None:
    """Start a run whose network fails in the middle of a step."""
    batches = layers = 0

    def fail(network: torch.nn.Module, _: Any) -> None:
        nonlocal layers
        layers += batches == 2 and network.training
        if layers == 10:
            raise _Injected("an injected fault")

    with measure.forward_hook(fail):
        try:
            for event in begin(step, kind, str(step.device), epochs=2):
                batches += isinstance(event, BatchFinished)
        except _Injected:
            return
    raise RuntimeError("A run with an injected fault did not fail.")


def _out_of_memory(step: measure.Step, kind: Kind) -> None:
    """Run on a card that another allocation holds: the run has to go on with fewer patches at once, and say so."""
    batch = 64 if step.on_gpu else 4
    with measure.Peaks(step.device) as peaks:
        for _ in step.timely(begin(step, kind, str(step.device), epochs=1, batch=batch)):
            pass
    leave = int(max(0.35 * peaks.on_device, 64) * measure.MIB)
    messages, done = [], False
    with measure.squeezed(step.device, leave, most=batch // 2) as how:
        for event in step.timely(begin(step, kind, str(step.device), epochs=1, batch=batch)):
            if isinstance(event, Warned):
                messages.append(event.message)
            done = isinstance(event, Finished | TrainFinished)
    told = [m for m in messages if "memory" in m.lower() and f"instead of {batch}" in m]
    step.row(
        f"{kind}: batch {batch} in too little memory", "went on" if done else "did not end",
        target="a warning, and on", ok=done and bool(told),
        note="; ".join([how, *(told or ["no warning"])]), more=peaks.more,
    )  # fmt: skip


# ---- 6: stop, pause, kill, resume --------------------------------------------------------------------------------


def stopping(step: measure.Step) -> None:
    """Stop and pause act within one batch; a run that was killed or changed its device goes on to the same result."""
    for kind in KINDS:
        with step.part(f"{kind}: stop and pause"):
            _stop_and_pause(step, kind)
    for kind in KINDS:
        with step.part(f"{kind}: resume"), tempfile.TemporaryDirectory() as place:
            _resume(step, kind, Path(place))


def _stop_and_pause(step: measure.Step, kind: Kind) -> None:
    """Steer a run from another thread, as a window does."""
    control, finished, batches, errors = Control(), threading.Event(), [0], []

    def go() -> None:
        try:
            for event in begin(step, kind, str(step.device), epochs=10_000, control=control):
                batches[0] += isinstance(event, BatchFinished)
        except Exception as error:
            errors.append(error)
        finished.set()

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        wait(step, lambda: batches[0] >= 3 or finished.is_set())
        control.pause()
        paused = batches[0]
        _settled(step, batches)
        after_pause = batches[0] - paused
        control.resume()
        wait(step, lambda: batches[0] > paused + after_pause + 1 or finished.is_set())
    finally:
        control.stop()
        began, stopped = time.perf_counter(), batches[0]
        finished.wait(60)
    if errors:
        raise errors[0]
    step.row(f"{kind}: batches after Pause", after_pause, target="<= 1", ok=after_pause <= 1)
    step.row(
        f"{kind}: batches after Stop", batches[0] - stopped, target="<= 1",
        ok=finished.is_set() and batches[0] - stopped <= 1, more={"s to the end": time.perf_counter() - began},
    )  # fmt: skip


def wait(step: measure.Step, until: Any) -> None:
    """Look now and then, as long as there is time."""
    while not until():
        step.check_time()
        time.sleep(0.005)


def _settled(step: measure.Step, batches: list[int]) -> None:
    """Wait until no batch has ended for half a second, or too many have."""
    first = seen = batches[0]
    since = time.monotonic()
    while time.monotonic() - since < 0.5 and batches[0] < first + 5:
        step.check_time()
        time.sleep(0.02)
        if batches[0] != seen:
            seen, since = batches[0], time.monotonic()


def _resume(step: measure.Step, kind: Kind, place: Path) -> None:
    """After ``kill -9`` on the same device, and from the one device to the other."""
    here = str(step.device)
    whole = result(step, kind, begin(step, kind, here))
    again = apart(whole, result(step, kind, begin(step, kind, here)))
    allowed = max(ROUNDING, 3 * again.mean) if step.on_gpu else 1e-6
    with step.part(f"{kind}: resumed after kill -9"):
        _kill(step, kind, place / "killed")
        found = apart(whole, result(step, kind, begin(step, kind, here, folder=place / "killed", resume=True)))
        step.row(
            f"{kind}: kill -9 and resume or undisturbed, difference of P", found.mean,
            target=f"mean <= {allowed:.2g}", ok=found.mean <= allowed,
            more={**found.more, "two undisturbed runs": again.mean},
        )  # fmt: skip
    for first, second in dict.fromkeys([("cpu", here), (here, "cpu")]):  # without a GPU these are one
        with step.part(f"{kind}: begun on {first}, resumed on {second}"):
            folder = place / f"{first}-{second}".replace(":", "")
            for _ in step.timely(begin(step, kind, first, epochs=1, folder=folder)):
                pass
            found = apart(whole, result(step, kind, begin(step, kind, second, folder=folder, resume=True)))
            step.row(
                f"{kind}: {first} and resumed on {second} or {here}, difference of P", found.mean,
                target=f"mean <= {allowed:.2g}", ok=found.mean <= allowed, more=found.more,
            )  # fmt: skip


def _kill(step: measure.Step, kind: Kind, folder: Path) -> None:
    """Let a process begin a run and kill itself in its second epoch."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_run_and_die, args=(str(step.device), kind, folder))
    process.start()
    wait(step, lambda: not process.is_alive())
    if process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"The process that was to be killed ended with exit code {process.exitcode}.")


def _run_and_die(device: str, kind: Kind, folder: Path) -> None:
    """In a process of its own: stops dead two batches after the state to resume from was written."""
    step, saved = measure.Step("killed", torch.device(device), 600, lambda row: None), False
    for event in begin(step, kind, device, folder=folder):
        saved = saved or (isinstance(event, Saved) and event.path.name == "last.pt")
        if saved and isinstance(event, BatchFinished) and event.batch == 2:
            os.kill(os.getpid(), signal.SIGKILL)


# ---- 7: determinism ----------------------------------------------------------------------------------------------


def determinism(step: measure.Step) -> None:
    """Run the same seed twice, and report what differs."""
    here = str(step.device)
    runs: list[tuple[Kind, str]] = [("iGTT", "light-unet"), *(("training", network) for network in measure.NETWORKS)]
    for kind, network in runs:
        name = f"{kind}, {network}: the same seed twice, difference of P"
        with step.part(name):
            epochs = 3 if step.on_gpu else 1
            one, two = (result(step, kind, begin(step, kind, here, network=network, epochs=epochs)) for _ in range(2))
            found = apart(one, two)
            exact = found.most == 0
            step.row(
                name, "identical" if exact else found.mean, target="" if step.on_gpu else "identical on a CPU",
                ok=None if step.on_gpu else exact, more={} if exact else found.more,
            )  # fmt: skip


# ---- 8: all GPUs of the machine under torchrun, against one ------------------------------------------------------

RANK_RUNS: tuple[tuple[Kind, str], ...] = (("training", "light-unet"), ("training", "unet"), ("iGTT", "fast-unet"))
"""Kind and network; the unet has batch normalisation, which makes rounding large in a few steps."""

CALL = "import sys; from gpu.runs import work; work(*sys.argv[1:])"

CPU_PROCESSES = 2

YARDSTICK = "two runs of one process"
"""How far rounding takes two runs apart that should be the same."""


def several(step: measure.Step) -> None:
    """Compare runs of as many processes as there are GPUs, each with its own, with runs of one process."""
    processes = torch.cuda.device_count() if step.on_gpu else CPU_PROCESSES
    step.row("processes under torchrun", str(processes), note="" if step.on_gpu else "over gloo, on the CPU")
    with tempfile.TemporaryDirectory() as place:
        with step.part("torchrun"):
            _launch(step, processes, (str(2 * processes), place))
        for kind, network in RANK_RUNS:
            with step.part(f"{kind}, {network}: {processes} processes"):
                found = list(np.load(Path(place) / f"{kind}-{network}.npy"))
                alone, again = (_alone(step, kind, network, 2 * processes, onednn) for onednn in (True, False))
                gap, rounding = apart(alone, found), apart(alone, again).mean
                allowed = max(ROUNDING, 3 * rounding)
                step.row(
                    f"{kind}, {network}: {processes} processes or one, difference of P", gap.mean,
                    target=f"mean <= {allowed:.2g}", ok=gap.mean <= allowed, more={**gap.more, YARDSTICK: rounding},
                )  # fmt: skip


def _alone(step: measure.Step, kind: Kind, network: str, batch: int, onednn: bool) -> list[np.ndarray]:
    """Do a run in this process; on a CPU perhaps without oneDNN, for there the same operations give the same bits."""
    with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=onednn):
        return result(step, kind, begin(step, kind, str(step.device), network=network, batch=batch))


def _launch(step: measure.Step, processes: int, arguments: Sequence[str]) -> None:
    """Run `work` in so many processes.

    Raises
    ------
    RuntimeError
        With the last that they said, if it does not end well.
    """
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--no-python")
    command = [sys.executable, *launcher, sys.executable, "-c", CALL, step.device.type, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        try:
            wait(step, lambda: process.poll() is not None)
        finally:
            process.terminate()  # torchrun passes it on
            process.wait()
        said.seek(0)
        if process.returncode:
            raise RuntimeError(f"torchrun ended with {process.returncode}: {said.read()[-2000:]}")


def work(device: str, batch: str, place: str) -> None:
    """Do all runs, in one of the processes; the first saves the probabilities that each ends with."""
    ranks = join()
    step = measure.Step("several GPUs", torch.device(device), 600, lambda row: None)
    for kind, network in RANK_RUNS:
        found = result(step, kind, begin(step, kind, device, network=network, batch=int(batch), ranks=ranks))
        if ranks.first:
            np.save(Path(place) / f"{kind}-{network}.npy", np.stack(found))
    ranks.leave()
    os._exit(0)
