"""Choose exactly n of N pixels, block by block, every set of n equally likely.

Each pixel is chosen independently first, with probability n / N. Given how many that were, all sets of that size are
equally likely; so they still are once a few pixels, chosen uniformly, are added or taken away until n are left. The
same is done twice: with the numbers of all blocks, then within a block.
"""

from __future__ import annotations

import numpy as np

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.draw import random_words


def share_out(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """How many of n pixels chosen at random fall into each block.

    `numpy.random.Generator.multivariate_hypergeometric` draws the same, of less than 10**9 pixels.

    Parameters
    ----------
    counts : (B,) int64 array
        Pixels of each block.
    n : int
        From 0 to their sum.
    rng : numpy.random.Generator

    Returns
    -------
    (B,) int64 array
        Adds up to n; nowhere above ``counts``.
    """
    total = int(counts.sum())
    if not total:
        return np.zeros_like(counts)
    chosen = rng.binomial(counts, n / total)
    surplus = int(chosen.sum()) - n
    pool = chosen if surplus > 0 else counts - chosen
    ranks = rng.choice(int(pool.sum()), abs(surplus), replace=False, shuffle=False)
    moved = np.bincount(np.searchsorted(np.cumsum(pool), ranks, "right"), minlength=counts.size)
    return np.asarray(chosen - np.sign(surplus) * moved)


def choose(codes: np.ndarray, counts: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose an exact number of the pixels of each group within one block.

    Parameters
    ----------
    codes : (n,) uint8 array
        Class codes, 255 for unlabelled.
    counts : (G,) int64 array
        From `count`: a group is a class, or with G = 1 all labelled pixels.
    numbers : (G,) int64 array
        How many of each group to choose.
    rng : numpy.random.Generator

    Returns
    -------
    (sum of numbers,) intp array
        Their places in the block.
    """
    share = numbers / np.maximum(counts, 1)
    # Three standard deviations more than wanted: to take some away is cheaper than to look for more.
    share = np.minimum(1, share + 3 * np.sqrt(share * (1 - share) / np.maximum(counts, 1)))
    limits = np.zeros(256, np.uint32)
    limits[: 255 if len(counts) == 1 else len(counts)] = np.rint(share * 2.0**31)
    # 31 bits, for the limits of all (2**31) and of none (0) have to fit.
    chosen = random_words(codes.size, rng) >> np.uint32(1) < limits.take(codes)
    places = np.flatnonzero(chosen)
    group = codes.take(places)
    if len(counts) > 1:
        places = places.take(np.argsort(group, kind="stable"))  # group after group
    keep, added, start = np.ones(places.size, dtype=bool), [], 0
    for g, (size, number) in enumerate(zip(count(group, len(counts)), numbers, strict=True)):
        if size > number:
            keep[start + rng.choice(size, size - number, replace=False, shuffle=False)] = False
        elif size < number:
            rest = np.flatnonzero(_members(codes, g, len(counts)) & ~chosen)
            added.append(rng.choice(rest, number - size, replace=False, shuffle=False))
        start += size
    return np.concatenate([places[keep], *added])


def count(codes: np.ndarray, groups: int) -> np.ndarray:
    """(G,) int64: pixels of each class in a block, or with ``groups`` = 1 all that are labelled."""
    if groups <= 16:
        return np.array([np.count_nonzero(_members(codes, g, groups)) for g in range(groups)], np.int64)
    return np.bincount(codes, minlength=groups)[:groups]


def _members(codes: np.ndarray, g: int, groups: int) -> np.ndarray:
    return codes != UNLABELLED if groups == 1 else codes == g
