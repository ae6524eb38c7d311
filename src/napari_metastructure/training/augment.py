"""Augmentation of whole batches: any turn and scale, brightness, blur, noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED

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
