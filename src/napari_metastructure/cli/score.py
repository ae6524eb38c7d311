"""``metastructure score``: predicted masks against the truth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_metastructure.cli._files import check_same_size, list_folder, only_masks, pair_folders
from napari_metastructure.cli._options import warnings_as_lines
from napari_metastructure.cli._progress import number, print_table
from napari_metastructure.errors import InputError
from napari_metastructure.images.files import read_mask, stem
from napari_metastructure.images.writing import replacing

_ENDING = "_probability"
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
    predicted = list_folder(predicted_dir)
    probabilities = {key.removesuffix(_ENDING): path for path in predicted if (key := stem(path)).endswith(_ENDING)}
    pairs = pair_folders(only_masks(predicted), list_folder(truth_dir), (predicted_dir, truth_dir))
    with warnings_as_lines():
        rows: list[dict[str, Any]] = [
            {"name": key, **_compare(mask, true, probabilities.get(key))} for key, (mask, true) in pairs.items()
        ]
    mean = {m: _mean([r[m] for r in rows]) for m in _MEASURES}
    if json_file:
        _write_json(json_file, rows, mean)
    heads = ["image", "Dice", "IoU", "accuracy", "AUC"]
    print_table(heads, [[row["name"], *_cells(row)] for row in rows], [f"mean of {len(rows)}", *_cells(mean)])


def _compare(mask: Path, true: Path, probability: Path | None) -> dict[str, float]:
    """Measure one image in every way."""
    from napari_metastructure.training.metrics import as_truth, auc, count

    prediction, (known,) = read_mask(mask), as_truth([read_mask(true).data])
    if prediction.data.dtype.kind == "f":
        raise InputError(f"{mask} holds floats; a mask of integers or booleans is needed.")
    check_same_size(mask, prediction.data.shape, true, known.shape)
    counts = count(prediction.data > 0, known)
    ranks = math.nan
    if probability is not None:
        scores = read_mask(probability).data
        check_same_size(probability, scores.shape, true, known.shape)
        try:
            ranks = auc(scores, known)
        except InputError as error:
            raise InputError(f"{probability}: {error}") from error
    return {"dice": counts.dice, "iou": counts.iou, "accuracy": counts.accuracy, "auc": ranks}


def _mean(values: list[float]) -> float:
    """Average those that are defined; nan if none is."""
    defined = [v for v in values if not math.isnan(v)]
    return sum(defined) / len(defined) if defined else math.nan


def _write_json(path: Path, rows: list[dict[str, Any]], mean: dict[str, float]) -> None:
    def plain(row: dict[str, Any]) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}

    with replacing(path) as beside:
        text = json.dumps({"images": [plain(r) for r in rows], "mean": plain(mean)}, indent=2, ensure_ascii=False)
        beside.write_text(text + "\n", encoding="utf-8")


def _cells(row: dict[str, Any]) -> list[str]:
    return [number(row[measure]) for measure in _MEASURES]
