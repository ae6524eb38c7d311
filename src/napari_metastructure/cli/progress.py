"""A run's events in the terminal: two bars where someone watches, plain lines in a log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from napari_metastructure.training.events import (
    BatchFinished,
    EpochFinished,
    Event,
    Finished,
    RunStarted,
    Warned,
)


def followed(events: Iterable[Event], console: Console, errors: Console) -> Iterator[Event]:
    """Pass a run's events on and show them as they come.

    Parameters
    ----------
    events : iterable of Event
        The run.
    console : Console
        Where progress goes: bars with the time left if it is a terminal, else a line an epoch.
    errors : Console
        Where warnings go.

    Yields
    ------
    Event
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
                case EpochFinished():
                    console.print(_line(event), soft_wrap=True, highlight=False)
                case Warned():
                    errors.print(f"Warning: {escape(event.message)}", soft_wrap=True)
                case Finished():
                    console.print(escape(event.reason), soft_wrap=True)
            yield event


def _line(event: EpochFinished) -> str:
    """One epoch on one line."""
    parts = [f"epoch {event.epoch}/{event.epochs}" if event.epoch else "start"]
    for name, value in (("loss", event.loss), ("agreement", event.agreement)):
        if not math.isnan(value):
            parts.append(f"{name} {value:.4f}")
    parts.append(f"foreground {100 * event.foreground:.1f} %")
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

    def show(self, event: Event) -> None:
        match event:
            case RunStarted():
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
