"""Damaged files: of many changed bytes none gives a traceback, and none that matters goes unseen.

``DAMAGES=5000 pytest tests/training/test_damage.py`` changes more of them.
"""

import numpy as np
import pytest
import torch

from napari_metastructure.batch.label_set import made_in
from napari_metastructure.errors import InputError
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, load_model, save_model
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.run_folder import (
    FoundRun,
    RunFolder,
    read_config,
    read_files,
    read_state,
    write_state,
)
from napari_metastructure.training.study_results import RunResult, read, write
from napari_metastructure.training.yaml_file import write_yaml


class Found(FoundRun[TrainConfig]):
    model, columns = TrainConfig, ("loss",)


def run_yaml(folder):
    path = RunFolder(folder).write_description(
        TrainConfig(), "cpu", ["a"], [{"name": "a", "bytes": 3}], {"training": [["a.png", "b.png"]]}
    )
    return path, lambda: (read_config(folder, TrainConfig), read_files(folder))


def noise_yaml(folder):
    path = write_yaml(folder / "noise.yaml", {"files": [{"name": "a.tif", "planes": 1}], "recipe": {"n": 2}})
    return path, lambda: made_in(folder)


def metrics(folder):
    path = RunFolder(folder).write_metrics([{"epoch": e, "loss": 0.5, "seconds": 0.1} for e in range(1, 5)])
    return path, lambda: Found.find(folder).epoch


def curves(folder):
    path = write(folder, [RunResult("unet", "CL", "CL", 0, 2, 2, 1.0, (0.5, 0.4), (0.8, 0.9))])[0]
    return path, lambda: read(folder)


def state(folder):
    rng = np.random.default_rng(0)
    tensors = {"w": torch.from_numpy(rng.normal(size=(4, 4))), "m": torch.zeros(3, dtype=torch.uint8)}
    path = write_state(folder / "last.pt", {"config": "{}", "rows": [{"epoch": 1}], "network": tensors})

    def same():
        found = read_state(path)
        assert all(torch.equal(found["network"][k], v) for k, v in tensors.items()), "another state, and not a word"
        assert (found["config"], found["rows"]) == ("{}", [{"epoch": 1}])

    return path, same


def model(folder):
    network, use = build(spec := NetworkSpec(base_channels=1), 0), Use(inputs="zscore", patch=(32, 32))
    path = save_model(folder / "model.safetensors", network, spec, use)

    def same():
        found, what, how = load_model(path)
        assert (what, how) == (spec, use)
        assert all(map(torch.equal, found.state_dict().values(), network.state_dict().values())), "other weights"

    return path, same


@pytest.mark.parametrize("make", [run_yaml, noise_yaml, metrics, curves, state, model])
def test_changed_bytes_are_one_sentence_or_nothing_that_matters(make, tmp_path, damages):
    path, use = make(tmp_path)
    whole, refused = path.read_bytes(), 0
    use()
    for changed in damages(whole, make.__name__):
        path.write_bytes(changed)
        try:
            use()
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and str(tmp_path) in str(error) and len(str(error)) < 600, str(error)
    assert refused or make is metrics  # of those nothing is shown then
