"""Kills of runs of ``igtt`` and ``train`` at random moments: each is resumed and compared with an undisturbed run.

python scripts/kill_runs.py [--kills 25] [--seed 0]

Prints a line for each kill: when, the epoch that was finished last, and that of ``last.pt``. The exit code is 0 only
if each resumed run ended with the tensors and masks of the undisturbed one, and left nothing half written behind.
"""

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from safetensors.torch import load_file

from napari_metastructure.images.simulate import mitochondria

CLI = (sys.executable, "-c", "import sys; from napari_metastructure.cli.main import main; main(sys.argv[1:])")

FAST = ("--device", "cpu", "--set", "patch_size=64", "--set", "base_channels=4", "--set", "steps_per_epoch=4")

COMMANDS = {
    "igtt": ("--epochs", "100", "--set", "stop_agreement=1", *FAST),
    "train": ("--epochs", "25", "--set", "schedule=onecycle", "--set", "augment=full", *FAST),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, failures = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_set(folder / "set")
        for command, options in COMMANDS.items():
            inputs = folder / "set" / ("images" if command == "igtt" else "")
            call = (*CLI, command, str(inputs), *options, "--out")
            length = run((*call, str(folder / command)))
            for number in range(args.kills):
                out = folder / f"{command}-{number}"
                after = rng.uniform(0, length)
                said = f"killed after {after:.3f} s" if run((*call, str(out)), after) < 0 else "had ended"
                done, saved = epochs_in(out)
                run((*call, str(out), "--resume" if saved is not None else "--overwrite"))
                wrong = differences(folder / command, out)
                failures += bool(wrong)
                result = ", ".join(wrong) or "the same"
                print(f"{command} {said}: epoch {done}, saved {saved}; {result}", flush=True)
    print(f"{2 * args.kills - failures} of {2 * args.kills} runs ended as the undisturbed one")
    return failures > 0


def make_set(folder: Path) -> None:
    """Write four small images and their masks."""
    for number in range(4):
        image, mask = mitochondria((96, 96), np.random.default_rng(number))
        grey = 255 * (image - image.min()) / np.ptp(image.astype(float))
        for kind, pixels in (("images", grey), ("labels", mask > 0)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(pixels.astype(np.uint8)).save(folder / kind / f"{number}.png")


def run(call: Sequence[str], kill_after: float | None = None) -> float:
    """Run a program to its end; return the seconds since its first line, or -1 if it was killed after so many."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.perf_counter()
        try:
            process.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            return -1
    if process.returncode:
        raise SystemExit(f"{' '.join(call)} ended with {process.returncode}")
    return time.perf_counter() - began


def epochs_in(out: Path) -> tuple[int | None, int | None]:
    """Return the newest epochs of ``metrics.csv`` and ``last.pt``; None where there is none."""
    metrics, last = out / "metrics.csv", out / "last.pt"
    done = None
    if metrics.exists():
        with metrics.open(newline="") as file:
            done = max(int(row["epoch"]) for row in csv.DictReader(file))
    saved = torch.load(last, weights_only=True)["rows"][-1]["epoch"] if last.exists() else None
    return done, saved


def differences(whole: Path, resumed: Path) -> list[str]:
    """Name the files of a resumed run that are not those of the undisturbed one, and what was left behind."""
    names = {p.name for p in whole.iterdir()}
    wrong = [f"{name} is missing or too much" for name in names ^ {p.name for p in resumed.iterdir()}]
    for name in sorted(names - {"run.yaml", "metrics.csv", "last.pt"}):
        a, b = whole / name, resumed / name
        if name == "model.safetensors":
            one, other = load_file(a), load_file(b)
            if one.keys() != other.keys() or not all(torch.equal(one[k], other[k]) for k in one):
                wrong.append(f"{name} differs")
        elif a.read_bytes() != b.read_bytes():
            wrong.append(f"{name} differs")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
