"""Where the overlapping tiles of a large plane begin, and how a small one is made as large as a tile."""

from __future__ import annotations

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
