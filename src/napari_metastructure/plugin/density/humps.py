"""Histograms of a density map by true class: two humps where classes can be told apart, one where they are fused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_metastructure.labels.classes import blocks, code_table

BINS = 64


@dataclass(frozen=True)
class Humps:
    """How often each density occurs among the pixels of each true class.

    Densities are given relative to pixels spread evenly: the map times the number of its pixels, so 1 is even.

    Attributes
    ----------
    name : str
        Of the map.
    classes : tuple of int
        The true classes with pixels, ascending.
    edges : (B + 1,) array
        Of the bins, from the lowest to the highest density of these pixels.
    counts : (M, B) array of int
        Pixels of each true class in each bin; the last bin holds its upper edge too.
    means : (M,) array
        Mean density of each true class.
    """

    name: str
    classes: tuple[int, ...]
    edges: np.ndarray
    counts: np.ndarray
    means: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """(M, B) each class's pixels by bin, adding up to 1."""
        return np.asarray(self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1))


def humps(
    name: str, density: np.ndarray, truth: np.ndarray, classes: Sequence[int], bins: int = BINS, step: float = 0.0
) -> Humps:
    """Count densities by true class.

    Parameters
    ----------
    name : str
        Of the map.
    density : (Y, X) float array
    truth : (Y, X) array of integers
        Labels that are none of the classes are left out.
    classes : sequence of int
        Ascending; those without pixels are left out.
    bins : int
        At most.
    step : float
        Least difference of two densities, relative to even ones; 0 if they differ by anything.
    """
    even = density.size
    low, high, bins = _span(float(density.min()) * even, float(density.max()) * even, bins, step)
    # float32 as the map is: half the memory traffic of this, the slowest step beside the map itself
    factor, shift = np.float32(even * bins / (high - low)), np.float32(low * bins / (high - low))
    fitting = [c for c in classes if c <= int(truth.max())]
    table = np.minimum(code_table(fitting, int(truth.max())), len(fitting)).astype(np.intp)
    counts = np.zeros((len(fitting) + 1) * bins, np.int64)
    sums = np.zeros(len(fitting) + 1)
    for values, labels in blocks(density, truth):
        code = table[labels]
        place = (values * factor - shift).astype(np.intp)
        np.clip(place, 0, bins - 1, out=place)
        counts += np.bincount(code * bins + place, minlength=counts.size)
        sums += np.bincount(code, weights=values, minlength=len(sums))
    by_class = counts.reshape(-1, bins)[:-1]
    there = np.asarray(by_class.any(axis=1))
    total = by_class[there].sum(axis=1)
    return Humps(
        name,
        tuple(c for c, is_there in zip(fitting, there.tolist(), strict=True) if is_there),
        np.linspace(low, high, bins + 1),
        by_class[there],
        sums[:-1][there] / total * even,
    )


def _span(low: float, high: float, bins: int, step: float) -> tuple[float, float, int]:
    """From where to where how many bins go: each holds the same number of steps, with its steps in its middle."""
    # A map with one value has one bin in the middle; rounding must not make humps of it.
    if high - low <= 1e-6 * max(abs(high), 1e-30):
        return low - 0.5, low + 0.5, bins
    if step <= 0:
        return low, high, bins
    levels = round((high - low) / step) + 1
    each = math.ceil(levels / bins)
    bins = math.ceil(levels / each)
    return low - step / 2, low - step / 2 + bins * each * step, bins
