"""Compare methods of segmentation on the same images: by ground truth where there is one, else by their agreement."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_metastructure.baselines.book import Book
from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.events import (
    CompareEvent,
    CompareFinished,
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodStarted,
)
from napari_metastructure.baselines.memory import PeakMemory
from napari_metastructure.baselines.methods import METHODS, Segmentation, Task
from napari_metastructure.baselines.prepare import prepare, warm_up
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Saved, Warned


def compare(
    images: Sequence[np.ndarray],
    config: CompareConfig,
    control: Control | None = None,
    *,
    masks: Sequence[np.ndarray] | None = None,
    names: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    folder: Path | None = None,
    inputs: Sequence[Path] | None = None,
) -> Iterator[CompareEvent | Saved | Warned]:
    """Segment planes by several methods; tell how it goes.

    Methods that depend on a seed run ``config.repeats`` times, repeat r with ``config.seed + r``; the others once.

    Parameters
    ----------
    images : sequence of (Y, X) arrays of any sizes
        Real numbers; not changed.
    config : CompareConfig
    control : Control, optional
        To stop and pause from another thread.
    masks : sequence of (Y, X) arrays, optional
        Ground truth of each image: booleans, or integers above 0 for foreground; where all of them hold nothing but 0,
        1 and 255, 255 is unlabelled and left out. Only supervised methods are trained on masks, and never on that of
        an image they are scored on.
    names : sequence of str, optional
        What messages and tables call the images.
    groups : sequence of str, optional
        Images of one group (a frame, a stack) go to one side of a split; by default `supervised.frame_of` each name.
    folder : Path, optional
        ``run.yaml``, ``results.csv``, ``table.csv``, ``table.md``, ``agreement.csv``, written anew after each
        run, and ``compare.png``, drawn at the end.
    inputs : sequence of Path, optional
        The files the images came from, for the checksums in ``run.yaml``.

    Yields
    ------
    CompareEvent, Saved or Warned
        `CompareStarted`; per run `MethodStarted`, `MethodProgress`, `MethodFinished`; `CompareFinished` as the last.
        A method that fails gives a `Warned` in place of `MethodFinished`, and the others go on.

    Raises
    ------
    InputError
        Before anything is run: images, masks or a device that cannot be used, a supervised method without masks or
        with a single group of images, a folder that cannot be written to.
    """
    control = control or Control()
    task, objects = prepare(images, config, control, masks, names, groups)
    warm_up(task)
    book, runs, stopped = Book(task, objects, folder), config.runs(), False
    labelled = task.masks is not None
    yield CompareStarted(config.methods, config.repeats, len(runs), len(task.planes), objects, labelled)
    yield from book.describe(inputs or [])
    for number, (method, repeat) in enumerate(runs, 1):
        yield MethodStarted(number, len(runs), method, repeat)
        title, seed = METHODS[method].title, config.seed + repeat
        try:
            found, seconds, memory = yield from _run(replace(task, seed=seed), method, repeat)
        except Stopped:
            stopped = True
            break
        except (InputError, RunFailed) as error:
            yield Warned(f"{title} failed with seed {seed} and is left out: {error}")
            continue
        except MemoryError:
            yield Warned(f"{title} is left out: there is not enough memory; give fewer or smaller images.")
            continue
        result, masks_found = book.add(method, repeat, found, seconds, memory)
        yield from book.write()
        yield MethodFinished(result, masks_found)
    yield from book.draw()
    yield CompareFinished(
        stopped, _reason(stopped, len(book.results), len(runs)), tuple(book.results), book.agreement()
    )


def _run(
    task: Task, method: str, repeat: int
) -> Generator[MethodProgress | Warned, None, tuple[list[Segmentation], float, int]]:
    """Run a method once; gives its masks, seconds and peak of memory in bytes.

    The time its listeners take counts for nothing, nor that spent paused.
    """
    seconds, control = 0.0, task.control
    control.checkpoint()
    cuda = task.device if METHODS[method].torch and task.device.startswith("cuda") else None
    with closing(METHODS[method].run(task)) as steps, PeakMemory(cuda) as memory:
        while True:
            began, paused = time.perf_counter(), control.paused_seconds
            try:
                step = next(steps)
            except StopIteration as end:
                found = end.value
                break
            finally:
                seconds += time.perf_counter() - began - (control.paused_seconds - paused)
            if isinstance(step, Warned):
                yield Warned(f"{METHODS[method].title}: {step.message}")
            else:
                yield MethodProgress(method, repeat, float(step))
    return found, seconds, memory.bytes


def _reason(stopped: bool, done: int, runs: int) -> str:
    """Why it ended, in a sentence."""
    share = f"{done} of {runs} {'run is' if runs == 1 else 'runs are'} done"
    if stopped:
        return f"Stopped by the user; {share}."
    if done == runs:
        return "The run is done." if runs == 1 else f"All {runs} runs are done."
    return f"{share}; the others failed." if done else "Every run failed."
