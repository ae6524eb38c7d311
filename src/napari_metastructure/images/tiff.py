"""TIFF files to images: axes, voxel size and unit from ImageJ, OME or tifffile's own metadata."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.units import PIXEL, pint_name

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

Step = tuple[float, str]
"""Size of one step along an axis, and its unit."""


def read_tiff(path: Path) -> tuple[np.ndarray, str, dict[str, Step]]:
    """Pixels, axes, and the steps along the axes that the file gives (the others are one pixel).

    Page axes without a name are taken for Z, T, C, in this order, as Fiji takes a plain stack for slices.
    The dots per inch of a plain TIFF say how to print it, not how large a pixel is, and are left aside.

    Raises
    ------
    InputError
        If the file is damaged, cut short, or of a kind that cannot be read.
    """
    import tifffile

    with _complaints() as complaints, tifffile.TiffFile(path) as tif:
        if not tif.series:
            raise InputError(f"{path} holds no image; export it again as TIFF.")
        series = tif.series[0]
        if len(tif.series) > 1:
            warn(f"{path.name} holds {len(tif.series)} images; only the first is read.", stacklevel=3)
        _check_whole(path, tif, series)
        try:
            data = np.asarray(series.asarray())
        except ValueError as error:
            if "imagecodecs" in str(error) or "COMPRESSION" in str(error):
                raise InputError(
                    f"{path} uses a compression that cannot be read ({error}); save it without."
                ) from error
            raise
        axes, data = _named(series.axes, data, path)
        steps = _steps(tif)
    if complaints:  # tifffile logs a broken chain of pages and goes on with those it found
        raise InputError(f"{path} is damaged or cut short ({complaints[0]}); copy or export it again.")
    return data, axes, steps


def _check_whole(path: Path, tif: TiffFile, series: TiffPageSeries) -> None:
    """Refuse a file that ends before its pixels do: some readers fill the rest with zeros."""
    size = tif.filehandle.size
    end = (series.dataoffset or 0) + series.nbytes if series.dataoffset is not None else 0
    pages = [page for page in series.pages if page is not None]
    for page in pages:
        end = max([end, *(o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))])
    if end > size:
        raise InputError(f"{path} is cut short: it should hold {end} bytes and has {size}; copy or export it again.")
    if len(pages) < len(series.pages):
        raise InputError(f"{path} lacks {len(series.pages) - len(pages)} of its planes; copy or export it again.")


def _named(axes: str, data: np.ndarray, path: Path) -> tuple[str, np.ndarray]:
    """Give each axis a letter of TCZYXS; drop nameless axes of length one."""
    known = set(axes) & set("TCZYXS")
    free = [a for a in "ZTC" if a not in known]
    letters, shape = "", []
    for letter, size in zip(axes, data.shape, strict=True):
        if letter not in "TCZYXS":
            if size == 1:
                continue
            if not free:
                raise InputError(f"{path} has axes {axes!r}, more than T, C and Z; save one position by itself.")
            letter = free.pop(0)
        letters += letter
        shape.append(size)
    return letters, data.reshape(shape)


def _steps(tif: TiffFile) -> dict[str, Step]:
    if tif.is_ome:
        return _ome_steps(tif)
    if tif.is_imagej:
        return _imagej_steps(tif)
    return {}


def _imagej_steps(tif: TiffFile) -> dict[str, Step]:
    """From the resolution tags (pixels per unit) and the lines of ImageJ's description."""
    facts = tif.imagej_metadata or {}
    page = tif.pages.first
    unit = pint_name(facts.get("unit"))
    if unit == PIXEL and page.tags.valueof("ResolutionUnit") in (2, 3):
        unit = {2: "inch", 3: "centimeter"}[int(page.tags.valueof("ResolutionUnit"))]  # ImageJ's cm and inch
    steps: dict[str, Step] = {}
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        value = page.tags.valueof(tag)
        if value and value[0] and value[1]:
            steps[axis] = (value[1] / value[0], pint_name(facts.get("yunit", unit)) if axis == "Y" else unit)
    if "spacing" in facts:
        steps["Z"] = (abs(_number(facts["spacing"])), pint_name(facts.get("zunit", unit)))
    interval = _number(facts.get("finterval")) or (1 / _number(facts["fps"]) if _number(facts.get("fps")) else 0)
    if interval:
        steps["T"] = (interval, "second")
    return {axis: step for axis, step in steps.items() if step[0] > 0 and np.isfinite(step[0])}


def _ome_steps(tif: TiffFile) -> dict[str, Step]:
    """From the attributes of the first image's Pixels element."""
    import tifffile

    image = tifffile.xml2dict(tif.ome_metadata or "").get("OME", {}).get("Image", {})
    pixels = (image[0] if isinstance(image, list) else image).get("Pixels", {})
    steps: dict[str, Step] = {}
    for axis in "XYZ":
        value = _number(pixels.get(f"PhysicalSize{axis}"))
        if value > 0:
            steps[axis] = (value, pint_name(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
    interval = _number(pixels.get("TimeIncrement"))
    if interval > 0:
        steps["T"] = (interval, pint_name(pixels.get("TimeIncrementUnit", "s")))
    return steps


def _number(value: Any) -> float:
    """A number from metadata; 0 for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) else 0.0


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs as an error in place of raising."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage().splitlines()[0][:120])

    handler = Collect(logging.ERROR)
    log = logging.getLogger("tifffile")
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
