"""``metastructure transition``: counts against scikit-learn, files pooled, and one sentence for what is wrong."""

import json

import numpy as np
import pytest
import tifffile
from sklearn.metrics import confusion_matrix


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
        (np.zeros((7, 9), np.uint8), "has 7 x 9 pixels but"),
        (np.zeros((60, 50), np.float32), "float32 are no labels"),
        (np.full((60, 50), -1, np.int16), "-1 is negative"),
        (np.full((60, 50), 255, np.uint8), "every pixel is 255, unlabelled"),
        (np.arange(3000, dtype=np.uint16).reshape(60, 50), "not foreground and background"),
        (np.zeros((60, 50, 3), np.uint8), "colour image"),
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
