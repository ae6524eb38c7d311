"""``metastructure measure`` and ``score``: masks cleaned up and measured, and compared with the truth."""

import math
import os
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any
from warnings import warn

import numpy as np
import typer

from napari_metastructure.batch import label_set
from napari_metastructure.cli import _options
from napari_metastructure.cli._progress import number, print_table
from napari_metastructure.errors import InputError, counted, listed
from napari_metastructure.images.files import check_free, plane_shape, read_image, stem
from napari_metastructure.images.image import PIXEL, Image, planes, stack
from napari_metastructure.images.label_files import key_of
from napari_metastructure.images.writing import make_folder, write_tiff
from napari_metastructure.labels import UNLABELLED, measures
from napari_metastructure.labels.pixels import encode
from napari_metastructure.labels.regions import CleanUp, change_stack, clean_up, result_of
from napari_metastructure.training.metrics import Confusion, auc, two_of

SIZE = "a number of pixels, or with a unit as '1.5 um2' (um3 with --3d)."


def measure(
    masks: Annotated[list[Path], typer.Argument(help="Masks or labels, or folders of them.", readable=False)],
    out: Annotated[Path, _options.file(".csv", help="The table, as CSV.", metavar="FILE.csv")],
    images: Annotated[
        Path | None, typer.Option(help="Images to measure intensities in: a file, or a folder paired by stem.")
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            help="Of images of several channels: a number from 0; of colours also red, green, blue, alpha. [default of "
            "colours: luminance]"
        ),
    ] = None,
    smallest_object: Annotated[str, typer.Option(help=f"Remove smaller objects: {SIZE}", metavar="SIZE")] = "0",
    smallest_hole: Annotated[str, typer.Option(help=f"Fill smaller holes: {SIZE}", metavar="SIZE")] = "0",
    clear_border: Annotated[bool, typer.Option("--clear-border", help="Remove objects that touch the border.")] = False,
    volumes: Annotated[
        bool, typer.Option("--3d", help="Objects run through the slices along Z; else each slice has its own.")
    ] = False,
    pixels: Annotated[bool, typer.Option("--pixels", help="Count in pixels, even if the voxel size is known.")] = False,
    skeleton: Annotated[
        bool, typer.Option("--skeleton", help="Measure skeletons too: length, branches, end points, junctions.")
    ] = False,
    clean: Annotated[Path | None, _options.folder("Write the cleaned masks to this folder.", metavar="FOLDER")] = None,
    instances: Annotated[
        Path | None, _options.folder("Write numbered objects to this folder.", metavar="FOLDER")
    ] = None,
    reading: _options.ReadingOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")] = False,
) -> None:
    """Clean up masks, and measure their objects: size, shape, intensity, place, skeleton.

    Objects are connected regions, or what the labels number. Small ones are removed, then small holes filled, then the
    border is cleared. The table has a row for each object, in the unit of the files. Cleaned masks and numbered objects
    are written as <stem>.tif, with axes and voxel size of the mask.
    """
    if skeleton:
        measures.check_skan()
    with _options.warnings_as_lines():
        found = [label_set.list_folder(p) if p.is_dir() else _options.list_labels([p]) for p in masks]
    paths = label_set.only_masks(dict.fromkeys(chain(*found)))  # of a run folder, say
    if not paths:
        raise InputError(f"{masks[0]} holds probabilities only; name masks, or folders of them.")
    partners = label_set.partners_of(paths, images, labels=False) if images is not None else []
    if clean is not None and instances is not None and os.path.realpath(clean) == os.path.realpath(instances):
        raise InputError(f"--clean and --instances are both {clean}; give each a folder of its own.")
    if channel is not None and images is None:
        raise InputError(f"--channel {channel}: there is no image to take it of; give --images, or leave it out.")
    cleaned_paths, object_paths = (
        [] if folder is None else _options.result_paths(folder, paths, ".tif") for folder in (clean, instances)
    )
    check_free([out, *cleaned_paths, *object_paths], [*paths, *partners], overwrite=overwrite, ways=_options.WAYS)
    with _options.warnings_as_lines():
        labels = label_set.LabelSet(paths, reading, instances=True)
        _check_sizes(labels, partners)
    voxels = _voxels(labels, volumes, pixels)
    dials = [
        CleanUp(
            _in_pixels(voxel, "--smallest-object", smallest_object),
            _in_pixels(voxel, "--smallest-hole", smallest_hole),
            clear_border,
        )
        for voxel in voxels
    ]
    for folder in (out.parent, clean, instances):
        if folder is not None:
            make_folder(folder)
    tables = []
    for index, (path, voxel) in enumerate(zip(paths, voxels, strict=True)):
        blocks, like = labels.blocks(index, volumes)
        cleaned = result_of(change_stack(blocks, _cleaner(dials[index])))
        flat = cleaned.reshape(-1, *cleaned.shape[-2:])
        leading = tuple(axis for axis in labels.steps[index] if axis in ("T" if volumes else "TZ"))
        with _options.warnings_as_lines():
            intensity = _intensity(partners[index], channel, cleaned.shape) if partners else None
        wanted = measures.Wanted(voxel, leading, intensity, skeleton)
        measured = result_of(measures.measure(blocks.changed(cleaned), wanted))
        tables.append(measured.table)
        if clean is not None:
            _write(cleaned_paths[index], labels.written(flat), like)
        if instances is not None:
            _write(object_paths[index], np.maximum(cleaned, 0) if measured.objects is None else measured.objects, like)
        total = measured.table.columns.get("volume" if volumes else "area", np.zeros(1)).sum()
        size = f"{total:.0f}" if total >= 1000 else f"{total:.4g}"
        typer.echo(f"{path}: {counted(len(measured.table), 'object')}, together {size} {voxel.of_size}")
    for note in dict.fromkeys(note for table in tables for note in table.notes):
        typer.echo(f"Warning: {note}", err=True)
    measures.write_csv(out, tables, list(map(str, paths)))
    typer.echo(f"{out}: {counted(sum(map(len, tables)), 'object')} of {counted(len(paths), 'file')}")


def _check_sizes(labels: label_set.LabelSet, partners: Sequence[Path]) -> None:
    """Refuse images whose planes do not fit those of the masks."""
    for partner, path, shape in zip(partners, labels.paths, labels.shapes, strict=False):
        label_set.refuse_itself(path, partner)
        label_set.check_same_size(partner, plane_shape(partner), path, shape)


def _voxels(labels: label_set.LabelSet, volumes: bool, pixels: bool) -> list[measures.Voxel]:
    """Find the voxel size of each file, in one unit for the whole table.

    Raises
    ------
    InputError
        For volumes of a file without slices, and files of which some have a unit and others none.
    """
    axes = "ZYX" if volumes else "YX"
    for path, steps in zip(labels.paths, labels.steps, strict=True):
        if volumes and "Z" not in steps:
            raise InputError(
                f"{path} has no slices along Z; leave --3d out, or say which axes there are (metastructure --axes ZYX "
                "measure ...)."
            )
    if pixels:
        return [measures.Voxel((1.0,) * len(axes), PIXEL)] * len(labels.paths)
    unit = next((steps["X"][1] for steps in labels.steps if steps["X"][1] != PIXEL), PIXEL)
    found = [measures.Voxel.of([steps[axis] for axis in axes], unit) for steps in labels.steps]
    if odd := next((i for i, voxel in enumerate(found) if voxel.unit != found[0].unit), None):
        raise InputError(
            f"{labels.paths[0]} is measured in {found[0].symbol} but {labels.paths[odd]} in {found[odd].symbol}, for "
            "not both have a voxel size with a unit; measure them apart, or all in pixels by --pixels."
        )
    return found


def _in_pixels(voxel: measures.Voxel, option: str, text: str) -> float:
    try:
        return voxel.pixels(text)
    except InputError as error:
        raise InputError(f"{option} {error}") from None


def _cleaner(wanted: CleanUp) -> Callable[[np.ndarray], np.ndarray]:
    return lambda numbers: clean_up(numbers, wanted)


def _intensity(path: Path, channel: str | None, shape: tuple[int, ...]) -> Callable[[tuple[int, ...]], np.ndarray]:
    """Read the image of a mask; its planes by their place."""
    pixels = np.stack(planes(read_image(path), channel)).reshape(shape)
    return lambda place: pixels[place]


def _write(path: Path, labels: np.ndarray, like: Image) -> None:
    image = stack(list(labels.reshape(-1, *labels.shape[-2:])), like)
    write_tiff(path, image.data, image.axes, image.scale, image.units)


# Predicted masks against the truth.

_ENDING = "_probability"
_MEASURES = ("dice", "iou", "accuracy", "auc")


def score(
    predicted_dir: Annotated[Path, typer.Argument(help="Masks: <stem>_mask.tif, or named as the truth.")],
    truth_dir: Annotated[Path, typer.Argument(help="True masks, named as their images, with any ending.")],
    reading: _options.ReadingOption = "auto",
    json_file: Annotated[Path | None, _options.JSON] = None,
) -> None:
    """Compare masks with the truth: Dice, IoU, accuracy, and AUC where there are probabilities.

    Files are paired by stem; <stem>_probability.tif beside a mask gives its AUC. Numbered objects are foreground, and
    what is unlabelled in the truth is left out. With --reading classes the scores are means over the classes, or of two
    those of the greater. The last row is the mean over the images.
    """
    with _options.warnings_as_lines():
        masks = label_set.list_folder(predicted_dir), label_set.list_folder(truth_dir)
    named = {p: stem(p).removesuffix(_ENDING) for p in predicted_dir.iterdir() if stem(p).endswith(_ENDING)}
    _options.check_json(json_file, chain(*masks, named))
    probabilities = {key_of(p.with_name(f"{name}.tif")): p for p, name in named.items()}
    pairs = _options.pair_folders(*masks, (predicted_dir, truth_dir))
    for pair in pairs.values():
        label_set.refuse_itself(*pair)
    with _options.warnings_as_lines():
        found, truth = (label_set.LabelSet(paths, reading, binary=True) for paths in zip(*pairs.values(), strict=True))
        label_set.check_same_sizes(found, truth)
        codes = _codes(found.classes, truth.classes)
        rows: list[dict[str, Any]] = [
            {"name": name, **_compare(found, truth, index, codes, probabilities.get(key_of(found.paths[index])))}
            for index, name in enumerate(pairs)
        ]
    mean = {m: _mean([r[m] for r in rows]) for m in _MEASURES}
    if json_file:
        _options.write_json(json_file, {"images": list(map(_plain, rows)), "mean": _plain(mean)})
    heads = ["image", "Dice", "IoU", "accuracy", "AUC"]
    print_table(heads, [[row["name"], *_cells(row)] for row in rows], [f"mean of {len(rows)}", *_cells(mean)])


def _codes(found: Sequence[int], truth: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Return the classes of masks and truth in the order of their codes; two may have other numbers there than here.

    Raises
    ------
    InputError
        For a class that the truth lacks.
    """
    if len(truth) <= 2:
        pair = two_of(truth)
        return (pair if set(found) <= set(pair) else two_of(found)), pair
    if strangers := sorted(set(found) - set(truth)):
        raise InputError(f"The masks hold class {strangers[0]}, the truth only {listed(truth)}; compare equal classes.")
    return truth, truth


def _compare(
    found: label_set.LabelSet,
    truth: label_set.LabelSet,
    index: int,
    codes: tuple[Sequence[int], Sequence[int]],
    probability: Path | None,
) -> dict[str, float]:
    """Measure one image in every way."""
    said, known = (encode(labels.read(index)[0], order) for labels, order in zip((found, truth), codes, strict=True))
    if (unlabelled := (said == UNLABELLED) & (known != UNLABELLED)).any():
        said[unlabelled] = 0
        warn(f"{found.paths[index]}: unlabelled pixels (255) are counted as class {codes[0][0]}.", stacklevel=2)
    confusion = Confusion(len(codes[1]))
    confusion.add(said, known)
    scores, ranks = confusion.scores(), math.nan
    if probability is not None and len(codes[1]) == 2:
        label_set.check_same_size(probability, plane_shape(probability), truth.paths[index], truth.shapes[index])
        try:
            ranks = auc(np.stack(planes(read_image(probability))), known)
        except InputError as error:
            raise InputError(f"{probability}: {error}") from error
    return {"dice": scores.dice, "iou": scores.iou, "accuracy": scores.accuracy, "auc": ranks}


def _mean(values: list[float]) -> float:
    """Average those that are defined; nan if none is."""
    defined = [v for v in values if not math.isnan(v)]
    return sum(defined) / len(defined) if defined else math.nan


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON has it, which knows no nan."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def _cells(row: dict[str, Any]) -> list[str]:
    return [number(row[measure]) for measure in _MEASURES]
