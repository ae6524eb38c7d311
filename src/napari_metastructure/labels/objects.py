"""PCL object by object: each one dilated or eroded by steps of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_metastructure.labels.classes import check_labels, result_dtype
from napari_metastructure.labels.components import objects
from napari_metastructure.labels.template import (
    all_ones,
    check_steps,
    coding,
    eroded,
    grown_once,
    to_codes,
    to_keys,
    windows,
)


def perturb_objects(labels: Any, n: int, rng: np.random.Generator) -> np.ndarray:
    """Dilate or erode every object by a random number of steps of its own.

    An object is an 8-connected piece of one class in one plane, so a whole network is one. Its steps are drawn
    uniformly from the whole numbers ``-n`` to ``n``; below 0 it is eroded as by `perturbed.erode`, above 0 dilated.

    Where objects collide: first those to be eroded shrink. Then the others grow into the background that is there
    now, in ``n`` passes, of which an object takes part in its last ones, so that all end together. A pixel goes to
    whoever reaches it first, in the same pass to the lowest class; none takes another's pixels, and objects of one
    class may merge. Unlabelled pixels (255) stay so, belong to no object and neither erode nor give way.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed. 0 is background; the objects of one class may share its number, as in a mask.
    n : int
        Most steps, pixels, from 0.
    rng : numpy.random.Generator
        One number is drawn per object, plane after plane, in the order of their first pixels.

    Returns
    -------
    (..., Y, X) array
        The input's dtype where it can hold 255, else uint8.

    Raises
    ------
    InputError
        For a negative ``n``; labels that are floats or negative; more different labels than there can be classes.
    """
    n = check_steps(n)
    array = check_labels(labels)
    code_of, label_of = coding(array)
    result = np.empty(array.shape, result_dtype(array))
    size = array.shape[-2:]
    for plane, perturbed in zip(array.reshape(-1, *size), result.reshape(-1, *size), strict=True):
        codes = code_of(plane)
        steps = random_steps(codes, n, rng)
        for outer, inner, target in windows((1, *size), 2 * n):
            here = steps[outer[1]]
            perturbed[target[1]] = label_of(_grown(_shrunk(codes[outer[1]], here), here)[inner[1]])
    return result


def random_steps(codes: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """For every pixel of a plane the steps of its object, drawn from ``-n`` to ``n``; 0 where there is none.

    Parameters
    ----------
    codes : (Y, X) uint8 array

    Returns
    -------
    (Y, X) array of the smallest signed integers that hold ``n``
    """
    count, strips = objects(codes)
    drawn = rng.integers(-n, n + 1, size=count)
    smallest = np.min_scalar_type(-n - 1)
    steps = np.empty(codes.shape, smallest)
    top = 0
    for strip in strips:
        each = np.zeros(len(strip.lengths), smallest)
        each[strip.inside] = drawn[strip.owners]
        rows = np.repeat(each, strip.lengths).reshape(-1, codes.shape[1])
        steps[top : top + len(rows)] = rows
        top += len(rows)
    return steps


def _shrunk(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Every object with negative steps eroded by them."""
    worn = result = codes
    for k in range(1, 1 - int(steps.min())):
        worn = eroded(worn, 1)
        result = result & (worn | all_ones(steps > -k))
    return result


def _grown(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Every object with positive steps dilated by them, all ending with the same pass."""
    key, nobody = to_keys(codes)
    # As all end together, all that grow have equally many passes left: a pixel just taken goes on like its owner
    # without knowing it.
    awake = np.zeros_like(codes)
    for left in range(int(steps.max()), 0, -1):
        awake |= all_ones(steps >= left)
        new = grown_once(key, key | ~awake, nobody)
        awake |= all_ones(new != key)
        key = new
    return to_codes(key, nobody)
