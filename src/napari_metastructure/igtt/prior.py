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
    """What the prior says of a plane.

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
    return probability(prior, network_inputs(plane, USE.inputs, "bright"), USE.patch, device, checkpoint)
