"""Apply a network to planes of any size, at the size it was trained on, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_metastructure.errors import RunFailed
from napari_metastructure.images.tiles import pad, starts
from napari_metastructure.networks.device import mixed_precision, out_of_memory, release

Band = tuple[int, np.ndarray]


def bands(
    network: nn.Module,
    inputs: Any,
    patch: tuple[int, int],
    device: torch.device,
    checkpoint: Callable[[], None] | None = None,
    batch: int = 4,
) -> Iterator[Band]:
    """Class probabilities of one plane, from top to bottom, a band of finished rows at a time.

    Group normalisation sees the whole crop, so a network is only right at the size it was trained on: larger planes
    are cut into tiles that overlap by a quarter at least and are blended, smaller ones are mirrored up to one tile.
    The tiles stand in rows and columns, so a blending weight is one of the row times one of the column, and either
    sum to one at each pixel: what a row of tiles adds to a pixel is final once the next row starts below it.

    Parameters
    ----------
    network : torch.nn.Module
        On ``device``, in evaluation mode. One logit per pixel stands for the second of two classes (sigmoid), K > 1 for
        a class each (softmax).
    inputs : (C, Y, X) float32 array
        Or anything of that ``shape`` that gives ``inputs[:, first:last]``, such as `inputs.LazyInputs`.
    patch : (int, int)
        Height and width of a tile.
    device : torch.device
    checkpoint : callable, optional
        Called before each batch of tiles; may raise to leave.
    batch : int
        Tiles at once; halved if memory runs out.

    Yields
    ------
    first : int
        The band's first row.
    probabilities : (K, rows, X) float32 array

    Raises
    ------
    RunFailed
        If memory does not suffice for a single tile.
    """
    height, width = inputs.shape[-2:]
    tops, down = _shares(height, patch[0])
    lefts, across = _shares(width, patch[1])
    apply = _Apply(network, device, checkpoint, batch)
    above: np.ndarray | None = None  # what earlier rows of tiles add to rows of this one
    for row, top in enumerate(tops):
        strip = pad(np.asarray(inputs[:, top : top + patch[0]], dtype=np.float32), patch)
        band = apply(strip, lefts, across) * down[row][:, None]
        if above is not None:
            band[:, : above.shape[1]] += above
        done = tops[row + 1] - top if row + 1 < len(tops) else min(height - top, patch[0])
        above = band[:, done:]
        yield top, band[:, :done, :width]


def class_probabilities(
    network: nn.Module,
    inputs: Any,
    patch: tuple[int, int],
    device: torch.device,
    checkpoint: Callable[[], None] | None = None,
    batch: int = 4,
) -> np.ndarray:
    """All `bands` of a plane together: a (K, Y, X) float32 array, K = 1 for a network of one logit."""
    found: np.ndarray | None = None
    for first, band in bands(network, inputs, patch, device, checkpoint, batch):
        if found is None:
            found = np.empty((len(band), *inputs.shape[-2:]), np.float32)
        found[:, first : first + band.shape[1]] = band
    assert found is not None
    return found


def probability(
    network: nn.Module,
    inputs: Any,
    patch: tuple[int, int],
    device: torch.device,
    checkpoint: Callable[[], None] | None = None,
    batch: int = 4,
) -> np.ndarray:
    """Foreground probability of one plane by a network of one logit: a (Y, X) float32 array; see `bands`."""
    return class_probabilities(network, inputs, patch, device, checkpoint, batch)[0]


def _shares(side: int, patch: int) -> tuple[list[int], list[np.ndarray]]:
    """Where tiles start along one side, and each one's (patch,) weights: a raised cosine, summing to one."""
    firsts = starts(side, patch)
    rise = 0.01 + np.hanning(patch + 2)[1:-1]  # above zero at the rim, where a tile may stand alone
    total = np.zeros(firsts[-1] + patch)
    for first in firsts:
        total[first : first + patch] += rise
    return firsts, [(rise / total[first : first + patch]).astype(np.float32) for first in firsts]


class _Apply:
    """Runs the network over rows of tiles; remembers how many fit into memory."""

    def __init__(
        self, network: nn.Module, device: torch.device, checkpoint: Callable[[], None] | None, batch: int
    ) -> None:
        self.network, self.device, self.checkpoint, self.batch = network, device, checkpoint, batch

    def __call__(self, strip: np.ndarray, lefts: list[int], across: list[np.ndarray]) -> np.ndarray:
        """(K, patch height, X) probabilities of a (C, patch height, X) strip, blended along X."""
        size, total, done = len(across[0]), None, 0
        while done < len(lefts):
            if self.checkpoint is not None:
                self.checkpoint()
            some = lefts[done : done + self.batch]
            tiles = self._tiles(np.stack([strip[..., left : left + size] for left in some]))
            if tiles is None:
                continue  # again, with fewer
            if total is None:
                total = np.zeros((tiles.shape[1], *strip.shape[1:]), np.float32)
            for left, weights, tile in zip(some, across[done:], tiles, strict=False):
                total[..., left : left + size] += tile * weights
            done += len(some)
        assert total is not None
        return total

    def _tiles(self, crops: np.ndarray) -> np.ndarray | None:
        """(N, K, Y, X) probabilities of (N, C, Y, X) crops; None if memory ran out and fewer may fit."""
        try:
            with torch.inference_mode(), mixed_precision(self.device):
                logits = self.network(torch.from_numpy(crops).to(self.device)).float()
                p = torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
            return p.float().cpu().numpy()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        release(self.device)  # outside the handler: there the traceback still holds the tensors that did not fit
        if len(crops) == 1:
            raise RunFailed(
                f"Out of memory on {self.device} with a single tile of {crops.shape[-2]} x {crops.shape[-1]} pixels; "
                "close other programs or choose device cpu."
            )
        self.batch = len(crops) // 2
        return None
