"""Dice of Nellie's filter, the training-free segmentation of organelles that iGTT has to pass, on folders with masks.

    pip install nellie==1.0.4          # beside this package, which does not need it, in an environment of its own
    python benchmarks/nellie_quality.py ../shared/data er mito nuclei --pixel-sizes 0.05 0.1 0.2

Nellie looks for tubes of 0.25 to 1 micrometre, so it asks for the size of a pixel. Channel and polarity are settled as
for iGTT.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from igtt_quality import load
from nellie.im_info.verifier import FileInfo, ImInfo
from nellie.segmentation.filtering import Filter
from nellie.segmentation.labelling import Label

from napari_metastructure.images.intensity import common_polarity
from napari_metastructure.training.metrics import dice


def segment(plane: np.ndarray, pixel_size: float) -> np.ndarray:
    """Nellie's first two steps, by its own defaults: the filter and the labels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plane.ome.tif"
        size = {f"PhysicalSize{axis}": pixel_size for axis in "XY"}
        tifffile.imwrite(path, plane, ome=True, metadata={"axes": "YX", **size})
        file = FileInfo(str(path))
        file.find_metadata()
        file.load_metadata()
        info = ImInfo(file)
        Filter(info, device="cpu").run()
        Label(info, device="cpu").run()
        return np.squeeze(tifffile.imread(info.pipeline_paths["im_instance_label"])) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--pixel-sizes", nargs="+", type=float, default=[0.1], metavar="UM")
    args = parser.parse_args()
    logging.disable()  # Nellie tells every step
    for folder in args.folders:
        images, masks = load(args.data / folder, None)
        if common_polarity(images) == "dark":
            images = [image.max() - image for image in images]
        for size in args.pixel_sizes:
            found = [dice(segment(image, size), mask) for image, mask in zip(images, masks, strict=True)]
            print(f"{folder:10} Nellie, {size:g} um a pixel, {len(images)} images: {np.mean(found):.4f}", flush=True)


if __name__ == "__main__":
    main()
