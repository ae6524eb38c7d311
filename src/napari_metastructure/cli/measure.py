"""``metastructure measure``: masks cleaned up, and a table of their objects."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_metastructure.batch.label_set import LabelSet, check_same_size, list_folder, only_masks, partners_of
from napari_metastructure.cli._files import WAYS, ReadingOption, list_labels, result_paths
from napari_metastructure.cli._options import warnings_as_lines
from napari_metastructure.errors import InputError, counted
from napari_metastructure.images.files import check_free, plane_shape, read_image
from napari_metastructure.images.image import PIXEL, Image, planes, stack
from napari_metastructure.images.writing import make_folder, write_tiff
from napari_metastructure.labels import measures
from napari_metastructure.labels.measures import Voxel, Wanted
from napari_metastructure.labels.regions import CleanUp, change_stack, clean_up, result_of

SIZE = "a number of pixels, or with a unit as '1.5 um2' (um3 with --3d)."


def measure(
    masks: Annotated[
        list[Path], typer.Argument(help="Masks or labels, or folders of them.", show_default=False, readable=False)
    ],
    out: Annotated[Path, typer.Option(help="The table, as CSV.", metavar="FILE.csv", show_default=False)],
    images: Annotated[
        Path | None,
        typer.Option(help="Images to measure intensities in: a file, or a folder paired by stem.", show_default=False),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            help="Of images of several channels: a number from 0; of colours also red, green, blue, alpha. [default of "
            "colours: luminance]",
            show_default=False,
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
    clean: Annotated[
        Path | None, typer.Option(help="Write the cleaned masks to this folder.", metavar="FOLDER", show_default=False)
    ] = None,
    instances: Annotated[
        Path | None,
        typer.Option(help="Write numbered objects to this folder.", metavar="FOLDER", show_default=False),
    ] = None,
    reading: ReadingOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")] = False,
) -> None:
    """Clean up masks, and measure their objects: size, shape, intensity, place, skeleton.

    Objects are connected regions, or what the labels number. Small ones are removed, then small holes filled, then the
    border is cleared. The table has a row for each object, in the unit of the files. Cleaned masks and numbered objects
    are written as <stem>.tif, with axes and voxel size of the mask.
    """
    if skeleton:
        measures.check_skan()
    found = [path for place in masks for path in (list_folder(place) if place.is_dir() else list_labels([place]))]
    paths = only_masks(dict.fromkeys(found))  # of a run folder, say
    if not paths:
        raise InputError(f"{masks[0]} holds probabilities only; name masks, or folders of them.")
    partners = partners_of(paths, images) if images is not None else []
    if clean is not None and instances is not None and clean.resolve() == instances.resolve():
        raise InputError(f"--clean and --instances are both {clean}; give each a folder of its own.")
    if channel is not None and images is None:
        raise InputError(f"--channel {channel}: there is no image to take it of; give --images, or leave it out.")
    cleaned_paths, object_paths = (
        [] if folder is None else result_paths(folder, paths, ".tif") for folder in (clean, instances)
    )
    others = {path.resolve() for path in (*cleaned_paths, *object_paths)}
    if out.is_dir() or out.resolve() in others:
        raise InputError(f"--out {out} is {'a folder' if out.is_dir() else 'another result'}; name a CSV file.")
    check_free([out, *cleaned_paths, *object_paths], [*paths, *partners], overwrite=overwrite, ways=WAYS)
    with warnings_as_lines():
        labels = LabelSet(paths, reading, instances=True)
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
        with warnings_as_lines():
            intensity = _intensity(partners[index], channel, cleaned.shape) if partners else None
        wanted = Wanted(voxel, leading, intensity, skeleton)
        measured = result_of(measures.measure(blocks.changed(cleaned), wanted))
        tables.append(measured.table)
        if clean is not None:
            _write(cleaned_paths[index], labels.written(flat), like)
        if instances is not None:
            _write(object_paths[index], np.maximum(cleaned, 0) if measured.objects is None else measured.objects, like)
        total = measured.table.columns.get("volume" if volumes else "area", np.zeros(1)).sum()
        typer.echo(f"{path}: {counted(len(measured.table), 'object')}, together {total:.4g} {voxel.of_size}")
    for note in dict.fromkeys(note for table in tables for note in table.notes):
        typer.echo(f"Warning: {note}", err=True)
    measures.write_csv(out, tables, list(map(str, paths)))
    typer.echo(f"{out}: {counted(sum(map(len, tables)), 'object')} of {counted(len(paths), 'file')}")


def _check_sizes(labels: LabelSet, partners: Sequence[Path]) -> None:
    """Refuse images whose planes do not fit those of the masks."""
    for partner, path, (count, *size) in zip(partners, labels.paths, labels.shapes, strict=False):
        *leading, y, x = plane_shape(partner)
        sizes = [(n, *plane) if n > 1 else tuple(plane) for n, plane in ((math.prod(leading), (y, x)), (count, size))]
        check_same_size(partner, sizes[0], path, sizes[1])


def _voxels(labels: LabelSet, volumes: bool, pixels: bool) -> list[Voxel]:
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
        return [Voxel((1.0,) * len(axes), PIXEL)] * len(labels.paths)
    unit = labels.steps[0]["X"][1]
    found = [Voxel.of([steps[axis] for axis in axes], unit) for steps in labels.steps]
    if odd := next((i for i, voxel in enumerate(found) if voxel.unit != found[0].unit), None):
        raise InputError(
            f"{labels.paths[0]} is measured in {found[0].symbol} but {labels.paths[odd]} in {found[odd].symbol}, for "
            "not both have a voxel size with a unit; measure them apart, or all in pixels by --pixels."
        )
    return found


def _in_pixels(voxel: Voxel, option: str, text: str) -> float:
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
