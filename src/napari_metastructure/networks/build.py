"""Networks by name: our light U-Net, U-Net and DeepLabv3+ of segmentation-models-pytorch, HRNet on timm's backbone."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from napari_metastructure.errors import InputError
from napari_metastructure.networks.light_unet import LightUNet

Architecture = Literal["light-unet", "unet", "deeplabv3plus", "hrnet"]
ENCODERS = {"light-unet": "none", "unet": "resnet34", "deeplabv3plus": "resnet34", "hrnet": "hrnet_w18"}
"""The encoder a network has where none is named."""


class NetworkSpec(BaseModel):
    """All that is needed to build a network again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture = "light-unet"
    in_channels: int = Field(1, ge=1)
    classes: int = Field(1, ge=1)
    encoder: str = "resnet18"
    base_channels: int = Field(16, ge=1)


def build(spec: NetworkSpec, seed: int, encoder_weights: str | None = None) -> nn.Module:
    """Build a network with reproducible initial weights.

    Parameters
    ----------
    spec : NetworkSpec
    seed : int
        Of the initial weights; torch's global generator is left as it was.
    encoder_weights : {"imagenet"}, optional
        Pretrained encoder of the smp networks, downloaded at first use.

    Raises
    ------
    InputError
        Unknown encoder, weights that cannot be had, or a library that does not load.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.architecture == "light-unet":
            return LightUNet(spec.in_channels, spec.classes, spec.base_channels)
        try:
            return (_hrnet if spec.architecture == "hrnet" else _smp)(spec, encoder_weights)
        except InputError:
            raise
        except OSError as error:
            raise InputError(
                f"ImageNet weights of {spec.encoder!r} cannot be downloaded ({type(error).__name__}); connect to the "
                "internet once, or set encoder_weights to none."
            ) from error
        except Exception as error:  # smp and timm refuse a combination in many ways
            raise InputError(
                f"{spec.architecture} cannot be built on encoder {spec.encoder!r}: {error}; choose another encoder."
            ) from error


def _hrnet(spec: NetworkSpec, encoder_weights: str | None) -> nn.Module:
    timm = _library("timm", spec)
    if spec.encoder not in timm.list_models("hrnet*"):
        raise InputError(f"HRNet has no {spec.encoder!r}; take one of {', '.join(timm.list_models('hrnet*'))}.")
    from napari_metastructure.networks.hrnet import HRNet

    return HRNet(spec.in_channels, spec.classes, spec.encoder, encoder_weights is not None)


def _library(name: str, spec: NetworkSpec) -> Any:
    try:
        return import_module(name)
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision built for another torch
        raise InputError(
            f"Network {spec.architecture!r} needs {name.replace('_', '-')}, which does not load here ({error}); "
            "install torch and torchvision of one build, or choose light-unet."
        ) from error


def _smp(spec: NetworkSpec, encoder_weights: str | None) -> nn.Module:
    smp = _library("segmentation_models_pytorch", spec)
    kinds: dict[str, Any] = {"unet": smp.Unet, "deeplabv3plus": smp.DeepLabV3Plus}
    if not spec.encoder.startswith("tu-") and spec.encoder not in smp.encoders.get_encoder_names():
        raise InputError(
            f"Encoder {spec.encoder!r} is unknown; take one that smp offers, such as resnet18, resnet34, "
            "mobilenet_v2 or efficientnet-b0, or tu- and a timm name."
        )
    return kinds[spec.architecture](
        spec.encoder, encoder_weights=encoder_weights, in_channels=spec.in_channels, classes=spec.classes
    )


def has_statistics(network: nn.Module) -> bool:
    """Whether a network holds running statistics of batch normalisation."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())


def refresh_statistics(network: nn.Module, batches: list[Tensor]) -> None:
    """Recompute the running statistics of batch normalisation from these images, for the weights of now.

    They lag behind the weights while training; a network that relabels its own images with stale statistics
    writes nonsense.

    Parameters
    ----------
    batches : list of (N, C, Y, X) tensors
        On the network's device.
    """
    torch.optim.swa_utils.update_bn(batches, network)
