"""CZI, ND2 and LIF files, read by bioio where the optional extra ``formats`` is installed."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.image import PIXEL, Step, check_memory, pint_name
from napari_metastructure.images.read_options import name_axes, pick_series, spare_letter

_READERS = {
    ".czi": ("CZI", "bioio_czi"),
    ".nd2": ("ND2", "bioio_nd2"),
    ".lif": ("LIF", "bioio_lif"),
}

_IN_MICROMETERS = ("CZI", "ND2", "LIF")
"""Formats whose readers give lengths in micrometres and times in seconds where they name no unit."""


def kind_of(path: Path) -> str | None:
    """Find the format by the name's ending; None for another one."""
    kind, _ = _READERS.get(path.suffix.lower(), (None, ""))
    return None if path.is_dir() else kind


def read_format(path: Path) -> tuple[np.ndarray, str, dict[str, Step]]:
    """Read pixels, axes, and the steps along the axes that the file gives.

    Raises
    ------
    InputError
        Where the reader is not installed; it says how to install it.
    """
    kind, module = _READERS[path.suffix.lower()]
    try:
        bioio, reader = importlib.import_module("bioio"), importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{path} is {kind}, which needs more libraries ({error.name or module} is missing): "
            'pip install "napari-metastructure[formats]", or export it as OME-TIFF.'
        ) from error
    try:
        return _read(bioio.BioImage(str(path), reader=reader.Reader), path, kind)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # readers raise whatever they meet
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read by {module} ({reason}); export it as OME-TIFF.") from error


def _read(image: Any, path: Path, kind: str) -> tuple[np.ndarray, str, dict[str, Step]]:
    """Read the scenes chosen of a BioImage."""
    shapes, axes = [], []
    for scene in image.scenes:
        image.set_scene(scene)
        order, shape = image.dims.order, tuple(image.shape)
        kept = [i for i, (letter, size) in enumerate(zip(order, shape, strict=True)) if letter in "YX" or size > 1]
        axes.append("".join(order[i] for i in kept))
        shapes.append(tuple(shape[i] for i in kept))
    picked = pick_series(shapes, axes, path)
    check_memory(path, sum(float(np.prod(shapes[i], dtype=float)) for i in picked) * np.dtype(image.dtype).itemsize)
    found: list[np.ndarray] = []
    for i in reversed(picked):  # the first is the one in force at the end
        image.set_scene(image.scenes[i])
        found.insert(0, np.asarray(image.data).reshape(shapes[i]))
    letters = axes[picked[0]]
    if len(found) > 1:
        letters, found = f"{spare_letter(letters)}{letters}", [np.stack(found)]
    letters, data = name_axes(letters, found[0], path)
    return data, letters, _steps(image, kind)


def _steps(image: Any, kind: str) -> dict[str, Step]:
    """Find the steps of the scene in force."""
    steps: dict[str, Step] = {}
    for axis in "TZYX":
        size = getattr(image.scale, axis, None)
        unit = getattr(getattr(image.dimension_properties, axis), "unit", None)
        if unit is None and kind in _IN_MICROMETERS:
            unit = "second" if axis == "T" else "micrometer"
        if size and np.isfinite(size) and size > 0 and (unit is None or pint_name(str(unit)) != PIXEL):
            steps[axis] = (float(size), pint_name(str(unit)))
    return steps
