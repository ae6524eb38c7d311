"""Recipes read from anybody, and the files that they name."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_metastructure.batch.recipe import BatchRecipe, check_scheduler, expanded
from napari_metastructure.errors import InputError

TASK = {"what": "predict", "model": "run"}


def test_a_recipe_is_read_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = {"what": "noise", "recipe": {"kind": "matrix", "matrix": [[0.9, 0.1], [0.2, 0.8]]}}
    made = BatchRecipe.make(inputs=("in/*.tif",), out="out", task=task, scheduler="local:2").absolute()
    made.write(tmp_path / "recipe.yaml")
    assert BatchRecipe.read(tmp_path / "recipe.yaml") == made
    assert made.out == tmp_path / "out"
    assert made.inputs == (str(tmp_path / "in" / "*.tif"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inputs: [a]\nout: o\n", "is no recipe of a batch"),
        ("[1, 2]", "holds no settings"),
        ("format: napari-metastructure-batch/1\nout: o\ntask: {what: predict, model: m}\n", "inputs is missing"),
        ("format: napari-metastructure-batch/1\ninputs: [a]\nout: o\ntask: {what: dance}\n", "of the kind"),
        (
            "format: napari-metastructure-batch/1\ninputs: [a]\nout: o\ntask: {what: igtt, config: {epochs: 0}}\n",
            "must be a whole number from 1",
        ),
        (
            'format: napari-metastructure-batch/1\ninputs: ["a\\0"]\nout: o\ntask: {what: compare}\n',
            "no file has in its name",
        ),
        ("format: napari-metastructure-batch/1\ninputs: []\nout: o\ntask: {what: compare}\n", "at least 1"),
        (
            "format: napari-metastructure-batch/1\ninputs: [a]\nout: o\ntask: {what: compare}\nscheduler: somewhere\n",
            "neither local:N",
        ),
        (
            "format: napari-metastructure-batch/1\ninputs: [a]\nout: o\ntask: {what: igtt, frames: many}\n",
            "Frames 'many' cannot be read",
        ),
    ],
)
def test_what_is_no_recipe_is_said_in_one_sentence(tmp_path, text, words):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        BatchRecipe.read(tmp_path / "r.yaml")
    assert "r.yaml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("task", ["{what: predict, model: m, channel: 1}", "{what: igtt, channel: 1}"])
def test_a_channel_may_be_written_as_the_number_it_is(tmp_path, task):
    (tmp_path / "r.yaml").write_text(f"format: napari-metastructure-batch/1\ninputs: [a]\nout: o\ntask: {task}\n")
    assert BatchRecipe.read(tmp_path / "r.yaml").task.channel == "1"


@pytest.mark.parametrize("text", ["local:2", "tcp://10.0.0.7:8786", "tls://head.cluster.org:8786", "tcp://[::1]:80"])
def test_addresses(text):
    assert check_scheduler(f" {text} ") == text


@pytest.mark.parametrize(
    "text", ["", "local", "local:0", "local:-1", "2", "tcp://", "tcp://host", "http://host:80", "x"]
)
def test_what_is_no_address(text):
    with pytest.raises(InputError, match="neither local:N"):
        check_scheduler(text)


def test_a_tilde_is_the_home_folder_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "~nobody.tif").touch()
    assert expanded(["~nobody.tif", "~/a.tif", "~none/b.tif"]) == [
        Path("~nobody.tif"), tmp_path / "home" / "a.tif", Path("~none/b.tif"),
    ]  # fmt: skip


def test_files_by_patterns_without_results_among_them(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.tif", "ä b.tif", "a_mask.tif", "sub/c.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((4, 4), np.uint8))

    def names(*inputs):
        recipe = BatchRecipe.make(inputs=tuple(str(tmp_path / i) for i in inputs), out="o", task=TASK)
        return [path.name for path in recipe.files()]

    assert names("*.tif") == ["a.tif", "ä b.tif"]
    assert names("**/*.tif") == ["a.tif", "c.tif", "ä b.tif"]
    with pytest.warns(UserWarning, match="result beside an image"):
        assert names("", "sub") == ["a.tif", "c.tif", "ä b.tif"]
    assert names("sub/c.tif", "gone.tif") == ["gone.tif", "c.tif"]  # the report will say that one is not there
    with pytest.raises(InputError, match="No file matches"):
        names("*.png")
    with pytest.raises(InputError, match="does not exist"):
        names("gone.tif")
