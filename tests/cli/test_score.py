"""``metastructure score``: pairs, rules for the truth, table and JSON."""

import json

import numpy as np
import pytest
import sklearn.metrics
import tifffile

from napari_metastructure.images.writing import write_tiff


@pytest.fixture
def folders(tmp_path, save):
    """A run folder of two images and its truth, one mask spoiled, one probability there."""
    rng = np.random.default_rng(0)
    truth = rng.random((2, 20, 24)) > 0.6
    predicted = truth.copy()
    predicted[1, :5] ^= True
    probability = np.where(truth[0], 0.7, 0.3) + rng.normal(0, 0.2, truth[0].shape)
    run, true = tmp_path / "run", tmp_path / "truth"
    run.mkdir()
    for i, name in enumerate("ab"):
        save(true / f"{name}.png", truth[i].astype(np.uint8) * 255)
        tifffile.imwrite(run / f"{name}_mask.tif", predicted[i].astype(np.uint8) * 255)
    tifffile.imwrite(run / "a_probability.tif", probability.astype(np.float32))
    tifffile.imwrite(run / "a_epochs.tif", np.stack([predicted[0]] * 2).astype(np.uint8))
    (run / "run.yaml").write_text("not an image")
    return run, true, predicted, truth, probability.astype(np.float32)


def test_numbers_agree_with_scikit_learn(run, folders, tmp_path):
    predicted_dir, truth_dir, predicted, truth, probability = folders
    code, out, err = run("score", predicted_dir, truth_dir, "--json", tmp_path / "s.json")
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "s.json").read_text())
    assert [row["name"] for row in found["images"]] == ["a", "b"]
    row = found["images"][1]
    flat = truth[1].ravel(), predicted[1].ravel()
    assert row["dice"] == pytest.approx(sklearn.metrics.f1_score(*flat))
    assert row["iou"] == pytest.approx(sklearn.metrics.jaccard_score(*flat))
    assert row["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(*flat))
    assert row["auc"] is None  # no probability beside it
    auc = sklearn.metrics.roc_auc_score(truth[0].ravel(), probability.ravel())
    assert found["images"][0]["auc"] == pytest.approx(auc)
    assert found["mean"]["auc"] == pytest.approx(auc)
    assert found["mean"]["dice"] == pytest.approx((1 + row["dice"]) / 2)
    assert f"{row['dice']:.4f}" in out
    assert "mean of 2" in out


def test_names_with_points_have_an_auc(run, folders):
    predicted_dir, truth_dir, *_ = folders
    for path in [*predicted_dir.glob("a_*"), truth_dir / "a.png"]:
        path.rename(path.with_name(path.name.replace("a", "0.5um.x", 1)))
    code, out, _ = run("score", predicted_dir, truth_dir)
    assert code == 0 and "-" not in next(line for line in out.splitlines() if "0.5um.x" in line)


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX"])
def test_movies_of_stacks_have_an_auc(run, tmp_path, axes):
    rng = np.random.default_rng(1)
    truth = rng.random((2, 3, 20, 24)) > 0.6
    probability = (0.4 * truth + 0.6 * rng.random(truth.shape)).astype(np.float32)
    swapped = probability if axes == "TZYX" else probability.swapaxes(0, 1)
    for name, pixels in (("truth/a", truth), ("run/a_mask", probability > 0.5)):
        (tmp_path / name).parent.mkdir()
        write_tiff(tmp_path / f"{name}.tif", pixels.astype(np.uint8) * 255, "TZYX", (1,) * 4, ("pixel",) * 4)
    tifffile.imwrite(tmp_path / "run" / "a_probability.ome.tif", swapped, ome=True, metadata={"axes": axes})
    assert run("score", tmp_path / "run", tmp_path / "truth", "--json", tmp_path / "s.json")[0] == 0
    found = json.loads((tmp_path / "s.json").read_text())["mean"]
    assert found["auc"] == pytest.approx(sklearn.metrics.roc_auc_score(truth.ravel(), probability.ravel()))
    assert found["dice"] == pytest.approx(sklearn.metrics.f1_score(truth.ravel(), probability.ravel() > 0.5))


@pytest.mark.parametrize(
    "command",
    [
        ("score", "a", "b"),
        ("transition", "a/x.tif", "b/x.tif"),
        ("measure", "a", "--images", "b", "--out", "t.csv"),
        ("density", "a", "--reference", "b", "--out", "d"),
    ],
)
def test_as_many_planes_in_another_order_are_not_compared(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for folder, shape in (("a", (2, 3, 20, 24)), ("b", (3, 2, 20, 24)), ("c", (6, 20, 24))):
        (tmp_path / folder).mkdir()
        pixels = (np.arange(6 * 20 * 24).reshape(shape) % 7 < 3).astype(np.uint8) * 255
        axes = "TZYX"[-len(shape) :]
        write_tiff(tmp_path / folder / "x.tif", pixels, axes, (1,) * len(axes), ("pixel",) * len(axes))
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert "2 x 3 x 20 x 24" in err and "3 x 2 x 20 x 24" in err and "compare equal sizes" in err
    one_axis = [part.replace("b", "c", 1) if part[0] == "b" else part for part in command]
    assert run(*one_axis)[0] == 0  # frames and slices along one axis


def test_truth_of_0_and_1_scores_the_same_and_0_1_255_leaves_pixels_out(run, folders, tmp_path):
    predicted_dir, truth_dir, predicted, truth, _ = folders

    def dice_of_b(labels):
        for name, mask in (("a", truth[0].astype(labels.dtype) * labels[labels < 255].max()), ("b", labels)):
            tifffile.imwrite(truth_dir / f"{name}.tif", mask)
            (truth_dir / f"{name}.png").unlink(missing_ok=True)
        assert run("score", predicted_dir, truth_dir, "--json", tmp_path / "s.json")[0] == 0
        return json.loads((tmp_path / "s.json").read_text())["images"][1]["dice"]

    usual = sklearn.metrics.f1_score(truth[1].ravel(), predicted[1].ravel())
    assert dice_of_b(truth[1].astype(np.uint8)) == pytest.approx(usual)
    assert dice_of_b(truth[1].astype(np.uint16) * 200) == pytest.approx(usual)
    labels = truth[1].astype(np.uint8)
    labels[:5] = 255  # where the prediction is wrong
    assert dice_of_b(labels) == 1


def test_files_without_partner_are_named(run, folders, save):
    predicted_dir, truth_dir, *_ = folders
    save(truth_dir / "c.png", np.zeros((9, 9), np.uint8))
    tifffile.imwrite(predicted_dir / "d_mask.tif", np.zeros((9, 9), np.uint8))
    code, out, err = run("score", predicted_dir, truth_dir)
    assert code == 0
    assert sorted(line.split()[1].rsplit("/")[-1] for line in err.splitlines()) == ["c.png", "d_mask.tif"]
    assert "mean of 2" in out


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("b_mask.tif", np.zeros((7, 9), np.uint8), "7 x 9 pixels (Y x X) but"),
        ("b_mask.tif", np.full((20, 24), 0.5, np.float32), "0.5 is no label"),
        ("b_label.tif", np.zeros((20, 24), np.uint8), "share the stem 'b'"),
        ("a_probability.tif", np.full((20, 24), np.nan, np.float32), "NaN"),
        ("a_probability.tif", np.zeros((5, 5), np.float32), "5 x 5 pixels but"),
    ],
)
def test_what_cannot_be_compared_is_named(run, folders, tmp_path, name, array, words):
    predicted_dir, truth_dir, *_ = folders
    tifffile.imwrite(predicted_dir / name, array)
    code, out, err = run("score", predicted_dir, truth_dir, "--json", tmp_path / "s.json")
    assert (code, out) == (2, "")
    assert words in err
    assert name in err
    assert not (tmp_path / "s.json").exists()


def test_empty_missing_and_unpaired_folders(run, folders, tmp_path, save):
    _, truth_dir, *_ = folders
    (tmp_path / "empty").mkdir()
    save(tmp_path / "other" / "z.png", np.zeros((9, 9), np.uint8))
    for folder, words in (("empty", "holds no image"), ("nowhere", "is not a folder"), ("other", "has a partner")):
        code, out, err = run("score", tmp_path / folder, truth_dir)
        assert (code, out) == (2, "")
        assert words in err


def test_a_wrong_ending_is_mentioned_once_and_the_file_is_read(run, folders):
    predicted_dir, truth_dir, *_ = folders
    (truth_dir / "a.png").rename(truth_dir / "a.tif")
    code, out, err = run("score", predicted_dir, truth_dir)
    assert code == 0
    assert err == "Warning: a.tif holds a PNG image whatever its name says; read as PNG.\n"
    assert "mean of 2" in out


@pytest.mark.parametrize("how", [[], ["--reading", "objects"]])
def test_images_in_place_of_masks(run, folders, save, how):
    """Of each nearly every pixel would be foreground."""
    predicted, truth = folders[:2]
    save(truth / "a.png", np.random.default_rng(0).integers(0, 200, (60, 60)).astype(np.uint8))
    code, out, err = run("score", predicted, truth, *how)
    assert (code, out) == (2, "")
    assert f"{truth / 'a.png'} holds the grey values of an image, not labels" in err


def test_the_truth_may_be_a_run_folder(run, folders):
    predicted, truth = folders[:2]
    assert run("score", truth, predicted)[::2] == (0, ""), "its probabilities are passed over without a word"


def test_a_folder_is_not_compared_with_itself(run, folders):
    truth = folders[1]
    code, _, err = run("score", truth, truth)
    assert (code, err) == (
        2,
        f"Error: {truth / 'a.png'} would be compared with itself; name two different files or folders.\n",
    )
