"""Planes, frames and channel of images that a user chose, as text: "1-10, 15"."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from napari_metastructure.errors import InputError, counted, span
from napari_metastructure.images.image import Image

PARTS = "Numbers from 1 and ranges of them, as 1-10, 15; empty for all."
"""How a choice is written."""


_PART = re.compile(r"(\d{1,9})\s*(?:([-‐‑‒–—:])\s*(\d{1,9})?)?")  # word processors make long dashes of short ones


def _ranges(text: str, what: str) -> list[tuple[int, int | None]]:
    """Read a text as pairs of first and last number; the last is None for an open end."""
    found: list[tuple[int, int | None]] = []
    for part in filter(None, map(str.strip, re.split(r"[,;]", text))):
        read = _PART.fullmatch(part)
        if read is None:
            raise InputError(f"{what.capitalize()} {text!r} cannot be read; write them like 1-10, 15.")
        first = int(read[1])
        last = int(read[3]) if read[3] else None if read[2] else first
        if first < 1 or (last is not None and last < first):
            raise InputError(f"{what.capitalize()} {text!r}: numbers count from 1 and ranges rise, as in 1-10, 15.")
        found.append((first, last))
    if text and not found:
        raise InputError(f"{what.capitalize()} {text!r} cannot be read; write them like 1-10, 15.")
    return found


def _numbers(text: str, what: str, count: int, name: str) -> list[int]:
    """Return the numbers, from 0 and ascending, that a text names of ``count``."""
    ranges = _ranges(text, what)
    if not ranges:
        return list(range(count))
    for first, last in ranges:
        if max(first, last or first) > count:
            has = counted(count, what[:-1])
            raise InputError(f"{name} has {has}, so there are no {what} {text.strip()!r}; choose {span(1, count)}.")
    return sorted({i for first, last in ranges for i in range(first - 1, last or count)})


@dataclass(frozen=True)
class Chosen:
    """Planes, frames and channel of images that are used.

    Attributes
    ----------
    planes, frames : str
        Numbers from 1 along the last axis before Y and X, and along the one before that; all where empty.
    channel : str
        Of images in colour, or of files with several channels; empty for what is taken by default.

    Raises
    ------
    InputError
        For text that names no numbers.
    """

    planes: str = ""
    frames: str = ""
    channel: str = ""

    def __post_init__(self) -> None:
        for what in ("planes", "frames"):
            text = getattr(self, what).strip()
            text = "" if text.lower() == "all" else text
            object.__setattr__(self, what, text)
            _ranges(text, what)

    @classmethod
    def of(cls, facts: object) -> Self:
        """Read what `facts` gave; what is damaged counts as not chosen."""
        known = {k: v for k, v in facts.items() if k in cls.__annotations__} if isinstance(facts, Mapping) else {}
        try:
            return cls(**{k: v for k, v in known.items() if isinstance(v, str)})
        except InputError:
            return cls()

    def facts(self) -> dict[str, str]:
        """Return what was chosen, for ``run.yaml``; empty if nothing was."""
        return {name: text for name, text in asdict(self).items() if text}

    def kept(self, leading: Sequence[int], name: str) -> tuple[int, ...] | None:
        """Return the numbers, from 0 in C order, of the planes that are taken; None for all.

        Parameters
        ----------
        leading : sequence of int
            Shape of the axes before Y and X.
        name : str
            What messages call the image.

        Raises
        ------
        InputError
            If it has no such planes.
        """
        if not self.planes and not self.frames:
            return None
        sizes = (1, 1, *leading)
        at = [list(range(n)) for n in sizes]
        for axis, what in ((-1, "planes"), (-2, "frames")):
            at[axis] = _numbers(getattr(self, what), what, sizes[axis], name)
        every = np.arange(np.prod(sizes, dtype=int)).reshape(sizes)
        return tuple(every[np.ix_(*at)].ravel().tolist())

    def note(self, leading: Sequence[int]) -> str:
        """Say which planes hold something, for the file of a result; empty for all."""
        sizes = dict(zip(("planes", "frames"), [*leading[::-1], 1, 1], strict=False))
        said = [
            f"{what} {spelled(_numbers(text, what, sizes[what], ''))} of {sizes[what]}"
            for what in sizes
            if (text := getattr(self, what))
        ]
        return f"Only {' and '.join(said)} were processed; the others are empty." if said else ""


ALL = Chosen()


def leading_of(image: Image, chosen: Chosen) -> tuple[int, ...]:
    """Return the sizes along T and Z as `Chosen.kept` takes them; frames of a file without Z may be called planes."""
    sizes = dict(zip(image.axes, image.data.shape, strict=True))
    leading = tuple(sizes[a] for a in "TZ" if a in sizes)
    return (*leading, 1) if chosen.frames and "Z" not in sizes else leading


def taken(values: Sequence[Any], kept: Sequence[int] | None) -> list[Any]:
    """Return what of something for each plane is kept."""
    return list(values) if kept is None else [values[i] for i in kept]


def put_back(planes: Sequence[np.ndarray], kept: Sequence[int] | None, count: int, empty: int = 0) -> list[np.ndarray]:
    """Return a plane for each of ``count``: those that were kept in their places, and empty ones elsewhere."""
    if kept is None:
        return list(planes)
    every = [np.full_like(planes[0], empty)] * count
    for place, plane in zip(kept, planes, strict=True):
        every[place] = plane
    return every


def spelled(numbers: Iterable[int]) -> str:
    """Write ascending numbers from 0 as users count: "1-10, 15"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a + 1}" if a == b else f"{a + 1}-{b + 1}" for a, b in runs)
