"""``metastructure noise``, ``density`` and ``transition``: label noise made, mapped and measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from warnings import warn

import numpy as np
import typer

from napari_metastructure import __version__
from napari_metastructure.cli._files import (
    NOISE_FILE,
    WAYS,
    LabelSet,
    ReadingOption,
    check_same_sizes,
    list_labels,
    made_in,
    pair_paths,
    partners_of,
    result_paths,
)
from napari_metastructure.cli._options import KINDS, dial, recipe_of, warnings_as_lines
from napari_metastructure.cli._progress import ABSENT, counted, number, print_table
from napari_metastructure.errors import InputError, listed
from napari_metastructure.images.files import check_free, fingerprint
from napari_metastructure.images.image import PIXEL, Image, convert, parse_length, stack
from napari_metastructure.images.writing import make_folder, remove, replacing, write_tiff
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.density import KERNELS, Kernel, check_bandwidth, check_kernel, densities
from napari_metastructure.labels.recipes import Recipe, apply
from napari_metastructure.labels.structure import distance, structure_retained
from napari_metastructure.labels.transition import TransitionMatrix, count_pairs, from_counts
from napari_metastructure.labels.verdict import verdict
from napari_metastructure.training.yaml_file import write_yaml

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
    paths = list_labels(labels)
    results = result_paths(out, paths, ".tif")
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
    check_free(results, paths, overwrite=True, ways=WAYS)
    if out.resolve() in {path.resolve().parent for path in paths}:
        raise InputError(f"{out} holds the clean labels, and noisy ones of the same names; choose another --out.")
    check_free([out / NOISE_FILE, *results], paths, overwrite=overwrite, ways=WAYS)


def _clear(out: Path) -> set[str]:
    """Make the folder, and remove the noise.yaml of an earlier call; return the names it lists."""
    make_folder(out)
    earlier = made_in(out)
    remove([out / NOISE_FILE])
    return earlier


def _draw(
    clean: LabelSet, recipe: Recipe, seed: int, results: Sequence[Path]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Write the noisy labels, a line for each file; return facts about the files, and the counted pixels."""
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
        source = fingerprint(clean.paths[index])
        files.append({"name": target.name, "input": source, "first_plane": first, "planes": len(pixels)})
        first += len(pixels)
        typer.echo(f"{target}: {_changes(pixels, noisy, counts)}")
    return files, total


def _changes(clean: np.ndarray, noisy: np.ndarray, counts: np.ndarray) -> str:
    """Say in a few words how the labels of a file were changed."""
    labelled = max(1, int(counts.sum()))
    changed = int(counts[:, :-1].sum() - np.trace(counts[:, :-1]))
    unlabelled = int(np.count_nonzero(noisy == UNLABELLED))
    planes = counted(len(clean), "plane")
    return f"{planes}, {changed / labelled:.1%} of the labels changed, {unlabelled / noisy.size:.1%} unlabelled"


def _describe(
    path: Path, facts: dict[str, Any], closed: TransitionMatrix | None, counted: TransitionMatrix | None
) -> None:
    """Write noise.yaml."""
    known = {"closed_form": closed, "counted": counted}
    described = {
        "format": FORMAT,
        "version": __version__,
        **facts,
        "transition": {k: t and t.as_dict() for k, t in known.items()},
        "verdict": {k: t and verdict(t).as_dict() for k, t in known.items()},
    }
    write_yaml(path, described, default_flow_style=None, width=120)


def _verdicts(recipe: Recipe, closed: TransitionMatrix | None, counted: TransitionMatrix | None) -> Iterator[str]:
    """Word the verdict on the recipe, and on the pixels drawn where they say less or are all there is."""
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


# ---- density

Maps = dict[int, np.ndarray]


def density(
    labels: Annotated[
        list[Path], typer.Argument(help="Labels, or folders of them.", show_default=False, readable=False)
    ],
    out: Annotated[Path, typer.Option(help="The folder of the maps; made if not there.", show_default=False)],
    kernel: Annotated[str, typer.Option(help="The kernel, round.", metavar="|".join(KERNELS))] = "box",
    bandwidth: Annotated[
        str,
        typer.Option(
            help="Radius of box and epanechnikov, sigma of gaussian: pixels, or a length as '1.5 um', which the voxel "
            "size of each file turns into pixels along Y and X.",
            metavar="NUMBER[UNIT]",
        ),
    ] = "8",
    classes: Annotated[
        list[int] | None,
        typer.Option(
            "--class",
            metavar="N",
            help="The class whose density it is; may be repeated. [default: all]",
            show_default=False,
        ),
    ] = None,
    edges: Annotated[
        bool, typer.Option("--edges", help="Correct for what lies outside the image or is unlabelled.")
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Clean labels, a file or a folder paired by stem: print how much of their meta-structure is retained.",
            show_default=False,
        ),
    ] = None,
    reading: ReadingOption = "foreground",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier maps in --out.")] = False,
) -> None:
    """Estimate how densely the pixels of each class lie, eq. (8): the meta-structure as maps.

    Writes <stem>_density.tif (float32, density per pixel of area) with the axes and voxel size of the labels. Classes
    are channels, ascending or in the order of --class. With --reference it prints the share of the meta-structure that
    is retained (1 = all, 0 = none), and for each class the distance between the densities (0 = equal up to a factor and
    a constant, 1 = nothing in common).
    """
    shape = check_kernel(kernel)
    paths = list_labels(labels)
    results = result_paths(out, paths, "_density.tif")
    partners = partners_of(paths, reference) if reference else []
    check_free(results, [*paths, *partners], overwrite=overwrite, ways=WAYS)
    rows: list[list[str]] = []
    with warnings_as_lines():
        found = LabelSet(paths, reading)
        chosen = _chosen(classes, found)
        widths = _bandwidths(bandwidth, found)
        clean = LabelSet(partners, reading) if partners else None
        if clean is not None:
            check_same_sizes(found, clean)
        make_folder(out)
        for index, (target, width) in enumerate(zip(results, widths, strict=True)):
            pixels, like = found.read(index)
            maps = _maps(pixels, chosen, shape, width, edges)
            _write(target, maps, like)
            whose = f"class{'es' if len(chosen) > 1 else ''} {listed(chosen)}"
            typer.echo(f"{target}: {whose}, {kernel} of {_in_words(width)}")
            if clean is not None:
                retained = _retained(clean, index, pixels, shape, width)
                true = _maps(clean.read(index)[0], chosen, shape, width, edges)
                apart = [distance(true[c], maps[c]) for c in chosen]
                rows.append([target.stem.removesuffix("_density"), *map(number, [retained, *apart])])
    if rows:
        heads = ["image", "meta-structure retained", *(f"distance of {c}" for c in chosen)]
        print_table(heads, rows)


def _chosen(classes: Sequence[int] | None, labels: LabelSet) -> tuple[int, ...]:
    """Choose the classes whose density is asked for."""
    chosen = tuple(dict.fromkeys(classes or labels.classes))
    if absent := [c for c in chosen if c not in labels.classes]:
        raise InputError(f"--class {absent[0]}: there is no such pixel; the classes are {listed(labels.classes)}.")
    return chosen


def _bandwidths(text: str, labels: LabelSet) -> list[tuple[float, float]]:
    """Turn a bandwidth as users write it into pixels along Y and X of each file."""
    try:
        size, unit = parse_length(text)
    except InputError as error:
        raise InputError(f"--bandwidth {text}: {error}") from None
    found, bad = [], []
    for path, shape, steps_of in zip(labels.paths, labels.shapes, labels.steps, strict=True):
        pixel = steps_of["Y"], steps_of["X"]
        lengths = [convert(size, unit, to) if unit != PIXEL else size for _, to in pixel]
        if None in lengths:
            bad.append(f"{path} has no voxel size to turn {text} into pixels; give --bandwidth in pixels.")
            continue
        steps = [1.0 if unit == PIXEL else step for step, _ in pixel]
        pair = [length / step for length, step in zip(lengths, steps, strict=True) if length is not None]
        try:
            found.append(check_bandwidth(pair, shape, str(path)))
        except InputError as error:
            bad.append(str(error))
    if bad:
        raise InputError("\n".join(bad))
    return found


def _in_words(bandwidth: tuple[float, float]) -> str:
    """Write ``8 pixels``, or ``5 x 10 pixels`` where they are not square."""
    by, bx = (f"{b:.4g}" for b in bandwidth)
    return f"{by} pixels" if by == bx else f"{by} x {bx} pixels"


def _maps(
    pixels: np.ndarray, classes: Sequence[int], kernel: Kernel, bandwidth: tuple[float, float], edges: bool
) -> Maps:
    """Map each class; 0 throughout where a file lacks it, so that all files have the same channels."""
    present = [c for c in classes if (pixels == c).any()]
    maps = densities(pixels, kernel, bandwidth, edges=edges, classes=present)
    return {c: maps[c] if c in maps else np.zeros(pixels.shape, np.float32) for c in classes}


def _write(target: Path, maps: Maps, like: Image) -> None:
    """Write classes along C, the only one without."""
    images = [stack(list(planes), like) for planes in maps.values()]
    image = images[0]
    if len(images) > 1:
        image = replace(
            image,
            data=np.stack([i.data for i in images]),
            axes=f"C{image.axes}",
            scale=(1.0, *image.scale),
            units=("pixel", *image.units),
        )
    write_tiff(target, image.data, image.axes, image.scale, image.units)


def _retained(clean: LabelSet, index: int, noisy: np.ndarray, kernel: Kernel, bandwidth: tuple[float, float]) -> float:
    """Measure the share of the meta-structure that is retained; nan with a warning where there was none to lose."""
    try:
        return structure_retained(clean.read(index)[0], noisy, kernel, bandwidth)
    except InputError as error:
        warn(f"{clean.paths[index]}: {error}", stacklevel=2)
        return math.nan


# ---- transition


def transition(
    clean: Annotated[Path, typer.Argument(help="Clean labels: a file, or a folder.", show_default=False)],
    noisy: Annotated[
        Path, typer.Argument(help="Noisy labels: a file, or a folder paired by stem.", show_default=False)
    ],
    reading: ReadingOption = "foreground",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write matrices and verdicts to a file as well.")
    ] = None,
) -> None:
    """Count which noisy labels the pixels of each class carry, and say what a network could learn from them.

    Prints the noise transition matrix P(noisy label | clean label) over all pairs of files together, its rank beyond
    sampling error, and the verdict of Lemma 2 and Theorem 2; for several files a row for each. Pixels that are
    unlabelled (255) in the clean labels are left out.
    """
    pairs = pair_paths(clean, noisy)
    with warnings_as_lines():
        truth = LabelSet([path for path, _ in pairs.values()], reading)
        found = LabelSet([path for _, path in pairs.values()], reading)
    check_same_sizes(found, truth)
    classes = tuple(sorted({*truth.classes, *found.classes}))
    counts = [count_pairs(truth.read(i)[0], found.read(i)[0], classes) for i in range(len(pairs))]
    pooled = from_counts(classes, np.sum(counts, axis=0))
    # A pair without a pixel that is labelled in both has no matrix, but takes nothing from the others.
    each = [from_counts(classes, c) if c[:, :-1].any() else None for c in counts]
    if json_file:
        _write_json(json_file, pairs, each, pooled)
    if len(pairs) > 1:
        _print_files(list(pairs), each, pooled)
    _print_matrix(pooled)
    typer.echo(verdict(pooled).sentence)


def _print_files(names: Sequence[str], each: Sequence[TransitionMatrix | None], pooled: TransitionMatrix) -> None:
    """Print a row for each pair of files, and one for all of them together."""
    heads = ["image", "pixels", "changed", "unlabelled", "rank"]
    rows = [[name, *_numbers(matrix)] for name, matrix in zip(names, each, strict=True)]
    print_table(heads, rows, [f"all {len(names)}", *_numbers(pooled)])


def _numbers(matrix: TransitionMatrix | None) -> list[str]:
    if matrix is None or matrix.counts is None:
        return ["0", ABSENT, ABSENT, ABSENT]
    counts = matrix.counts
    total, unlabelled = int(counts.sum()), int(counts[:, -1].sum())
    changed = total - unlabelled - int(np.trace(counts))
    rank = f"{matrix.rank} of {np.count_nonzero(matrix.known)}"
    return [str(total), f"{changed / total:.1%}", f"{unlabelled / total:.1%}", rank]


def _print_matrix(matrix: TransitionMatrix) -> None:
    """Print the matrix, a row for each clean class."""
    assert matrix.counts is not None
    heads = ["clean \\ noisy", *map(str, matrix.classes), "unlabelled", "pixels"]
    shares = np.column_stack([matrix.matrix, matrix.unlabelled])
    totals = matrix.counts.sum(axis=1)
    print_table(
        heads, [[str(c), *map(number, r), str(n)] for c, r, n in zip(matrix.classes, shares, totals, strict=True)]
    )


def _write_json(
    path: Path,
    pairs: Mapping[str, tuple[Path, Path]],
    each: Sequence[TransitionMatrix | None],
    pooled: TransitionMatrix,
) -> None:
    """Write matrices and verdicts, those of each pair and of all together."""
    images = [
        {"name": name, "clean": str(clean), "noisy": str(noisy), **_facts(matrix)}
        for (name, (clean, noisy)), matrix in zip(pairs.items(), each, strict=True)
    ]
    text = json.dumps({"images": images, "pooled": _facts(pooled)}, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def _facts(matrix: TransitionMatrix | None) -> dict[str, Any]:
    if matrix is None:
        return {"transition": None, "verdict": None}
    return {"transition": matrix.as_dict(), "verdict": verdict(matrix).as_dict()}
