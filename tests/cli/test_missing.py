"""Frames without contrast, and pixels without a value, in every command that looks at images."""

import numpy as np
import pytest
import tifffile

FAST = ("--network", "light-unet", "--set", "steps_per_epoch=2", "--set", "patch_size=64", "--set", "batch_size=2")
BLANK = "all pixels have the same value or are NaN, so nothing was found there."
HOLES = "pixels that are NaN or infinite count as outside the field of view."


@pytest.fixture(params=["zero", "saturated", "nan"])
def blank(request, tmp_path, blobs):
    """A folder with a stack whose second frame was dropped, and the masks of the others."""
    value = {"zero": 0, "saturated": 255, "nan": np.nan}[request.param]
    frames = np.stack([blobs((64, 80), seed) for seed in range(3)]).astype("f4" if request.param == "nan" else "u1")
    masks = (frames > 100).astype(np.uint8) * np.uint8(255)
    frames[1] = value
    for name, data in (("images", frames), ("masks", masks)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "x.tif", data, imagej=True, metadata={"axes": "TYX"})
    return tmp_path


@pytest.fixture
def margins(tmp_path, blobs):
    """A folder with an image that was registered: its left margin is NaN, a corner infinite."""
    image = blobs((64, 80)).astype(np.float32)
    for name, data in (("images", image.copy()), ("masks", (image > 100).astype(np.uint8) * np.uint8(255))):
        data[:, :12], data[:3, 70:] = (np.nan, np.inf) if name == "images" else (255, 255)
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "x.tif", data)
    return tmp_path


def mask_of(folder):
    return tifffile.imread(next(folder.rglob("*x_mask.tif"))) > 0


def check_frames(folder):
    assert [bool(frame.any()) for frame in mask_of(folder)] == [True, False, True]


def test_a_blank_frame_gives_an_empty_mask_and_a_warning(run, blank):
    images = blank / "images"
    code, _, err = run("igtt", images, "--out", blank / "run", "--epochs", 1, *FAST)
    assert (code, err.count(BLANK)) == (0, 1), err
    assert "x.tif (T=1)" in err
    check_frames(blank / "run")
    code, _, err = run("predict", blank / "run", images, "--out", blank / "predicted")
    assert (code, err.count(BLANK)) == (0, 1), err
    check_frames(blank / "predicted")
    code, _, err = run("compare", "--images", images, "--methods", "otsu,agt,lc,ridge", "--out", blank / "compared")
    assert (code, err.count(BLANK)) == (0, 1), err
    for method in ("otsu", "agt", "lc", "ridge"):
        check_frames(blank / "compared" / "masks" / method)


def test_a_blank_frame_is_unlabelled_in_training(run, blank):
    code, _, err = run("train", blank, "--out", blank / "model", "--epochs", 1, *FAST[:2])
    assert code == 0, err
    assert err.count(BLANK) == 1


def test_pixels_without_a_value_are_outside_the_field_of_view(run, margins):
    images = margins / "images"
    code, _, err = run("igtt", images, "--out", margins / "run", "--epochs", 1, *FAST)
    assert (code, err.count(HOLES)) == (0, 1), err
    code, _, err = run("predict", margins / "run", images, "--out", margins / "predicted")
    assert (code, err.count(HOLES)) == (0, 1), err
    code, _, err = run("compare", "--images", images, "--methods", "otsu,agt", "--out", margins / "compared")
    assert (code, err.count(HOLES)) == (0, 1), err
    for folder in ("run", "predicted", "compared"):
        mask = mask_of(margins / folder)
        assert mask.any()
        assert not mask[:, :12].any()
        assert not mask[:3, 70:].any()


def test_an_image_that_is_blank_throughout_is_refused(run, tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.full((2, 32, 32), 7, np.uint8), imagej=True, metadata={"axes": "TYX"})
    for command in (("igtt",), ("compare", "--methods", "otsu", "--images")):
        code, _, err = run(*command, tmp_path / "x.tif", "--out", tmp_path / "run")
        assert (code, err.count("x.tif")) == (2, 1), err
        assert "all pixels have the same value (7), so there is nothing to segment; leave this image out." in err
