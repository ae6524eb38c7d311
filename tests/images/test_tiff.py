"""TIFFs of several files, several images, and with tags nobody knows; and what the user may choose."""

import re
import struct
import uuid

import numpy as np
import pytest
import tifffile

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import list_images, noting, read_image
from napari_metastructure.images.label_files import read_labels
from napari_metastructure.images.read_options import set_read_options

A = np.random.default_rng(0).integers(0, 255, (24, 31), dtype=np.uint8)


@pytest.fixture(autouse=True)
def nothing_chosen():
    yield
    set_read_options()


def told(path, **options):
    with noting() as notes:
        image = read_image(path, **options)
    return image, " ".join(notes)


# Tags.


def change_tag(path, at, value, size):
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages.first.tags[65000].offset
    content = bytearray(path.read_bytes())
    content[offset + at : offset + at + size] = value.to_bytes(size, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(("at", "value", "size"), [(2, 99, 2), (2, 0, 2), (8, 2**31, 4), (4, 2**31, 4)])
def test_tags_that_nobody_knows_are_no_damage(tmp_path, at, value, size):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, A, extratags=[(65000, "s", 50, b"h" * 50, True)])
    change_tag(path, at, value, size)
    image, notes = told(path)
    np.testing.assert_array_equal(image.data, A)
    assert not notes


@pytest.mark.parametrize("tag", [256, 258, 273, 279])
def test_tags_that_pixels_need_are(tmp_path, tag):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, A.astype(np.uint16))
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages.first.tags[tag].offset
    content = bytearray(path.read_bytes())
    content[offset + 2 : offset + 4] = b"\x63\0"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.tif .*(damaged|cut short)"):
        read_image(path)


# Sets: OME-TIFFs that name one another.


def make_set(folder, count=3, axis="Z", compression=None):
    folder.mkdir(exist_ok=True)
    ids = [f"urn:uuid:{uuid.UUID(int=n)}" for n in range(count)]
    names = [f"mf_{n + 1}.ome.tif" for n in range(count)]
    planes = [np.roll(A, 3 * n, axis=1) for n in range(count)]
    sizes = {"Z": 1, "C": 1, "T": 1, axis: count}
    for n, plane in enumerate(planes):
        data = "".join(
            f'<TiffData First{axis}="{m}" IFD="0" PlaneCount="1"><UUID FileName="{names[m]}">{ids[m]}</UUID></TiffData>'
            for m in range(count)
        )
        channels = "".join(f'<Channel ID="C:{c}" SamplesPerPixel="1"/>' for c in range(sizes["C"]))
        xml = (
            f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{ids[n]}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="31" '
            f'SizeY="24" SizeC="{sizes["C"]}" SizeZ="{sizes["Z"]}" SizeT="{sizes["T"]}" PhysicalSizeX="0.1" '
            f'PhysicalSizeY="0.1">{channels}{data}</Pixels></Image></OME>'
        )
        shrunk = compression if n == 0 else None  # the first is the smallest
        tifffile.imwrite(folder / names[n], plane, description=xml, metadata=None, compression=shrunk)
    return [folder / name for name in names], np.stack(planes)


@pytest.mark.parametrize("axis", "ZCT")
def test_a_set_of_files_is_read_once(tmp_path, axis):
    files, planes = make_set(tmp_path / "set", axis=axis, compression="zlib")
    tifffile.imwrite(tmp_path / "set" / "other.tif", A)
    with noting() as notes:
        listed = list_images([tmp_path / "set"])
    assert [file.name for file in listed] == ["mf_1.ome.tif", "other.tif"]
    assert sum("read together with mf_1.ome.tif" in note for note in notes) == 2
    with noting():
        assert list_images(files[1:]) == files[1:2]
    for file in files:
        image, notes = told(file)
        assert (image.axes, image.scale[-1]) == (f"{axis}YX", 0.1)
        np.testing.assert_array_equal(image.data, planes)
        assert "one of 3 files" in notes


def test_what_is_missing_of_a_set_is_told(tmp_path):
    files, planes = make_set(tmp_path)
    files[1].unlink()
    image, notes = told(files[0])
    np.testing.assert_array_equal(image.data, planes[[0, 2]])
    assert "mf_2.ome.tif is missing" in notes
    assert "Z = 1 left out" in notes
    files[2].unlink()
    image, notes = told(files[0])
    np.testing.assert_array_equal(image.data.squeeze(), planes[0])
    assert "mf_2.ome.tif, mf_3.ome.tif are missing" in notes


def test_a_sibling_that_is_cut_short_is_named(tmp_path):
    files, _ = make_set(tmp_path)
    files[1].write_bytes(files[1].read_bytes()[:-100])
    with pytest.raises(InputError, match=r"mf_2\.ome\.tif"):
        told(files[0])


def test_a_renamed_file_of_a_set_is_no_second_one(tmp_path):
    files, planes = make_set(tmp_path)
    renamed = files[0].rename(tmp_path / "z.ome.tif")
    with noting():
        assert list_images([tmp_path]) == [renamed]
        np.testing.assert_array_equal(read_image(renamed).data, planes)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_that_a_description_does_not_fit(tmp_path, compression):
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="P:0" DimensionOrder="XYZCT" Type="uint8" SizeX="31" SizeY="24" SizeC="1" SizeZ="3" SizeT="1">'
        '<TiffData><UUID FileName="old.ome.tif">urn:uuid:9</UUID></TiffData></Pixels></Image></OME>'
    )
    bare = re.sub("<TiffData>.*</TiffData>", "", text)
    imagej = "ImageJ=1.54f\nimages=6\nslices=3\nchannels=2\nhyperstack=true\n"
    for name, description, pages, shape, words in (
        ("new.ome.tif", text, 3, (3, 24, 31), "fits no file here"),
        ("old.ome.tif", text, 5, (3, 24, 31), "2 more pages than its OME-XML describes"),
        ("few.ome.tif", bare, 2, (2, 24, 31), "another number of planes than the 2 it holds"),
        ("ij.tif", imagej, 4, (4, 24, 31), "another number of planes than the 4 it holds"),
    ):
        path = tmp_path / name
        options = {"photometric": "minisblack", "compression": compression, "metadata": None}
        tifffile.imwrite(path, np.stack([A] * pages), description=description, **options)
        image, notes = told(path)
        assert (image.axes, image.data.shape, words in notes) == ("ZYX", shape, True), notes


def test_files_described_in_the_first_of_a_set(tmp_path):
    files, planes = make_set(tmp_path)
    xml = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{}">'
    xml += '<BinaryOnly MetadataFile="{}" UUID="urn:uuid:00000000-0000-0000-0000-000000000000"/></OME>'
    last = files[2].rename(tmp_path / "a_3.ome.tif")  # the first of a folder
    files[0].write_bytes(files[0].read_bytes().replace(b'"mf_3.ome.tif"', b'"a_3.ome.tif" '))
    tifffile.imwrite(last, planes[2], metadata=None, description=xml.format(uuid.UUID(int=2), files[0].name))
    with noting():
        (listed,) = list_images([tmp_path])
        np.testing.assert_array_equal(read_image(listed).data, planes)
    alone = tmp_path / "b.ome.tif"
    tifffile.imwrite(alone, A, metadata=None, description=xml.format(uuid.UUID(int=9), "x.companion.ome"))
    image, notes = told(alone)
    np.testing.assert_array_equal(image.data, A)
    assert "described in x.companion.ome, which is not read" in notes


def test_an_acquisition_that_was_stopped_is_read_as_far_as_it_went(tmp_path):
    path = tmp_path / "x.ome.tif"
    tifffile.imwrite(path, np.stack([A] * 3), ome=True, metadata={"axes": "TYX"}, photometric="minisblack")
    path.write_bytes(path.read_bytes().replace(b'SizeT="3"', b'SizeT="5"'))
    image, notes = told(path)
    np.testing.assert_array_equal(image.data, np.stack([A] * 3))
    assert "lacks 2 of the 5 planes it describes: T = 3 and 4 left out" in notes


def test_a_renamed_file_of_a_set_of_one_is_no_set(tmp_path):
    files, planes = make_set(tmp_path, count=1)
    other = files[0].rename(tmp_path / "renamed.tif")
    image, notes = told(other)
    np.testing.assert_array_equal(image.data, planes[0])
    assert not notes


# Several images in a file.


def write_series(path, arrays, ome=True):
    with tifffile.TiffWriter(path, ome=ome) as tif:
        for array in arrays:
            tif.write(array, metadata={"axes": "YX"}, photometric="minisblack")


def test_of_several_images_the_largest_is_read_and_told(tmp_path):
    path, large = tmp_path / "x.ome.tif", np.kron(A, np.ones((4, 4), np.uint8))
    write_series(path, [A[::4, ::4], large, A])
    image, notes = told(path)
    np.testing.assert_array_equal(image.data, large)
    assert "holds 3 images: only number 1, of 96 x 124, is read; those of 24 x 31, 6 x 8 are left out" in notes
    set_read_options(series=2)
    image, notes = told(path)
    np.testing.assert_array_equal(image.data, A)
    assert not notes
    set_read_options(series=3)
    with pytest.raises(InputError, match=r"--series 3: .* holds 3 images; choose 0 to 2"):
        read_image(path)


@pytest.mark.parametrize(("sizes", "scale"), [((0.2, 0.2), 0.2), ((0.2, 0.4), 1.0)])
def test_positions_of_other_pixel_sizes_have_no_scale(tmp_path, sizes, scale):
    with tifffile.TiffWriter(tmp_path / "p.ome.tif", ome=True) as writer:
        for size in sizes:
            writer.write(A, metadata={"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size})
    with noting() as notes:
        image = read_image(tmp_path / "p.ome.tif")
    assert image.scale[1:] == (scale, scale)
    assert any("other pixel sizes each" in note for note in notes) == (scale == 1)


@pytest.mark.parametrize("ome", [True, False])
def test_positions_of_one_size_are_read_together(tmp_path, ome):
    path = tmp_path / "x.tif"
    positions = [np.roll(A, n, axis=0) for n in range(4)]
    write_series(path, [A[::4, ::4], *positions], ome)
    image, notes = told(path)
    assert image.axes == "TYX"
    np.testing.assert_array_equal(image.data, positions)
    assert "the 4 of 24 x 31 are read as frames of axis T; those of 6 x 8 are left out" in notes


def test_pages_of_several_sizes(tmp_path):
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as tif:
        for k in range(3):
            tif.write(A[:, : 28 + k], metadata=None)
    image, notes = told(path)
    np.testing.assert_array_equal(image.data, A[:, :30])
    assert "holds 3 images" in notes


def test_the_scale_is_that_of_the_image_that_is_read(tmp_path):
    path = tmp_path / "x.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(A[::4, ::4], metadata={"axes": "YX", "PhysicalSizeX": 0.4, "PhysicalSizeY": 0.4})
        tif.write(A, metadata={"axes": "YX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1})
    image, _ = told(path)
    assert image.scale == (0.1, 0.1)


# Three planes, kept as colours or as slices.


@pytest.mark.filterwarnings("ignore:.*are stored as RGB:DeprecationWarning")
def test_planes_kept_as_colours(tmp_path):
    path, three = tmp_path / "x.tif", np.stack([A, A[::-1], A[:, ::-1]])
    tifffile.imwrite(path, three)
    image, notes = told(path)
    assert image.axes == "SYX" or image.axes == "YXS"
    assert "--axes ZYX" in notes
    set_read_options(axes="ZYX")
    image, notes = told(path)
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.data, three)
    assert not notes
    set_read_options()
    np.testing.assert_array_equal(read_labels(path).data, three)  # labels are no colours


@pytest.mark.parametrize("axes", ["Q", "XX", "ZY", "ZYXA"])
def test_axes_that_are_none_are_refused(axes):
    with pytest.raises(InputError, match="--axes"):
        set_read_options(axes=axes)


def test_axes_of_another_number_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", A)
    set_read_options(axes="ZYX")
    with pytest.raises(InputError, match=r"--axes ZYX names 3 axes, but .*x\.tif has 2 \(24 x 31\)"):
        read_image(tmp_path / "x.tif")
    set_read_options(axes="xy")
    assert read_image(tmp_path / "x.tif").axes == "XY"


# Metadata of microscopes that no library writes.


@pytest.mark.parametrize("distance", [0.5, 0.0])
def test_a_stack_of_metamorph(tmp_path, distance):
    planes = np.stack([A, A[::-1]])
    pixels = planes.tobytes()
    at = 8 + len(pixels)
    unit = struct.pack("<I3s", 3, b"um\0").ljust(8, b"\0")
    sizes = struct.pack("<4I", 13, 100, 26, 100)  # X, Y calibration: 0.13 and 0.26
    first = struct.pack("<8I", 1, 1, 4, at, 5, at + 8, 6, at + 16)  # SpatialCalibration, X, Y, CalibrationUnits
    second = struct.pack("<6I", int(distance * 100), 100, 0, 0, 0, 0) * 2
    values = sizes + unit + first + second
    tags = [
        (256, 3, 1, 31), (257, 3, 1, 24), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
        (277, 3, 1, 1), (278, 3, 1, 24), (279, 4, 1, A.size), (33628, 4, 4, at + 24), (33629, 5, 2, at + 56),
    ]  # fmt: skip
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + b"\0\0\0\0"
    path = tmp_path / "x.stk"
    path.write_bytes(struct.pack("<2sHI", b"II", 42, at + len(values)) + pixels + values + ifd)
    image, notes = told(path)
    np.testing.assert_array_equal(image.data, planes)
    steps = dict(zip(image.axes, zip(image.scale, image.units, strict=True), strict=True))
    assert (steps["X"], steps["Y"]) == ((0.13, "micrometer"), (0.26, "micrometer"))
    assert steps["Z"] == ((0.5, "micrometer") if distance else (1.0, "pixel"))
    assert not notes


# Descriptions: what they cannot mean is no reason to refuse pixels, nor to leave pages out.


@pytest.mark.parametrize(
    ("description", "step"),
    [
        ("ImageJ=\nimages=abc\n", 0.1),
        ("ImageJ=1.5\nimages=3\nslices=3\nunit=um\nspacing=2\n", 0.1),
        ('{"shape": "x"}', 1),
        ('{"shape": [5, 24, 31, 2]}', 1),
        ('{"shape": [24, 31, 5]}', 1),
    ],
)
def test_pages_that_the_description_does_not_fit_are_slices(tmp_path, description, step):
    stack = np.stack([A + k for k in range(5)])
    tifffile.imwrite(tmp_path / "x.tif", stack, description=description, metadata=None, resolution=(10, 10))
    image, notes = told(tmp_path / "x.tif")
    assert image.axes == "ZYX" and notes.count("x.tif") == 1
    np.testing.assert_array_equal(image.data, stack)
    assert image.scale[1:] == (step, step)


def test_axes_without_y_and_x_are_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", A, metadata={"axes": "QQ"})
    with pytest.raises(InputError, match=r"x\.tif calls its axes 'QQ'.*--axes"):
        read_image(tmp_path / "x.tif")
    set_read_options("YX")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").data, A)


@pytest.mark.parametrize("tag", [256, 257])
def test_an_image_without_pixels_is_refused(tmp_path, tag):
    tifffile.imwrite(tmp_path / "x.tif", A, metadata=None)
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+b") as tif:
        tif.pages.first.tags[tag].overwrite(0)
    with pytest.raises(InputError, match=r"x\.tif"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize(
    ("change", "axes", "words"),
    [
        (lambda xml: f"{xml}<!-- written by a microscope -->", "TZYX", None),
        (lambda xml: xml[: len(xml) // 2], "ZYX", "cannot be made sense of"),
        (lambda xml: f"{xml} and more", "ZYX", "cannot be made sense of"),
    ],
    ids=["comment", "cut", "text"],
)
def test_ome_xml_that_does_not_end_as_such_is_read_or_told(tmp_path, change, axes, words):
    path, stack = tmp_path / "x.ome.tif", np.arange(6 * 20 * 30, dtype=np.uint16).reshape(2, 3, 20, 30)
    tifffile.imwrite(path, stack, metadata={"axes": "TZYX", "PhysicalSizeX": 65, "PhysicalSizeXUnit": "nm"})
    with tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata
    tifffile.imwrite(path, stack.reshape(6, 20, 30), description=change(xml).encode(), metadata=None)
    with noting() as notes:
        image = read_image(path)
    assert image.axes == axes
    assert image.scale[-1] == (65.0 if words is None else 1.0)
    assert bool(notes) == (words is not None)
    assert words is None or words in notes[0]


@pytest.mark.parametrize(
    ("facts", "scale", "words"),
    [
        (
            {"unit": "um", "finterval": 2.5, "tunit": "frame"},
            (1.0, 0.1, 0.1),
            "'frame' is not known, so T has no scale",
        ),
        (
            {"unit": "um", "yunit": "bar", "finterval": 2},
            (2.0, 1.0, 1.0),
            "'bar' is not known, so X and Y have no scale",
        ),
        ({"unit": "bar", "finterval": 2}, (2.0, 1.0, 1.0), "'bar' is not known, so X and Y have no scale"),
    ],
)
def test_axes_in_unknown_units_are_named(tmp_path, facts, scale, words):
    stack = np.zeros((3, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", stack, imagej=True, resolution=(10, 10), metadata={**facts, "axes": "TYX"})
    with pytest.warns(UserWarning, match=words):
        assert read_image(tmp_path / "x.tif").scale == scale
