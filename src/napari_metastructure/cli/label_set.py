"""Label files as clean classes: what their numbers mean is decided once, for all files of a call together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast, get_args
from warnings import warn

import numpy as np
import typer
import yaml

from napari_metastructure.cli.label_files import NOISE_FILE, read_labels
from napari_metastructure.errors import InputError
from napari_metastructure.images.image import Image
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import Reading, as_classes, blocks, classes_in, values_in
from napari_metastructure.labels.codes import lookup

ReadingOption = Annotated[
    str,
    typer.Option(
        help="What labels mean: foreground = 0 and one other number, which becomes 1; objects = every number but 0 is "
        "foreground; classes = every number is a class. 255 is unlabelled, but foreground in masks of 0 and 255 alone.",
        metavar="foreground|objects|classes",
    ),
]


class LabelSet:
    """The labels of some files as classes, each file read when it is needed.

    As within a stack, a number means the same in all files: 255 is the foreground where no file holds more than 0
    and 255. In files that ``metastructure noise`` made it is always unlabelled.

    Parameters
    ----------
    paths : sequence of Path
    reading : str
        "foreground", "objects" or "classes"; see `napari_metastructure.labels.classes.as_classes`.

    Attributes
    ----------
    paths : list of Path
    classes : tuple of int
        Those of all files together, ascending.
    shapes : list of tuple of int
        Planes, height and width of each file.
    pixels : list of ((float, str), (float, str))
        Height and width of a pixel with their units, of each file.

    Raises
    ------
    InputError
        One line for each file that holds no labels, cannot be read this way, or is unlabelled throughout.
    """

    def __init__(self, paths: Sequence[Path], reading: str) -> None:
        if reading not in get_args(Reading):
            raise InputError(f"--reading {reading}: choose {', '.join(get_args(Reading)[:-1])} or classes.")
        self.paths, self.reading = list(paths), cast(Reading, reading)
        made = {folder: made_in(folder) for folder in {path.parent for path in self.paths}}
        self._ours = {path for path in self.paths if path.name in made[path.parent]}
        self.shapes: list[tuple[int, ...]] = []
        self.pixels: list[tuple[tuple[float, str], tuple[float, str]]] = []
        values = self._survey()
        name = str(self.paths[0]) if len(self.paths) == 1 else f"The {len(self.paths)} files together"
        self._meaning = _meaning(set().union(*values), self.reading, name)
        self.classes = tuple(sorted(set(self._meaning.values()) - {UNLABELLED}))
        self._warn_of_masks(values)

    @property
    def dtype(self) -> np.dtype:
        """The smallest data type that holds all classes and 255."""
        return np.min_scalar_type(max(*self.classes, UNLABELLED))

    @property
    def rule(self) -> str:
        """How numbers were read where they are not kept, as a sentence; empty where they all are."""
        if self.reading == "objects":
            return "Every number but 0 is read as foreground, 1."
        changed = [value for value, read in sorted(self._meaning.items()) if value != read]
        return f"{changed[0]} is read as foreground, {self._meaning[changed[0]]}." if changed else ""

    def read(self, index: int) -> tuple[np.ndarray, Image]:
        """One file's labels as classes.

        Returns
        -------
        labels : (P, Y, X) array of `dtype`
            Classes, and 255 for unlabelled.
        like : Image
            What `napari_metastructure.images.axes.stack` needs to put planes back in their place.
        """
        path = self.paths[index]
        pixels, like = self._pixels(path)
        meaning = {v: c for v, c in self._meaning.items() if v != UNLABELLED or path not in self._ours}
        order = sorted(meaning)
        class_of = lookup(pixels, order, np.array([meaning[v] for v in order], self.dtype), UNLABELLED)
        result = np.empty(pixels.shape, self.dtype)
        for block, out in blocks(pixels, result, size=1 << 16):
            out[:] = class_of(block)
        return result, like

    def _pixels(self, path: Path) -> tuple[np.ndarray, Image]:
        """The planes of a file; objects as 0 and 1, for there may be as many numbers as objects."""
        pixels, like = read_labels(path)
        if self.reading != "objects":
            return pixels, like
        objects = as_classes(pixels, "objects", str(path))
        if path in self._ours:
            objects[pixels == UNLABELLED] = UNLABELLED
        return objects, like

    def _survey(self) -> list[set[int]]:
        """The values of each file, without 255 where it is ours; one error that names every bad file."""
        found, bad = [], []
        for path in self.paths:
            try:
                pixels, like = self._pixels(path)
                values = set(values_in(pixels))
                if values == {UNLABELLED}:
                    raise InputError(f"{path}: every pixel is 255, unlabelled; choose labels that say something.")
                _meaning(values - {UNLABELLED}, self.reading, str(path))
                self.shapes.append(pixels.shape)
                y, x = ((like.scale[i], like.units[i]) for i in (like.axes.index("Y"), like.axes.index("X")))
                self.pixels.append((y, x))
                found.append(values - {UNLABELLED} if path in self._ours else values)
            except InputError as error:
                bad.append(str(error))
        if bad:
            raise InputError("\n".join(bad))
        return found

    def _warn_of_masks(self, values: list[set[int]]) -> None:
        """Say where 255 would mean foreground in a file by itself, but is unlabelled as in the others."""
        masks = [p for p, v in zip(self.paths, values, strict=True) if UNLABELLED in v and v <= {0, UNLABELLED}]
        if masks and self._meaning.get(UNLABELLED) == UNLABELLED:
            more = f" and {len(masks) - 1} more" if len(masks) > 1 else ""
            warn(f"{masks[0]}{more}: 255 is read as unlabelled, for other files hold classes beside it.", stacklevel=2)


def check_same_sizes(labels: LabelSet, others: LabelSet) -> None:
    """Refuse files that differ in size from their partners.

    Raises
    ------
    InputError
        It names both files of the first such pair.
    """
    for path, other, *shapes in zip(labels.paths, others.paths, labels.shapes, others.shapes, strict=True):
        if shapes[0] != shapes[1]:
            sizes = [" x ".join(map(str, s if s[0] > 1 else s[1:])) for s in shapes]
            raise InputError(f"{path} has {sizes[0]} pixels but {other} has {sizes[1]}; compare equal sizes.")


def _meaning(values: set[int], reading: Reading, name: str) -> dict[int, int]:
    """What each of these values is read as: a class, or 255."""
    order = sorted(values)
    try:
        read = as_classes(np.array([order]), reading, name)
        classes_in(read, name)
    except InputError as error:
        raise InputError(f"{str(error).removesuffix('.')} (option --reading).") from error
    return dict(zip(order, read[0].tolist(), strict=True))


def made_in(folder: Path) -> set[str]:
    """The names that a folder's noise.yaml lists."""
    try:
        facts = yaml.safe_load((folder / NOISE_FILE).read_text(encoding="utf-8"))
        return {str(file["name"]) for file in facts["files"]}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        return set()  # none there, or not one of ours
