"""Models on disk: what is saved comes back, what is none is refused."""

import json
import socket

import pytest
import torch
from safetensors.torch import save

from napari_metastructure.errors import InputError
from napari_metastructure.networks import model_file
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, load_model, save_model

SMALL = {"hrnet": "hrnet_w18_small"}

USE = Use(inputs="multiscale", objects="dark", patch=(32, 64), cut="edge")
TWO = Use(inputs="zscore", objects="dark", patch=(32, 64), channels=2)


@pytest.mark.parametrize("architecture", ["light-unet", "unet", "hrnet"])
def test_a_saved_model_gives_the_same_output(architecture, tmp_path):
    spec = NetworkSpec(
        architecture=architecture, encoder=SMALL.get(architecture, "resnet18"), in_channels=2, base_channels=4
    )
    network = build(spec, 0).eval()
    path = save_model(tmp_path / "model.safetensors", network, spec, TWO)
    loaded, loaded_spec, use = load_model(path)
    x = torch.randn(1, 2, 32, 32)
    assert torch.equal(network(x), loaded(x))
    assert loaded_spec == spec and use == TWO
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


def test_a_model_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    (tmp_path / "locked").write_bytes(b"")
    monkeypatch.setattr(model_file.os, "access", lambda path, mode: False)  # permissions do not bind root
    with pytest.raises(InputError, match=r"No permission to read .*locked"):
        load_model(tmp_path / "locked")


def described(path, state, spec=None, use=None):
    """Write a file like a model's, whatever it says of itself."""
    facts = {
        "format": "napari-metastructure/1",
        "network": json.dumps({**NetworkSpec(base_channels=4).model_dump(mode="json"), **(spec or {})}),
        "use": json.dumps({**USE.model_dump(mode="json"), "inputs": "zscore", **(use or {})}),
    }
    path.write_bytes(save(state, metadata=facts))
    return path


@pytest.mark.parametrize(
    ("spec", "use", "why"),
    [
        ({"base_channels": 4096}, {}, "base_channels must be a whole number from 1 to 128"),
        ({"base_channels": 10**30}, {}, "base_channels must be"),
        ({"base_channels": 128}, {}, "its weights are not those of the network"),
        ({"classes": 10**9}, {}, "classes must be a whole number from 1 to 255"),
        ({"in_channels": 10**9}, {"channels": 10**9}, "in_channels must be"),
        ({"encoder": "x" * 10_000}, {}, "at most 100 characters"),
        ({"architecture": "unet", "encoder": "resnext101_32x48d"}, {}, "its weights are not those of the network"),
        ({}, {"patch": [16384, 16384]}, "tiles of 16384 x 16384"),
        ({}, {"channels": 10**30}, "channels must be"),
        ({}, {"cut": "os.system"}, "cut must be"),
    ],
)
def test_a_description_that_would_take_much_memory_is_refused_before_it_does(tmp_path, monkeypatch, spec, use, why):
    real = model_file.build

    def no_memory(*args, **more):
        assert torch.empty(0).is_meta, "a network was built"
        return real(*args, **more)

    monkeypatch.setattr(model_file, "build", no_memory)
    path = described(tmp_path / "hostile", build(NetworkSpec(base_channels=4), 0).state_dict(), spec, use)
    with pytest.raises(InputError, match=rf"hostile .*{why}") as refused:
        load_model(path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        *(("unet", f"tu-{hub}") for hub in ("hf-hub:a/b", "hf_hub:a/b", "local-dir:/tmp", "a/b", "resnet18.x/y")),
        *(("deeplabv3plus", "hf-hub:a/b"), ("hrnet", "hf-hub:timm/hrnet_w18"), ("unet", "smp-hub:a/b")),
    ],
)
def test_a_model_file_never_makes_the_program_ask_another_computer(tmp_path, monkeypatch, architecture, encoder):
    def asked(*args, **more):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    monkeypatch.setattr(socket.socket, "connect", asked)
    spec = {"architecture": architecture, "encoder": encoder}
    with pytest.raises(InputError, match=r"hub_model cannot be used: "):
        load_model(described(tmp_path / "hub_model", {"w": torch.zeros(2)}, spec))


def test_an_encoder_of_timm_still_loads(tmp_path):
    spec = NetworkSpec(architecture="unet", encoder="tu-resnet10t", in_channels=4)
    network = build(spec, 0).eval()
    loaded = load_model(save_model(tmp_path / "m", network, spec, USE))[0]
    assert all(map(torch.equal, network.state_dict().values(), loaded.state_dict().values()))


def test_a_weight_that_was_changed_is_found_and_older_files_without_a_checksum_are_read(tmp_path):
    spec = NetworkSpec(base_channels=4)
    network = build(spec, 0)
    path = save_model(tmp_path / "m", network, spec, USE.model_copy(update={"inputs": "zscore"}))
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match="checksum"):
        load_model(path)
    assert load_model(described(tmp_path / "old", network.state_dict()))[1] == spec
