"""Reading: what files of every kind become, and what broken ones say."""

import io
import logging
import os
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import (
    check_free,
    list_images,
    output_stems,
    read_image,
    stem,
)

GREY = np.random.default_rng(0).integers(0, 255, (24, 31), dtype=np.uint8)


RGB = np.random.default_rng(1).integers(0, 255, (24, 31, 3), dtype=np.uint8)


def png(path, array):
    PIL.Image.fromarray(array).save(path, format="PNG")
    return path


@pytest.mark.parametrize("unit", ["micron", "um", "µm", "\\u00B5m", "microns", "Micrometer"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_imagej_units_of_all_spellings(tmp_path, unit, encoding):
    description = f"ImageJ=1.54f\nimages=3\nslices=3\nunit={unit}\nspacing=2.0\nloop=false\n"
    tifffile.imwrite(
        tmp_path / "x.tif",
        np.stack([GREY] * 3),
        metadata=None,
        description=description.encode(encoding),
        resolution=(4, 2),
        resolutionunit=1,
        photometric="minisblack",
    )
    image = read_image(tmp_path / "x.tif")
    assert (image.axes, image.scale, image.units) == ("ZYX", (2, 0.5, 0.25), ("micrometer",) * 3)
    assert (image.name, image.source) == ("x", tmp_path / "x.tif")


def test_plain_tiff_has_no_scale_and_its_pages_are_slices(tmp_path):
    tifffile.imwrite(
        tmp_path / "x.tif",
        np.stack([GREY] * 3),
        metadata=None,
        resolution=(72, 72),
        resolutionunit=2,
        photometric="minisblack",
    )
    image = read_image(tmp_path / "x.tif")
    assert (image.axes, image.scale, image.units) == ("ZYX", (1, 1, 1), ("pixel",) * 3)


@pytest.mark.parametrize("axes", ["TZCYX", "CZYX", "TYX"])
def test_ome_axes_scale_and_time(tmp_path, axes):
    shape = [{"T": 2, "Z": 3, "C": 4, "Y": 9, "X": 11}[a] for a in axes]
    metadata = {
        "axes": axes, "PhysicalSizeX": 100.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.2,
        "TimeIncrement": 2.0, "TimeIncrementUnit": "min", "PhysicalSizeZ": 0.3,
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "x.ome.tif", np.ones(shape, np.uint16), ome=True, metadata=metadata)
    image = read_image(tmp_path / "x.ome.tif")
    steps = {a: (s, u) for a, s, u in zip(image.axes, image.scale, image.units, strict=True)}
    assert sorted(image.axes) == sorted(axes)
    assert (steps["X"], steps["Y"]) == ((100, "nanometer"), (0.2, "micrometer"))  # OME's default is µm
    assert steps.get("T", (2, "minute")) == (2, "minute")
    assert steps.get("Z", (0.3, "micrometer")) == (0.3, "micrometer")


def test_bigtiff_compressed_and_big_endian(tmp_path):
    data = GREY.astype(np.uint16) * 200
    tifffile.imwrite(tmp_path / "big.tif", data, bigtiff=True)
    tifffile.imwrite(tmp_path / "lzw.tif", data, compression="lzw")
    tifffile.imwrite(tmp_path / "be.tif", data, byteorder=">")
    for name in ("big", "lzw", "be"):
        back = read_image(tmp_path / f"{name}.tif").data
        assert back.dtype == np.dtype(np.uint16)
        assert back.dtype.isnative
        np.testing.assert_array_equal(back, data)


def test_pictures_keep_depth_and_colours(tmp_path):
    deep = GREY.astype(np.uint16) * 257
    np.testing.assert_array_equal(read_image(png(tmp_path / "deep.png", deep)).data, deep)
    image = read_image(png(tmp_path / "rgb.png", RGB))
    assert image.axes == "YXS"
    np.testing.assert_array_equal(image.data, RGB)
    assert read_image(png(tmp_path / "bool.png", GREY > 100)).data.dtype == bool
    palette = PIL.Image.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png").data, np.asarray(palette.convert("RGB")))
    PIL.Image.fromarray(GREY).convert("LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png").data, GREY)
    PIL.Image.fromarray(GREY).save(tmp_path / "x.jpg", quality=95)
    assert read_image(tmp_path / "x.jpg").data.shape == GREY.shape
    frames = [PIL.Image.fromarray(GREY), PIL.Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    film = read_image(tmp_path / "x.gif")
    assert film.axes == "TYX"
    np.testing.assert_array_equal(film.data, np.stack([GREY, 255 - GREY]))


def test_content_decides_and_a_wrong_ending_is_mentioned(tmp_path):
    png(tmp_path / "x.tif", GREY)
    with pytest.warns(UserWarning, match=r"x\.tif holds a PNG"):
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif").data, GREY)
    tifffile.imwrite(tmp_path / "y.png", GREY)
    with pytest.warns(UserWarning, match=r"y\.png holds a TIFF"):
        np.testing.assert_array_equal(read_image(tmp_path / "y.png").data, GREY)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"no image at all", "is no image file"),
        (b"II*\0", "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        (b"\xff\xd8\xff\xe0", "damaged or cut short"),
    ],
)
@pytest.mark.parametrize("name", ["x.tif", "x.png"])
def test_broken_files_are_named(tmp_path, content, words, name):
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=words) as caught:
            read_image(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_as_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "x.tif")
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path)


def _encoded(kind: str) -> bytes:
    out = io.BytesIO()
    stack = np.stack([GREY, 255 - GREY, GREY // 2])
    if kind == "png":
        PIL.Image.fromarray(GREY).save(out, format="PNG")
    elif kind == "imagej":
        tifffile.imwrite(out, stack, imagej=True, metadata={"axes": "ZYX"})
    elif kind == "ome":
        tifffile.imwrite(out, stack, ome=True, metadata={"axes": "ZYX"})
    elif kind == "pages":
        tifffile.imwrite(out, stack, metadata=None, compression="zlib")
    else:
        tifffile.imwrite(out, stack, metadata={"axes": "ZYX"}, compression="lzw")
    return out.getvalue()


FILES = {kind: _encoded(kind) for kind in ("png", "imagej", "ome", "pages", "shaped")}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(FILES)), share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path, kind, share):
    """Never pixels that are not in the file: some readers fill the missing rest with zeros."""
    content = FILES[kind]
    path = tmp_path / ("x.png" if kind == "png" else "x.tif")
    path.write_bytes(content)
    whole = read_image(path).data
    path.write_bytes(content[: int(share * len(content))])
    try:
        back = read_image(path).data
    except InputError as error:
        assert str(path) in str(error)
        return
    np.testing.assert_array_equal(back, whole)


def test_reading_leaves_the_log_of_tifffile_as_it_was(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", GREY)
    log = logging.getLogger("tifffile")
    before = (log.propagate, list(log.handlers))
    read_image(tmp_path / "x.tif")
    assert (log.propagate, log.handlers) == before


def test_list_images_sorts_skips_and_names(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    png(folder / "b.png", GREY)
    png(folder / "a.png", GREY)
    png(folder / ".hidden.png", GREY)
    (folder / "notes.txt").write_text("hello")
    (folder / "broken.tif").write_text("hello")
    (folder / "deeper").mkdir()
    png(folder / "deeper" / "c.png", GREY)
    with pytest.warns(UserWarning, match=r"notes\.txt is no image") as notes:
        files = list_images([folder, folder / "a.png"])
    assert len(notes) == 1
    # broken.tif claims to be an image: it stays, so that reading tells what is wrong with it.
    assert [f.name for f in files] == ["a.png", "b.png", "broken.tif"]
    with pytest.raises(InputError, match=r"notes\.txt is no image"):
        list_images([folder / "notes.txt"])
    with pytest.raises(InputError, match="does not exist"):
        list_images([folder / "nothing.tif"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        list_images([tmp_path / "empty"])
    with pytest.raises(InputError, match="No image was given"):
        list_images([])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
def test_what_may_not_be_read_is_named(tmp_path):
    path = png(tmp_path / "x.png", GREY)
    path.chmod(0)
    with pytest.raises(InputError, match=r"x\.png .*permissions"):
        read_image(path)
    path.chmod(0o600)
    tmp_path.chmod(0)
    try:
        for named in (tmp_path, path):
            with pytest.raises(InputError, match="permissions"):
                list_images([named])
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="Cannot look into the folder"):
        list_images([tmp_path])


@pytest.mark.parametrize(("name", "expected"), [("a.tif", "a"), ("a.ome.tif", "a"), ("a.b.png", "a.b"), ("a", "a")])
def test_stem(name, expected):
    assert stem(name) == expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/x.png", "a/y.png"], ["x", "y"]),
        (["a/x.png", "a/x.tif"], ["x_png", "x_tif"]),
        (["a/x.png", "b/x.png", "b/y.png"], ["a_x", "b_x", "y"]),
        (["a/x.png", "a/X.png"], ["x", "X_2"]),
        (["a/x.png", "a/x.tif", "b/x.png"], ["a_x_png", "a_x_tif", "b_x_png"]),
        (["c/a/x.png", "d/a/x.png"], ["x", "x_2"]),
        (["a/x.png", "b/x.png", "c/a_x.png"], ["a_x_png", "b_x_png", "a_x"]),
    ],
)
def test_stems_that_clash_are_told_apart(paths, expected):
    assert output_stems([Path(p) for p in paths]) == expected


@given(
    st.lists(
        st.builds("{}/{}{}".format, st.sampled_from("ab"), st.sampled_from(["x", "X", "x_2", "a_x"]),
                  st.sampled_from([".png", ".tif", ".ome.tif"])),
        unique=True,
    )
)  # fmt: skip
def test_stems_are_always_unique_letter_case_aside(paths):
    stems = output_stems([Path(p) for p in paths])
    assert len({s.casefold() for s in stems}) == len(paths)


def test_inputs_are_never_written_over_and_results_only_if_asked(tmp_path):
    first, second = tmp_path / "a.tif", tmp_path / "b.tif"
    check_free([first, second])
    second.touch()
    ways = ("choose another --out", "go on with --resume", "replace it with --overwrite")
    with pytest.raises(InputError, match=r"b\.tif is there already; choose another --out, go on .*, or replace it"):
        check_free([first, second], ways=ways)
    check_free([first, second], overwrite=True)
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=r"b\.tif is an input and would be written over; choose another --out\."):
        check_free([first, second], [tmp_path / "in" / ".." / "b.tif"], overwrite=True, ways=ways)


def test_real_images(real_images):
    for folder in ("er", "mito", "vessels"):
        first = list_images([real_images / folder / "images"])[0]
        image = read_image(first)
        assert image.axes == ("YXS" if folder == "vessels" else "YX")
        assert image.data.dtype in (np.uint8, np.uint16)
        assert image.data.std() > 0
