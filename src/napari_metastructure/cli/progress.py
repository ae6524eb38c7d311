"""A run's events in the terminal: two bars where someone watches, plain lines in a log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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
