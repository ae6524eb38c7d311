"""Damaged images and label files: of many changed bytes none gives a traceback.

``DAMAGES=5000 pytest tests/images/test_damaged_files.py`` changes more of them.
"""

import warnings

import numpy as np
import PIL.Image
import pytest
import tifffile

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import read_image
from napari_metastructure.images.image import Image
from napari_metastructure.images.label_files import read_labels

STACK = np.random.default_rng(0).integers(0, 255, (2, 13, 17), dtype=np.uint8)


def imagej(path):
    tifffile.imwrite(path, STACK, imagej=True, resolution=(4, 4), metadata={"axes": "ZYX", "unit": "um", "spacing": 2})


def ome(path):
    tifffile.imwrite(path, STACK, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.1})


def tiled(path):
    tifffile.imwrite(path, STACK, tile=(16, 16), compression="zlib", predictor=True)


KINDS = {
    "imagej.tif": imagej,
    "ome.ome.tif": ome,
    "tiled.tif": tiled,
    "grey.png": lambda path: PIL.Image.fromarray(STACK[0]).save(path),
    "palette.png": lambda path: PIL.Image.fromarray(STACK[0]).convert("P").save(path),
    "photo.jpg": lambda path: PIL.Image.fromarray(STACK[0]).save(path),
    "picture.bmp": lambda path: PIL.Image.fromarray(STACK[0]).save(path),
    "film.gif": lambda path: PIL.Image.fromarray(STACK[0]).save(path),
    "web.webp": lambda path: PIL.Image.fromarray(STACK[0]).save(path, lossless=True),
    "plain.pgm": lambda path: PIL.Image.fromarray(STACK[0]).save(path),
}


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes_are_an_image_or_one_sentence(kind, tmp_path, damages):
    path = tmp_path / kind
    KINDS[kind](path)
    whole, refused = path.read_bytes(), 0
    read_image(path)
    for number, changed in enumerate(damages(whole, kind)):
        path.write_bytes(changed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd is said, and there is no end of it here
            try:
                assert isinstance((read_labels if number % 2 else read_image)(path), Image)
            except InputError as error:
                refused += 1
                assert "\n" not in str(error) and kind in str(error) and len(str(error)) < 600, str(error)
    assert refused
