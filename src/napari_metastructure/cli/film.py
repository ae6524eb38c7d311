"""``metastructure film``: the epochs of a run as a film or a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from napari_metastructure.cli._files import WAYS
from napari_metastructure.cli._options import warnings_as_lines
from napari_metastructure.errors import InputError, counted, listed, span
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.outputs import read_epochs, with_epochs
from napari_metastructure.images.files import check_free, output_stems, read_image, result_path, stem
from napari_metastructure.images.image import plane_count, planes
from napari_metastructure.training.run_folder import FoundRun, read_description

if TYPE_CHECKING:
    from napari_metastructure.igtt.film import Epochs


class IGTTRun(FoundRun[IGTTConfig]):
    """A run of iGTT with its curves."""

    model = IGTTConfig
    columns = ("loss", "agreement")


def film(
    run: Annotated[Path, typer.Argument(help="The folder of a run with --keep-epochs.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            help="A film, .gif or .mp4 (needs the extra [film]), or a figure with the curves, .png, .pdf or .svg.",
            show_default=False,
        ),
    ],
    image: Annotated[
        Path | None,
        typer.Option(help="The image file. [default: the first of the run]", metavar="FILE", show_default=False),
    ] = None,
    plane: Annotated[
        int | None,
        typer.Option(
            help="Which of its planes, from 1. [default: the one that the last mask covers most]",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    outlines: Annotated[bool, typer.Option("--outlines", help="Draw outlines in place of filled masks.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")] = False,
) -> None:
    """Draw the epochs of an iGTT run over its image.

    The run has to have kept them: metastructure igtt ... --keep-epochs.
    """
    from napari_metastructure.igtt.film import write

    epochs = _epochs(run, image, plane)
    check_free([out], _files(run), overwrite=overwrite, ways=WAYS)
    typer.echo(f"{write(out, epochs, outlines)}: {len(epochs.masks)} epochs")


def _files(folder: Path) -> list[Path]:
    """Name the images of a run."""
    described: list[Any] = read_description(folder).get("inputs") or []
    return [Path(str(i["path"])) for i in described if isinstance(i, dict) and "path" in i]


def _epochs(folder: Path, wanted: Path | None, plane: int | None) -> Epochs:
    """Read a plane of an image of a run, and its masks."""
    from napari_metastructure.igtt.film import Epochs

    run = IGTTRun.find(folder)
    if run is None:
        raise InputError(f"{folder} holds no run; name the folder of one.")
    files = _files(folder)
    with warnings_as_lines():
        kept = {
            file: path
            for file, name in zip(files, output_stems(files), strict=True)
            for ome in (False, True)
            if (path := result_path(folder, name, "epochs", ome)).exists()
        }
    if not kept:
        raise InputError(f"The run in {folder} kept no epochs; run it with --keep-epochs.")
    names = [file for file in kept if wanted in (None, file) or (wanted and wanted.resolve() == file.resolve())]
    if not names:
        raise InputError(f"--image {wanted}: the run kept epochs of {listed([file.name for file in kept])}.")
    with warnings_as_lines():
        found = read_image(names[0])
        channel = run.chosen().channel or None
        pixels = planes(found, channel)
        axes = "".join(a for a in found.axes if a not in "CS")
        masks = read_epochs(kept[names[0]], with_epochs(axes))
    order = [with_epochs(axes).index(a) for a in with_epochs("".join(a for a in "TZYX" if a in axes))]
    masks = masks.transpose(order).reshape(len(masks), -1, *masks.shape[-2:])
    count = plane_count(found)
    if masks.shape[1:] != (count, *pixels[0].shape):
        raise InputError(f"{kept[names[0]]} does not fit {names[0]}; was the image replaced?")
    if plane is not None and not 1 <= plane <= count:
        raise InputError(f"--plane {plane}: {stem(names[0])} has {counted(count, 'plane')}; choose {span(1, count)}.")
    at = int(np.argmax(np.count_nonzero(masks[-1], axis=(-2, -1)))) if plane is None else plane - 1
    first = max(run.epoch - len(masks) + 1, 0)
    return Epochs(pixels[at], dict(enumerate(masks[:, at], first)), run.rounds)
