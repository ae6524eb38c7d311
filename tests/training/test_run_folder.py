"""Run folders: what is written is read back, and what is none is refused in a sentence."""

import csv
from typing import Literal

import pytest
import yaml
from pydantic import BaseModel, Field

from napari_metastructure.errors import InputError
from napari_metastructure.training.run_folder import FoundRun, RunFolder, read_config, read_description, write_rows


class Settings(BaseModel):
    epochs: int = Field(3, ge=1)
    network: Literal["a", "b"] = "a"


class Found(FoundRun[Settings]):
    model, columns = Settings, ("loss",)


def test_a_description_is_read_back_from_the_folder_and_from_the_file(tmp_path):
    path = RunFolder(tmp_path).write_description(Settings(epochs=7), "cpu", ["a", "b"], [], {"images": [1]})
    for given in (tmp_path, path):
        facts = read_description(given)
        assert facts["config"] == {"epochs": 7, "network": "a"}
        assert (facts["device"], facts["images"]) == ("cpu", [1])
    assert read_config(tmp_path, Settings) == Settings(epochs=7)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("config: [1, 2", "damaged"),
        ("42", "no settings"),
        ("config:\n", "no settings of a run"),
        ("\udcff", "damaged"),
        (None, "no such file"),
    ],
)
def test_what_is_no_description_is_one_sentence(tmp_path, text, why):
    if text is not None:
        (tmp_path / "run.yaml").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=rf"run\.yaml cannot be read: .*{why}") as refused:
        read_description(tmp_path)
    assert "\n" not in str(refused.value)


def test_settings_of_another_version_are_one_sentence(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"config": {"epochs": 0}}))
    with pytest.raises(InputError, match=r"run\.yaml cannot be read: epochs must be a whole number from 1, not 0"):
        read_config(tmp_path, Settings)


def test_a_run_is_found_as_far_as_it_came(tmp_path):
    assert Found.find(None) is None and Found.find(tmp_path) is None
    folder = RunFolder(tmp_path)
    folder.write_description(Settings(epochs=7), "cpu", ["a"], [])
    folder.write_metrics([{"epoch": e, "loss": 1 / (e + 1)} for e in range(3)])
    run = Found.find(tmp_path)
    assert (run.epoch, run.rounds, run.can_go_on, run.config()) == (
        2,
        [(1, 0.5), (2, 1 / 3)],
        False,
        Settings(epochs=7),
    )


@pytest.mark.parametrize(
    ("epochs", "found"), [([0], []), ([4], [4]), ([4, 5, 6], [4, 5, 6]), ([0, 1, 3], []), ([5, 4], []), ([1, 1], [])]
)
def test_rounds_count_on_from_wherever_a_run_began(tmp_path, epochs, found):
    RunFolder(tmp_path).write_metrics([{"epoch": e, "loss": 0.5} for e in epochs])
    assert [epoch for epoch, _ in Found.find(tmp_path).rounds] == found


def test_rows_are_a_table_with_the_columns_of_the_first(tmp_path):
    path = write_rows(tmp_path / "t.csv", [{"a": 1, "b": "x, y"}, {"a": 2, "b": ""}])
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": "x, y"}, {"a": "2", "b": ""}]
