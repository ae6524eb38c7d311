"""Objects of label images: small ones removed, small holes filled, those at the border cleared, and numbered."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from itertools import product
from typing import Self, TypeVar

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import UNKNOWN, LabelStack, PlaneDone
from napari_metastructure.labels.readings import Meaning

T = TypeVar("T")

# In this file, numbers are what `LabelStack.numbers` reads: of an object or a class above 0, background 0, and
# unlabelled `UNKNOWN`. An object is a connected region of one number, corners included; a hole is background that is
# connected by faces.


@dataclass(frozen=True)
class CleanUp:
    """Options of `clean_up`.

    Attributes
    ----------
    smallest_object : float
        Objects of fewer pixels (voxels in 3D) are removed; 0 for none.
    smallest_hole : float
        Holes of fewer pixels are filled; 0 for none.
    clear_border : bool
        Objects that touch the border of the image are removed; in 3D its first and last slice belong to it.
    """

    smallest_object: float = 0
    smallest_hole: float = 0
    clear_border: bool = False

    def __post_init__(self) -> None:
        for name, size in (("object", self.smallest_object), ("hole", self.smallest_hole)):
            if not (math.isfinite(size) and size >= 0):
                raise InputError(f"The smallest {name} must be a size from 0, not {size:g}.")

    @property
    def does_nothing(self) -> bool:
        """Whether every image stays as it is."""
        return max(self.smallest_object, self.smallest_hole) <= 1 and not self.clear_border


def clean_up(numbers: np.ndarray, wanted: CleanUp) -> np.ndarray:
    """Remove small objects, fill small holes and clear the border, in this order; a copy.

    A hole is filled where a single number surrounds it: not at the border of the image, nor beside unlabelled pixels
    or between objects of different numbers. Where a small object was is background then, and may be a hole itself.

    Parameters
    ----------
    numbers : (Y, X) or (Z, Y, X) array of signed integers
        As `LabelStack.numbers` reads them.
    wanted : CleanUp

    Returns
    -------
    array
        Of the same shape and type. To clean it up again changes nothing.

    Examples
    --------
    >>> ring = np.array([[0, 0, 0, 0, 2], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0]])
    >>> clean_up(ring, CleanUp(smallest_object=2, smallest_hole=2))
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 1, 1, 1, 0],
           [0, 1, 1, 1, 0]])
    """
    from skimage.segmentation import clear_border

    result = numbers.copy()
    if wanted.smallest_object > 1:
        result[_smaller(number_objects(result), wanted.smallest_object)] = 0
    if wanted.smallest_hole > 1:
        _fill_holes(result, wanted.smallest_hole)
    if wanted.clear_border:
        objects = number_objects(result)
        result[(objects > 0) & (clear_border(objects) == 0)] = 0
    return result


def _smaller(objects: np.ndarray, least: float) -> np.ndarray:
    """Find the pixels of objects of fewer pixels.

    scikit-image's remove_small_objects warns where a numbered image holds one object.
    """
    small = np.bincount(objects.ravel()) < least * (1 - 1e-6)  # 0.27 um2 are 3.0000000000000004 pixels of 0.3 um
    small[0] = False
    found: np.ndarray = small[objects]
    return found


def _fill_holes(numbers: np.ndarray, least: float) -> None:
    """Give holes of fewer pixels the number that surrounds them, in place."""
    from skimage.measure import label

    holes = label(numbers == 0, connectivity=1)
    at = np.nonzero(_smaller(holes, least))
    if not at[0].size:
        return
    hole = np.unique(holes[at], return_inverse=True)[1]
    around = np.pad(numbers, 1, constant_values=UNKNOWN)  # outside the image nothing is known
    low = np.full(hole.max() + 1, np.iinfo(numbers.dtype).max, numbers.dtype)
    high = np.full_like(low, UNKNOWN)
    for axis, step in product(range(numbers.ndim), (0, 2)):
        beside = around[tuple(place + (step if i == axis else 1) for i, place in enumerate(at))]
        wall = beside != 0
        np.minimum.at(low, hole[wall], beside[wall])
        np.maximum.at(high, hole[wall], beside[wall])
    numbers[at] = np.where((low == high) & (low > 0), low, 0)[hole]


def number_objects(numbers: np.ndarray) -> np.ndarray:
    """Give each object a number, from 1; background and unlabelled pixels are 0.

    Examples
    --------
    >>> number_objects(np.array([[1, 0, 1, 2, -1]]))
    array([[1, 0, 2, 3, 0]])
    """
    from skimage.measure import label

    objects: np.ndarray = label(np.maximum(numbers, 0), background=0)
    return objects


# ---- Stacks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocks:
    """The planes or volumes of a stack of labels, as numbers.

    Attributes
    ----------
    shape : tuple of int
        (..., Y, X).
    read : callable
        Takes the number of a plane, the last leading axis running fastest, and returns its numbers.
    volumes : bool
        Objects run through the slices of the last leading axis.
    numbered : bool
        The labels number their objects; else those are connected regions.
    several : bool
        There are several classes of objects.
    """

    shape: tuple[int, ...]
    read: Callable[[int], np.ndarray]
    volumes: bool = False
    numbered: bool = False
    several: bool = False

    def __post_init__(self) -> None:
        if self.volumes and len(self.shape) < 3:
            raise InputError("There is a single slice; leave 3D out.")

    @classmethod
    def of(cls, stack: LabelStack, meaning: Meaning, shape: tuple[int, ...], volumes: bool = False) -> Self:
        """Read a stack of planes."""
        numbered = stack.numbered(meaning)
        several = len([c for c in meaning.classes if c > 0]) > 1 and not numbered
        return cls(shape, lambda index: stack.numbers(index, meaning), volumes, numbered, several)

    def changed(self, numbers: np.ndarray) -> Self:
        """Return the same with other numbers, those of the whole stack."""
        planes = numbers.reshape(-1, *self.shape[-2:])
        return replace(self, read=planes.__getitem__)

    @property
    def places(self) -> list[tuple[int, ...]]:
        """Place of each plane or volume along the axes before it."""
        return list(np.ndindex(self.shape[: -3 if self.volumes else -2]))

    def __getitem__(self, place: tuple[int, ...]) -> np.ndarray:
        leading = self.shape[:-2]
        first = int(np.ravel_multi_index(place + (0,) * (len(leading) - len(place)), leading)) if leading else 0
        return np.stack([self.read(first + z) for z in range(leading[-1])]) if self.volumes else self.read(first)


def look_through(
    stack: LabelStack, shape: tuple[int, ...], volumes: bool = False
) -> Generator[PlaneDone, None, Blocks]:
    """Look for the values of all planes, with a `PlaneDone` for each; return them as blocks."""
    yield from stack.survey()
    return Blocks.of(stack, stack.meaning(), shape, volumes)


def change_stack(blocks: Blocks, change: Callable[[np.ndarray], np.ndarray]) -> Generator[PlaneDone, None, np.ndarray]:
    """Change the numbers of each plane or volume, with a `PlaneDone` for each; return those of the stack."""
    places = blocks.places
    result = None
    for done, place in enumerate(places):
        block = change(blocks[place])
        if result is None:
            result = np.zeros(blocks.shape, block.dtype)
        result[place] = block
        yield PlaneDone(done + 1, len(places))
    assert result is not None
    return result


def result_of(work: Generator[PlaneDone, None, T]) -> T:
    """Do the work without stopping, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


class Numbering:
    """Numbers the objects of one plane or volume after the other, on from those before."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """Give each object of a plane or volume its number."""
        objects = number_objects(numbers).astype(np.int32, copy=False)
        objects[objects > 0] += self.count
        self.count = max(self.count, int(objects.max()))
        return objects
