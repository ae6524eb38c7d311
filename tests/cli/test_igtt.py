"""``metastructure igtt`` as a user calls it, and the files it writes."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_metastructure.cli._options import RUN_WAYS
from napari_metastructure.errors import InputError
from napari_metastructure.igtt.outputs import Outputs
from napari_metastructure.images.image import Image
from napari_metastructure.networks.model_file import load_model

FAST = (
    "--device", "cpu", "--set", "steps_per_epoch=2", "--set", "batch_size=1", "--set", "base_channels=4",
    "--set", "patch_size=32", "--set", "start=otsu", "--set", "stop_agreement=1",
)  # fmt: skip


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_masks_probabilities_and_epochs_end_to_end(run, blobs, save, tmp_path):
    save(tmp_path / "in" / "a.png", blobs())
    stack = np.stack([blobs(seed=1), blobs(seed=2)]).astype(np.uint16) * 100
    tifffile.imwrite(
        tmp_path / "in" / "b.tif", stack, imagej=True, resolution=(5, 5),
        metadata={"axes": "ZYX", "spacing": 1.5, "unit": "micron"},
    )  # fmt: skip
    out = tmp_path / "out"
    code, stdout, err = run("igtt", tmp_path / "in", "--out", out, "--epochs", 1, "--keep-epochs", *FAST)
    assert (code, err) == (0, "")
    assert "3 planes on cpu, bright objects" in stdout
    assert "epoch 1/1" in stdout
    assert names(out) == sorted(
        ["last.pt", "metrics.csv", "model.safetensors", "run.yaml"]
        + [f"{s}_{k}.tif" for s in "ab" for k in ("epochs", "mask", "probability")]
    )
    with tifffile.TiffFile(out / "b_mask.tif") as tif:
        assert (tif.series[0].axes, tif.series[0].dtype) == ("ZYX", np.uint8)
        assert set(np.unique(tif.asarray())) == {0, 255}
        assert (tif.imagej_metadata["spacing"], tif.imagej_metadata["unit"]) == (1.5, "micron")
        assert tif.pages.first.tags.valueof("XResolution") == (5, 1)
    probability = tifffile.imread(out / "b_probability.tif")
    assert (probability.dtype, probability.shape) == (np.float32, stack.shape)
    epochs = tifffile.imread(out / "b_epochs.tif")
    assert epochs.shape == (2, *stack.shape)
    np.testing.assert_array_equal(epochs[-1], tifffile.imread(out / "b_mask.tif"))
    assert tifffile.imread(out / "a_mask.tif").shape == (40, 48)

    code, _, err = run("igtt", tmp_path / "in", "--out", out, *FAST)
    assert code == 2
    assert "--overwrite" in err

    code, stdout, _ = run("igtt", tmp_path / "in", "--out", out, "--epochs", 2, "--keep-epochs", "--resume", *FAST)
    assert code == 0
    assert "resumed after epoch 1" in stdout
    assert tifffile.imread(out / "a_epochs.tif").shape == (3, 40, 48)
    with (out / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]

    code, _, _ = run("igtt", tmp_path / "in" / "a.png", "--out", out, "--epochs", 1, "--overwrite", *FAST)
    assert code == 0
    assert tifffile.imread(out / "b_mask.tif").shape == stack.shape  # of another image: not this run's to remove


def test_no_result_of_the_run_before_stays_in_another_form(run, blobs, save, tmp_path):
    for name in "ab":
        save(tmp_path / "in" / f"{name}.png", blobs())
    call = ("igtt", tmp_path / "in", "--out", tmp_path / "out", *FAST)
    assert run(*call, "--epochs", 1, "--keep-epochs")[0] == 0
    assert run(*call, "--epochs", 2, "--resume", "--ome")[0] == 0
    results = [f"{s}_{k}.ome.tif" for s in "ab" for k in ("epochs", "mask", "probability")]
    assert [n for n in names(tmp_path / "out") if n.endswith(".tif")] == results
    assert len(tifffile.imread(tmp_path / "out" / results[0])) == 3, "epochs are kept on"

    code, _, err = run(*call[:1], tmp_path / "in" / "a.png", *call[2:], "--epochs", 1, "--overwrite")
    said = f"{tmp_path / 'out' / 'b_mask.ome.tif'} is of the earlier run's other images and was left as it is."
    assert (code, err) == (0, f"Warning: {said}\n")
    results = ["a_mask.tif", "a_probability.tif", *results[3:]]
    assert [n for n in names(tmp_path / "out") if n.endswith(".tif")] == results


def test_same_seed_same_masks(run, blobs, save, tmp_path):
    image = save(tmp_path / "a.png", blobs())
    for out in ("one", "two"):
        assert run("igtt", image, "--out", tmp_path / out, "--epochs", 1, "--seed", 3, *FAST)[0] == 0
    one, two = (tifffile.imread(tmp_path / out / "a_probability.tif") for out in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_stems_that_clash_ome_and_colour(run, blobs, save, tmp_path):
    save(tmp_path / "a" / "x.png", blobs())
    save(tmp_path / "b" / "x.png", np.dstack([blobs(seed=1)] * 3))
    out = tmp_path / "out"
    code, _, err = run("igtt", tmp_path / "a", tmp_path / "b", "--out", out, "--epochs", 1, "--ome", *FAST)
    assert code == 0
    assert [line.rsplit("called ")[-1] for line in err.splitlines()] == ["a_x.", "b_x."]
    masks = [n for n in names(out) if n.endswith(".ome.tif")]
    assert masks == [f"{f}_x_{k}.ome.tif" for f in "ab" for k in ("mask", "probability")]
    with tifffile.TiffFile(out / masks[0]) as tif:
        assert tif.is_ome


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--epochs", "0"], "--epochs must be a whole number from 1 to 10000, not 0."),
        (["--objects", "grey"], "--objects must be 'auto', 'bright' or 'dark', not 'grey'."),
        (["--preset", "mine"], "--preset must be 'default' or 'paper', not 'mine'."),
        (["--seed", "-1"], "--seed must be a whole number from 0 and below 4294967296, not -1."),
        (["--set", "keep=7"], "--set keep must be a number above 0 and up to 1, not 7."),
        (["--set", "keep=much"], "--set keep must be a number above 0 and up to 1, not 'much'."),
        (["--set", "patch_size=100"], "a multiple of 32 from 32 to 4096, not 100; take 96"),
        (["--set", "wrong=1"], "--set wrong: there is no setting of that name; choose one of preset, "),
        (["--set", "keep"], "write it as NAME=VALUE"),
        (["--set", "epochs=3"], "use the option --epochs"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--network", "unet", "--encoder", "nothing"], "nothing"),
        (["--set", "learning-rate=1"], "perhaps learning_rate is meant"),
        (["--set", "patch_size=99999"], "take 4096"),
        (["--encoder", "resnet18"], "--encoder: fast-unet has no encoder"),
        (["--set", "encoder_weights=imagenet"], "--set encoder_weights: fast-unet has no encoder"),
        (["--channel", "1"], "a.png has a single channel"),
        (["--resume"], "nothing to resume"),
        (["--epochs", "few"], "--epochs"),
    ],
)
def test_an_option_that_does_not_fit_is_named_before_anything_is_written(run, blobs, save, tmp_path, options, words):
    image = save(tmp_path / "a.png", blobs())
    code, out, err = run("igtt", image, "--out", tmp_path / "out", *options)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("out/*"))


def test_every_bad_file_is_named_and_nothing_is_written(run, blobs, save, tmp_path):
    folder = tmp_path / "in"
    good = save(folder / "good.png", blobs())
    (folder / "empty.tif").write_bytes(b"")
    (folder / "text.png").write_text("hello")
    (folder / "notes.txt").write_text("hello")
    (folder / "cut.png").write_bytes(good.read_bytes()[:200])
    save(folder / "black.png", np.zeros((40, 48), np.uint8))
    save(folder / "thin.png", np.random.default_rng(0).integers(0, 9, (3, 4000), dtype=np.uint8))
    spoiled = blobs().astype(np.float32)
    spoiled[0, :3] = np.nan
    tifffile.imwrite(folder / "nan.tif", spoiled)
    tifffile.imwrite(folder / "two.tif", np.stack([blobs()] * 2), imagej=True, metadata={"axes": "CYX"})
    code, out, err = run("igtt", folder, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert not (tmp_path / "out").exists()
    lines = err.splitlines()
    assert [line for line in lines if "notes.txt" in line] == [
        f"Warning: {folder / 'notes.txt'} is no image and was skipped."
    ]
    for name, words in {
        "empty.tif": "empty", "text.png": "no image file", "cut.png": "cut short", "black.png": "same value",
        "thin.png": "3 x 4000", "two.tif": "--channel 0",
    }.items():  # fmt: skip
        (line,) = [line for line in lines if f"{folder / name}" in line]
        assert line.startswith("Error: ")
        assert words in line
    assert "good.png" not in err
    assert "nan.tif" not in err  # its pixels without a value are outside the field of view


def test_a_channel_by_number_and_by_colour(run, blobs, save, tmp_path):
    rgb = np.dstack([np.zeros((40, 48), np.uint8), blobs(), np.zeros((40, 48), np.uint8)])
    image = save(tmp_path / "a.png", rgb)
    code, _, err = run("igtt", image, "--out", tmp_path / "r", "--channel", "red", *FAST)
    assert code == 2
    assert "same value" in err  # the red channel is black
    assert run("igtt", image, "--out", tmp_path / "g", "--channel", "green", "--epochs", 1, *FAST)[0] == 0


def test_colour_photographs_with_a_field_of_view(run, fundus, blobs, save, tmp_path):
    """The channel is chosen for the whole set and told; grey images go with it; nothing is found outside."""
    picture = fundus(96)
    save(tmp_path / "in" / "eye.png", picture.rgb)
    save(tmp_path / "in" / "grey.png", picture.rgb[..., 1])
    code, stdout, err = run("igtt", tmp_path / "in", "--out", tmp_path / "auto", "--epochs", 1, *FAST)
    assert (code, err) == (0, "")
    assert stdout.startswith("Colour images: the green channel is used; --channel luminance or another changes that.\n")
    assert "dark objects" in stdout
    mask = tifffile.imread(tmp_path / "auto" / "eye_mask.tif")
    assert mask.any()
    assert not mask[~picture.field].any()
    assert not tifffile.imread(tmp_path / "auto" / "eye_probability.tif")[~picture.field].any()
    np.testing.assert_array_equal(mask, tifffile.imread(tmp_path / "auto" / "grey_mask.tif"))

    eye, (one, other) = tmp_path / "in" / "eye.png", (tmp_path / "one", tmp_path / "other")
    for out, channel in ((one, "green"), (other, "luminance")):
        code, stdout, _ = run("igtt", eye, "--out", out, "--epochs", 1, "--channel", channel, *FAST)
        assert code == 0
        assert "channel" not in stdout  # who asked for it need not be told
    uses = [load_model(folder / "model.safetensors")[2] for folder in (tmp_path / "auto", one, other)]
    assert [(use.colour, use.surround) for use in uses] == [("green", True), ("green", True), (None, True)]


def test_a_full_disk_or_locked_folder_is_told(run, blobs, save, tmp_path):
    image = save(tmp_path / "a.png", blobs())
    (tmp_path / "file").write_text("in the way")
    code, _, err = run("igtt", image, "--out", tmp_path / "file", *FAST)
    assert code == 2
    assert "in the way" in err
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way there")
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_saves_and_exits_130(which, blobs, save, tmp_path):
    image = save(tmp_path / "a.png", blobs())
    out = tmp_path / "out"
    code = "from napari_metastructure.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "igtt", str(image), "--out", str(out), "--epochs", "10000",
         *FAST],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("epoch 1/"):
                break
        process.send_signal(which)
        rest, err = process.communicate(timeout=150)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Stopping after this batch" in err
    assert "Stopped by the user" in rest
    assert set(np.unique(tifffile.imread(out / "a_mask.tif"))) <= {0, 255}
    assert {"a_probability.tif", "last.pt", "run.yaml"} <= set(names(out))
    assert not [n for n in names(out) if n.endswith(".tmp")]


def test_a_run_stopped_before_its_first_mask_writes_none(run, blobs, save, tmp_path, monkeypatch):
    from napari_metastructure.igtt import iterate as module
    from napari_metastructure.training.events import Finished, RunStarted

    def stopped(*args, **kwargs):
        yield RunStarted(8, 2, 1, "cpu")
        yield Finished(True, "Stopped by the user before there was a first mask.", 0, (), ())

    monkeypatch.setattr(module, "iterate", stopped)
    code, out, err = run("igtt", save(tmp_path / "a.png", blobs()), "--out", tmp_path / "out")
    assert (code, err) == (130, "")
    assert "before there was a first mask" in out


# Results of a run, image by image.


def stack_image(axes="TZYX"):
    shape = [{"T": 2, "Z": 3, "Y": 9, "X": 11}[a] for a in axes]
    steps = {"T": (5.0, "second"), "Z": (2.0, "micrometer"), "Y": (0.5, "micrometer"), "X": (0.5, "micrometer")}
    scale, units = zip(*(steps[a] for a in axes), strict=True)
    return Image(np.zeros(shape), axes, scale, units, "s", Path("in/s.tif"))


def planes_of(image, value):
    count = int(np.prod(image.data.shape[:-2]))
    return [np.full((9, 11), (value + i) % 2, np.uint8) for i in range(count)]


def test_each_image_gets_its_own_planes_with_its_scale(tmp_path):
    images = [stack_image(), Image(np.zeros((9, 11)), "YX", (1, 1), ("pixel",) * 2, "p", Path("in/p.png"))]
    outputs = Outputs(tmp_path, images, epochs=False, ome=False)
    masks = [*planes_of(images[0], 0), np.ones((9, 11), np.uint8)]
    outputs.write(masks, [m * 0.5 for m in masks])
    with tifffile.TiffFile(tmp_path / "s_mask.tif") as tif:
        assert (tif.series[0].axes, tif.series[0].dtype) == ("TZYX", np.uint8)
        assert (tif.imagej_metadata["unit"], tif.imagej_metadata["spacing"]) == ("micron", 2)
        assert tif.imagej_metadata["finterval"] == 5
        np.testing.assert_array_equal(tif.asarray().reshape(6, 9, 11), np.stack(masks[:6]) * 255)
    assert (tifffile.imread(tmp_path / "p_mask.tif") == 255).all()
    probability = tifffile.imread(tmp_path / "p_probability.tif")
    assert probability.dtype == np.float32
    assert (probability == 0.5).all()


@pytest.mark.parametrize(("axes", "written"), [("YX", "TYX"), ("ZYX", "TZYX"), ("TYX", "TZYX"), ("TZYX", "TZCYX")])
def test_epochs_are_frames_and_a_resumed_run_adds_to_them(tmp_path, axes, written):
    image = stack_image(axes)
    count = int(np.prod(image.data.shape[:-2]))
    outputs = Outputs(tmp_path, [image], epochs=True, ome=False)
    rounds = [planes_of(image, v) for v in (0, 1, 1, 0, 1)]
    outputs.write_epochs(rounds[:3])  # epochs 0, 1, 2
    outputs.write_epochs(rounds[2:], before=2)  # resumed after 2, whose masks come again
    with tifffile.TiffFile(tmp_path / "s_epochs.tif") as tif:
        assert tif.series[0].axes == written
        back = tif.asarray()
    if axes == "TZYX":  # own T went to C, behind Z
        back = back.swapaxes(1, 2)
    np.testing.assert_array_equal(back.reshape(5, count, 9, 11), np.array(rounds) * 255)


def test_one_epoch_alone_can_be_added_to(tmp_path):
    image = stack_image("YX")
    outputs = Outputs(tmp_path, [image], epochs=True, ome=False)
    outputs.write_epochs([planes_of(image, 1)])
    outputs.write_epochs([planes_of(image, 0), planes_of(image, 1)], before=1)
    assert tifffile.imread(tmp_path / "s_epochs.tif")[:, 0, 0].tolist() == [255, 0, 255]


def test_nothing_is_written_over_unasked_and_inputs_never(tmp_path):
    image = stack_image("YX")
    outputs = Outputs(tmp_path, [image], epochs=False, ome=False)
    outputs.check_free(False, False)
    (tmp_path / "s_mask.tif").write_text("old")
    (tmp_path / "last.pt").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"last\.pt is there already.*--resume.*--overwrite"):
        outputs.check_free(False, False, RUN_WAYS)
    outputs.check_free(False, True)
    outputs.clear()
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    mine = Image(np.zeros((9, 9)), "YX", (1, 1), ("pixel",) * 2, "x", tmp_path / "x.tif")
    trap = Image(np.zeros((9, 9)), "YX", (1, 1), ("pixel",) * 2, "x_mask", tmp_path / "x_mask.tif")
    with pytest.raises(InputError, match="is an input"):
        Outputs(tmp_path, [mine, trap], epochs=False, ome=False).check_free(False, True)


def test_chosen_planes_alone_are_segmented_and_a_resumed_run_remembers_them(run, blobs, tmp_path):
    stack = np.stack([blobs(seed=i) for i in range(4)]).astype(np.uint16) * 100
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    call = ("igtt", tmp_path / "s.tif", "--out", tmp_path / "out", "--epochs", 1, "--keep-epochs", *FAST)
    code, stdout, err = run(*call, "--planes", "2, 4")
    assert (code, err) == (0, "")
    assert "2 planes on cpu" in stdout
    with tifffile.TiffFile(tmp_path / "out" / "s_mask.tif") as tif:
        mask = tif.asarray()
        assert "Only planes 2, 4 of 4 were processed" in tif.imagej_metadata["Info"]
    assert mask.shape == stack.shape
    assert [bool(plane.any()) for plane in mask] == [False, True, False, True]
    assert "planes: 2, 4" in (tmp_path / "out" / "run.yaml").read_text()

    code, stdout, err = run(*call[:5], 2, *call[6:], "--resume")
    assert (code, err) == (0, "")
    assert tifffile.imread(tmp_path / "out" / "s_epochs.tif").any(axis=(0, 2, 3)).tolist() == [False, True, False, True]

    code, _, err = run(*call, "--resume", "--planes", "1")
    assert code == 2 and "was made of planes 2, 4" in err
    for wrong in ("5", "0", "two"):
        code, _, err = run(*call[:3], tmp_path / "other", *call[4:], "--planes", wrong)
        assert code == 2 and "planes" in err.lower() and not (tmp_path / "other").exists()
