"""A light U-Net that does not break its own labels: group normalisation, full-resolution skips."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field uses


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
                nn.GroupNorm(_groups(outputs), outputs),
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
        Channels at full resolution; each of the ``depth`` halvings doubles them.
    depth : int
        Number of halvings; sides of the input must be multiples of ``2 ** depth``.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015; Wu, He, "Group Normalization", ECCV 2018.
    """

    def __init__(self, in_channels: int, classes: int = 1, base_channels: int = 16, depth: int = 3) -> None:
        super().__init__()
        widths = [base_channels * 2**d for d in range(depth + 1)]
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
