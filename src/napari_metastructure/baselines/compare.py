"""Compare methods of segmentation on the same images: by ground truth where there is one, else by their agreement."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from napari_metastructure.baselines.clusters import oracle
from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.figure import write_figure
from napari_metastructure.baselines.methods import METHODS, Segmentation, Task, check_groups, frame_of
from napari_metastructure.baselines.results import (
    Agreement,
    CompareEvent,
    CompareFinished,
    CompareStarted,
    ImageScores,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
    write_csv,
    write_markdown,
)
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.images.intensity import Polarity, check_plane, orient
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Saved, Warned
from napari_metastructure.training.metrics import auc, count, dice
from napari_metastructure.training.pairs import check_same_size

# -------- Masks against the ground truth, and against each other.


def image_scores(found: Segmentation, truth: np.ndarray, name: str) -> ImageScores:
    """How well a segmentation agrees with the ground truth (bool, or uint8 with 255 unlabelled)."""
    counts, best = count(found.mask, truth), None
    if found.clusters is not None:
        known = truth != UNLABELLED if truth.dtype != bool else np.ones(truth.shape, bool)
        best = oracle(found.clusters[known], truth[known] != 0)
    return ImageScores(name, counts.dice, auc(found.score, truth), counts.accuracy, best)


def agreement(masks: Mapping[str, Sequence[np.ndarray]]) -> Agreement | None:
    """Mean Dice between the masks of each two methods; None for fewer than two.

    Parameters
    ----------
    masks : mapping of str to sequence of (Y, X) arrays
        Of each method the masks of all images, nonzero = foreground.
    """
    if len(masks) < 2:
        return None
    table = np.ones((len(masks), len(masks)))
    for i, ours in enumerate(masks.values()):
        for j, theirs in enumerate(list(masks.values())[:i]):
            pairs = zip(ours, theirs, strict=True)
            table[i, j] = table[j, i] = np.mean([dice(a, b != 0) for a, b in pairs])
    return Agreement(tuple(masks), table)


# -------- What came of the runs of a comparison, in memory and in its folder.


AFTER_ALL = "The comparison goes on; its folder is not up to date."


class Book:
    """Scores the runs, and keeps the masks of the first repeats.

    Parameters
    ----------
    task : Task
    objects : {"bright", "dark"}
        The polarity in force, by which the task's planes were oriented.
    folder : Path, optional
        Made if it is not there; without one nothing is written.

    Raises
    ------
    InputError
        If the folder cannot be made.
    """

    def __init__(self, task: Task, objects: Polarity, folder: Path | None) -> None:
        self.task, self.objects, self.folder = task, objects, folder
        self.results: list[MethodResult] = []
        self.masks: dict[str, tuple[np.ndarray, ...]] = {}
        """Of the first repeats, (Y, X) uint8 arrays of 0 and 1."""
        if folder is not None:
            from napari_metastructure.training.run_folder import RunFolder  # it needs torch

            self._run_folder = RunFolder(folder)

    def describe(self, inputs: Sequence[Path]) -> Iterator[Saved]:
        """Write ``run.yaml``."""
        if self.folder is not None:
            task = self.task
            facts = {"images": list(task.names), "groups": list(task.groups), "objects": self.objects}
            yield Saved(self._run_folder.write_description(task.config, task.device, task.names, inputs, facts))

    def add(
        self, method: str, repeat: int, found: Sequence[Segmentation], seconds: float, memory: int
    ) -> tuple[MethodResult, tuple[np.ndarray, ...]]:
        """Score a run; its result and its masks.

        Parameters
        ----------
        seconds : float
            For all images together.
        """
        task, scores = self.task, None
        if task.masks is not None:
            scores = tuple(map(image_scores, found, task.masks, task.names))
        masks = tuple(s.mask.astype(np.uint8) for s in found)
        if repeat == 0:
            self.masks[method] = masks
        self.results.append(MethodResult(method, repeat, seconds / len(task.planes), memory, scores))
        return self.results[-1], masks

    def agreement(self) -> Agreement | None:
        """Between the methods, in the order they were asked for."""
        return agreement(self.masks)

    def write(self) -> Iterator[Saved | Warned]:
        """Write the tables; what cannot be written is told."""
        yield from self._told(write_csv, write_markdown)

    def draw(self) -> Iterator[Saved | Warned]:
        """Write the figure; what cannot be written is told."""
        yield from self._told(self._figure)

    def _told(
        self, *writers: Callable[[Path, Sequence[MethodResult], Agreement | None], list[Path]]
    ) -> Iterator[Saved | Warned]:
        from napari_metastructure.training.run_folder import warned

        def writing(folder: Path) -> Iterator[Saved]:
            for write in writers:
                yield from map(Saved, write(folder, self.results, self.agreement()))

        if self.folder is not None and self.results:
            yield from warned(writing(self.folder), AFTER_ALL)

    def _figure(self, folder: Path, *_: Any) -> list[Path]:
        planes = [-p if self.objects == "dark" else p for p in self.task.planes]  # as the user knows them
        return [write_figure(folder, planes, self.task.masks, self.masks, self.task.names)]


# -------- How much memory a block of code takes, main memory and CUDA's.


STEP = 0.005
"""Seconds between two looks at the process's memory: what comes and goes within is missed."""


class PeakMemory:
    """Within the block, the peak of this process's memory over what it held when the block began.

    Main memory is resident memory, looked at from a thread of its own; on CUDA the peak that torch allocated there is
    added. Memory freed before the block is given back to the system first, as far as the C library can, so that the
    block does not hide in it.

    Parameters
    ----------
    cuda : str, optional
        The CUDA device the block works on (``cuda:0``).

    Attributes
    ----------
    bytes : int
        The peak; grows while the block runs.
    """

    def __init__(self, cuda: str | None = None) -> None:
        import psutil

        self.cuda, self.bytes = cuda, 0
        self._process = psutil.Process()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak memory", daemon=True)

    def __enter__(self) -> Self:
        _give_back()
        self._before = self._process.memory_info().rss
        if self.cuda:
            import torch

            torch.cuda.reset_peak_memory_stats(self.cuda)
            self._before_cuda = torch.cuda.memory_allocated(self.cuda)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._look()
        if self.cuda:
            import torch

            self.bytes += torch.cuda.max_memory_allocated(self.cuda) - self._before_cuda

    def _watch(self) -> None:
        while not self._end.wait(STEP):
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, self._process.memory_info().rss - self._before)


def _give_back() -> None:
    """Hand memory that is free inside this process back to the system; only glibc can be asked to.

    No garbage is collected: that takes a good part of a second, in which a window would stand still.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library; Windows has no CDLL(None)
        ctypes.CDLL(None).malloc_trim(0)


# -------- What is compared, checked before anything is run.


def prepare(
    images: Sequence[np.ndarray],
    config: CompareConfig,
    control: Control,
    masks: Sequence[np.ndarray] | None,
    names: Sequence[str] | None,
    groups: Sequence[str] | None,
) -> tuple[Task, Polarity]:
    """The task of the first repeat, and the polarity in force; parameters and errors as `compare.compare`."""
    from napari_metastructure.images.intensity import settle

    if not len(images):
        raise InputError("There is no image to compare methods on; give at least one.")
    names = tuple(names) if names is not None else tuple(f"image {i + 1}" for i in range(len(images)))
    planes = [check_plane(image, name) for image, name in zip(images, names, strict=True)]
    groups = tuple(groups) if groups is not None else tuple(map(frame_of, names))
    truths = None if masks is None else _truths(masks, planes, names)
    if supervised := [METHODS[name].title for name in config.methods if METHODS[name].needs_masks]:
        if truths is None:
            raise InputError(f"{supervised[0]} is trained on masks; give masks of the images, or leave it out.")
        check_groups(groups)
    device = _device(config)
    objects = settle(planes) if config.objects == "auto" else config.objects
    oriented = tuple(orient(plane, objects) for plane in planes)
    return Task(oriented, truths, groups, names, config.seed, device, control, config), objects


def warm_up(task: Task) -> None:
    """Load the libraries the methods need, so that neither time nor memory of the first one counts them.

    Raises
    ------
    InputError
        If a library does not load, or the supervised networks cannot be built.
    """
    from napari_metastructure.baselines import methods as thresholds  # noqa: F401 - skimage and scipy

    if not _needs_torch(task.config):
        return
    import torch

    from napari_metastructure.igtt import iterate  # noqa: F401
    from napari_metastructure.networks.build import ENCODERS, NetworkSpec, build

    for name in task.config.methods:
        if METHODS[name].needs_masks:
            encoder = task.config.train.encoder or ENCODERS[name]
            build(NetworkSpec.model_validate({"architecture": name, "encoder": encoder}), 0)
    pixels = torch.zeros(1, 1, 32, 32, device=task.device)
    torch.nn.Conv2d(1, 1, 3, device=task.device)(pixels).sum().backward()


def _truths(masks: Sequence[np.ndarray], planes: Sequence[np.ndarray], names: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Ground truth as bool, or as uint8 of 0, 1 and 255 where some pixels are unlabelled."""
    if len(masks) != len(planes):
        raise InputError(f"There are {len(planes)} images and {len(masks)} masks; give one for each.")
    masks = [np.asarray(mask) for mask in masks]
    for mask, plane, name in zip(masks, planes, names, strict=True):
        check_same_size(name, plane.shape, mask.shape)
        if mask.dtype.kind not in "bui":
            raise InputError(f"The mask of {name} holds numbers of type {mask.dtype}; give integers or booleans.")
    values = set().union(*(np.unique(mask).tolist() for mask in masks if mask.dtype != bool))
    if {1, UNLABELLED} <= values <= {0, 1, UNLABELLED}:
        return tuple(mask if mask.dtype == bool else mask.astype(np.uint8) for mask in masks)
    return tuple(mask > 0 for mask in masks)


def _needs_torch(config: CompareConfig) -> bool:
    return any(METHODS[name].torch for name in config.methods)


def _device(config: CompareConfig) -> str:
    """The device in force; torch is not asked where no method needs it."""
    if not _needs_torch(config):
        return "cpu"
    from napari_metastructure.networks.device import resolve

    return str(resolve(config.device))


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
