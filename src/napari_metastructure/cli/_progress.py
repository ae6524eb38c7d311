"""A run's events in the terminal: two bars where someone watches, plain lines in a log."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from napari_metastructure.baselines.config import TITLES
from napari_metastructure.baselines.results import (
    CompareFinished,
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
    shown,
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


def followed(events: Iterable[T], console: Console, errors: Console) -> Iterator[T]:
    """Pass a run's events on and show them as they come.

    Parameters
    ----------
    events : iterable
        The run's, and others that are only passed on.
    console : Console
        Where progress goes: bars with the time left if it is a terminal, else a line an epoch.
    errors : Console
        Where warnings go.

    Yields
    ------
    The same events.
    """
    bars = _Bars(console) if console.is_terminal else None
    with bars.progress if bars else nullcontext():
        for event in events:
            if bars:
                bars.show(event)
            match event:
                case RunStarted():
                    planes = "1 plane" if event.images == 1 else f"{event.images} planes"
                    resumed = f", resumed after epoch {event.resumed_epoch}" if event.resumed_epoch else ""
                    console.print(f"{planes} on {event.device}, {event.objects} objects{resumed}", soft_wrap=True)
                case TrainStarted():
                    console.print(_training_set(event), soft_wrap=True)
                case EpochFinished() | TrainEpoch():
                    console.print(_line(event), soft_wrap=True, highlight=False)
                case Warned():
                    errors.print(f"Warning: {escape(event.message)}", soft_wrap=True)
                case Finished() | TrainFinished():
                    console.print(escape(event.reason), soft_wrap=True)
            yield event


def bar(console: Console) -> Progress:
    """One bar with the time left, where someone watches."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _training_set(event: TrainStarted) -> str:
    """What is trained on, on one line."""
    planes = [f"{n} plane{'s' * (n != 1)}" for n in (event.training, event.validation)]
    validation = f"{planes[1]} to validate on" if event.validation else "no validation"
    resumed = f", resumed after epoch {event.resumed_epoch}" if event.resumed_epoch else ""
    classes = ", ".join(map(str, event.classes))
    return f"{planes[0]} to train on, {validation}, classes {classes}, on {event.device}{resumed}"


def _line(event: EpochFinished | TrainEpoch) -> str:
    """One epoch on one line."""
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


class _Bars:
    """An epoch bar that counts batches, so that its time left is smooth, and a batch bar."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left at most"),
            TimeRemainingColumn(),
            console=console,
        )

    def show(self, event: object) -> None:
        match event:
            case RunStarted() | TrainStarted():
                self.epochs, self.batches, self.first = event.epochs, event.batches, event.resumed_epoch
                total = (event.epochs - event.resumed_epoch) * event.batches
                self.all = self.progress.add_task("epoch", total=total)
                self.one = self.progress.add_task("batch", total=event.batches)
            case BatchFinished():
                done = (event.epoch - 1 - self.first) * self.batches + event.batch
                name = f"epoch {event.epoch}/{self.epochs}"
                self.progress.update(self.all, completed=done, description=name)
                if event.batch == 1:
                    self.progress.reset(self.one)
                name = f"batch {event.batch}/{event.batches}"
                self.progress.update(self.one, completed=event.batch, description=name)


# -------- A comparison in the terminal: its events as they come, its tables at the end.


def followed_comparison(events: Iterable[T], console: Console, errors: Console) -> Iterator[T]:
    """Pass a comparison's events on and show them: a bar where someone watches, and a line per run.

    Parameters
    ----------
    events : iterable
        The comparison's.
    console, errors : Console
        Where progress goes, and where warnings go.

    Yields
    ------
    The same events.
    """
    with bar(console) as progress:
        task = progress.add_task("", total=1)
        for event in events:
            match event:
                case CompareStarted():
                    planes = "1 plane" if event.images == 1 else f"{event.images} planes"
                    truth = "with" if event.labelled else "without"
                    console.print(f"{planes}, {event.polarity} objects, {truth} ground truth", soft_wrap=True)
                case MethodStarted():
                    name = f"{TITLES[event.method]}, repeat {event.repeat + 1}"
                    progress.reset(task, description=f"run {event.number}/{event.runs}: {name}")
                case MethodProgress():
                    progress.update(task, completed=event.done)
                case MethodFinished():
                    console.print(_result_line(event.result), soft_wrap=True)
                case Warned():
                    errors.print(f"Warning: {event.message}", markup=False, soft_wrap=True)
            yield event


def _result_line(result: MethodResult) -> str:
    """One run on one line."""
    line = summary([result])[0]
    scores = f"  Dice {line['dice_mean']:.4f}" if result.scores else ""
    return f"{line['title']}, repeat {result.repeat + 1}:{scores}  {line['seconds_mean']:.2f} s/image"


def tables(last: CompareFinished) -> Iterator[Table]:
    """What ``table.md`` holds; in the agreement methods are heads by number, for a terminal is narrow."""
    if not last.results:
        return
    yield _table(*shown(summary(last.results)))
    if last.agreement is not None:
        numbers = range(1, len(last.agreement.methods) + 1)
        rows = [
            [f"{number} {TITLES[name]}", *(f"{value:.2f}" for value in line)]
            for number, name, line in zip(numbers, last.agreement.methods, last.agreement.dice, strict=True)
        ]
        yield _table(["Dice between masks", *map(str, numbers)], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Names left, numbers right; long heads are broken."""
    table = Table(box=box.SIMPLE)
    for place, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if place else "left", min_width=max(len(r[place]) for r in rows))
    for row in rows:
        table.add_row(*map(Text, row))
    return table


# -------- Tables of numbers in the terminal, as ``metastructure score`` prints them.


ABSENT = "-"


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], last: Sequence[str] | None = None) -> None:
    """Print rows under their heads, names left and numbers right; the last one set off from the others."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    table.add_column(Text(heads[0]))
    for head in heads[1:]:
        table.add_column(Text(head), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    if last is not None:
        table.add_section()
        table.add_row(*map(Text, last))
    Console().print(table)


def number(value: float | None, digits: int = 4) -> str:
    """A number with that many digits behind the point; a dash for none."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}"


# -------- Ctrl-C: once to stop and save, twice to end at once.


INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it (128 + SIGINT)."""

_NOTE = b"\nStopping after this batch and saving; press Ctrl-C again to end at once.\n"


@contextmanager
def stopping_on_interrupt(control: Control) -> Iterator[None]:
    """Within the block the first Ctrl-C stops ``control``; the second raises `KeyboardInterrupt`."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a shell's background job, say
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        control.stop()
        os.write(2, _NOTE)  # not print: the signal may have come in the middle of one

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
