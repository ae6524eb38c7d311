"""Seconds and memory of whole commands, from images to files, and their ratios to those of another checkout.

    python benchmarks/speed.py ../shared/data
    git worktree add ../before HEAD~1
    python benchmarks/speed.py ../shared/data --against ../before --runs 3 --rows crops image

Each row is a command in a process of its own, loading and saving included; with ``--against`` the two checkouts take
turns, and of each pair the ratio before / now is taken. Seconds of processor time count on a busy machine; wall time
says something on a quiet one only. All numbers are medians.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_metastructure.images.files import list_images
from napari_metastructure.images.simulate import nuclei
from napari_metastructure.images.writing import write_tiff

HERE = Path(__file__).resolve().parents[1]

ROWS = {
    "crops": "16 crops of 256x256, to final masks",
    "image": "one image of 512x512, to final masks",
    "frame": "one frame of 1040x1392, to final masks",
    "small": "300 images of 64x64, to final masks",
    "predict": "predict 8192x8192 uint16",
}


class Cost(NamedTuple):
    """What a process took, by the system's own account."""

    processor: float
    wall: float
    megabytes: float


def run(checkout: Path, arguments: list[str], threads: int | None) -> Cost:
    """Run ``metastructure`` of a checkout; raise if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = "from napari_metastructure.cli.main import main; main()"
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", command, *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(arguments)} in {checkout} failed:\n{output.read()}")
    kilo = 1 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss * kilo / 1e6)


def tiled(side: int, field: np.ndarray) -> np.ndarray:
    """Repeat a field up to a side, each copy at another brightness and turned another way."""
    rng, count = np.random.default_rng(0), -(-side // len(field))
    rows = [
        np.concatenate([rng.uniform(0.7, 1.3) * np.rot90(field, rng.integers(4)) for _ in range(count)], axis=1)
        for _ in range(count)
    ]
    return np.concatenate(rows)[:side, :side]


def make_inputs(rows: list[str], data: Path, folder: Path) -> dict[str, list[str]]:
    """Make the images that are not in the data; return the arguments of each row."""
    inputs = {
        "crops": [data / "er" / "images"],
        "image": list_images([data / "em" / "images"])[:1],
        "frame": [data / "er_frames" / "images"],
    }
    if "small" in rows:
        inputs["small"] = [folder / "small"]
        inputs["small"][0].mkdir()
        for seed in range(300):
            image = nuclei((64, 64), np.random.default_rng(seed))[0]
            write_tiff(inputs["small"][0] / f"{seed:03}.tif", image, "YX", (1.0, 1.0), ("pixel", "pixel"))
    arguments = {row: ["igtt", *map(str, paths)] for row, paths in inputs.items()}
    if "predict" in rows:
        field = nuclei((1024, 1024), np.random.default_rng(0))[0].astype(np.float32)
        image = tiled(8192, field)
        image *= 60_000 / image.max()
        write_tiff(folder / "large.tif", image.astype(np.uint16), "YX", (1.0, 1.0), ("pixel", "pixel"))
        arguments["predict"] = ["predict", "MODEL", str(folder / "large.tif"), "--no-probability"]
    return arguments


def main() -> None:
    """Print a line a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds er, em, er_frames")
    parser.add_argument("--against", type=Path, help="another checkout, such as a git worktree of an earlier commit")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of torch; by default one for each core")
    args = parser.parse_args()
    checkouts = [HERE] if args.against is None else [HERE, args.against.resolve()]
    print(f"{'':42}{'now':^26}" + f"{'before':^26}{'before / now':^18}" * (len(checkouts) - 1))
    print(
        f"{'':42}"
        + f"{'cpu s':>8}{'wall s':>8}{'MB':>8}  " * len(checkouts)
        + "     cpu    wall" * (len(checkouts) - 1)
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        arguments = make_inputs(args.rows, args.data, folder)
        for row in args.rows:
            costs: list[list[Cost]] = [[] for _ in checkouts]
            for _ in range(args.runs):
                for which, checkout in enumerate(checkouts):
                    out, model = folder / "out", folder / f"model{which}"
                    shutil.rmtree(out, ignore_errors=True)
                    if row == "predict" and not model.exists():
                        one = str(list_images([args.data / "er" / "images"])[0])
                        run(checkout, ["igtt", one, "--epochs", "1", "--out", str(model)], args.threads)
                    words = [str(model) if word == "MODEL" else word for word in arguments[row]]
                    costs[which].append(run(checkout, [*words, "--out", str(out)], args.threads))
            medians = [Cost(*(statistics.median(values) for values in zip(*each, strict=True))) for each in costs]
            line = f"{ROWS[row]:42}" + "".join(f"{c.processor:8.1f}{c.wall:8.1f}{c.megabytes:8.0f}  " for c in medians)
            if len(costs) == 2:
                for which in (0, 1):
                    ratio = statistics.median(b[which] / a[which] for a, b in zip(*costs, strict=True))
                    line += f"{ratio:8.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
