"""Step 8 of a GPU check: all GPUs of the machine under torchrun, against one."""

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gpu.measure import Step
from gpu.runs import ROUNDING, Kind, apart, begin, result, wait
from napari_metastructure.training.distributed import join

RUNS: tuple[tuple[Kind, str], ...] = (("training", "light-unet"), ("training", "unet"), ("iGTT", "fast-unet"))
"""Kind and network; the unet has batch normalisation, which makes rounding large in a few steps."""

CALL = "import sys; from gpu.ranks import work; work(*sys.argv[1:])"

CPU_PROCESSES = 2

YARDSTICK = "two runs of one process"
"""How far rounding takes two runs apart that should be the same."""


def several(step: Step) -> None:
    """Compare runs of as many processes as there are GPUs, each with its own, with runs of one process."""
    processes = torch.cuda.device_count() if step.on_gpu else CPU_PROCESSES
    step.row("processes under torchrun", str(processes), note="" if step.on_gpu else "over gloo, on the CPU")
    with tempfile.TemporaryDirectory() as place:
        with step.part("torchrun"):
            _launch(step, processes, (str(2 * processes), place))
        for kind, network in RUNS:
            with step.part(f"{kind}, {network}: {processes} processes"):
                found = list(np.load(Path(place) / f"{kind}-{network}.npy"))
                alone, again = (_alone(step, kind, network, 2 * processes, onednn) for onednn in (True, False))
                gap, rounding = apart(alone, found), apart(alone, again).mean
                allowed = max(ROUNDING, 3 * rounding)
                step.row(
                    f"{kind}, {network}: {processes} processes or one, difference of P", gap.mean,
                    target=f"mean <= {allowed:.2g}", ok=gap.mean <= allowed, more={**gap.more, YARDSTICK: rounding},
                )  # fmt: skip


def _alone(step: Step, kind: Kind, network: str, batch: int, onednn: bool) -> list[np.ndarray]:
    """Do a run in this process; on a CPU perhaps without oneDNN, for there the same operations give the same bits."""
    with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=onednn):
        return result(step, kind, begin(step, kind, str(step.device), network=network, batch=batch))


def _launch(step: Step, processes: int, arguments: Sequence[str]) -> None:
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
    step = Step("several GPUs", torch.device(device), 600, lambda row: None)
    for kind, network in RUNS:
        found = result(step, kind, begin(step, kind, device, network=network, batch=int(batch), ranks=ranks))
        if ranks.first:
            np.save(Path(place) / f"{kind}-{network}.npy", np.stack(found))
    ranks.leave()
    os._exit(0)
