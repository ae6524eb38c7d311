"""Bandwidths of densities as users write them, turned into pixels by the voxel size of each file."""

from __future__ import annotations

import math
import re

from napari_metastructure.cli.label_set import LabelSet
from napari_metastructure.errors import InputError
from napari_metastructure.images.units import PIXEL, convert, is_time, pint_name
from napari_metastructure.labels.kernels import check_bandwidth

_PIXELS = ("", "px", "pixel", "pixels")


def bandwidths(text: str, labels: LabelSet) -> list[tuple[float, float]]:
    """The bandwidth along Y and X of each file, in its pixels.

    Parameters
    ----------
    text : str
        A number of pixels, or a number and a unit of length.
    labels : LabelSet

    Raises
    ------
    InputError
        For anything else; one line for each file that has no voxel size, or is smaller than the bandwidth.
    """
    size, unit = _parsed(text)
    found, bad = [], []
    for path, shape, pixel in zip(labels.paths, labels.shapes, labels.pixels, strict=True):
        lengths = [convert(size, unit, to) if unit != PIXEL else size for _, to in pixel]
        if None in lengths:
            bad.append(f"{path} has no voxel size to turn {text} into pixels; give --bandwidth in pixels.")
            continue
        steps = [1.0 if unit == PIXEL else step for step, _ in pixel]
        pair = [length / step for length, step in zip(lengths, steps, strict=True) if length is not None]
        try:
            found.append(check_bandwidth(pair, shape, str(path)))
        except InputError as error:
            bad.append(str(error))
    if bad:
        raise InputError("\n".join(bad))
    return found


def in_words(bandwidth: tuple[float, float]) -> str:
    """``8 pixels``, or ``5 x 10 pixels`` where they are not square."""
    by, bx = (f"{b:.4g}" for b in bandwidth)
    return f"{by} pixels" if by == bx else f"{by} x {bx} pixels"


def _parsed(text: str) -> tuple[float, str]:
    """Number and unit."""
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*)?", text)
    if match is None:
        raise InputError(f"--bandwidth {text}: give a number of pixels, or one with a unit, as '1.5 um'.")
    size, name = float(match[1]), (match[2] or "").strip()
    if not (math.isfinite(size) and size > 0):
        raise InputError(f"--bandwidth {text}: give a number above 0.")
    unit = pint_name(name)
    if (unit == PIXEL and name.casefold() not in _PIXELS) or is_time(unit):
        raise InputError(f"--bandwidth {text}: {name} is no unit of length; write um, nm or mm, or none for pixels.")
    return size, unit
