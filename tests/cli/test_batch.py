"""Commands that run as batches, and ``metastructure batch``, as a user calls them."""

import csv

import numpy as np
import pytest
import tifffile

from napari_metastructure.batch.recipe import BatchRecipe

FAST = ("--set", "steps_per_epoch=4", "--set", "patch_size=32", "--device", "cpu")


@pytest.fixture
def masks(tmp_path, save):
    """Two label files, and one that is no image."""
    rng = np.random.default_rng(0)
    for name in "ab":
        save(tmp_path / "in" / f"{name}.png", (rng.random((20, 24)) > 0.6).astype(np.uint8) * 255)
    (tmp_path / "in" / "torn.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:60])
    return tmp_path / "in"


def test_a_batch_names_what_failed_and_goes_on_from_its_recipe(run, masks, tmp_path):
    out = tmp_path / "out"
    noise = ("noise", masks, "--kind", "flip", "--fraction", 0.2)
    code, stdout, err = run(*noise, "--out", out, "--resume")
    assert code == 2
    assert "3 files; this process" in stdout
    assert f"{masks / 'a.png'} -> a.tif" in stdout
    assert "2 files done, 1 failed" in stdout and "Rank 2 of 2" in stdout
    assert err.startswith("Error: ") and "torn.png" in err and err.count("\n") == 1
    (out / "a.tif").unlink()
    (masks / "torn.png").write_bytes((masks / "b.png").read_bytes())
    code, stdout, err = run("batch", out / "batch.yaml", "--resume")
    assert (code, err) == (0, "")
    # the mended file comes after the others, so their noise is as it was
    assert "3 files, 1 done before" in stdout and "2 files done, 1 done before, 0 failed" in stdout
    with (out / "batch.csv").open(newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["done"] * 3
    assert run("noise", masks / "*.png", "--kind", "flip", "--fraction", 0.2, "--out", tmp_path / "plain")[0] == 0
    for name in ("a", "b", "torn"):
        assert (out / f"{name}.tif").read_bytes() == (tmp_path / "plain" / f"{name}.tif").read_bytes()
    assert not (tmp_path / "plain" / "batch.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scheduler", "somewhere"], "neither local:N"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--scheduler", "local:0"], "neither local:N"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(run, masks, tmp_path, arguments, words):
    code, _, err = run("density", masks, "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert words in err and "Traceback" not in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_recipe_that_is_none(run, tmp_path, masks):
    assert "there is no such file" in run("batch", tmp_path / "gone.yaml")[2]
    assert "no YAML" in run("batch", masks / "a.png")[2]


def test_a_recipe_for_the_home_folder_and_contradictory_options(run, tmp_path, masks, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    task = {"what": "density", "bandwidth": "3"}
    recipe = BatchRecipe.make(inputs=(str(masks / "a.png"),), out="~/maps", task=task).write(tmp_path / "r.yaml")
    code, stdout, err = run("batch", recipe)
    assert (code, err) == (0, "") and "-> a_density.tif" in stdout
    assert (tmp_path / "maps" / "a_density.tif").exists()
    assert "give one of them" in run("batch", recipe, "--resume", "--overwrite")[2]
    (tmp_path / "maps" / "batch.yaml").unlink()
    (tmp_path / "maps" / "batch.csv").unlink()
    code, _, err = run("batch", recipe, "--resume")
    assert code == 2 and "is there already" in err and "--resume" not in err


def test_igtt_makes_a_run_of_each_file_or_applies_a_model(run, blobs, save, tmp_path):
    for seed, name in enumerate("ab"):
        save(tmp_path / "in" / f"{name}.png", blobs(seed=seed))
    each = ("igtt", tmp_path / "in", "--each", "--out", tmp_path / "runs", *FAST)
    code, stdout, err = run(*each)
    assert (code, err) == (0, "")
    assert "2 files done" in stdout
    for name in "ab":
        assert tifffile.imread(tmp_path / "runs" / name / f"{name}_mask.tif").shape == (40, 48)
    assert run("igtt", tmp_path / "in" / "b.png", "--out", tmp_path / "alone", *FAST)[0] == 0
    one, other = (folder / "b_mask.tif" for folder in (tmp_path / "runs" / "b", tmp_path / "alone"))
    assert one.read_bytes() == other.read_bytes()
    assert "2 done before" in run(*each, "--resume")[1]
    apply = ("igtt", tmp_path / "in", "--model", tmp_path / "alone", "--out", tmp_path / "applied")
    assert run(*apply, "--device", "cpu")[0] == 0
    assert (tmp_path / "applied" / "a_probability.tif").exists()
    code, _, err = run(*apply, "--epochs", 3)
    assert code == 2 and "--model applies what was trained" in err


def test_a_comparison_is_one_piece_of_work(run, blobs, save, tmp_path):
    save(tmp_path / "in" / "a.png", blobs())
    compare = ("compare", "--images", tmp_path / "in", "--methods", "otsu", "--out", tmp_path / "out", "--resume")
    code, _, err = run(*compare)
    assert (code, err) == (0, "")
    assert (tmp_path / "out" / "masks" / "otsu" / "a_mask.tif").exists()
    assert (tmp_path / "out" / "table.md").exists()
    assert "1 done before" in run(*compare)[1]
