"""Results and events of a comparison, its tables as CSV and Markdown, and its figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_metastructure.baselines.config import TITLES
from napari_metastructure.images.writing import replacing
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training.metrics import dice
from napari_metastructure.training.run_folder import write_rows


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Agreement of one mask with the ground truth.

    Attributes
    ----------
    name : str
        Of the image.
    dice, auc, accuracy : float
        As `training.metrics` defines them; the AUC is nan where the truth is all foreground or all background.
    oracle : float or None
        For methods that give clusters: Dice of the best assignment of clusters to foreground, found with the ground
        truth. It bounds the method and is no result of it; None for the others.
    """

    name: str
    dice: float
    auc: float
    accuracy: float
    oracle: float | None = None


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One run of one method over all images.

    Attributes
    ----------
    method : str
        Its name, one of `config.TITLES`.
    repeat : int
        From 0; its seed is that of the comparison plus this.
    seconds : float
        Per image, training included.
    memory : int
        Bytes: peak over what was there before.
    scores : tuple of ImageScores or None
        One per image; None without ground truth.
    """

    method: str
    repeat: int
    seconds: float
    memory: int
    scores: tuple[ImageScores, ...] | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Dice between the masks of each two methods; this needs no ground truth.

    Attributes
    ----------
    methods : tuple of str
        The M methods that are done, in the order they were asked for.
    dice : (M, M) float64 array
        Mean over the images of the Dice between the masks of two methods, of the first repeats.
    """

    methods: tuple[str, ...]
    dice: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True)
class CompareStarted:
    """The first event: everything is validated.

    Attributes
    ----------
    methods : tuple of str
    repeats, runs, images : int
        Repeats of the methods that depend on a seed, runs in all, and planes.
    polarity : {"bright", "dark"}
        In force (``auto`` has been settled).
    labelled : bool
        Whether there is ground truth.
    """

    methods: tuple[str, ...]
    repeats: int
    runs: int
    images: int
    polarity: Literal["bright", "dark"]
    labelled: bool


@dataclass(frozen=True, slots=True)
class MethodStarted:
    """A run of a method begins: ``number`` of ``runs`` from 1, ``repeat`` from 0."""

    number: int
    runs: int
    method: str
    repeat: int


@dataclass(frozen=True, slots=True)
class MethodProgress:
    """The share of a run that is done, 0 to 1."""

    method: str
    repeat: int
    done: float


@dataclass(frozen=True, slots=True)
class MethodFinished:
    """A run is done.

    Attributes
    ----------
    result : MethodResult
    masks : tuple of (Y, X) uint8 arrays
        0 and 1, one per image.
    agreement : Agreement or None
        Between the first repeats of all methods that are done; None with fewer than two.
    """

    result: MethodResult
    masks: tuple[np.ndarray, ...] = field(repr=False)
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True)
class CompareFinished:
    """The last event of a comparison that did not raise.

    Attributes
    ----------
    stopped : bool
        True if the user stopped it.
    reason : str
        One sentence: why it ended.
    results : tuple of MethodResult
        Every run that came to an end.
    agreement : Agreement or None
        None with fewer than two methods.
    """

    stopped: bool
    reason: str
    results: tuple[MethodResult, ...]
    agreement: Agreement | None


CompareEvent = CompareStarted | MethodStarted | MethodProgress | MethodFinished | CompareFinished


# Tables: a line per method, a line per image and run, and the agreement between methods.

RESULTS, TABLE, AGREEMENT, MARKDOWN = "results.csv", "table.csv", "agreement.csv", "table.md"

ORACLE = "oracle Dice (best assignment, uses the ground truth)"
"""Head of the column, which must not be taken for a score the method reaches."""

MEASURES = {
    "dice": "Dice", "auc": "AUC", "accuracy": "accuracy", "oracle": ORACLE, "seconds": "s/image", "memory": "MB",
}  # fmt: skip
"""Numbers that are summarised, with their heads in tables for people."""

DIGITS = {"seconds": 3, "memory": 0}

ABSENT = "-"

MEGABYTE = 1e6


def summary(results: Sequence[MethodResult]) -> list[dict[str, Any]]:
    """Summarise results, a line per method in the order they first came.

    Returns
    -------
    list of dict
        ``method``, ``title``, ``repeats``; and of each of `MEASURES` ``NAME_mean`` and ``NAME_std``: mean and sample
        standard deviation over the repeats of the mean over the images. nan for what was not measured, and for the
        standard deviation of one repeat. Seconds are per image, memory is in 10^6 bytes.
    """
    lines = []
    for method in dict.fromkeys(r.method for r in results):
        runs = [_means(r) for r in results if r.method == method]
        line: dict[str, Any] = {"method": method, "title": TITLES[method], "repeats": len(runs)}
        for name in MEASURES:
            values = _defined([run[name] for run in runs])
            line[f"{name}_mean"] = float(np.mean(values)) if values else math.nan
            line[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        lines.append(line)
    return lines


def shown(lines: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Format a summary for people: heads, and rows of texts such as ``0.712 ± 0.004``.

    Columns that hold nothing for any method (scores without ground truth) are left out.
    """
    names = [n for n in MEASURES if any(not math.isnan(line[f"{n}_mean"]) for line in lines)]
    rows = [[line["title"], str(line["repeats"]), *(_cell(line, n) for n in names)] for line in lines]
    return ["method", "runs", *(MEASURES[n] for n in names)], rows


def agreement_rows(found: Agreement) -> tuple[list[str], list[list[str]]]:
    """Format an agreement for people: heads, and a row of Dice per method."""
    titles = [TITLES[name] for name in found.methods]
    return ["Dice between masks", *titles], [
        [title, *(f"{v:.3f}" for v in row)] for title, row in zip(titles, found.dice, strict=True)
    ]


def write_csv(folder: Path, results: Sequence[MethodResult], found: Agreement | None = None) -> list[Path]:
    """Write ``results.csv`` (per method, repeat and image), ``table.csv`` (`summary`) and ``agreement.csv``.

    Raises
    ------
    InputError
        If the folder cannot be written to; what was there before stays.
    """
    if not results:
        return []
    rows = [row for result in results for row in _rows(result)]
    written = [write_rows(folder / RESULTS, rows), write_rows(folder / TABLE, summary(results))]
    if found is not None:
        lines = [
            {"method": name, **dict(zip(found.methods, map(float, row), strict=True))}
            for name, row in zip(found.methods, found.dice, strict=True)
        ]
        written.append(write_rows(folder / AGREEMENT, lines))
    return written


def write_markdown(folder: Path, results: Sequence[MethodResult], found: Agreement | None = None) -> list[Path]:
    """Write ``table.md``: the summary, and the agreement between methods.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    if not results:
        return []
    tables = [shown(summary(results))]
    if found is not None:
        tables.append(agreement_rows(found))
    path = folder / MARKDOWN
    with replacing(path) as beside:
        beside.write_text("\n".join(_markdown(*table) for table in tables), encoding="utf-8")
    return [path]


def _means(result: MethodResult) -> dict[str, float]:
    """Average each number of a run over the images that have it."""
    found = {"seconds": result.seconds, "memory": result.memory / MEGABYTE}
    for name in ("dice", "auc", "accuracy", "oracle"):
        values = _defined([getattr(s, name) for s in result.scores or ()])
        found[name] = float(np.mean(values)) if values else math.nan
    return found


def _defined(values: Sequence[float | None]) -> list[float]:
    return [v for v in values if v is not None and not math.isnan(v)]


def _cell(line: dict[str, Any], name: str) -> str:
    mean, std, digits = line[f"{name}_mean"], line[f"{name}_std"], DIGITS.get(name, 3)
    if math.isnan(mean):
        return ABSENT
    return f"{mean:.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def _rows(result: MethodResult) -> list[dict[str, Any]]:
    """List a run by image; in a single line where there are no scores."""
    facts = {"method": result.method, "repeat": result.repeat}
    costs = {"seconds_per_image": result.seconds, "memory_bytes": result.memory}
    if result.scores is None:
        return [{**facts, **costs}]
    return [
        {**facts, "image": s.name, "dice": s.dice, "auc": s.auc, "accuracy": s.accuracy, ORACLE: s.oracle, **costs}
        for s in result.scores
    ]


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


# Figure of a comparison: some images, their ground truth, and the errors of each method.

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


def draw(
    planes: Sequence[np.ndarray],
    truths: Sequence[np.ndarray] | None,
    masks: Mapping[str, Sequence[np.ndarray]],
    names: Sequence[str],
) -> Any:
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
