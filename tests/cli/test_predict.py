"""``metastructure predict`` and ``metastructure export`` as a user calls them."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch

from napari_metastructure.images.intensity import channels_of, network_inputs
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, load_model, save_model


@pytest.fixture
def model(tmp_path):
    """Saves a model of random weights; gives its run folder."""

    def make(name="run", **use):
        use = Use(**{"inputs": "zscore", "patch": (32, 32), **use})
        logits = 1 if len(use.classes) == 2 else len(use.classes)
        spec = NetworkSpec(in_channels=channels_of(use.inputs, use.channels), classes=logits, base_channels=4)
        (tmp_path / name).mkdir()
        save_model(tmp_path / name / "model.safetensors", build(spec, 0), spec, use)
        return tmp_path / name

    return make


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def network_of(folder, image):
    """(K, Y, X) probabilities of an image of one tile, by hand."""
    network, _, use = load_model(folder / "model.safetensors")
    with torch.no_grad():
        logits = network(torch.from_numpy(network_inputs(image, use.inputs, use.objects))[None])[0]
    return (torch.sigmoid(logits) if len(logits) == 1 else torch.softmax(logits, 0)).numpy()


def test_masks_and_probabilities_of_a_folder(run, blobs, save, model, tmp_path):
    one = save(tmp_path / "in" / "a.png", blobs((32, 32)))
    stack = np.stack([blobs((32, 32), seed=1), blobs((32, 32), seed=2)]).astype(np.uint16) * 100
    tifffile.imwrite(
        tmp_path / "in" / "b.tif", stack, imagej=True, resolution=(5, 5),
        metadata={"axes": "ZYX", "spacing": 1.5, "unit": "micron"},
    )  # fmt: skip
    folder, out = model(classes=(0, 4)), tmp_path / "out"
    code, stdout, err = run("predict", folder, tmp_path / "in", "--out", out, "--device", "cpu")
    assert (code, err) == (0, "")
    assert "light-unet" in stdout
    assert "on cpu" in stdout
    assert f"{one} -> a_mask.tif, a_probability.tif" in stdout
    assert "2 images predicted" in stdout
    assert names(out) == ["a_mask.tif", "a_probability.tif", "b_mask.tif", "b_probability.tif"]
    probability, mask = tifffile.imread(out / "b_probability.tif"), tifffile.imread(out / "b_mask.tif")
    expected = np.stack([network_of(folder, plane)[0] for plane in stack])
    np.testing.assert_allclose(probability, expected, atol=2e-5)
    np.testing.assert_array_equal(mask, np.where(probability > 0.5, 255, 0))
    with tifffile.TiffFile(out / "b_mask.tif") as tif:
        assert (tif.series[0].axes, tif.series[0].dtype) == ("ZYX", np.uint8)
        assert (tif.imagej_metadata["spacing"], tif.imagej_metadata["unit"]) == (1.5, "micron")

    code, _, err = run("predict", folder, one, "--out", out)
    assert code == 2
    assert "a_mask.tif is there already" in err
    assert "replace it with --overwrite" in err
    (out / "a_mask.tif").write_bytes(b"old")
    assert run("predict", folder / "model.safetensors", one, "--out", out, "--overwrite", "--device", "cpu")[0] == 0
    assert tifffile.imread(out / "a_mask.tif").shape == (32, 32)


def test_more_classes_keep_their_values_and_channels_are_taken_together(run, model, tmp_path):
    image = np.random.default_rng(0).gamma(2, 100, (3, 32, 32)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", image, imagej=True, metadata={"axes": "CYX"})
    folder, out = model(classes=(0, 2, 7), channels=3, inputs="percentile"), tmp_path / "out"
    code, _, err = run("predict", folder, tmp_path / "c.tif", "--out", out, "--ome", "--no-probability")
    assert (code, err) == (0, "")
    assert names(out) == ["c_mask.ome.tif"]
    p = np.sort(expected := network_of(folder, image), axis=0)
    clear = p[-1] - p[-2] > 1e-4
    labels = tifffile.imread(out / "c_mask.ome.tif")
    np.testing.assert_array_equal(labels[clear], np.array([0, 2, 7])[expected.argmax(axis=0)][clear])


def test_a_run_of_igtt_can_be_applied_to_other_images(run, blobs, save, tmp_path):
    first, other = save(tmp_path / "a.png", blobs()), save(tmp_path / "b.png", blobs(seed=1))
    fast = ("--set", "steps_per_epoch=4", "--set", "patch_size=32")
    assert run("igtt", first, "--out", tmp_path / "run", "--epochs", 1, "--device", "cpu", *fast)[0] == 0
    code, stdout, _ = run("predict", tmp_path / "run", other, "--out", tmp_path / "run", "--device", "cpu")
    assert code == 0
    assert "level criterion" in stdout
    found = tifffile.imread(tmp_path / "run" / "b_mask.tif") > 0
    truth = blobs(seed=1) > 100
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_colours_are_taken_as_the_model_was_trained_on_them(run, fundus, save, model, tmp_path):
    rgb = fundus(32).rgb
    image, grey = save(tmp_path / "in" / "eye.png", rgb), save(tmp_path / "in" / "grey.png", rgb[..., 1])
    folder = model(colour="green")
    for name, options, plane in (
        ("own", (), rgb[..., 1]),
        ("asked", ("--channel", "red"), rgb[..., 0]),
        ("light", ("--channel", "luminance"), rgb @ np.array([0.2125, 0.7154, 0.0721], np.float32)),
    ):
        code, stdout, err = run("predict", folder, image, "--out", tmp_path / name, "--device", "cpu", *options)
        assert (code, err) == (0, "")
        assert "of colour images green" in stdout
        found = tifffile.imread(tmp_path / name / "eye_probability.tif")
        np.testing.assert_allclose(found, network_of(folder, plane)[0], atol=2e-5)
    assert run("predict", folder, grey, "--out", tmp_path / "own", "--device", "cpu")[0] == 0
    own = [tifffile.imread(tmp_path / "own" / f"{stem}_probability.tif") for stem in ("eye", "grey")]
    np.testing.assert_array_equal(*own)


def test_bad_files_are_named_and_the_others_written(run, blobs, save, model, tmp_path):
    good = save(tmp_path / "in" / "good.png", blobs())
    (tmp_path / "in" / "torn.png").write_bytes(good.read_bytes()[:200])
    two = tmp_path / "in" / "two.tif"
    tifffile.imwrite(two, np.stack([blobs()] * 2), imagej=True, metadata={"axes": "CYX"})
    save(tmp_path / "in" / "black.png", np.zeros((40, 48), np.uint8))
    code, stdout, err = run("predict", model(), tmp_path / "in", "--out", tmp_path / "out", "--device", "cpu")
    assert code == 2
    lines = err.splitlines()
    assert [line.split()[0] for line in lines] == ["Warning:", "Error:", "Error:"]
    assert "black.png" in lines[0]
    assert "nothing was found" in lines[0]
    assert "torn.png" in lines[1]
    assert f"{two} has 2 channels; choose one" in lines[2]
    assert "2 images predicted" in stdout
    assert names(tmp_path / "out") == [f"{s}_{k}.tif" for s in ("black", "good") for k in ("mask", "probability")]
    code, _, err = run("predict", tmp_path / "run", two, "--out", tmp_path / "out", "--channel", 1, "--device", "cpu")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing", "a.png"], "There is no model"),
        ([".", "a.png"], "holds no model.safetensors"),
        (["a.png", "a.png"], "a.png is no model of this program; choose a model.safetensors"),
        (["run", "b.png"], "b.png does not exist"),
        (["run", "a.png", "--device", "cuda:99"], "cuda:99"),
        (["run"], "images"),
        (["run", "a.png", "--channel", "7"], "a.png has a single channel"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_written(
    run, blobs, save, model, tmp_path, monkeypatch, arguments, words
):
    save(tmp_path / "a.png", blobs())
    model()
    monkeypatch.chdir(tmp_path)
    code, _, err = run("predict", *arguments, "--out", "out")
    assert code == 2
    assert words.lower() in err.lower()
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_an_input_is_never_written_over(run, blobs, save, model, tmp_path):
    first, second = save(tmp_path / "a.png", blobs()), tmp_path / "a_mask.tif"
    tifffile.imwrite(second, blobs())
    before = second.read_bytes()
    code, _, err = run("predict", model(), first, second, "--out", tmp_path, "--overwrite")
    assert code == 2
    assert "a_mask.tif is an input" in err and "choose another --out" in err
    assert second.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way there")
def test_ctrl_c_leaves_whole_files_and_exits_130(blobs, save, model, tmp_path):
    for number in range(200):
        save(tmp_path / "in" / f"{number:03d}.png", blobs((120, 120), seed=number))
    out = tmp_path / "out"
    code = "from napari_metastructure.cli.main import main; main()"
    arguments = ["predict", model(), tmp_path / "in", "--out", out, "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "000_mask.tif" in line:
                break
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=150)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Stopped by the user" in rest
    assert "Stopping" in err
    written = names(out)
    assert 2 <= len(written) < 400
    assert not [n for n in written if n.startswith(".")]
    for name in written:
        assert tifffile.imread(out / name).shape == (120, 120)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "keras", "--out", "m.onnx"], "--to keras: choose onnx or bioimageio"),
        (["--to", "onnx", "--out", "m.zip"], "--out m.zip: the name of a file for onnx ends in .onnx"),
        (["--to", "bioimageio", "--out", "m.onnx"], "ends in .zip"),
        (["--to", "onnx", "--out", "there.onnx"], "there.onnx is there already"),
        (["--to", "onnx", "--out", "nowhere/m.onnx"], "create it first"),
    ],
)
def test_export_options_that_do_not_fit(run, model, tmp_path, monkeypatch, options, words):
    from napari_metastructure.networks import export

    monkeypatch.setattr(export, "to_onnx", lambda model: b"")
    monkeypatch.setattr(export, "run_onnx", lambda content, inputs: inputs)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").write_bytes(b"")
    code, _, err = run("export", model(), *options)
    assert code == 2
    assert words in err


def test_export_says_what_the_file_takes_and_how_near_it_is(run, model, tmp_path, monkeypatch):
    from napari_metastructure.networks import export

    folder = model()
    monkeypatch.setattr(export, "to_onnx", lambda model: b"an ONNX file")
    monkeypatch.setattr(export, "run_onnx", lambda content, inputs: network_of(folder, inputs[0]) + 1e-4)
    code, stdout, _ = run("export", folder, "--to", "onnx", "--out", tmp_path / "m.onnx")
    assert code == 0
    assert "32 x 32" in stdout
    assert "0.0001" in stdout
    assert (tmp_path / "m.onnx").read_bytes() == b"an ONNX file"


def test_chosen_frames_and_planes_alone_are_labelled(run, blobs, model, tmp_path):
    film = np.stack([[blobs((32, 32), seed=3 * t + z) for z in range(3)] for t in range(2)]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "film.tif", film, imagej=True, metadata={"axes": "TZYX"})
    call = ("predict", model(), tmp_path / "film.tif", "--device", "cpu", "--ome", "--out")
    code, _, err = run(*call, tmp_path / "out", "--planes", "1-2", "--frames", "2")
    assert (code, err) == (0, "")
    with tifffile.TiffFile(tmp_path / "out" / "film_probability.ome.tif") as tif:
        assert tif.asarray().any(axis=(2, 3)).tolist() == [[False] * 3, [True, True, False]]
        assert "Only planes 1-2 of 3 and frames 2 of 2" in tif.ome_metadata
    code, _, err = run(*call, tmp_path / "no", "--frames", "3")
    assert code == 2 and "film.tif has 2 frames" in err and not (tmp_path / "no").exists()
