"""Noise transition matrices: in closed form for RCL and RL, and counted for any two label images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import (
    blocks,
    by_class,
    check_classes,
    check_labels,
    check_share,
    classes_in,
    listed,
)
from napari_metastructure.labels.codes import lookup
from napari_metastructure.labels.matrix import TransitionMatrix

__all__ = [
    "TransitionMatrix",
    "count_pairs",
    "estimate_transition_matrix",
    "flipping_matrix",
    "from_counts",
    "given_matrix",
    "random_matrix",
    "sampling_matrix",
]

SUM_TOLERANCE = 1e-6
"""How far the probabilities of a row may add up to something else than 1."""


def sampling_matrix(classes: Sequence[int], keep: float | Mapping[int, float]) -> TransitionMatrix:
    """RCL by sampling: what is kept on the diagonal, the rest unlabelled.

    Parameters
    ----------
    classes : sequence of int
        Ascending.
    keep : float or mapping of class to float
        The probability with which a pixel keeps its label, 0 to 1.

    Raises
    ------
    InputError
        As `napari_metastructure.labels.classes.by_class`.
    """
    return TransitionMatrix(tuple(classes), np.diag(by_class(keep, classes, "The fraction kept")))


def flipping_matrix(classes: Sequence[int], fraction: float | Mapping[int, float]) -> TransitionMatrix:
    """RCL by flipping: 1 - p on the diagonal, p / (M - 1) elsewhere.

    Parameters
    ----------
    classes : sequence of int
        Ascending, two at least.
    fraction : float or mapping of class to float
        The probability p with which a pixel gets another class, 0 to 1.

    Raises
    ------
    InputError
        As `napari_metastructure.labels.classes.by_class`, and for a single class.
    """
    share = by_class(fraction, classes, "The fraction flipped")
    if len(share) < 2:
        raise InputError(f"Flipping needs two classes at least; there is only class {listed(classes)}.")
    matrix = np.repeat(share[:, None] / (len(share) - 1), len(share), axis=1)
    np.fill_diagonal(matrix, 1 - share)
    return TransitionMatrix(tuple(classes), matrix)


def given_matrix(classes: Sequence[int], matrix: Any) -> TransitionMatrix:
    """RCL by any noise transition matrix.

    Parameters
    ----------
    classes : sequence of int
        Ascending.
    matrix : (M, M) array-like
        ``matrix[i, j]`` = P(y* = ``classes[j]`` | y = ``classes[i]``); rows add up to 1.

    Raises
    ------
    InputError
        For a matrix that is not square, does not fit the classes, or whose rows are no probabilities.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        shape = " x ".join(map(str, values.shape))
        raise InputError(f"A noise transition matrix must be square, not {shape}; give one row and column per class.")
    if len(values) != len(classes):
        size = len(values)
        raise InputError(f"A {size} x {size} noise transition matrix does not fit the classes {listed(classes)}.")
    for label, row in zip(classes, values, strict=True):
        for share in row:
            check_share(share, f"A probability in the row of class {label}")
        _check_sum(row, f"The row of class {label}")
    return TransitionMatrix(tuple(classes), values / values.sum(axis=1, keepdims=True))


def random_matrix(classes: Sequence[int], probability: float | Mapping[int, float]) -> TransitionMatrix:
    """RL: all rows equal, for the labels do not look at the truth.

    Parameters
    ----------
    classes : sequence of int
        Ascending.
    probability : float or mapping of class to float
        Of the second of two classes (the paper's P_generate), or of each class, adding up to 1.

    Raises
    ------
    InputError
        For probabilities outside 0 to 1 or not adding up to 1, a single one where there are not two classes, a class
        that is absent or left out.
    """
    if isinstance(probability, Mapping):
        row = by_class(probability, classes, "The probability")
        _check_sum(row, "The probabilities")
    elif len(classes) == 2:
        share = check_share(probability, "The probability")
        row = np.array([1 - share, share])
    else:
        raise InputError(f"A single probability is for two classes; give one for each of {listed(classes)}.")
    return TransitionMatrix(tuple(classes), np.tile(row / row.sum(), (len(classes), 1)))


def estimate_transition_matrix(clean: Any, noisy: Any, classes: Sequence[int] | None = None) -> TransitionMatrix:
    """Count which noisy label the pixels of each true class carry.

    Parameters
    ----------
    clean, noisy : (..., Y, X) arrays of integers or booleans, of the same shape
        Pixels that are 255 in ``clean`` are left out; those in ``noisy`` count as unlabelled.
    classes : sequence of int, optional
        Ascending; those of both label images by default.

    Returns
    -------
    TransitionMatrix
        With counts.

    Raises
    ------
    InputError
        For labels that are none (floats, negative), shapes that differ, a label that is none of the classes, or no
        pixel that is labelled in both.
    """
    clean, noisy = check_labels(clean, "The clean labels"), check_labels(noisy, "The noisy labels")
    if clean.shape != noisy.shape:
        sizes = [" x ".join(map(str, a.shape)) for a in (clean, noisy)]
        raise InputError(f"The clean labels have {sizes[0]} pixels but the noisy ones {sizes[1]}; give equal sizes.")
    if classes is None:
        classes = sorted({*classes_in(clean, "The clean labels"), *classes_in(noisy, "The noisy labels")})
    chosen = check_classes(clean, classes, "The clean labels")
    check_classes(noisy, chosen, "The noisy labels")
    return from_counts(chosen, count_pairs(clean, noisy, chosen))


def from_counts(classes: Sequence[int], counts: np.ndarray) -> TransitionMatrix:
    """The matrix that counted pixels give, for one pair of label images or the sum over several.

    Parameters
    ----------
    classes : sequence of int
        Ascending.
    counts : (M, M + 1) array of int
        Pixels by true class and noisy label, the last column unlabelled.

    Raises
    ------
    InputError
        If no pixel is labelled in both.
    """
    counts = np.asarray(counts, dtype=np.int64)
    if not counts[:, :-1].any():
        raise InputError("No pixel is labelled in both the clean and the noisy labels; there is nothing to compare.")
    with np.errstate(invalid="ignore"):
        matrix = counts[:, :-1] / counts.sum(axis=1, keepdims=True)
    return TransitionMatrix(tuple(classes), matrix, counts)


def count_pairs(clean: np.ndarray, noisy: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Pixels by true class and noisy label, block by block; labels that are no class count as unlabelled.

    Returns
    -------
    (M, M + 1) int64 array
        The last column is unlabelled.
    """
    width = len(classes) + 1
    counts = np.zeros(width * width, np.int64)
    places = np.arange(width - 1, dtype=np.uint16)
    row_of, column_of = (lookup(labels, classes, places, width - 1) for labels in (clean, noisy))
    for true, found in blocks(clean, noisy, size=1 << 16):
        counts += np.bincount(row_of(true) * np.uint16(width) + column_of(found), minlength=counts.size)
    return counts.reshape(width, width)[:-1]


def _check_sum(row: np.ndarray, what: str) -> None:
    if abs(row.sum() - 1) > SUM_TOLERANCE:
        raise InputError(f"{what} must add up to 1, not {row.sum():.6g}.")
