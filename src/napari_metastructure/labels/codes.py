"""From label values to something known of their class: by a table where values are small, by search where not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import blocks

LARGEST_TABLE = 1 << 16
"""A table of this many entries still stays in the cache."""


def lookup(labels: np.ndarray, classes: Sequence[int], values: Any, missing: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives each pixel the value of its class.

    Parameters
    ----------
    labels : array of integers, none of them negative
        Only its dtype and greatest value are looked at.
    classes : sequence of int
        M, ascending.
    values : (M,) array
        One for each class.
    missing : int
        The value of pixels that are of no class.

    Returns
    -------
    callable
        From a block of these labels to an array of its shape and the dtype of ``values``.
    """
    top = int(labels.max())
    fitting = [c for c in classes if c <= top]
    known = np.append(np.asarray(values)[: len(fitting)], np.asarray(values).dtype.type(missing))
    if top < LARGEST_TABLE:
        table = np.full(top + 1, missing, known.dtype)
        table[fitting] = known[:-1]
        return lambda block: table.take(block.astype(np.intp, copy=False))
    # One past the last class, so that every label has a place; whatever is there is no hit, or a repeated one.
    steps = np.array([*fitting, top], labels.dtype)

    def search(block: np.ndarray) -> np.ndarray:
        place = np.searchsorted(steps, block)
        place[steps[place] != block] = len(fitting)
        return known.take(place)

    return search


def encoder(labels: np.ndarray, classes: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives blocks of these labels as class codes: 0 to M - 1, and 255 for what is no class.

    Labels that are codes already come back as they are, not copied; they have to have passed `check_classes`.
    """
    if labels.dtype == np.uint8 and tuple(classes) == tuple(range(len(classes))):
        return lambda block: block
    return lookup(labels, classes, np.arange(len(classes), dtype=np.uint8), UNLABELLED)


def encode(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Labels as class codes, whatever their values.

    Parameters
    ----------
    labels : (..., Y, X) array of integers, none of them negative
    classes : sequence of int
        M, ascending.

    Returns
    -------
    (..., Y, X) uint8 array
        0 to M - 1, and 255 where a pixel is of no class.
    """
    codes = np.empty(labels.shape, np.uint8)
    code_of = lookup(labels, classes, np.arange(len(classes), dtype=np.uint8), UNLABELLED)
    for block, code in blocks(labels, codes, size=1 << 16):
        code[:] = code_of(block)
    return codes
