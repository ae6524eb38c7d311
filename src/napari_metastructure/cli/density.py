"""``metastructure density``: the meta-structure of labels as density maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from warnings import warn

import numpy as np
import typer

from napari_metastructure.cli.bandwidths import bandwidths, in_words
from napari_metastructure.cli.errors import warnings_as_lines
from napari_metastructure.cli.label_files import listed_labels, pair_with
from napari_metastructure.cli.label_outputs import check_free, make_folder, targets
from napari_metastructure.cli.label_set import LabelSet, ReadingOption, check_same_sizes
from napari_metastructure.cli.tables import number, print_table
from napari_metastructure.errors import InputError
from napari_metastructure.images.axes import stack
from napari_metastructure.images.image import Image
from napari_metastructure.images.writing import write_tiff
from napari_metastructure.labels.classes import listed
from napari_metastructure.labels.density import densities
from napari_metastructure.labels.distance import distance, structure_left
from napari_metastructure.labels.kernels import KERNELS, Kernel, check_kernel

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
        typer.Option("--class", metavar="N", help="Whose density; may be repeated. [default: all]", show_default=False),
    ] = None,
    edges: Annotated[
        bool, typer.Option("--edges", help="Correct for what lies outside the image or is unlabelled.")
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Clean labels, a file or a folder paired by stem: print how much of their meta-structure is left.",
            show_default=False,
        ),
    ] = None,
    reading: ReadingOption = "foreground",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier maps in --out.")] = False,
) -> None:
    """Estimate how densely the pixels of each class lie, eq. (8): the meta-structure as maps.

    Writes <stem>_density.tif (float32, density per pixel of area) with the axes and voxel size of the labels. Classes
    are channels, ascending or in the order of --class. With --reference it prints how much structure is left (1 =
    all, 0 = none), and for each class the distance between the densities (0 = equal up to a factor and a constant,
    1 = nothing in common).
    """
    shape = check_kernel(kernel)
    paths = listed_labels(labels)
    results = targets(out, paths, "_density.tif")
    partners = pair_with(paths, reference) if reference else []
    check_free(results, [*paths, *partners], overwrite)
    rows: list[list[str]] = []
    with warnings_as_lines():
        found = LabelSet(paths, reading)
        chosen = _chosen(classes, found)
        widths = bandwidths(bandwidth, found)
        clean = LabelSet(partners, reading) if partners else None
        if clean is not None:
            check_same_sizes(found, clean)
        make_folder(out)
        for index, (target, width) in enumerate(zip(results, widths, strict=True)):
            pixels, like = found.read(index)
            maps = _maps(pixels, chosen, shape, width, edges)
            _write(target, maps, like)
            whose = f"class{'es' if len(chosen) > 1 else ''} {listed(chosen)}"
            typer.echo(f"{target}: {whose}, {kernel} of {in_words(width)}")
            if clean is not None:
                left = _left(clean, index, pixels, shape, width)
                true = _maps(clean.read(index)[0], chosen, shape, width, edges)
                apart = [distance(true[c], maps[c]) for c in chosen]
                rows.append([target.stem.removesuffix("_density"), *map(number, [left, *apart])])
    if rows:
        heads = ["image", "structure left", *(f"distance of {c}" for c in chosen)]
        print_table(heads, rows)


def _chosen(classes: Sequence[int] | None, labels: LabelSet) -> tuple[int, ...]:
    """Whose density is asked for."""
    chosen = tuple(dict.fromkeys(classes or labels.classes))
    if absent := [c for c in chosen if c not in labels.classes]:
        raise InputError(f"--class {absent[0]}: there is no such pixel; the classes are {listed(labels.classes)}.")
    return chosen


def _maps(
    pixels: np.ndarray, classes: Sequence[int], kernel: Kernel, bandwidth: tuple[float, float], edges: bool
) -> Maps:
    """The density of each class; 0 throughout where a file lacks it, so that all files have the same channels."""
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


def _left(clean: LabelSet, index: int, noisy: np.ndarray, kernel: Kernel, bandwidth: tuple[float, float]) -> float:
    """The share of the meta-structure that is left; nan with a warning where there was none to lose."""
    try:
        return structure_left(clean.read(index)[0], noisy, kernel, bandwidth)
    except InputError as error:
        warn(f"{clean.paths[index]}: {error}", stacklevel=2)
        return math.nan
