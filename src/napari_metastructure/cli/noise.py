"""``metastructure noise``: noisy labels from clean ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from napari_metastructure import __version__
from napari_metastructure.cli.errors import warnings_as_lines
from napari_metastructure.cli.label_files import NOISE_FILE, listed_labels
from napari_metastructure.cli.label_outputs import check_free, described, make_folder, targets
from napari_metastructure.cli.label_set import LabelSet, ReadingOption, made_in
from napari_metastructure.cli.recipe_options import KINDS, dial, recipe_of
from napari_metastructure.errors import InputError
from napari_metastructure.images.atomic import cannot_write, replacing
from napari_metastructure.images.axes import stack
from napari_metastructure.images.writing import write_tiff
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.recipes import Recipe, apply
from napari_metastructure.labels.transition import TransitionMatrix, count_pairs, from_counts
from napari_metastructure.labels.verdict import verdict

FORMAT = "napari-metastructure-noise/1"


def noise(
    labels: Annotated[
        list[Path], typer.Argument(help="Clean labels, or folders of them.", show_default=False, readable=False)
    ],
    kind: Annotated[str, typer.Option(help="The recipe.", metavar=KINDS, show_default=False)],
    out: Annotated[Path, typer.Option(help="The folder of the noisy labels; made if not there.", show_default=False)],
    keep: Annotated[float | None, dial("keep")] = None,
    fraction: Annotated[float | None, dial("fraction")] = None,
    exact: Annotated[bool | None, dial("exact")] = None,
    probability: Annotated[float | None, dial("probability")] = None,
    per_class: Annotated[str | None, dial("per_class", metavar="0=A,1=B,...")] = None,
    matrix: Annotated[str | None, dial("matrix", metavar="FILE.csv|'A B; C D'")] = None,
    n: Annotated[int | None, dial("n")] = None,
    amplitude: Annotated[float | None, dial("amplitude")] = None,
    correlation: Annotated[float | None, dial("correlation")] = None,
    reading: ReadingOption = "foreground",
    seed: Annotated[int, typer.Option(help="Same seed and files, same noise.", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier noisy labels in --out.")] = False,
) -> None:
    """Make noisy labels from clean ones (RCL, PCL, RL), and say what a network could learn from them.

    Writes <stem>.tif (uint8: classes as they are read, a foreground as 1, unlabelled as 255) with the axes and voxel
    size of the input, and noise.yaml with recipe, seed, inputs, noise transition matrix and verdict. Planes are
    numbered on from file to file, and each is drawn with the seed and its number.
    """
    dials = {
        "keep": keep, "fraction": fraction, "exact": exact, "probability": probability, "per_class": per_class,
        "matrix": matrix, "n": n, "amplitude": amplitude, "correlation": correlation,
    }  # fmt: skip
    recipe = recipe_of(kind, dials)
    paths = listed_labels(labels)
    results = targets(out, paths, ".tif")
    _check_out(out, results, paths, overwrite)
    with warnings_as_lines():
        clean = LabelSet(paths, reading)
    closed = recipe.transition(clean.classes)
    earlier = _clear(out)
    if clean.rule:
        typer.echo(clean.rule)
    files, counts = _draw(clean, recipe, seed, results)
    counted = from_counts(clean.classes, counts) if counts[:, :-1].any() else None
    facts = {"recipe": recipe.model_dump(mode="json"), "seed": seed, "reading": clean.reading, "files": files}
    _describe(out / NOISE_FILE, facts, closed, counted)
    if strays := sorted(name for name in earlier - {path.name for path in results} if (out / name).exists()):
        typer.echo(f"Warning: {out / strays[0]} is of an earlier call and was left as it is.", err=True)
    for line in _verdicts(recipe, closed, counted):
        typer.echo(line)


def _check_out(out: Path, results: Sequence[Path], paths: Sequence[Path], overwrite: bool) -> None:
    """Refuse a folder that holds an input, and one with earlier results unless they may be replaced."""
    check_free(results, paths, overwrite=True)
    if out.resolve() in {path.resolve().parent for path in paths}:
        raise InputError(f"{out} holds the clean labels, and noisy ones of the same names; choose another --out.")
    check_free([out / NOISE_FILE, *results], paths, overwrite)


def _clear(out: Path) -> set[str]:
    """Make the folder, and take away what is true no longer; the names of an earlier call's files."""
    make_folder(out)
    path = out / NOISE_FILE
    earlier = made_in(out)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    return earlier


def _draw(
    clean: LabelSet, recipe: Recipe, seed: int, results: Sequence[Path]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Write the noisy labels, a line for each file; what is to be said of the files, and the counted pixels."""
    total = np.zeros((len(clean.classes), len(clean.classes) + 1), np.int64)
    files: list[dict[str, Any]] = []
    first = 0
    for index, target in enumerate(results):
        pixels, like = clean.read(index)
        noisy = apply(recipe, pixels, seed, clean.classes, first)
        image = stack(list(noisy), like)
        write_tiff(target, image.data, image.axes, image.scale, image.units)
        counts = count_pairs(pixels, noisy, clean.classes)
        total += counts
        source = described(clean.paths[index])
        files.append({"name": target.name, "input": source, "first_plane": first, "planes": len(pixels)})
        first += len(pixels)
        typer.echo(f"{target}: {_changes(pixels, noisy, counts)}")
    return files, total


def _changes(clean: np.ndarray, noisy: np.ndarray, counts: np.ndarray) -> str:
    """What became of the labels of a file, in a few words."""
    labelled = max(1, int(counts.sum()))
    changed = int(counts[:, :-1].sum() - np.trace(counts[:, :-1]))
    planes = "1 plane" if len(clean) == 1 else f"{len(clean)} planes"
    unlabelled = int(np.count_nonzero(noisy == UNLABELLED))
    return f"{planes}, {changed / labelled:.1%} of the labels changed, {unlabelled / noisy.size:.1%} unlabelled"


def _describe(
    path: Path, facts: dict[str, Any], closed: TransitionMatrix | None, counted: TransitionMatrix | None
) -> None:
    """Write noise.yaml."""
    known = {"closed_form": closed, "counted": counted}
    text = yaml.safe_dump(
        {
            "format": FORMAT,
            "version": __version__,
            **facts,
            "transition": {k: t and t.as_dict() for k, t in known.items()},
            "verdict": {k: t and verdict(t).as_dict() for k, t in known.items()},
        },
        sort_keys=False, allow_unicode=True, default_flow_style=None, width=120,
    )  # fmt: skip
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _verdicts(recipe: Recipe, closed: TransitionMatrix | None, counted: TransitionMatrix | None) -> Iterator[str]:
    """The verdict on the recipe, and on the pixels that were drawn where they say less or are all there is."""
    if closed is not None:
        yield verdict(closed).sentence
    if counted is None:
        return
    if closed is None:
        yield verdict(counted).sentence
        yield (
            f"{recipe.title} depends on the place, of which the matrix knows nothing: how far boundaries moved is what "
            "a network will learn of it (Theorem 1)."
        )
    elif counted.rank < closed.rank:
        yield f"These files hold too few pixels to show it: {verdict(counted).sentence}"
