import errno
import shutil

import numpy as np
import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.images import lazy, ome_zarr
from napari_metastructure.images.files import list_images, noting, read_image
from napari_metastructure.images.image import Image, planes
from napari_metastructure.images.read_options import set_read_options

zarr = pytest.importorskip("zarr")

SIZES = {"T": 2, "C": 2, "Z": 3, "Y": 70, "X": 90}
KINDS = {"T": ("time", "minute", 5.0), "C": ("channel", None, 1.0), "Z": ("space", "nanometer", 300.0)}
SPACE = ("space", "micrometer", 0.1)


@pytest.fixture(autouse=True)
def nothing_chosen():
    yield
    set_read_options()


def made(path, axes="YX", version="0.5", data=None, chunk=32, **attributes):
    """Write an image by zarr alone; return its pixels."""
    shape = [SIZES[a] for a in axes]
    data = np.random.default_rng(0).integers(1, 4000, shape, dtype=np.uint16) if data is None else data
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    scale = []
    for level, step in enumerate((1, 2)):
        small = data[..., ::step, ::step]
        chunks = (*[1] * (data.ndim - 2), chunk, chunk)
        group.create_array(str(level), data=small, chunks=chunks)
        scale.append([KINDS.get(a, SPACE)[2] * (step if a in "YX" else 1) for a in axes])
    facts = {
        "axes": [
            {"name": a.lower(), "type": kind} | ({"unit": unit} if unit else {})
            for a, (kind, unit, _) in ((a, KINDS.get(a, SPACE)) for a in axes)
        ],
        "datasets": [
            {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": s}]} for i, s in enumerate(scale)
        ],
    }
    facts |= attributes
    group.attrs.update({"multiscales": [facts]} if version == "0.4" else {"ome": {"multiscales": [facts]}})
    return data


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "TCZYX"])
@pytest.mark.parametrize("lazily", [False, True])
def test_pixels_axes_scale_and_units_of_the_first_resolution(tmp_path, monkeypatch, version, axes, lazily):
    monkeypatch.setattr(lazy, "LARGE_BYTES", 100)
    data = made(tmp_path / "ä x.ome.zarr", axes, version)
    (listed,) = list_images([tmp_path])
    image = read_image(listed, lazily=lazily)
    assert (image.axes, image.name) == (axes, "ä x")
    assert lazy.is_lazy(image.data) == lazily
    np.testing.assert_array_equal(np.asarray(image.data), data)
    for axis, size, unit in zip(image.axes, image.scale, image.units, strict=True):
        if axis != "C":
            assert (unit, size) == KINDS.get(axis, SPACE)[1:], axis
    if "C" in axes:
        with pytest.raises(InputError, match="2 channels"):
            planes(image)
        cut = planes(image, 1)
        np.testing.assert_array_equal(cut[4][10:40, 5:77], data[1, 1, 1, 10:40, 5:77])
        assert len(cut) == 6


def test_a_small_image_is_in_memory_though_it_may_be_lazy(tmp_path):
    made(tmp_path / "x.zarr")
    assert isinstance(read_image(tmp_path / "x.zarr", lazily=True).data, np.ndarray)


def test_the_scale_of_all_resolutions_counts_too(tmp_path):
    made(tmp_path / "x.zarr", coordinateTransformations=[{"type": "scale", "scale": [2.0, 3.0]}])
    assert read_image(tmp_path / "x.zarr").scale == pytest.approx((0.2, 0.3))


def test_an_array_without_a_group_is_a_stack(tmp_path):
    data = np.arange(2 * 8 * 9, dtype=np.int16).reshape(2, 8, 9)
    zarr.create_array(str(tmp_path / "x.zarr"), data=data)
    image = read_image(tmp_path / "x.zarr")
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.data, data)


def test_several_images_in_one(tmp_path):
    group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
    group.attrs["ome"] = {"bioformats2raw.layout": 3}
    first = made(tmp_path / "x.zarr" / "0")
    second = made(tmp_path / "x.zarr" / "1", data=first[::-1])
    with noting() as notes:
        np.testing.assert_array_equal(read_image(tmp_path / "x.zarr").data, first)
    assert "holds 2 images: the first is read" in notes[0]
    set_read_options(series=1)
    np.testing.assert_array_equal(read_image(tmp_path / "x.zarr").data, second)
    set_read_options(series=2)
    with pytest.raises(InputError, match="--series 2"):
        read_image(tmp_path / "x.zarr")


def test_what_is_no_image_is_said_in_one_sentence(tmp_path):
    path = tmp_path / "x.zarr"

    def group(**attributes):
        shutil.rmtree(path, ignore_errors=True)
        zarr.open_group(str(path), mode="w").attrs.update(attributes)

    path.mkdir()
    with pytest.raises(InputError, match=r"x\.zarr is a folder named as a Zarr that holds none"):
        read_image(path)
    group()
    with pytest.raises(InputError, match="no image: it has no multiscales"):
        read_image(path)
    group(ome={"labels": ["cells", "nuclei"]})
    with pytest.raises(InputError, match=r"label images \(cells and nuclei\).*x\.zarr/cells"):
        read_image(path)
    group(ome={"plate": {}})
    with pytest.raises(InputError, match=r"is a plate.*x\.zarr/A/1/0"):
        read_image(path)
    group(well={})
    with pytest.raises(InputError, match="well of a plate"):
        read_image(path)
    group(multiscales=[{"datasets": [{"path": "7"}]}])
    with pytest.raises(InputError, match="do not describe what it holds"):
        read_image(path)
    (path / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        read_image(path)
    made(path, data=np.ones((2, 2, 2, 2, 8, 8), np.uint8), axes="TCZYX", chunk=8)
    with pytest.raises(InputError, match="do not describe what it holds"):
        read_image(path)
    shutil.rmtree(path)
    zarr.create_array(str(path), data=np.ones((2, 2, 2, 2, 8, 8), np.uint8))
    with pytest.raises(InputError, match="more than T, C and Z"):
        read_image(path)
    for shape in ((8,), (0, 8)):
        shutil.rmtree(path)
        zarr.create_array(str(path), shape=shape, dtype="u1")
        with pytest.raises(InputError, match=r"x\.zarr is no image: its size is"):
            read_image(path)


def test_without_zarr_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    made(tmp_path / "x.zarr")
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(InputError, match=r'pip install "napari-metastructure\[zarr\]"'):
        read_image(tmp_path / "x.zarr")


def test_chunks_that_are_not_there_are_told_and_those_that_vanish_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(lazy, "LARGE_BYTES", 100)
    path = tmp_path / "x.zarr"
    data = made(path)
    (path / "0" / "c" / "0" / "1").unlink()
    with noting() as notes:
        image = read_image(path, lazily=True)
    assert "1 of its 9 chunks are not there and are read as 0" in notes[0]
    assert not image.data[:32, 32:64].any()
    np.testing.assert_array_equal(image.data[32:, :32], data[32:, :32])
    shutil.rmtree(path / "0")
    with pytest.raises(InputError, match=r"x\.zarr is no longer there"):
        image.data[32:, :32]


def test_a_damaged_chunk_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(lazy, "LARGE_BYTES", 100)
    made(tmp_path / "x.zarr")
    (tmp_path / "x.zarr" / "0" / "c" / "1" / "1").write_bytes(b"none")
    image = read_image(tmp_path / "x.zarr", lazily=True)
    with pytest.raises(InputError, match=r"x\.zarr is damaged or cut short"):
        image.data[:]


# ---- Writing


def stack(shape=(2, 1100, 900)):
    data = np.random.default_rng(0).random(shape, dtype=np.float32)
    return Image(data, "TYX", (60.0, 0.5, 0.25), ("second", "micrometer", "micrometer"), "x")


def written(path, image, labels=False):
    with ome_zarr.writing_zarr(path, image, image.data.dtype, labels) as rows:
        for t, plane in enumerate(image.data):
            for first in range(0, len(plane), 192):
                rows.put((t,), first, plane[first : first + 192])


def test_an_image_is_written_with_its_pyramid_and_read_back(tmp_path):
    image, path = stack(), tmp_path / "ü.ome.zarr"
    written(path, image)
    back = read_image(path)
    assert (back.axes, back.scale, back.units) == (image.axes, image.scale, image.units)
    np.testing.assert_array_equal(back.data, image.data)
    _, half, quarter = ome_zarr.levels(path)
    assert (half.shape, quarter.shape) == ((2, 550, 450), (2, 275, 225))
    np.testing.assert_allclose(half[0, 3, 5], image.data[0, 6:8, 10:12].mean(), rtol=1e-6)
    assert not ome_zarr.is_label(path)


def test_no_chunk_of_an_empty_mask_is_missed(tmp_path):
    path = tmp_path / "empty.ome.zarr"
    pixels = np.zeros((40, 50), np.uint8)
    like = Image(pixels, "YX", (1.0, 1.0), ("pixel",) * 2, "x", path)
    with ome_zarr.writing_zarr(path, like, np.uint8, labels=True) as rows:
        rows.put((), 0, pixels)
    with noting() as notes:
        np.testing.assert_array_equal(read_image(path).data, pixels)
    assert not notes


def test_other_readers_agree(tmp_path):
    reader = pytest.importorskip("ome_zarr.reader")
    io = pytest.importorskip("ome_zarr.io")
    image = stack()
    written(tmp_path / "x.zarr", image)
    (node,) = list(reader.Reader(io.parse_url(str(tmp_path / "x.zarr")))())
    np.testing.assert_array_equal(np.asarray(node.data[0]), image.data)
    assert [a["name"] for a in node.metadata["axes"]] == ["t", "y", "x"]
    first, second, _ = node.metadata["coordinateTransformations"]
    assert first[0]["scale"] == list(image.scale)
    assert second[0]["scale"] == [60.0, 1.0, 0.5]


def test_smaller_labels_are_labels(tmp_path):
    labels = (np.indices((600, 530)).sum(axis=0) % 7).astype(np.uint8)[None]
    written(tmp_path / "x.zarr", Image(labels, "TYX", (1.0,) * 3, ("pixel",) * 3, "x"), labels=True)
    _, half = ome_zarr.levels(tmp_path / "x.zarr")
    np.testing.assert_array_equal(half[0], labels[0, ::2, ::2])
    assert ome_zarr.is_label(tmp_path / "x.zarr")


def test_a_full_disk_leaves_nothing_and_what_was_there_stays(tmp_path, monkeypatch):
    path = tmp_path / "x.zarr"
    before = stack((1, 40, 50))
    written(path, before)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(InputError, match=r"Cannot write .*x\.zarr: the disk is full"),
        ome_zarr.writing_zarr(path, before, np.uint8, labels=True) as rows,
    ):
        monkeypatch.setattr(type(rows._array), "__setitem__", full)
        rows.put((0,), 0, np.ones((40, 50), np.uint8))
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    np.testing.assert_array_equal(read_image(path).data, before.data[0])
    with pytest.raises(ZeroDivisionError), ome_zarr.writing_zarr(tmp_path / "y.zarr", before, np.uint8, True):
        raise ZeroDivisionError
    assert not (tmp_path / "y.zarr").exists()
    with pytest.raises(InputError, match="the folder does not exist"):
        written(tmp_path / "none" / "x.zarr", before)


@pytest.mark.parametrize(
    ("named", "scale", "steps", "told"),
    [
        ([("y", "micrometer"), ("x", "micrometer")], [0, 0.3], (0.3, 0.3), ""),
        ([("y", "micrometer"), ("x", "micrometer")], [-0.2, 0.3], (0.3, 0.3), ""),
        ([("y", None), ("x", "micrometer")], [0.2, 0.3], (0.3, 0.3), ""),
        ([("y", "furlong"), ("x", "furlong")], [0.2, 0.3], (1, 1), "its unit 'furlong' is not known"),
        ([("y", None), ("x", None)], [0.2, 0.3], (1, 1), ""),
    ],
)
def test_y_and_x_have_one_kind_of_step_and_odd_units_are_told(tmp_path, named, scale, steps, told):
    made(tmp_path / "x.zarr")
    axes = [{"name": name} | ({"unit": unit} if unit else {}) for name, unit in named]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    group = zarr.open_group(str(tmp_path / "x.zarr"))
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": datasets}]}
    with noting() as notes:
        image = read_image(tmp_path / "x.zarr")
    assert image.scale == steps and len(set(image.units)) == 1
    assert told in " ".join(notes) and len(notes) == bool(told)


def test_axes_that_are_not_named_are_the_last_ones(tmp_path):
    data = made(tmp_path / "x.zarr", "ZYX")
    facts = zarr.open_group(str(tmp_path / "x.zarr"))
    (multiscales,) = dict(facts.attrs)["ome"]["multiscales"]
    facts.attrs["ome"] = {"multiscales": [{"datasets": multiscales["datasets"]}] * 2}
    with noting() as notes:
        image = read_image(tmp_path / "x.zarr")
    assert image.axes == "ZYX" and "holds 2 multiscales; the first is read" in notes[0]
    np.testing.assert_array_equal(image.data, data)
