"""``metastructure film`` as a user calls it."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_metastructure.cli.igtt import _kept_epochs
from napari_metastructure.cli.main import main

FAST = (
    "--device", "cpu", "--set", "steps_per_epoch=2", "--set", "batch_size=1", "--set", "base_channels=4",
    "--set", "patch_size=32", "--set", "start=otsu", "--set", "stop_agreement=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory, blobs, save):
    """A run of two epochs on a picture and a film with Z."""
    folder = tmp_path_factory.mktemp("film")
    save(folder / "in" / "a.png", blobs())
    film = np.stack([[blobs(seed=3 * t + z) for z in range(3)] for t in range(2)]).astype(np.uint16)
    tifffile.imwrite(folder / "in" / "b.tif", film, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(SystemExit) as ended:
        main(["igtt", str(folder / "in"), "--out", str(folder / "out"), "--epochs", "2", "--keep-epochs", *FAST])
    assert not ended.value.code
    return folder


def test_a_film_and_a_figure(run, kept, tmp_path):
    code, stdout, err = run("film", kept / "out", "--out", tmp_path / "a.gif")
    assert (code, err) == (0, "")
    assert stdout == f"{tmp_path / 'a.gif'}: 3 epochs\n"
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 3
    more = ("--image", kept / "in" / "b.tif", "--plane", 5, "--outlines")
    assert run("film", kept / "out", "--out", tmp_path / "b.png", *more)[0] == 0


def test_the_planes_of_a_film_are_those_of_its_masks(kept):
    for plane in range(6):
        epochs = _kept_epochs(kept / "out", kept / "in" / "b.tif", plane + 1)
        mask = tifffile.imread(kept / "out" / "b_mask.tif").reshape(6, *epochs.image.shape)
        image = tifffile.imread(kept / "in" / "b.tif").reshape(6, *epochs.image.shape)
        np.testing.assert_array_equal(epochs.masks[2], mask[plane])
        np.testing.assert_array_equal(epochs.image, image[plane])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--plane", "7", "--image", "{in}/b.tif"), "b has 6 planes"),
        (("--image", "c.png"), "epochs of a.png and b.tif"),
    ],
)
def test_what_is_not_there_is_named(run, kept, tmp_path, options, why):
    options = [option.replace("{in}", str(kept / "in")) for option in options]
    code, _, err = run("film", kept / "out", "--out", tmp_path / "x.gif", *options)
    assert code == 2 and why in err
    assert not list(tmp_path.iterdir())


def test_an_image_is_found_by_its_name_and_missed_in_a_sentence(run, kept, tmp_path):
    call = ("film", kept / "out", "--out", tmp_path / "x.gif", "--image", "b.tif")
    assert run(*call)[0] == 0
    (kept / "in" / "b.tif").rename(tmp_path / "b.tif")
    code, _, err = run(*call, "--overwrite")
    (tmp_path / "b.tif").rename(kept / "in" / "b.tif")
    assert code == 2 and "b.tif, an image of the run in" in err and "put it back" in err


def test_an_image_that_changed_since_is_told(run, kept, tmp_path):
    image, before = kept / "in" / "b.tif", (kept / "in" / "b.tif").read_bytes()
    image.write_bytes(before + b" ")
    code, _, err = run("film", kept / "out", "--out", tmp_path / "x.gif", "--image", "b.tif")
    image.write_bytes(before)
    assert (code, err) == (0, f"Warning: {image} changed since the run was made.\n")


def test_folders_without_epochs_are_refused(run, kept, tmp_path):
    code, _, err = run("film", tmp_path, "--out", tmp_path / "x.gif")
    assert code == 2 and "holds no run" in err
    for name in ("run.yaml", "metrics.csv"):
        (tmp_path / name).write_bytes((kept / "out" / name).read_bytes())
    code, _, err = run("film", tmp_path, "--out", tmp_path / "x.gif")
    assert code == 2 and "--keep-epochs" in err
    (tmp_path / "x.gif").write_text("mine")
    code, _, err = run("film", kept / "out", "--out", tmp_path / "x.gif")
    assert code == 2 and "--overwrite" in err


def test_an_image_of_the_run_is_not_replaced(run, kept):
    before = (kept / "in" / "a.png").read_bytes()
    code, _, err = run("film", kept / "out", "--out", kept / "in" / "a.png", "--overwrite")
    assert code == 2 and "is an input and would be written over" in err
    assert (kept / "in" / "a.png").read_bytes() == before
