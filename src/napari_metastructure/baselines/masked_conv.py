"""Convolutions that see only what comes before a pixel in some order of reading, and the network made of them."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field uses

ORDERINGS = tuple(product(("rows", "columns"), (1, -1), (1, -1)))
"""The eight raster scans: what is read line by line, the direction from line to line, and that along a line."""


class MaskedConv(nn.Conv2d):
    """A 3x3 convolution whose window lies before its pixel in one of `ORDERINGS`.

    The window is shifted against the direction of the lines until its last line is the pixel's own, of which the
    part that comes after the pixel is masked: eight of nine weights see the pixel and what was read before it. All
    orderings share the weights, each at its place in space. Without an ordering nothing is shifted or masked.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    dilation : int
        Pixels between neighbouring weights.
    """

    masks: Tensor

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, 3, dilation=dilation, bias=False)
        masks, self._paddings = [], []
        for lines, down, along in ORDERINGS:
            mask = torch.ones(3, 3)
            mask[2 if down > 0 else 0, 2 if along > 0 else 0] = 0
            between = [2 * dilation, 0] if down > 0 else [0, 2 * dilation]
            within = [dilation, dilation]
            masks.append(mask if lines == "rows" else mask.T)
            # torch pads the last axis first
            self._paddings.append([*within, *between] if lines == "rows" else [*between, *within])
        self.register_buffer("masks", torch.stack(masks), persistent=False)

    def forward(self, x: Tensor, ordering: int | None = None) -> Tensor:
        """Responses (N, outputs, Y, X) to maps (N, inputs, Y, X), the window placed as ``ORDERINGS[ordering]`` asks."""
        if ordering is None:
            return F.conv2d(x, self.weight, padding=self.dilation, dilation=self.dilation)
        padded = F.pad(x, self._paddings[ordering])
        return F.conv2d(padded, self.weight * self.masks[ordering], dilation=self.dilation)


class _Block(nn.Module):
    """A residual block: masked convolution, 1x1 convolution, batch normalisation after each."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.masked = MaskedConv(channels, channels, dilation)
        self.point = nn.Conv2d(channels, channels, 1, bias=False)
        self.first, self.second = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, ordering: int | None) -> Tensor:
        y = F.relu(self.first(self.masked(x, ordering)))
        return F.relu(x + self.second(self.point(y)))


class AutoregressiveNetwork(nn.Module):
    """Class logits of each pixel from what comes before it in an ordering, the pixel itself included.

    Full resolution throughout: tubules of three pixels do not survive the strides of the paper's encoder. Dilations
    double from block to block instead.

    Parameters
    ----------
    channels : int
    blocks : int
        Residual blocks.
    classes : int
        Logits.
    """

    def __init__(self, channels: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.stem, self.norm = MaskedConv(1, channels), nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList(_Block(channels, 2**i) for i in range(blocks))
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor, ordering: int | None = None) -> Tensor:
        """Logits (N, classes, Y, X) of images (N, 1, Y, X); see `MaskedConv.forward`."""
        x = F.relu(self.norm(self.stem(x, ordering)))
        for block in self.blocks:
            x = block(x, ordering)
        return self.head(x)
