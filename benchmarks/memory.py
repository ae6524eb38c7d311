"""Memory high-water mark of prediction, training and iGTT against the size of an image: simulated nuclei, uint16.

    python benchmarks/memory.py [--sides 2048 8192] [--rows predict train igtt] [--threads 2] [--seconds 600]

Each number is of a command in a process of its own, whose memory is asked for every 20 ms. MB are resident memory, and
of that what is not the content of a file (Linux), which the system cannot take back. Images are OME-Zarr in chunks of
512 x 512; training takes a U-Net (fast-unet) for one epoch of 20 steps on one image, iGTT one round.

A command that has not ended after ``--seconds`` is stopped, and its line says so: the mark then is that of what it had
done by then, as after the statistics of the whole image and so many rows of it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from speed import HERE

from napari_metastructure.images.image import Image
from napari_metastructure.images.ome_zarr import writing_zarr
from napari_metastructure.images.simulate import nuclei

MODES = ("predict", "train", "igtt")

EVERY = 0.02  # seconds


def measure(arguments: list[str], threads: int, seconds: float) -> tuple[float, float, float, str]:
    """Run ``metastructure``; return greatest resident and anonymous memory in MB, seconds, and why it ended early."""
    environment = {**os.environ, "PYTHONPATH": str(HERE / "src"), "OMP_NUM_THREADS": str(threads)}
    command = "from napari_metastructure.cli.main import main; main()"
    began, most, anonymous, why = time.perf_counter(), 0.0, 0.0, ""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", command, *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                most = max(most, watched.memory_info().rss / 1e6)
                status = Path(f"/proc/{process.pid}/status")
                if status.exists() and (found := re.search(r"RssAnon:\s+(\d+) kB", status.read_text())):
                    anonymous = max(anonymous, int(found[1]) * 1024 / 1e6)
            except (psutil.Error, OSError):
                break
            if time.perf_counter() - began > seconds:
                why = f"stopped after {seconds:.0f} s"
                process.terminate()
                break
            time.sleep(EVERY)
        status_code = process.wait()
        if status_code and not why:
            output.seek(0)
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{output.read()}")
    return most, anonymous, time.perf_counter() - began, why


def make(folder: Path, side: int) -> tuple[Path, Path]:
    """Write an image of fields at several brightnesses, and its mask, one row of fields at a time."""
    images, masks = folder / str(side) / "images", folder / str(side) / "labels"
    paths = images / "field.ome.zarr", masks / "field.ome.zarr"
    for place in (images, masks):
        place.mkdir(parents=True)
    field, mask = nuclei((512, 512), np.random.default_rng(0))[:2]
    field, mask = field.astype(np.float32) / field.max(), (mask > 0).astype(np.uint8)
    rng, count = np.random.default_rng(0), -(-side // 512)
    like = Image(np.broadcast_to(np.uint16(0), (side, side)), "YX", (0.1, 0.1), ("micrometer",) * 2, "field")
    with (
        writing_zarr(paths[0], like, np.uint16, False) as image,
        writing_zarr(paths[1], like, np.uint8, True) as labels,
    ):
        for row in range(count):
            height = min(512, side - 512 * row)
            turns = rng.integers(4, size=count)
            gains = rng.uniform(20_000, 60_000, count)
            both = (
                np.concatenate([g * np.rot90(field, t) for g, t in zip(gains, turns, strict=True)], axis=1),
                np.concatenate([np.rot90(mask, t) for t in turns], axis=1),
            )
            for out, pixels in zip((image, labels), both, strict=True):
                out.put((), 512 * row, pixels[:height, :side].astype(np.uint16 if out is image else np.uint8))
    return paths


def main() -> None:
    """Print a line for each command and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--rows", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--seconds", type=float, default=3600, help="after which a command is stopped")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        train = ["--network", "fast-unet", "--epochs", "1", "--set"]
        first = make(folder, 1024)[0].parents[1]
        model = folder / "model"
        measure(["train", str(first), "--out", str(model), *train, "steps_per_epoch=1"], args.threads, args.seconds)
        print(f"{'':10}{'side':>8}{'MB':>8}{'own MB':>8}{'s':>8}", flush=True)
        for side in args.sides:
            image = make(folder, side)[0]
            commands = {
                "predict": ["predict", str(model), str(image), "--zarr"],
                "train": ["train", str(image.parents[1]), *train, "steps_per_epoch=20"],
                "igtt": ["igtt", str(image), "--epochs", "1", "--set", "rounds=always"],
            }
            for row in args.rows:
                out = ["--out", str(folder / f"{row}{side}")]
                most, anonymous, seconds, why = measure([*commands[row], *out], args.threads, args.seconds)
                print(f"{row:10}{side:8}{most:8.0f}{anonymous:8.0f}{seconds:8.0f}  {why}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
