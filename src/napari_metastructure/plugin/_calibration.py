"""Axes, voxel size and unit of a layer's pixels as TIFF holds them, those that napari left in the file included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pint
from napari.layers import Layer
from napari.utils.transforms import Affine

from napari_metastructure.errors import listed
from napari_metastructure.images.image import PIXEL, convert, is_time, pint_name
from napari_metastructure.images.tiff import Grid, read_grid
from napari_metastructure.images.writing import tiff_axes
from napari_metastructure.plugin._layers import placement


@dataclass(frozen=True)
class Calibration:
    """Axes, voxel size and unit to write to a TIFF, with notes on what it cannot store.

    Attributes
    ----------
    axes : str
        A letter of TZCYX for each axis; leading axes of length one are left out.
    shape : tuple of int
        Of these axes.
    scale : tuple of float
        Their steps, above 0.
    units : tuple of str
        As pint names them.
    notes : tuple of str
        Sentences for the user: where the voxel size is from, what the file cannot hold.
    """

    axes: str
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    units: tuple[str, ...]
    notes: tuple[str, ...]


def calibration(shape: Sequence[int], attributes: Mapping[str, Any], file: Path | None = None) -> Calibration:
    """Find axes, voxel size and unit of pixels.

    Parameters
    ----------
    shape : sequence of int
        Of the pixels, without RGB samples.
    attributes : mapping
        The layer's ``scale, translate, rotate, shear, affine, units, axis_labels``, where known.
    file : Path, optional
        The file that the layer came from. What it says is taken where the layer says less, and nothing else.

    Raises
    ------
    InputError
        For more axes than TIFF has.
    """
    ndim = len(shape)
    given = tuple(map(str, attributes.get("units") or (PIXEL,) * ndim))
    matrix, shift = _transform(attributes, ndim)
    scale, units, lost = _steps(matrix, given)
    lost += ["shift"] if np.any(np.abs(shift) > 1e-3 * np.max(np.abs(matrix), axis=1)) else []
    labels = list(map(str, attributes.get("axis_labels") or ("",) * ndim))
    notes = []
    grid = None if file is None else read_grid(file)
    letters = None if grid is None else _fit(tuple(shape), grid)
    if grid is not None and file is not None and letters is not None:
        steps = {at: grid.steps[letter] for at, letter in enumerate(letters) if letter in grid.steps}
        labels = [letters[i] if _is_unnamed(label) else label for i, label in enumerate(labels)]
        new = [i for i in steps if units[i] == PIXEL and steps[i] != (1.0, PIXEL)]
        if new and all(_agrees((scale[i], units[i]), step) for i, step in steps.items()):
            for i in new:
                scale[i], units[i] = steps[i]
            notes.append(f"The layer has no voxel size; that of its file is saved, {_sizes([steps[i] for i in new])}.")
    kept = [i for i, n in enumerate(shape) if n > 1 or i >= ndim - 2 or labels[i].strip().upper() in ("Y", "X")]
    axes = tiff_axes([labels[i] for i in kept], [units[i] for i in kept])
    notes += _losses(lost, dict(zip(axes, ((scale[i], units[i]) for i in kept), strict=True)))
    return Calibration(
        axes,
        tuple(int(shape[i]) for i in kept),
        tuple(scale[i] for i in kept),
        tuple(units[i] for i in kept),
        tuple(notes),
    )


def pixel_size(layer: Layer) -> tuple[float, float]:
    """Return the size of a layer's pixel along Y and X in its unit, be it in the scale or in the affine."""
    matrix, _ = _transform(placement(layer), layer.ndim)
    y, x = np.abs(np.diag(np.linalg.qr(matrix)[1]))[-2:]
    return float(y), float(x)


# ---- what the layer says -----------------------------------------------------------------------------------


def _transform(attributes: Mapping[str, Any], ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix and the shift that take pixels to places in the viewer."""
    own = Affine(
        scale=attributes.get("scale", (1.0,) * ndim),
        translate=attributes.get("translate", (0.0,) * ndim),
        rotate=attributes.get("rotate"),
        shear=attributes.get("shear"),
        ndim=ndim,
    )
    affine = np.asarray(attributes.get("affine", np.eye(ndim + 1)))
    whole = affine @ own.affine_matrix
    return whole[:-1, :-1], whole[:-1, -1]


def _steps(matrix: np.ndarray, given: Sequence[str]) -> tuple[list[float], list[str], list[str]]:
    """Split a matrix into steps along the axes, with units that TIFF knows, and name what these cannot say."""
    known = [_known(unit) for unit in given]
    units = [unit for unit, _ in known]
    base = np.array([convert(1.0, unit, "second" if is_time(unit) else "micrometer") or 1.0 for unit in units])
    matrix = (base * [factor for _, factor in known])[:, None] * matrix  # rows in one unit of length
    turn, triangle = np.linalg.qr(matrix)
    steps = np.abs(np.diag(triangle))  # as napari splits an affine
    turn = turn * np.sign(np.diag(triangle))
    shear = np.abs(turn.T @ matrix / steps) > 1e-6  # off the diagonal
    still = np.eye(len(steps))
    lost = [
        *dict.fromkeys(f"unit {old}" for old, new in zip(given, units, strict=True) if new == PIXEL not in old),
        *(["flip"] if np.linalg.det(turn) < 0 or (np.diag(turn) < -1 + 1e-6).any() else []),
        *([] if np.allclose(np.abs(turn), still, atol=1e-6) else ["rotation"]),
        *(["shear"] if shear.sum() > len(steps) else []),
    ]
    return [float(step) for step in steps / base], units, lost


def _known(unit: str) -> tuple[str, float]:
    """Find a unit that TIFF knows, and how many of it one of this unit is."""
    if (name := pint_name(unit)) != PIXEL or PIXEL in unit:  # pint's css_pixel is a length
        return name, 1.0
    for name in ("micrometer", "second"):
        try:
            return name, float(pint.get_application_registry().Quantity(1, unit).to(name).magnitude)
        except (TypeError, AttributeError):  # as pint calls another dimension, and a name that it does not know
            continue
    return PIXEL, 1.0


def _losses(lost: Sequence[str], steps: Mapping[str, tuple[float, str]]) -> list[str]:
    """Say what the file does not tell, or tells wrong."""
    notes, unit = [], steps["X"][1]
    if lost:
        notes.append(f"TIFF cannot store the layer's {listed(lost)}; its pixels are written as they are.")
    if unit == PIXEL:
        notes.append("Neither the layer nor its file says how large a pixel is; the file counts in pixels.")
    elif odd := [axis for axis in "YZ" if axis in steps and convert(1.0, steps[axis][1], unit) is None]:
        notes.append(f"{listed(odd)} has no unit of length; Fiji will read its step as {steps[odd[0]][0]:g} {unit}.")
    if "T" in steps and not is_time(steps["T"][1]) and steps["T"] != (1.0, PIXEL):
        notes.append("The step of T has no unit of time; it is not written.")
    return notes


# ---- what the file says ------------------------------------------------------------------------------------


def _fit(shape: tuple[int, ...], grid: Grid) -> list[str] | None:
    """Find the letter of each axis of a layer in its file, "" where that is not clear; None if Y and X do not fit."""
    found = dict(zip(grid.axes, grid.shape, strict=True))
    if (found.get("Y"), found.get("X")) != shape[-2:]:
        return None
    leading = [(axis, n) for axis, n in zip(grid.axes, grid.shape, strict=True) if axis not in "YX" and n > 1]
    long = [n for n in shape[:-2] if n > 1]
    letters: list[str] = []
    for more in range(len(long)):  # axes that the file does not have, as that of epochs, come before its own
        ways = [way for way in combinations(leading, len(long) - more) if [n for _, n in way] == long[more:]]
        if ways:  # channels are split first
            best = min(ways, key=lambda way: sum(axis not in "CS" for axis, _ in set(leading) - set(way)))
            letters = [axis if axis in "TZC" else "" for axis, _ in best]
            break
    each = iter([""] * (len(long) - len(letters)) + letters)
    return [*(next(each) if n > 1 else "" for n in shape[:-2]), "Y", "X"]


def _agrees(mine: tuple[float, str], theirs: tuple[float, str]) -> bool:
    """Test whether a step of a layer says the same as that in its file, or nothing."""
    if mine[1] == PIXEL:
        return bool(np.any(np.isclose(mine[0], (1.0, theirs[0]), rtol=0.01)))
    size = convert(*mine, theirs[1])
    return size is not None and bool(np.isclose(size, theirs[0], rtol=0.01))


def _sizes(steps: Sequence[tuple[float, str]]) -> str:
    """Write steps in words: "2 second x 0.1 x 0.1 micrometer"."""
    units = [unit for _, unit in steps]
    named = [unit if unit != after else "" for unit, after in zip(units, [*units[1:], ""], strict=True)]
    return " x ".join(f"{size:.4g} {unit}".strip() for (size, _), unit in zip(steps, named, strict=True))


def _is_unnamed(label: str) -> bool:
    """Test for the names that napari gives: "-3"."""
    return not label.strip(" -0123456789")
