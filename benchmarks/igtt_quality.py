"""Dice of iGTT on folders of images with masks, epoch by epoch and over seeds.

    python benchmarks/igtt_quality.py ../shared/data er mito nuclei --preset default --seeds 0 1 2
    python benchmarks/igtt_quality.py ../shared/data er --set memory=0 anchor=0 --limit 16

The masks are only looked at here, after the run has sent its events; nothing flows back.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import yaml

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.igtt.start import start_probability
from napari_metastructure.images.channels import choose_channel
from napari_metastructure.images.files import list_images, read_image
from napari_metastructure.images.image import planes
from napari_metastructure.images.intensity import common_polarity, orient
from napari_metastructure.training.events import EpochFinished, Finished
from napari_metastructure.training.metrics import auc, dice


def load(folder: Path, limit: int | None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images and masks of one folder; of colour images the channel that the package chooses."""
    files = list_images([folder / "images"])[:limit]
    read = [read_image(f) for f in files]
    channel = choose_channel(read)
    images = [planes(image, channel)[0] for image in read]
    masks = [planes(read_image(folder / "masks" / f.name))[0] > 0 for f in files]
    return images, masks


def otsu(images: list[np.ndarray], masks: list[np.ndarray], objects: str) -> float:
    """Mean Dice of Otsu's threshold after a blur of one pixel: what costs nothing."""
    polarity = common_polarity(images) if objects == "auto" else objects
    found = [start_probability(orient(i, polarity), "otsu") for i in images]
    return float(np.mean([dice(p, m) for p, m in zip(found, masks, strict=True)]))


def run(images: list[np.ndarray], masks: list[np.ndarray], config: IGTTConfig) -> dict:
    """One run, scored."""
    began = time.perf_counter()
    rows, seconds = [], []
    for event in iterate(images, config):
        if isinstance(event, EpochFinished):
            rows.append(float(np.mean([dice(p, m) for p, m in zip(event.masks, masks, strict=True)])))
            seconds.append((event.seconds, event.seconds_outside))
        elif isinstance(event, Finished):
            final = float(np.mean([dice(p, m) for p, m in zip(event.masks, masks, strict=True)]))
            area = float(np.mean([auc(p, m) for p, m in zip(event.probabilities, masks, strict=True)]))
    later = np.array(seconds[1:] or [(np.nan, np.nan)])  # no round where the start was the end
    return {
        "dice": final,
        "auc": area,
        "by_epoch": [round(r, 4) for r in rows],
        "below_best_epoch": max(rows) - final,
        "seconds": time.perf_counter() - began,
        "seconds_per_epoch": float(later[:, 0].mean()),
        "outside_share": float(later[:, 1].sum() / later[:, 0].sum()),
    }


def parser_of(about: str) -> argparse.ArgumentParser:
    """Make what reads the arguments of all benchmarks of quality."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--limit", type=int, help="only the first N images of a folder")
    return parser


def main() -> None:
    """Print a table, one line a folder and seed, then mean and spread."""
    parser = parser_of(__doc__)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings to replace")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    replaced = {k: yaml.safe_load(v) for k, v in (s.split("=", 1) for s in args.set)}
    results = []
    for folder in args.folders:
        images, masks = load(args.data / folder, args.limit)
        finals = []
        print(f"{folder:10} Otsu, {len(images)} images: {otsu(images, masks, replaced.get('objects', 'auto')):.4f}")
        for seed in args.seeds:
            config = IGTTConfig.from_preset(args.preset, seed=seed, **replaced)
            result = run(images, masks, config)
            finals.append(result["dice"])
            results.append({"folder": folder, "preset": args.preset, "seed": seed, **replaced, **result})
            took = f"{result['seconds']:.0f} s"
            if len(result["by_epoch"]) > 1:
                outside = f"{100 * result['outside_share']:.1f} % outside the network"
                took += f", {result['seconds_per_epoch']:.1f} s/epoch, {outside}"
            print(
                f"{folder:10} {args.preset} seed {seed}: Dice {result['dice']:.4f} AUC {result['auc']:.4f} by epoch "
                f"{result['by_epoch']} ({result['below_best_epoch']:.4f} below the best), {took}",
                flush=True,
            )
        print(
            f"{folder:10} {args.preset} {len(images)} images: {np.mean(finals):.4f} +- {np.std(finals):.4f}", flush=True
        )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
