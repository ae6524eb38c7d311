"""Label stacks read as classes, plane by plane: what all planes together mean, objects, soft edges."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.lazy import Plane
from napari_metastructure.labels import UNLABELLED, readings
from napari_metastructure.labels.pixels import check_labels, values_in

MIDDLE = 2048
"""Pixels on either side of the middle of a large lazy plane in which they are looked for, and soft edges too."""
UNKNOWN = -1
"""In `LabelStack.numbers`, an unlabelled pixel."""

LOOKED_AT = 16
"""Planes at most, evenly spread, in which instance numbers are looked for."""


@dataclass(frozen=True)
class PlaneDone:
    """Progress of work on a stack: ``done`` planes ``of`` all of them."""

    done: int
    of: int


class ArrayPlanes(Sequence[np.ndarray]):
    """The (Y, X) planes of a (..., Y, X) array in the order of memory; a lazy array is read plane by plane."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape = tuple(int(n) for n in array.shape)

    def __len__(self) -> int:
        return int(np.prod(self.shape[:-2], dtype=np.int64))

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return np.asarray(self.array[tuple(int(i) for i in np.unravel_index(index, self.shape[:-2]))])


class LabelStack:
    """Label planes read as classes, each when it is needed.

    What a number means is decided by all planes together (`readings.meaning_of`): 255 is the foreground where no plane
    holds more than 0 and 255, else unlabelled. The values of a plane are looked for once, and again after `forget`. Any
    thread may call any method.

    Parameters
    ----------
    planes : (..., Y, X) array, or sequence of (..., Y, X) arrays
        Of integers or booleans. An array may be lazy; a sequence may read a file when one of its items is asked for,
        and its items, each of which counts as a plane here, may differ in size.
    reading : {"auto", "foreground", "objects", "classes"}
        ``auto``: as the numbers suggest, and refused where they suggest more than one thing. ``foreground``: 0 and one
        other value, which becomes 1 (255 beside it stays unlabelled). ``objects``: every number but 0 becomes 1.
        ``classes``: as they are. A mask of 0 and 255 alone is background and foreground.
    ours : bool or sequence of bool
        Whether this package made the labels, or each plane: then 255 is always unlabelled in them.
    name : str
        How messages name the stack.
    names : sequence of str, optional
        How they name each plane; as the stack if left out.
    sources : sequence of str, optional
        The file or layer that each plane is of: those must agree on what 255 means. By default ``names``.
    binary, instances : bool
        Background and foreground are wanted, or objects; see `readings.meaning_of`.

    Examples
    --------
    >>> stack = LabelStack(np.array([[[0, 255]], [[0, 1]]]), "foreground")
    >>> stack.meaning().classes, stack.read(0)
    ((0, 1), array([[  0, 255]], dtype=uint8))
    """

    def __init__(
        self,
        planes: Any,
        reading: readings.Reading,
        ours: bool | Sequence[bool] = False,
        name: str = "The labels",
        names: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        binary: bool = False,
        instances: bool = False,
    ) -> None:
        self.planes: Any = ArrayPlanes(planes) if hasattr(planes, "shape") else planes
        self.reading, self.ours, self.name, self.names = reading, ours, name, names
        self.binary, self.instances, self._sources = binary, instances, sources or names
        self._lock = threading.Lock()
        self._changes = 0
        self._values: dict[int, tuple[int, ...]] = {}
        self._tops: dict[int, int] = {}  # of planes with soft edges their greatest number
        self._last: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return len(self.planes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., Y, X) of an array of planes."""
        return tuple(self.planes.shape)

    @property
    def changes(self) -> int:
        """How often `forget` was called: equal numbers, equal pixels."""
        return self._changes

    def forget(self, indices: Iterable[int] | None = None) -> None:
        """Forget what is known of these planes, or of all, because their pixels may have changed."""
        with self._lock:
            self._changes += 1
            self._last = None
            if indices is None:
                self._values.clear()
                self._tops.clear()
            else:
                for index in indices:
                    self._values.pop(index, None)
                    self._tops.pop(index, None)

    def pixels(self, index: int) -> Any:
        """Return the pixels of a plane as they are, checked to be labels; the last ones read are kept."""
        known = self._last
        if known is None or known[0] != index:
            changes = self._changes
            known = index, check_labels(self.planes[index], self._name(index))
            with self._lock:
                if changes == self._changes:
                    self._last = known
        return known[1]

    def values_of(self, index: int) -> tuple[int, ...]:
        """Find the values of a plane, ascending: of objects 0 and 1, of labels of this package without 255.

        A mask with soft edges has 0 and 255: what is above half of its greatest number is foreground.

        Raises
        ------
        InputError
            For pixels that are no labels.
        """
        found = self._values.get(index)
        if found is None:
            changes, pixels = self._changes, self.pixels(index)
            found, top = values_in(pixels), 0
            if self._is_ours(index):
                found = tuple(v for v in found if v != UNLABELLED)
            elif self.reading != "classes" and readings.has_soft_edges(_part(pixels), found):
                found, top = (0, UNLABELLED), found[-1]
            if self.reading == "objects":
                self.refuse_picture(index)
                found = tuple(sorted({min(v, 1) for v in found}))
            with self._lock:
                if changes == self._changes:
                    self._values[index] = found
                    self._tops[index] = top
        return found

    def survey(self) -> Iterator[PlaneDone]:
        """Look for the values of all planes, one after the other; what was found stays if iteration is stopped."""
        for index in range(len(self)):
            self.values_of(index)
            yield PlaneDone(index + 1, len(self))

    def meaning(self, classes: Sequence[int] | None = None) -> readings.Meaning:
        """Decide by the values of all planes what numbers mean; looks at those that `survey` has not seen.

        Where somebody has listed the ``classes``, numbers are not taken for those of objects.

        Raises
        ------
        InputError
            If they cannot be read this way, or no pixel is labelled.
        """
        found = self._found()
        if (present := set().union(*found.values())) == {UNLABELLED}:
            readings.check_count((), self.name)
        numbers = present - {0, UNLABELLED}
        asked = self.reading == "auto" and classes is None
        numbered = asked and len(numbers) > 2 and self._look_numbered(numbers)
        return readings.meaning_of(
            found, self.reading, self.name, numbered=numbered, binary=self.binary, instances=self.instances
        )

    def refuse_picture(self, index: int) -> None:
        """Refuse the grey values of an image, of which each place would be an object, or foreground.

        Raises
        ------
        InputError
        """
        # Other readings refuse so many numbers; in our noise they change from pixel to pixel, too.
        unclear = self.reading in ("auto", "objects") and not self._is_ours(index)
        if unclear and readings.is_picture(_part(self.pixels(index))):
            raise InputError(
                f"{self._name(index)} holds the grey values of an image, not labels: its many numbers change from "
                "pixel to pixel; choose a mask, classes or numbered objects."
            )

    def notes(self, meaning: readings.Meaning) -> list[str]:
        """Say in sentences what of the `meaning` of this stack a user may not expect."""
        notes, found = [], self._found()
        masks = readings.masks_among(found)
        if masks and meaning.foreground is None and meaning.unlabelled:
            notes.append(f"{_some(masks)}: 255 is read as unlabelled, for others hold classes beside it.")
        if soft := list(dict.fromkeys(self._source(i) for i, top in sorted(self._tops.items()) if top)):
            notes.append(
                f"{_some(soft)}: the edges are soft (smoothed, or changed by compression); what is above half of the "
                "greatest number is read as foreground."
            )
        if meaning.objects and not self.instances:
            but = "0 and 255, which is unlabelled," if meaning.unlabelled else "0"
            notes.append(f"{self.name}: the numbers count objects, so all but {but} are read as foreground.")
        elif meaning.objects and meaning.unlabelled:
            notes.append(f"{self.name}: the numbers count objects, but 255 is read as unlabelled.")
        return notes

    def read(self, index: int, meaning: readings.Meaning | None = None) -> Any:
        """Read a plane as classes and 255, a copy, by the `meaning` of the stack, which may be at hand.

        Of a `images.lazy.Plane` it is another one, which is read where it is needed.
        """
        meaning = self.meaning() if meaning is None else meaning
        pixels, ours = self.pixels(index), self._is_ours(index)
        if isinstance(pixels, Plane):
            self.values_of(index)
            return pixels.map(lambda block: meaning.read(self._as_numbers(block, index), ours), np.uint8)
        return meaning.read(self._numbers(index), ours)

    def numbered(self, meaning: readings.Meaning) -> bool:
        """Whether the numbers of these labels, by their `meaning`, count objects."""
        return self.reading == "objects" or meaning.objects

    def numbers(self, index: int, meaning: readings.Meaning | None = None) -> np.ndarray:
        """Read a plane with its objects told apart where they are numbered.

        Returns
        -------
        (..., Y, X) array of signed integers
            The numbers of objects, or classes (a foreground is 1); 0 is background, `UNKNOWN` unlabelled.
        """
        meaning = self.meaning() if meaning is None else meaning
        ours = self._is_ours(index)
        if self.numbered(meaning):
            self.values_of(index)  # which looks for soft edges
            pixels = self.pixels(index) if not (top := self._tops.get(index)) else self.pixels(index) > top / 2
            unlabelled = ours or (meaning.objects and meaning.unlabelled)
        else:
            pixels, unlabelled = self.read(index, meaning), True
        if (most := int(pixels.max())) > np.iinfo(np.int64).max:
            raise InputError(f"{self._name(index)}: the label {most} is too large; number the objects from 1.")
        result = pixels.astype(np.int32 if most <= np.iinfo(np.int32).max else np.int64)
        if unlabelled:
            result[pixels == UNLABELLED] = UNKNOWN
        return result

    def written(self, numbers: np.ndarray, meaning: readings.Meaning) -> np.ndarray:
        """Write `numbers` as these labels do, 255 being unlabelled: a foreground is the number that it was."""
        result = numbers.copy()
        if not self.numbered(meaning) and meaning.foreground is not None:
            result[numbers == 1] = meaning.foreground
        result[numbers == UNKNOWN] = UNLABELLED
        return result.astype(np.min_scalar_type(max(UNLABELLED, int(result.max()))))

    def read_alone(self, index: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """Read a plane as classes without the others, which may be many and lazy.

        Only where the plane holds 255 and no class do the others decide what 255 means, if they are in memory.

        Returns
        -------
        plane : (..., Y, X) array
            Classes and 255; a copy.
        classes : tuple of int
            Those on the plane, ascending; empty where it is unlabelled throughout.
        """
        values = self.values_of(index)
        unclear = UNLABELLED in values and set(values) <= {0, UNLABELLED} and self._in_memory
        if unclear and any(not set(self.values_of(i)) <= {0, UNLABELLED} for i in range(len(self))):
            values = tuple(v for v in values if v != UNLABELLED)
        name = self._name(index)
        meaning = readings.meaning_of({name: values}, self.reading, name, may_be_empty=True)
        return meaning.read(self._numbers(index)), meaning.classes

    @property
    def _in_memory(self) -> bool:
        return isinstance(getattr(self.planes, "array", None), np.ndarray)

    def _found(self) -> dict[str, set[int]]:
        """Collect the values of each source; looks at planes that were not seen yet."""
        found: dict[str, set[int]] = {}
        for index in range(len(self)):
            found.setdefault(self._source(index), set()).update(self.values_of(index))
        return found

    def _look_numbered(self, numbers: set[int]) -> bool:
        """Test whether each number is one object, in some of the planes that do not all hold the same numbers."""
        held = [set(self.values_of(i)) & numbers for i in range(len(self))]
        if len(held) > 2 and all(numbers == one for one in held):
            return False
        some = [i for i, one in enumerate(held) if one]
        chosen = np.unique(np.linspace(0, len(some) - 1, LOOKED_AT).astype(int))
        count, regions = np.sum([readings.count_regions(_part(self.pixels(some[i]))) for i in chosen], axis=0)
        return bool(regions <= count + count // 5)

    def _numbers(self, index: int) -> np.ndarray:
        """Return the pixels of a plane; objects as 0 and 1, for there may be as many numbers as objects."""
        self.values_of(index)
        return self._as_numbers(self.pixels(index), index)

    def _as_numbers(self, pixels: np.ndarray, index: int) -> np.ndarray:
        if top := self._tops.get(index):
            pixels = (pixels > top / 2).view(np.uint8) * np.uint8(UNLABELLED)
        if self.reading != "objects":
            return pixels
        objects = (pixels != 0).view(np.uint8)
        if self._is_ours(index):
            objects[pixels == UNLABELLED] = UNLABELLED
        return objects

    def _is_ours(self, index: int) -> bool:
        return self.ours if isinstance(self.ours, bool) else self.ours[index]

    def _name(self, index: int) -> str:
        return self.name if self.names is None else self.names[index]

    def _source(self, index: int) -> str:
        return self.name if self._sources is None else self._sources[index]


def _part(pixels: Any) -> np.ndarray:
    """Return all pixels, or the middle of a plane that is not in memory."""
    if not isinstance(pixels, Plane):
        return np.asarray(pixels)
    rows, columns = (slice(max(0, n // 2 - MIDDLE), n // 2 + MIDDLE) for n in pixels.shape)
    return pixels[rows, columns]


def _some(names: Sequence[str]) -> str:
    """Name the first, and count the others."""
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
