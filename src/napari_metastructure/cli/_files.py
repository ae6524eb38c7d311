"""Image and label files of commands: listed, paired, read together; places of results."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_metastructure.batch.label_set import NOISE_FILE, list_folder, only_masks
from napari_metastructure.cli._options import warnings_as_lines
from napari_metastructure.errors import InputError
from napari_metastructure.images.files import list_images, output_stems, stem
from napari_metastructure.images.label_files import pair_by_stem
from napari_metastructure.images.ranges import ALL, Chosen
from napari_metastructure.labels.readings import READING

if TYPE_CHECKING:
    from napari_metastructure.images.channels import ImageSet

WAYS = ("choose another --out", "replace it with --overwrite")
"""Ways out where a result is in the way; see `napari_metastructure.images.files.check_free`."""

RUN_WAYS = (WAYS[0], "go on with --resume", WAYS[1])
"""The same for a run."""

ReadingOption = Annotated[str, typer.Option(help=READING, metavar="auto|foreground|objects|classes")]


def check_modes(resume: bool, overwrite: bool) -> None:
    """Refuse to go on with a run and to replace it at once."""
    if resume and overwrite:
        raise InputError("--resume goes on with the run in --out and --overwrite replaces it; give one of them.")


def read_images(paths: Sequence[Path], channel: str, ranges: Chosen = ALL) -> ImageSet:
    """Read a set of images to segment, see `napari_metastructure.images.channels.read_set`; warnings are lines."""
    from napari_metastructure.images.channels import read_set

    with warnings_as_lines():
        return read_set(paths, channel, ranges, lazily=True)


def tell_colour(read: ImageSet) -> None:
    """Print which channel was chosen, if there was something to choose."""
    if read.chosen:
        typer.echo(f"Colour images: the {read.colour} channel is used; --channel luminance or another changes that.")


def result_paths(folder: Path, inputs: Sequence[Path], ending: str) -> list[Path]:
    """Name the result of each input: its stem and an ending, in the folder; more of its path where stems clash."""
    with warnings_as_lines():
        return [folder / f"{name}{ending}" for name in output_stems(inputs)]


def list_labels(paths: Iterable[Path]) -> list[Path]:
    """List the label files that files and folders name; warnings about others are lines on stderr."""
    with warnings_as_lines():
        warnings.filterwarnings("ignore", message=f".*{NOISE_FILE} is no image")  # ours, and no stray file
        return list_images(paths, results=True)


def pair_folders(
    first: Sequence[Path], second: Sequence[Path], folders: tuple[Path, Path]
) -> dict[str, tuple[Path, Path]]:
    """Pair the files of two folders by their names; each file without a partner is a warning line.

    Raises
    ------
    InputError
        If there is no pair, or two files of a folder share a stem.
    """
    with warnings_as_lines():
        found = pair_by_stem(first, second)
    for path in [*found.first_alone, *found.second_alone]:
        typer.echo(f"Warning: {path} has no partner and is not counted.", err=True)
    if not found.pairs:
        raise InputError(f"No file of {folders[0]} has a partner in {folders[1]}; their stems must be the same.")
    return found.pairs


def pair_paths(first: Path, second: Path) -> dict[str, tuple[Path, Path]]:
    """Pair two files, whatever they are called, or the masks of two folders by stem; the keys are their names.

    Raises
    ------
    InputError
        As `list_folder` and `pair_folders`; for a file and a folder, or a path that does not exist.
    """
    for path in (first, second):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name.")
    if first.is_dir() != second.is_dir():
        folder, file = (first, second) if first.is_dir() else (second, first)
        raise InputError(f"{folder} is a folder but {file} is a file; name two files or two folders.")
    if not first.is_dir():
        return {stem(second): (first, second)}
    return pair_folders(only_masks(list_folder(first)), only_masks(list_folder(second)), (first, second))
