"""The figure of a noise study, after the paper's Figures 1, 2 and 5: test score and training loss by epoch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.images.writing import replacing
from napari_metastructure.training.study_results import RunResult, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LINES = {"CL": "-", "RCL": "-", "PCL": "--", "RL": ":"}

MAPS = {"CL": "Greys", "RCL": "Blues", "PCL": "Oranges", "RL": "Greens"}
"""A family has its colour, so that curves can be told apart at a glance."""


def write_figure(folder: Path, results: Sequence[RunResult]) -> list[Path]:
    """Write ``study.png`` and ``study.svg``.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    figure = draw(results)
    written = []
    for kind in ("png", "svg"):
        picture = io.BytesIO()
        figure.savefig(picture, format=kind, dpi=150)
        path = folder / f"study.{kind}"
        with replacing(path) as beside:
            beside.write_bytes(picture.getbuffer())
        written.append(path)
    return written


def draw(results: Sequence[RunResult]) -> Figure:
    """Draw the results: per network a row of test score and training loss by epoch, and the last scores.

    Lines are means over the repeats, shades one standard deviation; beside each condition stands the rank of its
    noise transition matrix and how much of the meta-structure is retained.
    """
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    networks = list(dict.fromkeys(r.network for r in results))
    figure = Figure(figsize=(13, 4.2 * len(networks)), layout="constrained")
    rows = figure.subplots(len(networks), 3, squeeze=False, width_ratios=(4, 4, 5))
    colors = condition_colors(results)
    score = "Dice" if results[0].classes == 2 else "mIoU"
    for (left, middle, right), network in zip(rows, networks, strict=True):
        own = [r for r in results if r.network == network]
        for condition in dict.fromkeys(r.condition for r in own):
            runs = [r for r in own if r.condition == condition]
            for axes, curves in ((left, [r.test for r in runs]), (middle, [r.loss for r in runs])):
                _curve(axes, curves, colors[condition], LINES[runs[0].family])
        left.set(title=f"{network}: test {score}", xlabel="epoch", ylim=(0, 1))
        middle.set(title="training loss", xlabel="epoch", ylim=(0, None))
        _bars(right, table(own), colors, score)
    return figure


def condition_colors(results: Sequence[RunResult]) -> dict[str, Any]:
    """Return a colour for each condition, shades of its family's."""
    from matplotlib import colormaps

    families: dict[str, list[str]] = {}
    for result in results:
        names = families.setdefault(result.family, [])
        if result.condition not in names:
            names.append(result.condition)
    return {
        name: "black" if family == "CL" else colormaps[MAPS[family]](0.45 + 0.5 * (i + 1) / len(names))
        for family, names in families.items()
        for i, name in enumerate(names)
    }


def _curve(axes: Any, curves: Sequence[Sequence[float]], color: Any, line: str) -> None:
    """Mean and spread of runs, as far as all of them go."""
    epochs = min(len(curve) for curve in curves)
    values = np.array([curve[:epochs] for curve in curves])
    x, mean = np.arange(1, epochs + 1), values.mean(0)
    axes.plot(x, mean, color=color, linestyle=line, linewidth=1.6)
    if len(values) > 1:
        spread = values.std(0, ddof=1)
        axes.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.15, linewidth=0)


def _bars(axes: Any, lines: Sequence[dict[str, Any]], colors: dict[str, Any], score: str) -> None:
    """Return the last scores, with what the noise transition matrix and the density say of the labels."""
    places = np.arange(len(lines))
    axes.barh(
        places,
        [line["test_mean"] for line in lines],
        xerr=np.nan_to_num([line["test_std"] for line in lines]),
        color=[colors[line["condition"]] for line in lines],
        height=0.7,
    )
    names = [
        f"{line['condition']}\nrank {line['rank']} of {line['classes']}, {line['left']:.0%} retained" for line in lines
    ]
    axes.set_yticks(places, names, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), title=f"last test {score}; rank of the matrix, meta-structure retained")
