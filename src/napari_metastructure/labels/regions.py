"""Objects of label images: small ones removed, small holes filled, those at the border cleared, and numbered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import UNKNOWN, LabelStack, PlaneDone
from napari_metastructure.labels.readings import Meaning

# In this file, numbers are what `LabelStack.numbers` reads: of an object or a class above 0, background 0, and
# unlabelled `UNKNOWN`. An object is a connected region of one number, corners included; a hole is background that is
# connected by faces.


@dataclass(frozen=True)
class CleanUp:
    """What to clean up; see `clean_up`.

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
    small = np.bincount(objects.ravel()) < least
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


def blocks_of(shape: tuple[int, ...], volumes: bool) -> list[tuple[int, ...]]:
    """List the places along the leading axes at which a stack has a plane, or a volume of its last three axes."""
    if volumes and len(shape) < 3:
        raise InputError("There is a single slice; leave 3D out.")
    return list(np.ndindex(shape[: -3 if volumes else -2]))


def read_block(stack: LabelStack, meaning: Meaning, shape: tuple[int, ...], place: tuple[int, ...]) -> np.ndarray:
    """Read the plane or the volume at a place of `blocks_of`, as `LabelStack.numbers` does."""
    first = int(np.ravel_multi_index(place + (0,) * (len(shape) - 2 - len(place)), shape[:-2])) if shape[:-2] else 0
    if len(place) == len(shape) - 2:
        return stack.numbers(first, meaning)
    return np.stack([stack.numbers(first + z, meaning) for z in range(shape[len(place)])])


Change = Callable[[np.ndarray], np.ndarray]


def change_stack(
    stack: LabelStack, change: Change, shape: tuple[int, ...], volumes: bool = False
) -> Iterator[PlaneDone | tuple[np.ndarray, Meaning]]:
    """Change a stack of labels plane by plane, or volume by volume.

    Parameters
    ----------
    stack : LabelStack
    change : callable
        Takes and returns the numbers of a plane or volume.
    shape : tuple of int
        (..., Y, X) of the stack.
    volumes : bool
        Take the last three axes together.

    Yields
    ------
    PlaneDone
        After each plane or volume, with their number; before, while the values of the labels are looked for.
    (array, Meaning)
        In the end the numbers of the whole stack, and how the labels were read.
    """
    yield from stack.survey()
    meaning = stack.meaning()
    places = blocks_of(shape, volumes)
    result = None
    for done, place in enumerate(places):
        block = change(read_block(stack, meaning, shape, place))
        if result is None:
            result = np.zeros(shape, block.dtype)
        result[place] = block
        yield PlaneDone(done + 1, len(places))
    assert result is not None
    yield result, meaning


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
