"""Progress lines and bars, tables of numbers, and Ctrl-C of commands in a terminal."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from napari_metastructure.baselines.config import TITLES
from napari_metastructure.baselines.results import (
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
    summary,
)
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import (
    BatchFinished,
    EpochFinished,
    Finished,
    RunStarted,
    TrainEpoch,
    TrainFinished,
    TrainStarted,
    Warned,
)

T = TypeVar("T")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it (128 + SIGINT)."""

ABSENT = "-"
"""In place of a number that is not defined."""


class Terminal:
    """Consoles of a command that runs long, and the control that Ctrl-C stops; see `running`."""

    def __init__(self) -> None:
        self.console, self.errors = Console(highlight=False), Console(stderr=True, highlight=False)
        self.control = Control()

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line, however long, as it is."""
        self.console.print(text, style=style, soft_wrap=True, markup=False)

    def warn(self, text: str, kind: str = "Warning") -> None:
        """Print a warning, or an error that does not end the command, to stderr."""
        self.errors.print(f"{kind}: {text}", soft_wrap=True, markup=False)

    def follow(self, events: Iterable[T]) -> Iterator[T]:
        """Pass events on and show them: bars with the time left if it is a terminal, and a line for each result."""
        with bars(self.console) as progress:
            shown = _Bars(progress)
            for event in events:
                shown.update(event)
                if isinstance(event, Warned):
                    self.warn(event.message)
                elif line := _line(event):
                    self.say(line)
                yield event


@contextmanager
def running() -> Iterator[Terminal]:
    """Give a terminal; within the block the first Ctrl-C stops its control, the second ends the command."""
    terminal = Terminal()
    with stopping_on_interrupt(terminal.control):
        yield terminal


@contextmanager
def stopping_on_interrupt(control: Control) -> Iterator[None]:
    """Stop ``control`` at the first Ctrl-C within the block; the second raises `KeyboardInterrupt`."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a shell's background job, say
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        control.stop()
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nStopping after this batch and saving; press Ctrl-C again to end at once.\n")

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
            case RunStarted() | TrainStarted():
                self.epochs, self.batches, self.first = event.epochs, event.batches, event.resumed_epoch
                total = (event.epochs - event.resumed_epoch) * event.batches
                self.progress.reset(self.outer, total=total, visible=True, description="epoch")
                self.progress.reset(self.inner, total=event.batches, visible=True, description="batch")
            case BatchFinished():
                done = (event.epoch - 1 - self.first) * self.batches + event.batch
                name = f"epoch {event.epoch}/{self.epochs}"
                self.progress.update(self.outer, completed=done, description=name)
                if event.batch == 1:
                    self.progress.reset(self.inner)
                name = f"batch {event.batch}/{event.batches}"
                self.progress.update(self.inner, completed=event.batch, description=name)
            case MethodStarted():
                name = f"run {event.number}/{event.runs}: {TITLES[event.method]}, repeat {event.repeat + 1}"
                self.progress.reset(self.inner, total=1, visible=True, description=name)
            case MethodProgress():
                self.progress.update(self.inner, completed=event.done)


def _line(event: object) -> str:
    """Put an event on one line; nothing for those that only move a bar."""
    match event:
        case RunStarted():
            return f"{counted(event.images, 'plane')} on {event.device}, {event.objects} objects{_resumed(event)}"
        case TrainStarted():
            planes = f"{counted(event.training, 'plane')} to train on"
            validation = f"{counted(event.validation, 'plane')} to validate on" if event.validation else "no validation"
            classes = ", ".join(map(str, event.classes))
            return f"{planes}, {validation}, classes {classes}, on {event.device}{_resumed(event)}"
        case EpochFinished() | TrainEpoch():
            return _epoch(event)
        case Finished() | TrainFinished():
            return event.reason
        case CompareStarted():
            truth = "with" if event.labelled else "without"
            return f"{counted(event.images, 'plane')}, {event.polarity} objects, {truth} ground truth"
        case MethodFinished():
            return _result(event.result)
    return ""


def _epoch(event: EpochFinished | TrainEpoch) -> str:
    parts = [f"epoch {event.epoch}/{event.epochs}" if event.epoch else "start"]
    values = {"loss": event.loss}
    if isinstance(event, EpochFinished):
        values["agreement"] = event.agreement
    else:
        values["training Dice"] = event.training.dice
        if event.validation:
            many = len(event.validation.class_iou) > 2
            values["validation mIoU" if many else "validation Dice"] = (
                event.validation.iou if many else event.validation.dice
            )
    parts += [f"{name} {value:.4f}" for name, value in values.items() if not math.isnan(value)]
    if isinstance(event, EpochFinished):
        parts.append(f"foreground {100 * event.foreground:.1f} %")
    elif event.best_epoch == event.epoch and event.validation:
        parts.append("best")
    parts.append(f"{event.seconds:.1f} s")
    return "  ".join(parts)


def _resumed(event: RunStarted | TrainStarted) -> str:
    return f", resumed after epoch {event.resumed_epoch}" if event.resumed_epoch else ""


def _result(result: MethodResult) -> str:
    line = summary([result])[0]
    scores = f"  Dice {line['dice_mean']:.4f}" if result.scores else ""
    return f"{line['title']}, repeat {result.repeat + 1}:{scores}  {line['seconds_mean']:.2f} s/image"


# Words and tables.


def counted(number: int, noun: str) -> str:
    """Write a number of things: ``1 plane``, ``2 planes``."""
    return f"{number} {noun}{'s' * (number != 1)}"


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
