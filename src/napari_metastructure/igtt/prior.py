"""What objects on a background look like before any image was seen: a network trained on random scenes.

`scripts/train_prior.py` made the weights from `images.scenes` alone: no real image and no label of one went into them.
It is the start of the default preset (`start = "prior"`), and the first weights of its network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from napari_metastructure.images.intensity import network_inputs
from napari_metastructure.networks.build import NetworkSpec
from napari_metastructure.networks.checkpoint import Use, load_model
from napari_metastructure.networks.light_unet import LightUNet
from napari_metastructure.networks.predict import probability

PRIOR = Path(__file__).with_name("prior.safetensors")
USE = Use(inputs="multiscale", objects="bright", patch=(256, 256))
SURE = 0.8
"""Probability, as trained, that is one half in use: a correction for the class prior, one number for all images. The
scenes hold more foreground than most real images, and their masks include the blurred rim of an object."""
SCALES = (1.0, 2**-0.5, 0.5)
"""Sizes at which the prior looks at a plane. Noise and texture look like objects at one size, objects at several."""

SMALLEST = 64
"""Pixels along the shorter side below which a plane is not reduced."""

CERTAIN = 1e-3
"""Probability from 0 or 1 beyond which one size outweighs the others no more."""

SPEC = NetworkSpec(architecture="light-unet", in_channels=4, encoder="none", base_channels=16)


def load_prior() -> LightUNet:
    """The network of the prior, on the CPU, in evaluation mode: one logit from the four channels of ``multiscale``.

    Its logit is lowered by that of `SURE`.
    """
    network = cast(LightUNet, load_model(PRIOR)[0])
    with torch.no_grad():
        cast(torch.Tensor, network.head.bias).sub_(math.log(SURE / (1 - SURE)))
    return network


def prior_probability(
    prior: nn.Module, plane: np.ndarray, device: torch.device, checkpoint: Callable[[], None] | None = None
) -> np.ndarray:
    """What the prior says of a plane: the mean of its logits at `SCALES`.

    Parameters
    ----------
    prior : torch.nn.Module
        `load_prior`, on ``device``.
    plane : (Y, X) float array
        Objects bright.
    device : torch.device
    checkpoint : callable, optional
        Called between tiles; may raise to leave.

    Returns
    -------
    (Y, X) float32 array of 0 to 1
    """
    total = np.zeros(plane.shape, np.float32)
    scales = [s for s in SCALES if s == 1 or s * min(plane.shape) >= SMALLEST]
    for scale in scales:
        reduced = _resized(plane, (round(scale * plane.shape[0]), round(scale * plane.shape[1])))
        inputs = network_inputs(reduced, USE.inputs, "bright")
        p = _resized(probability(prior, inputs, USE.patch, device, checkpoint), plane.shape)
        p = p.clip(CERTAIN, 1 - CERTAIN)
        total += np.log(p / (1 - p)) / len(scales)
    return 1 / (1 + np.exp(-total))


def _resized(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A (Y, X) array at another size, without aliasing."""
    if plane.shape == shape:
        return plane
    tensor = torch.from_numpy(np.asarray(plane, np.float32))[None, None]
    return nn.functional.interpolate(tensor, shape, mode="bilinear", antialias=True)[0, 0].numpy()
