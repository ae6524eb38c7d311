"""Saved labels keep pixels, axes, voxel size and unit."""

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Labels
from npe2 import PluginManager

from napari_metastructure.images.files import read_image
from napari_metastructure.plugin.writer import write_labels, write_labels_ome


def attributes(layer):
    return layer.as_layer_data_tuple()[1]


@pytest.mark.parametrize("write", [write_labels, write_labels_ome])
def test_a_binary_stack_is_written_0_and_255_with_its_scale(tmp_path, write):
    data = (np.random.default_rng(0).random((3, 16, 20)) > 0.5).astype(int)
    layer = Labels(data, scale=(2, 0.5, 0.25), units=("um", "um", "um"), axis_labels=("z", "y", "x"))
    path = tmp_path / "mask.tif"
    assert write(str(path), layer.data, attributes(layer)) == [str(path)]
    image = read_image(path)
    assert image.data.dtype == np.uint8
    np.testing.assert_array_equal(image.data, data * 255)
    assert image.axes == "ZYX"
    np.testing.assert_allclose(image.scale, (2, 0.5, 0.25))
    assert image.units == ("micrometer",) * 3


def test_fiji_reads_the_same_scale(tmp_path):
    layer = Labels(np.eye(16, dtype=int), scale=(0.5, 0.25), units=("um", "um"))
    write_labels(str(tmp_path / "m.tif"), layer.data, attributes(layer))
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        assert file.is_imagej
        assert file.imagej_metadata["unit"] == "micron"
        x = file.pages[0].tags["XResolution"].value
        y = file.pages[0].tags["YResolution"].value
    assert x[0] / x[1] == pytest.approx(4)
    assert y[0] / y[1] == pytest.approx(2)


def test_many_labels_are_written_as_they_are(tmp_path):
    data = np.arange(16 * 20).reshape(16, 20)
    write_labels(str(tmp_path / "m.tif"), data, {})
    np.testing.assert_array_equal(read_image(tmp_path / "m.tif").data, data)


def test_the_name_can_ask_for_ome(tmp_path):
    write_labels(str(tmp_path / "m.ome.tif"), np.eye(16, dtype=int), {})
    with tifffile.TiffFile(tmp_path / "m.ome.tif") as file:
        assert file.is_ome


def test_multiscale_labels_are_written_in_full(tmp_path):
    data = np.eye(64, dtype=np.uint8)
    write_labels(str(tmp_path / "m.tif"), [data, data[::2, ::2]], {})
    assert read_image(tmp_path / "m.tif").data.shape == (64, 64)


@pytest.mark.parametrize(("name", "ome"), [("m.tif", False), ("m.ome.tif", True)])
def test_file_save_reaches_the_writer(tmp_path, name, ome):
    PluginManager.instance().discover()
    viewer = ViewerModel()
    viewer.add_labels(np.eye(16, dtype=int), scale=(0.5, 0.5), units=("um", "um"))
    viewer.layers.save(str(tmp_path / name), plugin="napari-metastructure")
    with tifffile.TiffFile(tmp_path / name) as file:
        assert file.is_ome is ome
    assert read_image(tmp_path / name).scale == pytest.approx((0.5, 0.5))
