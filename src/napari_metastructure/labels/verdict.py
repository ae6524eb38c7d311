"""Lemma 2 and Theorem 2 as a verdict: what a noise transition matrix leaves a network to learn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from napari_metastructure.labels.classes import listed
from napari_metastructure.labels.transition import ALPHA, TransitionMatrix, homogeneity

# -------- The words of a verdict on a noise transition matrix, for readers who have never heard of rank.


_SURE = 3.3
"""Standard errors by which an estimate has to exceed another to be called greater."""

_ROUNDING = 1e-9

_MANY = 5


class Findings(NamedTuple):
    """What there is to say."""

    matrix: TransitionMatrix
    judged: tuple[int, ...]  # classes with a clean pixel
    groups: tuple[tuple[int, ...], ...]  # those that keep labels, classes alike together
    shares: tuple[np.ndarray, ...]  # (M,) shares of the labels of each group
    hardest: tuple[float, int, int, int] | None  # contrast, pixels, places of the two groups


def sentences(found: Findings) -> Iterator[str]:
    """The verdict, sentence by sentence: the rank, why it is not full, how hard it is, what to beware of."""
    matrix, judged, groups = found.matrix, found.judged, found.groups
    yield _rank(found)
    if groups and (lost := sorted(set(judged) - {c for group in groups for c in group})):
        yield f"{_named(lost)} {'keeps' if len(lost) == 1 else 'keep'} no label."
    if matrix.rank > 1:
        for group in groups:
            if len(group) > 1:
                yield f"{listed(group)} have the same noisy labels and are fused into one."
        if len(groups) > matrix.rank:
            yield _mixture(found)
        yield _effort(found)
        yield from _misread(found)
    if absent := [c for c in matrix.classes if c not in judged]:
        has, left = ("has", "is") if len(absent) == 1 else ("have", "are")
        yield f"{_named(absent)} {has} no clean pixel and {left} left out."


def _rank(found: Findings) -> str:
    """How many classes remain, and what that means."""
    matrix, count = found.matrix, len(found.judged)
    start = f"Rank {matrix.rank} of {count}"
    if matrix.rank == count and count > 1:
        everyone = "both classes" if count == 2 else f"all {count} classes"
        # Theorem 2 is about RCL: of labels that were counted nobody has said that their noise is of that kind.
        where = "" if matrix.counts is None else " as long as the noise does not depend on the place"
        return f"{start}: {everyone} remain distinguishable, so a network can learn them{where} (Theorem 2)."
    if matrix.rank == 0:
        return f"{start}: no label is left, so there is nothing to learn."
    if count == 1:
        return f"{start}: there is a single class, so there is nothing to tell apart."
    if len(found.groups[0]) == len(found.groups) == 1:
        return f"{start}: only class {found.groups[0][0]} keeps labels, so there is nothing to learn."
    if matrix.counts is not None:
        start += f" as far as {int(matrix.counts[:, :-1].sum())} labelled pixels tell"
    if matrix.rank == 1:
        return f"{start}: the noisy labels do not depend on the class, so there is nothing to learn (Lemma 2)."
    return f"{start}: {matrix.rank} of the {count} classes remain distinguishable (Lemma 2)."


def _mixture(found: Findings) -> str:
    """Rows that depend on each other though no two are equal: where Lemma 2 counts fewer classes than densities."""
    less, more = _sides(found) or ("a mixture of some", "a mixture of others")
    others = "other two" if any(len(group) > 1 for group in found.groups) else "two"
    return (
        f"No {others} classes have the same noisy labels, so each keeps a density of its own; but the labels of "
        f"{less} are also those of {more}, and the two cannot be told apart."
    )


def _sides(found: Findings) -> list[str] | None:
    """Both sides of the equation between mixtures in words; None if it is not the only one, or an estimate."""
    if found.matrix.counts is not None or len(found.groups) - found.matrix.rank != 1:
        return None
    weights = np.linalg.svd(np.array(found.shares))[0][:, -1]  # of the rows' sum that is 0
    sides = [[g for g, w in zip(found.groups, sign * weights, strict=True) if w > _ROUNDING] for sign in (1, -1)]
    words = []
    for side in sorted(sides, key=lambda side: (len(side), side)):
        classes = listed(sorted(c for group in side for c in group))
        words.append(classes if len(side) == 1 else f"a mixture of {classes}")
    return words


def _effort(found: Findings) -> str:
    """How hard the two are to tell apart that are most alike."""
    assert found.hardest is not None  # there are two groups at least where the rank is 2
    contrast, pixels, a, b = found.hardest
    pair = f"{listed(found.groups[a])} from {listed(found.groups[b])}"
    if len(found.groups) > 2:
        pair += ", the hardest pair,"
    elif len(found.judged) == 2:
        pair = "the two apart"
    if pixels == 1:
        return f"It takes a single pixel to tell {pair}."
    size = f"a neighbourhood of about {pixels} pixels (a disc of radius {_radius(pixels)})"
    return f"It takes {size} to tell {pair} by two standard errors: their shares of a label differ by {contrast:.2g}."


def _radius(pixels: int) -> str:
    radius = math.sqrt(pixels / math.pi)
    return f"{radius:.1f}" if radius < 10 else f"{radius:.0f}"


def _misread(found: Findings) -> Iterator[str]:
    """Classes on which another label is commoner than their own: there a network's likeliest class is another."""
    matrix = found.matrix
    if len(matrix.classes) == 2 and np.linalg.det(matrix.matrix) < 0:
        yield "The labels are swapped on average, so a network learns the inverse."
        return
    wrong = []
    for group, share in zip(found.groups, found.shares, strict=True):
        own = share[matrix.classes.index(group[0])]
        if len(group) == 1 and share.max() - own > _doubt(matrix, group[0], share.max() + own):
            wrong.append(group[0])
    if wrong:
        places = f"{len(wrong)} classes" if len(wrong) > _MANY else _named(wrong).lower()
        own = "its own" if len(wrong) == 1 else "their own"
        yield f"On {places} another label is commoner than {own}, so a network's likeliest class there is a wrong one."


def _doubt(matrix: TransitionMatrix, label: int, shares: float) -> float:
    """By how much the share of one label may exceed that of another by chance; only rounding for a closed form."""
    if matrix.counts is None:
        return _ROUNDING
    pixels = matrix.counts[matrix.classes.index(label), :-1].sum()
    return _SURE * math.sqrt(shares / pixels)


def _named(classes: Sequence[int]) -> str:
    return f"Class{'' if len(classes) == 1 else 'es'} {listed(classes)}"


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
