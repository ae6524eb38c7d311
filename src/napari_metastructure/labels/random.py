"""RL, random labels: they do not look at the image, so nothing of the meta-structure is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import blocks, check_class_list, listed
from napari_metastructure.labels.draw import BLOCK, draw, draw_table
from napari_metastructure.labels.transition import random_matrix


def random_labels(
    shape: Sequence[int],
    probability: float | Mapping[int, float],
    rng: np.random.Generator,
    classes: Sequence[int] = (0, 1),
    dtype: Any = np.uint8,
) -> np.ndarray:
    """RL: each pixel is drawn independently with given class probabilities.

    Parameters
    ----------
    shape : sequence of int
        Of the result, in pixels; two axes at least.
    probability : float or mapping of class to float
        Of the second of two classes (the paper's P_generate); or of each class, adding up to 1 (to within 1e-6).
    rng : numpy.random.Generator
    classes : sequence of int
        Ascending.
    dtype : data type of integers

    Returns
    -------
    (..., Y, X) array of ``dtype``
        No pixel is 255.

    Raises
    ------
    InputError
        For probabilities outside 0 to 1 or not adding up to 1, a single one where there are not two classes, a class
        that is absent or left out, a shape without pixels, and classes that ``dtype`` cannot hold.
    """
    chosen, kind, sides = check_class_list(classes), np.dtype(dtype), tuple(int(n) for n in shape)
    if len(sides) < 2 or min(sides) < 1:
        raise InputError(f"Random labels of the shape {sides} are no image; give the sides Y and X, 1 or more.")
    if kind.kind not in "iu" or np.iinfo(kind).max < chosen[-1]:
        raise InputError(f"Pixels of type {kind} cannot hold the classes {listed(chosen)}; choose a type of integers.")
    row = random_matrix(chosen, probability).matrix[:1]
    table = draw_table(row, np.arange(len(chosen))[None])
    names = np.array(chosen, kind)
    result = np.empty(sides, kind)
    for out in blocks(result, size=BLOCK):
        names.take(draw(table, 0, out.size, rng), out=out)
    return result
