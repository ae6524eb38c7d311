"""``metastructure study`` as a user calls it."""

import csv

import numpy as np
import pytest

from napari_metastructure.cli.train import condition_of
from napari_metastructure.errors import InputError
from napari_metastructure.labels.recipes import Dilate

FAST = (
    "--device", "cpu", "--epochs", 2, "--set", "steps_per_epoch=2", "--set", "batch_size=1",
    "--set", "base_channels=4", "--set", "patch_size=32",
)  # fmt: skip


@pytest.fixture
def folder(blobs, save, tmp_path):
    for i in range(4):
        image = blobs(seed=i)
        save(tmp_path / "in" / "images" / f"{i}.png", image)
        save(tmp_path / "in" / "masks" / f"{i}.png", (image > 100).astype(np.uint8) * 255)
    return tmp_path / "in"


def test_a_study_end_to_end_and_further(run, folder, tmp_path):
    out = tmp_path / "out"
    asked = ("--condition", "CL", "--condition", "thick:dilate:n=3", "--repeats", 1)
    code, stdout, err = run("study", folder, "--out", out, *asked, *FAST)
    assert (code, err) == (0, "")
    assert "run 2/2: thick, light-unet, seed 0" in stdout and "All 2 runs are done." in stdout
    assert {p.name for p in out.iterdir()} == {"run.yaml", "curves.csv", "table.csv", "study.png", "study.svg"}
    lines = list(csv.DictReader((out / "table.csv").open()))
    assert [(line["condition"], line["family"]) for line in lines] == [("CL", "CL"), ("thick", "PCL")]
    assert float(lines[1]["left"]) < float(lines[0]["left"]) == pytest.approx(1)

    code, stdout, err = run("study", folder, "--out", out, "--config", out, "--repeats", 2)
    assert (code, err) == (0, "")
    assert "run 3/4: CL, light-unet, seed 1" in stdout and "run 1/4" not in stdout
    assert len(list(csv.DictReader((out / "curves.csv").open()))) == 4 * 2


def test_conditions_by_name_and_free():
    assert condition_of("RL 0.5").family == "RL"
    assert condition_of("fat:dilate:n=4").recipe == Dilate(n=4)
    with pytest.raises(InputError, match=r"'nothing' is none of CL"):
        condition_of("nothing")
    with pytest.raises(InputError, match="no recipe 'melt'"):
        condition_of("a:melt")
    with pytest.raises(InputError, match="n"):
        condition_of("a:dilate:n=many")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--figure", "figure 9"), "'figure 9' is none of"),
        (("--network", "vgg"), "--network must be"),
        (("--set", "network=unet"), "use the option --network"),
        (("--set", "patience=3"), "--set patience: a study tests after all epochs"),
        (("--set", "validation_fraction=0.5"), "--set validation_fraction: a study"),
        (("--set", "classes=0,a"), "--set classes must be whole numbers, not 'a'"),
        (("--repeats", 0), "--repeats must be a whole number from 1 to 100, not 0."),
        (("--condition", "CL", "--condition", "CL"), "--condition: two conditions are called"),
    ],
)
def test_bad_input_is_one_sentence(run, folder, tmp_path, arguments, sentence):
    code, _, err = run("study", folder, "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert sentence in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (":dilate:n=3", "has no name"),
        ("CL:dilate:n=3", "is called CL, which stands for clean labels"),
        (" cl :dilate:n=3", "is called CL, which stands for clean labels"),
        ("thick:dilate:n=3,n=5", "sets n twice"),
    ],
)
def test_conditions_that_would_be_taken_for_others_are_refused(run, folder, tmp_path, text, words):
    code, _, err = run("study", folder, "--out", tmp_path / "out", "--condition", text)
    assert (code, words in err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_network_is_named_once(run, folder, tmp_path):
    code, _, err = run("study", folder, "--out", tmp_path / "out", "--network", "unet", "--network", "unet")
    assert (code, "unet is named twice" in err) == (2, True)
