"""Networks by name: sizes, seeds, encoders, normalisation."""

import pytest
import torch

from napari_metastructure.errors import InputError
from napari_metastructure.networks.build import LightUNet, NetworkSpec, build, has_statistics, refresh_statistics

SMALL = {"hrnet": "hrnet_w18_small"}


@pytest.mark.parametrize("base, depth", [(4, 1), (6, 3), (16, 2)])
def test_the_light_unet_keeps_the_size_and_has_no_statistics(base, depth):
    network = LightUNet(3, 2, base, depth)
    side = 4 * network.stride
    assert network(torch.zeros(2, 3, side, 2 * side)).shape == (2, 2, side, 2 * side)
    assert not has_statistics(network)


@pytest.mark.parametrize("architecture", ["fast-unet", "light-unet", "unet", "deeplabv3plus", "deeplabv3"])
def test_same_seed_same_weights_and_the_global_generator_is_left_alone(architecture):
    spec = NetworkSpec(architecture=architecture, in_channels=2)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second, other = build(spec, 1), build(spec, 1), build(spec, 2)
    assert torch.equal(before, torch.get_rng_state())
    same = [torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)]
    assert all(same)
    assert not torch.equal(*(next(iter(n.parameters())) for n in (first, other)))


@pytest.mark.parametrize("architecture", ["unet", "hrnet"])
def test_an_unknown_encoder_is_named(architecture):
    with pytest.raises(InputError, match="resnet9000"):
        build(NetworkSpec(architecture=architecture, encoder="resnet9000"), 0)


def test_hrnet_gives_a_logit_per_pixel_and_class_for_any_channels():
    network = build(NetworkSpec(architecture="hrnet", encoder="hrnet_w18_small", in_channels=3, classes=4), 0)
    assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 4, 64, 96)


def test_weights_that_cannot_be_downloaded_say_so(monkeypatch):
    import segmentation_models_pytorch as smp

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(smp, "Unet", offline)
    with pytest.raises(InputError, match=r"resnet18.*download"):
        build(NetworkSpec(architecture="unet"), 0, "imagenet")


def test_refreshed_statistics_are_those_of_the_images():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1))
    images = [torch.randn(8, 1, 16, 16) * 3 + 5 for _ in range(4)]
    refresh_statistics(network, images)
    assert network[0].running_mean.item() == pytest.approx(torch.cat(images).mean().item(), rel=1e-4)
    assert network[0].running_var.item() == pytest.approx(torch.cat(images).var().item(), rel=1e-2)


def test_group_normalisation_leaves_half_precision_as_it_is():
    """Under autocast the library's own would make float32 of each image, and the next convolution half of it again."""
    network, x = build(NetworkSpec(base_channels=4), 0), torch.randn(2, 1, 32, 32)
    kinds = []
    for module in network.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.register_forward_hook(lambda _, inputs, output: kinds.append((inputs[0].dtype, output.dtype)))
    expected = network(x)
    assert set(kinds) == {(torch.float32, torch.float32)}
    kinds.clear()
    with torch.autocast("cpu", torch.bfloat16):
        found = network(x)
    assert set(kinds) == {(torch.bfloat16, torch.bfloat16)}
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.1)
    found.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("architecture", ["deeplabv3plus", "unet", "hrnet"])
def test_one_patch_of_32_pixels_is_enough_to_train_on(architecture):
    """Somewhere inside a single value a channel is left, which batch normalisation refuses."""
    network = build(NetworkSpec(architecture=architecture, encoder=SMALL.get(architecture, "resnet18")), 0).train()
    loss = network(torch.randn(1, 1, 32, 32)).square().mean()
    loss.backward()
    assert torch.isfinite(loss) and all(m.training for m in network.modules())
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    used = [m for m in norms if m.num_batches_tracked]
    assert 0 < len(used) < len(norms)  # the others have normalised by their running statistics


def test_several_values_are_normalised_as_ever():
    import segmentation_models_pytorch as smp

    x = torch.randn(2, 1, 64, 64)
    ours = build(NetworkSpec(architecture="deeplabv3plus"), 0)
    plain = smp.DeepLabV3Plus("resnet18", encoder_weights=None, in_channels=1, classes=1)
    plain.load_state_dict(ours.state_dict())  # models that were saved before can be read
    found = []
    for network in (ours, plain):
        torch.manual_seed(0)
        found.append(network.train()(x))
    assert torch.equal(*found)
