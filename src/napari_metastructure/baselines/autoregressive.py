"""AC, autoregressive clustering: a network of masked convolutions that clusters pixels by mutual information."""

from collections.abc import Generator, Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_metastructure.errors import RunFailed
from napari_metastructure.images.intensity import zscore
from napari_metastructure.networks.build import refresh_statistics
from napari_metastructure.networks.device import data_device, out_of_memory, resolve
from napari_metastructure.networks.predict import class_probabilities
from napari_metastructure.training.control import Control
from napari_metastructure.training.patches import InputsInMemory, PatchSampler

Joint = Literal["patch", "batch"]

TRAINING = 0.95
"""Share of the work that is training, as it is reported."""

STATISTICS_BATCHES = 8
"""Batches that batch-normalisation statistics are recomputed from before predicting."""

TILE = 512
"""Largest side in pixels of what is predicted at once."""


class ACConfig(BaseModel):
    """Settings of `autoregressive`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clusters: int = Field(2, ge=2, le=100, description="K, classes of the output; more than two is overclustering.")
    channels: int = Field(32, ge=4, le=512, description="Channels of the network.")
    blocks: int = Field(3, ge=1, le=6, description="Residual blocks, each with twice the dilation of the one before.")
    displacement: int = Field(
        1, ge=0, le=20, description="Greatest shift in pixels between the outputs that are compared."
    )
    joint: Joint = Field(
        "patch",
        description="Classes are separated within each patch, or over the batch (the paper), where the few frames of "
        "a small set differ more than what is in them.",
    )
    steps: int = Field(300, ge=1, le=1_000_000, description="Optimiser steps.")
    batch_size: int = Field(4, ge=1, le=1024, description="Patches a step.")
    patch_size: int = Field(128, ge=8, le=4096, description="Side of the patches in pixels.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Step size of Adam.")


def autoregressive(
    planes: Sequence[np.ndarray], config: ACConfig, seed: int, device: str, control: Control
) -> Generator[float, None, list[np.ndarray]]:
    """Cluster a set of planes by a network trained on all of them together.

    Each step shows a network of masked convolutions the same patches in two of the eight raster-scan orderings, so
    that each output depends on another part of the surround, and raises the `mutual_information` of the two outputs.
    To predict, the masks are left out, as in the paper: the network then sees the whole surround.

    What differs from the paper:

    - No attention between the blocks: it takes memory that grows with the square of the pixels.
    - No strides, see `AutoregressiveNetwork`.
    - The information is that within each patch (``joint``). Taken over a batch, classes become frames where the
      frames of a small set differ in their noise: each is of one class throughout, and nothing is segmented.
    - Sets of a few grey images, in minutes on a CPU: fewer channels and steps, a greater step size.

    The information is greatest if all classes are equally frequent, so that sparse objects are not what two classes
    tell apart best.

    Parameters
    ----------
    planes : sequence of (Y, X) float arrays
        Of any sizes; each is z-scored.
    config : ACConfig
    seed : int
        Of weights, patches and orderings; torch's global generator is left as it was.
    device : str
        As `networks.device.resolve` takes it.
    control : Control
        Asked before each step and each tile.

    Yields
    ------
    float
        Share of the work done, 1 at the end.

    Returns
    -------
    list of (K, Y, X) float32 arrays
        Class probabilities of each plane; a class means the same in all of them.

    Raises
    ------
    InputError
        If the device is not there.
    RunFailed
        If memory does not suffice, or the loss is not finite.
    Stopped
        If the control says stop.

    References
    ----------
    Ouali, Hudelot, Tami, "Autoregressive Unsupervised Image Segmentation", ECCV 2020; the loss is that of Ji,
    Henriques, Vedaldi, "Invariant Information Clustering", ICCV 2019.
    """
    where = resolve(device)
    inputs = [zscore(plane)[None] for plane in planes]
    patch = tuple(min(config.patch_size, max(x.shape[axis] for x in inputs)) for axis in (1, 2))
    held = InputsInMemory(inputs, patch, data_device(where, sum(x.nbytes for x in inputs)))
    held.set_labels([np.zeros(x.shape[1:], np.uint8) for x in inputs])
    sampler = PatchSampler(held, [x.shape[1:] for x in inputs], patch, where, flips=False)
    network = _network(config, seed).to(memory_format=torch.channels_last).to(where)
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
    rng = np.random.default_rng(seed)
    for step in range(1, config.steps + 1):
        control.checkpoint()
        images, _ = sampler.draw(rng, config.batch_size)
        first, second = rng.choice(len(ORDERINGS), 2, replace=False)
        _step(network, optimizer, images, (int(first), int(second)), config)
        yield TRAINING * step / config.steps
    refresh_statistics(network, sampler.batches(rng, config.batch_size, STATISTICS_BATCHES))  # those without masks
    network.eval()
    found = []
    for x in inputs:
        tile = (min(TILE, x.shape[1]), min(TILE, x.shape[2]))
        found.append(class_probabilities(network, x, tile, where, control.checkpoint))
        yield TRAINING + (1 - TRAINING) * len(found) / len(inputs)
    return found


def mutual_information(first: Tensor, second: Tensor, displacement: int = 0, joint: Joint = "batch") -> Tensor:
    """Compute the mutual information of the classes two outputs give to the same pixels, in nats.

    For a displacement d, ``P_d = sum_u p(u) q(u + d)^T``, scaled to sum to one and made symmetric, is the joint
    distribution of two neighbours' classes::

        I = mean over d of  sum_kl P_d[k, l] log(P_d[k, l] / (P_d[k] P_d[l]))

    It is 0 for independent outputs, and log K if they always agree and use all K classes alike.

    Parameters
    ----------
    first, second : (N, K, Y, X) tensors
        Class probabilities p and q.
    displacement : int
        All d of at most so many pixels along each axis.
    joint : {"patch", "batch"}
        The mean over N of the information within each patch, or that of all pixels together.

    Returns
    -------
    scalar tensor
    """
    height, width = first.shape[2:]
    total = first.new_zeros(())
    reach = range(-displacement, displacement + 1)
    shifts = [(down, right) for down, right in product(reach, reach) if abs(down) < height and abs(right) < width]
    for down, right in shifts:
        p = first[:, :, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
        q = second[:, :, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
        pairs = p.flatten(2) @ q.flatten(2).transpose(1, 2)
        if joint == "batch":
            pairs = pairs.sum(0, keepdim=True)
        pairs = (pairs + pairs.transpose(1, 2)) / (2 * pairs.sum((1, 2), keepdim=True))
        pairs = pairs.clamp_min(1e-12)  # 0 log 0 = 0
        one = pairs.sum(1).log()
        total = total + (pairs * (pairs.log() - one[:, :, None] - one[:, None])).sum() / len(pairs)
    return total / len(shifts)


def _network(config: ACConfig, seed: int) -> "AutoregressiveNetwork":
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoregressiveNetwork(config.channels, config.blocks, config.clusters)


def _step(
    network: "AutoregressiveNetwork",
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    orderings: tuple[int, int],
    config: ACConfig,
) -> None:
    """Raise the mutual information of two orderings of the same images."""
    optimizer.zero_grad(set_to_none=True)
    try:
        first, second = (network(images, ordering).softmax(1) for ordering in orderings)
        loss = -mutual_information(first, second, config.displacement, config.joint)
        loss.backward()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise RunFailed(
            f"AC: out of memory on {images.device} with {len(images)} patches; choose a smaller batch_size or "
            "patch_size, or device cpu."
        ) from None
    if not torch.isfinite(loss):
        raise RunFailed("AC: the loss is no longer a number; choose a smaller learning rate.")
    optimizer.step()


# Convolutions that see only pixels before their own in some order of reading, and the network made of them.

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
        """Convolve (N, inputs, Y, X) maps to (N, outputs, Y, X), the window placed as ``ORDERINGS[ordering]`` asks."""
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
        """Compute logits (N, classes, Y, X) of images (N, 1, Y, X); see `MaskedConv.forward`."""
        x = F.relu(self.norm(self.stem(x, ordering)))
        for block in self.blocks:
            x = block(x, ordering)
        return self.head(x)
