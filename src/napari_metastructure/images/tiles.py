"""Cut large planes into overlapping tiles, and blend what was made of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


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


def corners(shape: tuple[int, int], patch: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Upper left corners of all tiles of a plane at least one patch large."""
    for y in starts(shape[0], patch[0]):
        for x in starts(shape[1], patch[1]):
            yield y, x


def window(patch: tuple[int, int]) -> np.ndarray:
    """Blending weights, (Y, X) float32: a raised cosine that stays above zero at the rim."""
    sides = [0.01 + np.hanning(n + 2)[1:-1] for n in patch]
    return np.outer(*sides).astype(np.float32)
