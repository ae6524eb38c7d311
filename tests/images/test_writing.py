"""Writing: what is written comes back, Fiji's tags are where Fiji looks, and a file is whole or as it was before."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import read_image
from napari_metastructure.images.image import Image, convert
from napari_metastructure.images.writing import (
    make_folder,
    remove,
    replacing,
    replacing_folder,
    save_figure,
    tiff_axes,
    write_mask,
    write_probability,
    write_tiff,
)

SIZES = {"T": 2, "Z": 3, "C": 2, "Y": 9, "X": 11}


steps = st.floats(1e-3, 1e3)


@st.composite
def images(draw, axes=("YX", "ZYX", "TYX", "TZYX", "TZCYX", "CYX", "ZTYX", "YXZ")):
    """Axes in any order, scale and units such as napari layers carry, dtypes ImageJ knows."""
    axes = draw(st.sampled_from(axes))
    length = draw(st.sampled_from(["micrometer", "nanometer", "millimeter", "pixel"]))
    scale = {a: draw(steps) if a in "ZYX" else 1.0 for a in axes}
    units = {a: length if a in "ZYX" else "pixel" for a in axes}
    if "T" in axes and draw(st.booleans()):
        scale["T"], units["T"] = draw(steps), "second"
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    shape = [SIZES[a] for a in axes]
    data = (np.arange(np.prod(shape)).reshape(shape) * 7 % 251).astype(dtype)
    return Image(data, axes, tuple(scale.values()), tuple(units.values()), "x")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=images(), ome=st.booleans())
def test_roundtrip_keeps_pixels_axes_scale_and_units(tmp_path, image, ome):
    write_tiff(tmp_path / "x.tif", image.data, image.axes, image.scale, image.units, ome=ome)
    back = read_image(tmp_path / "x.tif")
    order = sorted(range(len(image.axes)), key=lambda i: "TZCYXS".index(image.axes[i]))
    assert back.axes == "".join(image.axes[i] for i in order)
    assert back.data.dtype == image.data.dtype
    np.testing.assert_array_equal(back.data, image.data.transpose(order))
    np.testing.assert_allclose(back.scale, [image.scale[i] for i in order], rtol=1e-6)
    assert back.units == tuple(image.units[i] for i in order)


def test_fiji_reads_voxel_size_unit_and_frame_interval(tmp_path):
    like = Image(
        np.zeros((4, 3, 9, 11)),
        "TZYX",
        (2.5, 2.0, 0.5, 0.25),
        ("second", "micrometer", "micrometer", "micrometer"),
        "x",
    )
    mask = np.arange(like.data.size).reshape(like.data.shape) % 2
    write_mask(tmp_path / "x.tif", mask, like)
    with tifffile.TiffFile(tmp_path / "x.tif") as tif:
        assert tif.is_imagej
        assert tif.series[0].axes == "TZYX"
        facts = tif.imagej_metadata
        assert (facts["unit"], facts["spacing"], facts["finterval"]) == ("micron", 2.0, 2.5)
        assert (facts["frames"], facts["slices"], facts["hyperstack"]) == (4, 3, True)
        tags = tif.pages.first.tags
        assert tags.valueof("XResolution") == (4, 1)  # pixels per micron
        assert tags.valueof("YResolution") == (2, 1)
        assert tags.valueof("ResolutionUnit") == 1  # none: the unit is ImageJ's
        written = tif.asarray()
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, mask * 255)


@pytest.mark.parametrize(("top", "shown"), [(0, None), (3, 3.0), (255, None), (700, 700.0)])
def test_fiji_shows_labels_from_0_to_the_greatest(tmp_path, top, shown):
    """Else it shows 8 bits from 0 to 255, where class 3 is black, and stacks by a first slice that may be empty."""
    labels = np.zeros((2, 9, 11), np.uint16)
    labels[1, 4] = top
    write_tiff(tmp_path / "x.tif", labels.astype(np.min_scalar_type(top)), "ZYX", (1,) * 3, ("pixel",) * 3)
    with tifffile.TiffFile(tmp_path / "x.tif") as tif:
        facts = tif.imagej_metadata
    assert (facts.get("min"), facts.get("max")) == ((None, None) if shown is None else (0.0, shown))


def test_ome_tiff_says_physical_size(tmp_path):
    like = Image(np.zeros((3, 9, 11)), "ZYX", (2, 0.5, 0.5), ("micrometer",) * 3, "x")
    probability = np.random.default_rng(0).random(like.data.shape)
    write_probability(tmp_path / "x.ome.tif", probability, like, ome=True)
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as tif:
        assert tif.is_ome
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    assert [pixels[f"PhysicalSize{a}"] for a in "ZYX"] == [2.0, 0.5, 0.5]
    assert pixels["PhysicalSizeXUnit"] == "µm"
    back = read_image(tmp_path / "x.ome.tif")
    assert (back.name, back.scale, back.data.dtype) == ("x", (2.0, 0.5, 0.5), np.float32)
    np.testing.assert_array_equal(back.data, probability.astype(np.float32))


def test_mixed_units_are_written_in_that_of_x(tmp_path):
    write_tiff(
        tmp_path / "x.tif", np.ones((2, 3, 9, 9), np.uint8), "TZYX", (2, 500, 0.1, 0.1),
        ("minute", "nanometer", "micrometer", "micrometer"),
    )  # fmt: skip
    back = read_image(tmp_path / "x.tif")
    np.testing.assert_allclose(back.scale, (120, 0.5, 0.1, 0.1), rtol=1e-6)
    assert back.units == ("second", "micrometer", "micrometer", "micrometer")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([0, 1], "uint8"), ([0, 255], "uint8"), ([0, 256], "uint16"), ([0, 65536], "uint32"), ([-1, 3], "int32")],
)
def test_labels_take_the_smallest_dtype_that_holds_them(tmp_path, values, dtype):
    labels = np.resize(np.array(values, dtype=np.int64), (9, 9))
    write_tiff(tmp_path / "x.tif", labels, "YX", (1, 1), ("pixel", "pixel"))
    back = tifffile.imread(tmp_path / "x.tif")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, labels)
    with tifffile.TiffFile(tmp_path / "x.tif") as tif:
        assert tif.is_imagej == (dtype in ("uint8", "uint16"))
        assert tif.is_ome == (dtype in ("uint32", "int32"))


def test_rgb_roundtrip(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (9, 11, 3), dtype=np.uint8)
    for ome in (False, True):
        write_tiff(tmp_path / "x.tif", rgb, "YXS", (1, 1, 1), ("pixel",) * 3, ome=ome)
        back = read_image(tmp_path / "x.tif")
        assert back.axes == "YXS"
        np.testing.assert_array_equal(back.data, rgb)


@pytest.mark.parametrize(
    ("data", "axes", "scale", "word"),
    [
        (np.zeros((9, 9), complex), "YX", (1, 1), "complex"),
        (np.zeros((9, 9), np.uint8), "YX", (0, 1), "positive"),
        (np.zeros((9, 9), np.uint8), "YX", (np.nan, 1), "positive"),
        (np.zeros((0, 9), np.uint8), "YX", (1, 1), "no pixels"),
        (np.zeros((2, 9, 9), np.uint8), "QYX", (1, 1, 1), "axes"),
        (np.full((9, 9), 2**40), "YX", (1, 1), "relabel"),
    ],
)
def test_what_tiff_cannot_hold_is_refused_and_leaves_nothing(tmp_path, data, axes, scale, word):
    with pytest.raises(InputError, match=word):
        write_tiff(tmp_path / "x.tif", data, axes, scale, ("pixel",) * data.ndim)
    assert not list(tmp_path.iterdir())


def write(path, value=1):
    write_tiff(path, np.full((9, 9), value, np.uint8), "YX", (1, 1), ("pixel", "pixel"))


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission"), (errno.EIO, "another folder")]
)
def test_failure_in_the_middle_keeps_the_old_file_and_no_rest(tmp_path, monkeypatch, code, words):
    write(tmp_path / "x.tif", 1)

    def half(path, *args, **kwargs):
        path.write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tifffile, "imwrite", half)
    with pytest.raises(InputError, match=words) as caught:
        write(tmp_path / "x.tif", 2)
    assert str(tmp_path / "x.tif") in str(caught.value)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["x.tif"]
    assert (tifffile.imread(tmp_path / "x.tif") == 1).all()


def test_what_numpy_could_not_write_is_a_full_disk(tmp_path):
    with pytest.raises(InputError, match=r"Cannot write .*x\.tif: the disk is full"), replacing(tmp_path / "x.tif"):
        raise OSError("2097152 requested and 524196 written")


@pytest.mark.parametrize("ome", [True, False])
@pytest.mark.parametrize(
    ("size", "unit"),
    [
        (1e-10, "meter"), (1e12, "meter"), (500, "picometer"), (1, "parsec"), (2e-10, "micrometer"), (1e12, "pixel"),
        (1e-10, "pixel"), (3.3e7, "inch"), (1e-18, "nanometer"), (1e300, "meter"), (25e-9, "meter"),
    ],
)  # fmt: skip
def test_sizes_of_any_order_are_written_right(tmp_path, size, unit, ome):
    write_tiff(tmp_path / "x.tif", np.zeros((3, 9, 9), np.uint8), "ZYX", (size, 2 * size, size), (unit,) * 3, ome=ome)
    image = read_image(tmp_path / "x.tif")
    found = [convert(step, own, unit) for step, own in zip(image.scale, image.units, strict=True)]
    assert found == pytest.approx([size, 2 * size, size], rel=1e-6, abs=0)


def test_units_that_cannot_be_converted_stay_apart(tmp_path):
    for scale, units in (((2, 0.1, 0.1), ("pixel", "micrometer", "micrometer")), ((0.5, 0.1), ("pixel", "micrometer"))):
        write_tiff(tmp_path / "x.tif", np.zeros((9,) * len(scale), np.uint8), "ZYX"[-len(scale) :], scale, units)
        image = read_image(tmp_path / "x.tif")
        assert (image.scale, image.units) == (scale, units)


def test_an_interrupt_leaves_no_rest(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x") as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="POSIX devices")
@pytest.mark.parametrize("name", ["pipe", "link", "/dev/null", "/dev/stdout"])
def test_devices_are_not_replaced(tmp_path, monkeypatch, name):
    """Renaming a new file to /dev/null, which root may do, would break everything else on the machine."""
    monkeypatch.setattr(os, "replace", lambda *_: pytest.fail("replaced"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    with pytest.raises(InputError, match="is a device or a pipe"), replacing(tmp_path / name):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "pipe"]


def test_missing_folder_and_folder_in_the_way(tmp_path):
    with pytest.raises(InputError, match="create it first"):
        write(tmp_path / "no" / "x.tif")
    (tmp_path / "x.tif").mkdir()
    with pytest.raises(InputError, match="in the way"):
        write(tmp_path / "x.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["x.tif"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
def test_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="permission"):
            write(tmp_path / "x.tif")
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_may_not_be_entered(tmp_path, monkeypatch):
    def denied(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", denied)
    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(Path, "mkdir", denied)
    for make in (replacing, replacing_folder):
        with pytest.raises(InputError, match="permission"), make(tmp_path / "x"):
            pass


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_new_files_get_the_users_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write(tmp_path / "x.tif")
    assert (tmp_path / "x.tif").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_folders_are_made_and_files_removed_or_named(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    file = tmp_path / "a" / "file"
    file.touch()
    with pytest.raises(InputError, match="file"):
        make_folder(file / "below")
    remove([file, tmp_path / "never there"])
    assert not file.exists()
    with pytest.raises(InputError, match="Cannot write"):
        remove([tmp_path / "a"])


@pytest.mark.parametrize(
    ("labels", "units", "axes"),
    [
        (("-2", "-1"), ("pixel",) * 2, "YX"),
        (("-3", "-2", "-1"), ("pixel",) * 3, "ZYX"),
        (("-3", "-2", "-1"), ("second", "pixel", "pixel"), "TYX"),
        (("time", "y", "x"), ("pixel",) * 3, "TYX"),
        (("epoch", "-2", "-1"), ("pixel",) * 3, "TYX"),
        (("epoch", "z", "y", "x"), ("pixel",) * 4, "TZYX"),
        (("epoch", "t", "y", "x"), ("pixel",) * 4, "CTYX"),
        (("epoch", "-3", "-2", "-1"), ("pixel", "s", "um", "um"), "CTYX"),
        (("epoch", "-3", "-2", "-1"), ("pixel", "um", "um", "um"), "TZYX"),
        (("epoch", "-4", "-3", "-2", "-1"), ("pixel",) * 5, "CTZYX"),
        (("a", "b", "c", "y", "x"), ("pixel",) * 5, "TZCYX"),
        (("-4", "-3", "-2", "-1"), ("pixel",) * 4, "TZYX"),
        (("-4", "-3", "-2", "-1"), ("um", "second", "um", "um"), "ZTYX"),
        (("-5", "-4", "-3", "-2", "-1"), ("pixel",) * 5, "TZCYX"),
        (("c", "-3", "-2", "-1"), ("pixel",) * 4, "CZYX"),
        (("t", "-4", "-3", "-2", "-1"), ("pixel",) * 5, "TZCYX"),
        (("frame", "slice", "y", "x"), ("pixel",) * 4, "TZYX"),
        (("y", "x", "z"), ("um",) * 3, "YXZ"),
    ],
)
def test_every_axis_gets_a_letter_of_its_own(labels, units, axes):
    assert tiff_axes(labels, units) == axes


def test_too_many_axes_are_refused():
    with pytest.raises(InputError, match="two to five dimensions; these have 6"):
        tiff_axes(tuple("abcdyx"), ("pixel",) * 6)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("name", ["a$\\bad{$", "b$_{1", "\u65e5\u672c", "100%_\\alpha$"])
def test_names_stand_in_figures_as_they_are(tmp_path, recwarn, name, ending):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    axes.barh([0], [1], label=name)
    axes.set_yticks([0], [name])
    axes.set_title(name)
    axes.legend()
    assert save_figure(tmp_path / f"x.{ending}", figure).stat().st_size > 1000
    assert not [warning for warning in recwarn if "missing" in str(warning.message)]
