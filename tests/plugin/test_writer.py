"""Saved labels keep pixels, axes, voxel size and unit; masks get names of their own beside their images."""

import unicodedata

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels
from npe2 import PluginManager
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import read_image
from napari_metastructure.plugin._layers import made_from
from napari_metastructure.plugin.writer import ask_where, mask_paths, save_masks, write_labels, write_labels_ome


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
    for levels in ([data, data[::2, ::2]], Labels([data, data[::2, ::2]], multiscale=True).data):
        write_labels(str(tmp_path / "m.tif"), levels, {})
        np.testing.assert_array_equal(read_image(tmp_path / "m.tif").data, data * 255)


@pytest.mark.parametrize(("name", "ome"), [("m.tif", False), ("m.ome.tif", True)])
def test_file_save_reaches_the_writer(tmp_path, name, ome):
    PluginManager.instance().discover()
    viewer = ViewerModel()
    viewer.add_labels(np.eye(16, dtype=int), scale=(0.5, 0.5), units=("um", "um"))
    viewer.layers.save(str(tmp_path / name), plugin="napari-metastructure")
    with tifffile.TiffFile(tmp_path / name) as file:
        assert file.is_ome is ome
    assert read_image(tmp_path / name).scale == pytest.approx((0.5, 0.5))


# ---- files that napari opened without their voxel size -------------------------------------------------------


@pytest.fixture
def cells(tmp_path):
    """A file of 0.2 x 0.1 um pixels, as Fiji writes them."""
    about = {"axes": "ZYX", "unit": "um", "spacing": 0.5}
    tifffile.imwrite(
        tmp_path / "cells.tif", np.zeros((3, 64, 48), np.uint8), imagej=True, resolution=(10, 5), metadata=about
    )
    return tmp_path / "cells.tif"


def opened(viewer, path, layer_type="image"):
    PluginManager.instance().discover()
    (layer,) = viewer.open(path, plugin="napari", layer_type=layer_type)
    return layer


def check(path):
    image = read_image(path)
    assert (image.axes, image.units) == ("ZYX", ("micrometer",) * 3)
    assert image.scale == pytest.approx((0.5, 0.2, 0.1))


def test_file_save_finds_the_file_that_labels_came_from(make_napari_viewer, cells, said):
    viewer = make_napari_viewer()
    layer = opened(viewer, cells, "labels")
    assert list(layer.scale) == [1, 1, 1]
    layer.data[0, 5:9] = 1
    layer.save(str(cells.with_name("m.tif")), plugin="napari-metastructure")
    check(cells.with_name("m.tif"))
    assert "that of its file is saved, 0.5 x 0.2 x 0.1 micrometer. (m.tif)" in said()[-1]


def test_file_save_finds_the_file_of_the_image_that_labels_were_made_from(make_napari_viewer, cells):
    viewer = make_napari_viewer()
    source = opened(viewer, cells)
    made = viewer.add_labels(np.zeros(source.data.shape, int), metadata=made_from(source))
    made.save(str(cells.with_name("m.ome.tif")), plugin="napari-metastructure")
    check(cells.with_name("m.ome.tif"))


def test_without_a_viewer_the_metadata_tell(make_napari_viewer, cells):
    source = opened(make_napari_viewer(), cells)
    made = Labels(np.zeros(source.data.shape, int), metadata=made_from(source))
    write_labels(str(cells.with_name("m.tif")), made.data, attributes(made))
    check(cells.with_name("m.tif"))


# ---- masks of image layers -----------------------------------------------------------------------------------


def image(name, **more):
    return Image(np.zeros((8, 9)), name=name, contrast_limits=(0, 1), **more)


def test_masks_have_the_scale_of_their_images_and_a_pixel_is_255(make_napari_viewer, cells, said):
    viewer = make_napari_viewer()
    source = opened(viewer, cells)
    mask = np.zeros(source.data.shape, np.uint8)
    mask[1, 3] = 7
    (path,) = save_masks(cells.with_name("m"), [mask], [source])
    check(path)
    np.testing.assert_array_equal(read_image(path).data, (mask > 0) * np.uint8(255))
    assert said()[-1].startswith("The layer has no voxel size; that of its file is saved")


@pytest.mark.parametrize(
    ("typed", "ome", "file"),
    [
        ("m", False, "m.tif"),
        ("m", True, "m.ome.tif"),
        ("m.tif", False, "m.tif"),
        ("m.TIFF", True, "m.TIFF"),
        ("m.ome.tif", False, "m.ome.tif"),
        ("cells 1.5 um", False, "cells 1.5 um.tif"),
        ("m.png", False, "m.png.tif"),
    ],
)
def test_a_name_gets_the_ending_that_it_lacks(tmp_path, typed, ome, file):
    assert mask_paths(tmp_path / typed, [image("a")], ome) == [tmp_path / file]


@pytest.mark.parametrize(
    "names",
    [
        ("a/b", "a b", "a_b"),
        ("Cells", "cells", "CELLS"),
        ("***", "???"),
        ("x" * 300, "x" * 301),
        (unicodedata.normalize("NFC", "Zelle ü"), unicodedata.normalize("NFD", "Zelle ü")),
        ("a", "a [1]", "a 1"),
    ],
)
def test_no_two_layers_write_one_file(tmp_path, names):
    layers = [image(name) for name in names]
    masks = [np.full((8, 9), number == 0) for number in range(len(names))]
    paths = save_masks(tmp_path / "mask.tif", masks, layers)
    assert len({unicodedata.normalize("NFC", path.name).casefold() for path in paths}) == len(names)
    assert len(list(tmp_path.iterdir())) == len(names)
    assert [read_image(path).data.max() == 255 for path in paths] == [mask.any() for mask in masks]


def test_masks_of_several_layers_are_named_so_that_they_are_paired_with_their_images(tmp_path):
    paths = mask_paths(tmp_path / "mask.ome.tif", [image("one"), image("two.2")])
    assert [path.name for path in paths] == ["one_mask.ome.tif", "two_2_mask.ome.tif"]


def test_the_image_itself_is_never_written_over(make_napari_viewer, cells):
    source = opened(make_napari_viewer(), cells)
    before = cells.read_bytes()
    for typed in (cells, cells.with_suffix("")):
        with pytest.raises(InputError, match=r"cells\.tif is the image itself"):
            save_masks(typed, [np.zeros(source.data.shape)], [source])
    assert cells.read_bytes() == before


def test_the_mask_is_proposed_beside_its_image(make_napari_viewer, cells, monkeypatch, qtbot):
    viewer, asked = make_napari_viewer(), []
    source, parent = opened(viewer, cells), QWidget()
    qtbot.addWidget(parent)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *given: (asked.append(given[2]), ("", ""))[1])
    assert ask_where(parent, [source]) is None
    ask_where(parent, [source], ome=True)
    ask_where(parent, [source, image("b")])
    ask_where(parent, [image("a/b")])
    folder = cells.parent
    assert asked == [
        str(folder / "cells_mask.tif"),
        str(folder / "cells_mask.ome.tif"),
        str(folder / "mask.tif"),
        "a_b_mask.tif",
    ]


@pytest.mark.parametrize("answer", [True, False])
def test_files_of_names_that_were_not_typed_are_replaced_only_if_wanted(tmp_path, monkeypatch, qtbot, answer):
    parent, asked = QWidget(), []
    qtbot.addWidget(parent)
    (tmp_path / "m.tif").touch()
    buttons = QMessageBox.StandardButton
    reply = buttons.Yes if answer else buttons.No
    monkeypatch.setattr(QMessageBox, "question", lambda *given: (asked.append(given[2]), reply)[1])
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *given: (str(tmp_path / "m"), ""))
    assert ask_where(parent, [image("a")]) == (tmp_path / "m" if answer else None)
    assert asked == ["m.tif is there already. Replace it?"]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *given: (str(tmp_path / "m.tif"), ""))
    assert ask_where(parent, [image("a")]) == tmp_path / "m.tif"
    assert len(asked) == 1  # the dialog has asked already
