"""Figure of a comparison: some images, their ground truth, and the errors of each method."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.baselines.config import TITLES
from napari_metastructure.images.writing import replacing
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training.metrics import dice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE = "compare.png"
ROWS = 4
"""Images shown at most."""
SIDE = 512
"""Pixels a picture has at most along a side."""
COLORS = {
    "right (true positive)": (0.95, 0.95, 0.95),
    "too much (false positive)": (0.90, 0.62, 0.00),
    "missed (false negative)": (0.34, 0.71, 0.91),
    "unlabelled": (0.40, 0.40, 0.40),
}
"""Okabe and Ito's orange and sky blue, which differ for every kind of colour vision, and greys."""


def write_figure(
    folder: Path,
    planes: Sequence[np.ndarray],
    truths: Sequence[np.ndarray] | None,
    masks: Mapping[str, Sequence[np.ndarray]],
    names: Sequence[str],
) -> Path:
    """Write ``compare.png``; parameters as `draw`.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    picture = io.BytesIO()
    draw(planes, truths, masks, names).savefig(picture, format="png", dpi=150)
    path = folder / FIGURE
    with replacing(path) as beside:
        beside.write_bytes(picture.getbuffer())
    return path


def draw(
    planes: Sequence[np.ndarray],
    truths: Sequence[np.ndarray] | None,
    masks: Mapping[str, Sequence[np.ndarray]],
    names: Sequence[str],
) -> Figure:
    """Draw a row per image, up to `ROWS` of them, spread over the set.

    Parameters
    ----------
    planes : sequence of (Y, X) arrays
    truths : sequence of (Y, X) arrays, or None
        Bool, or uint8 with 255 unlabelled. With them errors are coloured and each picture bears its Dice; without,
        masks are white.
    masks : mapping of str to sequence of (Y, X) arrays
        Of each method, nonzero = foreground.
    names : sequence of str
        Of the images.
    """
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window
    from matplotlib.patches import Patch

    picks = np.unique(np.linspace(0, len(planes) - 1, min(ROWS, len(planes))).round().astype(int))
    heads = ["image", *(["ground truth"] if truths is not None else []), *(TITLES[m] for m in masks)]
    figure = Figure(figsize=(2.1 * len(heads) + 0.4, 2.3 * len(picks) + 0.6), layout="constrained")
    grid = figure.subplots(len(picks), len(heads), squeeze=False)
    for row, index in zip(grid, picks, strict=True):
        truth = truths[index] if truths is not None else None
        pictures = [_grey(planes[index]), *([_grey(truth == 1)] if truth is not None else [])]
        for axes, picture in zip(row, pictures, strict=False):
            _show(axes, picture)
        for axes, found in zip(row[len(pictures) :], masks.values(), strict=True):
            mask = found[index] != 0
            _show(axes, errors(mask, truth), None if truth is None else f"Dice {dice(mask, truth):.3f}")
        row[0].set_ylabel(names[index][-40:], fontsize=6)
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, fontsize=9)
    if truths is not None:
        used = list(COLORS.items())[: 4 if any(np.any(t == UNLABELLED) for t in truths if t.dtype != bool) else 3]
        handles = [Patch(facecolor=color, edgecolor="black", linewidth=0.5, label=name) for name, color in used]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    return figure


def errors(mask: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """Colour a mask by `COLORS`, as (Y, X, 3) floats; white and black without ground truth."""
    right, extra, missed, unknown = COLORS.values()
    picture = np.zeros((*mask.shape, 3))
    if truth is None:
        picture[mask] = right
        return picture
    true = truth == 1
    picture[mask & true], picture[mask & ~true], picture[~mask & true] = right, extra, missed
    if truth.dtype != bool:
        picture[truth == UNLABELLED] = unknown
    return picture


def _grey(plane: np.ndarray) -> np.ndarray:
    """Show a plane from black to white between its percentiles 1 and 99.8, as (Y, X, 3)."""
    from napari_metastructure.images.intensity import percentile  # SciPy

    return np.repeat(percentile(plane).clip(0, 1)[..., None], 3, axis=2)


def _show(axes: Any, picture: np.ndarray, note: str | None = None) -> None:
    every = max(1, -(-max(picture.shape[:2]) // SIDE))
    axes.imshow(picture[::every, ::every], interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    if note:
        axes.set_xlabel(note, fontsize=7, labelpad=2)
