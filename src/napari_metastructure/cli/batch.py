"""``metastructure batch``: a saved recipe on its files, and how the other commands run theirs as a batch."""

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_metastructure.batch.recipe import BatchRecipe
from napari_metastructure.batch.run import BatchFinished, BatchStarted, UnitDone, UnitFailed, UnitProgress, run
from napari_metastructure.cli._options import RESUME, RUN_WAYS, SCHEDULER, check_modes, folder
from napari_metastructure.cli._progress import INTERRUPTED, bars, running
from napari_metastructure.errors import InputError, counted
from napari_metastructure.images.read_options import options
from napari_metastructure.training.distributed import join
from napari_metastructure.training.events import Warned

BAD_FILES = 2
"""Exit code where some of the files could not be used."""

SHOWN = 4
"""Results that are named in a line."""


def batch(
    recipe: Annotated[Path, typer.Argument(help="What Save recipe of a widget wrote, or a batch.yaml.")],
    scheduler: Annotated[str | None, SCHEDULER] = None,
    out: Annotated[Path | None, folder("In place of the folder in the recipe.")] = None,
    resume: Annotated[bool, RESUME] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier batch in its folder.")] = False,
) -> None:
    """Do all files of a recipe, each on its own.

    Writes what the command of the recipe writes, batch.yaml (the recipe) and batch.csv: what was done, what failed and
    why. A file that cannot be used is named, the others go on, and the exit code is 2. Ctrl-C leaves whole files only
    and exits with 130; --resume goes on.
    """
    changed = {name: value for name, value in {"scheduler": scheduler, "out": out}.items() if value is not None}
    saved = BatchRecipe.read(recipe)
    run_batch(BatchRecipe.make(**{**dict(saved), **changed}), resume, overwrite)


def shared_out(
    inputs: list[Path], out: Path, scheduler: str | None, task: dict[str, Any], resume: bool, overwrite: bool
) -> None:
    """Run what a command was asked for as a batch."""
    if not join().alone:
        raise InputError(
            "torchrun shares out one run, and these are files of a batch; start it without torchrun, with --scheduler "
            "local:N for several at once."
        )
    recipe = BatchRecipe.make(
        inputs=tuple(map(str, inputs)),
        out=out,
        scheduler=scheduler,
        task=task,
        axes=options.axes,
        series=options.series,
    )
    run_batch(recipe, resume, overwrite)


def run_batch(recipe: BatchRecipe, resume: bool, overwrite: bool) -> None:
    """Run a batch, and show how it goes."""
    check_modes(resume, overwrite)
    out, ways = recipe.absolute().out, tuple(way for way in RUN_WAYS if not (resume and "--resume" in way))
    with running() as terminal, bars(terminal.console) as progress:
        task = progress.add_task("", total=None, left="left")
        shares: dict[int, float] = {}
        for event in run(recipe, terminal.control, resume=resume, overwrite=overwrite, ways=ways):
            match event:
                case BatchStarted():
                    before = sum(event.settled)
                    shares = {index: 0.0 for index, done in enumerate(event.settled) if not done}
                    progress.update(task, total=len(shares))
                    earlier = f", {before} done before" if before else ""
                    terminal.say(f"{counted(len(event.names), 'file')}{earlier}; {event.where}")
                case UnitProgress():
                    shares[event.index] = event.share
                    progress.update(task, completed=sum(shares.values()), description=Path(event.name).name)
                case UnitDone():
                    for note in event.notes:
                        terminal.warn(note)
                    names = [path.relative_to(out).as_posix() for path in event.written]
                    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                    terminal.say(f"{event.name} -> {', '.join(names[:SHOWN])}{more}")
                case UnitFailed():
                    terminal.warn(event.why if event.name in event.why else f"{event.name}: {event.why}", "Error")
                case Warned():
                    terminal.warn(event.message)
                case BatchFinished():
                    last = event
            if isinstance(event, UnitDone | UnitFailed):
                shares[event.index] = 1.0
                progress.update(task, completed=sum(shares.values()))
    for line in last.said:
        terminal.say(line)
    earlier = f", {last.settled} done before" if last.settled else ""
    terminal.say(
        f"{counted(last.done, 'file')} done{earlier}, {last.failed} failed, in {last.seconds:.1f} s: {last.report}"
    )
    if last.stopped:
        terminal.say("Stopped by the user; every file that was written is whole, and --resume goes on.")
        raise typer.Exit(INTERRUPTED)
    if last.failed:
        raise typer.Exit(BAD_FILES)
