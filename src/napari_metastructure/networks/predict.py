"""Apply a network to planes of any size, at the size it was trained on, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy import ndimage as ndi
from torch import nn

from napari_metastructure.errors import RunFailed
from napari_metastructure.images.intensity import CONTRAST_SCALES, Inputs, Polarity, channels_of, network_inputs
from napari_metastructure.networks.device import mixed_precision, out_of_memory, release

# -------- Where the overlapping tiles of a large plane begin, and how a small one is made as large as a tile.


def pad(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mirror the last two axes at their ends until they have at least ``shape``."""
    missing = [max(0, want - have) for want, have in zip(shape, plane.shape[-2:], strict=True)]
    if not any(missing):
        return plane
    before = [(0, 0)] * (plane.ndim - 2)
    return np.pad(plane, [*before, (0, missing[0]), (0, missing[1])], mode="symmetric")


def starts(side: int, patch: int, overlap: float = 0.25) -> list[int]:
    """First pixels of the tiles along one side: evenly spread, overlapping by at least the given share."""
    if side <= patch:
        return [0]
    count = int(np.ceil((side - patch) / (patch * (1 - overlap)))) + 1
    return [int(s) for s in np.rint(np.linspace(0, side - patch, count))]


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


# What a network sees of an image too large to be normalised in one piece: the same numbers, some rows at a
# time.


WHOLE = 2**23
"""Pixels of all channels up to which an image is normalised at once: some 300 MB of intermediate results."""

ROWS = 256
"""Rows at a time where statistics are gathered."""

_FINE = 1.5  # `images.intensity.local_contrast`'s own

_TRUNCATE = 4.0  # standard deviations at which scipy's Gaussian ends


def prepared(image: np.ndarray, kind: Inputs, objects: Polarity, checkpoint: Callable[[], None] | None = None) -> Any:
    """`network_inputs`, or for a large image what gives its rows when they are asked for.

    Parameters
    ----------
    image : (Y, X) or (C, Y, X) array
        Real numbers, finite.
    kind : {"zscore", "multiscale", "percentile", "local"}
    objects : {"bright", "dark"}
    checkpoint : callable, optional
        Called now and then while a large image is looked through; may raise to leave.

    Returns
    -------
    array or `LazyInputs`
        Either has ``shape`` and gives ``inputs[:, first:last]``, a (C', rows, X) float32 array.
    """
    if image.size <= WHOLE:
        return network_inputs(image, kind, objects)
    return LazyInputs(image, kind, objects, checkpoint)


class LazyInputs:
    """`network_inputs`, computed when rows are asked for, from statistics gathered once.

    Beyond the image itself ``zscore`` costs nothing that grows with it, ``percentile`` and ``multiscale`` one copy for
    a moment (to sort), ``local`` nothing but time; the local contrasts are filtered twice, once for their statistics.

    Parameters
    ----------
    image : (Y, X) or (C, Y, X) array
    kind : {"zscore", "multiscale", "percentile", "local"}
    objects : {"bright", "dark"}
    checkpoint : callable, optional
        Called now and then while the statistics are gathered.

    Attributes
    ----------
    shape : (int, int, int)
        That of ``network_inputs(image, kind, objects)``, from which it differs by rounding only.
    """

    def __init__(
        self,
        image: np.ndarray,
        kind: Inputs,
        objects: Polarity,
        checkpoint: Callable[[], None] | None = None,
    ) -> None:
        image = image[None] if image.ndim == 2 else image
        self.shape = (channels_of(kind, len(image)), *image.shape[1:])
        sign = -1.0 if objects == "dark" else 1.0
        self._maps = [m for plane in image for m in _Plane(plane, sign, checkpoint).maps(kind)]

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        """``inputs[:, first:last]``: (C', rows, X) float32."""
        channels, rows = index
        first, last, _ = rows.indices(self.shape[1])
        return np.stack([m(first, last) for m in self._maps[channels]])


Rows = Callable[[int, int], np.ndarray]
"""Gives rows ``first`` to ``last`` of a map of the plane."""


class _Plane:
    """The maps of one plane; each is what `images.intensity` calls by the same name, row by row."""

    def __init__(self, plane: np.ndarray, sign: float, checkpoint: Callable[[], None] | None) -> None:
        self.plane, self.sign, self.height = plane, sign, plane.shape[0]
        self.checkpoint = checkpoint or (lambda: None)

    def maps(self, kind: Inputs) -> list[Rows]:
        """The channels a network sees of the plane."""
        if kind == "percentile":
            return [self.percentile()]
        z = self.zscore(self.upright)
        if kind == "zscore":
            return [z]
        if kind == "local":
            return [self.zscore(self.local_contrast(z, CONTRAST_SCALES[-1]))]
        contrasts = [self.zscore(self.local_contrast(z, scale)) for scale in CONTRAST_SCALES]
        return [z, self.zscore(self.log_intensity()), *contrasts]

    def upright(self, a: int, b: int) -> np.ndarray:
        """The plane with bright objects."""
        return np.float32(self.sign) * self.plane[a:b].astype(np.float32)

    def zscore(self, rows: Rows) -> Rows:
        mean, deviation = self._moments(rows)
        return lambda a, b: (rows(a, b) - np.float32(mean)) / np.float32(deviation)

    def percentile(self) -> Rows:
        bottom, top = self._percentiles(1.0, 99.8)
        if top <= bottom:
            bottom, top = self._range()
        span = np.float32(top - bottom) or np.float32(1)
        return lambda a, b: (self.upright(a, b) - np.float32(bottom)) / span

    def log_intensity(self) -> Rows:
        deviation = np.float32(self._moments(self.upright)[1])
        least, greatest = self._range()
        bright = self._percentiles(0, 99.0)[1] - least or greatest - least
        floor = np.float32(0.1) * (np.float32(bright) / deviation or np.float32(1))
        return lambda a, b: np.log((self.upright(a, b) - np.float32(least)) / deviation + floor)

    def local_contrast(self, z: Rows, scale: float) -> Rows:
        """Rows around are looked at, and cut off again."""
        halo = int(_TRUNCATE * max(scale, _FINE) + 0.5)

        def rows(a: int, b: int) -> np.ndarray:
            top = max(0, a - halo)
            block = z(top, min(self.height, b + halo))
            surround = ndi.gaussian_filter(block, scale)
            variance = ndi.gaussian_filter(block * block, scale) - surround**2
            spread = np.sqrt(np.maximum(variance, 0)) + 1  # 1: the z-scored plane's own standard deviation
            return ((ndi.gaussian_filter(block, _FINE) - surround) / spread)[a - top : b - top]

        return rows

    def _moments(self, rows: Rows) -> tuple[float, float]:
        """Mean and standard deviation of a map (1 if it is constant), in one pass about the first pixel."""
        count = total = squares = 0.0
        shift: np.float32 | None = None
        for a, b in pairwise([*range(0, self.height, ROWS), self.height]):
            self.checkpoint()
            block = rows(a, b)
            shift = block[0, 0] if shift is None else shift
            block = block - shift
            count, total = count + block.size, total + float(block.sum(dtype=np.float64))
            squares += float(np.square(block, dtype=np.float64).sum())
        assert shift is not None
        mean = total / count
        return float(shift) + mean, float(np.sqrt(max(squares / count - mean**2, 0))) or 1.0

    def _range(self) -> tuple[float, float]:
        """Least and greatest value of the upright plane."""
        low, high = float(self.plane.min()), float(self.plane.max())
        return (low, high) if self.sign > 0 else (-high, -low)

    def _percentiles(self, low: float, high: float) -> tuple[float, float]:
        """Percentiles of the upright plane."""
        wanted = (low, high) if self.sign > 0 else (100 - low, 100 - high)
        first, second = np.percentile(self.plane, wanted)
        return self.sign * float(first), self.sign * float(second)
