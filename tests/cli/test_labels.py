"""``metastructure density``: maps against sums by hand, bandwidths in units, and what noise leaves."""

import hashlib
import json

import numpy as np
import PIL.Image
import pytest
import tifffile
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from napari_metastructure.batch import labels as work
from napari_metastructure.batch.label_set import made_in
from napari_metastructure.cli._options import read_dial
from napari_metastructure.errors import InputError
from napari_metastructure.labels.recipes import (
    Dilate,
    DisplaceBoundary,
    Flip,
    Random,
    Sample,
    apply,
    apply_to_plane,
    make_recipe,
)


@pytest.fixture
def labels():
    """A (40, 48) uint8 label of 0, 1 and 255."""
    y, x = np.mgrid[:40, :48]
    found = ((y - 20) ** 2 + (x - 24) ** 2 < 150).astype(np.uint8)
    found[:4] = 255
    return found


def counted(points, by, bx):
    """Share of the points nearer than the bandwidth to each pixel, per area of the ellipse, counted one by one."""
    y, x = np.nonzero(points)
    grid = np.indices(points.shape).reshape(2, -1, 1)
    near = ((grid[0] - y) / by) ** 2 + ((grid[1] - x) / bx) ** 2 < 1
    return (near.sum(axis=1) / (len(y) * np.pi * by * bx)).reshape(points.shape)


def test_maps_are_those_of_eq_8_with_classes_as_channels(run, save, labels, tmp_path):
    path = save(tmp_path / "a.png", labels)
    code, out, err = run("density", path, "--bandwidth", "5", "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert out == f"{tmp_path / 'out' / 'a_density.tif'}: classes 0 and 1, box of 5 pixels\n"
    with tifffile.TiffFile(tmp_path / "out" / "a_density.tif") as tif:
        assert (tif.series[0].axes, tif.series[0].dtype) == ("CYX", np.float32)
        found = tif.asarray()
    for c in (0, 1):
        np.testing.assert_allclose(found[c], counted(labels == c, 5, 5), rtol=1e-5, atol=1e-9)


def test_a_class_by_itself_has_no_channels_and_the_order_is_that_of_the_options(run, save, labels, tmp_path):
    path = save(tmp_path / "a.png", labels)
    assert run("density", path, "--class", 1, "--class", 0, "--out", tmp_path / "two")[0] == 0
    two = tifffile.imread(tmp_path / "two" / "a_density.tif")
    assert run("density", path, "--class", 1, "--out", tmp_path / "one")[0] == 0
    one = tifffile.imread(tmp_path / "one" / "a_density.tif")
    assert one.shape == labels.shape
    np.testing.assert_array_equal(two[0], one)
    assert two[1][20, 24] < two[1][-1, 24]  # class 0


def test_a_length_of_whole_pixels_is_exact(run, labels, tmp_path):
    tifffile.imwrite(
        tmp_path / "s.tif", labels, imagej=True, resolution=(10.000001, 10.000001), metadata={"unit": "micron"}
    )
    maps = []
    for bandwidth in ("11", "1.1 um", "1100 nm"):  # divided by 0.1 um these are 11.000000000000002 and the like
        out = tmp_path / bandwidth
        assert run("density", tmp_path / "s.tif", "--bandwidth", bandwidth, "--out", out)[0] == 0
        maps.append(tifffile.imread(out / "s_density.tif"))
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_array_equal(maps[0], maps[2])


@pytest.mark.parametrize("bandwidth", ["1.5 um", "1.5um", "1500 nm", "0.0015 mm", "1.5 µm"])
def test_a_length_becomes_pixels_by_the_voxel_size_along_each_axis(run, labels, tmp_path, bandwidth):
    stack = np.stack([labels, labels[:, ::-1]])
    tifffile.imwrite(
        tmp_path / "s.tif", stack, imagej=True, resolution=(2, 4),  # pixels a micron along X and Y
        metadata={"axes": "ZYX", "spacing": 3.0, "unit": "micron"},
    )  # fmt: skip
    code, out, err = run("density", tmp_path / "s.tif", "--bandwidth", bandwidth, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "box of 6 x 3 pixels" in out
    with tifffile.TiffFile(tmp_path / "out" / "s_density.tif") as tif:
        assert tif.series[0].axes == "ZCYX"
        assert (tif.imagej_metadata["spacing"], tif.imagej_metadata["unit"]) == (3, "micron")
        assert tif.pages.first.tags.valueof("XResolution") == (2, 1)
        found = tif.asarray()
    for z in (0, 1):
        for c in (0, 1):
            np.testing.assert_allclose(found[z, c], counted(stack[z] == c, 6, 3), rtol=1e-5, atol=1e-9)


def test_edges_are_corrected_if_asked(run, save, tmp_path):
    path = save(tmp_path / "a.png", np.pad(np.zeros((20, 10), np.uint8), ((0, 0), (0, 20)), constant_values=1))
    assert run("density", path, "--bandwidth", 4, "--class", 1, "--edges", "--out", tmp_path / "out")[0] == 0
    found = tifffile.imread(tmp_path / "out" / "a_density.tif")
    np.testing.assert_allclose(found[:, 15:], found[10, 20], rtol=1e-4)  # all of class 1: one value up to the rim
    assert found.sum() == pytest.approx(1, rel=1e-4)


def test_files_have_the_same_channels_whatever_classes_they_hold(run, save, labels, tmp_path):
    save(tmp_path / "in" / "a.png", labels)
    save(tmp_path / "in" / "b.png", np.zeros_like(labels))
    assert run("density", tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    found = tifffile.imread(tmp_path / "out" / "b_density.tif")
    assert found.shape == (2, 40, 48)
    assert found[0].max() > 0
    assert found[1].max() == 0


def test_a_reference_tells_what_is_left(run, save, labels, tmp_path):
    """RCL keeps all, RL nothing, an unchanged label everything, at whatever mask values."""
    labels = np.kron(labels % 255, np.ones((4, 4), np.uint8))
    clean = save(tmp_path / "clean" / "a.png", labels * 255)
    for name, options in {"rcl": ["--kind", "flip", "--fraction", 0.3], "rl": ["--kind", "random"]}.items():
        assert run("noise", clean, *options, "--out", tmp_path / name)[0] == 0
    rows = {}
    for name in ("clean", "rcl", "rl"):
        arguments = ("--class", 1, "--reference", tmp_path / "clean", "--out", tmp_path / f"{name}_maps")
        code, out, err = run("density", tmp_path / name, *arguments)
        assert (code, err) == (0, "")
        head, row = (line.split() for line in out.splitlines() if line.lstrip().startswith(("image", "a ")))
        assert " ".join(head) == "image meta-structure retained distance of 1"
        rows[name] = [float(value) for value in row[1:]]
    assert rows["clean"] == [1, 0]
    assert rows["rcl"][0] > 0.9
    assert rows["rcl"][1] < 0.5
    assert rows["rl"][0] == 0
    assert rows["rl"][1] > 0.8


def test_a_reference_of_one_class_leaves_nothing_to_lose_and_stops_nothing(run, save, labels, tmp_path):
    save(tmp_path / "clean" / "a.png", labels % 255)
    save(tmp_path / "clean" / "b.png", np.zeros_like(labels))
    code, out, err = run("density", tmp_path / "clean", "--reference", tmp_path / "clean", "--out", tmp_path / "out")
    assert code == 0
    assert "b.png: The clean labels have a single class" in err
    assert [line.split()[1] for line in out.splitlines() if line.lstrip().startswith("b ")] == ["-"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bandwidth", "0"], "--bandwidth 0: give a number above 0."),
        (["--bandwidth", "-2 um"], "give a number above 0."),
        (["--bandwidth", "41"], "a.png: the bandwidth 41 is larger than the image, 40 pixels high; lower it."),
        (["--bandwidth", "2 um"], "a.png has no voxel size to turn 2 um into pixels; give --bandwidth in pixels."),
        (["--bandwidth", "2 furlongs"], "furlongs is no unit of length"),
        (["--bandwidth", "2 s"], "s is no unit of length"),
        (["--bandwidth", "wide"], "--bandwidth wide: give a number of pixels, or one with a unit"),
        (["--bandwidth", "1e999"], "give a number above 0"),
        (["--kernel", "square"], "no kernel 'square'; choose one of box, gaussian, epanechnikov"),
        (["--class", "4"], "--class 4: there is no such pixel; the classes are 0 and 1."),
        (["--reference", "nowhere"], "nowhere does not exist"),
        (["--reading", "x"], "--reading x"),
    ],
)
def test_a_density_that_does_not_fit_is_named_and_nothing_is_written(run, save, labels, tmp_path, options, words):
    code, out, err = run("density", save(tmp_path / "a.png", labels), "--out", tmp_path / "out", *options)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_references_that_do_not_fit_are_named(run, save, labels, tmp_path):
    save(tmp_path / "in" / "a.png", labels)
    save(tmp_path / "in" / "b.png", labels)
    save(tmp_path / "small" / "a.png", labels[:20])
    save(tmp_path / "small" / "b.png", labels[:20])
    save(tmp_path / "other" / "c.png", labels)
    for where, words in (
        ("small", "has 40 x 48 pixels (Y x X) but"),
        ("other", "a.png has no partner of its stem in"),
        ("small/a.png", "is one file for 2; name a folder"),
    ):
        code, out, err = run("density", tmp_path / "in", "--reference", tmp_path / where, "--out", tmp_path / "out")
        assert (code, out) == (2, "")
        assert words in err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((9, 9), 255, np.uint8), "every pixel is 255, unlabelled"),
        (np.full((9, 9), 0.5, np.float32), "0.5 is no label"),
        (np.arange(81, dtype=np.uint8).reshape(9, 9), "not foreground and background"),
    ],
)
def test_files_that_hold_no_labels_are_named(run, tmp_path, array, words):
    tifffile.imwrite(tmp_path / "a.tif", array)
    code, out, err = run("density", tmp_path / "a.tif", "--bandwidth", 2, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert f"{tmp_path / 'a.tif'}: " in err
    assert words in err


def test_earlier_maps_are_kept_unless_they_may_be_replaced(run, save, labels, tmp_path):
    path = save(tmp_path / "a.png", labels)
    assert run("density", path, "--out", tmp_path / "out")[0] == 0
    before = (tmp_path / "out" / "a_density.tif").read_bytes()
    code, _, err = run("density", path, "--bandwidth", 3, "--out", tmp_path / "out")
    assert (code, "--overwrite" in err) == (2, True)
    assert (tmp_path / "out" / "a_density.tif").read_bytes() == before
    assert run("density", path, "--bandwidth", 3, "--out", tmp_path / "out", "--overwrite")[0] == 0
    assert (tmp_path / "out" / "a_density.tif").read_bytes() != before


# ``metastructure noise``: the same noise as the widget's, files as they came, and one sentence for what is wrong.


@pytest.fixture
def disc():
    """A (40, 48) uint8 label of 0 and 1."""
    y, x = np.mgrid[:40, :48]
    return ((y - 20) ** 2 + (x - 24) ** 2 < 150).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, save, disc):
    """Two masks of 0 and 255, as most are."""
    save(tmp_path / "in" / "a.png", disc * 255)
    save(tmp_path / "in" / "b.png", disc[::-1, ::-1] * 255)
    return tmp_path / "in"


def facts(folder):
    return yaml.safe_load((folder / "noise.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("options", "recipe"),
    [
        (["--kind", "flip", "--fraction", 0.3], Flip(fraction=0.3)),
        (["--kind", "flip", "--fraction", 0.3, "--exact"], Flip(fraction=0.3, exact=True)),
        (["--kind", "flip", "--per-class", "0=0.1,1=0.5"], Flip(per_class={0: 0.1, 1: 0.5})),
        (["--kind", "sample", "--keep", 0.2], Sample(keep=0.2)),
        (["--kind", "random", "--probability", 0.1], Random(probability=0.1)),
        (["--kind", "dilate", "--n", 3], Dilate(n=3)),
        (["--kind", "boundary", "--amplitude", 2, "--correlation", 9], DisplaceBoundary(amplitude=2, correlation=9)),
    ],
)
def test_a_file_gets_the_noise_that_the_widget_would_draw(run, save, disc, tmp_path, options, recipe):
    path = save(tmp_path / "a.png", disc)
    code, out, err = run("noise", path, "--out", tmp_path / "out", "--seed", 5, *options)
    assert (code, err) == (0, "")
    written = tifffile.imread(tmp_path / "out" / "a.tif")
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, apply_to_plane(recipe, disc, (), seed=5, classes=(0, 1)))
    assert out.startswith(f"{tmp_path / 'out' / 'a.tif'}: 1 plane, ")
    assert "Rank" in out


def test_a_stack_keeps_axes_scale_and_unit_and_is_drawn_plane_by_plane(run, disc, tmp_path):
    stack = np.stack([np.roll(disc, k, axis=1) for k in range(6)]).reshape(2, 3, *disc.shape)
    tifffile.imwrite(
        tmp_path / "s.tif", stack, imagej=True, resolution=(5, 4),
        metadata={"axes": "TZYX", "spacing": 1.5, "unit": "micron", "finterval": 2.0},
    )  # fmt: skip
    assert run("noise", tmp_path / "s.tif", "--kind", "flip", "--out", tmp_path / "out", "--seed", 1)[0] == 0
    with tifffile.TiffFile(tmp_path / "out" / "s.tif") as tif:
        assert (tif.series[0].axes, tif.series[0].dtype) == ("TZYX", np.uint8)
        written = tif.asarray()
        steps = tif.imagej_metadata
        assert (steps["spacing"], steps["unit"], steps["finterval"]) == (1.5, "micron", 2)
        assert tif.pages.first.tags.valueof("XResolution") == (5, 1)
        assert tif.pages.first.tags.valueof("YResolution") == (4, 1)
    np.testing.assert_array_equal(written, apply(Flip(), stack, seed=1))


def test_planes_are_numbered_on_from_file_to_file(run, folder, disc, tmp_path):
    tifffile.imwrite(folder / "aa.tif", np.stack([disc, disc]) * np.uint8(255), imagej=True, metadata={"axes": "ZYX"})
    code, out, err = run("noise", folder, "--kind", "flip", "--out", tmp_path / "out", "--seed", 2)
    assert (code, err) == (0, "")
    together = apply(Flip(), np.stack([disc, disc, disc, disc[::-1, ::-1]]), seed=2)
    written = [tifffile.imread(tmp_path / "out" / f"{name}.tif").reshape(-1, 40, 48) for name in ("a", "aa", "b")]
    np.testing.assert_array_equal(np.concatenate(written), together)
    assert [(f["first_plane"], f["planes"]) for f in facts(tmp_path / "out")["files"]] == [(0, 1), (1, 2), (3, 1)]
    assert "255 is read as foreground, 1." in out


def test_noise_yaml_says_what_was_done_and_what_came_of_it(run, folder, disc, tmp_path):
    options = ("--kind", "sample", "--per-class", "0=0.25,1=1", "--seed", 4)
    code, out, _ = run("noise", folder, "--out", tmp_path / "out", *options)
    found = facts(tmp_path / "out")
    assert code == 0
    assert make_recipe(**found["recipe"]) == Sample(per_class={0: 0.25, 1: 1})
    assert (found["seed"], found["reading"]) == (4, "foreground")
    first = found["files"][0]
    assert (first["name"], first["input"]["path"]) == ("a.tif", str(folder / "a.png"))
    assert first["input"]["sha256"] == hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()
    assert found["transition"]["closed_form"]["matrix"] == [[0.25, 0], [0, 1]]
    assert found["transition"]["closed_form"]["unlabelled"] == [0.75, 0]
    clean = np.stack([disc, disc[::-1, ::-1]])
    noisy = np.stack([tifffile.imread(tmp_path / "out" / f"{n}.tif") for n in "ab"])
    expected = [[int(np.sum((clean == i) & (noisy == j))) for j in (0, 1, 255)] for i in (0, 1)]
    assert found["transition"]["counted"]["counts"] == expected
    assert found["verdict"]["closed_form"]["sentence"] in out
    assert found["verdict"]["closed_form"]["distinguishable"] == 2


def test_what_depends_on_the_place_has_no_closed_form_and_says_so(run, folder, tmp_path):
    code, out, _ = run("noise", folder, "--kind", "erode", "--n", 2, "--out", tmp_path / "out")
    assert code == 0
    assert "depends on the place" in out
    found = facts(tmp_path / "out")
    assert found["transition"]["closed_form"] is found["verdict"]["closed_form"] is None
    assert found["transition"]["counted"]["matrix"][0] == [1, 0]  # erosion takes nothing from the background


def test_a_rank_that_few_pixels_do_not_show_is_told(run, save, disc, tmp_path):
    path = save(tmp_path / "a.png", disc)
    _, out, _ = run("noise", path, "--kind", "flip", "--fraction", 0.49, "--out", tmp_path / "out")
    assert out.splitlines()[-2].startswith("Rank 2 of 2")
    assert "too few pixels to show it: Rank 1 of 2 as far as 1920 labelled pixels tell" in out.splitlines()[-1]


def test_classes_and_objects(run, save, disc, tmp_path):
    classes = disc.astype(np.uint16)
    classes[:5] = 3
    classes[:, :4] = 255
    path = save(tmp_path / "c.png", classes)
    assert run("noise", path, "--kind", "flip", "--reading", "classes", "--out", tmp_path / "c")[0] == 0
    written = tifffile.imread(tmp_path / "c" / "c.tif")
    np.testing.assert_array_equal(written, apply(Flip(), classes, 0))
    assert written.dtype == np.uint8
    code, out, _ = run("noise", path, "--kind", "dilate", "--n", 0, "--reading", "objects", "--out", tmp_path / "o")
    assert code == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "c.tif"), classes != 0)
    assert "Every number but 0 is read as foreground, 1." in out


def test_matrices_from_csv_as_spreadsheets_write_them_and_typed_in(run, save, disc, tmp_path):
    path = save(tmp_path / "a.png", disc)
    (tmp_path / "m.csv").write_text("0.9,0.1\n0.25,0.75\n")
    (tmp_path / "eu.csv").write_text("\ufeff0,9;0,1\r\n0,25;0,75\r\n", encoding="utf-8")
    for number, matrix in enumerate([tmp_path / "m.csv", tmp_path / "eu.csv", "0.9 0.1; 0.25 0.75"]):
        out = tmp_path / str(number)
        assert run("noise", path, "--kind", "matrix", "--matrix", matrix, "--out", out)[0] == 0
        assert facts(out)["transition"]["closed_form"]["matrix"] == [[0.9, 0.1], [0.25, 0.75]]
    pictures = [tifffile.imread(tmp_path / str(i) / "a.tif") for i in range(3)]
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] == pictures[2]).all()


def test_a_file_means_the_same_alone_and_beside_others(run, save, disc, tmp_path):
    """Only background and unlabelled pixels, beside a file of 0, 1 and 255: its 255 is no foreground."""
    save(tmp_path / "in" / "a.png", np.where(np.arange(disc.shape[1]) < 3, 255, disc).astype(np.uint8))
    save(tmp_path / "in" / "b.png", disc * 255)
    code, _, err = run("noise", tmp_path / "in", "--kind", "dilate", "--n", 0, "--out", tmp_path / "out")
    assert code == 0
    assert "b.png: 255 is read as unlabelled" in err
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "b.tif"), disc * 255)


def test_noise_can_be_put_on_noise_though_a_class_is_gone(run, save, disc, tmp_path):
    path = save(tmp_path / "a.png", disc)
    lost = ("--kind", "sample", "--per-class", "0=0.5,1=0")
    assert run("noise", path, *lost, "--out", tmp_path / "one")[0] == 0
    once = tifffile.imread(tmp_path / "one" / "a.tif")
    assert set(np.unique(once)) == {0, 255}
    code, _, err = run("noise", tmp_path / "one", "--kind", "sample", "--keep", 1, "--out", tmp_path / "two")
    assert (code, err) == (0, "")  # noise.yaml is no stray file either
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "two" / "a.tif"), once)


def test_nothing_is_written_over_unasked_and_clean_labels_never(run, folder, disc, tmp_path):
    tifffile.imwrite(folder / "c.tif", disc * 255)
    out = tmp_path / "out"
    for where, words in ((folder, "is an input"), (folder / ".." / "in", "is an input")):
        code, _, err = run("noise", folder, "--kind", "flip", "--out", where, "--overwrite")
        assert (code, words in err) == (2, True)
    code, _, err = run("noise", folder / "a.png", "--kind", "flip", "--out", folder, "--overwrite")
    assert (code, "holds the clean labels" in err) == (2, True)
    assert not (folder / "a.tif").exists()
    assert run("noise", folder, "--kind", "flip", "--out", out)[0] == 0
    before = (out / "a.tif").read_bytes()
    code, _, err = run("noise", folder, "--kind", "flip", "--seed", 1, "--out", out)
    assert (code, "--overwrite" in err) == (2, True)
    assert (out / "a.tif").read_bytes() == before
    code, _, err = run("noise", folder / "a.png", "--kind", "flip", "--seed", 1, "--out", out, "--overwrite")
    assert code == 0
    assert (out / "a.tif").read_bytes() != before
    assert "b.tif is of an earlier call" in err
    assert [f["name"] for f in facts(out)["files"]] == ["a.tif"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--kind", "flop"], "--kind flop: choose one of sample, flip, matrix"),
        (["--kind", "flip", "--fraction", "1.2"], "fraction must be a number from 0 to 1, not 1.2"),
        (["--kind", "sample", "--keep", "nan"], "keep must be a number from 0 to 1, not nan"),
        (["--kind", "random", "--probability", "-0.1"], "probability must be a number from 0 to 1, not -0.1"),
        (["--kind", "random", "--per-class", "0=0.5,1=0.6"], "must add up to 1, not 1.1"),
        (["--kind", "random", "--probability", ".5", "--per-class", "0=0.5,1=0.5"], "give one of them"),
        (["--kind", "sample", "--per-class", "0=0.5,7=1"], "class 7, which is absent"),
        (["--kind", "flip", "--per-class", "0=.1,0=.2"], "names class 0 twice"),
        (["--kind", "flip", "--per-class", "0=.1"], "leaves out class 1; give a value for each of 0 and 1"),
        (["--kind", "sample", "--per-class", "1=.1"], "leaves out class 0"),
        (["--kind", "flip", "--per-class", "a"], "write them like 0=0.1, 1=0.5"),
        (["--kind", "flip", "--n", "2"], "--n: --kind flip has no such option; it has --fraction, --per-class and"),
        (["--kind", "skeleton", "--exact"], "--exact: --kind skeleton has no such option; it has none."),
        (["--kind", "dilate", "--n", "-1"], "n must be a whole number from 0"),
        (["--kind", "matrix"], "needs --matrix"),
        (["--kind", "matrix", "--matrix", "nowhere.csv"], "nowhere.csv: there is no such file"),
        (["--kind", "matrix", "--matrix", "0.5 0.5"], "must be square"),
        (["--kind", "matrix", "--matrix", "0.9 0.2; 0.1 0.8"], "Row 1 of the noise transition matrix must add up to 1"),
        (["--kind", "matrix", "--matrix", "1 0 0; 0 1 0; 0 0 1"], "does not fit the classes 0 and 1"),
        (["--kind", "flip", "--reading", "labels"], "--reading labels: choose auto, foreground, objects or classes."),
        (["--kind", "flip", "--seed", "-1"], "--seed"),
        (["--kind", "flip", "--fraction", "half"], "--fraction"),
    ],
)
def test_a_dial_that_does_not_fit_is_named_and_nothing_is_written(run, folder, tmp_path, options, words):
    code, out, err = run("noise", folder, "--out", tmp_path / "out", *options)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_table_with_names_is_named_with_its_line(run, folder, tmp_path):
    (tmp_path / "m.csv").write_text("background,cell\n0.9,0.1\n0.2,0.8\n")
    code, _, err = run("noise", folder, "--kind", "matrix", "--matrix", tmp_path / "m.csv", "--out", tmp_path / "out")
    assert code == 2
    assert "m.csv, line 1: 'background,cell' is no row of numbers" in err


def test_every_bad_file_is_named_and_nothing_is_written(run, folder, disc, tmp_path):
    instances = disc.astype(np.uint16)
    instances[:3], instances[-3:] = 7, 9
    spoiled = {
        "float.tif": (disc / np.float32(2), "0.5 is no label"),
        "negative.tif": (-disc.astype(np.int16), "-1 is negative"),
        "unlabelled.tif": (np.full_like(disc, 255), "every pixel is 255, unlabelled"),
        "instances.tif": (instances, "not foreground and background; read them as objects"),
        "channels.tif": (np.stack([disc, disc]), "several channels"),
    }
    for name, (array, _) in spoiled.items():
        tifffile.imwrite(folder / name, array, metadata={"axes": "CYX" if array.ndim == 3 else "YX"})
    PIL.Image.fromarray(np.dstack([disc, disc, 2 * disc[::-1]])).save(folder / "colour.png")
    (folder / "empty.tif").write_bytes(b"")
    code, out, err = run("noise", folder, "--kind", "flip", "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert not (tmp_path / "out").exists()
    words = {name: text for name, (_, text) in spoiled.items()}
    for name, text in {**words, "colour.png": "colour image", "empty.tif": "empty (0 bytes)"}.items():
        (line,) = [line for line in err.splitlines() if str(folder / name) in line]
        assert line.startswith("Error: ")
        assert text in line
    assert "a.png" not in err


def test_a_single_class_and_a_missing_file(run, save, tmp_path):
    path = save(tmp_path / "zero.png", np.zeros((9, 9), np.uint8))
    for arguments, words in (
        ([path, "--kind", "flip"], "only class 0"),
        ([tmp_path / "no.png", "--kind", "flip"], "does not exist"),
    ):
        code, out, err = run("noise", *arguments, "--out", tmp_path / "out")
        assert (code, out) == (2, "")
        assert words in err
        assert len(err.splitlines()) == 1


# ``metastructure transition``: counts against scikit-learn, files pooled, and one sentence for what is wrong.


@pytest.fixture
def folders(tmp_path, save):
    """Two masks of 0 and 255, and labels of 0, 1 and 255 that drew their noise from different rows."""
    rng = np.random.default_rng(0)
    clean = (rng.random((2, 60, 50)) > 0.6).astype(np.uint8)
    noisy = np.where(rng.random(clean.shape) < 0.2, 1 - clean, clean).astype(np.uint8)
    noisy[:, :10] = 255
    for name, true, found in zip("ab", clean, noisy, strict=True):
        save(tmp_path / "clean" / f"{name}.png", true * 255)
        save(tmp_path / "noisy" / f"{name}.png", found)
    return tmp_path / "clean", tmp_path / "noisy", clean, noisy


def test_counts_are_pooled_and_agree_with_scikit_learn(run, folders, tmp_path):
    clean_dir, noisy_dir, clean, noisy = folders
    code, out, err = run("transition", clean_dir, noisy_dir, "--json", tmp_path / "t.json")
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "t.json").read_text())
    assert [image["name"] for image in found["images"]] == ["a", "b"]
    for image, true, drawn in zip(found["images"], clean, noisy, strict=True):
        expected = confusion_matrix(true.ravel(), drawn.ravel(), labels=[0, 1, 255])[:2]
        assert image["transition"]["counts"] == expected.tolist()
    pooled = confusion_matrix(clean.ravel(), noisy.ravel(), labels=[0, 1, 255])[:2]
    assert found["pooled"]["transition"]["counts"] == pooled.tolist()
    np.testing.assert_allclose(found["pooled"]["transition"]["matrix"], pooled[:, :2] / pooled.sum(1, keepdims=True))
    assert found["pooled"]["transition"]["rank"] == found["pooled"]["verdict"]["distinguishable"] == 2
    row = next(line.split() for line in out.splitlines() if line.startswith("  1 "))
    assert row == ["1", *(f"{n / pooled[1].sum():.4f}" for n in pooled[1]), str(pooled[1].sum())]
    total = next(line.split() for line in out.splitlines() if line.lstrip().startswith("all 2"))
    changed = (pooled[0, 1] + pooled[1, 0]) / pooled.sum()
    assert total == ["all", "2", "6000", f"{changed:.1%}", f"{10 / 60:.1%}", "2", "of", "2"]
    assert found["pooled"]["verdict"]["sentence"] == out.splitlines()[-1]


def test_two_files_of_any_name(run, folders, tmp_path):
    clean_dir, noisy_dir, *_ = folders
    code, out, _ = run("transition", clean_dir / "a.png", noisy_dir / "b.png")
    assert code == 0
    assert "all" not in out
    assert out.splitlines()[-1].startswith("Rank 1 of 2 as far as 2500 labelled pixels tell")  # of another image


def test_stacks_and_classes_and_a_class_that_only_noise_has(run, tmp_path):
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 3, (2, 3, 20, 30)).astype(np.uint16)
    noisy = clean.copy()
    noisy[noisy == 2] = 7
    for name, array in (("clean", clean), ("noisy", noisy)):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, imagej=True, metadata={"axes": "TZYX"})
    arguments = (tmp_path / "clean.tif", tmp_path / "noisy.tif", "--reading", "classes", "--json", tmp_path / "t.json")
    code, out, _ = run("transition", *arguments)
    found = json.loads((tmp_path / "t.json").read_text())["pooled"]
    assert code == 0
    assert found["transition"]["classes"] == [0, 1, 2, 7]
    assert found["transition"]["matrix"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [None] * 4]
    assert found["transition"]["rank"] == 3
    assert "Class 7 has no clean pixel and is left out." in out


def test_what_a_run_folder_holds_besides_masks_is_no_label(run, folders, save):
    clean_dir, noisy_dir, clean, _ = folders
    save(noisy_dir / "c_mask.png", clean[0] * 255)
    save(clean_dir / "c.png", clean[0] * 255)
    tifffile.imwrite(noisy_dir / "c_probability.tif", clean[0].astype(np.float32))
    (noisy_dir / "run.yaml").write_text("no image")
    code, out, err = run("transition", clean_dir, noisy_dir)
    assert (code, "all 3" in out) == (0, True)
    assert "c_mask.png: 255 is read as unlabelled" in err  # the other noisy labels are of 0, 1 and 255
    assert "c_probability" not in err


def test_noise_that_lost_a_class_is_not_mistaken_for_a_mask(run, folders, tmp_path):
    clean_dir, _, clean, _ = folders
    lost = ("--kind", "sample", "--per-class", "0=0.5,1=0")
    assert run("noise", clean_dir / "a.png", *lost, "--out", tmp_path / "out")[0] == 0
    _, out, _ = run("transition", clean_dir / "a.png", tmp_path / "out" / "a.tif")
    assert "only class 0 keeps labels, so there is nothing to learn" in out
    row = next(line.split() for line in out.splitlines() if line.startswith("  1 "))
    assert row == ["1", "0.0000", "0.0000", "1.0000", str(clean[0].sum())]


def test_files_without_partner_are_named(run, folders, save):
    clean_dir, noisy_dir, clean, _ = folders
    save(clean_dir / "c.png", clean[0])
    save(noisy_dir / "d.png", clean[0])
    code, out, err = run("transition", clean_dir, noisy_dir)
    assert (code, "all 2" in out) == (0, True)
    assert sorted(line.split()[1].rsplit("/")[-1] for line in err.splitlines()) == ["c.png", "d.png"]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((7, 9), np.uint8), "has 7 x 9 pixels (Y x X) but"),
        (np.full((60, 50), 0.5, np.float32), "0.5 is no label"),
        (np.full((60, 50), -1, np.int16), "-1 is negative"),
        (np.full((60, 50), 255, np.uint8), "every pixel is 255, unlabelled"),
        (np.arange(3000, dtype=np.uint16).reshape(60, 50), "not foreground and background"),
        (np.arange(9000, dtype=np.uint8).reshape(60, 50, 3), "colour image"),
    ],
)
def test_what_cannot_be_compared_is_named(run, folders, tmp_path, array, words):
    clean_dir, *_ = folders
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb" if array.ndim == 3 else "minisblack")
    code, out, err = run("transition", clean_dir / "a.png", tmp_path / "x.tif", "--json", tmp_path / "t.json")
    assert (code, out) == (2, "")
    assert str(tmp_path / "x.tif") in err
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "t.json").exists()


def test_labels_that_never_meet_and_paths_that_do_not_pair(run, folders, tmp_path, save):
    clean_dir, noisy_dir, clean, _ = folders
    upper, lower = clean[0].copy(), clean[0].copy()
    upper[30:], lower[:30] = 255, 255
    one, two = save(tmp_path / "one.png", upper), save(tmp_path / "two.png", lower)
    save(tmp_path / "other" / "z.png", clean[0])
    for first, second, words in (
        (one, two, "No pixel is labelled in both"),
        (clean_dir, noisy_dir / "a.png", "is a folder but"),
        (clean_dir, tmp_path / "nowhere", "does not exist"),
        (clean_dir, tmp_path / "other", "has a partner in"),
    ):
        code, out, err = run("transition", first, second)
        assert (code, out) == (2, "")
        assert words in err.splitlines()[-1]


def test_a_table_cannot_be_written_where_there_is_no_folder(run, folders, tmp_path):
    clean_dir, noisy_dir, *_ = folders
    code, out, err = run("transition", clean_dir, noisy_dir, "--json", tmp_path / "no" / "t.json")
    assert (code, out) == (2, "")
    assert "the folder does not exist" in err


@pytest.mark.parametrize(
    "text", ["0.9 0.1; 0.2 0.8", "0.9, 0.1; 0.2, 0.8;", "[[0.9, 0.1], [0.2, 0.8]]", "0.9 0.1\n0.2 0.8"]
)
def test_ways_to_write_a_matrix(text):
    assert read_dial("matrix", text) == [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize("text", ["1=0.5, 0=0.25", "0:0.25,1:0.5", "{0: 0.25, 1: 0.5}"])
def test_ways_to_write_shares_by_class(text):
    assert read_dial("per_class", text) == {0: 0.25, 1: 0.5}


@given(st.dictionaries(st.integers(0, 254), st.floats(0, 1), min_size=1))
def test_shares_read_back_what_they_print(shares):
    assert read_dial("per_class", str(Flip(per_class=shares).per_class)) == dict(sorted(shares.items()))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("per_class", "half", "'half' gives no shares by class; write them like 0=0.1, 1=0.5"),
        ("matrix", "a b; c d", "'a b; c d' is no matrix; write its rows like 0.9 0.1; 0.2 0.8"),
    ],
)
def test_text_of_another_form_gets_one_sentence(name, text, words):
    with pytest.raises(InputError, match=words):
        read_dial(name, text)


def test_other_dials_stay_as_they_are():
    assert [read_dial("n", "3"), read_dial("fraction", 0.5), read_dial("matrix", [[1]])] == ["3", 0.5, [[1]]]


@pytest.mark.parametrize("made", [0, 1, 2])
def test_noise_that_was_broken_off_lists_what_it_made(run, save, labels, tmp_path, monkeypatch, made):
    """Or else 255 in these files, which is unlabelled, could be read as foreground."""
    for name in "abc":
        save(tmp_path / "in" / f"{name}.png", labels)
    call = ("noise", tmp_path / "in", "--kind", "sample", "--out", tmp_path / "out", "--overwrite")
    assert run(*call)[0] == 0
    draw, calls = work.draw, []

    def drawn(*arguments):
        assert made_in(tmp_path / "out") == {"a.tif", "b.tif", "c.tif"}, "from the beginning"
        if len(calls) == made:
            raise KeyboardInterrupt
        calls.append(arguments)
        return draw(*arguments)

    monkeypatch.setattr(work, "draw", drawn)
    assert run(*call, "--seed", 7)[0] == 130
    there = {path.name for path in (tmp_path / "out").glob("*.tif")}
    assert there == made_in(tmp_path / "out") == {f"{name}.tif" for name in "abc"[:made]}
