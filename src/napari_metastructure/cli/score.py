"""``metastructure score``: predicted masks against the truth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_metastructure.cli._files import by_stem, masks_of, partners, read_grey, same_size, truth
from napari_metastructure.errors import InputError

_MEASURES = ("dice", "iou", "accuracy", "auc")


def score(
    predicted_dir: Annotated[Path, typer.Argument(help="Masks: <stem>_mask.tif, or named as the truth.")],
    truth_dir: Annotated[Path, typer.Argument(help="True masks, 0 = background, above 0 = foreground.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers to a file as well.")
    ] = None,
) -> None:
    """Compare masks with the truth: Dice, IoU, accuracy, and AUC where there are probabilities.

    Files are paired by stem; <stem>_probability.tif beside a mask gives its AUC. Anything above 0 is foreground;
    in a truth of exactly 0, 1 and 255, 255 is unlabelled and left out. The last row is the mean over the images.
    """
    from napari_metastructure.cli._options import warnings_as_lines

    predicted, truths = by_stem(predicted_dir), by_stem(truth_dir)
    probabilities = {k[: -len("_probability")]: p for k, p in predicted.items() if k.endswith("_probability")}
    masks = masks_of(predicted)
    pairs = partners(masks, truths, (predicted_dir, truth_dir))
    with warnings_as_lines():
        rows: list[dict[str, Any]] = [{"name": k, **_compare(masks[k], truths[k], probabilities.get(k))} for k in pairs]
    mean = {m: _mean([r[m] for r in rows]) for m in _MEASURES}
    if json_file:
        _write_json(json_file, rows, mean)
    _print(rows, mean)


def _compare(mask: Path, true: Path, probability: Path | None) -> dict[str, float]:
    """All measures of one image."""
    from napari_metastructure.training.metrics import auc, count

    prediction, known = read_grey(mask), truth(read_grey(true).data)
    if prediction.data.dtype.kind == "f":
        raise InputError(f"{mask} holds floats; a mask of integers or booleans is needed.")
    same_size(mask, prediction.data, true, known)
    counts = count(prediction.data > 0, known)
    ranks = math.nan
    if probability is not None:
        scores = read_grey(probability).data
        same_size(probability, scores, true, known)
        try:
            ranks = auc(scores, known)
        except InputError as error:
            raise InputError(f"{probability}: {error}") from error
    return {"dice": counts.dice, "iou": counts.iou, "accuracy": counts.accuracy, "auc": ranks}


def _mean(values: list[float]) -> float:
    """Mean over those that are defined; nan if none is."""
    defined = [v for v in values if not math.isnan(v)]
    return sum(defined) / len(defined) if defined else math.nan


def _write_json(path: Path, rows: list[dict[str, Any]], mean: dict[str, float]) -> None:
    from napari_metastructure.images.writing import replacing

    def plain(row: dict[str, Any]) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}

    with replacing(path) as beside:
        text = json.dumps({"images": [plain(r) for r in rows], "mean": plain(mean)}, indent=2, ensure_ascii=False)
        beside.write_text(text + "\n", encoding="utf-8")


def _print(rows: list[dict[str, Any]], mean: dict[str, float]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("image", box=box.SIMPLE)
    for name in ("Dice", "IoU", "accuracy", "AUC"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row["name"], *_cells(row))
    table.add_section()
    table.add_row(f"mean of {len(rows)}", *_cells(mean))
    Console().print(table)


def _cells(row: dict[str, Any]) -> list[str]:
    return ["-" if math.isnan(row[m]) else f"{row[m]:.4f}" for m in _MEASURES]
