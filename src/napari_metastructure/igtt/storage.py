"""Storage for the arrays of an iGTT run: in memory, or in temporary files where memory is too small."""

import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import psutil

from napari_metastructure.errors import InputError, counted
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.intensity import channels_of
from napari_metastructure.images.temporary import memory_mapped
from napari_metastructure.training.distributed import Ranks

HELD = 30
"""Bytes a pixel that a run holds beside the inputs of its network: planes, start, memory, evidence, masks, labels."""

AT_WORK = 60
"""Bytes a pixel that work on one plane takes for a moment, most of them where the prior is asked."""

SHARE = 0.7
"""Share of the free memory that a run may fill."""


NOTABLE = 1e9
"""Bytes from which on a run announces before it starts how much memory it needs."""


@dataclass(frozen=True)
class MemoryNeed:
    """Memory that a run needs, beside what is free.

    Attributes
    ----------
    planes : int
    held : float
        Bytes of all planes, from round to round.
    at_work : float
        Bytes of the largest plane while it is worked on.
    free : float
        Bytes of memory that are free.
    """

    planes: int
    held: float
    at_work: float
    free: float

    @classmethod
    def of(cls, shapes: Sequence[tuple[int, ...]], config: IGTTConfig) -> Self:
        """Add up planes of these shapes ``(..., Y, X)``."""
        pixels = sum(float(math.prod(shape)) for shape in shapes)
        held = pixels * (HELD + 4 * channels_of(config.inputs))
        largest = max(float(math.prod(shape[-2:])) for shape in shapes)
        count = sum(math.prod(shape[:-2]) for shape in shapes)
        return cls(count, held, AT_WORK * largest, float(psutil.virtual_memory().available))

    @property
    def fits(self) -> bool:
        """Whether it fits into memory."""
        return self.held + self.at_work <= SHARE * self.free

    @property
    def matters(self) -> bool:
        """Whether it is enough to tell the user."""
        return self.held > NOTABLE or not self.fits

    def __str__(self) -> str:
        """Say it in a sentence."""
        planes = counted(self.planes, "plane")
        if self.fits:
            return f"Needs about {size(self.held + self.at_work)} of memory for {planes}; {size(self.free)} are free."
        return (
            f"Needs about {size(self.held)} for {planes}, and {size(self.free)} of memory are free: it keeps them on "
            f"disk, and {size(self.at_work)} of memory at a time."
        )


def size(count: float) -> str:
    """Write a number of bytes in GB, or MB if they are few."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


class ArrayStorage:
    """Keeps arrays in memory or, where they do not fit, in unnamed temporary files in a folder.

    Parameters
    ----------
    need : MemoryNeed
    folder : Path, optional
        The run folder; without one the system's for temporary files.

    Raises
    ------
    InputError
        If neither memory nor disk suffices.
    """

    def __init__(self, need: MemoryNeed, folder: Path | None) -> None:
        self.need = need
        self.folder: Path | None = None
        if need.fits:
            return
        self.folder = folder or Path(tempfile.gettempdir())
        if need.at_work > need.free:
            raise InputError(
                f"The largest plane needs {size(need.at_work)} of memory while it is worked on, and {size(need.free)} "
                "are free; segment a part of it, and apply its model to the whole by metastructure predict."
            )
        if need.held > (left := shutil.disk_usage(self.folder).free):
            raise InputError(
                f"The run needs {size(need.held)} of disk in {self.folder}, and {size(left)} are free; choose a run "
                "folder on another disk, or fewer images."
            )

    @property
    def in_memory(self) -> bool:
        """Whether all stays in memory."""
        return self.folder is None

    def keep(self, arrays: Iterable[Any]) -> list[Any]:
        """Return a list of arrays, or of views of a file that holds them; None stays None."""
        if self.folder is None:
            return list(arrays)
        there: list[bool] = []

        def real() -> Iterator[Any]:
            for array in arrays:
                there.append(array is not None)
                if array is not None:
                    yield array

        views = iter(memory_mapped(real(), self.folder))
        return [next(views) if one else None for one in there]

    def keep_numbered(self, arrays: Iterable[tuple[int, Any]]) -> list[Any]:
        """Keep arrays that come in any order with their places."""
        places: list[int] = []

        def noted() -> Iterator[Any]:
            for place, array in arrays:
                places.append(place)
                yield array

        found = self.keep(noted())
        return [found[i] for i in sorted(range(len(found)), key=places.__getitem__)]

    def shared_out(self, ranks: Ranks, count: int, work: Callable[[Sequence[int]], Iterable[Any]]) -> list[Any]:
        """Keep what ``work`` makes of each of so many pieces, which processes share, see `Ranks.shared_out`."""
        found = work(range(count)) if ranks.alone else ranks.shared_out(count, lambda mine: list(work(mine)))
        return self.keep(found)

    def shared_out_numbered(
        self, ranks: Ranks, count: int, work: Callable[[Sequence[int]], Iterable[tuple[int, Any]]]
    ) -> list[Any]:
        """Do the same where ``work`` makes the pieces in any order, each with its place among them."""
        if ranks.alone:
            return self.keep_numbered(work(range(count)))
        return self.keep(ranks.shared_out(count, lambda mine: [p for _, p in sorted(work(mine), key=itemgetter(0))]))


IN_MEMORY = ArrayStorage(MemoryNeed(0, 0, 0, 1), None)
"""Keeps everything in memory, however large it is."""
