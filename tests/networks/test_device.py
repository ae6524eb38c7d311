"""Devices: what is chosen for an accelerator can be asked without one; on the CPU nothing is copied or rounded."""

import pytest
import torch

from napari_metastructure.errors import InputError
from napari_metastructure.networks import device as module
from napari_metastructure.networks.build import LightUNet
from napari_metastructure.networks.device import (
    Download,
    data_device,
    layout,
    list_devices,
    mixed_precision,
    place,
    resolve,
    scaler,
    seeded,
    upload,
)

CPU, CUDA, METAL = torch.device("cpu"), torch.device("cuda:0"), torch.device("mps")

BATCH_NORM = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))


def test_devices():
    devices = list_devices()
    assert devices[-1].id == "cpu" and (devices[-1].free_bytes or 1) > 0
    assert str(resolve("auto")) == devices[0].id
    assert resolve("cpu") == CPU
    with pytest.raises(InputError, match="cuda:99"):
        resolve("cuda:99")


@pytest.mark.parametrize(
    ("network", "device", "expected"),
    [
        (LightUNet(1), CPU, torch.channels_last),
        (LightUNet(1), CUDA, torch.contiguous_format),  # its group normalisation would copy each image twice
        (BATCH_NORM, CPU, torch.channels_last),
        (BATCH_NORM, CUDA, torch.channels_last),
    ],
)
def test_the_layout_is_the_one_that_costs_no_copies(network, device, expected):
    assert layout(network, device) == expected


def test_a_network_is_placed_in_its_layout():
    network = place(LightUNet(2, base_channels=4), CPU)
    assert network.down[0][0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("capability", "training", "dtype"),
    [((9, 0), True, "bfloat16"), ((8, 0), True, "bfloat16"), ((7, 5), True, "float16"), ((9, 0), False, "float16")],
)
def test_training_takes_bfloat16_where_the_card_has_it(monkeypatch, capability, training, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch, "autocast", lambda *arguments: arguments)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda kind, enabled: enabled)
    assert mixed_precision(CUDA, training) == ("cuda", getattr(torch, dtype))
    assert scaler(CUDA) is (capability < (8, 0))


def test_elsewhere_nothing_is_rounded_or_scaled():
    for device in (CPU, METAL):
        with mixed_precision(device, training=True):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert not scaler(CPU).is_enabled()


def test_data_stay_on_a_card_with_room_for_four_times_as_much(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 9000))
    assert (data_device(CUDA, 1000), data_device(CUDA, 1001)) == (CUDA, CPU)
    assert data_device(CPU, 2**60) == CPU
    assert (data_device(METAL, module.UNKNOWN_BYTES), data_device(METAL, module.UNKNOWN_BYTES + 1)) == (METAL, CPU)


def test_on_the_cpu_nothing_is_copied():
    tensor = torch.rand(3)
    assert Download(tensor).get().data_ptr() == tensor.data_ptr() == upload(tensor, CPU).data_ptr()


def test_seeded_draws_the_same_and_puts_the_generator_back():
    torch.manual_seed(3)
    before, drawn = torch.get_rng_state(), []
    for _ in range(2):
        with seeded(7, CPU):
            drawn.append(torch.rand(4))
    assert torch.equal(*drawn)
    assert torch.equal(before, torch.get_rng_state())
