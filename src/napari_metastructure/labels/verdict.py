"""Lemma 2 and Theorem 2 as a verdict: what a noise transition matrix leaves a network to learn."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from napari_metastructure.labels.rank import ALPHA, homogeneity
from napari_metastructure.labels.sentences import Findings, sentences
from napari_metastructure.labels.transition import TransitionMatrix

_EQUAL = 1e-9
"""Shares in a closed form that differ by less are equal."""


@dataclass(frozen=True)
class Verdict:
    """What can be told apart by noisy labels.

    Attributes
    ----------
    classes : tuple of int
        Those judged: all with a clean pixel.
    distinguishable : int
        The rank of the matrix, which is their number by Lemma 2.
    fused : tuple of tuples of int
        Groups of classes whose labelled pixels draw their labels alike.
    sentence : str
        All of it in words.
    contrast : float or None
        Of the two classes (or fused groups) hardest to tell apart: the largest difference between the shares of one
        label among their labelled pixels, ``|P(1|1) - P(1|0)|`` where there are two classes. None for a single one.
    pixels : int or None
        Pixels a neighbourhood must hold to tell these two apart; see `pixels_needed`.
    """

    classes: tuple[int, ...]
    distinguishable: int
    fused: tuple[tuple[int, ...], ...]
    sentence: str
    contrast: float | None = None
    pixels: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it in lists and numbers that JSON and YAML take."""
        return {**asdict(self), "classes": list(self.classes), "fused": [list(group) for group in self.fused]}


def verdict(matrix: TransitionMatrix) -> Verdict:
    """Say how many classes noisy labels leave distinguishable, which are fused, and how hard the rest is.

    By Lemma 2 as many classes remain as the matrix has rank; by Theorem 2 full rank keeps all of them learnable.
    The lemma's proof takes a lower rank for rows that are equal. A row may also be a mixture of others: then every
    class keeps a density of its own, but one cannot be told from a mixture of others, and the sentence says so.
    Only labelled pixels count, for a loss leaves the others out: rows are compared after each was divided by its
    labelled share. Rows of an estimate are alike where a test of homogeneity finds no difference at the level
    `ALPHA`, the most alike joined first.

    Parameters
    ----------
    matrix : TransitionMatrix

    Returns
    -------
    Verdict
    """
    known = np.flatnonzero(matrix.known)
    groups = _groups(matrix, [int(i) for i in known if matrix.matrix[i].any()])
    found = Findings(
        matrix=matrix,
        judged=tuple(matrix.classes[i] for i in known),
        groups=tuple(tuple(matrix.classes[i] for i in group) for group in groups),
        shares=tuple(_share(matrix, group) for group in groups),
        hardest=_hardest(matrix, groups),
    )
    return Verdict(
        classes=found.judged,
        distinguishable=matrix.rank,
        fused=tuple(group for group in found.groups if len(group) > 1),
        sentence=" ".join(sentences(found)),
        contrast=found.hardest and found.hardest[0],
        pixels=found.hardest and found.hardest[1],
    )


def pixels_needed(first: np.ndarray, second: np.ndarray, labelled: float = 1.0) -> int:
    """How many pixels a neighbourhood must hold so that two classes' densities differ by two standard errors.

    Among n labelled pixels of one class the share of label m has the mean p_m and the variance p_m (1 - p_m) / n.
    Two neighbourhoods, one in each class, differ in it by two standard errors on average where

        n = 4 (p_m (1 - p_m) + q_m (1 - q_m)) / (p_m - q_m)^2,

    p and q being the two rows. The label that needs the fewest is taken, and one pixel at least; n over the labelled
    share is the number of all pixels.

    Parameters
    ----------
    first, second : (M,) arrays
        Shares of the labels among the labelled pixels of each class; not equal.
    labelled : float
        The share of pixels that are labelled, in the class that has fewer.

    Returns
    -------
    int
    """
    differ = first != second
    p, q = first[differ], second[differ]
    needed = 4 * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2
    return math.ceil(max(1.0, float(needed.min())) / labelled * (1 - 1e-9))  # rounding must not make it one more


def _groups(matrix: TransitionMatrix, rows: list[int]) -> list[list[int]]:
    """Rows in groups that draw their labels alike; never fewer groups than the rank proves distinct."""
    groups = [[i] for i in rows]
    while len(groups) > matrix.rank:
        pairs = list(combinations(range(len(groups)), 2))
        likeness = [_likeness(matrix, groups[a], groups[b]) for a, b in pairs]
        if not pairs or max(likeness) < ALPHA:
            break
        a, b = pairs[int(np.argmax(likeness))]
        groups[a] = sorted(groups[a] + groups.pop(b))
    return groups


def _likeness(matrix: TransitionMatrix, first: list[int], second: list[int]) -> float:
    """0 to 1, below `ALPHA` where two groups of rows differ."""
    if matrix.counts is not None:
        return homogeneity(*(matrix.counts[group, :-1].sum(axis=0) for group in (first, second)))
    return float(np.allclose(_share(matrix, first), _share(matrix, second), rtol=0, atol=_EQUAL))


def _share(matrix: TransitionMatrix, group: list[int]) -> np.ndarray:
    """(M,) shares of the labels among the labelled pixels of a group."""
    row = (matrix.matrix[group] if matrix.counts is None else matrix.counts[group, :-1]).sum(axis=0)
    return np.asarray(row / row.sum())


def _hardest(matrix: TransitionMatrix, groups: list[list[int]]) -> tuple[float, int, int, int] | None:
    """Contrast, pixels and places of the two groups that need the most pixels; None for a single group."""
    if matrix.rank < 2:
        return None
    shares = [_share(matrix, group) for group in groups]
    labelled = [float(1 - matrix.unlabelled[group].max()) for group in groups]
    found = []
    for a, b in combinations(range(len(groups)), 2):
        pixels = pixels_needed(shares[a], shares[b], min(labelled[a], labelled[b]))
        found.append((float(abs(shares[a] - shares[b]).max()), pixels, a, b))
    return max(found, key=lambda pair: pair[1])
