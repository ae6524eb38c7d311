"""PCL, perturbed clean labels: the labels' structures grown, shrunk, smoothed or thinned to a line.

Everything works plane by plane on the last two axes, in the 3x3 template's steps (`boundary` and `objects` have
the random ones). Class 0 is the background. Unlabelled pixels (255) stay unlabelled and hold nothing up or back:
they neither grow nor erode a class, and no class takes them. For one class without unlabelled pixels, results
equal `scipy.ndimage.binary_dilation` and `binary_erosion` with a 3x3 structure and, for the latter,
``border_value=1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import check_labels, result_dtype, values_in
from napari_metastructure.labels.objects import perturb_objects
from napari_metastructure.labels.template import apply, check_steps, dilated, eroded, regained

__all__ = ["dilate", "erode", "opening", "closing", "skeleton", "perturb_objects"]


def dilate(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Dilate every class ``n`` times by a 3x3 template.

    Each pass grows all classes above 0 at once, into the background only: classes never take each other's pixels.
    Where several reach a background pixel in the same pass, the lowest number gets it.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed.
    n : int
        Passes, pixels of growth, from 0.
    classes : sequence of int, optional
        The labels that may occur, ascending; anything else is refused. Default: whatever occurs.

    Returns
    -------
    (..., Y, X) array
        The input's dtype where it can hold 255, else uint8.

    Raises
    ------
    InputError
        For a negative ``n``, labels that are floats or negative, or a label that is none of the classes.
    """
    n = check_steps(n)
    return apply(labels, classes, lambda codes: dilated(codes, n), n)


def erode(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Erode every class ``n`` times by a 3x3 template.

    In each pass a pixel keeps its class if all of its 3x3 neighbourhood has that class, else it becomes
    background. What lies outside the image and unlabelled pixels do not erode. Classes that touch both lose their
    side of the boundary.

    Parameters, results and errors as in `dilate`.
    """
    n = check_steps(n)
    return apply(labels, classes, lambda codes: eroded(codes, n), n)


def opening(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Erode ``n`` times, then dilate ``n`` times: what is at most ``2 n`` pixels wide goes, corners turn square.

    No class gains a pixel, and a second opening changes nothing.

    Parameters, results and errors as in `dilate`.
    """
    n = check_steps(n)
    return apply(labels, classes, lambda codes: dilated(eroded(codes, n), n), 2 * n)


def closing(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Dilate ``n`` times, then let the background grow back ``n`` times: its gaps of up to ``2 n`` pixels are filled.

    For one class this is dilation followed by erosion. With several, erosion would cut a gap wherever two of them
    touch; here only the background takes back, so no class loses a pixel. A gap between two classes is shared as in
    `dilate`. A second closing changes nothing.

    Parameters, results and errors as in `dilate`.
    """
    n = check_steps(n)
    return apply(labels, classes, lambda codes: regained(dilated(codes, n), n), 2 * n)


def skeleton(labels: Any) -> np.ndarray:
    """The one-pixel-wide skeleton of every class, on background.

    Each class of each plane is thinned by itself (`skimage.morphology.skeletonize`); what is not on a skeleton
    becomes background.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed. Unlabelled pixels stay unlabelled.

    Returns
    -------
    (..., Y, X) array
        The input's dtype where it can hold 255, else uint8.

    Raises
    ------
    InputError
        For labels that are floats or negative.
    """
    from skimage.morphology import skeletonize

    array = check_labels(labels)
    result = np.zeros(array.shape, result_dtype(array))
    size = array.shape[-2:]
    for plane, thin in zip(array.reshape(-1, *size), result.reshape(-1, *size), strict=True):
        for value in values_in(plane):
            if value == UNLABELLED:
                thin[plane == UNLABELLED] = UNLABELLED
            elif value:
                box, mask = _cropped(plane == value)
                thin[box][skeletonize(mask)] = value
    return result


def _cropped(mask: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """The smallest box around the true pixels and what is in it: a small class need not cost a whole plane."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return box, mask[box]
