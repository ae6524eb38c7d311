"""What is saved of a layer has the axes, voxel size and unit of its pixels, from wherever they are known."""

import dask.array as da
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.plugins import _initialize_plugins

from napari_metastructure.plugin._calibration import calibration, pixel_size
from napari_metastructure.plugin._layers import file_of, made_from, placement

UM = ("um", "um")


def of(layer):
    shape = layer.data[0].shape if layer.multiscale else layer.data.shape
    return calibration(shape[:-1] if getattr(layer, "rgb", False) else shape, placement(layer), file_of(layer))


def image(shape=(8, 9), **attributes):
    return Image(np.zeros(shape), contrast_limits=(0, 1), **attributes)


def turned(angle):
    affine, angle = np.eye(3), np.deg2rad(angle)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine


# ---- what the layer says -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "lost"),
    [
        ({"scale": (0.1, 0.2)}, ""),
        ({"affine": np.diag([0.1, 0.2, 1])}, ""),
        ({"scale": (10, 2), "affine": np.diag([0.01, 0.1, 1])}, ""),
        ({"scale": (-0.1, 0.2)}, "flip"),
        ({"scale": (0.1, -0.2)}, "flip"),
        ({"scale": (-0.1, -0.2)}, "flip"),
        ({"affine": np.diag([-0.1, 0.2, 1])}, "flip"),
        ({"scale": (0.1, 0.2), "rotate": 30}, "rotation"),
        ({"scale": (0.1, 0.2), "rotate": 90}, "rotation"),
        ({"affine": turned(30) @ np.diag([0.1, 0.2, 1])}, "rotation"),
        ({"scale": (0.1, 0.2), "affine": turned(-50)}, "rotation"),
        ({"scale": (0.1, 0.2), "shear": [0.3]}, "shear"),
        ({"scale": (0.1, 0.2), "translate": (-30, 5)}, "shift"),
        ({"scale": (-0.1, 0.2), "shear": [0.3], "translate": (3, 5)}, "flip, shear and shift"),
        ({"scale": (0.1, 0.2), "rotate": 30, "shear": [0.3]}, "rotation and shear"),
    ],
)
def test_the_voxel_size_is_that_of_the_whole_transform_and_what_is_lost_is_told(attributes, lost):
    layer = image(units=UM, **attributes)
    found = of(layer)
    assert found.scale == pytest.approx((0.1, 0.2))
    assert pixel_size(layer) == pytest.approx((0.1, 0.2))
    assert found.units == ("micrometer",) * 2
    wanted = [f"TIFF cannot store the layer's {lost}; its pixels are written as they are."] if lost else []
    assert list(found.notes) == wanted


@pytest.mark.parametrize(
    ("units", "scale", "written"),
    [
        (("um", "nm"), (0.1, 200), ((0.1, "micrometer"), (200, "nanometer"))),
        (("dm", "dm"), (1, 2), ((1, "decimeter"), (2, "decimeter"))),
        (("px", "px"), (0.1, 0.2), ((0.1, "pixel"), (0.2, "pixel"))),
        (("degree", "degree"), (0.1, 0.2), ((0.1, "pixel"), (0.2, "pixel"))),
    ],
)
def test_units_are_those_that_tiff_knows(units, scale, written):
    found = of(image(units=units, scale=scale))
    assert [(size, unit) for size, unit in zip(found.scale, found.units, strict=True)] == [
        (pytest.approx(size), unit) for size, unit in written
    ]
    assert any("degree" in note for note in found.notes) == ("degree" in units)


def test_a_rotation_between_units_is_in_each_axis_own():
    found = of(image(units=("um", "nm"), rotate=90, scale=(1, 1)))  # one step of Y is 1 nm on the axis of X
    assert found.scale == pytest.approx((1e-3, 1e3))


@pytest.mark.parametrize(
    ("shape", "axes", "kept"),
    [
        ((8, 9), "YX", (8, 9)),
        ((1, 1, 1, 5, 8, 9), "ZYX", (5, 8, 9)),
        ((5, 1, 8, 9), "ZYX", (5, 8, 9)),
        ((2, 5, 8, 9), "TZYX", (2, 5, 8, 9)),
        ((2, 5, 3, 8, 9), "TZCYX", (2, 5, 3, 8, 9)),
        ((2, 1, 5, 1, 3, 8, 9), "TZCYX", (2, 5, 3, 8, 9)),
        ((1, 1), "YX", (1, 1)),
        ((4, 1, 9), "ZYX", (4, 1, 9)),
    ],
)
def test_unnamed_axes_are_t_z_c_and_those_of_length_one_are_left_out(shape, axes, kept):
    found = of(image(shape))
    assert (found.axes, found.shape) == (axes, kept)


def test_steps_without_a_unit_beside_others_with_one_are_told():
    (note,) = of(image((5, 8, 9), scale=(2, 0.1, 0.1), units=("pixel", *UM))).notes
    assert note == "Z has no unit of length; Fiji will read its step as 2 micrometer."
    (note,) = of(image((5, 8, 9), scale=(2, 0.1, 0.1), units=("pixel", *UM), axis_labels=("t", "y", "x"))).notes
    assert note == "The step of T has no unit of time; it is not written."
    (note,) = of(image()).notes
    assert "counts in pixels" in note


# ---- what its file says --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _readers():
    """napari's own, which a viewer without a window does not look for."""
    _initialize_plugins()


STEPS = {
    "T": (2, "second"),
    "C": (1, "pixel"),
    "Z": (0.5, "micrometer"),
    "Y": (0.2, "micrometer"),
    "X": (0.1, "micrometer"),
}
SIZES = {"T": 3, "Z": 4, "C": 2, "Y": 16, "X": 20}


def file(folder, axes="YX", name="cells.tif", rgb=False):
    pixels = np.random.default_rng(0).integers(0, 255, [SIZES[a] for a in axes] + [3] * rgb, dtype=np.uint8)
    about = {"axes": axes + "S" * rgb, "unit": "um", "spacing": 0.5, "finterval": 2.0}
    tifffile.imwrite(folder / name, pixels, imagej=True, resolution=(10, 5), metadata=about)
    return folder / name


def opened(path, **attributes):
    (layer,) = ViewerModel().open(path, plugin="napari", **attributes)
    return layer


@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "TZYX", "CYX", "ZCYX", "TCYX", "TZCYX"])
def test_what_napari_left_in_the_file_is_used_and_told(tmp_path, axes):
    layer = opened(file(tmp_path, axes))
    assert list(layer.scale) == [1] * len(axes)
    found = of(layer)
    assert found.axes == axes
    for axis, size, unit in zip(axes, found.scale, found.units, strict=True):
        assert (size, unit) == (pytest.approx(STEPS[axis][0]), STEPS[axis][1])
    said = ("2 second x " * ("T" in axes)) + ("0.5 x " * ("Z" in axes)) + "0.2 x 0.1 micrometer."
    assert f"The layer has no voxel size; that of its file is saved, {said}" in found.notes


def test_rgb_and_pyramids_are_read_as_the_rest(tmp_path):
    assert of(opened(file(tmp_path, rgb=True), rgb=True)).scale == pytest.approx((0.2, 0.1))
    layer = opened(file(tmp_path))
    pyramid = Image([layer.data, layer.data[::2, ::2]], multiscale=True)
    pyramid._set_source(layer.source)
    assert of(pyramid).scale == pytest.approx((0.2, 0.1))


@pytest.mark.parametrize("ending", [".ome.tif", ".tif"])
def test_ome_is_read_too(tmp_path, ending):
    about = {"axes": "ZYX", "PhysicalSizeX": 100, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.2}
    tifffile.imwrite(tmp_path / f"a{ending}", np.zeros((4, 16, 20), np.uint8), ome=True, metadata=about)
    found = of(opened(tmp_path / f"a{ending}"))
    assert (found.axes, found.scale[1:], found.units[1:]) == ("ZYX", (0.2, 100), ("micrometer", "nanometer"))


def test_split_channels_and_duplicates_know_their_file(tmp_path):
    layer = opened(file(tmp_path, "ZCYX"))
    one = Image(layer.data[:, 0])
    one._set_source(type(layer.source)(parent=layer))
    again = Image(one.data)
    again._set_source(type(layer.source)(parent=one))
    for part in (one, again):
        found = of(part)
        assert (found.axes, found.scale) == ("ZYX", pytest.approx((0.5, 0.2, 0.1)))


@pytest.mark.parametrize("epochs", [7, SIZES["Z"]])
def test_an_axis_before_those_of_the_file_does_not_stand_in_the_way(tmp_path, epochs):
    layer = opened(file(tmp_path, "ZYX"))
    made = Labels(np.zeros((epochs, *layer.data.shape), int), metadata=made_from(layer), **placement(layer, "epoch"))
    found = of(made)
    assert (found.axes, found.scale[1:]) == ("TZYX", pytest.approx((0.5, 0.2, 0.1)))


def test_a_lazy_stack_of_files_takes_their_pixel_size(tmp_path):
    files = [str(file(tmp_path, name=f"{i}.tif")) for i in range(3)]
    (layer,) = ViewerModel().open(files, stack=True, plugin="napari")
    assert isinstance(layer.data, da.Array)
    found = of(layer)
    assert (found.axes, found.scale[1:]) == ("ZYX", pytest.approx((0.2, 0.1)))
    assert any("Z has no unit" in note for note in found.notes)


@pytest.mark.parametrize("wins", ["layer", "file"])
def test_a_layer_that_says_otherwise_is_believed(tmp_path, wins):
    path = file(tmp_path, "ZYX")
    if wins == "layer":
        found = of(opened(path, scale=(3, 0.7, 0.7)))
        assert (found.scale, found.units) == ((3, 0.7, 0.7), ("pixel",) * 3)
        found = of(opened(path, scale=(3, 0.7, 0.7), units=("um",) * 3))
        assert (found.scale, found.units) == ((3, 0.7, 0.7), ("micrometer",) * 3)
    else:  # a reader that gave sizes without units, or those of Y and X alone
        found = of(opened(path, scale=(0.5, 0.2, 0.1)))
        assert (found.scale, found.units) == ((0.5, 0.2, 0.1), ("micrometer",) * 3)
        found = of(opened(path, scale=(1, 200, 100), units=("pixel", "nm", "nm")))
        assert (found.scale, found.units) == ((0.5, 200, 100), ("micrometer", "nanometer", "nanometer"))


def test_a_file_of_another_size_or_none_says_nothing(tmp_path):
    path = file(tmp_path, "ZYX")
    layer = opened(path)
    layer.data = layer.data[:, ::2, ::2]  # binned
    assert of(layer).units == ("pixel",) * 3
    path.unlink()
    assert file_of(layer) is None
    path.write_bytes(b"II*\0 no longer an image")
    assert of(layer).units == ("pixel",) * 3


def test_layers_made_from_one_know_its_file(tmp_path):
    layer = opened(file(tmp_path))
    made = Labels(np.zeros(layer.data.shape, int), metadata=made_from(layer, seed=3))
    assert file_of(made) == file_of(layer) == tmp_path / "cells.tif"
    assert file_of(image()) is None
