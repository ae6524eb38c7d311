"""Spellings of length and time units: as files write them, as pint names them, as Fiji and OME read them."""

from __future__ import annotations

PIXEL = "pixel"

# pint's name: (metres or seconds, what ImageJ writes, what OME-XML writes, further spellings found in files)
_TABLE: dict[str, tuple[float, str, str, tuple[str, ...]]] = {
    "angstrom": (1e-10, "A", "Å", ("angstroms", "Å")),
    "nanometer": (1e-9, "nm", "nm", ("nanometre", "nanometers", "nanometres")),
    "micrometer": (
        1e-6, "micron", "µm",
        ("um", "μm", "microns", "micrometre", "micrometers", "micrometres", "\\u00B5m", "\\u03BCm", "µ", "u"),
    ),
    "millimeter": (1e-3, "mm", "mm", ("millimetre", "millimeters", "millimetres")),
    "centimeter": (1e-2, "cm", "cm", ("centimetre", "centimeters", "centimetres")),
    "meter": (1.0, "m", "m", ("metre", "meters", "metres")),
    "inch": (0.0254, "inch", "in", ("inches",)),
    "millisecond": (1e-3, "ms", "ms", ("msec", "milliseconds")),
    "second": (1.0, "sec", "s", ("seconds",)),
    "minute": (60.0, "min", "min", ("minutes",)),
    "hour": (3600.0, "h", "h", ("hr", "hours")),
}  # fmt: skip
_TIMES = {"millisecond", "second", "minute", "hour"}
_SPELLINGS = {word.casefold(): name for name, (_, *main, more) in _TABLE.items() for word in (name, *main, *more)}


def pint_name(unit: str | None) -> str:
    """The unit as pint names it (``"µm"``, ``"micron"``, ``"um"`` -> ``"micrometer"``); ``"pixel"`` if unknown."""
    return _SPELLINGS.get(str(unit).strip().casefold(), PIXEL)


def convert(value: float, unit: str, to: str) -> float | None:
    """``value`` in another unit of the same kind; None where there is no way between the two."""
    if unit == to:
        return value
    if unit not in _TABLE or to not in _TABLE or (unit in _TIMES) != (to in _TIMES):
        return None
    return value * _TABLE[unit][0] / _TABLE[to][0]


def is_time(unit: str) -> bool:
    """Whether a pint name is a unit of time."""
    return unit in _TIMES


def imagej_name(unit: str) -> str:
    """The unit as Fiji reads it from an ImageJ TIFF (ASCII: ``"micron"`` shows as µm)."""
    return _TABLE[unit][1] if unit in _TABLE else PIXEL


def ome_name(unit: str) -> str:
    """The unit's symbol in OME-XML."""
    return _TABLE[unit][2] if unit in _TABLE else PIXEL
