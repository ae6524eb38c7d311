"""``metastructure score``: predicted masks against the truth."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from warnings import warn

import typer

from napari_metastructure.batch.label_set import LabelSet, check_same_size, check_same_sizes, list_folder, only_masks
from napari_metastructure.cli._files import ReadingOption, pair_folders
from napari_metastructure.cli._options import warnings_as_lines
from napari_metastructure.cli._progress import number, print_table
from napari_metastructure.errors import InputError, listed
from napari_metastructure.images.files import check_free, read_image, stem
from napari_metastructure.images.label_files import key_of
from napari_metastructure.images.writing import replacing
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import encode

_ENDING = "_probability"
_MEASURES = ("dice", "iou", "accuracy", "auc")


def score(
    predicted_dir: Annotated[Path, typer.Argument(help="Masks: <stem>_mask.tif, or named as the truth.")],
    truth_dir: Annotated[Path, typer.Argument(help="True masks, named as their images, with any ending.")],
    reading: ReadingOption = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers to a file as well.")
    ] = None,
) -> None:
    """Compare masks with the truth: Dice, IoU, accuracy, and AUC where there are probabilities.

    Files are paired by stem; <stem>_probability.tif beside a mask gives its AUC. Numbered objects are foreground, and
    what is unlabelled in the truth is left out. With --reading classes the scores are means over the classes, or of two
    those of the greater. The last row is the mean over the images.
    """
    predicted = list_folder(predicted_dir)
    if json_file:
        check_free([json_file], [*predicted, *list_folder(truth_dir)], overwrite=True, ways=("choose another --json",))
    probabilities = {key_of(name): p for p in predicted if (name := stem(p).removesuffix(_ENDING)) != stem(p)}
    pairs = pair_folders(only_masks(predicted), list_folder(truth_dir), (predicted_dir, truth_dir))
    with warnings_as_lines():
        found, truth = (LabelSet(paths, reading, binary=True) for paths in zip(*pairs.values(), strict=True))
        check_same_sizes(found, truth)
        codes = _codes(found.classes, truth.classes)
        rows: list[dict[str, Any]] = [
            {"name": name, **_compare(found, truth, index, codes, probabilities.get(key_of(found.paths[index])))}
            for index, name in enumerate(pairs)
        ]
    mean = {m: _mean([r[m] for r in rows]) for m in _MEASURES}
    if json_file:
        _write_json(json_file, rows, mean)
    heads = ["image", "Dice", "IoU", "accuracy", "AUC"]
    print_table(heads, [[row["name"], *_cells(row)] for row in rows], [f"mean of {len(rows)}", *_cells(mean)])


def _codes(found: Sequence[int], truth: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Return the classes of masks and truth in the order of their codes; two may have other numbers there than here.

    Raises
    ------
    InputError
        For a class that the truth lacks.
    """
    from napari_metastructure.training.metrics import two_of

    if len(truth) <= 2:
        pair = two_of(truth)
        return (pair if set(found) <= set(pair) else two_of(found)), pair
    if strangers := sorted(set(found) - set(truth)):
        raise InputError(f"The masks hold class {strangers[0]}, the truth only {listed(truth)}; compare equal classes.")
    return truth, truth


def _compare(
    found: LabelSet, truth: LabelSet, index: int, codes: tuple[Sequence[int], Sequence[int]], probability: Path | None
) -> dict[str, float]:
    """Measure one image in every way."""
    from napari_metastructure.training.metrics import Confusion, auc

    said, known = (encode(labels.read(index)[0], order) for labels, order in zip((found, truth), codes, strict=True))
    if (unlabelled := (said == UNLABELLED) & (known != UNLABELLED)).any():
        said[unlabelled] = 0
        warn(f"{found.paths[index]}: unlabelled pixels (255) are counted as class {codes[0][0]}.", stacklevel=2)
    confusion = Confusion(len(codes[1]))
    confusion.add(said, known)
    scores, ranks = confusion.scores(), math.nan
    if probability is not None and len(codes[1]) == 2:
        values = read_image(probability).data
        shape = known.shape if len(known) > 1 else known.shape[1:]
        check_same_size(probability, values.shape, truth.paths[index], shape)
        try:
            ranks = auc(values, known.reshape(values.shape))
        except InputError as error:
            raise InputError(f"{probability}: {error}") from error
    return {"dice": scores.dice, "iou": scores.iou, "accuracy": scores.accuracy, "auc": ranks}


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
