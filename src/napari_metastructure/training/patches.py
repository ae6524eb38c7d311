"""Random patches of images and their labels, flipped and turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.networks.predict import pad

DEVICE_BYTES = 2 * 2**30
"""Inputs of a set larger than this stay in main memory; only the patches travel."""

Fetch = Callable[[int], tuple[Tensor, Tensor]]

Augment = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor]]


class PatchSampler:
    """Draws batches of patches, flipped and turned by quarters at random.

    Parameters
    ----------
    fetch : callable
        ``fetch(i)`` gives image i: (C, Y, X) float32 inputs and (Y, X) uint8 labels, at least a patch large.
    shapes : sequence of (int, int)
        Height and width of every image: each is drawn from as often as it has pixels.
    patch : (int, int)
        Height and width of a patch.
    device : torch.device
        Where the batches are wanted.
    augment : callable, optional
        Changes a batch further, on the device.
    flips : bool
        Off: patches are taken as they are.
    """

    def __init__(
        self,
        fetch: Fetch,
        shapes: Sequence[tuple[int, int]],
        patch: tuple[int, int],
        device: torch.device,
        augment: Augment | None = None,
        flips: bool = True,
    ) -> None:
        self.fetch = fetch
        self.patch = patch
        self.device = device
        self.augment = augment
        self.flips = flips
        areas = np.array([y * x for y, x in shapes], float)
        self._chance = areas / areas.sum()

    def draw(self, rng: np.random.Generator, batch: int) -> tuple[Tensor, Tensor]:
        """A batch: (N, C, Y, X) float32 inputs and (N, Y, X) uint8 labels, on the device."""
        xs, ys = [], []
        height, width = self.patch
        for index in rng.choice(len(self._chance), batch, p=self._chance):
            x, y = self.fetch(int(index))
            top = int(rng.integers(x.shape[-2] - height + 1))
            left = int(rng.integers(x.shape[-1] - width + 1))
            x, y = x[:, top : top + height, left : left + width], y[top : top + height, left : left + width]
            if self.flips:
                turns = int(rng.integers(4)) if height == width else 2 * int(rng.integers(2))
                x, y = torch.rot90(x, turns, (1, 2)), torch.rot90(y, turns, (0, 1))
                if rng.integers(2):
                    x, y = x.flip(-1), y.flip(-1)
            xs.append(x)
            ys.append(y)
        stack = torch.stack(xs).to(self.device, memory_format=torch.channels_last)
        labels = torch.stack(ys).to(self.device)
        return (stack, labels) if self.augment is None else self.augment(stack, labels, rng)

    def batches(self, rng: np.random.Generator, batch: int, count: int) -> list[Tensor]:
        """Inputs of several batches, for recomputing a network's statistics."""
        return [self.draw(rng, batch)[0] for _ in range(count)]


class Held:
    """Inputs that stay in memory, on the accelerator if they fit, and labels that are exchanged; a `Fetch`.

    Parameters
    ----------
    inputs : sequence of (C, Y, X) float32 arrays
        Planes of any sizes; those smaller than a patch are mirrored, and the mirrored part stays unlabelled.
    patch : (int, int)
    device : torch.device
    """

    def __init__(self, inputs: Sequence[np.ndarray], patch: tuple[int, int], device: torch.device) -> None:
        size = sum(x.nbytes for x in inputs)
        self._patch = patch
        self._home = device if size <= DEVICE_BYTES else torch.device("cpu")
        self._inputs = [padded_inputs(x, patch).to(self._home) for x in inputs]
        self._labels: list[Tensor] = []

    def set_labels(self, labels: Sequence[np.ndarray]) -> None:
        """Take new labels, one (Y, X) uint8 array per plane."""
        self._labels = [padded_labels(y, self._patch).to(self._home) for y in labels]

    def __call__(self, index: int) -> tuple[Tensor, Tensor]:
        """Inputs and labels of one plane."""
        return self._inputs[index], self._labels[index]


def patch_shape(shapes: Sequence[tuple[int, ...]], size: int) -> tuple[int, int]:
    """Patches of the size asked for, or smaller where every plane is; multiples of 32 fit every stride."""
    height, width = (min(size, -(-max(s[axis] for s in shapes) // 32) * 32) for axis in (0, 1))
    return height, width


def padded_inputs(inputs: np.ndarray, patch: tuple[int, int]) -> Tensor:
    """(C, Y, X) inputs mirrored up to a patch where they are smaller."""
    return torch.from_numpy(np.ascontiguousarray(pad(inputs, patch)))


def padded_labels(labels: np.ndarray, patch: tuple[int, int]) -> Tensor:
    """(Y, X) uint8 labels, unlabelled where `padded_inputs` mirrored."""
    missing = [(0, max(0, want - have)) for want, have in zip(patch, labels.shape, strict=True)]
    return torch.from_numpy(np.pad(labels, missing, constant_values=UNLABELLED))


# -------- Augmentation of whole batches: any turn and scale, brightness, blur, noise.


DEGREES, SCALES = 180.0, (0.8, 1.25)

GAIN, OFFSET, NOISE = 0.2, 0.1, 0.1
"""Greatest change of contrast (a factor) and brightness, and standard deviation of noise, in units of the batch's
standard deviation."""


class Full:
    """Changes batches on their device: torchvision turns, scales, blurs and adds noise.

    Raises
    ------
    InputError
        Where torchvision does not load.
    """

    def __init__(self) -> None:
        try:
            from torchvision import tv_tensors
            from torchvision.transforms import v2
        except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
            raise InputError(
                f"Augmentation 'full' needs torchvision, which does not load here ({error}); install torch and "
                "torchvision of one build, or choose augment flips."
            ) from error
        self._image, self._mask = tv_tensors.Image, tv_tensors.Mask
        fill: dict[Any, Any] = {tv_tensors.Image: 0.0, tv_tensors.Mask: UNLABELLED}
        self._place = v2.RandomAffine(DEGREES, scale=SCALES, interpolation=v2.InterpolationMode.BILINEAR, fill=fill)
        self._blur = v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.5))], p=0.3)

    def __call__(self, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(N, C, Y, X) float inputs and (N, Y, X) labels, changed; what lies outside the patch becomes unlabelled."""
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
            torch.manual_seed(int(rng.integers(2**31)))
            for index in range(len(x)):
                image, mask = self._place(self._image(x[index]), self._mask(y[index][None]))
                x[index], y[index] = self._blur(image), mask[0]
        # torchvision's colour functions take one or three channels and cut at 0 and 1; ours are any, and normalised.
        size = (len(x), 1, 1, 1)
        gain, offset = rng.uniform(1 - GAIN, 1 + GAIN, size), rng.uniform(-OFFSET, OFFSET, size)
        spread = x.std()
        x = x * torch.from_numpy(gain).to(x) + torch.from_numpy(offset).to(x) * spread
        noise = torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32)).to(x.device)
        return x + noise * (NOISE * spread * float(rng.random())), y
