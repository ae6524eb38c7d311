"""Make sample_data/ anew: ``python scripts/make_samples.py [FOLDER]``. The same pixels each time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_metastructure.images import simulate
from napari_metastructure.images.files import write_mask, write_tiff
from napari_metastructure.images.image import Image

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
    """A sample's image (uint16) and its mask (uint8, 0 and 1), with voxel size."""
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


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "sample_data")
