"""What a network sees of an image too large to be normalised in one piece: the same numbers, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.intensity import CONTRAST_SCALES, Inputs, Polarity, channels_of, network_inputs

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
