"""Lemma 2 and Theorem 2 as a verdict: how many classes a noise transition matrix leaves for a network to learn."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from napari_metastructure.errors import listed
from napari_metastructure.labels.transition import ALPHA, TransitionMatrix, homogeneity

_SURE = 3.3
"""Standard errors by which an estimate has to exceed another to be called greater."""

_ROUNDING = 1e-9
"""Shares in a closed form that differ by less are equal."""

_MANY = 5
"""Classes that are still named one by one."""


@dataclass(frozen=True)
class Verdict:
    """Verdict on noisy labels: the classes a network can still tell apart.

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
        """Return all of it in lists and numbers that JSON and YAML take."""
        return {**asdict(self), "classes": list(self.classes), "fused": [list(group) for group in self.fused]}


@dataclass(frozen=True)
class _Group:
    """Classes that draw their labels alike."""

    classes: tuple[int, ...]
    share: np.ndarray  # (M,) of the labels among its labelled pixels
    labelled: float  # share of pixels that are labelled, in the class that has fewest


def verdict(matrix: TransitionMatrix) -> Verdict:
    """Say how many classes noisy labels leave distinguishable, which are fused, and how hard the rest is.

    By Lemma 2 as many classes remain as the matrix has rank; by Theorem 2 full rank keeps all of them learnable.
    The lemma's proof takes a lower rank for rows that are equal. A row may also be a mixture of others: then every
    class keeps a density of its own, but one cannot be told from a mixture of others, and the sentence says so.
    Only labelled pixels count, because losses leave the others out: rows are compared after each was divided by its
    labelled share. Rows of an estimate are alike where a test of homogeneity finds no difference at the level
    `ALPHA`, the most alike joined first.

    Parameters
    ----------
    matrix : TransitionMatrix

    Returns
    -------
    Verdict

    Examples
    --------
    >>> from napari_metastructure.labels.transition import flipping_matrix
    >>> found = verdict(flipping_matrix((0, 1), 0.45))
    >>> found.distinguishable, found.pixels
    (2, 198)
    """
    judged = [c for c, known in zip(matrix.classes, matrix.known, strict=True) if known]
    groups = [_group(matrix, rows) for rows in _alike(matrix)]
    hardest = max(_pairs(groups), key=lambda pair: pair[1]) if matrix.rank > 1 else None
    parts = [_rank(matrix, len(judged), groups)]
    if groups and (lost := [c for c in judged if not any(c in group.classes for group in groups)]):
        parts.append(f"{_named(lost).capitalize()} {'keeps' if len(lost) == 1 else 'keep'} no label.")
    if hardest is not None:
        parts += _details(matrix, groups, hardest)
    if absent := [c for c in matrix.classes if c not in judged]:
        verbs = ("has", "is") if len(absent) == 1 else ("have", "are")
        parts.append(f"{_named(absent).capitalize()} {verbs[0]} no clean pixel and {verbs[1]} left out.")
    return Verdict(
        classes=tuple(judged),
        distinguishable=matrix.rank,
        fused=tuple(group.classes for group in groups if len(group.classes) > 1),
        sentence=" ".join(parts),
        contrast=hardest and hardest[0],
        pixels=hardest and hardest[1],
    )


def pixels_needed(first: np.ndarray, second: np.ndarray, labelled: float = 1.0) -> int:
    """Count the pixels a neighbourhood must hold so that two classes' densities differ by two standard errors.

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
    """
    differ = first != second
    p, q = first[differ], second[differ]
    needed = 4 * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2
    return math.ceil(max(1.0, float(needed.min())) / labelled * (1 - 1e-9))  # rounding must not make it one more


def _alike(matrix: TransitionMatrix) -> list[list[int]]:
    """Group the rows that draw their labels alike; never into fewer groups than the rank proves distinct."""
    groups = [[int(i)] for i in np.flatnonzero(matrix.known) if matrix.matrix[i].any()]
    while len(groups) > max(matrix.rank, 1):
        pairs = list(combinations(range(len(groups)), 2))
        likeness = [_likeness(matrix, groups[a], groups[b]) for a, b in pairs]
        if max(likeness) < ALPHA:
            break
        a, b = pairs[int(np.argmax(likeness))]
        groups[a] = sorted(groups[a] + groups.pop(b))
    return groups


def _likeness(matrix: TransitionMatrix, first: list[int], second: list[int]) -> float:
    """Compare two groups of rows: 0 to 1, below `ALPHA` where they differ."""
    if matrix.counts is not None:
        return homogeneity(*(matrix.counts[rows, :-1].sum(axis=0) for rows in (first, second)))
    return float(np.abs(_group(matrix, first).share - _group(matrix, second).share).max() <= _ROUNDING)


def _group(matrix: TransitionMatrix, rows: list[int]) -> _Group:
    total = (matrix.matrix[rows] if matrix.counts is None else matrix.counts[rows, :-1]).sum(axis=0)
    labelled = float(1 - matrix.unlabelled[rows].max())
    return _Group(tuple(matrix.classes[i] for i in rows), total / total.sum(), labelled)


def _pairs(groups: list[_Group]) -> Iterator[tuple[float, int, _Group, _Group]]:
    """Iterate over all pairs of groups, with their contrast and the pixels needed."""
    for a, b in combinations(groups, 2):
        pixels = pixels_needed(a.share, b.share, min(a.labelled, b.labelled))
        yield float(abs(a.share - b.share).max()), pixels, a, b


# ---- Sentences, for readers who have never heard of rank ---------------------------------------------------


def _rank(matrix: TransitionMatrix, count: int, groups: Sequence[_Group]) -> str:
    """Say how many classes remain, and what that means."""
    start = f"Rank {matrix.rank} of {count}"
    if matrix.rank == count and count > 1:
        everyone = "both classes" if count == 2 else f"all {count} classes"
        # Theorem 2 is about RCL, and counted labels may have noise of any kind.
        where = "" if matrix.counts is None else " as long as the noise does not depend on the place"
        return f"{start}: {everyone} remain distinguishable, so a network can learn them{where} (Theorem 2)."
    if matrix.rank == 0:
        return f"{start}: no label is left, so there is nothing to learn."
    if count == 1:
        return f"{start}: there is a single class, so there is nothing to tell apart."
    if len(groups) == len(groups[0].classes) == 1:
        return f"{start}: only class {groups[0].classes[0]} keeps labels, so there is nothing to learn."
    if matrix.counts is not None:
        start += f" as far as {int(matrix.counts[:, :-1].sum())} labelled pixels tell"
    if matrix.rank == 1:
        return f"{start}: the noisy labels do not depend on the class, so there is nothing to learn (Lemma 2)."
    return f"{start}: {matrix.rank} of the {count} classes remain distinguishable (Lemma 2)."


def _details(
    matrix: TransitionMatrix, groups: Sequence[_Group], hardest: tuple[float, int, _Group, _Group]
) -> Iterator[str]:
    """Say which classes are fused, how hard the others are to tell apart, and where a network learns wrong ones."""
    for group in groups:
        if len(group.classes) > 1:
            yield f"{listed(group.classes)} have the same noisy labels and are fused into one."
    if len(groups) > matrix.rank:  # rows depend on each other though no two are equal
        others = "other two" if any(len(group.classes) > 1 for group in groups) else "two"
        yield (
            f"No {others} classes have the same noisy labels, so each keeps a density of its own; but the labels of "
            "one, or of a mixture of some, are also those of a mixture of others, and the two cannot be told apart."
        )
    contrast, pixels, a, b = hardest
    pair = "the two apart" if np.count_nonzero(matrix.known) == 2 else f"{listed(a.classes)} from {listed(b.classes)}"
    hard = ", the hardest pair" if len(groups) > 2 else ""
    if pixels == 1:
        yield f"It takes a single pixel to tell {pair}{hard}."
    else:
        size = f"a neighbourhood of about {pixels} pixels (a disc of radius {math.sqrt(pixels / math.pi):.1f})"
        by = f"by two standard errors: their shares of a label differ by {contrast:.2g}"
        yield f"It takes {size} to tell {pair}{hard and hard + ','} {by}."
    if len(matrix.classes) == 2 and np.linalg.det(matrix.matrix) < 0:
        yield "The labels are swapped on average, so a network learns the inverse."
    elif wrong := [group.classes[0] for group in groups if len(group.classes) == 1 and _is_misread(matrix, group)]:
        places = f"{len(wrong)} classes" if len(wrong) > _MANY else _named(wrong)
        own = "its own" if len(wrong) == 1 else "their own"
        yield f"On {places} another label is commoner than {own}, so a network's likeliest class there is a wrong one."


def _named(classes: Sequence[int]) -> str:
    return f"class{'' if len(classes) == 1 else 'es'} {listed(classes)}"


def _is_misread(matrix: TransitionMatrix, group: _Group) -> bool:
    """Say whether another label is commoner on a class than its own, beyond what chance makes so."""
    row = matrix.classes.index(group.classes[0])
    own, most = group.share[row], group.share.max()
    if matrix.counts is None:
        return bool(most - own > _ROUNDING)
    return bool(most - own > _SURE * math.sqrt((most + own) / matrix.counts[row, :-1].sum()))
