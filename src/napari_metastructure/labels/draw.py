"""Class codes drawn at random, each by the probabilities of its row: one 32-bit word a pixel, one look-up.

By inversion: the words from 0 to 2**32 are divided among the outcomes of a row, in a fixed order. A table over the
first 12 bits of a word answers for nearly all pixels; in the few cells where two outcomes meet the rest of the word
decides. So a probability is kept to within 2**-32 (0 and 1 exactly), ten classes cost hardly more than two, and what
becomes of a pixel depends on the state of the generator, its place, its class and the probabilities alone, not on the
size of the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_metastructure.labels import UNLABELLED

BLOCK = 1 << 17
"""Pixels drawn at a time: temporaries stay in the cache. Even, for words are drawn in pairs."""

CELL_BITS = 12
_REST = np.uint32(32 - CELL_BITS)
_SPLIT = 254
"""Marks a cell in which outcomes meet; class codes end at 253."""


@dataclass(frozen=True, eq=False)
class DrawTable:
    """What to draw from, made by `draw_table`.

    Attributes
    ----------
    cells : ((R + 1) * 2**12,) uint8 array
        Outcome of each cell of each row, 254 where it is split; the last row is 255 throughout.
    edges : (R * C,) uint64 array
        ``row * 2**32`` + the word at which each outcome ends, ascending.
    outcomes : (R * C,) uint8 array
        The code each of these stands for.
    """

    cells: np.ndarray
    edges: np.ndarray
    outcomes: np.ndarray

    def row_starts(self) -> np.ndarray:
        """(R + 1,) intp: where each row begins in ``cells``; the last is the row of unlabelled pixels."""
        return np.arange(0, self.cells.size, 1 << CELL_BITS, dtype=np.intp)


def draw_table(probability: np.ndarray, outcomes: np.ndarray) -> DrawTable:
    """Make a table to `draw` from.

    Parameters
    ----------
    probability : (R, C) float array
        Rows of probabilities, each adding up to 1.
    outcomes : (R, C) uint8 array
        The code that each stands for, 0 to 253 or 255, in the order in which words are divided: as a probability
        changes, pixels pass between neighbours in this order.
    """
    rows = len(probability)
    ends = np.cumsum(probability, axis=1)
    # Divided by its last entry, a sum ends with exactly 1: no word is left to an outcome of probability 0.
    words = np.rint(ends / ends[:, -1:] * 2.0**32).astype(np.uint64)
    edges = (words + (np.arange(rows, dtype=np.uint64) << np.uint64(32))[:, None]).ravel()

    codes = outcomes.astype(np.uint8).ravel()
    inside = np.uint64((1 << int(_REST)) - 1)
    upto = ((edges + inside) >> np.uint64(_REST)).astype(np.intp)  # cells that begin before each outcome ends
    cells = np.repeat(codes, np.diff(upto, prepend=0))
    cells[upto[edges & inside != 0] - 1] = _SPLIT
    unlabelled = np.full(1 << CELL_BITS, UNLABELLED, np.uint8)
    return DrawTable(np.concatenate([cells, unlabelled]), edges, codes)


def random_words(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) uint32 array of random words, cut from 64-bit ones, which takes half the time of drawing them singly."""
    pairs = rng.integers(0, 2**64 - 1, (n + 1) // 2, dtype=np.uint64, endpoint=True)
    return pairs.view(np.uint32)[:n]


def draw(table: DrawTable, start: np.ndarray | int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the codes of a block of pixels.

    Parameters
    ----------
    table : DrawTable
    start : (n,) intp array, or int
        For each pixel the beginning of its row (`DrawTable.row_starts`).
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    (n,) uint8 array
    """
    words = random_words(n, rng)
    cell = start + (words >> _REST).astype(np.intp)
    codes = table.cells.take(cell)
    split = np.flatnonzero(codes == _SPLIT)
    if split.size:
        row = (cell[split] >> CELL_BITS).astype(np.uint64)
        codes[split] = table.outcomes[np.searchsorted(table.edges, (row << np.uint64(32)) + words[split], "right")]
    return codes
