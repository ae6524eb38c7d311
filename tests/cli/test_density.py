"""``metastructure density``: maps against sums by hand, bandwidths in units, and what noise leaves."""

import numpy as np
import pytest
import tifffile


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
        assert " ".join(head) == "image structure left distance of 1"
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
def test_an_option_that_does_not_fit_is_named_and_nothing_is_written(run, save, labels, tmp_path, options, words):
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
        ("small", "has 40 x 48 pixels but"),
        ("other", "a.png has no partner of its stem in"),
        ("small/a.png", "is one file for 2 label files"),
    ):
        code, out, err = run("density", tmp_path / "in", "--reference", tmp_path / where, "--out", tmp_path / "out")
        assert (code, out) == (2, "")
        assert words in err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((9, 9), 255, np.uint8), "every pixel is 255, unlabelled"),
        (np.zeros((9, 9), np.float32), "float32 are no labels"),
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
