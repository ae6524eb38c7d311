"""``metastructure measure``: the table, cleaned masks and numbered objects, pairing, units and what is refused."""

import csv

import numpy as np
import pytest
import tifffile

from napari_metastructure.cli import measure as command
from napari_metastructure.images.files import read_image
from napari_metastructure.images.writing import write_tiff
from napari_metastructure.labels import measures


@pytest.fixture
def mask():
    """Discs of 81 and 9 pixels, one with a hole of 1 and one at the border."""
    found = np.zeros((40, 60), np.uint8)
    found[5:14, 5:14] = found[20:23, 20:23] = found[30:, 40:50] = 255
    found[8, 8] = 0
    return found


@pytest.fixture
def folder(tmp_path, mask):
    """Two masks of 0.5 um and their images."""
    for name, turn in (("a", mask), ("é b", mask[::-1])):
        for kind, pixels in (("masks", turn), ("images", turn // 2 + np.uint8(7))):
            (tmp_path / kind).mkdir(exist_ok=True)
            ending = "_mask" if kind == "masks" else ""
            write_tiff(tmp_path / kind / f"{name}{ending}.tif", pixels, "YX", (0.5, 0.5), ("micrometer",) * 2)
    return tmp_path


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_a_table_in_the_unit_of_the_files(run, folder):
    out = folder / "made" / "table.csv"
    code, said, err = run("measure", folder / "masks", "--images", folder / "images", "--out", out)
    assert (code, err) == (0, "")
    assert said.splitlines()[0] == f"{folder / 'masks' / 'a_mask.tif'}: 3 objects, together 47.25 µm²"
    assert said.splitlines()[-1] == f"{out}: 6 objects of 2 files"
    found = rows(out)
    assert [row["file"] for row in found] == [
        str(folder / "masks" / n) for n in ["a_mask.tif"] * 3 + ["é b_mask.tif"] * 3
    ]
    assert sorted(float(row["area (um^2)"]) for row in found[:3]) == [2.25, 20, 25]
    assert {row["mean intensity"] for row in found} == {"134"}
    assert float(found[0]["x (um)"]) == pytest.approx(4.50625)


def test_clean_up_and_what_is_written(run, folder, mask):
    code, _, err = run(
        *("measure", folder / "masks", "--out", folder / "t.csv", "--smallest-object", "5 um2"),
        *("--smallest-hole", "2", "--clear-border", "--clean", folder / "clean", "--instances", folder / "objects"),
    )
    assert (code, err) == (0, "")
    assert [row["area (um^2)"] for row in rows(folder / "t.csv")] == ["20.25"] * 2
    for kind, number in (("clean", 255), ("objects", 1)):
        image = read_image(folder / kind / "a_mask.tif")
        assert (image.axes, image.scale, image.units) == ("YX", (0.5, 0.5), ("micrometer",) * 2)
        expected = np.zeros_like(mask)
        expected[5:14, 5:14] = number
        np.testing.assert_array_equal(image.data, expected)


@pytest.mark.parametrize(("step", "area"), [(0.3, "0.81 um2"), (0.15, "0.2025um^2"), (0.7, "4410000 nm2")])
def test_objects_and_holes_of_just_the_size_in_a_unit_stay(run, tmp_path, step, area):
    mask = np.zeros((20, 30), np.uint8)
    mask[2:5, 2:5] = mask[8:18, 5:25] = 255
    mask[10:13, 10:13] = 0  # a hole of 9 pixels, as the first object
    write_tiff(tmp_path / "m.tif", mask, "YX", (step, step), ("micrometer",) * 2)
    sizes = ("--smallest-object", area, "--smallest-hole", area)
    assert run("measure", tmp_path / "m.tif", "--out", tmp_path / "t.csv", "--clean", tmp_path / "c", *sizes)[0] == 0
    np.testing.assert_array_equal(read_image(tmp_path / "c" / "m.tif").data, mask)


def test_volumes_and_slices(run, tmp_path):
    stack = np.zeros((2, 4, 20, 20), np.uint8)
    stack[:, 1:3, 5:9, 5:9] = 255
    path = tmp_path / "stack.tif"
    write_tiff(path, stack, "TZYX", (2, 1, 0.5, 0.5), ("second", *["micrometer"] * 3))
    assert run("measure", path, "--out", tmp_path / "planes.csv")[0] == 0
    found = rows(tmp_path / "planes.csv")
    assert [(row["T"], row["Z"], row["area (um^2)"]) for row in found[:2]] == [("0", "1", "4"), ("0", "2", "4")]
    assert len(found) == 4
    options = ("--3d", "--instances", tmp_path / "objects", "--smallest-object", "8 um3")
    assert run("measure", path, "--out", tmp_path / "volumes.csv", *options)[0] == 0
    assert [(row["T"], row["volume (um^3)"]) for row in rows(tmp_path / "volumes.csv")] == [("0", "8"), ("1", "8")]
    with tifffile.TiffFile(tmp_path / "objects" / "stack.tif") as tif:
        assert tif.series[0].axes == "TZYX"
        assert np.unique(tif.asarray()[1]).tolist() == [0, 2]


def test_numbered_objects_and_classes(run, save, tmp_path):
    nuclei = np.zeros((30, 30), np.uint8)
    for number in range(1, 6):
        nuclei[4 * number : 4 * number + 4, 3:9] = number
    options = ("--out", tmp_path / "t.csv", "--instances", tmp_path / "o")
    assert run("measure", save(tmp_path / "n.png", nuclei), *options)[0] == 0
    assert [row["label"] for row in rows(tmp_path / "t.csv")] == list("12345")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "n.tif"), nuclei)
    assert run("measure", tmp_path / "n.png", *options, "--reading", "classes", "--overwrite")[0] == 0
    assert [row["class"] for row in rows(tmp_path / "t.csv")] == list("12345")


@pytest.mark.skipif(measures.find_spec("skan") is None, reason="skan is not installed")
def test_skeletons(run, save, tmp_path):
    line = np.zeros((20, 50), np.uint8)
    line[10, 5:46] = 255
    assert run("measure", save(tmp_path / "l.png", line), "--out", tmp_path / "t.csv", "--skeleton")[0] == 0
    (row,) = rows(tmp_path / "t.csv")
    assert (row["skeleton length (px)"], row["branches"], row["end points"]) == ("40", "1", "2")


def test_pixels_that_are_not_square_are_told(run, tmp_path, mask):
    write_tiff(tmp_path / "m.tif", mask, "YX", (1, 0.5), ("micrometer",) * 2)
    code, _, err = run("measure", tmp_path / "m.tif", "--out", tmp_path / "t.csv")
    assert code == 0
    assert err.startswith("Warning: Pixels of 1 x 0.5 µm are not square")
    assert not [head for head in rows(tmp_path / "t.csv")[0] if "perimeter" in head]


def test_colour_images(run, save, tmp_path, mask):
    colour = np.stack([mask, mask // 5, mask * 0], axis=-1)
    save(tmp_path / "i" / "m.png", colour)
    masks = save(tmp_path / "m" / "m.png", mask)
    options = ("measure", masks, "--images", tmp_path / "i", "--out", tmp_path / "t.csv")
    assert run(*options, "--channel", "green")[0] == 0
    assert {row["mean intensity"] for row in rows(tmp_path / "t.csv")} == {"51"}


# ---- what is refused, before anything is written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--smallest-object", "few"), "--smallest-object 'few': give a number of pixels"),
        (("--smallest-hole", "-1"), "--smallest-hole '-1': give a number of pixels"),
        (("--smallest-hole", "3 um3"), "or one with a unit, as '1.5 um2'"),
        (("--3d",), "has no slices along Z; leave --3d out"),
        (("--images", "{}/none"), "none does not exist"),
        (("--images", "{}/empty"), "no image"),
        (("--clean", "{}/masks"), "is an input and would be written over"),
        (("--clean", "{}/x", "--instances", "{}/x"), "give each a folder of its own"),
        (("--reading", "ducks"), "--reading ducks: choose"),
        (("--out", "{}/masks/a_mask.tif"), "--out {}/masks/a_mask.tif: choose the name of a file that ends in .csv"),
        (("--channel", "1"), "--channel 1: there is no image to take it of"),
    ],
)
def test_options_that_do_not_fit(run, folder, options, why):
    (folder / "empty").mkdir()
    before = sorted(folder.rglob("*"))
    given = [option.format(folder) for option in options]
    out = [] if "--out" in given else ["--out", folder / "t.csv"]
    code, _, err = run("measure", folder / "masks", *out, *given)
    assert code == 2
    assert why.format(folder) in err
    assert "Traceback" not in err
    assert sorted(folder.rglob("*")) == before


def test_earlier_results_stay(run, folder):
    (folder / "t.csv").write_text("mine")
    code, _, err = run("measure", folder / "masks", "--out", folder / "t.csv")
    assert (code, "is there already" in err) == (2, True)
    assert (folder / "t.csv").read_text() == "mine"
    assert run("measure", folder / "masks", "--out", folder / "t.csv", "--overwrite")[0] == 0


def test_units_that_do_not_go_together(run, folder, save, mask):
    save(folder / "masks" / "c.png", mask)
    code, _, err = run("measure", folder / "masks", "--out", folder / "t.csv")
    assert code == 2
    assert "is measured in µm but" in err
    assert run("measure", folder / "masks", "--out", folder / "t.csv", "--pixels")[0] == 0
    assert "area (px)" in rows(folder / "t.csv")[0]


def test_images_of_another_size(run, folder):
    write_tiff(folder / "images" / "a.tif", np.zeros((40, 61), np.uint8), "YX", (1, 1), ("pixel",) * 2)
    code, _, err = run("measure", folder / "masks", "--images", folder / "images", "--out", folder / "t.csv")
    assert code == 2
    assert "40 x 61 pixels (Y x X) but" in err


def test_without_skan(run, folder, monkeypatch):
    monkeypatch.setattr(command.measures, "find_spec", lambda name: None)
    code, _, err = run("measure", folder / "masks", "--out", folder / "t.csv", "--skeleton")
    assert code == 2
    assert "pip install 'napari-metastructure[skeleton]'" in err


@pytest.mark.parametrize("how", [[], ["--reading", "objects"]])
@pytest.mark.parametrize("first", [0, 1])
def test_images_in_place_of_masks(run, tmp_path, how, first):
    """They would be thousands of objects of a pixel."""
    grey = np.random.default_rng(0).integers(first, 200, (80, 80)).astype(np.uint8)
    write_tiff(tmp_path / "a.tif", grey, "YX", (1, 1), ("pixel",) * 2)
    code, _, err = run("measure", tmp_path, "--out", tmp_path / "t.csv", *how)
    assert code == 2 and "a.tif holds the grey values of an image, not labels" in err
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_files_with_and_without_a_unit_are_measured_apart(run, tmp_path, order):
    """Whichever comes first: the voxel size of the other was dropped."""
    mask = np.zeros((20, 20), np.uint8)
    mask[5:9, 5:9] = 255
    for name, step, unit in (("a", 1, "pixel"), ("b", 0.5, "micrometer")):
        write_tiff(tmp_path / f"{name}.tif", mask, "YX", (step,) * 2, (unit,) * 2)
    call = ("measure", *(tmp_path / f"{name}.tif" for name in order), "--out", tmp_path / "t.csv")
    code, _, err = run(*call)
    assert code == 2 and "in px" in err and "in µm" in err and "--pixels" in err
    assert run(*call, "--pixels")[0] == 0


def test_masks_are_no_images_of_themselves(run, folder):
    code, _, err = run("measure", folder / "masks", "--images", folder / "masks", "--out", folder / "t.csv")
    assert code == 2 and "would be compared with itself" in err
