"""Apply a network to planes of any size, at the size it was trained on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from napari_metastructure.images.tiles import corners, pad, window
from napari_metastructure.networks.device import mixed_precision


def probability(
    network: nn.Module,
    inputs: np.ndarray,
    patch: tuple[int, int],
    device: torch.device,
    checkpoint: Callable[[], None] | None = None,
    batch: int = 4,
) -> np.ndarray:
    """Foreground probability of one plane, tile by tile.

    Group normalisation sees the whole crop, so a network is only right at the size it was trained on: larger
    planes are cut into overlapping tiles and blended, smaller ones are mirrored up to one tile.

    Parameters
    ----------
    network : torch.nn.Module
        On ``device``, in evaluation mode, with one logit per pixel.
    inputs : (C, Y, X) float32 array
    patch : (int, int)
        Height and width of a tile.
    device : torch.device
    checkpoint : callable, optional
        Called before each batch of tiles; may raise to leave.
    batch : int
        Tiles at once.

    Returns
    -------
    (Y, X) float32 array
    """
    shape = inputs.shape[-2:]
    padded = pad(inputs, patch)
    weights = window(patch)
    total = np.zeros(padded.shape[-2:], np.float32)
    weight = np.zeros_like(total)
    tiles = list(corners(padded.shape[-2:], patch))
    for first in range(0, len(tiles), batch):
        if checkpoint is not None:
            checkpoint()
        some = tiles[first : first + batch]
        stack = np.stack([padded[:, y : y + patch[0], x : x + patch[1]] for y, x in some])
        with torch.inference_mode(), mixed_precision(device):
            p = torch.sigmoid(network(torch.from_numpy(stack).to(device))).float().cpu().numpy()[:, 0]
        for (y, x), tile in zip(some, p, strict=True):
            total[y : y + patch[0], x : x + patch[1]] += tile * weights
            weight[y : y + patch[0], x : x + patch[1]] += weights
    return (total / weight)[: shape[0], : shape[1]]
