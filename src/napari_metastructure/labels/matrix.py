"""A noise transition matrix: the share of each true class that carries each noisy label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from napari_metastructure.labels.rank import rank_of_counts, rank_of_matrix

_ROUNDING = 1e-12
"""What a row lacks of 1 by less is rounding, no unlabelled pixels."""


@dataclass(frozen=True, eq=False)
class TransitionMatrix:
    """P(y* = j | y = i), the paper's Q of y* given y: a recipe's own, or an estimate from counted pixels.

    Attributes
    ----------
    classes : tuple of int
        The M classes, ascending; they name rows and columns.
    matrix : (M, M) float64 array
        Rows are true classes, columns noisy ones. What a row lacks of 1 is unlabelled. The row of a class without
        a clean pixel is NaN.
    counts : (M, M + 1) int64 array, optional
        Pixels by true class and noisy label, the last column unlabelled; None for a closed form.
    """

    classes: tuple[int, ...]
    matrix: np.ndarray
    counts: np.ndarray | None = None

    @property
    def unlabelled(self) -> np.ndarray:
        """(M,) share of each true class that carries no label."""
        if self.counts is None:
            rest = 1 - self.matrix.sum(axis=1)
            return np.where(rest > _ROUNDING, rest, 0)
        with np.errstate(invalid="ignore"):
            return np.asarray(self.counts[:, -1] / self.counts.sum(axis=1))

    @property
    def known(self) -> np.ndarray:
        """(M,) booleans: whether a class has a row, that is a clean pixel."""
        return ~np.isnan(self.matrix).any(axis=1)

    @cached_property
    def singular_values(self) -> np.ndarray:
        """Singular values of the matrix, descending: M, or as many as there are classes with a clean pixel."""
        return np.linalg.svd(self.matrix[self.known], compute_uv=False)

    @property
    def rank(self) -> int:
        """How many rows are linearly independent; of an estimate, how many are so beyond sampling error.

        See `napari_metastructure.labels.rank`.
        """
        return self._rank[0]

    @property
    def p_value(self) -> float | None:
        """How probable counts like these are if the rank were smaller by one (full rank) or is as found (less).

        None for a closed form, and where there was nothing to test (a single class or a single noisy label).
        """
        return self._rank[1]

    @cached_property
    def _rank(self) -> tuple[int, float | None]:
        if self.counts is None:
            return rank_of_matrix(self.matrix), None
        return rank_of_counts(self.counts[:, :-1])

    def as_dict(self) -> dict[str, Any]:
        """All of it in lists and numbers that JSON and YAML take; None for what is not defined."""
        return {
            "classes": list(self.classes),
            "matrix": [_plain(row) for row in self.matrix],
            "unlabelled": _plain(self.unlabelled),
            "counts": None if self.counts is None else self.counts.tolist(),
            "rank": self.rank,
            "singular_values": _plain(self.singular_values),
            "p_value": self.p_value,
        }


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]
