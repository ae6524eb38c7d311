"""Masks of Nellie's filter, the training-free segmentation of organelles that iGTT has to pass.

    pip install nellie==1.0.4          # beside this package, which does not need it, in an environment of its own
    python benchmarks/nellie_masks.py ../shared/data/er/images nellie_er --pixel-size 0.1
    metastructure score nellie_er ../shared/data/er/masks

Nellie looks for tubes of 0.25 to 1 micrometre, so it asks for the size of a pixel; images that name none need the
option. Channel and polarity are settled as for iGTT.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from nellie.im_info.verifier import FileInfo, ImInfo
from nellie.segmentation.filtering import Filter
from nellie.segmentation.labelling import Label

from napari_metastructure.igtt.polarity import settle
from napari_metastructure.images.axes import planes
from napari_metastructure.images.channels import choose_channel
from napari_metastructure.images.files import list_images, read_image, stem


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
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pixel-size", type=float, default=0.1, metavar="UM")
    options = parser.parse_args()
    files = list_images([options.images])
    images = [read_image(file) for file in files]
    channel = choose_channel(images)
    first = [planes(image, channel)[0] for image in images]
    dark = settle(first) == "dark"
    options.out.mkdir(parents=True)
    for file, plane in zip(files, first, strict=True):
        mask = segment(plane.max() - plane if dark else plane, options.pixel_size)
        tifffile.imwrite(options.out / f"{stem(file)}_mask.tif", np.where(mask, 255, 0).astype(np.uint8))


if __name__ == "__main__":
    main()
