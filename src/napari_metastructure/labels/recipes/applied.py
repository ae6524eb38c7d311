"""Recipes applied to stacks, plane by plane, each plane with a generator of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import (
    check_class_list,
    check_classes,
    check_labels,
    classes_in,
    result_dtype,
)
from napari_metastructure.labels.recipes.base import RecipeBase


def apply(
    recipe: RecipeBase, labels: Any, seed: int, classes: Sequence[int] | None = None, first: int = 0
) -> np.ndarray:
    """Apply a recipe plane by plane.

    Plane k is drawn with ``numpy.random.default_rng([seed, first + k])``: alone it gives what it gives within its
    stack, and a stack that is cut into pieces gives what it gives whole.

    Parameters
    ----------
    recipe : Recipe
    labels : (..., Y, X) array of integers or booleans
        Not changed.
    seed : int
        From 0.
    classes : sequence of int, optional
        Ascending; those in the whole stack by default, so that a plane that lacks a class is drawn as the others are.
    first : int
        Number of the first plane.

    Returns
    -------
    (..., Y, X) array
        The input's dtype, uint8 if that cannot hold 255.

    Raises
    ------
    InputError
        If the labels are none, are all unlabelled, or have a class that is not among those given; if the recipe does
        not fit the classes; for a negative seed.
    """
    labels = check_labels(labels)
    if recipe.family == "RL" and classes is not None:  # draws without a look at the labels
        chosen = check_class_list(classes)
    else:
        chosen = check_classes(labels, classes)
    if labels.ndim == 2:
        return recipe.apply(labels, _generator(seed, first), chosen)
    result = np.empty(labels.shape, result_dtype(labels))
    for k, place in enumerate(np.ndindex(labels.shape[:-2])):
        result[place] = recipe.apply(labels[place], _generator(seed, first + k), chosen)
    return result


def apply_to_plane(
    recipe: RecipeBase,
    labels: Any,
    index: int | tuple[int, ...],
    seed: int,
    classes: Sequence[int] | None = None,
    first: int = 0,
) -> np.ndarray:
    """One plane of what `apply` makes of a stack, without making the others.

    Parameters
    ----------
    recipe : Recipe
    labels : (..., Y, X) array of integers or booleans
        With ``classes`` given, only the plane is read.
    index : int or tuple of int
        The plane: its number in the order of memory, or its place along the leading axes (``()`` of a single one).
    seed, classes, first
        As for `apply`.

    Returns
    -------
    (Y, X) array
        Equal to ``apply(recipe, labels, seed, classes, first)[index]``.

    Raises
    ------
    InputError
        As `apply`.
    """
    leading = tuple(np.shape(labels)[:-2])
    place = index if isinstance(index, tuple) else tuple(int(i) for i in np.unravel_index(index, leading))
    number = int(np.ravel_multi_index(place, leading)) if place else 0
    chosen = classes_in(check_labels(labels)) if classes is None else check_class_list(classes)
    return recipe.apply(check_labels(labels[place]), _generator(seed, first + number), chosen)


def _generator(seed: int, plane: int) -> np.random.Generator:
    if seed < 0:
        raise InputError(f"The seed must be a whole number from 0, not {seed}.")
    return np.random.default_rng([seed, plane])
