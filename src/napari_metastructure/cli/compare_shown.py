"""A comparison in the terminal: its events as they come, its tables at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from napari_metastructure.baselines.events import (
    CompareFinished,
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
)
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.baselines.table import shown, summary
from napari_metastructure.cli.progress import bar
from napari_metastructure.training.events import Warned

T = TypeVar("T")


def followed(events: Iterable[T], console: Console, errors: Console) -> Iterator[T]:
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
                    name = f"{METHODS[event.method].title}, repeat {event.repeat + 1}"
                    progress.reset(task, description=f"run {event.number}/{event.runs}: {name}")
                case MethodProgress():
                    progress.update(task, completed=event.done)
                case MethodFinished():
                    console.print(_line(event.result), soft_wrap=True)
                case Warned():
                    errors.print(f"Warning: {event.message}", markup=False, soft_wrap=True)
            yield event


def _line(result: MethodResult) -> str:
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
            [f"{number} {METHODS[name].title}", *(f"{value:.2f}" for value in line)]
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
