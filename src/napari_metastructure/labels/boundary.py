"""PCL by displacement: every boundary moved by a smooth random field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import check_labels, result_dtype

_ROWS, _COLUMNS = 64, 64
_REACH = 4.0
_SPACING = 1.25


def displace_boundary(labels: Any, amplitude: float, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Move all boundaries by a smooth random field.

    Each pixel takes the label from the place that the field points to (nearest pixel, held inside the image). Both
    components of the field are Gaussian, independent, of standard deviation ``amplitude``; their autocorrelation at
    distance d is ``exp(-(d / correlation)^2)``. So a boundary moves along its normal by ``amplitude`` rms, and
    places ``correlation`` apart move almost on their own. Classes cannot collide. Outlines
    bend as long as ``amplitude`` is below a quarter of ``correlation``; from there on the field folds more and more,
    and they break up.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed. Unlabelled pixels (255) stay so; where the field points to one, a pixel keeps its own label.
    amplitude : float
        Standard deviation of the displacement along each axis, pixels, from 0.
    correlation : float
        Distance at which the field's autocorrelation has fallen to 1/e, pixels, above 0. Below 1.5 it falls faster,
        as fields on a pixel grid must in the end: the limit is a field of independent pixels.
    rng : numpy.random.Generator

    Returns
    -------
    (..., Y, X) array
        The input's dtype where it can hold 255, else uint8.

    Raises
    ------
    InputError
        For a negative amplitude, a correlation that is not above 0, NaN or infinity; labels that are floats or
        negative.
    """
    if not (np.isfinite(amplitude) and amplitude >= 0):
        raise InputError(f"The amplitude must be a number of pixels from 0, not {amplitude:g}.")
    if not (np.isfinite(correlation) and correlation > 0):
        raise InputError(f"The correlation length must be a number of pixels above 0, not {correlation:g}.")
    array = check_labels(labels)
    result = np.empty(array.shape, result_dtype(array))
    size = array.shape[-2:]
    for plane, moved in zip(array.reshape(-1, *size), result.reshape(-1, *size), strict=True):
        flat = plane.reshape(-1)
        partly = bool((flat == UNLABELLED).any())
        for rows, field in displacements(size, amplitude, correlation, rng):
            labels_there = flat.take(_places(rows, field, size), mode="clip")
            if partly:
                here = plane[rows]
                np.copyto(labels_there, here, where=(here == UNLABELLED) | (labels_there == UNLABELLED))
            moved[rows] = labels_there
    return result


def _places(rows: slice, field: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Flat indices of the pixels nearest to the displaced ones; changes the field."""
    height, width = size
    dy, dx = field
    dy += np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5)
    dx += np.arange(width, dtype=np.float32) + np.float32(0.5)
    # Clipped before the cast, which truncates: for what is not negative that is down, so the half makes it nearest.
    y = np.clip(dy, 0, height - 0.5, out=dy).astype(np.intp)
    x = np.clip(dx, 0, width - 0.5, out=dx).astype(np.intp)
    y *= width
    y += x
    return y


def displacements(
    size: tuple[int, int], amplitude: float, correlation: float, rng: np.random.Generator
) -> Iterator[tuple[slice, np.ndarray]]:
    """A smooth random field, in blocks of rows from the top.

    White noise under a Gaussian of standard deviation ``correlation / 2``, whose autocorrelation is one of twice
    that variance. The noise stands on a grid as coarse as the Gaussian allows: at a spacing of 1.25 standard
    deviations, sums over the grid differ from the integral by less than 0.4 %, and the variance of every pixel is
    then made exact. One pass of two small matrix products replaces filter and interpolation.

    Yields
    ------
    rows : slice
    field : (2, rows, X) float32 array
        Displacements along y and x, pixels.
    """
    height, width = size
    columns = _weights(width, correlation, _COLUMNS)
    nodes = columns[-1][1].stop
    noise, first = np.empty((0, 2, nodes), np.float32), 0
    for rows, used, weights in _weights(height, correlation, _ROWS):
        fresh = rng.standard_normal((used.stop - first - len(noise), 2, nodes), dtype=np.float32)
        noise, first = np.concatenate([noise[used.start - first :], fresh]), used.start
        along_y = (amplitude * weights @ noise.reshape(len(noise), -1)).reshape(-1, 2, nodes).swapaxes(0, 1)
        field = np.empty((2, len(weights), width), np.float32)
        for pixels, seen, across in columns:
            np.matmul(along_y[..., seen], across.T, out=field[..., pixels])
        yield rows, field


def _weights(size: int, correlation: float, block: int) -> list[tuple[slice, slice, np.ndarray]]:
    """Along one axis, per block of pixels: the block, the nodes of the noise in its reach, and their weights.

    Squares of the weights of a pixel sum to 1.
    """
    sigma = max(correlation / 2, 0.1)  # by then a pixel's neighbours weigh nothing
    spacing = max(1.0, _SPACING * sigma)
    margin = int(np.ceil(_REACH * sigma / spacing))
    found = []
    for start in range(0, size, block):
        pixels = np.arange(start, min(start + block, size))
        nodes = np.arange(int(pixels[0] / spacing), int(np.ceil(pixels[-1] / spacing)) + 2 * margin + 1)
        distance = pixels[:, None] - spacing * (nodes - margin)
        weights = np.exp(-0.5 * (distance / sigma) ** 2)
        weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
        found.append((slice(start, start + len(pixels)), slice(nodes[0], nodes[-1] + 1), weights.astype(np.float32)))
    return found
