"""Names of outputs, and what is written into them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_metastructure.cli._files import Outputs
from napari_metastructure.errors import InputError
from napari_metastructure.images.image import Image


def stack_image(axes="TZYX"):
    shape = [{"T": 2, "Z": 3, "Y": 9, "X": 11}[a] for a in axes]
    steps = {"T": (5.0, "second"), "Z": (2.0, "micrometer"), "Y": (0.5, "micrometer"), "X": (0.5, "micrometer")}
    scale, units = zip(*(steps[a] for a in axes), strict=True)
    return Image(np.zeros(shape), axes, scale, units, "s", Path("in/s.tif"))


def planes_of(image, value):
    count = int(np.prod(image.data.shape[:-2]))
    return [np.full((9, 11), (value + i) % 2, np.uint8) for i in range(count)]


def test_each_image_gets_its_own_planes_with_its_scale(tmp_path):
    images = [stack_image(), Image(np.zeros((9, 11)), "YX", (1, 1), ("pixel",) * 2, "p", Path("in/p.png"))]
    outputs = Outputs(tmp_path, images, [6, 1], epochs=False, ome=False)
    masks = [*planes_of(images[0], 0), np.ones((9, 11), np.uint8)]
    outputs.write(masks, [m * 0.5 for m in masks])
    with tifffile.TiffFile(tmp_path / "s_mask.tif") as tif:
        assert (tif.series[0].axes, tif.series[0].dtype) == ("TZYX", np.uint8)
        assert (tif.imagej_metadata["unit"], tif.imagej_metadata["spacing"]) == ("micron", 2)
        assert tif.imagej_metadata["finterval"] == 5
        np.testing.assert_array_equal(tif.asarray().reshape(6, 9, 11), np.stack(masks[:6]) * 255)
    assert (tifffile.imread(tmp_path / "p_mask.tif") == 255).all()
    probability = tifffile.imread(tmp_path / "p_probability.tif")
    assert probability.dtype == np.float32
    assert (probability == 0.5).all()


@pytest.mark.parametrize(("axes", "written"), [("YX", "TYX"), ("ZYX", "TZYX"), ("TYX", "TZYX"), ("TZYX", "TZCYX")])
def test_epochs_are_frames_and_a_resumed_run_adds_to_them(tmp_path, axes, written):
    image = stack_image(axes)
    count = int(np.prod(image.data.shape[:-2]))
    outputs = Outputs(tmp_path, [image], [count], epochs=True, ome=False)
    rounds = [planes_of(image, v) for v in (0, 1, 1, 0, 1)]
    outputs.write_epochs(rounds[:3])  # epochs 0, 1, 2
    outputs.write_epochs(rounds[2:], before=2)  # resumed after 2, whose masks come again
    with tifffile.TiffFile(tmp_path / "s_epochs.tif") as tif:
        assert tif.series[0].axes == written
        back = tif.asarray()
    if axes == "TZYX":  # own T went to C, behind Z
        back = back.swapaxes(1, 2)
    np.testing.assert_array_equal(back.reshape(5, count, 9, 11), np.array(rounds) * 255)


def test_one_epoch_alone_can_be_added_to(tmp_path):
    image = stack_image("YX")
    outputs = Outputs(tmp_path, [image], [1], epochs=True, ome=False)
    outputs.write_epochs([planes_of(image, 1)])
    outputs.write_epochs([planes_of(image, 0), planes_of(image, 1)], before=1)
    assert tifffile.imread(tmp_path / "s_epochs.tif")[:, 0, 0].tolist() == [255, 0, 255]


def test_nothing_is_written_over_unasked_and_inputs_never(tmp_path):
    image = stack_image("YX")
    outputs = Outputs(tmp_path, [image], [1], epochs=False, ome=False)
    outputs.check_free(overwrite=False)
    (tmp_path / "s_mask.tif").write_text("old")
    (tmp_path / "last.pt").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"last\.pt is there already.*--resume.*--overwrite"):
        outputs.check_free(overwrite=False)
    outputs.check_free(overwrite=True)
    outputs.clear()
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    mine = Image(np.zeros((9, 9)), "YX", (1, 1), ("pixel",) * 2, "x", tmp_path / "x.tif")
    trap = Image(np.zeros((9, 9)), "YX", (1, 1), ("pixel",) * 2, "x_mask", tmp_path / "x_mask.tif")
    with pytest.raises(InputError, match="is an input"):
        Outputs(tmp_path, [mine, trap], [1, 1], epochs=False, ome=False).check_free(overwrite=True)
