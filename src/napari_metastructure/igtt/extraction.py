"""EMS, the extraction of the meta-structure: from a candidate mask to the pseudo-label of the next round.

The label keeps where objects are dense and drops what a mask gets wrong pixel by pixel. 0 and 1 train the
network, 255 is left out of the loss.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage as ndi
from skimage.morphology import skeletonize

Extraction = Literal["none", "skeleton", "width"]

UNLABELLED = 255


def extract(
    mask: np.ndarray, rng: np.random.Generator, method: Extraction, keep: float = 0.5, radius: int = 1
) -> np.ndarray:
    """Apply one of the extractions by name.

    Parameters
    ----------
    mask : (Y, X) array
        Candidate mask, nonzero = foreground; not changed.
    rng : numpy.random.Generator
    method : {"none", "skeleton", "width"}
        ``none`` returns the mask itself; see `skeleton` and `width` for the others.
    keep : float
        Fraction of pixels that keep a label, 0 to 1.
    radius : int
        Greatest shift in pixels.

    Returns
    -------
    (Y, X) uint8 array of 0, 1 and 255
    """
    mask = np.asarray(mask, dtype=bool)
    if method == "skeleton":
        return skeleton(mask, rng, keep, radius)
    if method == "width":
        return width(mask, rng, keep, radius)
    return mask.astype(np.uint8)


def skeleton(mask: np.ndarray, rng: np.random.Generator, keep: float, radius: int) -> np.ndarray:
    """EMS as printed: skeleton, each of its pixels shifted within a radius, a random sample of them kept.

    All other pixels become background, so width is lost at each round (see `width`).
    """
    y, x = np.nonzero(skeletonize(mask))
    kept = rng.random(y.size) < keep
    y, x = y[kept], x[kept]
    label = np.zeros(mask.shape, np.uint8)
    label[_shift(y, x, np.full(y.size, float(radius)), rng, mask.shape)] = 1
    return label


def width(mask: np.ndarray, rng: np.random.Generator, keep: float, radius: int) -> np.ndarray:
    """EMS that keeps width: discs of the local half-width around the skeleton, both classes sampled.

    Each skeleton pixel scatters points over the disc that its distance to the edge spans, so the foreground
    sample follows the medial axis and its width and forgets the outline's pixels. Background is sampled at the
    same rate; the rest is unlabelled. By Theorem 2 sampling leaves the meta-structure whole: the noise
    transition matrix keeps its full rank.

    A point may be shifted up to ``radius`` beyond the disc's edge only where the mask has foreground, so the
    label does not grow from round to round.
    """
    label = np.where(rng.random(mask.shape, dtype=np.float32) < keep, 0, UNLABELLED).astype(np.uint8)
    label[mask] = UNLABELLED
    y, x = np.nonzero(skeletonize(mask))
    if y.size == 0:
        return label
    half = ndi.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][y, x] + radius
    # Discs along a skeleton overlap about 2 r times; shares of 2 r points a disc cover an object of width 2 r.
    shares = keep * 2 * half
    points = np.floor(shares + rng.random(y.size)).astype(int)
    target = _shift(np.repeat(y, points), np.repeat(x, points), np.repeat(half, points), rng, mask.shape)
    inside = mask[target]
    label[target[0][inside], target[1][inside]] = 1
    return label


def _shift(
    y: np.ndarray, x: np.ndarray, radius: np.ndarray, rng: np.random.Generator, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Points moved to a place drawn uniformly from the disc of their radius, held inside the image."""
    angle = rng.random(y.size) * (2 * np.pi)
    length = radius * np.sqrt(rng.random(y.size))
    return (
        np.clip(np.rint(y + length * np.sin(angle)).astype(int), 0, shape[0] - 1),
        np.clip(np.rint(x + length * np.cos(angle)).astype(int), 0, shape[1] - 1),
    )
