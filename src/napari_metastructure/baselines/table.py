"""The numbers of a comparison: a line per method, a line per image and run, and the agreement between methods."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.baselines.events import Agreement, MethodResult
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.images.atomic import replacing

RESULTS, TABLE, AGREEMENT, MARKDOWN = "results.csv", "table.csv", "agreement.csv", "table.md"
ORACLE = "oracle Dice (best assignment, uses the ground truth)"
"""Whoever reads the column shall not take it for what a method reaches."""
MEASURES = {
    "dice": "Dice", "auc": "AUC", "accuracy": "accuracy", "oracle": ORACLE, "seconds": "s/image", "memory": "MB",
}  # fmt: skip
"""What is summarised, and its head in tables for people."""
DIGITS = {"seconds": 3, "memory": 0}
ABSENT = "-"
MEGABYTE = 1e6


def summary(results: Sequence[MethodResult]) -> list[dict[str, Any]]:
    """A line per method, in the order they first came.

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
        line: dict[str, Any] = {"method": method, "title": METHODS[method].title, "repeats": len(runs)}
        for name in MEASURES:
            values = _defined([run[name] for run in runs])
            line[f"{name}_mean"] = float(np.mean(values)) if values else math.nan
            line[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        lines.append(line)
    return lines


def shown(lines: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The summary as people read it: heads, and rows of texts such as ``0.712 ± 0.004``.

    Columns that hold nothing for any method (scores without ground truth) are left out.
    """
    names = [n for n in MEASURES if any(not math.isnan(line[f"{n}_mean"]) for line in lines)]
    rows = [[line["title"], str(line["repeats"]), *(_cell(line, n) for n in names)] for line in lines]
    return ["method", "runs", *(MEASURES[n] for n in names)], rows


def agreement_rows(found: Agreement) -> tuple[list[str], list[list[str]]]:
    """The agreement as people read it: heads, and a row of Dice per method."""
    titles = [METHODS[name].title for name in found.methods]
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
    written = [_write(folder / RESULTS, rows), _write(folder / TABLE, summary(results))]
    if found is not None:
        lines = [
            {"method": name, **dict(zip(found.methods, map(float, row), strict=True))}
            for name, row in zip(found.methods, found.dice, strict=True)
        ]
        written.append(_write(folder / AGREEMENT, lines))
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
    """Of one run, the mean over the images that have the number."""
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
    """A line per image; a single one without an image where there are no scores."""
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


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path
