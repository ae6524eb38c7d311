"""Our U-Nets, the U-Net and DeepLabv3(+) of segmentation-models-pytorch, and HRNet on timm's backbone."""

from importlib import import_module
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_metastructure.errors import InputError
from napari_metastructure.networks import Architecture
from napari_metastructure.networks.device import seeded

MOST_CHANNELS = 1024
"""Channels an image may have; the network sees four of each at most."""


class NetworkSpec(BaseModel):
    """All that is needed to build a network again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture = "light-unet"
    in_channels: int = Field(1, ge=1, le=4 * MOST_CHANNELS)
    classes: int = Field(1, ge=1, le=255)
    encoder: str = Field("resnet18", max_length=100)
    base_channels: int = Field(16, ge=1, le=128)


# ---- The light U-Net ------------------------------------------------------------------------------------


class _GroupNorm(nn.GroupNorm):
    """Group normalisation that leaves half precision as it is: autocast would make float32 of it, and back."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return super().forward(x)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # sums are of float32 inside in any case
            return F.group_norm(x, self.num_groups, weight, bias, self.eps)


def _groups(channels: int) -> int:
    """Largest group count up to 8 that divides the channels."""
    return next(g for g in (8, 4, 2, 1) if channels % g == 0)


class _Block(nn.Sequential):
    """Two 3x3 convolutions, each followed by group normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for i in (inputs, outputs):
            layers += [
                nn.Conv2d(i, outputs, 3, padding=1, bias=False),
                _GroupNorm(_groups(outputs), outputs),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class LightUNet(nn.Module):
    """U-Net with skips at every resolution, the full one included.

    Batch normalisation keeps running statistics that lag behind the weights, so a network whose
    own output becomes its next label relabels with a network it never was; group normalisation
    has no such memory.

    Parameters
    ----------
    in_channels, classes : int
        Channels of the input, and of the output logits.
    base_channels : int
        Channels at full resolution; each of the first three halvings doubles them.
    depth : int
        Number of halvings; sides of the input must be multiples of ``2 ** depth``.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015; Wu, He, "Group Normalization", ECCV 2018.
    """

    def __init__(self, in_channels: int, classes: int = 1, base_channels: int = 16, depth: int = 3) -> None:
        super().__init__()
        widths = [base_channels * 2 ** min(d, 3) for d in range(depth + 1)]
        self.stride = 2**depth
        self.down = nn.ModuleList(_Block(i, o) for i, o in zip([in_channels, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(
            _Block(low + high, high) for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(base_channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes, Y, X) of images (N, in_channels, Y, X)."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                x = F.max_pool2d(x, 2)
            x = block(x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], dim=1))
        return self.head(x)


class FastUNet(LightUNet):
    """The light U-Net at half resolution, four times as fast, one halving deeper.

    Each 2 x 2 pixels become the channels of one, and each output is that of 2 x 2 pixels again: nothing that the image
    holds is lost on the way in or out.

    References
    ----------
    Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
    network", CVPR 2016.
    """

    def __init__(self, in_channels: int, classes: int = 1, base_channels: int = 16) -> None:
        super().__init__(4 * in_channels, 4 * classes, base_channels, depth=4)
        self.stride *= 2

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes, Y, X) of images (N, in_channels, Y, X)."""
        return F.pixel_shuffle(super().forward(F.pixel_unshuffle(x, 2)), 2)


# ---- HRNet with the head its authors use for segmentation (HRNetV2) -------------------------------------


class HRNet(nn.Module):
    """High-resolution network: timm's backbone, its four resolutions joined at the finest and classified there.

    Parameters
    ----------
    in_channels, classes : int
        Channels in, logits out.
    backbone : str
        A HRNet of timm: ``hrnet_w18_small``, ``hrnet_w18``, ``hrnet_w32``, ``hrnet_w48``, ...
    pretrained : bool
        ImageNet weights, downloaded at first use.

    References
    ----------
    Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI 2020.
    """

    def __init__(self, in_channels: int, classes: int, backbone: str, pretrained: bool = False) -> None:
        super().__init__()
        import timm

        # Strides 4 to 32, before timm widens them for classification; stride 2 is the stem alone.
        self.backbone: Any = timm.create_model(
            backbone,
            features_only=True,
            pretrained=pretrained,
            in_chans=in_channels,
            out_indices=(1, 2, 3, 4),
            feature_location="",
        )
        width = sum(self.backbone.feature_info.channels())
        self.head = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, classes, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, Y, X) images to (N, classes, Y, X) logits; sides must be multiples of 32."""
        finest, *coarser = self.backbone(x)
        size = finest.shape[-2:]
        up = [F.interpolate(f, size=size, mode="bilinear", align_corners=False) for f in coarser]
        logits = self.head(torch.cat([finest, *up], dim=1))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


# ---- Building -------------------------------------------------------------------------------------------


OURS: dict[str, type[LightUNet]] = {"fast-unet": FastUNet, "light-unet": LightUNet}
"""Networks without an encoder."""


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
    with seeded(seed, torch.device("cpu")):
        if spec.architecture in OURS:
            return OURS[spec.architecture](spec.in_channels, spec.classes, spec.base_channels)
        try:
            network = (_hrnet if spec.architecture == "hrnet" else _smp)(spec, encoder_weights)
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
    return _allow_single_values(network)


def _allow_single_values(network: nn.Module) -> nn.Module:
    """Let batch normalisation take a single value a channel in training: with the running statistics, as in use.

    The mean over a patch in DeepLabv3+, and the coarsest level of any encoder on patches of 32 pixels, are one value a
    channel; with a batch of one patch (also one that was halved for lack of memory) there is nothing to normalise by.
    Layers that are ``synchronised`` see the patches of other processes as well (`training.distributed`).
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(_before_single)
            module.register_forward_hook(_after_single)
    return network


def _before_single(norm: Any, inputs: tuple[Tensor, ...]) -> None:
    x = inputs[0]
    norm.single = norm.training and x.numel() == x.shape[1] and not getattr(norm, "synchronised", False)
    if norm.single:
        norm.training = False


def _after_single(norm: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    norm.training = norm.training or norm.single


def _hrnet(spec: NetworkSpec, encoder_weights: str | None) -> nn.Module:
    timm = _library("timm", spec)
    if spec.encoder not in timm.list_models("hrnet*"):
        raise InputError(f"HRNet has no {spec.encoder!r}; take one of {', '.join(timm.list_models('hrnet*'))}.")

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
    kinds: dict[str, Any] = {"unet": smp.Unet, "deeplabv3plus": smp.DeepLabV3Plus, "deeplabv3": smp.DeepLabV3}
    name = spec.encoder.removeprefix("tu-")
    # Of timm only what it holds itself: other names (hf-hub:..., local-dir:...) are those of files elsewhere.
    known = (
        _library("timm", spec).is_model(name) and not set(name) & set(":/\\")
        if name != spec.encoder
        else (name in smp.encoders.get_encoder_names())
    )
    if not known:
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
