"""Label files read as classes, by what all of them together mean."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args
from warnings import catch_warnings, filterwarnings, simplefilter, warn

import numpy as np

from napari_metastructure.errors import InputError, sized
from napari_metastructure.images.files import list_images, noting, stem
from napari_metastructure.images.image import Image, planes
from napari_metastructure.images.label_files import pair_by_stem, read_labels
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.readings import Meaning, Reading, meaning_of
from napari_metastructure.labels.regions import Blocks
from napari_metastructure.training.yaml_file import read_yaml

NOISE_FILE = "noise.yaml"
"""Beside the noisy labels that ``metastructure noise`` has made; it lists them."""


class UnusableFiles(InputError):
    """Label files that cannot be used, and why: a line for each."""

    def __init__(self, bad: Mapping[Path, InputError]) -> None:
        super().__init__("\n".join(map(str, bad.values())))
        self.bad = bad


@dataclass(frozen=True)
class LabelFile:
    """One file of a `LabelSet`, to be read anywhere.

    Attributes
    ----------
    path : Path
    reading : Reading
    ours : bool
        Whether ``metastructure noise`` made it.
    meaning : Meaning
        Of the numbers in all files of the set.
    """

    path: Path
    reading: Reading
    ours: bool
    meaning: Meaning

    def read(self) -> tuple[np.ndarray, Image]:
        """Read the labels, as `LabelSet.read` does."""
        files = _LabelFiles([self.path])
        stack = LabelStack(files, self.reading, [self.ours], str(self.path), [str(self.path)])
        with noting():  # warnings about the file were given when its numbers were looked at
            return stack.read(0, self.meaning), files.image(0)


class LabelSet:
    """The labels of some files as classes, each file read when it is needed.

    As within a stack, a number means the same in all files: 255 is the foreground where no file holds more than 0
    and 255. In files that ``metastructure noise`` made it is always unlabelled.

    Parameters
    ----------
    paths : sequence of Path
    reading : str
        "auto", "foreground", "objects" or "classes"; see `napari_metastructure.labels.classes.LabelStack`.
    binary, instances : bool
        Background and foreground are wanted, or objects.

    Attributes
    ----------
    paths : list of Path
    classes : tuple of int
        Those of all files together, ascending.
    shapes : list of tuple of int
        Along T and Z, where there are several, Y and X of each file.
    steps : list of dict of str to (float, str)
        Size of a pixel with its unit along Y and X, and along T and Z where there are several planes, of each file.

    Raises
    ------
    UnusableFiles
        For files that hold no labels, cannot be read this way, or are unlabelled throughout.
    InputError
        If the numbers of the files together can be meant in more ways than one.
    """

    def __init__(self, paths: Sequence[Path], reading: str, binary: bool = False, instances: bool = False) -> None:
        if reading not in get_args(Reading):
            raise InputError(f"--reading {reading}: choose {', '.join(get_args(Reading)[:-1])} or classes.")
        self.paths, self.reading = list(paths), cast(Reading, reading)
        made = {folder: made_in(folder) for folder in {path.parent for path in self.paths}}
        self._ours = [path.name in made[path.parent] for path in self.paths]
        name = str(self.paths[0]) if len(self.paths) == 1 else f"The {len(self.paths)} files together"
        self._files = _LabelFiles(self.paths)
        self._stack = LabelStack(
            self._files, self.reading, self._ours, name, list(map(str, self.paths)), binary=binary, instances=instances
        )
        self._check_each()
        self._meaning = self._stack.meaning()
        self.classes = self._meaning.classes
        self.shapes = [self._files.shapes[i] for i in range(len(self.paths))]
        self.steps = [self._files.steps[i] for i in range(len(self.paths))]
        for note in self._stack.notes(self._meaning):
            warn(note, stacklevel=2)

    @property
    def rule(self) -> str:
        """How numbers are read where they are not kept, as a sentence; empty where they all are."""
        if self.reading == "objects" or self._meaning.objects:
            return "Every number but 0 is read as foreground, 1."
        number = self._meaning.foreground
        return "" if number is None else f"{number} is read as foreground, 1."

    @property
    def first_planes(self) -> list[int]:
        """Number of the first plane of each file: planes are numbered on from file to file."""
        counts = [math.prod(shape[:-2]) for shape in self.shapes]
        return [sum(counts[:index]) for index in range(len(counts))]

    def read(self, index: int) -> tuple[np.ndarray, Image]:
        """Read one file's labels as classes.

        Returns
        -------
        labels : (P, Y, X) array
            Classes, and 255 for unlabelled.
        like : Image
            What `napari_metastructure.images.image.stack` needs to put planes back in their place.
        """
        with noting():  # warnings about the file were given when its numbers were looked at
            return self._stack.read(index, self._meaning), self._files.image(index)

    def one(self, index: int) -> LabelFile:
        """Name one file with all that another process has to know to read it as `read` does."""
        return LabelFile(self.paths[index], self.reading, self._ours[index], self._meaning)

    def blocks(self, index: int, volumes: bool) -> tuple[Blocks, Image]:
        """Return the planes or volumes of one file with its objects told apart, and what `read` returns beside them."""
        with noting():
            numbers, like = self._stack.numbers(index, self._meaning), self._files.image(index)
        blocks = Blocks.of(self._stack, self._meaning, self.shapes[index], volumes)
        return blocks.changed(numbers), like

    def written(self, numbers: np.ndarray) -> np.ndarray:
        """Write numbers of `blocks` as the files do."""
        return self._stack.written(numbers, self._meaning)

    def _check_each(self) -> None:
        """Read every file, and name all that cannot be used in one error."""
        bad: dict[Path, InputError] = {}
        found: dict[Path, set[int]] = {}
        for index, path in enumerate(self.paths):
            try:
                found[path] = set(self._stack.values_of(index))
                self._stack.refuse_picture(index)
                if self.reading == "foreground":
                    meaning_of({str(path): found[path] - {UNLABELLED}}, self.reading, str(path), may_be_empty=True)
            except InputError as error:
                bad[path] = error
        numbers = set().union(*found.values())
        if numbers - {0, UNLABELLED} or 0 not in numbers:  # else 255 is foreground
            empty = [path for path, values in found.items() if values <= {UNLABELLED}]
            why = "every pixel is 255, unlabelled; choose labels that say something."
            bad |= {path: InputError(f"{path}: {why}") for path in empty}
        if bad:
            raise UnusableFiles(bad)


class _LabelFiles(Sequence[np.ndarray]):
    """The (P, Y, X) pixels of label files, read when they are asked for; of the last one its image is kept."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.steps: dict[int, dict[str, tuple[float, str]]] = {}
        self._last: tuple[int, Image] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        image = self.image(index)
        cut = planes(image)
        at = {a: image.axes.index(a) for a in "TZYX" if a in image.axes}
        several = {a: i for a, i in at.items() if a in "YX" or image.data.shape[i] > 1}
        self.shapes[index] = tuple(image.data.shape[i] for i in several.values())
        self.steps[index] = {a: (image.scale[i], image.units[i]) for a, i in several.items()}
        return np.asarray(cut) if len(cut) > 1 else cut[0][None]

    def image(self, index: int) -> Image:
        """Read a file, or return it if it was the last one read."""
        if self._last is None or self._last[0] != index:
            self._last = index, read_labels(self.paths[index])
        return self._last[1]


def made_in(folder: Path) -> set[str]:
    """List the names in a folder's noise.yaml; none if there is no such file, or it is not one of ours.

    Raises
    ------
    InputError
        If it is damaged: in the files that it names 255 means something else.
    """
    path = folder / NOISE_FILE
    if not path.exists():
        return set()
    files = read_yaml(path, "mend or remove it").get("files")
    return {str(f["name"]) for f in files if isinstance(f, dict) and "name" in f} if isinstance(files, list) else set()


# ---- partners of the same stem

RESULT_ENDINGS = ("_mask", "_probability", "_epochs")
"""What the names of results add to those of their images."""


def list_folder(folder: Path, labels: bool = True) -> list[Path]:
    """List the labels of a folder, which holds other files of a run as well, or its images.

    Raises
    ------
    InputError
        For what is no folder, or one without images.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name a folder of masks.")
    with catch_warnings():
        simplefilter("ignore", UserWarning)
        filterwarnings("always", ".* beside a mask, not read", UserWarning)
        found = list_images([folder], labels)
    return only_masks(found) if labels else found


def only_masks(files: Iterable[Path]) -> list[Path]:
    """Leave out the probabilities and epochs of a run."""
    return [path for path in files if not stem(path).endswith(RESULT_ENDINGS[1:])]


def partners_of(paths: Sequence[Path], reference: Path, labels: bool = True) -> list[Path]:
    """Find the partner of each file: a single reference, or that of its stem in a folder, labels or an image.

    Raises
    ------
    InputError
        As `list_folder`; if a file has no partner, or two share a stem.
    """
    if not reference.exists():
        raise InputError(f"{reference} does not exist; check the name.")
    if not reference.is_dir():
        if len(paths) > 1:
            raise InputError(f"{reference} is one file for {len(paths)}; name a folder with one for each.")
        return [reference]
    found = pair_by_stem(paths, list_folder(reference, labels))
    if found.first_alone:
        others = len(found.first_alone) - 1
        more = f" (nor have {others} more files)" if others else ""
        raise InputError(
            f"{found.first_alone[0]} has no partner of its stem in {reference}{more}; leave it out or add one."
        )
    partner = dict(found.pairs.values())
    return [partner[path] for path in paths]


def refuse_itself(path: Path, other: Path) -> None:
    """Refuse to compare a file with itself, which would say that all is well.

    Raises
    ------
    InputError
    """
    if os.path.realpath(path) == os.path.realpath(other):
        raise InputError(f"{path} would be compared with itself; name two different files or folders.")


def check_same_size(path: Path, shape: tuple[int, ...], other: Path, known: tuple[int, ...]) -> None:
    """Refuse two images of different sizes ``([T, Z], Y, X)``; frames and slices may be one axis in one of them.

    Raises
    ------
    InputError
        It names both files.
    """
    long = [(*(n for n in s[:-2] if n > 1), *s[-2:]) for s in (shape, known)]
    flat = [(math.prod(s[:-2]), *s[-2:]) for s in long]
    if flat[0] != flat[1] or (long[0] != long[1] and min(map(len, long)) > 3):
        raise InputError(f"{path} has {sized(long[0])} but {other} has {sized(long[1])}; compare equal sizes.")


def check_same_sizes(labels: LabelSet, others: LabelSet) -> None:
    """Refuse files that differ in size from their partners.

    Raises
    ------
    InputError
        It names both files of the first such pair.
    """
    for path, shape, other, known in zip(labels.paths, labels.shapes, others.paths, others.shapes, strict=True):
        check_same_size(path, shape, other, known)
