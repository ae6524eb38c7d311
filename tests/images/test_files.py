"""Reading: what files of every kind become, and what broken ones say."""

import io
import logging
import os
import warnings
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

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
    noting,
    output_stems,
    plane_shape,
    read_image,
    stem,
)
from napari_metastructure.images.label_files import read_labels

GREY = np.random.default_rng(0).integers(0, 255, (24, 31), dtype=np.uint8)


RGB = np.random.default_rng(1).integers(0, 255, (24, 31, 3), dtype=np.uint8)


def png(path, array):
    PIL.Image.fromarray(array).save(path, format="PNG")
    return path


@pytest.mark.parametrize("unit", ["micron", "um", "µm", "\\u00B5m", "microns", "Micrometer"])
@pytest.mark.parametrize(("encoding", "spacing"), [("utf-8", "2.0"), ("latin-1", "2,0")])
def test_imagej_units_of_all_spellings(tmp_path, unit, encoding, spacing):
    description = f"ImageJ=1.54f\nimages=3\nslices=3\nunit={unit}\nspacing={spacing}\nloop=false\n"
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
    assert any("images in its folders are not read (deeper)" in str(note.message) for note in notes)
    assert len(notes) == 2
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


def test_two_names_of_one_file_are_told(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    png(folder / "a.png", GREY)
    (folder / "b.png").symlink_to("a.png")
    (tmp_path / "other").symlink_to("f")
    for named, again in (([folder], "f/b.png"), ([folder / "a.png", tmp_path / "other" / "a.png"], "other/a.png")):
        with noting() as notes:
            assert list_images(named) == [folder / "a.png"]
        assert notes == [f"{tmp_path / again} is the same file as {folder / 'a.png'}, which is read once."]
    with noting() as notes:
        list_images([folder / "a.png"] * 2)
    assert notes == []


def test_a_folder_of_results_within_is_passed_over(tmp_path):
    png(tmp_path / "a.png", GREY)
    for name in ("b", "c", "d", "e", "results"):
        (tmp_path / name).mkdir()
        png(tmp_path / name / ("a_mask.png" if name == "results" else "a.png"), GREY)
    with noting() as notes:
        assert list_images([tmp_path]) == [tmp_path / "a.png"]
    (told,) = notes
    assert "(b, c, d and 1 more)" in told


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode here")
def test_a_name_of_another_encoding_is_refused(tmp_path):
    path = tmp_path / os.fsdecode("für.tif".encode("latin-1"))
    try:
        tifffile.imwrite(path, GREY)
    except OSError:
        pytest.skip("this file system takes no such name")
    for named in ([path], [tmp_path]):
        with pytest.raises(InputError, match="no Unicode; rename the file") as caught:
            list_images(named)
        str(caught.value).encode()


def test_strays_are_passed_over_by_name(tmp_path):
    tifffile.imwrite(tmp_path / "a.TIF", GREY)
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "._a.TIF").write_bytes(b"\0\5\26\7")
    (tmp_path / ".DS_Store").write_bytes(b"\0\5\26\7")
    for name in ("Icon\r", "done", "line\nbreak"):
        (tmp_path / name).touch()
    (tmp_path / "gone").symlink_to("nowhere")
    with noting() as notes:
        assert list_images([tmp_path]) == [tmp_path / "a.TIF"]
    assert sorted(Path(note.split(" ")[0]).name for note in notes) == [
        "Icon\\r", "Thumbs.db", "done", "gone", "line\\nbreak",
    ]  # fmt: skip
    assert all("was skipped" in note and note.isprintable() for note in notes)


def test_a_stray_that_may_not_be_read_is_passed_over(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    (tmp_path / "notes.txt").write_text("hello")
    opened = Path.open

    def refuse(self, *args, **kwargs):
        if self.name == "notes.txt":
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.warns(UserWarning, match=r"notes\.txt .* was skipped"):
        assert list_images([tmp_path]) == [tmp_path / "a.tif"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["pipe", "pipe.tif"])
def test_pipes_are_not_waited_for(tmp_path, name):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    os.mkfifo(tmp_path / name)
    with pytest.warns(UserWarning, match="pipe"):
        assert list_images([tmp_path]) == [tmp_path / "a.tif"]
    for read in (read_image, lambda path: list_images([path])):
        with pytest.raises(InputError, match="is a pipe or a device"):
            read(tmp_path / name)


@pytest.mark.parametrize("top", [1, 255])
def test_a_mask_is_not_taken_for_the_image_of_another(tmp_path, top):
    tifffile.imwrite(tmp_path / "a.tif", np.uint8(top) * (GREY > 100))
    tifffile.imwrite(tmp_path / "a_mask.tif", np.uint8(top) * (GREY > 90))
    with pytest.raises(InputError, match=r"a\.tif is a mask itself, but the file beside it .*; move one of the two"):
        list_images([tmp_path], labels=True)
    with noting():
        assert list_images([tmp_path]) == [tmp_path / "a.tif"]
    assert len(list_images(tmp_path.iterdir(), labels=True)) == 2  # named, so meant
    tifffile.imwrite(tmp_path / "a.tif", np.zeros_like(GREY))  # a blank frame
    with noting():
        assert list_images([tmp_path], labels=True) == [tmp_path / "a_mask.tif"]


def test_results_beside_their_images_are_no_images(tmp_path):
    for name in ("a.tif", "a_mask.tif", "a_probability.ome.tif", "a_epochs.tif", "b.png", "b.tif", "b_png_mask.tif",
                 "c_mask.tif", "c_probability.tif", "d_mask.tif", "a_density.tif"):  # fmt: skip
        tifffile.imwrite(tmp_path / name, GREY)
    with noting() as notes:
        names = [path.name for path in list_images([tmp_path])]
    assert names == ["a.tif", "b.png", "b.tif", "d_mask.tif"]
    assert sum("a_density.tif, a_epochs.tif, a_mask.tif and 4 more are results" in note for note in notes) == 1
    with noting() as notes:
        names = [path.name for path in list_images([tmp_path], labels=True)]
    assert names == ["a_mask.tif", "b.tif", "b_png_mask.tif", "c_mask.tif", "d_mask.tif"]  # what labels are wanted for
    assert "a.tif, b.png are images beside a mask, not read" in notes[0]
    png(tmp_path / "compare.png", GREY)
    with noting():
        assert (tmp_path / "compare.png") in list_images([tmp_path])
        (tmp_path / "run.yaml").touch()
        assert (tmp_path / "compare.png") not in list_images([tmp_path])
    assert list_images([tmp_path / "a_mask.tif"]) == [tmp_path / "a_mask.tif"]  # named, so meant


def test_a_large_png_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    png(tmp_path / "x.png", GREY)
    with noting() as notes:
        assert list_images([tmp_path]) == [tmp_path / "x.png"]
        np.testing.assert_array_equal(read_image(tmp_path / "x.png").data, GREY)
        assert plane_shape(tmp_path / "x.png") == GREY.shape
    assert not notes
    assert PIL.Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_what_memory_does_not_hold_is_refused(tmp_path, monkeypatch, name):
    (png if name == "x.png" else tifffile.imwrite)(tmp_path / name, GREY)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100))
    with pytest.raises(InputError, match=rf"{name} takes .* GB of memory"):
        read_image(tmp_path / name)


def test_the_shape_of_planes_is_found_in_any_file(tmp_path):
    png(tmp_path / "a.png", RGB)
    tifffile.imwrite(tmp_path / "stack.png", np.stack([GREY] * 2), metadata={"axes": "ZYX"})  # a TIFF by its content
    tifffile.imwrite(tmp_path / "c.tif", np.stack([GREY] * 2), imagej=True, metadata={"axes": "CYX"})
    with noting():
        shapes = [plane_shape(tmp_path / name) for name in ("a.png", "stack.png", "c.tif")]
    assert shapes == [GREY.shape, (2, *GREY.shape), GREY.shape]


def test_labels_are_the_numbers_of_a_palette(tmp_path):
    numbers = (GREY > 100).astype(np.uint8) + (GREY > 200)
    picture = PIL.Image.fromarray(numbers)
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "x.png").data, numbers)
    table = np.zeros((3, 256), np.uint16)
    table[:, 1:3] = [[0, 2**15], [2**15, 0], [0, 0]]  # green, then red, which is darker
    tifffile.imwrite(tmp_path / "x.tif", numbers, photometric="palette", colormap=table)
    np.testing.assert_array_equal(read_labels(tmp_path / "x.tif").data, numbers)
    assert read_image(tmp_path / "x.tif").axes == "YXS"


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
    monkeypatch.setattr(Path, "is_file", refuse)  # as of what lies in a folder that may not be entered
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
    with noting() as notes:
        assert output_stems([Path(p) for p in paths]) == expected
    count = Counter(stem(p).casefold() for p in paths)
    renamed = [(p, n) for p, n in zip(paths, expected, strict=True) if n != stem(p) or count[n.casefold()] > 1]
    assert notes == [f"The results of {p} are called {name}." for p, name in renamed]


def test_names_too_long_for_an_ending_are_cut():
    paths = [Path(f"{'ü' * 124}{end}.tif") for end in ("a", "b")]
    with noting() as notes:
        names = output_stems(paths)
    assert all(len(f"{name}_probability.ome.tif".encode()) <= 255 and name.startswith("ü" * 100) for name in names)
    assert len(set(names)) == len(notes) == 2


@given(
    st.lists(
        st.builds("{}/{}{}".format, st.sampled_from("ab"), st.sampled_from(["x", "X", "x_2", "a_x"]),
                  st.sampled_from([".png", ".tif", ".ome.tif"])),
        unique=True,
    )
)  # fmt: skip
def test_stems_are_always_unique_letter_case_aside(paths):
    with noting():
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


def test_results_where_nothing_may_be_seen_are_left_to_writing(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", refuse)
    check_free([tmp_path / "closed" / "a.tif"])


def test_real_images(real_images):
    for folder in ("er", "mito", "vessels"):
        first = list_images([real_images / folder / "images"])[0]
        image = read_image(first)
        assert image.axes == ("YXS" if folder == "vessels" else "YX")
        assert image.data.dtype in (np.uint8, np.uint16)
        assert image.data.std() > 0
