"""HRNet with the head its authors use for segmentation (HRNetV2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field uses


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
