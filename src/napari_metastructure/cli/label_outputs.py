"""Where results made from label files go: named by stem, never over an input, over earlier results only if asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_metastructure.cli.outputs import output_stems
from napari_metastructure.errors import InputError
from napari_metastructure.images.atomic import cannot_write


def targets(folder: Path, inputs: Sequence[Path], ending: str) -> list[Path]:
    """The result of each input: its stem and an ending, in the folder; more of its path where stems clash."""
    return [folder / f"{stem}{ending}" for stem in output_stems(inputs)]


def check_free(results: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """Refuse to write over an input in any case, and over an earlier result unless asked to.

    Raises
    ------
    InputError
        Naming the file in the way.
    """
    originals = {path.resolve() for path in inputs}
    for path in results:
        if path.resolve() in originals:
            raise InputError(f"{path} is an input and would be written over; choose another --out.")
    there = [path for path in results if path.exists()]
    if there and not overwrite:
        raise InputError(f"{there[0]} is there already; choose another --out, or replace it with --overwrite.")


def make_folder(folder: Path) -> None:
    """Make the folder of the results if it is not there.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def described(path: Path) -> dict[str, Any]:
    """A file's place and checksum, so that it can be known again."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": digest}
