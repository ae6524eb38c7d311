"""``metastructure compare``: many methods on the same images, scored where there is ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_metastructure.baselines.config import ALL, LIMITED, TITLES, CompareConfig
from napari_metastructure.baselines.results import CompareFinished, CompareStarted, MethodFinished, shown, summary
from napari_metastructure.cli import _options
from napari_metastructure.cli._progress import INTERRUPTED, running, table
from napari_metastructure.cli.batch import shared_out
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.events import Warned

if TYPE_CHECKING:
    from rich.table import Table

    from napari_metastructure.batch.segmentation import CompareFiles

_TYPED = ("methods", "reading", "repeats", "seed", "objects", "device", "rounds", "flaws", "dfc_iterations", "ac_steps")


def _option(field: str, **more: Any) -> Any:
    return _options.option(CompareConfig, {"paper": {}}, field, **more)


def compare(
    images: Annotated[Path, typer.Option(help="A folder of images, or one image.")],
    out: Annotated[Path, _options.folder("Folder of tables, figure and masks; made if it is not there.")],
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Ground truth of the same stems, see --reading. Without it methods are compared with each other."
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(TITLES)}, or {ALL}; separated by commas, or the option repeated. "
            f"[default: {','.join(CompareConfig().methods)}]",
            metavar="NAME,...",
        ),
    ] = None,
    reading: Annotated[str | None, _option("reading")] = None,
    repeats: Annotated[int | None, _option("repeats", metavar="R")] = None,
    objects: Annotated[str | None, _option("objects")] = None,
    channel: Annotated[str, _options.CHANNEL] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option(help=f"Epochs of the supervised networks. [default: {TrainConfig().epochs}]", metavar="N"),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of iGTT at most. [default: what its preset says]", metavar="N")
    ] = None,
    flaws: Annotated[str | None, _option("flaws")] = None,
    dfc_iterations: Annotated[int | None, _option("dfc_iterations", metavar="N")] = None,
    ac_steps: Annotated[int | None, _option("ac_steps", metavar="N")] = None,
    seed: Annotated[int | None, _option("seed", metavar="N")] = None,
    device: Annotated[str | None, _option("device", metavar="D")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier comparison in --out.")] = False,
    scheduler: Annotated[str | None, _options.SCHEDULER] = None,
    resume: Annotated[bool, _options.RESUME] = False,
) -> None:
    """Compare methods of segmentation on the same images.

    Prints and writes Dice, AUC, accuracy (with --masks), seconds and peak memory, and how much the methods agree:
    results.csv, table.csv, table.md, agreement.csv, compare.png, run.yaml, and of the first repeat
    masks/METHOD/<stem>_mask.tif (uint8, 0 and 255). Supervised methods are trained on one half of the images and
    predict the other. Ctrl-C keeps what is done and exits with 130. --scheduler has one worker do all of it: times and
    memory of methods can be compared on one machine only.
    """
    config = _config(methods, reading, repeats, seed, objects, device, rounds, flaws, dfc_iterations, ac_steps, epochs)
    for (name, whose), limit in zip(LIMITED.items(), (epochs, rounds, flaws, dfc_iterations, ac_steps), strict=True):
        if limit is not None and not set(whose) & set(config.methods):
            option = _options.option_name(name)
            raise InputError(
                f"{option}: none of --methods goes by it; leave it out, or name one of {', '.join(whose)}."
            )
    if scheduler is not None or resume:
        task = {"what": "compare", "config": config, "masks": masks, "channel": channel}
        shared_out([images], out, scheduler, task, resume, overwrite)
        return
    from napari_metastructure.batch.segmentation import CompareFiles

    with _options.warnings_as_lines():
        files = CompareFiles([images], masks, channel, out)
    if config.methods == tuple(TITLES):
        config = config.model_copy(update={"methods": _usable(files)})
    files.check_free(config.methods, overwrite, _options.WAYS)
    _options.tell_colour(files.read)
    with _options.alone_in(out):
        files.check_free(config.methods, overwrite, _options.WAYS)
        _run(files, config)


def _config(methods: list[str] | None, *rest: Any) -> CompareConfig:
    """Build the settings that were asked for."""
    *own, epochs = rest
    options = {name: value for name, value in zip(_TYPED[1:], own, strict=True) if value is not None}
    if methods:
        options["methods"] = ",".join(methods)
    if epochs is not None:
        options["train"] = _options.validated(TrainConfig, TrainConfig, {"epochs": epochs}, ("epochs",))
    return _options.validated(CompareConfig, CompareConfig, options, _TYPED)


def _usable(files: CompareFiles) -> tuple[str, ...]:
    """List all methods, without the supervised ones where there is nothing to train them on."""
    from napari_metastructure.baselines.methods import METHODS

    if files.masks is not None and len(set(files.groups)) > 1:
        return tuple(METHODS)
    wish = "need masks" if files.masks is None else "need images of two files or frames at least"
    left = [name for name, method in METHODS.items() if method.needs_masks]
    typer.echo(f"Warning: {', '.join(left)} {wish} and are left out.", err=True)
    return tuple(name for name in METHODS if name not in left)


def _run(files: CompareFiles, config: CompareConfig) -> None:
    """Run, show progress, and write the results."""
    from napari_metastructure.baselines.compare import NOT_SAVED
    from napari_metastructure.baselines.compare import compare as job

    last, whole = None, True
    with running() as terminal:
        events = job(
            files.read.planes,
            config,
            terminal.control,
            masks=files.masks,
            names=files.read.names,
            groups=files.groups,
            folder=files.out,
            inputs=files.paths,
        )
        for event in terminal.follow(events):
            match event:
                case CompareStarted():  # all is well so far
                    files.clear()
                case MethodFinished() if event.result.repeat == 0:
                    try:
                        files.write(event.result.method, event.masks)
                    except InputError as error:
                        terminal.warn(f"{error} The comparison goes on.")
                        whole = False
                case Warned() if event.message.endswith(NOT_SAVED):
                    whole = False
                case CompareFinished():
                    last = event
        if last is None:
            raise RuntimeError("the comparison ended without a result")
        if last.results:
            terminal.console.print(*_tables(last))
            terminal.say(f"{last.reason} Tables, figure and masks are in {files.out}." if whole else last.reason)
    if last.stopped:
        raise typer.Exit(INTERRUPTED)
    if not last.results:
        raise RunFailed("No method came to an end; the warnings above say why.")
    if not whole:
        raise RunFailed(f"Not all results could be written to {files.out}; the warnings above say why.")


def _tables(last: CompareFinished) -> Iterator[Table]:
    """Make the tables of ``table.md``; the agreement heads methods by number, for a terminal is narrow."""
    yield table(*shown(summary(last.results)), whole_names=True)
    if last.agreement is not None:
        numbers = range(1, len(last.agreement.methods) + 1)
        rows = [
            [f"{number} {TITLES[name]}", *(f"{value:.2f}" for value in line)]
            for number, name, line in zip(numbers, last.agreement.methods, last.agreement.dice, strict=True)
        ]
        yield table(["Dice between masks", *map(str, numbers)], rows, whole_names=True)
