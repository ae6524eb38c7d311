"""``metastructure noise``, ``density`` and ``transition``: label noise made, mapped and measured."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from napari_metastructure.batch import labels as work
from napari_metastructure.batch.label_set import NOISE_FILE, LabelSet, check_same_sizes, made_in, partners_of
from napari_metastructure.batch.recipe import expanded
from napari_metastructure.cli import _options
from napari_metastructure.cli._progress import ABSENT, number, print_table
from napari_metastructure.cli.batch import shared_out
from napari_metastructure.errors import counted, listed
from napari_metastructure.images.files import check_free
from napari_metastructure.images.writing import remove
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.density import KERNELS, check_kernel
from napari_metastructure.labels.transition import TransitionMatrix, count_pairs, from_counts
from napari_metastructure.labels.verdict import verdict


def noise(
    labels: Annotated[
        list[Path], typer.Argument(help="Clean labels, folders, or patterns as 'in/*.tif'.", readable=False)
    ],
    kind: Annotated[str, typer.Option(help="The recipe.", metavar=_options.KINDS)],
    out: Annotated[Path, _options.folder("The folder of the noisy labels; made if not there.")],
    keep: Annotated[float | None, _options.dial("keep")] = None,
    fraction: Annotated[float | None, _options.dial("fraction")] = None,
    exact: Annotated[bool | None, _options.dial("exact")] = None,
    probability: Annotated[float | None, _options.dial("probability")] = None,
    per_class: Annotated[str | None, _options.dial("per_class", metavar="0=A,1=B,...")] = None,
    matrix: Annotated[str | None, _options.dial("matrix", metavar="FILE.csv|'A B; C D'")] = None,
    n: Annotated[int | None, _options.dial("n")] = None,
    amplitude: Annotated[float | None, _options.dial("amplitude")] = None,
    correlation: Annotated[float | None, _options.dial("correlation")] = None,
    reading: _options.ReadingOption = "foreground",
    seed: Annotated[int, typer.Option(help="Same seed and files, same noise.", min=0, max=2**32 - 1)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier noisy labels in --out.")] = False,
    scheduler: Annotated[str | None, _options.SCHEDULER] = None,
    resume: Annotated[bool, _options.RESUME] = False,
) -> None:
    """Make noisy labels from clean ones (RCL, PCL, RL), and say what a network could learn from them.

    Writes <stem>.tif (uint8: classes as they are read, a foreground as 1, unlabelled as 255) with the axes and voxel
    size of the input, and noise.yaml with recipe, seed, inputs, noise transition matrix and verdict. Planes are
    numbered on from file to file, and each is drawn with the seed and its number. With --scheduler or --resume, a file
    that cannot be used does not stop the others; batch.yaml and batch.csv say what was done.
    """
    dials = {
        "keep": keep, "fraction": fraction, "exact": exact, "probability": probability, "per_class": per_class,
        "matrix": matrix, "n": n, "amplitude": amplitude, "correlation": correlation,
    }  # fmt: skip
    recipe = _options.recipe_of(kind, dials)
    if scheduler is not None or resume:
        task = {"what": "noise", "recipe": recipe, "seed": seed, "reading": reading}
        shared_out(labels, out, scheduler, task, resume, overwrite)
        return
    paths = _options.list_labels(expanded(labels))
    results = _options.result_paths(out, paths, ".tif")
    _check_out(out, results, paths, overwrite)
    with _options.warnings_as_lines():
        clean = LabelSet(paths, reading)
    closed = recipe.transition(clean.classes)
    with _options.alone_in(out):
        _check_out(out, results, paths, overwrite)
        earlier = made_in(out)
        remove([out / NOISE_FILE, *results])  # so that none is of another recipe than the rest
        if clean.rule:
            typer.echo(clean.rule)
        described = partial(work.describe, out, recipe, seed, clean.reading, clean.classes, closed)
        described([{"name": path.name} for path in results])  # whatever happens: in these files 255 is unlabelled
        made = []
        try:
            for index, (target, first) in enumerate(zip(results, clean.first_planes, strict=True)):
                pixels, noisy, facts = work.draw(clean.one(index), recipe, seed, first, target)
                made.append(facts)
                typer.echo(f"{target}: {_changes(pixels, noisy, np.array(facts['counts']))}")
        finally:
            if not made:
                remove([out / NOISE_FILE])
            said = described(made) if made else []
    if strays := sorted(name for name in earlier - {path.name for path in results} if (out / name).exists()):
        typer.echo(f"Warning: {out / strays[0]} is of an earlier call and was left as it is.", err=True)
    for line in said:
        typer.echo(line)


def _check_out(out: Path, results: Sequence[Path], paths: Sequence[Path], overwrite: bool) -> None:
    """Refuse a folder that holds an input, and one with earlier results unless they may be replaced."""
    check_free(results, paths, overwrite=True, ways=_options.WAYS)
    work.check_apart(out, paths)
    check_free([out / NOISE_FILE, *results], paths, overwrite=overwrite, ways=_options.WAYS)


def _changes(clean: np.ndarray, noisy: np.ndarray, counts: np.ndarray) -> str:
    """Say in a few words how the labels of a file were changed."""
    labelled = max(1, int(counts.sum()))
    changed = int(counts[:, :-1].sum() - np.trace(counts[:, :-1]))
    unlabelled = int(np.count_nonzero(noisy == UNLABELLED))
    planes = counted(len(clean), "plane")
    return f"{planes}, {changed / labelled:.1%} of the labels changed, {unlabelled / noisy.size:.1%} unlabelled"


# ---- density


def density(
    labels: Annotated[list[Path], typer.Argument(help="Labels, folders, or patterns as 'in/*.tif'.", readable=False)],
    out: Annotated[Path, _options.folder("The folder of the maps; made if not there.")],
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
        typer.Option("--class", metavar="N", help="The class whose density it is; may be repeated. [default: all]"),
    ] = None,
    edges: Annotated[
        bool, typer.Option("--edges", help="Correct for what lies outside the image or is unlabelled.")
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Clean labels, a file or a folder paired by stem: print how much of their meta-structure is retained."
        ),
    ] = None,
    reading: _options.ReadingOption = "foreground",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier maps in --out.")] = False,
    scheduler: Annotated[str | None, _options.SCHEDULER] = None,
    resume: Annotated[bool, _options.RESUME] = False,
) -> None:
    """Estimate how densely the pixels of each class lie, eq. (8): the meta-structure as maps.

    Writes <stem>_density.tif (float32, density per pixel of area) with the axes and voxel size of the labels. Classes
    are channels, ascending or in the order of --class. With --reference it prints the share of the meta-structure that
    is retained (1 = all, 0 = none), and for each class the distance between the densities (0 = equal up to a factor and
    a constant, 1 = nothing in common). With --scheduler or --resume, a file that cannot be used does not stop the
    others; batch.yaml and batch.csv say what was done.
    """
    shape = check_kernel(kernel)
    if scheduler is not None or resume:
        task: dict[str, Any] = {
            "what": "density",
            "kernel": kernel,
            "bandwidth": bandwidth,
            "classes": tuple(classes or ()),
        }
        task |= {"edges": edges, "reference": reference, "reading": reading}
        shared_out(labels, out, scheduler, task, resume, overwrite)
        return
    paths = _options.list_labels(expanded(labels))
    results = _options.result_paths(out, paths, "_density.tif")
    with _options.warnings_as_lines():
        partners = partners_of(paths, reference) if reference else []
    check_free(results, [*paths, *partners], overwrite=overwrite, ways=_options.WAYS)
    rows: list[list[str]] = []
    with _options.warnings_as_lines():
        found = LabelSet(paths, reading)
        chosen = work.chosen_classes(classes, found)
        widths = work.bandwidths_of(bandwidth, found)
        clean = LabelSet(partners, reading) if partners else None
        if clean is not None:
            check_same_sizes(found, clean)
        with _options.alone_in(out):
            check_free(results, overwrite=overwrite, ways=_options.WAYS)
            for index, (target, width) in enumerate(zip(results, widths, strict=True)):
                pixels, like = found.read(index)
                maps = work.class_maps(pixels, chosen, shape, width, edges)
                work.write_maps(target, maps, like)
                whose = f"class{'es' if len(chosen) > 1 else ''} {listed(chosen)}"
                typer.echo(f"{target}: {whose}, {kernel} of {_in_words(width)}")
                if clean is not None:
                    left = work.compare_maps(clean.one(index), pixels, maps, shape, width, edges)
                    rows.append([target.stem.removesuffix("_density"), *map(number, left)])
    if rows:
        heads = ["image", "meta-structure retained", *(f"distance of {c}" for c in chosen)]
        print_table(heads, rows)


def _in_words(bandwidth: tuple[float, float]) -> str:
    """Write ``8 pixels``, or ``5 x 10 pixels`` where they are not square."""
    by, bx = (f"{b:.4g}" for b in bandwidth)
    return f"{by} pixels" if by == bx else f"{by} x {bx} pixels"


# ---- transition


def transition(
    clean: Annotated[Path, typer.Argument(help="Clean labels: a file, or a folder.")],
    noisy: Annotated[Path, typer.Argument(help="Noisy labels: a file, or a folder paired by stem.")],
    reading: _options.ReadingOption = "foreground",
    json_file: Annotated[Path | None, _options.JSON] = None,
) -> None:
    """Count which noisy labels the pixels of each class carry, and say what a network could learn from them.

    Prints the noise transition matrix P(noisy label | clean label) over all pairs of files together, its rank beyond
    sampling error, and the verdict of Lemma 2 and Theorem 2; for several files a row for each. Pixels that are
    unlabelled (255) in the clean labels are left out.
    """
    pairs = _options.pair_paths(clean, noisy)
    _options.check_json(json_file, [path for pair in pairs.values() for path in pair])
    with _options.warnings_as_lines():
        truth = LabelSet([path for path, _ in pairs.values()], reading)
        found = LabelSet([path for _, path in pairs.values()], reading)
    check_same_sizes(found, truth)
    classes = tuple(sorted({*truth.classes, *found.classes}))
    counts = [count_pairs(truth.read(i)[0], found.read(i)[0], classes) for i in range(len(pairs))]
    pooled = from_counts(classes, np.sum(counts, axis=0))
    # A pair without a pixel that is labelled in both has no matrix, but takes nothing from the others.
    each = [from_counts(classes, c) if c[:, :-1].any() else None for c in counts]
    if json_file:
        images = [
            {"name": name, "clean": str(ours), "noisy": str(theirs), **_facts(matrix)}
            for (name, (ours, theirs)), matrix in zip(pairs.items(), each, strict=True)
        ]
        _options.write_json(json_file, {"images": images, "pooled": _facts(pooled)})
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


def _facts(matrix: TransitionMatrix | None) -> dict[str, Any]:
    if matrix is None:
        return {"transition": None, "verdict": None}
    return {"transition": matrix.as_dict(), "verdict": verdict(matrix).as_dict()}
