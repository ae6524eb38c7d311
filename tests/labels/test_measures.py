"""Measurements of objects: against shapes of known size, scikit-image and skan."""

import csv
import math
import sys

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from skimage.draw import line
from skimage.measure import label, regionprops_table

from napari_metastructure.errors import InputError
from napari_metastructure.labels import measures
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.measures import Voxel, Wanted, measure, write_csv
from napari_metastructure.labels.regions import Blocks, result_of

UM = "micrometer"


def measured(labels, *steps, reading="auto", **wanted):
    voxel = Voxel.of([(step, UM) for step in steps] or [(1, UM)] * 2)
    stack = LabelStack(labels, reading, instances=True)
    blocks = Blocks.of(stack, stack.meaning(), labels.shape, volumes=len(steps) == 3)
    return result_of(measure(blocks, Wanted(voxel, **wanted)))


def disc(radius, centre, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2).astype(np.uint8) * 255


def test_a_disc():
    table, objects = measured(disc(40, (60, 50), (121, 101)), 0.1, 0.1)
    found = {name: values.item() for name, values in table.columns.items()}
    assert found["area"] == pytest.approx(np.pi * 16, rel=0.005)
    assert found["perimeter"] == pytest.approx(2 * np.pi * 4, rel=0.01)
    assert found["equivalent diameter"] == pytest.approx(8, rel=0.005)
    assert found["eccentricity"] == pytest.approx(0, abs=0.01)
    assert found["solidity"] > 0.97
    assert (found["y"], found["x"]) == pytest.approx((6, 5))
    assert table.boxes.tolist() == [[[20, 10], [101, 91]]]
    assert objects.max() == 1
    assert table.heads()[1:4] == ["area (µm²)", "perimeter (µm)", "equivalent diameter (µm)"]


def test_an_ellipse_on_pixels_twice_as_high_as_wide_is_a_disc():
    y, x = np.mgrid[:61, :121]
    table, _ = measured(((2.0 * (y - 30)) ** 2 + (x - 60) ** 2 <= 50**2).astype(int), 0.2, 0.1)
    assert table.columns["area"].item() == pytest.approx(np.pi * 25, rel=0.01)
    assert table.columns["eccentricity"].item() < 0.1
    assert "perimeter" not in table.columns  # that formula would be wrong
    assert table.notes == (
        "Pixels of 0.2 x 0.1 µm are not square, and a perimeter would not be right: it is left out; resample the image "
        "to square pixels to have it.",
    )


def test_a_ball():
    z, y, x = np.mgrid[:21, :41, :41]
    ball = ((2.0 * (z - 10)) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 15**2).astype(int)
    table, _ = measured(ball, 0.4, 0.2, 0.2)
    assert table.columns["volume"].item() == pytest.approx(4 / 3 * np.pi * 27, rel=0.01)
    assert table.columns["equivalent diameter"].item() == pytest.approx(6, rel=0.005)
    assert [table.columns[axis].item() for axis in "zyx"] == pytest.approx([4, 4, 4])
    assert table.heads()[1] == "volume (µm³)"
    assert not {"perimeter", "eccentricity", "solidity"} & set(table.columns)


def test_as_scikit_image_says():
    rng = np.random.default_rng(0)
    mask = binary_dilation(rng.random((150, 150)) > 0.997, iterations=4)
    image = rng.normal(100, 9, mask.shape).astype(np.float32)
    table, objects = measured(mask.astype(np.uint8), 0.3, 0.3, intensity=lambda place: image)
    np.testing.assert_array_equal(objects, label(mask))
    ours = {
        "label": "label", "area": "area", "perimeter": "perimeter_crofton", "solidity": "solidity",
        "equivalent diameter": "equivalent_diameter_area", "eccentricity": "eccentricity",
        "mean intensity": "intensity_mean", "min intensity": "intensity_min", "max intensity": "intensity_max",
        "y": "centroid-0", "x": "centroid-1",
    }  # fmt: skip
    known = regionprops_table(
        label(mask), image, [name.partition("-")[0] for name in ours.values()], spacing=(0.3, 0.3)
    )
    assert len(table) > 20
    assert list(table.columns) == [name for name in measures_in_order() if name in ours]
    for name, theirs in ours.items():
        np.testing.assert_allclose(table.columns[name], known[theirs], rtol=1e-5)


def measures_in_order():
    return [
        *("label", "area", "perimeter", "equivalent diameter", "eccentricity", "solidity"),
        *("mean intensity", "min intensity", "max intensity", "y", "x"),
    ]


def test_numbered_objects_keep_their_numbers():
    nuclei = np.zeros((40, 40), np.uint32)
    for number, at in ((2, 1), (254, 9), (255, 17), (3_000_000_000, 25)):
        nuclei[at : at + 6, at : at + 6] = number
    table, objects = measured(nuclei, reading="objects")
    assert objects is None
    assert table.columns["label"].tolist() == [2, 254, 255, 3_000_000_000]
    assert table.columns["area"].tolist() == [36] * 4


def test_classes_are_told_apart_and_unlabelled_pixels_are_no_object():
    labels = np.zeros((20, 30), np.uint8)
    labels[2:8, 2:8], labels[2:8, 8:12], labels[12:15, 2:9], labels[12:18, 20:25] = 1, 2, 2, 255
    table, objects = measured(labels)
    assert table.columns["class"].tolist() == [1, 2, 2]
    assert table.columns["area"].tolist() == [36, 24, 21]
    assert not objects[labels == 255].any()


def test_places_along_other_axes():
    movie = np.zeros((2, 3, 12, 12), np.uint8)
    movie[1, 2, 2:5, 2:5] = movie[0, 1, 6:9, 6:9] = 255
    image = np.arange(6).reshape(2, 3, 1, 1) * np.ones((12, 12))
    table, objects = measured(movie, leading=("T", "Z"), intensity=lambda place: image[place])
    assert table.heads()[:4] == ["label", "T", "Z", "area (µm²)"]
    assert [table.columns[name].tolist() for name in ("label", "T", "Z")] == [[1, 2], [0, 1], [1, 2]]
    assert table.columns["mean intensity"].tolist() == [1, 5]
    assert table.places.tolist() == [[0, 1], [1, 2]]
    assert objects[1, 2].max() == 2


def test_pixels_without_a_number_do_not_count():
    labels = np.zeros((12, 12), int)
    labels[1:4, 1:4], labels[6:9, 6:9] = 1, 1
    image = np.full(labels.shape, np.nan)
    image[1, 1:3] = 1, 3
    table, _ = measured(labels, intensity=lambda place: image)
    assert table.columns["mean intensity"][0] == 2
    assert np.isnan(table.columns["max intensity"][1])


def test_no_object_at_all():
    pytest.importorskip("skan", reason="needs the extra [skeleton]")
    table, objects = measured(np.zeros((9, 9), np.uint8), skeleton=True)
    assert len(table) == 0
    assert table.heads() == ["label"]
    assert not objects.any()


def test_it_may_be_ended_between_objects():
    dots = np.zeros((200, 200), int)
    dots[::4, ::4] = 1
    events = measure(Blocks(dots.shape, lambda index: dots), Wanted(Voxel.of([(1, UM)] * 2)))
    assert len(list(events)) > 2500 // measures.BATCH


# ---- units -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "unit", "expected"),
    [
        ([(200, "nanometer"), (0.2, UM)], None, Voxel((0.2, 0.2), UM)),
        ([(0.2, UM), (0.2, UM)], "nanometer", Voxel((200, 200), "nanometer")),
        ([(1, "pixel"), (0.2, UM), (0.2, UM)], None, Voxel((1, 1, 1), "pixel")),
        ([(1, "pixel"), (1, "pixel")], None, Voxel((1, 1), "pixel")),
        ([(0.5, "pixel"), (0.5, "pixel")], None, Voxel((0.5, 0.5), "unit")),
        ([(2, "second"), (0.2, UM), (0.2, UM)], None, Voxel((1, 1, 1), "pixel")),
    ],
)
def test_units(steps, unit, expected):
    found = Voxel.of(steps, unit)
    assert found.unit == expected.unit
    assert found.steps == pytest.approx(expected.steps)


@pytest.mark.parametrize(
    ("text", "steps", "pixels"),
    [
        ("20", (0.5, 0.5), 20), ("20 px", (0.5, 0.5), 20), (" 2.5e1pixels", (0.5, 0.5), 25), ("5 um2", (0.5, 0.5), 20),
        ("5um^2", (0.5, 0.25), 40), ("5 µm²", (0.5, 0.5), 20), ("5e6 nm2", (0.5, 0.5), 20), ("0", (0.5, 0.5), 0),
        ("0.3 um2", (0.1, 0.1), 30), ("300000 nm2", (1 / 10, 0.1), 30), ("1e308 nm2", (1e-9, 1e-9), math.inf),
        ("1 um3", (1, 0.5, 0.5), 4), ("1 µm³", (1, 0.5, 0.5), 4),
    ],
)  # fmt: skip
def test_sizes_as_users_write_them(text, steps, pixels):
    assert Voxel(steps, UM).pixels(text) == pixels  # not nearly: an object of as many pixels stays


@pytest.mark.parametrize(
    "text", ["", "many", "-3", "nan", "inf", "5 um", "5 um3", "5 s2", "5 ducks2", "um2", "1 2", "3²"]
)
def test_sizes_that_are_none(text):
    with pytest.raises(InputError):
        Voxel((0.5, 0.5), UM).pixels(text)


def test_a_size_in_a_unit_needs_one():
    assert Voxel((1, 1), "pixel").pixels("7") == 7
    with pytest.raises(InputError, match="give a number of pixels"):
        Voxel((1, 1), "pixel").pixels("5 um2")


# ---- skeletons ---------------------------------------------------------------------------------------------------


def drawn(*lines, thick=0, shape=(80, 80)):
    mask = np.zeros(shape, bool)
    for ends in lines:
        mask[line(*ends)] = True
    return (binary_dilation(mask, iterations=thick) if thick else mask).astype(np.uint8) * 255


def skeleton(labels, *steps):
    table, _ = measured(labels, *steps, skeleton=True)
    names = ("skeleton length", "branches", "end points", "junctions", "mean branch length")
    return [table.columns[name].tolist() for name in names]


needs_skan = pytest.mark.skipif(measures.find_spec("skan") is None, reason="skan is not installed")


@needs_skan
def test_a_line():
    assert skeleton(drawn((40, 10, 40, 60)), 0.5, 0.5) == [[25], [1], [2], [0], [25]]
    length = skeleton(drawn((10, 10, 60, 60)), 0.5, 0.5)[0]
    assert length == pytest.approx([25 * np.sqrt(2)])
    assert skeleton(drawn((10, 40, 60, 40)), 0.5, 0.1)[0] == pytest.approx([25])
    (thick,), *_ = skeleton(drawn((40, 10, 40, 60), thick=2))
    assert thick == pytest.approx(50, abs=5)


@needs_skan
@pytest.mark.parametrize("thick", [0, 2])
def test_a_y_has_three_ends_and_one_junction(thick):
    y = drawn((40, 40, 10, 10), (40, 40, 10, 70), (40, 40, 75, 40), thick=thick)
    (length,), branches, ends, junctions, (mean,) = skeleton(y)
    assert (branches, ends, junctions) == ([3], [3], [1])
    assert length == pytest.approx(2 * 30 * np.sqrt(2) + 35, rel=0.05)
    assert mean == pytest.approx(length / 3)


@needs_skan
def test_a_ring_and_a_dot():
    ring = disc(30, (40, 40), (80, 80)) - disc(26, (40, 40), (80, 80))
    (length,), *counts = skeleton(ring)
    assert length == pytest.approx(2 * np.pi * 28, rel=0.06)
    assert counts[:3] == [[1], [0], [0]]
    assert skeleton(drawn((5, 5, 5, 5))) == [[0]] * 5


@needs_skan
def test_as_skan_says():
    from skan import Skeleton, summarize
    from skimage.morphology import skeletonize

    rng = np.random.default_rng(1)
    mask = np.zeros((120, 120), bool)
    for ends in rng.integers(5, 115, (9, 4)):
        mask[line(*ends)] = True
    mask = binary_dilation(mask, iterations=2)
    lengths = np.array(skeleton(mask.astype(np.uint8), 0.2, 0.2)[0])
    known = summarize(Skeleton(skeletonize(mask), spacing=0.2), separator="-")
    assert lengths.sum() == pytest.approx(known["branch-distance"].sum())


@needs_skan
def test_touching_objects_have_skeletons_of_their_own():
    labels = np.zeros((30, 60), np.uint8)
    for number in range(1, 4):
        labels[10:16, 15 * number : 15 * number + 15] = number
    table, _ = measured(labels, reading="objects", skeleton=True)
    assert table.columns["branches"].tolist() == [1, 1, 1]


def test_without_skan(monkeypatch):
    monkeypatch.setitem(sys.modules, "skan", None)
    monkeypatch.setattr(measures, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'napari-metastructure\[skeleton\]'"):
        measured(np.eye(4, dtype=int), skeleton=True)


# ---- CSV ---------------------------------------------------------------------------------------------------------


def test_csv(tmp_path):
    first, _ = measured(disc(5, (10, 10), (20, 20)), 0.5, 0.5, intensity=lambda place: np.full((20, 20), np.nan))
    stack = np.zeros((2, 20, 20), int)
    stack[1, 4:6, 4:6] = 1
    second, _ = measured(stack, 0.5, 0.5, leading=("T",))
    write_csv(tmp_path / "Zellen µ.csv", [first, second], ["a.tif", "é, b.tif"])
    text = (tmp_path / "Zellen µ.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["file"] for row in rows] == ["a.tif", "é, b.tif"]
    assert [row["area (um^2)"] for row in rows] == ["20.25", "1"]
    assert [row["T"] for row in rows] == ["", "1"]
    assert [row["mean intensity"] for row in rows] == ["", ""]


def test_csv_that_cannot_be_written(tmp_path):
    table, _ = measured(np.eye(9, dtype=int))
    with pytest.raises(InputError, match="the folder does not exist"):
        write_csv(tmp_path / "none" / "a.csv", [table])
    assert list(tmp_path.iterdir()) == []
