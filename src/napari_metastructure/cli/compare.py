"""``metastructure compare``: many methods on the same images, scored where there is ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_metastructure.baselines.config import ALL, CompareConfig
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.cli._files import AUTO, CHANNEL
from napari_metastructure.cli._options import option
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.training.config import TrainConfig

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from napari_metastructure.cli._files import CompareFiles

_TYPED = ("methods", "repeats", "seed", "objects", "device", "rounds", "dfc_iterations", "ac_steps")


def _option(field: str, **more: Any) -> Any:
    return option(CompareConfig, {"paper": {}}, field, **more)


def compare(
    images: Annotated[Path, typer.Option(help="A folder of images, or one image.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="Folder of tables, figure and masks; made if it is not there.", show_default=False)
    ],
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Ground truth of the same stems: 0 background, above 0 foreground; in masks of nothing but 0, 1 and "
            "255, 255 is unlabelled. Without it methods are compared with each other.",
            show_default=False,
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(METHODS)}, or {ALL}; apart by commas, or the option repeated. "
            f"[default: {','.join(CompareConfig().methods)}]",
            metavar="NAME,...",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[int | None, _option("repeats", metavar="R")] = None,
    objects: Annotated[str | None, _option("objects", metavar="auto|bright|dark")] = None,
    channel: Annotated[str, CHANNEL] = AUTO,
    epochs: Annotated[
        int | None,
        typer.Option(
            help=f"Epochs of the supervised networks. [default: {TrainConfig().epochs}]",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="Rounds of iGTT at most. [default: what its preset says]", metavar="N", show_default=False),
    ] = None,
    dfc_iterations: Annotated[int | None, _option("dfc_iterations", metavar="N")] = None,
    ac_steps: Annotated[int | None, _option("ac_steps", metavar="N")] = None,
    seed: Annotated[int | None, _option("seed", metavar="N")] = None,
    device: Annotated[str | None, _option("device", metavar="D")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier comparison in --out.")] = False,
) -> None:
    """Compare methods of segmentation on the same images.

    Prints and writes Dice, AUC, accuracy (with --masks), seconds and peak memory, and how much the methods agree:
    results.csv, table.csv, table.md, agreement.csv, compare.png, run.yaml, and of the first repeat
    masks/METHOD/<stem>_mask.tif (uint8, 0 and 255). Supervised methods are trained on one half of the images and
    predict the other. Ctrl-C keeps what is done and exits with 130.
    """
    from napari_metastructure.cli._files import CompareFiles

    config = _config(methods, repeats, seed, objects, device, rounds, dfc_iterations, ac_steps, epochs)
    files = CompareFiles(images, masks, channel, out)
    if config.methods == tuple(METHODS):
        config = config.model_copy(update={"methods": _usable(files)})
    files.check_free(config.methods, overwrite)
    files.read.tell_colour()
    _run(files, config)


def _config(methods: list[str] | None, *rest: Any) -> CompareConfig:
    """The settings that were asked for."""
    from napari_metastructure.cli._options import validated

    *own, epochs = rest
    options = {name: value for name, value in zip(_TYPED[1:], own, strict=True) if value is not None}
    if methods:
        options["methods"] = ",".join(methods)
    if epochs is not None:
        options["train"] = validated(TrainConfig, TrainConfig, {"epochs": epochs}, ("epochs",))
    return validated(CompareConfig, CompareConfig, options, _TYPED)


def _usable(files: CompareFiles) -> tuple[str, ...]:
    """All methods, without the supervised ones where there is nothing to train them on."""
    if files.masks is not None and len(set(files.groups)) > 1:
        return tuple(METHODS)
    wish = "need masks" if files.masks is None else "need images of two files or frames at least"
    left = [name for name, method in METHODS.items() if method.needs_masks]
    typer.echo(f"Warning: {', '.join(left)} {wish} and are left out.", err=True)
    return tuple(name for name in METHODS if name not in left)


def _run(files: CompareFiles, config: CompareConfig) -> None:
    """Run, show, and write what came of it."""
    from rich.console import Console

    from napari_metastructure.baselines.compare import compare as job
    from napari_metastructure.baselines.results import CompareFinished, CompareStarted, MethodFinished
    from napari_metastructure.cli._progress import INTERRUPTED, followed_comparison, stopping_on_interrupt, tables
    from napari_metastructure.training.control import Control

    console, errors, control = Console(highlight=False), Console(stderr=True, highlight=False), Control()
    last = None
    with stopping_on_interrupt(control):
        events = job(
            files.planes,
            config,
            control,
            masks=files.masks,
            names=files.names,
            groups=files.groups,
            folder=files.out,
            inputs=files.paths,
        )
        for event in followed_comparison(events, console, errors):
            match event:
                case CompareStarted():  # all is well so far
                    files.clear()
                case MethodFinished() if event.result.repeat == 0:
                    _write(files, event.result.method, event.masks, errors)
                case CompareFinished():
                    last = event
        if last is None:
            raise RuntimeError("the comparison ended without a result")
        for table in tables(last):
            console.print(table)
        if last.results:
            console.print(last.reason, f"Tables, figure and masks are in {files.out}.", soft_wrap=True, markup=False)
    if last.stopped:
        raise typer.Exit(INTERRUPTED)
    if not last.results:
        raise RunFailed("No method came to an end; the warnings above say why.")


def _write(files: CompareFiles, method: str, masks: Sequence[np.ndarray], errors: Console) -> None:
    """Write the masks of a method; the comparison is worth going on without them."""
    try:
        files.write(method, masks)
    except InputError as error:
        errors.print(f"Warning: {error} The comparison goes on.", markup=False, soft_wrap=True)
