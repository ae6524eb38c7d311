"""Reading options for ambiguous image files: names of axes, and which of several images to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError, counted, span
from napari_metastructure.images.image import note

LETTERS = "TCZYXS"


@dataclass
class ReadOptions:
    """Options for all files that are read: the command line's ``--axes`` and ``--series``."""

    axes: str | None = None
    series: int | None = None


options = ReadOptions()
"""The one in force in this process; readers may run in any thread."""


def set_read_options(axes: str | None = None, series: int | None = None) -> None:
    """Set the options for all files that are read from now on; None leaves the decision to the files.

    Raises
    ------
    InputError
        For letters that name no axes, or a negative number.
    """
    letters = axes.upper() if axes is not None else None
    if letters is not None and (len(set(letters)) < len(letters) or not {*"YX"} <= set(letters) <= set(LETTERS)):
        raise InputError(f"--axes {axes}: give Y and X and any of T, Z, C and S (colours) once, as in ZYX.")
    if series is not None and series < 0:
        raise InputError(f"--series {series}: images in a file count from 0.")
    options.axes, options.series = letters, series


def name_axes(axes: str, data: Any, path: Path) -> tuple[str, Any]:
    """Give each axis a letter of TCZYXS: the user's, the file's, or what is free; drop nameless axes of length one.

    One without a name is Z, two are T and Z, three T, Z and C; several are told.

    Raises
    ------
    InputError
        For more axes than there are letters, another number of them than the user named, or none that is Y or X.
    """
    kept = [i for i, (letter, size) in enumerate(zip(axes, data.shape, strict=True)) if letter in LETTERS or size > 1]
    axes, data = "".join(axes[i] for i in kept), data.reshape([data.shape[i] for i in kept])
    if options.axes is not None:
        if len(options.axes) != data.ndim:
            raise InputError(
                f"--axes {options.axes} names {len(options.axes)} axes, but {path} has {data.ndim} "
                f"({' x '.join(map(str, data.shape))}); name as many."
            )
        return options.axes, data
    if not {*"YX"} <= set(axes):
        raise InputError(f"{path} calls its axes {axes!r}, so Y and X are open; name them by metastructure --axes.")
    nameless = sum(letter not in LETTERS for letter in axes)
    free = [a for a in "ZTC" if a not in axes]
    if nameless > len(free):
        raise InputError(f"{path} has axes {axes!r}, more than T, C and Z; save one position by itself.")
    free = sorted(free[:nameless], key="TZC".index)
    axes = "".join(letter if letter in LETTERS else free.pop(0) for letter in axes)
    if nameless > 1:
        size = " x ".join(map(str, data.shape))
        note(f"{path.name} does not name its axes; its {size} are read as {axes} (metastructure --axes changes that).")
    return axes, data


def pick_series(shapes: Sequence[tuple[int, ...]], axes: Sequence[str], path: Path) -> list[int]:
    """Choose among the images of a file, and say so: one, or those of one size, which are put together.

    Parameters
    ----------
    shapes, axes : sequence, one per image
    path : Path

    Returns
    -------
    list of int
        Several are frames of one another; the axes of the first have a letter of T and Z to spare.

    Raises
    ------
    InputError
        If there is no image of the number the user gave.
    """
    count = len(shapes)
    if options.series is not None:
        if options.series >= count:
            raise InputError(
                f"--series {options.series}: {path} holds {counted(count, 'image')}; choose {span(0, count - 1)}."
            )
        return [options.series]
    if count == 1:
        return [0]
    first = max(range(count), key=lambda i: (np.prod([float(n) for n in shapes[i]]), -i))
    alike = [i for i in range(count) if shapes[i] == shapes[first] and axes[i] == axes[first]]
    if len(alike) > 1 and spare_letter(axes[first]) is None:
        alike = [first]
    size = " x ".join(map(str, shapes[first]))
    others = sorted({" x ".join(map(str, s)) for i, s in enumerate(shapes) if i not in alike})
    if len(alike) > 1:
        read = f"the {len(alike)} of {size} are read as frames of axis {spare_letter(axes[first])}"
    else:
        read = f"only number {first}, of {size}, is read"
    left = f"; those of {', '.join(others[:3])}{' and more' if len(others) > 3 else ''} are left out" if others else ""
    note(f"{path.name} holds {count} images: {read}{left} (metastructure --series 0 to {count - 1} takes one alone).")
    return alike


def spare_letter(axes: str) -> str | None:
    """Name the axis along which images of these axes can be put together; None if there is none."""
    return next((letter for letter in "TZ" if letter not in axes), None)
