"""Make sample_data/ again, or a training set. The same pixels each time.

python scripts/make_samples.py [FOLDER]
python scripts/make_samples.py --organelles 24 FOLDER      # images/ and labels/: background, ER, mitochondria, nuclei
python scripts/make_samples.py --er 24 [--side 256] FOLDER  # images/ and labels/: background, ER
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_metastructure.images import simulate
from napari_metastructure.images.image import Image
from napari_metastructure.images.writing import write_mask, write_tiff

VOXEL = 0.1  # micrometer
FRAME = 10.0  # seconds from one field of view to the next
SIZE = (256, 256)

Simulator = Callable[..., tuple[np.ndarray, np.ndarray]]

# name: the simulator and one seed for each field of view
SAMPLES: dict[str, tuple[Simulator, tuple[int, ...]]] = {
    "er": (simulate.endoplasmic_reticulum, (0, 1, 2, 3)),
    "mitochondria": (simulate.mitochondria, (1,)),
    "nuclei": (simulate.nuclei, (2,)),
}


def make(name: str) -> tuple[Image, ...]:
    """Return a sample's image (uint16) and its mask (uint8, 0 and 1), with voxel size."""
    simulator, seeds = SAMPLES[name]
    fields = [simulator(SIZE, np.random.default_rng(seed)) for seed in seeds]
    image, mask = (np.stack(planes) for planes in zip(*fields, strict=True))
    axes, scale, units = "TYX", [FRAME, VOXEL, VOXEL], ["second", "micrometer", "micrometer"]
    if len(seeds) == 1:
        image, mask, axes, scale, units = image[0], mask[0], axes[1:], scale[1:], units[1:]
    return tuple(Image(data, axes, tuple(scale), tuple(units), name) for data in (image, mask))


def main(folder: Path) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in SAMPLES:
        image, mask = make(name)
        path = folder / "images" / f"{name}.tif"
        write_tiff(path, image.data, image.axes, image.scale, image.units)
        write_mask(folder / "masks" / f"{name}.tif", mask.data, mask)
        print(f"{path}: {image.data.shape} {image.data.dtype}, {mask.data.mean():.1%} foreground")


def make_set(folder: Path, simulator: Simulator, count: int, side: int) -> None:
    """Write ``images/`` and ``labels/`` of simulated cells."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        for part, pixels in zip(
            ("images", "labels"), simulator((side, side), np.random.default_rng(seed)), strict=True
        ):
            path = folder / part / f"cell_{seed:02}.tif"
            write_tiff(path, pixels, "YX", (VOXEL, VOXEL), ("micrometer", "micrometer"))
    print(f"{folder}: {count} images and labels")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parents[1] / "sample_data")
    parser.add_argument("--organelles", type=int, metavar="N", help="so many images of several classes instead")
    parser.add_argument("--er", type=int, metavar="N", help="so many images of the endoplasmic reticulum instead")
    parser.add_argument("--side", type=int, default=SIZE[0], metavar="PIXELS", help="height and width of those")
    options = parser.parse_args()
    if options.organelles:
        make_set(options.folder, simulate.organelles, options.organelles, options.side)
    elif options.er:
        make_set(options.folder, simulate.endoplasmic_reticulum, options.er, options.side)
    else:
        main(options.folder)
