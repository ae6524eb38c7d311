"""Which editor suits which dial of a recipe, and what numbers by class become when the classes change."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic.fields import FieldInfo
from qtpy.QtWidgets import QDoubleSpinBox

from napari_metastructure.plugin.form import Editor, bounds, make_editor, rounding_editor, slider_editor

NAMES = {"n": "Steps", "keep": "Kept (P_sample)", "fraction": "Swapped (P_flip)", "probability": "P_generate"}
"""What dials are called: as the paper calls them."""

PIXEL_DECIMALS = 2
STAYS = 0.6
"""Share of each class that keeps its label, in a noise transition matrix nobody has changed yet."""


def is_share(field: FieldInfo) -> bool:
    """Whether a field is a probability or a fraction."""
    low, high = bounds(field)
    return field.annotation is float and low is not None and high is not None and 0 <= low < high <= 1


def refitted(before: tuple[int, ...], matrix: Any, classes: tuple[int, ...]) -> np.ndarray:
    """A noise transition matrix for other classes: what went to a class that is gone stays where it was.

    Parameters
    ----------
    before, classes : tuple of int
        The classes of ``matrix``, and of the result.
    matrix : (M, M) array-like

    Returns
    -------
    (N, N) float64 array
    """
    size = len(classes)
    spread = (1 - STAYS) / max(size - 1, 1)
    result = np.full((size, size), spread)
    np.fill_diagonal(result, 1 - spread * (size - 1))
    known = [c for c in classes if c in before]
    if len(known) > 1:
        old, new = [before.index(c) for c in known], [classes.index(c) for c in known]
        result[new] = 0
        result[np.ix_(new, new)] = np.asarray(matrix, float)[np.ix_(old, old)]
        result[new, new] += np.asarray(matrix, float)[old].sum(axis=1) - result[new].sum(axis=1)
    return result


def dial_editor(name: str, field: FieldInfo) -> Editor:
    """A slider for a share, a number with its unit for pixels, else what suits the type."""
    low, high = bounds(field)
    if is_share(field) and low is not None and high is not None:
        return slider_editor(low, high)
    if field.annotation is float:
        box = QDoubleSpinBox()
        box.setDecimals(PIXEL_DECIMALS)
        box.setRange(max(low or 0, 10**-PIXEL_DECIMALS if low else 0), high if high is not None else 1e6)
        box.setSingleStep(0.5)
        box.setSuffix(" px")
        return rounding_editor(box, PIXEL_DECIMALS)
    return make_editor(name, field)
