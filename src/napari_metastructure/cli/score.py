"""``metastructure score``: predicted masks against the truth."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_metastructure.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from napari_metastructure.images.image import Image

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
    from napari_metastructure.cli.errors import warnings_as_lines

    predicted, truths = _by_stem(predicted_dir), _by_stem(truth_dir)
    probabilities = {k[: -len("_probability")]: p for k, p in predicted.items() if k.endswith("_probability")}
    masks = {k: p for k, p in predicted.items() if not k.endswith(("_probability", "_epochs"))}
    for folder, lonely in ((predicted_dir, masks.keys() - truths.keys()), (truth_dir, truths.keys() - masks.keys())):
        for key in sorted(lonely):
            path = (masks if folder == predicted_dir else truths)[key]
            typer.echo(f"Warning: {path} has no partner and is not counted.", err=True)
    pairs = sorted(masks.keys() & truths.keys())
    if not pairs:
        raise InputError(f"No file of {predicted_dir} has a partner in {truth_dir}; their stems must be the same.")
    with warnings_as_lines():
        rows: list[dict[str, Any]] = [{"name": k, **_compare(masks[k], truths[k], probabilities.get(k))} for k in pairs]
    mean = {m: _mean([r[m] for r in rows]) for m in _MEASURES}
    if json_file:
        _write_json(json_file, rows, mean)
    _print(rows, mean)


def _by_stem(folder: Path) -> dict[str, Path]:
    """The images of a folder by stem, ``_mask`` aside."""
    from napari_metastructure.images.files import list_images, stem

    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name a folder of masks.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a run folder holds more than images
        files = list_images([folder])
    found: dict[str, Path] = {}
    for path in files:
        key = stem(path).removesuffix("_mask")
        if key in found:
            raise InputError(f"{found[key]} and {path} share the stem {key!r}; keep one of them.")
        found[key] = path
    return found


def _compare(mask: Path, truth: Path, probability: Path | None) -> dict[str, float]:
    """All measures of one image."""
    from napari_metastructure.training.metrics import auc, count

    prediction, known = _read(mask), _truth(_read(truth).data)
    if prediction.data.dtype.kind == "f":
        raise InputError(f"{mask} holds floats; a mask of integers or booleans is needed.")
    _same_size(mask, prediction.data, truth, known)
    counts = count(prediction.data > 0, known)
    ranks = math.nan
    if probability is not None:
        scores = _read(probability).data
        _same_size(probability, scores, truth, known)
        try:
            ranks = auc(scores, known)
        except InputError as error:
            raise InputError(f"{probability}: {error}") from error
    return {"dice": counts.dice, "iou": counts.iou, "accuracy": counts.accuracy, "auc": ranks}


def _read(path: Path) -> Image:
    """A mask or probability without C and S: grey values also of a mask saved in colour."""
    from napari_metastructure.images.axes import planes, stack
    from napari_metastructure.images.files import read_image

    image = read_image(path)
    if not set("CS") & set(image.axes):
        return image
    if "C" in image.axes and image.data.shape[image.axes.index("C")] > 1:
        raise InputError(f"{path} has several channels; a mask or probability has one.")
    cut = planes(image)
    return stack([p > 0 for p in cut] if "S" in image.axes else cut, like=image)


def _truth(pixels: np.ndarray) -> np.ndarray:
    """Truth as `metrics.count` takes it."""
    import numpy as np

    values = np.unique(pixels)
    if values.size <= 3 and {1, 255} <= set(values.tolist()) <= {0, 1, 255}:
        return pixels.astype(np.uint8)
    return pixels > 0


def _same_size(path: Path, data: np.ndarray, truth: Path, known: np.ndarray) -> None:
    if data.shape != known.shape:
        sizes = [" x ".join(map(str, a.shape)) for a in (data, known)]
        raise InputError(f"{path} has {sizes[0]} pixels but {truth} has {sizes[1]}; compare equal sizes.")


def _mean(values: list[float]) -> float:
    """Mean over those that are defined; nan if none is."""
    defined = [v for v in values if not math.isnan(v)]
    return sum(defined) / len(defined) if defined else math.nan


def _write_json(path: Path, rows: list[dict[str, Any]], mean: dict[str, float]) -> None:
    from napari_metastructure.images.atomic import replacing

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
