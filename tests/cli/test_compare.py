"""``metastructure compare`` as a user calls it."""

import csv
import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_metastructure.baselines.methods import METHODS, Method, Segmentation
from napari_metastructure.errors import RunFailed
from napari_metastructure.images.files import read_image

FILES = {"run.yaml", "results.csv", "table.csv", "table.md", "agreement.csv", "compare.png"}


@pytest.fixture
def folder(blobs, save, tmp_path):
    for i in range(3):
        image = blobs(seed=i)
        save(tmp_path / "in" / "images" / f"{i}.png", image)
        save(tmp_path / "in" / "masks" / f"{i}.png", (image > 100).astype(np.uint8) * 255)
    return tmp_path / "in"


@pytest.fixture
def invent(monkeypatch):
    """Put a function of a plane in the place of a method that depends on the seed."""

    def make(name, function):
        def run(task):
            yield 0.5
            return [Segmentation(m, m.astype(np.float32)) for m in map(function, task.planes)]

        monkeypatch.setitem(METHODS, name, Method(name, METHODS[name].title, run, torch=False))

    return make


def test_colour_images_are_compared_in_the_channel_that_shows_most(run, fundus, save, tmp_path, invent):
    seen = []
    invent("dfc", lambda plane: seen.append(plane) or plane > 0)
    picture = fundus(96)
    image = save(tmp_path / "eye.png", picture.rgb)
    asked = ("--images", image, "--methods", "dfc", "--repeats", 1, "--objects", "bright")
    code, stdout, err = run("compare", *asked, "--out", tmp_path / "auto")
    assert (code, err) == (0, "")
    assert stdout.startswith("Colour images: the green channel is used; --channel luminance or another changes that.\n")
    code, stdout, _ = run("compare", *asked, "--out", tmp_path / "red", "--channel", "red")
    assert code == 0
    assert "channel" not in stdout
    for plane, channel in zip(seen, (1, 0), strict=True):
        assert np.corrcoef(plane.ravel(), picture.rgb[..., channel].ravel())[0, 1] > 0.99999


def test_a_comparison_end_to_end(run, folder, tmp_path, invent):
    invent("dfc", lambda plane: plane > 0)
    out = tmp_path / "out"
    asked = ("--images", folder / "images", "--masks", folder / "masks", "--out", out, "--repeats", 2)
    code, stdout, err = run("compare", *asked, "--methods", "otsu,lc", "--methods", "dfc")
    assert (code, err) == (0, "")
    assert stdout.startswith("3 planes, bright objects, with ground truth\n")
    assert "DFC, repeat 2:  Dice" in stdout and "All 4 runs are done." in stdout
    assert {p.name for p in out.iterdir()} == {*FILES, "masks"}
    table = list(csv.DictReader((out / "table.csv").open()))
    assert [(line["method"], line["repeats"]) for line in table] == [("otsu", "1"), ("lc", "1"), ("dfc", "2")]
    assert float(table[0]["dice_mean"]) > 0.9
    assert f"{float(table[0]['dice_mean']):.3f}" in stdout
    for method in ("otsu", "lc", "dfc"):
        masks = sorted((out / "masks" / method).iterdir())
        assert [m.name for m in masks] == ["0_mask.tif", "1_mask.tif", "2_mask.tif"]
        assert set(np.unique(tifffile.imread(masks[0]))) == {0, 255}
    _, scored, _ = run("score", out / "masks" / "otsu", folder / "masks")
    assert f"{float(table[0]['dice_mean']):.4f}" in scored.splitlines()[-2]

    code, _, err = run("compare", *asked, "--methods", "otsu")
    assert code == 2 and "is there already" in err and err.count("\n") == 1
    code, _, err = run("compare", *asked, "--methods", "otsu", "--overwrite")
    assert (code, err) == (0, "")
    inputs = ("--images", folder / "images", "--masks", out / "masks" / "otsu")
    code, _, err = run("compare", *inputs, "--out", out, "--methods", "lc", "--overwrite")
    assert code == 2 and "is an input and would be written over" in err and err.count("\n") == 1
    assert not (out / "agreement.csv").exists() and not list((out / "masks" / "lc").iterdir())


def test_without_truth_there_is_agreement_and_stacks_keep_their_scale(run, blobs, tmp_path):
    stack = np.stack([blobs(seed=i) for i in range(3)]).astype(np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(
        tmp_path / "in" / "cells.tif", stack, imagej=True, resolution=(4, 4),
        metadata={"axes": "ZYX", "spacing": 0.5, "unit": "um"},
    )  # fmt: skip
    out = tmp_path / "out"
    code, stdout, err = run("compare", "--images", tmp_path / "in", "--out", out, "--methods", "otsu,ridge")
    assert (code, err) == (0, "")
    assert "without ground truth" in stdout and "Dice between masks" in stdout and "AUC" not in stdout
    mask, image = (read_image(p) for p in (out / "masks/otsu/cells_mask.tif", tmp_path / "in/cells.tif"))
    assert (mask.axes, mask.data.shape, mask.units) == ("ZYX", (3, 40, 48), image.units)
    assert mask.scale == pytest.approx(image.scale)


def test_all_leaves_out_what_has_nothing_to_learn_from(run, folder, tmp_path, invent):
    for name in METHODS:
        if not METHODS[name].needs_masks:
            invent(name, lambda plane: plane > 0)
    images = ("--images", folder / "images", "--repeats", 1, "--methods", "all")
    code, stdout, err = run("compare", *images, "--out", tmp_path / "out")
    assert code == 0 and "All 10 runs are done." in stdout
    assert err == "Warning: light-unet, unet, hrnet, deeplabv3, deeplabv3plus need masks and are left out.\n"
    one = ("--images", folder / "images" / "0.png", "--masks", folder / "masks" / "0.png")
    code, _, err = run("compare", *one, "--out", tmp_path / "one", "--methods", "all", "--repeats", 1)
    assert code == 0 and "images of two files or frames at least" in err


def test_a_method_that_fails_is_a_warning_and_none_left_an_error(run, folder, tmp_path, invent):
    def fail(plane):
        raise RunFailed("Memory ran out.")

    invent("dfc", fail)
    asked = ("--images", folder / "images", "--repeats", 1, "--methods")
    code, stdout, err = run("compare", *asked, "dfc,otsu", "--out", tmp_path / "a")
    assert code == 0 and "1 of 2 runs are done" in stdout
    assert err == "Warning: DFC failed with seed 0 and is left out: Memory ran out.\n"
    code, _, err = run("compare", *asked, "dfc", "--out", tmp_path / "b")
    assert code == 1 and "Error: No method came to an end; the warnings above say why." in err


def test_ctrl_c_keeps_what_is_done_and_exits_130(run, folder, tmp_path, invent):
    def interrupt(plane):
        os.kill(os.getpid(), signal.SIGINT)
        return plane > 0

    invent("dfc", interrupt)
    asked = ("--images", folder / "images" / "1.png", "--repeats", 1, "--out", tmp_path / "out")
    code, stdout, _ = run("compare", *asked, "--methods", "otsu,dfc,lc")
    assert code == 130 and "Stopped by the user" in stdout
    table = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert [line["method"] for line in table] == ["otsu", "dfc"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--images": "nowhere"}, "nowhere does not exist"),
        ({"--masks": "nowhere"}, "nowhere does not exist"),
        ({"--methods": "otsu,magic"}, "--methods must be 'otsu', 'agt', 'lc', 'ridge'"),
        ({"--methods": "otsu,otsu"}, "otsu is named twice"),
        ({"--masks": None}, "U-Net (supervised) is trained on masks; give masks"),
        ({"--repeats": 0}, "--repeats must be a whole number from 1 to 100, not 0."),
        ({"--epochs": 0}, "--epochs must be a whole number from 1 to 100000, not 0."),
        ({"--objects": "blue"}, "--objects must be 'auto', 'bright' or 'dark', not 'blue'."),
        ({"--device": "cuda:99"}, "'cuda:99' is not available"),
        ({"--channel": 2}, "has a single channel"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(run, folder, tmp_path, change, sentence):
    given = {
        "--images": folder / "images", "--masks": folder / "masks", "--methods": "otsu,unet", "--out": tmp_path / "out",
    }  # fmt: skip
    options = [x for pair in {**given, **change}.items() if pair[1] is not None for x in pair]
    code, _, err = run("compare", *options)
    assert code == 2
    lines = [line for line in err.splitlines() if "2.png" not in line and "1.png" not in line]
    assert sentence in lines[0] and len(lines) == 1
    assert not (tmp_path / "out").exists()


def test_masks_have_to_fit(run, folder, tmp_path, save):
    asked = ("--images", folder / "images", "--masks", folder / "masks", "--methods", "otsu", "--out", tmp_path / "out")
    save(folder / "masks" / "1.png", np.zeros((40, 47), np.uint8))
    code, _, err = run("compare", *asked)
    assert code == 2 and "has 40 x 47 pixels (Y x X) but" in err and "1.png has 40 x 48" in err and err.count("\n") == 1
    (folder / "masks" / "1.png").unlink()
    code, _, err = run("compare", *asked)
    assert code == 2 and "1.png has no partner of its stem" in err and err.count("\n") == 1
    for name, shape in (("images/1", (2, 3, 40, 48)), ("masks/1", (3, 2, 40, 48))):  # as many planes, in another order
        (folder / f"{name}.png").unlink(missing_ok=True)
        pixels = (np.arange(6 * 40 * 48).reshape(shape) % 7 < 3).astype(np.uint8)
        tifffile.imwrite(folder / f"{name}.tif", pixels, imagej=True, metadata={"axes": "TZYX"})
    code, _, err = run("compare", *asked)
    assert code == 2 and "has 3 x 2 x 40 x 48 pixels (Y x X last) but" in err and "1.tif has 2 x 3 x 40 x 48" in err
    for kind in ("images", "masks"):
        (folder / kind / "1.tif").unlink()
    save(folder / "images" / "1.png", np.zeros((40, 48), np.uint8) + np.arange(48, dtype=np.uint8))
    save(folder / "masks" / "1.png", np.zeros((40, 48), np.uint8))
    save(folder / "images" / "1.bmp", np.zeros((40, 48), np.uint8) + np.arange(48, dtype=np.uint8))
    code, _, err = run("compare", *asked)
    assert code == 2 and "share the stem '1'; keep one of them" in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_crops_of_a_frame_are_of_one_group(run, blobs, save, tmp_path):
    for name in ("f_y0000_x0000", "f_y0000_x0064"):
        save(tmp_path / "images" / f"{name}.png", blobs())
        save(tmp_path / "masks" / f"{name}.png", blobs() // 120)
    asked = ("--images", tmp_path / "images", "--masks", tmp_path / "masks", "--out", tmp_path / "out")
    code, _, err = run("compare", *asked, "--methods", "unet")
    assert code == 2 and "images of two files or frames at least" in err


def test_help_names_every_method(run):
    _, stdout, _ = run("compare", "--help")
    text = "".join(line.strip() for line in stdout.splitlines())
    assert all(name in text for name in METHODS)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("name", ["results.csv", "compare.png", "1_mask.tif"])
def test_a_comparison_that_could_not_be_written_is_no_success(run, folder, tmp_path, monkeypatch, name, batch):
    replace = os.replace

    def full(source, target):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "")
        replace(source, target)

    monkeypatch.setattr("os.replace", full)
    how = ["--resume"] if batch else []
    code, out, err = run("compare", "--images", folder / "images", "--methods", "otsu", "--out", tmp_path / "out", *how)
    assert code == (2 if batch else 1) and "the disk is full" in err
    assert "Tables, figure and masks are in" not in out


@pytest.mark.parametrize(
    ("option", "value", "whose"),
    [
        ("--epochs", 2, "light-unet, unet, hrnet, deeplabv3, deeplabv3plus"),
        ("--rounds", 2, "igtt, igtt-no-ems, igtt-paper, igtt-paper-no-ems"),
        ("--flaws", "keep", "igtt, igtt-no-ems"),
        ("--dfc-iterations", 2, "dfc"),
        ("--ac-steps", 2, "ac"),
    ],
)
def test_limits_of_methods_that_do_not_run_are_refused(run, blobs, save, tmp_path, option, value, whose):
    save(tmp_path / "a.png", blobs())
    code, _, err = run(
        "compare", "--images", tmp_path, "--methods", "otsu,lc", "--out", tmp_path / "out", option, value
    )
    assert (code, err) == (
        2,
        f"Error: {option}: none of --methods goes by it; leave it out, or name one of {whose}.\n",
    )
