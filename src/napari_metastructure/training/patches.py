"""Random patches of planes and their labels, cut where the planes lie: on the accelerator if they fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_metastructure.images.tiles import pad
from napari_metastructure.labels import UNLABELLED

DEVICE_BYTES = 2 * 2**30
"""Inputs of a set larger than this stay in main memory; only the patches travel."""


class PatchSampler:
    """Draws batches of patches, flipped and turned at random.

    Parameters
    ----------
    inputs : sequence of (C, Y, X) float32 arrays
        Planes of any sizes; those smaller than a patch are mirrored, and the mirrored part stays unlabelled.
    patch : (int, int)
        Height and width of a patch.
    device : torch.device
        Where the batches are wanted.
    """

    def __init__(self, inputs: Sequence[np.ndarray], patch: tuple[int, int], device: torch.device) -> None:
        self.patch = patch
        self.device = device
        size = sum(x.nbytes for x in inputs)
        self._home = device if size <= DEVICE_BYTES else torch.device("cpu")
        self._inputs = [torch.from_numpy(np.ascontiguousarray(pad(x, patch))).to(self._home) for x in inputs]
        self._labels: list[Tensor] = []
        areas = np.array([x.shape[-1] * x.shape[-2] for x in inputs], float)
        self._chance = areas / areas.sum()

    def set_labels(self, labels: Sequence[np.ndarray]) -> None:
        """Take new labels, one (Y, X) uint8 array per plane."""
        self._labels = []
        for x, y in zip(self._inputs, labels, strict=True):
            padded = np.full(x.shape[-2:], UNLABELLED, np.uint8)
            padded[: y.shape[0], : y.shape[1]] = y
            self._labels.append(torch.from_numpy(padded).to(self._home))

    def draw(self, rng: np.random.Generator, batch: int) -> tuple[Tensor, Tensor]:
        """A batch: (N, C, Y, X) float32 inputs and (N, Y, X) uint8 labels, on the device."""
        xs, ys = [], []
        height, width = self.patch
        for index in rng.choice(len(self._inputs), batch, p=self._chance):
            x, y = self._inputs[index], self._labels[index]
            top = int(rng.integers(x.shape[-2] - height + 1))
            left = int(rng.integers(x.shape[-1] - width + 1))
            x, y = x[:, top : top + height, left : left + width], y[top : top + height, left : left + width]
            turns = int(rng.integers(4)) if height == width else 2 * int(rng.integers(2))
            x, y = torch.rot90(x, turns, (1, 2)), torch.rot90(y, turns, (0, 1))
            if rng.integers(2):
                x, y = x.flip(-1), y.flip(-1)
            xs.append(x)
            ys.append(y)
        stack = torch.stack(xs).to(self.device, memory_format=torch.channels_last)
        return stack, torch.stack(ys).to(self.device)

    def batches(self, rng: np.random.Generator, batch: int, count: int) -> list[Tensor]:
        """Inputs of several batches, for recomputing a network's statistics."""
        return [self.draw(rng, batch)[0] for _ in range(count)]
