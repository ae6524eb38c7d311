"""Images with named axes, voxel size and unit; their 2D planes, and units as files and pint spell them."""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np

from napari_metastructure.errors import InputError, counted, listed, span
from napari_metastructure.images.lazy import Plane, is_lazy


@dataclass(frozen=True)
class Image:
    """Pixels with named axes and physical scale.

    Attributes
    ----------
    data : array
        Pixels, any real dtype; those of a large file may be lazy (`images.lazy.Source`).
    axes : str
        One letter per dimension of ``data``, a subset of ``TCZYXS`` that holds Y and X; S = RGB(A) samples.
    scale : tuple of float
        Size of one step along each axis, in ``units`` (1 for C and S).
    units : tuple of str
        Unit of each axis as pint spells it: ``"micrometer"``, ``"second"``, ``"pixel"`` if unknown.
    name : str
        Its name in messages and output files (a file's stem, a layer's name).
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


def note(sentence: str) -> None:
    """Warn the user about a file, as a warning of the caller outside ``images``, see `files.noting`."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("napari_metastructure.images"):
        level, frame = level + 1, frame.f_back
    warn(sentence, stacklevel=level)


def check_memory(path: Path, size: float) -> None:
    """Refuse to read more bytes than the computer has free.

    Raises
    ------
    InputError
        With both numbers.
    """
    import psutil

    if size > (free := psutil.virtual_memory().available):
        raise InputError(
            f"{path} takes {size / 2**30:.1f} GB of memory and {free / 2**30:.1f} GB are free; close other programs "
            "or cut it into parts."
        )


# Planes: from an image of many axes to what a network sees, and back.

# Rec. 709 luminance of linear RGB, as scikit-image's rgb2gray weighs it.
_LUMINANCE = np.array([0.2125, 0.7154, 0.0721], dtype=np.float32)

_COLOURS = ("red", "green", "blue", "alpha")


def planes(image: Image, channel: int | str | None = None) -> list[np.ndarray]:
    """Cut an image into its 2D planes, slices of Z running fastest and frames of T slowest.

    Parameters
    ----------
    image : Image
        Any of the axes ``TCZYXS``.
    channel : int or str, optional
        Which channel: a number from 0, or for RGB(A) images ``"red"``, ``"green"``, ``"blue"``,
        ``"alpha"`` or ``"luminance"``. By default an RGB(A) image is reduced to its luminance
        (0.2125 R + 0.7154 G + 0.0721 B, alpha dropped), and an image of several channels is refused.

    Returns
    -------
    list of (Y, X) arrays
        Of the image's dtype; float32 for a luminance. Of lazy pixels each is a `images.lazy.Plane`.

    Raises
    ------
    InputError
        Where a channel has to be named, or the one named is not there.
    """
    if is_lazy(image.data):
        return _lazy_planes(image, lambda window: planes(window, channel)[0])
    data, axes = _one_channel(image, channel)
    order = [axes.index(a) for a in "TZYX" if a in axes]
    data = data.transpose(order)
    return list(data.reshape(-1, *data.shape[-2:]))


def channel_planes(image: Image, channels: int, channel: int | str | None = None) -> list[np.ndarray]:
    """Cut an image into planes of a given number of channels, in the order of `planes`.

    Parameters
    ----------
    image : Image
        Any of the axes ``TCZYXS``.
    channels : int
        With 1, `planes` does it. With more, the image needs as many along C, or as colours (alpha may be left over).
    channel : int or str, optional
        As in `planes`; there is nothing to choose where all channels are taken.

    Returns
    -------
    list of (Y, X) arrays, or of (channels, Y, X) arrays for more than one

    Raises
    ------
    InputError
        As `planes`, or where the image has another number of channels.
    """
    if is_lazy(image.data):
        return _lazy_planes(image, lambda window: channel_planes(window, channels, channel)[0])
    if channels == 1:
        return planes(image, channel)
    if channel is not None:
        raise InputError(f"All {channels} channels of {image.name} are taken; leave out the option channel.")
    sizes = {a: image.data.shape[image.axes.index(a)] for a in image.axes}
    axis = "C" if sizes.get("C", 1) > 1 or "S" not in sizes else "S"
    found = sizes.get(axis, 1)
    if axis == "C" and sizes.get("S", 1) > 1:
        raise InputError(f"{image.name} has channels and colours at once; save it without colours.")
    if found != channels and not (axis == "S" and found == 4 and channels == 3):
        has = counted(found, "channel")
        raise InputError(
            f"{image.name} has {has}, but {channels} are needed; give images of {counted(channels, 'channel')}."
        )
    dropped = tuple(i for i, a in enumerate(image.axes) if a in "CS" and a != axis)  # of length one
    data, axes = image.data.squeeze(dropped), "".join(a for a in image.axes if a == axis or a not in "CS")
    data = data.transpose([axes.index(a) for a in ("T", "Z", axis, "Y", "X") if a in axes])
    return list(data.reshape(-1, *data.shape[-3:])[:, :channels])


def _lazy_planes(image: Image, cut: Callable[[Image], np.ndarray]) -> Any:
    """Return a `Plane` for each T and Z, whose windows are what ``cut`` makes of the image there."""

    def window(at: tuple[int, ...], rows: slice, columns: slice) -> np.ndarray:
        place = dict(zip(leading, (slice(i, i + 1) for i in at), strict=True)) | {"Y": rows, "X": columns}
        return cut(replace(image, data=image.data[tuple(place.get(a, slice(None)) for a in image.axes)]))

    leading = [a for a in "TZ" if a in image.axes]
    sizes = {a: image.data.shape[image.axes.index(a)] for a in image.axes}
    empty = tuple(1 if a in "TZYX" else sizes[a] for a in image.axes)
    like = cut(replace(image, data=np.zeros(empty, image.data.dtype)))  # whether it can be, and what it gives
    shape = (*like.shape[:-2], sizes["Y"], sizes["X"])
    return [Plane(shape, like.dtype, partial(window, at)) for at in np.ndindex(*(sizes[a] for a in leading))]


def extent(image: Image) -> tuple[int, ...]:
    """Return the size along T, Z, Y and X, as far as the image has them."""
    return tuple(image.data.shape[image.axes.index(a)] for a in "TZYX" if a in image.axes)


def plane_count(image: Image) -> int:
    """Count the planes of an image."""
    return int(np.prod([n for axis, n in zip(image.axes, image.data.shape, strict=True) if axis in "TZ"], dtype=int))


def plane_names(image: Image) -> list[str]:
    """Name each plane for messages: ``"cells"``, or ``"cells (T=0, Z=3)"``."""
    leading = [(a, image.data.shape[image.axes.index(a)]) for a in "TZ" if a in image.axes]
    names = []
    for index in np.ndindex(*(size for _, size in leading)):
        place = ", ".join(f"{a}={i}" for (a, _), i in zip(leading, index, strict=True))
        names.append(f"{image.name} ({place})" if place else image.name)
    return names


def stack(planes: Sequence[np.ndarray], like: Image) -> Image:
    """Put planes back together, the inverse of `planes`: the same T and Z, scale, unit and name.

    Parameters
    ----------
    planes : sequence of (Y, X) arrays
        One per plane of ``like``, in the order of `planes`.
    like : Image
        Where they came from; its C and S axes have no counterpart in the result.

    Returns
    -------
    Image
        Axes in the order of ``like``.

    Raises
    ------
    InputError
        If the number of planes or their size does not fit.
    """
    axes = "".join(a for a in like.axes if a not in "CS")
    sizes = {a: like.data.shape[like.axes.index(a)] for a in axes}
    canonical = "".join(a for a in "TZYX" if a in axes)
    shape = tuple(sizes[a] for a in canonical)
    count = int(np.prod(shape[:-2]))
    if len(planes) != count or any(p.shape != shape[-2:] for p in planes):
        found = sorted({p.shape for p in planes})
        raise InputError(f"{like.name}: {len(planes)} planes of sizes {found} do not fit its {count} of {shape[-2:]}.")
    data = np.stack(planes).reshape(shape).transpose([canonical.index(a) for a in axes])
    where = [like.axes.index(a) for a in axes]
    return replace(
        like,
        data=data,
        axes=axes,
        scale=tuple(like.scale[i] for i in where),
        units=tuple(like.units[i] for i in where),
    )


def stacks(planes: Sequence[np.ndarray], like: Sequence[Image]) -> list[Image]:
    """Put the planes of several images back together; `stack` for each of them in turn."""
    ends = np.cumsum([plane_count(image) for image in like])
    return [stack(planes[end - plane_count(image) : end], like=image) for image, end in zip(like, ends, strict=True)]


def _one_channel(image: Image, channel: int | str | None) -> tuple[np.ndarray, str]:
    """Take one channel: pixels and axes without C and S."""
    data, axes = image.data, image.axes
    for axis in "CS":
        if axis in axes and data.shape[axes.index(axis)] == 1:
            data, axes = data.squeeze(axes.index(axis)), axes.replace(axis, "")
    channel = _number(channel)
    if "C" in axes:
        at, count = axes.index("C"), data.shape[axes.index("C")]
        if channel is None:
            raise InputError(
                f"{image.name} has {count} channels; choose one with the option channel "
                f"(--channel 0 to --channel {count - 1})."
            )
        data, axes = data.take(_index(image, channel, count, ()), axis=at), axes.replace("C", "")
        channel = None  # used up; colours that are left are reduced to their luminance
    if "S" in axes:
        data = np.moveaxis(data, axes.index("S"), -1)
        axes = axes.replace("S", "")
        count = data.shape[-1]
        if channel in (None, "luminance"):
            return (data[..., :3] @ _LUMINANCE if count in (3, 4) else data[..., 0]), axes
        return data[..., _index(image, channel, count, _COLOURS[:count] if count in (3, 4) else ())], axes
    if channel not in (None, 0):
        raise InputError(f"{image.name} has a single channel; leave out the option channel ({channel!r}).")
    return data, axes


def _number(channel: int | str | None) -> int | str | None:
    """Read a channel given as text, as a number where it is one."""
    if isinstance(channel, str):
        channel = channel.strip().lower()
        return int(channel) if channel.lstrip("-").isdecimal() else channel
    return channel


def _index(image: Image, channel: int | str | None, count: int, names: tuple[str, ...]) -> int:
    """Find the channel's place by its number or its name."""
    if channel in names:
        return names.index(str(channel))
    if isinstance(channel, int) and 0 <= channel < count:
        return channel
    known = f" or one of {', '.join(names)}, luminance" if names else ""
    raise InputError(f"{image.name} has no channel {channel!r}; choose {span(0, count - 1)}{known}.")


# Units of length and time: as files write them, as pint names them, as Fiji and OME read them.

PIXEL = "pixel"

# pint's name: (metres or seconds, what ImageJ writes, what OME-XML writes, further spellings found in files)
_TABLE: dict[str, tuple[float, str, str, tuple[str, ...]]] = {
    "micrometer": (1e-6, "micron", "µm", ("um", "μm", "microns", "\\u00B5m", "\\u03BCm", "µ", "u")),
    "nanometer": (1e-9, "nm", "nm", ()),
    "angstrom": (1e-10, "A", "Å", ("angstroms", "Å", "\\u00C5")),
    "inch": (0.0254, "inch", "in", ("inches",)),
    "thou": (2.54e-5, "thou", "thou", ("mil",)),
    "foot": (0.3048, "ft", "ft", ("feet",)),
    "yard": (0.9144, "yd", "yd", ("yards",)),
    "mile": (1609.344, "mi", "mi", ("miles",)),
    "astronomical_unit": (1.495978707e11, "au", "ua", ("astronomical unit",)),
    "light_year": (9.4607304725808e15, "ly", "ly", ("light year",)),
    "parsec": (3.0856775814913674e16, "pc", "pc", ("parsecs",)),
    "second": (1.0, "sec", "s", ("seconds",)),
    "minute": (60.0, "min", "min", ("minutes",)),
    "hour": (3600.0, "h", "h", ("hr", "hrs", "hours")),
    "day": (86400.0, "day", "d", ("days",)),
}

_PREFIXES = (
    ("milli", "m", 1e-3), ("centi", "c", 1e-2), ("", "", 1.0), ("pico", "p", 1e-12), ("femto", "f", 1e-15),
    ("atto", "a", 1e-18), ("deci", "d", 0.1), ("kilo", "k", 1e3), ("mega", "M", 1e6), ("giga", "G", 1e9),
    ("tera", "T", 1e12),
)  # fmt: skip
for _word, _letter, _factor in _PREFIXES:
    _TABLE.setdefault(f"{_word}meter", (_factor, f"{_letter}m", f"{_letter}m", ()))
for _word, _letter, _factor in (("milli", "m", 1e-3), ("micro", "µ", 1e-6), ("nano", "n", 1e-9), ("pico", "p", 1e-12)):
    _plain = _letter.replace("µ", "u")
    _TABLE[f"{_word}second"] = (_factor, f"{_plain}s", f"{_letter}s", (f"{_plain}sec",))

_TIMES = {name for name in _TABLE if name.endswith("second")} | {"minute", "hour", "day"}

_WORDS = {
    word: name
    for name, (_, *main, more) in _TABLE.items()
    for word in (name, f"{name}s", name.replace("meter", "metre"), name.replace("meter", "metres"), *main, *more)
}
_SPELLINGS = {word.casefold(): name for word, name in reversed(_WORDS.items())}  # of "mm" and "Mm", the first


def pint_name(unit: str | None) -> str:
    """Spell a unit as pint does (``"µm"``, ``"micron"``, ``"um"`` -> ``"micrometer"``); ``"pixel"`` if unknown."""
    word = str(unit).strip()
    return _WORDS.get(word) or _SPELLINGS.get(word.casefold(), PIXEL)


Step = tuple[float, str]
"""Size of one step along an axis, and its unit."""


def known_steps(found: Mapping[str, tuple[float, Any]], path: Path) -> dict[str, Step]:
    """Return the steps that can be made sense of, of sizes and units as a file has them; what is not known is told.

    Where only X or Y is given, pixels are square; where the unit of one of them is not known, neither has a size.
    """
    steps: dict[str, Step] = {}
    strange: dict[str, str] = {}
    for axis, (size, unit) in found.items():
        name, word = pint_name(unit), str(unit).strip()
        if not (np.isfinite(size) and size > 0):
            continue
        if name != PIXEL or word.casefold() in ("", "none", "px", "pixel", "pixels"):
            steps[axis] = (float(size), name)
        else:
            strange[axis] = word
    if strange:
        lost = {*strange, *"XY"} if {*strange} & {*"XY"} else {*strange}
        steps = {axis: step for axis, step in steps.items() if axis not in lost}
        words = listed([repr(word[:20]) for word in dict.fromkeys(strange.values())], "or")
        has = "has" if len(lost) == 1 else "have"
        note(f"{path.name}: its unit {words} is not known, so {listed(sorted(lost))} {has} no scale.")
    for known, other in ("XY", "YX"):
        if known in steps:
            steps.setdefault(other, steps[known])
    return steps


def convert(value: float, unit: str, to: str) -> float | None:
    """Convert a value to another unit of the same kind; None where there is no way between the two."""
    if unit == to:
        return value
    if unit not in _TABLE or to not in _TABLE or (unit in _TIMES) != (to in _TIMES):
        return None
    return float(f"{value * _TABLE[unit][0] / _TABLE[to][0]:.15g}")  # 0.3 um are 300 nm, not 299.99999999999994


def parse_length(text: str) -> tuple[float, str]:
    """Read a length as users write it: ``"1.5 um"``, ``"1.5 µm"``, or ``"8"`` and ``"8 px"`` for pixels.

    Returns
    -------
    (float, str)
        The number, and its unit as pint names it.

    Raises
    ------
    InputError
        If it is no number, not above 0, or has a unit that is none of length.
    """
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*)?", text)
    if match is None:
        raise InputError("give a number of pixels, or one with a unit, as '1.5 um'.")
    size, name = float(match[1]), (match[2] or "").strip()
    if not (math.isfinite(size) and size > 0):
        raise InputError("give a number above 0.")
    unit = pint_name(name)
    if (unit == PIXEL and name.casefold() not in ("", "px", "pixel", "pixels")) or is_time(unit):
        raise InputError(f"{name} is no unit of length; write um, nm or mm, or none for pixels.")
    return size, unit


def snapped(pixels: float) -> float:
    """Return a length or area in pixels, a whole number where but rounding has made it none.

    Divisions round, and so do the fractions that TIFF keeps of a voxel size: 1.1 um of pixels of 0.1 um are 11 pixels.
    """
    whole = round(pixels) if math.isfinite(pixels) else pixels
    return whole if abs(pixels - whole) <= 1e-6 * pixels else pixels


def is_time(unit: str) -> bool:
    """Test whether a pint name is a unit of time."""
    return unit in _TIMES


def imagej_name(unit: str) -> str:
    """Spell a unit as Fiji reads it from an ImageJ TIFF (ASCII: ``"micron"`` shows as µm)."""
    return _TABLE[unit][1] if unit in _TABLE else PIXEL


def ome_name(unit: str) -> str:
    """Give a unit's symbol in OME-XML."""
    return _TABLE[unit][2] if unit in _TABLE else PIXEL
