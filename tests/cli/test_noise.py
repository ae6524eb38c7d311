"""``metastructure noise``: the same noise as the widget's, files as they came, and one sentence for what is wrong."""

import hashlib

import numpy as np
import PIL.Image
import pytest
import tifffile
import yaml

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
    for number, given in enumerate([tmp_path / "m.csv", tmp_path / "eu.csv", "0.9 0.1; 0.25 0.75"]):
        out = tmp_path / str(number)
        assert run("noise", path, "--kind", "matrix", "--matrix", given, "--out", out)[0] == 0
        assert facts(out)["transition"]["closed_form"]["matrix"] == [[0.9, 0.1], [0.25, 0.75]]
    pictures = [tifffile.imread(tmp_path / str(i) / "a.tif") for i in range(3)]
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] == pictures[2]).all()


def test_a_file_means_the_same_alone_and_beside_others(run, save, disc, tmp_path):
    """Only background and unlabelled pixels, beside a file of 0, 1 and 255: its 255 is no foreground."""
    save(tmp_path / "in" / "a.png", disc)
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
    tifffile.imwrite(folder / "c.tif", disc)
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
        (["--kind", "sample", "--per-class", "0=0.5,7=1"], "class 7, which is absent"),
        (["--kind", "flip", "--per-class", "a"], "write them like 0=0.1, 1=0.5"),
        (["--kind", "flip", "--n", "2"], "--n: --kind flip has no such option; it has --fraction, --per-class and"),
        (["--kind", "skeleton", "--exact"], "--exact: --kind skeleton has no such option; it has none."),
        (["--kind", "dilate", "--n", "-1"], "n must be a whole number from 0"),
        (["--kind", "matrix"], "needs --matrix"),
        (["--kind", "matrix", "--matrix", "nowhere.csv"], "nowhere.csv: there is no such file"),
        (["--kind", "matrix", "--matrix", "0.5 0.5"], "must be square"),
        (["--kind", "matrix", "--matrix", "0.9 0.2; 0.1 0.8"], "Row 1 of the noise transition matrix must add up to 1"),
        (["--kind", "matrix", "--matrix", "1 0 0; 0 1 0; 0 0 1"], "does not fit the classes 0 and 1"),
        (["--kind", "flip", "--reading", "labels"], "--reading labels: choose foreground, objects or classes."),
        (["--kind", "flip", "--seed", "-1"], "--seed"),
        (["--kind", "flip", "--fraction", "half"], "--fraction"),
    ],
)
def test_an_option_that_does_not_fit_is_named_and_nothing_is_written(run, folder, tmp_path, options, words):
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
        "float.tif": (disc.astype(np.float32), "float32 are no labels"),
        "negative.tif": (-disc.astype(np.int16), "-1 is negative"),
        "unlabelled.tif": (np.full_like(disc, 255), "every pixel is 255, unlabelled"),
        "instances.tif": (instances, "not foreground and background; read them as objects"),
        "channels.tif": (np.stack([disc, disc]), "several channels"),
    }
    for name, (array, _) in spoiled.items():
        tifffile.imwrite(folder / name, array, metadata={"axes": "CYX" if array.ndim == 3 else "YX"})
    PIL.Image.fromarray(np.dstack([disc] * 3)).save(folder / "colour.png")
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
