"""Connected objects of a label plane, found from runs of equal pixels instead of from pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_metastructure.labels import UNLABELLED

STRIP = 1 << 19
"""Pixels looked at together, which bounds the memory where almost every pixel is a run."""


@dataclass(slots=True)
class Strip:
    """Some rows of a plane as runs, pieces of one row with one label, in reading order."""

    lengths: np.ndarray
    """(R,) int32, pixels; they add up to whole rows."""
    inside: np.ndarray
    """(R,) bool, whether the run belongs to an object."""
    owners: np.ndarray
    """(runs inside,) int32, the number of that object."""


def objects(codes: np.ndarray) -> tuple[int, list[Strip]]:
    """Number the 8-connected objects of a plane, of each class by itself, in the order of their first pixels.

    Pixels of 0 and 255 belong to none. Faster than labelling pixels as long as objects have an inside: runs are few.

    Parameters
    ----------
    codes : (Y, X) uint8 array

    Returns
    -------
    count : int
    strips : list of Strip
        From the top.
    """
    height, width = codes.shape
    rows = max(1, STRIP // width)
    strips: list[Strip] = []
    pairs = [np.empty((2, 0), np.int32)]
    shared, nodes = pairs[0][0], 0
    for top in range(0, height, rows):
        # One row more than is kept: its runs are the next strip's first, which ties the two strips' pieces together.
        part = codes[top : top + rows + 1]
        new = _run_starts(part)
        inside = (part != 0) & (part != UNLABELLED)
        first = new & inside
        count, owners = _connected(_links(part, new, inside, first), int(np.count_nonzero(first)))
        owners += nodes
        if top:
            pairs.append(np.stack([shared, owners[: len(shared)]]))
        kept = int(np.count_nonzero(first[:rows]))
        starts = np.flatnonzero(new[:rows])
        lengths = np.diff(starts, append=new[:rows].size).astype(np.int32)
        strips.append(Strip(lengths, inside.reshape(-1)[starts], owners[:kept]))
        shared = owners[kept:]
        nodes += count
    count, numbers = _connected(np.concatenate(pairs, axis=1), nodes)
    for strip in strips:
        strip.owners = numbers[strip.owners]
    return count, strips


def _run_starts(part: np.ndarray) -> np.ndarray:
    """True on the first pixel of each run."""
    new = np.empty(part.shape, bool)
    new[:, 0] = True
    np.not_equal(part[:, 1:], part[:, :-1], out=new[:, 1:])
    return new


def _links(part: np.ndarray, new: np.ndarray, inside: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Pairs of runs that touch across two rows and have one class, as (2, K) numbers of runs inside.

    Two runs that lie one above the other do so first where one of them starts. Two that touch by a corner alone
    end and start at that corner, both of them.
    """
    number = np.cumsum(first, dtype=np.int32).reshape(part.shape)
    number -= 1
    corner = new[:-1, 1:] & new[1:, 1:]
    here, left, right = np.s_[:], np.s_[:-1], np.s_[1:]
    found = []
    for above, below, where in ((here, here, new[:-1] | new[1:]), (left, right, corner), (right, left, corner)):
        upper, lower = np.s_[:-1, above], np.s_[1:, below]
        meet = where & inside[upper] & (part[upper] == part[lower])
        found.append(np.stack([number[upper][meet], number[lower][meet]]))
    return np.concatenate(found, axis=1)


def _connected(links: np.ndarray, nodes: int) -> tuple[int, np.ndarray]:
    """How many groups linked nodes form, and the group of each, numbered by their first nodes."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    graph = csr_array((np.ones(links.shape[1], bool), (links[0], links[1])), shape=(nodes, nodes))
    count, groups = connected_components(graph, directed=False)
    return int(count), groups
