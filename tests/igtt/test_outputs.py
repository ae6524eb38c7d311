"""What run.yaml says of the images of a run, whoever wrote it."""

from pathlib import Path

import pytest
import yaml

from napari_metastructure.igtt.outputs import IGTTRun


@pytest.mark.parametrize("inputs", [5, "abc", {"path": "a"}, [3, {"name": "a"}], None])
def test_inputs_that_are_no_list_of_files_are_none(tmp_path, inputs):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"config": {}, "inputs": inputs}))
    assert IGTTRun(tmp_path).images() == []


def test_the_files_that_it_lists(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"config": {}, "inputs": [{"path": "a.tif"}, {"path": 7}]}))
    assert IGTTRun(tmp_path).images() == [Path("a.tif"), Path("7")]
