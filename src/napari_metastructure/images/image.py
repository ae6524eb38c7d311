"""An image as every floor hands it on: pixels, axes, voxel size, unit, name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_metastructure.errors import InputError


@dataclass(frozen=True)
class Image:
    """Pixels with named axes and physical scale.

    Attributes
    ----------
    data : array
        Pixels, any real dtype.
    axes : str
        One letter per dimension of ``data``, a subset of ``TCZYXS`` that holds Y and X; S = RGB(A) samples.
    scale : tuple of float
        Size of one step along each axis, in ``units`` (1 for C and S).
    units : tuple of str
        Unit of each axis as pint spells it: ``"micrometer"``, ``"second"``, ``"pixel"`` if unknown.
    name : str
        What messages and output files call it (a file's stem, a layer's name).
    source : Path, optional
        The file it came from.
    """

    data: np.ndarray
    axes: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    name: str
    source: Path | None = None

    def __post_init__(self) -> None:
        n = self.data.ndim
        if not (len(self.axes) == len(self.scale) == len(self.units) == n):
            raise InputError(f"{self.name}: {n} dimensions but axes {self.axes!r}, scale {self.scale}; give one each.")
        if "Y" not in self.axes or "X" not in self.axes:
            raise InputError(f"{self.name}: axes {self.axes!r} lack Y or X; an image needs both.")
