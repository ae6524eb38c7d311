"""Camera defects: hot pixels, hot and dead lines, which set the range that everything else is seen in."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from napari_metastructure.images.lazy import ROWS, Plane, row_blocks, thinned

T = TypeVar("T", np.ndarray, Plane)

FAR = 3.0
"""How many times the range of all else a pixel must differ from the median of 3 x 3 to be hot: spots that are blurred
as widely as pixels are apart differ by less."""

MOST = 0.01
"""Share of the pixels above which they are no defects."""

WIDE = 2
"""Lines side by side that are interpolated; more are a margin or a gap (`images.surround.margin`)."""

HELD = 0.1
"""Share of the lines beside a dead one that may have its value."""

_SAMPLE = 2**16  # pixels that percentiles are taken of


class _Changes(NamedTuple):
    """Pixels and what is put in their place."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray


def mended(plane: T) -> T:
    """Put neighbours' values in the place of hot pixels, and of one or two lines side by side that hold one value.

    A pixel is hot, or dead, if it differs from the median of the 3 x 3 pixels around it by more than `FAR` times the
    range of all else; it takes that median. A row or column is dead if it has one value throughout, which the lines
    beside it hardly have; it is interpolated.

    Parameters
    ----------
    plane : (Y, X) array or Plane
        Real numbers; some may be NaN.

    Returns
    -------
    (Y, X) array or Plane
        The same object if it has no such pixels.
    """
    plane = _changed(plane, [_hot_pixels(plane)])
    rows, columns = _dead_lines(plane)
    plane = _changed(plane, list(_interpolated(plane, rows)))
    # after the rows, or a pixel that is of both kinds would stay as it is
    across = _interpolated(plane, columns, across=True)
    return _changed(plane, [_Changes(x, y, values) for y, x, values in across])


def _changed(plane: T, changes: Sequence[_Changes]) -> T:
    rows, columns, values = map(np.concatenate, zip(*changes, strict=True)) if changes else np.zeros((3, 0))
    if not rows.size:
        return plane
    values = values if plane.dtype.kind == "f" else np.rint(values)
    if isinstance(plane, np.ndarray):
        whole = plane.copy()
        whole[rows, columns] = values
        return whole

    def read(down: slice, across: slice) -> np.ndarray:
        block = plane[down, across].copy()
        own = (rows >= down.start) & (rows < down.stop) & (columns >= across.start) & (columns < across.stop)
        block[rows[own] - down.start, columns[own] - across.start] = values[own]
        return block

    return Plane(plane.shape, plane.dtype, read)


def _hot_pixels(plane: np.ndarray | Plane) -> _Changes:
    sample = thinned(plane, int(np.ceil(np.sqrt(plane.size / _SAMPLE))))
    sample = sample[np.isfinite(sample)].astype(np.float32)
    low, high = (float(p) for p in np.percentile(sample, (1, 99))) if sample.size else (0.0, 0.0)
    far = FAR * (high - low)
    found = [_Changes(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))]
    before, left = [np.zeros(0)], MOST * plane.size
    for first in range(0, plane.shape[0] if far > 0 else 0, ROWS):
        own = plane[first : first + ROWS]
        rows, columns = np.nonzero(((own > high + far) | (own < low - far)) & np.isfinite(own))
        left -= rows.size
        if left < 0:
            return found[0]
        if rows.size:
            top = max(0, first - 1)
            wide = np.pad(plane[top : first + ROWS + 1].astype(np.float64), 1, mode="edge")
            y = rows + first - top
            around = np.stack([wide[y + down, columns + right] for down in range(3) for right in range(3)])
            around[~np.isfinite(around)] = np.nan
            found.append(_Changes(first + rows, columns, np.nanmedian(around, axis=0)))
            before.append(own[rows, columns].astype(np.float64))
    rows, columns, medians = (np.concatenate(parts) for parts in zip(*found, strict=True))
    reach = medians.max(initial=high) - medians.min(initial=low)
    hot = np.abs(np.concatenate(before) - medians) > FAR * reach
    return _Changes(rows[hot], columns[hot], medians[hot])


def _dead_lines(plane: np.ndarray | Plane) -> tuple[np.ndarray, np.ndarray]:
    """Find rows and columns of one value."""
    blocks = [(b.min(axis=1), b.max(axis=1), b.min(axis=0), b.max(axis=0)) for b in row_blocks(plane)]
    low, high, lows, highs = zip(*blocks, strict=True)
    return np.concatenate(low) == np.concatenate(high), np.min(lows, axis=0) == np.max(highs, axis=0)


def _narrow(dead: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield first and last plus one of `WIDE` dead lines at most between others."""
    ends = np.flatnonzero(np.diff(dead.astype(np.int8))) + 1
    for first, last in pairwise(ends.tolist()):
        if dead[first] and last - first <= WIDE:
            yield first, last


def _interpolated(plane: np.ndarray | Plane, dead: np.ndarray, across: bool = False) -> Iterator[_Changes]:
    """Yield the narrow rows, or columns as if they were rows, whose neighbours hardly have the value that they have."""
    for first, last in _narrow(dead):
        lines = (slice(i, i + 1) for i in (first - 1, first, last))
        before, held, after = (plane[:, line][:, 0] if across else plane[line][0] for line in lines)
        if max(np.mean(before == held), np.mean(after == held)) > HELD:
            continue
        for row in range(first, last):
            share = (row - first + 1) / (last - first + 1)
            values = (1 - share) * before.astype(np.float64) + share * after.astype(np.float64)
            yield _Changes(np.full(held.size, row), np.arange(held.size), values)
