"""Progress lines and bars, tables of numbers, and Ctrl-C of commands in a terminal."""

import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import gettempdir
from types import FrameType
from typing import TypeVar

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from napari_metastructure.baselines import results
from napari_metastructure.baselines.config import TITLES
from napari_metastructure.errors import InputError, counted
from napari_metastructure.images.writing import make_folder
from napari_metastructure.training import events
from napari_metastructure.training.control import Control
from napari_metastructure.training.distributed import ALONE, Ranks, launched

T = TypeVar("T")

FAILED = 1
"""Exit code where a run broke down, or its results are not where they were wanted."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it (128 + SIGINT), and after the signals that end programs."""

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C, ``kill`` or the end of a job's time, and the end of a session."""

SHOW_CURSOR = b"\x1b[?25h"
"""For a terminal: bars hide it."""

ABSENT = "-"
"""In place of a number that is not defined."""


class Terminal:
    """Consoles of a command that runs long, and the control that Ctrl-C stops; see `running`."""

    def __init__(self) -> None:
        self.console, self.errors = Console(highlight=False), Console(stderr=True, highlight=False)
        self.control = Control()
        self._places: Iterator[Path] | None = None
        self.place: Path | None = None
        """The folder that has taken the place of one that could not be written to."""

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line, however long, as it is."""
        self.console.print(text, style=style, soft_wrap=True, markup=False)

    def warn(self, text: str, kind: str = "Warning") -> None:
        """Print a warning, or an error that does not end the command, to stderr."""
        self.errors.print(f"{kind}: {text}", soft_wrap=True, markup=False)

    def follow(self, job: Iterable[T]) -> Iterator[T]:
        """Pass events on and show them: bars with the time left if it is a terminal, and a line for each result."""
        with bars(self.console) as progress:
            shown = _Bars(progress)
            for event in job:
                shown.update(event)
                if isinstance(event, events.Warned):
                    self.warn(event.message)
                elif isinstance(event, events.Unsaved):
                    if (place := self.place_after(event.folder, event.message)) is not None:
                        self.control.save_to(place)
                elif line := _line(event):
                    self.say(line)
                yield event

    def place_after(self, failed: Path, why: str) -> Path | None:
        """Name the next folder to try where one cannot be written to, the first time with the reason; None after all.

        Beside it, and where another disk may be: the working folder, the home folder, that for temporary files.
        """
        if self._places is None:
            self.warn(why, "Error")
            around = dict.fromkeys([failed.resolve().parent, Path.cwd(), Path.home(), Path(gettempdir())])
            self._places = (free_name(folder / failed.name) for folder in around)
        self.place = next(self._places, None)
        said = "It could be saved nowhere." if self.place is None else f"Saving to {self.place} instead."
        self.warn(said, "Error")
        return self.place

    def write(self, folder: Path, write: Callable[[Path], T]) -> T:
        """Write results that are in memory into a folder, or where that fails into the next that `place_after` names.

        Raises
        ------
        typer.Exit
            If there is none; why has been said.
        """
        place: Path | None = folder
        while place is not None:
            try:
                make_folder(place)
                return write(place)
            except InputError as error:
                place = self.place_after(folder, str(error))
        raise typer.Exit(FAILED)

    def end(self, stopped: bool) -> None:
        """End the command with the exit code of what happened: the user stopped it, or its folder failed."""
        if stopped:
            raise typer.Exit(INTERRUPTED)
        if self._places is not None:
            raise typer.Exit(FAILED)


def free_name(folder: Path) -> Path:
    """Give the first of ``NAME-2``, ``NAME-3``, ... that does not exist."""
    return next(path for n in count(2) if not (path := folder.with_name(f"{folder.name}-{n}")).exists())


@contextmanager
def running(ranks: Ranks = ALONE) -> Iterator[Terminal]:
    """Give a terminal; within the block the first Ctrl-C or signal to end stops its control, the second the program.

    Several processes wait for each other at the end of the block.
    """
    terminal = Terminal()
    with stopping_on_interrupt(terminal.control, ranks):
        try:
            yield terminal
        except typer.Exit:
            ranks.leave()
            raise
        ranks.leave()


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Let other signals to end do what Ctrl-C does, so that no half-written file is left; ignored ones stay so."""
    mine = threading.current_thread() is threading.main_thread() and not launched()
    numbers = [number for number in SIGNALS if mine and signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def stopping_on_interrupt(control: Control, ranks: Ranks = ALONE) -> Iterator[None]:
    """Stop ``control`` at the first of `SIGNALS` within the block; the second ends the process at once.

    Not one of several processes: batch systems signal both torchrun, which passes it on, and what it has started.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(signum: int, frame: FrameType | None) -> None:
        if control.stopped and ranks.alone:
            # Not an exception: raised inside a library it would be turned into another, and shown with a traceback.
            with suppress(Exception):
                sys.stdout.flush()
            os.write(2, SHOW_CURSOR + b"\nEnded at once.\n" if os.isatty(2) else b"\nEnded at once.\n")
            os._exit(INTERRUPTED)
        control.stop()
        if not ranks.alone:  # perhaps because another has ended: what came of it is said at the end
            return
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nStopping after this batch and saving; press Ctrl-C again to end at once.\n")

    # What a shell ignores stays ignored: Ctrl-C in its background jobs, SIGHUP under nohup.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Lines and bars of events.


def bars(console: Console) -> Progress:
    """Make bars with the time left, shown in a terminal only."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


class _Bars:
    """A training's epoch bar, which counts batches so that its time left is smooth, and its batch bar; one bar for
    the runs of a comparison.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.outer = progress.add_task("", total=None, left="left at most", visible=False)
        self.inner = progress.add_task("", total=None, left="left", visible=False)

    def update(self, event: object) -> None:
        match event:
            case events.RunStarted() | events.TrainStarted():
                self.epochs, self.batches, self.first = event.epochs, event.batches, event.resumed_epoch
                total = (event.epochs - event.resumed_epoch) * event.batches
                self.progress.reset(self.outer, total=total, visible=True, description="epoch")
                self.progress.reset(self.inner, total=event.batches, visible=True, description="batch")
            case events.BatchFinished():
                done = (event.epoch - 1 - self.first) * self.batches + event.batch
                name = f"epoch {event.epoch}/{self.epochs}"
                self.progress.update(self.outer, completed=done, description=name)
                if event.batch == 1:
                    self.progress.reset(self.inner)
                name = f"batch {event.batch}/{event.batches}"
                self.progress.update(self.inner, completed=event.batch, description=name)
            case results.MethodStarted():
                name = f"run {event.number}/{event.runs}: {TITLES[event.method]}, repeat {event.repeat + 1}"
                self.progress.reset(self.inner, total=1, visible=True, description=name)
            case results.MethodProgress():
                self.progress.update(self.inner, completed=event.done)


def _line(event: object) -> str:
    """Put an event on one line; nothing for those that only move a bar."""
    match event:
        case events.RunStarted():
            return f"{counted(event.images, 'plane')} on {event.device}, {event.objects} objects{_resumed(event)}"
        case events.TrainStarted():
            planes = f"{counted(event.training, 'plane')} to train on"
            validation = f"{counted(event.validation, 'plane')} to validate on" if event.validation else "no validation"
            classes = ", ".join(map(str, event.classes))
            return f"{planes}, {validation}, classes {classes}, on {event.device}{_resumed(event)}"
        case events.EpochFinished() | events.TrainEpoch():
            return _epoch(event)
        case events.Finished() | events.TrainFinished():
            return event.reason
        case results.CompareStarted():
            truth = "with" if event.labelled else "without"
            return f"{counted(event.images, 'plane')}, {event.polarity} objects, {truth} ground truth"
        case results.MethodFinished():
            return _result(event.result)
    return ""


def _epoch(event: events.EpochFinished | events.TrainEpoch) -> str:
    parts = [f"epoch {event.epoch}/{event.epochs}" if event.epoch else "start"]
    values = {"loss": event.loss}
    if isinstance(event, events.EpochFinished):
        values["agreement"] = event.agreement
    else:
        values["training Dice"] = event.training.dice
        if event.validation:
            many = len(event.validation.class_iou) > 2
            values["validation mIoU" if many else "validation Dice"] = (
                event.validation.iou if many else event.validation.dice
            )
    parts += [f"{name} {value:.4f}" for name, value in values.items() if not math.isnan(value)]
    if isinstance(event, events.EpochFinished):
        parts.append(f"foreground {100 * event.foreground:.1f} %")
    elif event.best_epoch == event.epoch and event.validation:
        parts.append("best")
    parts.append(f"{event.seconds:.1f} s")
    return "  ".join(parts)


def _resumed(event: events.RunStarted | events.TrainStarted) -> str:
    return f", resumed after epoch {event.resumed_epoch}" if event.resumed_epoch else ""


def _result(result: results.MethodResult) -> str:
    line = results.summary([result])[0]
    scores = f"  Dice {line['dice_mean']:.4f}" if result.scores else ""
    return f"{line['title']}, repeat {result.repeat + 1}:{scores}  {line['seconds_mean']:.2f} s/image"


# Words and tables.


def number(value: float | None, digits: int = 4) -> str:
    """Write a number with that many digits behind the point; a dash for none."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}"


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    last: Sequence[str] | None = None,
    title: str | None = None,
    whole_names: bool = False,
) -> Table:
    """Make a table, names left and numbers right.

    The last row is set off from the others. Where the terminal is narrow, heads are broken, and names, which may be
    those of files, unless they are to stay whole; numbers are not.
    """
    result = Table(box=box.SIMPLE, title=title)
    longest = max((len(row[0]) for row in rows), default=0) if whole_names else None
    result.add_column(Text(heads[0]), overflow="fold", min_width=longest)
    for place, head in enumerate(heads[1:], 1):
        widest = max(len(row[place]) for row in [*rows, *([last] if last is not None else [])])
        result.add_column(Text(head), justify="right", min_width=widest)
    for row in rows:
        result.add_row(*map(Text, row))
    if last is not None:
        result.add_section()
        result.add_row(*map(Text, last))
    return result


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], last: Sequence[str] | None = None) -> None:
    """Print a `table`."""
    Console().print(table(heads, rows, last))
