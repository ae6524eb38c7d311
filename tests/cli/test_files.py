"""Names, places and kinds of the files that commands read and write."""

import csv
import os
import signal

import numpy as np
import pytest
import tifffile

from napari_metastructure.training.run_folder import RunFolder


@pytest.mark.parametrize("command", ["train", "igtt"])
def test_going_on_and_replacing_exclude_each_other(run, tmp_path, command):
    code, _, err = run(command, tmp_path, "--out", tmp_path / "out", "--resume", "--overwrite")
    assert code == 2 and "give one of them" in err


@pytest.mark.parametrize("command", ["score", "transition"])
@pytest.mark.parametrize("which", [0, 1])
def test_numbers_are_not_written_over_an_input(run, save, tmp_path, blobs, command, which):
    files = [save(tmp_path / folder / "a.png", (blobs() > 100).astype("uint8")) for folder in "xy"]
    before = files[which].read_bytes()
    (tmp_path / "n.json").symlink_to(files[which])
    for name, why in (("n.json", "choose another --json"), (files[which], "a file that ends in .json")):
        code, _, err = run(command, tmp_path / "x", tmp_path / "y", "--json", tmp_path / name)
        assert code == 2 and why in err
    assert files[which].read_bytes() == before


OUT_OF = {
    "igtt": ["x", "--out"], "train": ["x", "--out"], "predict": ["m", "x", "--out"], "study": ["x", "--out"],
    "compare": ["--images", "x", "--out"], "noise": ["x", "--kind", "flip", "--out"], "density": ["x", "--out"],
    "batch": ["b.yaml", "--out"], "measure": ["x", "--out", "t.csv", "--clean"],
}  # fmt: skip


@pytest.mark.parametrize("command", OUT_OF)
@pytest.mark.parametrize("name", ["mask.tif", "found.ome.zarr", "table.CSV"])
def test_a_folder_is_not_called_like_a_file(run, tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(command, *OUT_OF[command], name)
    assert code == 2 and f"{OUT_OF[command][-1]} {name}: this names the folder of the results" in err
    assert not any(tmp_path.iterdir())


def test_no_results_are_written_into_an_image_that_is_a_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.zarr").mkdir()
    code, _, err = run("igtt", "x", "--out", "a.zarr/run")
    assert code == 2 and f"--out a.zarr/run: it lies in {tmp_path / 'a.zarr'}, which is an image" in err


FILES_OF = {
    "measure": ["x", "--out"], "score": ["x", "y", "--json"], "transition": ["x", "y", "--json"],
    "film": ["run", "--out"], "export": ["m", "--to", "onnx", "--out"], "igtt": ["x", "--out", "o", "--places"],
}  # fmt: skip


@pytest.mark.parametrize("command", FILES_OF)
@pytest.mark.parametrize("name", ["x.tif", "x", "folder"])
def test_a_file_ends_as_what_is_in_it(run, tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    code, _, err = run(command, *FILES_OF[command], name)
    assert code == 2 and f"{FILES_OF[command][-1]} {name}: choose the name of a file that ends in ." in err
    assert not any((tmp_path / "folder").iterdir())


@pytest.mark.parametrize("command", ["noise", "density", "predict", "measure", "igtt", "train", "study", "compare"])
def test_a_loop_of_links_is_no_place_for_results(run, save, tmp_path, blobs, command):
    image = save(tmp_path / "set" / "images" / "a.png", blobs())
    labels = save(tmp_path / "set" / "labels" / "a.png", (blobs() > 100).astype("uint8"))
    (tmp_path / "b").symlink_to("c")
    (tmp_path / "c").symlink_to("b")
    inputs = {
        "noise": [labels, "--kind", "flip"],
        "density": [labels],
        "predict": [tmp_path, image],
        "measure": [labels, "--clean", tmp_path / "b"],
        "igtt": [image],
        "train": [tmp_path / "set"],
        "study": [tmp_path / "set"],
        "compare": ["--images", image, "--methods", "otsu"],
    }
    out = tmp_path / "c" / ("table.csv" if command == "measure" else "")
    code, _, err = run(command, *inputs[command], "--out", out)
    assert code == 2 and err.startswith("Error: ")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way there")
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
@pytest.mark.parametrize("command", ["noise", "density", "measure"])
def test_no_signal_to_end_leaves_a_half_written_file(run, save, tmp_path, blobs, monkeypatch, command, which):
    labels = save(tmp_path / "in" / "a.png", (blobs() > 100).astype("uint8"))
    more = {"noise": ["--kind", "flip"], "density": [], "measure": []}[command]
    out = tmp_path / "out"
    replace = os.replace

    def stop(source, target):  # written, but not in its place
        return replace(source, target) if target.name.startswith(".") else os.kill(os.getpid(), which)

    monkeypatch.setattr("os.replace", stop)
    code, _, err = run(command, labels, *more, "--out", out / "table.csv" if command == "measure" else out)
    assert code == 130 and "Traceback" not in err
    assert not out.exists() or list(out.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("command", ["noise", "density", "predict", "compare"])
def test_results_of_two_commands_are_not_mixed(run, save, tmp_path, blobs, monkeypatch, command):
    image = save(tmp_path / "images" / "a.png", blobs())
    labels = save(tmp_path / "labels" / "a.png", (blobs() > 100).astype("uint8"))
    monkeypatch.setattr("napari_metastructure.igtt.apply.load_model", lambda path: None)
    arguments = {
        "noise": [labels, "--kind", "flip"],
        "density": [labels],
        "predict": [tmp_path, image],
        "compare": ["--images", image, "--methods", "otsu"],
    }
    other = RunFolder(tmp_path / "out")
    other.lock()
    try:
        code, _, err = run(command, *arguments[command], "--out", other.path)
    finally:
        other.unlock()
    assert code == 2 and "Another run is writing to" in err
    assert not list(other.path.iterdir())


@pytest.mark.parametrize("command", FILES_OF)
def test_a_folder_that_takes_no_file_is_told_before_any_work(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # permissions do not bind root
    name = {"measure": "x.csv", "igtt": "x.csv", "film": "x.gif", "export": "x.onnx"}.get(command, "x.json")
    code, _, err = run(command, *FILES_OF[command], name)
    assert (code, err) == (2, f"Error: Cannot write {name}: no permission to write there; choose another folder.\n")


def test_masks_may_lie_beside_their_images(run, save, tmp_path, blobs):
    images = [blobs(seed=i) for i in range(2)]
    masks = [np.uint8(255) * (image > 100) for image in images]
    for name, image, mask in zip("ab", images, masks, strict=True):
        save(tmp_path / "in" / f"{name}.png", image)
        save(tmp_path / "truth" / f"{name}.png", mask)
        tifffile.imwrite(tmp_path / "in" / f"{name}_mask.tif", mask)
        tifffile.imwrite(tmp_path / "in" / f"{name}_probability.tif", image.astype(np.float32) / 255)
    told = f"Warning: {tmp_path / 'in'}: a.png, b.png are images beside a mask, not read.\n"
    code, out, err = run("score", tmp_path / "in", tmp_path / "truth")
    assert (code, err) == (0, told) and out.count("1.0000     1.0000   1.0000") == 3
    call = ("measure", tmp_path / "in", "--images", tmp_path / "in", "--out", tmp_path / "t.csv")
    assert run(*call)[::2] == (0, told)
    rows = list(csv.DictReader((tmp_path / "t.csv").open(encoding="utf-8-sig")))
    total = sum(float(row["area (px)"]) * float(row["mean intensity"]) for row in rows)
    assert total == pytest.approx(sum(float(i[m > 0].sum()) for i, m in zip(images, masks, strict=True)), rel=1e-5)
    assert run("transition", tmp_path / "truth", tmp_path / "in")[::2] == (0, told)
    assert run("noise", tmp_path / "in", "--kind", "flip", "--out", tmp_path / "n")[::2] == (0, told)
    assert sorted(path.name for path in (tmp_path / "n").glob("*.tif")) == ["a_mask.tif", "b_mask.tif"]
    call = ("density", tmp_path / "truth", "--reference", tmp_path / "in", "--out", tmp_path / "d", "--resume")
    assert run(*call)[0] == 0 and len(list((tmp_path / "d").glob("*_density.tif"))) == 2
    call = ("compare", "--images", tmp_path / "in", "--masks", tmp_path / "in", "--methods", "otsu")
    code, out, err = run(*call, "--out", tmp_path / "c")
    assert code == 0 and "with ground truth" in out and "a_mask.tif, a_probability.tif" in err
