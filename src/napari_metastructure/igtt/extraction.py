"""Extraction of the meta-structure (EMS): from a candidate mask to the pseudo-label of the next round.

The label keeps where objects are dense and drops what a mask gets wrong pixel by pixel. 0 and 1 train the
network, 255 is left out of the loss.
"""

from typing import Literal

import numpy as np
from skimage.morphology import skeletonize

from napari_metastructure.labels import UNLABELLED

Extraction = Literal["none", "skeleton", "density"]

DRAWS = 2**12
"""Draws from a disc that all pixels of a mask choose among: a sine for each would take most of the time."""


def extract(
    mask: np.ndarray, rng: np.random.Generator, method: Extraction, keep: float = 0.5, radius: int = 1
) -> np.ndarray:
    """Apply one of the extractions by name.

    Parameters
    ----------
    mask : (Y, X) array
        Candidate mask, nonzero = foreground; not changed.
    rng : numpy.random.Generator
    method : {"none", "skeleton", "density"}
        ``none`` returns the mask itself; see `skeleton` and `density` for the others.
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
    if method == "density":
        return density(mask, rng, keep, radius)
    return mask.astype(np.uint8)


def skeleton(mask: np.ndarray, rng: np.random.Generator, keep: float, radius: int) -> np.ndarray:
    """Apply EMS as printed: skeleton, each of its pixels shifted within a radius, a random sample of them kept.

    All other pixels become background, so width is lost at each round (see `density`).
    """
    y, x = np.nonzero(skeletonize(mask))
    kept = rng.random(y.size) < keep
    y, x = y[kept], x[kept]
    label = np.zeros(mask.shape, np.uint8)
    label[_shift(y, x, radius, rng, mask.shape)] = 1
    return label


def density(mask: np.ndarray, rng: np.random.Generator, keep: float, radius: int) -> np.ndarray:
    """Apply EMS that keeps width: labels drawn from the mask's local density, both classes sampled alike.

    A sampled pixel takes the label of a pixel drawn from the disc around it, so it is foreground with the
    probability that eq. (8) estimates with a round box kernel of bandwidth ``radius``. Outlines lose their pixels
    and keep their place on average: noise of this kind has no bias for either class, where a skeleton loses
    width and discs along a skeleton thin out towards the edge (both shrink from round to round). By Theorem 2 the
    sampling leaves the meta-structure whole: the noise transition matrix keeps its full rank.
    """
    # Padding by the nearest pixel holds draws inside the image; in the flat array a shift is one number.
    height, side = mask.shape
    wide = side + 2 * radius
    padded = np.pad(mask, radius, mode="edge").ravel()
    dy, dx = _disc(radius, rng, DRAWS // 2)
    shifts = np.concatenate([dy * wide + dx, -dy * wide - dx])  # opposites: they shift nothing on average
    at = np.flatnonzero(rng.random(height * side, dtype=np.float32) < keep)
    drawn = shifts[rng.integers(0, DRAWS, at.size, dtype=np.uint16)]
    label = np.full(height * side, UNLABELLED, np.uint8)
    label[at] = padded[at + at // side * (2 * radius) + radius * (wide + 1) + drawn]
    return label.reshape(mask.shape)


def _shift(
    y: np.ndarray, x: np.ndarray, radius: int, rng: np.random.Generator, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Move points to a place drawn uniformly from the disc around them, held inside the image."""
    dy, dx = _disc(radius, rng, y.size)
    return np.clip(y + dy, 0, shape[0] - 1), np.clip(x + dx, 0, shape[1] - 1)


def _disc(radius: int, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw offsets in rows and columns uniformly from a disc and rounded."""
    angle = rng.random(number) * (2 * np.pi)
    length = radius * np.sqrt(rng.random(number))
    return np.rint(length * np.sin(angle)).astype(int), np.rint(length * np.cos(angle)).astype(int)
