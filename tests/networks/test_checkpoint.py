"""Models on disk: what is saved comes back, what is none is refused."""

import pytest
import torch

from napari_metastructure.errors import InputError
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.checkpoint import Use, load_model, save_model

SMALL = {"hrnet": "hrnet_w18_small"}

USE = Use(inputs="multiscale", objects="dark", patch=(32, 64), cut="edge")


@pytest.mark.parametrize("architecture", ["light-unet", "unet", "hrnet"])
def test_a_saved_model_gives_the_same_output(architecture, tmp_path):
    spec = NetworkSpec(
        architecture=architecture, encoder=SMALL.get(architecture, "resnet18"), in_channels=2, base_channels=4
    )
    network = build(spec, 0).eval()
    path = save_model(tmp_path / "model.safetensors", network, spec, USE)
    loaded, loaded_spec, use = load_model(path)
    x = torch.randn(1, 2, 32, 32)
    assert torch.equal(network(x), loaded(x))
    assert loaded_spec == spec and use == USE
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_models_that_are_none_are_refused(tmp_path):
    from safetensors.torch import save_file

    spec = NetworkSpec(base_channels=4)
    whole = save_model(tmp_path / "whole.safetensors", build(spec, 0), spec, USE).read_bytes()
    bad = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    save_file({"w": torch.zeros(2)}, tmp_path / "other")
    for name in (*bad, "other", "missing"):
        with pytest.raises(InputError, match=name):
            load_model(tmp_path / name)
