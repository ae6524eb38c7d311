"""Answers to questions as CSV, and the next places to ask about: file, plane, y, x, class."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from napari_metastructure.errors import InputError, counted
from napari_metastructure.igtt.asking import Place
from napari_metastructure.images.writing import replacing
from napari_metastructure.labels import UNLABELLED

COLUMNS = ("file", "plane", "y", "x", "class")

CLASSES = {"object": 1, "1": 1, "1.0": 1, "background": 0, "0": 0, "0.0": 0, "skip": None}

WORDS = {1: "object", 0: "background", None: "skip"}

MOST = 20
"""Lines that a message names; further ones are counted."""


class Answer(NamedTuple):
    """The class of a pixel: 1 object, 0 background, None for one that was skipped."""

    place: Place
    value: int | None


class Page(NamedTuple):
    """A plane of an image file that can be asked about."""

    file: Path
    number: int  # of the file's planes, from 1
    shape: tuple[int, ...]


class Sheet:
    """Reads and writes answers to the planes of a set of image files.

    A line is one pixel, not its neighbourhood: Theorem 2 is about pixels, and thin structures are few pixels wide.

    Parameters
    ----------
    pages : sequence of Page
        The planes in the engine's order.
    """

    def __init__(self, pages: Sequence[Page]) -> None:
        self._pages = list(pages)
        self._files = list(dict.fromkeys(page.file for page in pages))
        self._names = _shortest(self._files)
        self._index = {(page.file, page.number): i for i, page in enumerate(pages)}

    def read(self, path: Path) -> tuple[list[Answer], list[str]]:
        """Read answers; lines without a class are questions that were not answered, and left out.

        Parameters
        ----------
        path : Path
            CSV, separated by commas, semicolons or tabs, with the `COLUMNS` in any order. ``file`` is the name of an
            image, or as much of its path as tells it from others; ``plane`` counts from 1 (empty for the first),
            ``y`` and ``x`` from 0; ``class`` is object or 1, background or 0, skip, or empty.

        Returns
        -------
        answers : list of Answer
            One a pixel, in the order of the lines; of several lines for a pixel the last counts.
        notes : list of str
            A sentence for each pixel whose lines contradict each other.

        Raises
        ------
        InputError
            The file cannot be read; or a sentence for each bad line, with its number.
        """
        rows = _rows(path)
        found: dict[Place, tuple[int, int | None]] = {}
        bad, notes = [], []
        for line, row in rows:
            try:
                answer = self._answer(row)
            except ValueError as error:
                bad.append(f"{path}, line {line}: {error}.")
                continue
            if answer is None:
                continue
            before = found.pop(answer.place, None)
            if before is not None and before[1] != answer.value:
                said = f"{WORDS[answer.value]} where line {before[0]} says {WORDS[before[1]]}"
                notes.append(f"{path}, line {line}: it says {said}; the later line counts.")
            found[answer.place] = line, answer.value
        if bad:
            more = [f"{len(bad) - MOST} further lines of {path} are as bad."] if len(bad) > MOST else []
            raise InputError("\n".join([*bad[:MOST], *more]))
        return [Answer(place, value) for place, (_, value) in found.items()], notes

    def write(self, path: Path, places: Iterable[Place]) -> Path:
        """Write places to ask about, with no class yet.

        Raises
        ------
        InputError
            If the file cannot be written; what was there is left then.
        """
        with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for plane, y, x in places:
                page = self._pages[plane]
                writer.writerow((self._names[page.file], page.number, y, x, ""))
        return path

    def _answer(self, row: dict[str, str]) -> Answer | None:
        """Read a line; None if it was not answered."""
        given = row["class"].lower()
        if given and given not in CLASSES:
            raise ValueError(f"class must be object, background, 1, 0, skip or empty, not {row['class'][:40]!r}")
        file = self._file(row["file"])
        plane = _whole(row, "plane") if row["plane"] else 1
        if (index := self._index.get((file, plane))) is None:
            raise ValueError(f"{self._names[file]} has no plane {plane} among those of this run")
        y, x = (_whole(row, name) for name in ("y", "x"))
        height, width = self._pages[index].shape
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(
                f"y {y}, x {x} lies outside {self._names[file]}, which has {height} rows of {width} pixels"
            )
        return Answer(Place(index, y, x), CLASSES[given]) if given else None

    def _file(self, text: str) -> Path:
        if not text:
            raise ValueError("file is empty; write the name of an image")
        parts = _parts(text)
        found = [file for file in self._files if _parts(file.absolute())[-len(parts) :] == parts]
        exact = [file for file in found if _parts(file) == parts]
        if not found:
            raise ValueError(f"{text[:200]} is no image of this run")
        if len(found) > 1 and not exact:
            which = " or ".join(self._names[f] for f in found[:3])
            raise ValueError(f"{text[:200]} may be {which}; write more of its path")
        return (exact or found)[0]


def corrections(answers: Iterable[Answer], shapes: Sequence[tuple[int, ...]]) -> dict[int, np.ndarray]:
    """Return answers as a run takes corrections: by plane (Y, X) uint8 of 1, 0 and 255 (no answer)."""
    found: dict[int, np.ndarray] = {}
    for (plane, y, x), value in answers:
        if value is not None:
            pixels = found.setdefault(plane, np.full(shapes[plane], UNLABELLED, np.uint8))
            pixels[y, x] = value
    return found


def check_replaceable(path: Path) -> None:
    """Refuse to write places over a file that holds more than places: answers would be lost.

    Raises
    ------
    InputError
        Naming the file.
    """
    if not path.exists():
        return
    try:
        answered = sum(bool(row["class"]) for _, row in _rows(path))
    except InputError as error:
        raise InputError(f"{path} is there and holds no places; name another file for --places.") from error
    if answered:
        raise InputError(
            f"{path} holds {counted(answered, 'answer')}; name another file for --places, so that nothing is lost."
        )


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read the lines of a CSV file that are not empty, with their numbers."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeError as error:
        raise InputError(f"{path} is not in UTF-8; save it as CSV UTF-8.") from error
    first = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(f"{path} is no CSV file ({error}).") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    header = [cell.lower() for cell in lines[0][1]] if lines else []
    if lacking := [name for name in COLUMNS if name not in header]:
        raise InputError(f"{path} has no column {lacking[0]}; its first line must name {', '.join(COLUMNS)}.")
    if doubled := next((name for name, count in Counter(header).items() if count > 1 and name in COLUMNS), None):
        raise InputError(f"{path} has two columns {doubled}.")
    return [
        (number, dict(zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=False)))
        for number, cells in lines[1:]
    ]


def _whole(row: dict[str, str], name: str) -> int:
    """Read a whole number; programs write 12.0 for 12."""
    text = row[name]
    try:
        if not (number := float(text)).is_integer():
            raise ValueError
        return int(number)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} must be a whole number, not {text[:40]!r}") from None


def _parts(path: str | Path) -> tuple[str, ...]:
    """Split a path, of any system, into parts that can be compared."""
    return PurePath(unicodedata.normalize("NFC", str(path)).replace("\\", "/")).parts


def _shortest(files: Sequence[Path]) -> dict[Path, str]:
    """Return as much of each file's path as tells it from the others."""
    endings = {file: [parts[-n:] for n in range(1, len(parts))] for file in files for parts in [_parts(file)]}
    files_with = Counter(ending for own in endings.values() for ending in own)
    found = {}
    for file, own in endings.items():
        count = next((len(ending) for ending in own if files_with[ending] == 1), None)
        found[file] = file.as_posix() if count is None else PurePath(*file.parts[-count:]).as_posix()
    return found
