"""Training on a folder, and layers that come from files: what is found, and what a run folder says of it."""

import numpy as np
import pytest
import tifffile
import yaml

from napari_metastructure.cli.train import find_sets


def write(folder, labelled, seeds):
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for seed in seeds:
        for name, array in zip(("images", "labels"), labelled(seed), strict=True):
            tifffile.imwrite(folder / name / f"{seed}.tif", array)


@pytest.fixture
def tree(labelled, tmp_path):
    """A training set of two images to train on, one to validate on and one to test on."""
    for name, seeds in (("train", (0, 1)), ("val", (2,)), ("test", (3,))):
        write(tmp_path / "set" / name, labelled, seeds)
    return tmp_path / "set"


def choose(widget, folder, qtbot):
    widget.data.from_folder.setChecked(True)
    widget.data.folder.set(folder)
    qtbot.waitUntil(lambda: not widget.data.folder.looking, timeout=60_000)


def test_a_folder_says_what_it_holds_and_trains(open_train, labelled, run, qtbot, tree):
    viewer, widget = open_train()
    choose(widget, tree, qtbot)
    assert widget.data.summary.text() == "2 images to train on, 1 to validate on; 1 of a test split stay out."
    run(widget)
    assert widget.failure is None
    image, drawn = viewer.layers["2"], viewer.layers["2 prediction"]
    np.testing.assert_array_equal(image.data, labelled(2)[0])
    best = widget.result.best_epoch
    np.testing.assert_array_equal(drawn.data[best], widget.model.predict(image.data).labels)
    assert not widget.data.table.rows  # what was added here is no pair to train on


def test_the_image_that_is_watched_is_added_once(open_train, run, tree):
    viewer, widget = open_train()
    widget.data.use_folder(tree)
    for _ in range(2):
        run(widget)
        assert [type(layer).__name__ for layer in viewer.layers].count("Image") == 1


def test_a_folder_is_looked_through_again_in_the_thread_if_run_comes_first(open_train, run, tree):
    _viewer, widget = open_train()
    widget.data.from_folder.setChecked(True)
    widget.data.folder.set(tree)
    assert widget.data.summary.text() == "Looking through the folder…"
    run(widget)
    assert widget.failure is None
    assert widget.result.scores is not None


def test_a_folder_without_a_split_keeps_a_share(open_train, labelled, qtbot, tmp_path):
    write(tmp_path / "set", labelled, range(5))
    _viewer, widget = open_train()
    choose(widget, tmp_path / "set", qtbot)
    assert widget.data.summary.text() == "4 images to train on, 1 to validate on (kept by Validation fraction)."
    widget.settings.fill(widget.settings.config(validation_fraction=0))
    widget.data.changed.emit()
    assert widget.data.summary.text() == "5 images to train on, none to validate on."


def test_folders_that_cannot_be_used(open_train, labelled, qtbot, said, tree, tmp_path):
    _viewer, widget = open_train()
    (tree / "train" / "labels" / "1.tif").unlink()
    for folder, why in (
        (None, "No folder is chosen"),
        (tmp_path / "nowhere", "is not a folder"),
        (tmp_path, "holds no training set"),
        (tree, "1.tif has no labels of the same name"),
    ):
        choose(widget, folder, qtbot)
        assert why in widget.data.summary.text()
        assert not widget.start()
        assert why in said()[-1]
        assert not widget.running


def test_a_folder_that_vanishes_meanwhile_is_told(open_train, run, qtbot, tree):
    _viewer, widget = open_train()
    choose(widget, tree, qtbot)
    (tree / "train" / "labels" / "0.tif").unlink()
    run(widget)
    assert "0.tif" in str(widget.failure)
    assert widget.buttons.run.isEnabled()


@pytest.mark.parametrize("edited", [False, True])
def test_a_run_of_layers_from_files_can_be_repeated(open_train, labelled, run, tmp_path, edited):
    viewer, widget = open_train(window=True)  # napari's own reader is found with a window
    for seed in (0, 1):  # the command line would not pair these by name, and need not
        for name, array, kind in zip(("raw", "truth"), labelled(seed), ("image", "labels"), strict=True):
            path = tmp_path / f"{seed}_{name}_{name}.tif"
            tifffile.imwrite(path, array)
            viewer.open(str(path), plugin="napari", layer_type=kind)
    rows = [(row.image.name, row.labels.name) for row in widget.data.table.rows]
    assert rows == [("0_raw_raw", "0_truth_truth"), ("1_raw_raw", "1_truth_truth")]
    if edited:
        viewer.layers["1_truth_truth"].data[:8] = 1
    widget.data.table.swap_use([1])
    widget.folder.set(tmp_path / "run")
    run(widget)
    assert widget.failure is None
    facts = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    if edited:  # its files say something else than what was trained on
        assert facts["training"] == facts["validation"] == []
        return
    again = find_sets(None, None, None, tmp_path / "run" / "run.yaml")
    for pairs, seed in ((again.train, 0), (again.validation, 1)):
        (pair,) = pairs
        np.testing.assert_array_equal(pair.read_image(), labelled(seed)[0])
        np.testing.assert_array_equal(pair.read_labels(), labelled(seed)[1])
