"""Models as they lie in run folders, tiny ones."""

import pytest

from napari_metastructure.images.intensity import channels_of
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, save_model


@pytest.fixture
def saved(tmp_path):
    """Saves a model of random weights and gives its file; keywords are those of `Use`."""

    def make(name="run", spec=(), **use):
        use = Use(**{"inputs": "zscore", "patch": (32, 32), **use})
        logits = 1 if len(use.classes) == 2 else len(use.classes)
        fitting = {"in_channels": channels_of(use.inputs, use.channels), "classes": logits, "base_channels": 4}
        spec = NetworkSpec(**{**fitting, **dict(spec)})
        (tmp_path / name).mkdir(exist_ok=True)
        return save_model(tmp_path / name / "model.safetensors", build(spec, 0), spec, use)

    return make
