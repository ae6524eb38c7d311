"""Measurements of objects in label images: size, shape, intensity and skeleton in the unit of the image, as a table."""

import csv
import math
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.image import PIXEL, convert, ome_name, parse_length, snapped
from napari_metastructure.images.writing import replacing
from napari_metastructure.labels.classes import PlaneDone
from napari_metastructure.labels.regions import Blocks, Numbering, result_of  # noqa: F401 - for the example

Steps = Sequence[tuple[float, str]]
"""Size of a pixel along each axis, with its unit as pint names it."""

Row = dict[str, float]

NO_UNIT = "unit"
"""Unit of sizes where the file gives a scale without a unit."""

POWERS = {
    "area": 2, "volume": 3, "perimeter": 1, "equivalent diameter": 1, "z": 1, "y": 1, "x": 1, "skeleton length": 1,
    "mean branch length": 1,
}  # fmt: skip
"""Columns that have a unit, and the power of that unit."""

WHOLE = ("label", "class", "branches", "end points", "junctions")
"""Columns of whole numbers; those of places are too."""

BATCH = 50
"""Objects measured between two signs of life, at which a caller may stop."""


# ---- units ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Voxel:
    """Size of a pixel or voxel along its two or three axes, in one unit.

    Attributes
    ----------
    steps : tuple of float
    unit : str
        As pint names it, ``"pixel"`` where pixels are counted, or ``NO_UNIT``.
    """

    steps: tuple[float, ...]
    unit: str

    @classmethod
    def of(cls, steps: Steps, unit: str | None = None) -> Self:
        """Bring steps along axes to one unit, that of X or the one given.

        Where one of them has another kind of unit, or none, pixels are counted.
        """
        unit = steps[-1][1] if unit is None else unit
        sizes = [convert(size, own, unit) for size, own in steps]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes) or (unit == PIXEL and np.allclose(known, 1)):
            return cls((1.0,) * len(sizes), PIXEL)
        if np.allclose(known, known[-1], rtol=1e-4, atol=0):
            known = known[-1:] * len(known)
        return cls(tuple(known), NO_UNIT if unit == PIXEL else unit)

    @property
    def symbol(self) -> str:
        """The unit as it is printed: ``"µm"``, ``"px"``."""
        return "px" if self.unit == PIXEL else self.unit if self.unit == NO_UNIT else ome_name(self.unit)

    @property
    def of_size(self) -> str:
        """The unit of areas or volumes as it is printed: ``"µm²"``, ``"px"``."""
        return power_of(self.symbol, len(self.steps))

    @property
    def size(self) -> float:
        """Area or volume."""
        return float(np.prod(self.steps))

    @property
    def isotropic(self) -> bool:
        """Whether all steps are equal."""
        return len(set(self.steps)) == 1

    def pixels(self, text: str) -> float:
        """Read an area or volume as users write it, ``"20"`` pixels or ``"0.5 um2"``, as a number of pixels.

        Raises
        ------
        InputError
            For other text, and where no unit is known.
        """
        power = len(self.steps)
        unit = rf"px|pixels?|([^\W\d_]+)\s*\^?[{power}{'²³'[power - 2]}]"
        match = re.fullmatch(rf"\s*(\S*?)\s*(?:{unit})?\s*", text)
        try:
            number, name = (float(match[1]), match[2]) if match else (math.nan, None)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= 0):
            raise InputError(f"{text!r}: give a number of pixels from 0, or one with a unit, as '1.5 um{power}'.")
        if name is None:
            return number
        side = convert(1.0, parse_length(f"1 {name}")[1], self.unit)
        if side is None:
            raise InputError(f"{text!r}: the voxel size is not known in a unit of length; give a number of pixels.")
        return snapped(number * side**power / self.size)


def power_of(unit: str, power: int) -> str:
    """Write a power of a unit: ``"µm²"``; pixels are counted."""
    return unit if power == 1 or unit == "px" else f"{unit}{'²³'[power - 2]}"


# ---- the table -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RegionTable:
    """A row of measurements for each object.

    Attributes
    ----------
    columns : dict of str to (N,) array
        By name; whole numbers as int64, others as float64, NaN where there is none.
    unit : str
        That of lengths.
    places : (N, L) array of int
        Where the object's plane or volume is along the leading axes.
    boxes : (N, 2, D) array of int
        First pixel, and the one past the last, along the axes of that plane or volume.
    notes : tuple of str
        Sentences on what was left out.
    """

    columns: dict[str, np.ndarray]
    unit: str
    places: np.ndarray
    boxes: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.boxes)

    def heads(self) -> list[str]:
        """Name the columns, with their units: ``"area (µm²)"``."""
        powers = {name: POWERS[name] for name in self.columns if name in POWERS}
        return [f"{n} ({power_of(self.unit, powers[n])})" if n in powers else n for n in self.columns]


def write_csv(path: str | Path, tables: Sequence[RegionTable], files: Sequence[str] = ()) -> None:
    """Write tables below each other as CSV, whole or not at all: UTF-8, the units in the heads spelled in ASCII.

    Parameters
    ----------
    path : str or Path
    tables : sequence of RegionTable
        Of the same unit. A column that one of them lacks is empty there.
    files : sequence of str
        What to write before the rows of each table; the first column, if given.

    Raises
    ------
    InputError
        If the file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from napari_metastructure.labels.regions import Blocks, result_of
    >>> mask = np.pad(np.ones((2, 3), int), 1)
    >>> blocks = Blocks(mask.shape, lambda index: mask)
    >>> table, objects = result_of(measure(blocks, Wanted(Voxel((0.5, 0.5), "micrometer"))))
    >>> with TemporaryDirectory() as folder:
    ...     write_csv(Path(folder) / "table.csv", [table])
    ...     lines = (Path(folder) / "table.csv").read_text(encoding="utf-8").splitlines()
    >>> [line.split(",")[:2] for line in lines]
    [['label', 'area (um^2)'], ['1', '1.5']]
    """
    heads = list(dict.fromkeys(head for table in tables for head in table.heads()))
    spelled = str.maketrans({"µ": "u", "²": "^2", "³": "^3", "Å": "A"})
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(["file"] if files else []), *(head.translate(spelled) for head in heads)])
        for number, table in enumerate(tables):
            own = dict(zip(table.heads(), table.columns.values(), strict=True))
            lines = zip(*(own[h].tolist() if h in own else [""] * len(table) for h in heads), strict=True)
            first = [files[number]] if files else []
            for line in lines:
                writer.writerow([*first, *("" if v != v else f"{v:.7g}" if isinstance(v, float) else v for v in line)])


# ---- measuring -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Options of `measure`.

    Attributes
    ----------
    voxel : Voxel
        Of two axes, or of three to measure volumes.
    leading : tuple of str
        Name of each axis before those; their columns are numbers from 0.
    intensity : callable, optional
        Returns the image's pixels for a plane or volume at a place.
    skeleton : bool
        Measure skeletons too; needs skan, see `check_skan`.
    """

    voxel: Voxel
    leading: tuple[str, ...] = ()
    intensity: Callable[[tuple[int, ...]], np.ndarray] | None = None
    skeleton: bool = False

    @property
    def volumes(self) -> bool:
        """Whether objects run through slices."""
        return len(self.voxel.steps) == 3

    def notes(self) -> Iterator[str]:
        """Say what cannot be measured, and what units mean."""
        if not self.volumes and not self.voxel.isotropic:
            steps = " x ".join(f"{step:g}" for step in self.voxel.steps)
            yield (
                f"Pixels of {steps} {self.voxel.symbol} are not square, and a perimeter would not be right: it is left "
                "out; resample the image to square pixels to have it."
            )
        if self.voxel.unit == NO_UNIT:
            yield "There is a scale but no unit: sizes are in units of the scale."


class Measured(NamedTuple):
    """Results of `measure`."""

    table: RegionTable
    objects: np.ndarray | None
    """The objects, numbered, in the shape of the labels; None where the labels number them already."""


def check_skan() -> None:
    """Refuse skeletons where skan is not installed.

    Raises
    ------
    InputError
        It says how to install it.
    """
    if find_spec("skan") is None:
        raise InputError(
            "Skeletons are measured by skan, which is not installed; pip install 'napari-metastructure[skeleton]', or "
            "leave them out."
        )


def measure(blocks: Blocks, wanted: Wanted) -> Generator[PlaneDone, None, Measured]:
    """Measure the objects of labels: those that their numbers count, or connected regions of a class.

    Columns are label, class (where there are several), places along leading axes, area or volume, perimeter (Crofton's
    formula in four directions), diameter of the disc or ball of the same size, eccentricity, solidity, intensities,
    centroid (of the pixels' centres, from the first pixel) and skeleton measures. Perimeter, eccentricity and solidity
    are of planes only.

    Parameters
    ----------
    blocks : Blocks
        Volumes for a voxel of three axes.
    wanted : Wanted

    Yields
    ------
    PlaneDone
        As work goes on; a caller may stop there.

    Returns
    -------
    Measured
        See `napari_metastructure.labels.regions.result_of`.

    Raises
    ------
    InputError
        As `check_skan`.

    Examples
    --------
    >>> square = np.pad(np.ones((10, 10), int), 3)
    >>> blocks = Blocks(square.shape, lambda index: square)
    >>> table, objects = result_of(measure(blocks, Wanted(Voxel.of([(0.5, "micrometer")] * 2))))
    >>> table.heads()[1], table.columns["area"]
    ('area (µm²)', array([25.]))
    """
    if wanted.skeleton:
        check_skan()
    objects = None if blocks.numbered else np.zeros(blocks.shape, np.int32)
    numbering, found, places = Numbering(), _Rows(), blocks.places
    for done, place in enumerate(places):
        numbers = blocks[place]
        block = np.maximum(numbers, 0)
        if objects is not None:
            block = objects[place] = numbering(numbers)
        for share in _measure_block(block, numbers if blocks.several else None, place, wanted, found):
            yield PlaneDone(100 * done + int(100 * share), 100 * len(places))
    return Measured(found.table(wanted), objects)


@dataclass
class _Rows:
    """Rows as they come."""

    rows: list[Row] = field(default_factory=list)
    places: list[tuple[int, ...]] = field(default_factory=list)
    boxes: list[tuple[int, ...]] = field(default_factory=list)

    def table(self, wanted: Wanted) -> RegionTable:
        """Turn rows into columns."""
        names = list(self.rows[0]) if self.rows else ["label", *wanted.leading]
        whole = {*WHOLE, *wanted.leading}
        return RegionTable(
            {n: np.array([row[n] for row in self.rows], np.int64 if n in whole else float) for n in names},
            wanted.voxel.symbol,
            np.array(self.places, int).reshape(len(self.rows), len(wanted.leading)),
            np.array(self.boxes, int).reshape(-1, 2, len(wanted.voxel.steps)),
            tuple(wanted.notes()),
        )


def _measure_block(
    block: np.ndarray, classes: np.ndarray | None, place: tuple[int, ...], wanted: Wanted, found: _Rows
) -> Iterator[float]:
    """Add a row for each object of a plane or volume; yield the share that is done."""
    from skimage.measure import regionprops

    image = None if wanted.intensity is None else wanted.intensity(place)
    labels, codes = np.unique(block, return_inverse=True)  # numbers may be as large as they like
    first = 0 if labels[0] == 0 else 1
    regions = regionprops(codes.reshape(block.shape) + first, spacing=wanted.voxel.steps)
    for number, region in enumerate(regions):
        row: Row = {"label": int(labels[region.label - first])}
        if classes is not None:
            row["class"] = int(classes[region.slice][region.image][0])
        row |= dict(zip(wanted.leading, place, strict=True))
        row |= _shape(region, wanted)
        if image is not None:
            row |= _intensity(np.asarray(image[region.slice])[region.image])
        row |= dict(zip("zyx"[-block.ndim :], map(float, region.centroid), strict=True))
        if wanted.skeleton:
            row |= _skeleton(region.image, wanted.voxel.steps)
        found.rows.append(row)
        found.places.append(place)
        found.boxes.append(region.bbox)
        if number % BATCH == 0:
            yield number / len(regions)
    yield 1.0


def _shape(region: Any, wanted: Wanted) -> Row:
    size = float(region.area)
    if wanted.volumes:
        return {"volume": size, "equivalent diameter": float(region.equivalent_diameter_area)}
    perimeter = {"perimeter": float(region.perimeter_crofton)} if wanted.voxel.isotropic else {}
    return {
        "area": size,
        **perimeter,
        "equivalent diameter": float(region.equivalent_diameter_area),
        "eccentricity": float(region.eccentricity),
        "solidity": float(region.solidity),
    }


def _intensity(values: np.ndarray) -> Row:
    """Measure the pixels that hold a number; NaN if none does."""
    values = values[np.isfinite(values)]
    names = ("mean intensity", "min intensity", "max intensity")
    if not values.size:
        return dict.fromkeys(names, np.nan)
    return dict(zip(names, map(float, (values.mean(dtype=float), values.min(), values.max())), strict=True))


# ---- skeletons -----------------------------------------------------------------------------------------------


def _skeleton(mask: np.ndarray, steps: tuple[float, ...]) -> Row:
    """Measure the graph of an object's skeleton: a junction is where three or more branches meet, be it many pixels."""
    from skan import Skeleton
    from skimage.measure import label
    from skimage.morphology import skeletonize

    thin = skeletonize(np.pad(mask, 1))
    length, branches, ends, junctions = 0.0, 0, 0, 0
    if np.count_nonzero(thin) > 1:  # skan takes no single pixels
        graph = Skeleton(thin, spacing=steps)
        paths, crossing = graph.paths, graph.degrees > 2
        length = float(graph.path_lengths().sum())
        pixels = np.diff(paths.indptr)
        tips = paths.indices[paths.indptr[:-1]], paths.indices[paths.indptr[1:] - 1]
        inside = (pixels == 2) & crossing[tips[0]] & crossing[tips[1]]  # steps within one junction
        branches, ends = int(np.count_nonzero(~inside)), int(np.count_nonzero(graph.degrees == 1))
        places = np.zeros(thin.shape, bool)
        places[tuple(graph.coordinates[crossing].T)] = True
        junctions = int(label(places, return_num=True)[1])
    return {
        "skeleton length": length,
        "branches": branches,
        "end points": ends,
        "junctions": junctions,
        "mean branch length": length / branches if branches else 0.0,
    }
