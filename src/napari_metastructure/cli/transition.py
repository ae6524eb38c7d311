"""``metastructure transition``: the noise transition matrix of labels against clean ones, its rank and verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from napari_metastructure.cli.errors import warnings_as_lines
from napari_metastructure.cli.label_files import pair_files
from napari_metastructure.cli.label_set import LabelSet, ReadingOption, check_same_sizes
from napari_metastructure.cli.tables import ABSENT, number, print_table
from napari_metastructure.images.atomic import replacing
from napari_metastructure.labels.transition import TransitionMatrix, count_pairs, from_counts
from napari_metastructure.labels.verdict import verdict


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
    pairs = pair_files(clean, noisy)
    with warnings_as_lines():
        truth = LabelSet([path for _, path, _ in pairs], reading)
        found = LabelSet([path for _, _, path in pairs], reading)
    check_same_sizes(found, truth)
    classes = tuple(sorted({*truth.classes, *found.classes}))
    counts = [count_pairs(truth.read(i)[0], found.read(i)[0], classes) for i in range(len(pairs))]
    pooled = from_counts(classes, np.sum(counts, axis=0))
    # A pair without a pixel that is labelled in both has no matrix, but takes nothing from the others.
    each = [from_counts(classes, c) if c[:, :-1].any() else None for c in counts]
    if json_file:
        _write_json(json_file, pairs, each, pooled)
    if len(pairs) > 1:
        _print_files([name for name, *_ in pairs], each, pooled)
    _print_matrix(pooled)
    typer.echo(verdict(pooled).sentence)


def _print_files(names: Sequence[str], each: Sequence[TransitionMatrix | None], pooled: TransitionMatrix) -> None:
    """A row for each pair of files, and one for all of them together."""
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
    """The matrix, a row for each clean class."""
    assert matrix.counts is not None
    heads = ["clean \\ noisy", *map(str, matrix.classes), "unlabelled", "pixels"]
    shares = np.column_stack([matrix.matrix, matrix.unlabelled])
    totals = matrix.counts.sum(axis=1)
    print_table(
        heads, [[str(c), *map(number, r), str(n)] for c, r, n in zip(matrix.classes, shares, totals, strict=True)]
    )


def _write_json(
    path: Path,
    pairs: Sequence[tuple[str, Path, Path]],
    each: Sequence[TransitionMatrix | None],
    pooled: TransitionMatrix,
) -> None:
    """Write matrices and verdicts, those of each pair and of all together."""
    images = [
        {"name": name, "clean": str(clean), "noisy": str(noisy), **_facts(matrix)}
        for (name, clean, noisy), matrix in zip(pairs, each, strict=True)
    ]
    text = json.dumps({"images": images, "pooled": _facts(pooled)}, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def _facts(matrix: TransitionMatrix | None) -> dict[str, Any]:
    if matrix is None:
        return {"transition": None, "verdict": None}
    return {"transition": matrix.as_dict(), "verdict": verdict(matrix).as_dict()}
