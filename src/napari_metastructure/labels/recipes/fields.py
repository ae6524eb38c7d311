"""Fields of recipes that are more than one number: shares by class, and noise transition matrices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import check_share, listed
from napari_metastructure.labels.transition import SUM_TOLERANCE


def _read_shares(value: Any) -> Any:
    """``0=0.1, 1=0.5`` as a mapping; the command line and text fields write it so."""
    if not isinstance(value, str):
        return value
    pairs = [re.split(r"[=:]", part) for part in value.strip(" {}").split(",") if part.strip()]
    try:
        return {int(label): float(share) for label, share in pairs}
    except ValueError:
        raise InputError(f"{value!r} gives no shares by class; write them like 0=0.1, 1=0.5.") from None


def _check_shares(shares: dict[int, float]) -> dict[int, float]:
    if not shares:
        raise InputError("Shares by class are empty; give one for each class, or none at all.")
    for label, share in shares.items():
        if label < 0 or label == UNLABELLED:
            raise InputError(f"{label} is no class; classes are numbers from 0, without {UNLABELLED}.")
        check_share(share, f"The share of class {label}")
    return dict(sorted(shares.items()))


def check_sum(shares: Mapping[int, float]) -> None:
    """Refuse probabilities of classes that do not add up to 1.

    Raises
    ------
    InputError
    """
    total = sum(shares.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise InputError(f"The probabilities of the classes {listed(list(shares))} must add up to 1, not {total:.6g}.")


def _read_matrix(value: Any) -> Any:
    """``0.9 0.1; 0.2 0.8`` as rows; arrays, and text cut at its commas by a form, as well."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        value = ", ".join(value)
    if not isinstance(value, str):
        return value
    rows = [re.split(r"[,\s]+", row.strip(" ,[(")) for row in re.split(r"[;\n\])]", value) if row.strip(" ,[(")]
    try:
        return [[float(entry) for entry in row] for row in rows]
    except ValueError:
        raise InputError(f"{value!r} is no matrix; write its rows like 0.9 0.1; 0.2 0.8.") from None


def _check_matrix(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    for place, row in enumerate(rows, 1):
        if len(row) != len(rows):
            raise InputError(
                f"A noise transition matrix must be square: of its rows, {len(rows)} in number, row {place} has the "
                f"length {len(row)}."
            )
    if len(rows) < 2:
        raise InputError("A noise transition matrix needs two rows at least, one for each class.")
    for place, row in enumerate(rows, 1):
        for share in row:
            check_share(share, f"A probability in row {place} of the noise transition matrix")
        if abs(sum(row) - 1) > SUM_TOLERANCE:
            raise InputError(f"Row {place} of the noise transition matrix must add up to 1, not {sum(row):.6g}.")
    return rows


Shares = Annotated[dict[int, float], BeforeValidator(_read_shares), AfterValidator(_check_shares)]
"""A number from 0 to 1 for each class; text like ``0=0.1, 1=0.5`` is read."""

Matrix = Annotated[tuple[tuple[float, ...], ...], BeforeValidator(_read_matrix), AfterValidator(_check_matrix)]
"""Square, its rows adding up to 1; arrays and text like ``0.9 0.1; 0.2 0.8`` are read."""
