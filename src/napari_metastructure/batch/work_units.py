"""Units of work that any process can do: one file, a part of a large one, or all files together."""

import os
import platform
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.images.files import fingerprint
from napari_metastructure.images.read_options import ReadOptions, set_read_options

Checkpoint = Callable[[], None]


Steps = Generator[float, None, Any]
"""Yields which share is done, from 0 to 1; returns `Done`, `Split`, or what a part has made."""

Work = Callable[..., Steps]
"""A function of a module, called with a checkpoint and the arguments of its unit, all of which can be pickled."""


@dataclass(frozen=True)
class Done:
    """A unit whose results are written."""

    notes: tuple[str, ...] = ()
    """Sentences about the file that the user should know."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the end of the batch needs to know; plain values."""


@dataclass(frozen=True)
class Split:
    """A unit too large for one worker: what others may do of it in any order, and what makes the results of that."""

    parts: tuple[tuple[Work, tuple[Any, ...]], ...]
    join: Work
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Unit:
    """One line of the report.

    Attributes
    ----------
    name : str
        What people call it.
    inputs, results : tuple of Path
        The files it reads, and those it writes.
    work : callable
    args : tuple
    mark : str
        What else decides what the results hold, besides the settings of the batch and the inputs.
    replaced : tuple of Path
        Results in other forms, which an earlier call may have left and the work removes.
    """

    name: str
    inputs: tuple[Path, ...]
    results: tuple[Path, ...]
    work: Work
    args: tuple[Any, ...]
    mark: str = ""
    replaced: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The units of a batch, files that cannot be used and why, and what is made of the `Done.facts` of the others."""

    units: list[Unit]
    refused: dict[Path, str] = field(default_factory=dict)
    finish: Callable[[Sequence[dict[str, Any]]], list[str]] | None = None


@dataclass(frozen=True)
class Outcome:
    """Result of a unit, or of a part of one."""

    value: Any = None
    why: str = ""
    """Why it failed; empty if it did not."""
    worker: str = ""
    seconds: float = 0.0
    identity: dict[str, Any] = field(default_factory=dict)
    """Of the inputs, see `identity_of`."""
    sizes: tuple[int, ...] = ()
    """Bytes of the results."""


def identity_of(paths: Sequence[Path]) -> dict[str, Any]:
    """Describe files so that a change shows: their size, when they were last written, and the SHA-256.

    Raises
    ------
    InputError
        If one cannot be read.
    """
    found, stamps = [], []
    for path in paths:
        try:
            found.append(fingerprint(path))
            stamps.append(path.stat().st_mtime_ns)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); check its place and permissions.") from error
    together = sha256("\n".join(facts["sha256"] for facts in found).encode()).hexdigest()
    return {
        "bytes": sum(facts["bytes"] for facts in found),
        "modified": max(stamps),
        "sha256": found[0]["sha256"] if len(found) == 1 else together,
    }


@dataclass(frozen=True)
class Piece:
    """A unit, or a part of one, as it is sent to a worker; a part has neither inputs nor results."""

    work: Work
    args: tuple[Any, ...]
    inputs: tuple[Path, ...] = ()
    results: tuple[Path, ...] = ()


def perform(
    piece: Piece, options: ReadOptions, checkpoint: Checkpoint, parts: Sequence[Outcome] = ()
) -> Generator[float, None, Outcome]:
    """Do a piece of work; what cannot be used is an outcome like any other.

    Parameters
    ----------
    piece : Piece
    options : ReadOptions
        What the user says of files.
    checkpoint : callable
        Called now and then; may raise to leave.
    parts : sequence of Outcome
        Of the parts that the piece joins: it fails if one of them has.

    Raises
    ------
    Exception
        What may be mended by trying again, on another machine for example.
    """
    if failed := next((part for part in parts if part.why), None):
        return failed
    began = time.perf_counter()
    set_read_options(options.axes, options.series)
    try:
        identity = identity_of(piece.inputs) if piece.inputs else {}
        args = (*piece.args, [part.value for part in parts]) if parts else piece.args
        value = yield from piece.work(checkpoint, *args)
        sizes = tuple(path.stat().st_size for path in piece.results) if isinstance(value, Done) else ()
    except MetastructureError as error:
        return Outcome(why=str(error), worker=process_name(), seconds=time.perf_counter() - began)
    except MemoryError:
        return Outcome(why="There is not enough memory for it; give it a machine with more.", worker=process_name())
    return Outcome(value, "", process_name(), time.perf_counter() - began, identity, sizes)


def process_name() -> str:
    """Name this process."""
    return f"{platform.node()}:{os.getpid()}"
