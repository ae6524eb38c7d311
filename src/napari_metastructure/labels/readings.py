"""Meaning of label numbers (classes, foreground, objects), decided once for a set, and signs of it in the pixels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_metastructure.errors import InputError, ReadingError, listed
from napari_metastructure.labels import UNLABELLED

Reading = Literal["auto", "foreground", "objects", "classes"]
"""How label numbers are meant: as they suggest; 0 and one other value; instance numbers, all of them foreground;
classes."""

READING = (
    "What the numbers in labels mean: classes = each number is one, and 255 is unlabelled; foreground = 0 and one "
    "other number; objects = every number but 0 is foreground; auto = as the numbers of all files together suggest, "
    "and refused where they leave it open. In masks of 0 and 255 alone 255 is the foreground."
)
"""Words for forms and options."""

MOST_CLASSES = 254
"""Class codes are uint8, and 255 is taken."""

GREY = 32
"""Where 255 stands beside numbers that begin here, all of them may be grey levels."""

FULL = (240, 60_000)
"""Greatest numbers from which a mask of 8 or 16 bits is taken for one at full scale."""

LEAST_PAIRS, MOST_NUMBERS = 2000, 12
"""Neighbours and different numbers that labels have at least, before it is told whether they are grey values."""

SMOOTH, SCATTERED = 0.1, (32, 8)
"""Share of neighbours that differ even in smooth grey values, and how many of these have so many regions each."""

FLAT = 0.05
"""Share of the pixels between background and foreground that may lie in flat places of their own."""

NEAR = 0.8
"""Share of them that has to lie within two pixels of full foreground."""


# ---- Numbers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meaning:
    """Meaning of the numbers in labels, from `meaning_of`.

    Attributes
    ----------
    classes : tuple of int
        Ascending.
    foreground : int or None
        The number that is read as class 1, all others but 255 being background; None where numbers are kept.
    objects : bool
        Every number but 0 is read as class 1.
    unlabelled : bool
        255 is unlabelled.
    """

    classes: tuple[int, ...]
    foreground: int | None = None
    objects: bool = False
    unlabelled: bool = True

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned data type that holds all classes and 255."""
        return np.min_scalar_type(max((UNLABELLED, *self.classes)))

    def classes_of(self, values: Iterable[int]) -> tuple[int, ...]:
        """Find the classes that label values are read as, ascending."""
        row = self.read(np.array(sorted(values), np.uint64))
        return tuple(np.unique(row[row != UNLABELLED]).tolist())

    def read(self, labels: np.ndarray, ours: bool = False) -> np.ndarray:
        """Read labels as classes and 255, a copy of `dtype`.

        They hold no other values than those the meaning was found from. In labels that are ``ours`` 255 is
        unlabelled, even where it is the foreground of other labels.
        """
        if self.objects:
            result = (labels != 0).view(np.uint8)
        elif self.foreground is None or (ours and self.foreground == UNLABELLED):
            return labels.astype(self.dtype)
        else:
            result = (labels == self.foreground).view(np.uint8)
        if ours or self.unlabelled:
            result[labels == UNLABELLED] = UNLABELLED
        return result


def meaning_of(
    found: Mapping[str, Iterable[int]],
    reading: Reading,
    name: str = "The labels",
    *,
    may_be_empty: bool = False,
    numbered: bool = False,
    binary: bool = False,
    instances: bool = False,
) -> Meaning:
    """Decide what label numbers stand for, once for all labels of a set.

    255 is unlabelled, but where all labels hold nothing but 0 and 255 it is the foreground: as unlabelled it would
    leave no class. Of labels in which 255 is known to be unlabelled, leave it out of the values; of objects give 0
    and 1.

    Parameters
    ----------
    found : mapping of str to iterable of int
        The values of each file or layer, by the name that messages give it.
    reading : {"auto", "foreground", "objects", "classes"}
        ``auto`` refuses what could be meant in two ways; ``classes`` takes numbers as they are, and 255 for unlabelled.
    name : str
        How messages name all of them together.
    may_be_empty : bool
        There need not be a class.
    numbered : bool
        The pixels look like instance numbers, see `LabelStack`.
    binary : bool
        Background and foreground are wanted: with ``auto``, numbered objects are foreground.
    instances : bool
        Objects are wanted, be they numbered or not: with ``auto``, numbered objects are what they are.

    Raises
    ------
    InputError
        For no class, or too many.
    ReadingError
        For instance numbers where other labels are meant, files of which some say that 255 is foreground and some
        that it is not, or grey levels.

    Examples
    --------
    >>> meaning_of({"a.png": (0, 255), "b.png": (0, 1, 255)}, "auto").classes
    (0, 1)
    >>> try:
    ...     meaning_of({"a.png": (0, 255), "b.png": (0, 1)}, "auto")
    ... except ReadingError as error:
    ...     print(str(error).split(", so")[0])
    a.png holds no other number than 0 and 255, b.png holds 1 but no 255
    """
    sources = {source: set(values) for source, values in found.items()}
    present = set().union(*sources.values())
    others = sorted(present - {0, UNLABELLED})
    if reading == "auto" and numbered:
        unlabelled = UNLABELLED in present and not {UNLABELLED - 1, UNLABELLED + 1} & present  # in the row of numbers
        if binary or instances:
            return Meaning((0, 1), objects=True, unlabelled=unlabelled)
        raise ReadingError(
            f"{_having(sources, others[-1])}: the {len(others)} different labels of this set look like instance "
            "numbers, for each is one object; read them as objects (any number is foreground), or as classes if that "
            "is what they are."
        )
    if reading in ("auto", "foreground"):
        _check_agreement(sources)
    single = reading == "foreground" or (reading == "auto" and binary)
    if binary and reading != "classes" and 0 not in present and len(present) > 1:
        raise ReadingError(
            f"{name}: there are the labels {listed(sorted(present))} but no 0, so which is background is open; read "
            "two of them as classes (the greater is foreground), or make the background 0."
        )
    if single and len(others) > 1:
        raise ReadingError(
            f"{_having(sources, others[-1])}: {len(others)} different labels besides 0 are not foreground and "
            "background; read them as objects (every number is foreground) or as classes."
        )
    foreground = None
    if not others and UNLABELLED in present:
        foreground = UNLABELLED
    elif others != [1] and (single or (reading == "auto" and len(others) == 1 and others[0] > MOST_CLASSES)):
        foreground = others[0] if others else None
    numbers = present - {UNLABELLED} if foreground is None else (present & {0}) | {1}
    classes = tuple(sorted(numbers))
    if not (may_be_empty and not classes):
        check_count(classes, _having(sources, others[-1]) if others else name)
    return Meaning(classes, foreground, unlabelled=foreground != UNLABELLED)


def _having(sources: Mapping[str, set[int]], value: int) -> str:
    """Name the first labels that hold a value."""
    return next(source for source, values in sources.items() if value in values)


def _check_agreement(sources: Mapping[str, set[int]]) -> None:
    """Refuse labels of which some say that 255 is foreground, others that it is not; and grey levels.

    Raises
    ------
    ReadingError
        It names one of each kind.
    """
    masks = masks_among(sources)
    others = {source: values - {0, UNLABELLED} for source, values in sources.items()}
    beside = [source for source, numbers in others.items() if numbers and UNLABELLED in sources[source]]
    if (grey := next((s for s in beside if min(others[s]) >= GREY), None)) is not None:
        raise ReadingError(
            f"{grey}: 255 stands beside {listed(sorted(others[grey])[:3])}, as in grey levels, so it may be a class of "
            "its own or unlabelled; read them as classes if it is unlabelled, else number the classes from 0."
        )
    plain = next((source for source, numbers in others.items() if numbers), None)
    if masks and plain is not None and not beside:
        raise ReadingError(
            f"{masks[0]} holds no other number than 0 and 255, {plain} holds {listed(sorted(others[plain])[:3])} but "
            "no 255, so whether 255 is foreground or unlabelled is open; read them as objects (it is foreground, as "
            "any number) or as classes (it is unlabelled)."
        )


def masks_among(sources: Mapping[str, set[int]]) -> list[str]:
    """Name the labels that by themselves would be masks of 0 and 255."""
    return [source for source, values in sources.items() if UNLABELLED in values and values <= {0, UNLABELLED}]


def check_count(classes: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Return classes, if there is one at least and no more than codes for them."""
    if not classes:
        raise InputError(f"{name}: every pixel is {UNLABELLED}, unlabelled; choose labels with at least one class.")
    if len(classes) > MOST_CLASSES:
        raise ReadingError(
            f"{name}: {len(classes)} different labels look like instance numbers, not classes; "
            "read them as objects, or relabel them by class."
        )
    return classes


# ---- Signs in the pixels ------------------------------------------------------------------------------------


def count_regions(labels: np.ndarray) -> tuple[int, int]:
    """Count the numbers of labels and the connected regions that have them, plane by plane, without 0 and 255.

    Parameters
    ----------
    labels : (..., Y, X) array of integers

    Returns
    -------
    numbers, regions : int
        Equal where each number is one object.
    """
    from skimage.measure import label

    numbers = regions = 0
    for plane in labels.reshape(-1, *labels.shape[-2:]):
        found, plane = np.unique(plane, return_inverse=True)  # numbers may be as large as they like
        inside = np.flatnonzero((found != 0) & (found != UNLABELLED))
        plane = np.where(np.isin(plane, inside), plane + 1, 0).reshape(labels.shape[-2:])
        numbers += inside.size
        regions += int(label(plane, background=0, return_num=True, connectivity=2)[1])
    return numbers, regions


def is_picture(labels: np.ndarray) -> bool:
    """Test whether labels are the grey values of an image.

    Most neighbours differ, which are alike in an object; or, in a smooth image, many numbers have many regions each.

    Parameters
    ----------
    labels : (..., Y, X) array of integers
    """
    one, other = labels[..., 1:], labels[..., :-1]
    beside = (one > 0) & (other > 0)
    pairs = np.count_nonzero(beside)
    differ = np.count_nonzero(beside & (one != other))
    if pairs < LEAST_PAIRS or differ < SMOOTH * pairs or (count := len(np.unique(labels))) <= MOST_NUMBERS:
        return False
    if differ >= 0.5 * pairs:
        return True
    numbers, regions = count_regions(labels) if count > SCATTERED[0] else (1, 1)
    return regions > SCATTERED[1] * numbers


def has_soft_edges(labels: np.ndarray, values: Sequence[int]) -> bool:
    """Test whether labels are a mask at full scale whose edges were smoothed, or changed by lossy compression.

    Parameters
    ----------
    labels : (..., Y, X) array of integers
    values : sequence of int
        Those of the labels, ascending.
    """
    top = values[-1]
    if len(values) < 3 or not (FULL[0] <= top <= UNLABELLED or FULL[1] <= top <= 65535):
        return False
    if not any(top / 8 <= value <= 7 * top / 8 for value in values):
        return sum(value > 7 * top / 8 for value in values) > 1
    return all(_is_soft(plane, top) for plane in labels.reshape(-1, *labels.shape[-2:]))


def _is_soft(plane: np.ndarray, top: int) -> bool:
    """Test whether numbers between background and foreground make no places of their own, but edges."""
    from scipy.ndimage import maximum_filter

    between = (plane >= top / 8) & (plane <= 7 * top / 8)
    count = np.count_nonzero(between)
    if not count:
        return True
    if count > plane.size / 2:  # a picture, or noise
        return False
    around = np.pad(plane, 1, mode="edge")
    flat = between.copy()
    for beside in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        flat &= beside == plane
    near = maximum_filter(plane > 7 * top / 8, 5) & between
    return bool(np.count_nonzero(flat) < FLAT * count and np.count_nonzero(near) >= NEAR * count)
