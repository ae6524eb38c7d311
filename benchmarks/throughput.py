"""Throughput of batches against workers, what a file costs besides its pixels, and a worker killed in the middle.

    python benchmarks/throughput.py [--images 24] [--side 768] [--files 1000]

Each row is a batch of prediction on a new folder, by a network of random weights, the same in all rows; a worker has
one thread. "first" is until the first file is done, workers started and libraries loaded; "others" is all after that.
Wall time, so a quiet machine says most; the masks of all rows are compared with those of one process.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile

from napari_metastructure.batch.recipe import BatchRecipe
from napari_metastructure.batch.run import BatchFinished, UnitDone, run
from napari_metastructure.images.intensity import channels_of
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, save_model


def make_model(folder: Path) -> Path:
    """Save a network of the default size and random weights."""
    use = Use(inputs="multiscale", patch=(256, 256))
    spec = NetworkSpec(architecture="fast-unet", in_channels=channels_of(use.inputs, 1), classes=1, base_channels=16)
    folder.mkdir()
    save_model(folder / "model.safetensors", build(spec, 0), spec, use)
    return folder


def make_images(folder: Path, count: int, side: int) -> Path:
    """Write so many square images of noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        tifffile.imwrite(folder / f"{number:05}.tif", rng.gamma(2, 100, (side, side)).astype(np.uint16))
    return folder


def measure(model: Path, images: Path, out: Path, scheduler: str | None, kill_after: int = 0) -> tuple[float, float]:
    """Run a batch; seconds until the first file is done, and of the others; a worker is killed ``kill_after`` files."""
    task = {"what": "predict", "model": str(model), "device": "cpu", "probability": False}
    recipe = BatchRecipe.make(inputs=(str(images),), out=out, task=task, scheduler=scheduler)
    began = first = time.perf_counter()
    done = 0
    for event in run(recipe):
        match event:
            case UnitDone():
                done += 1
                first = time.perf_counter() if done == 1 else first
                if done == kill_after:
                    kill_a_worker()
            case BatchFinished():
                assert not event.failed, out
                last = time.perf_counter()
    return first - began, last - first


def kill_a_worker() -> None:
    """Kill one of the worker processes that this program has started."""
    workers = [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
    workers[-1].kill()


def equal(one: Path, other: Path) -> str:
    """Compare all masks of two folders."""
    files = sorted(one.glob("*.tif"))
    same = all(file.read_bytes() == (other / file.name).read_bytes() for file in files)
    return f"{len(files)} masks {'equal' if same else 'DIFFER'}"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--files", type=int, default=1000)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before\n")
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        model = make_model(top / "model")
        images = make_images(top / "images", options.images, options.side)
        print(f"{options.images} images of {options.side} x {options.side}")
        print(f"{'':24}{'first s':>9}{'others s':>9}{'MPx/s':>8}  masks")
        pixels = (options.images - 1) * options.side**2 / 1e6
        rows = {"this process": (None, 0), "1 worker": ("local:1", 0), "2 workers": ("local:2", 0)}
        rows["2, one killed half way"] = ("local:2", options.images // 2)
        for number, (row, (scheduler, kill)) in enumerate(rows.items()):
            start, work = measure(model, images, top / f"out{number}", scheduler, kill)
            masks = equal(top / "out0", top / f"out{number}")
            print(f"{row:24}{start:9.1f}{work:9.1f}{pixels / work:8.2f}  {masks}", flush=True)
        images = make_images(top / "small", options.files, 64)
        print(f"\n{options.files} files of 64 x 64\n{'':24}{'first s':>9}{'others s':>9}{'ms/file':>8}")
        for number, (row, scheduler) in enumerate({"this process": None, "2 workers": "local:2"}.items()):
            start, work = measure(model, images, top / f"small{number}", scheduler)
            print(f"{row:24}{start:9.1f}{work:9.1f}{1000 * work / (options.files - 1):8.1f}", flush=True)


if __name__ == "__main__":
    main()
