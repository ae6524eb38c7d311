"""Comparison of segmentation methods on the same images, by ground truth or by their agreement."""

import gc
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from napari_metastructure.baselines import results
from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS, Segmentation, Task, check_groups, frame_of, oracle
from napari_metastructure.errors import InputError, RunFailed, all_are
from napari_metastructure.images.intensity import Polarity, check_planes, common_polarity, orient
from napari_metastructure.images.surround import measured, missing_notes
from napari_metastructure.images.writing import make_folder, save_figure
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.readings import Reading
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Saved, Warned
from napari_metastructure.training.metrics import as_truth, auc, count, dice
from napari_metastructure.training.pairs import check_same_size
from napari_metastructure.training.run_folder import RunFolder, described, warned


def image_scores(found: Segmentation, truth: np.ndarray, name: str) -> results.ImageScores:
    """Score a segmentation by the ground truth (bool, or uint8 with 255 unlabelled)."""
    counts, best = count(found.mask, truth), None
    if found.clusters is not None:
        known = truth != UNLABELLED if truth.dtype != bool else np.ones(truth.shape, bool)
        best = oracle(found.clusters[known], truth[known] != 0)
    return results.ImageScores(name, counts.dice, auc(found.score, truth), counts.accuracy, best)


class MaskAgreement:
    """Dice between the masks of methods, mean over the images; methods are added as they are done."""

    def __init__(self) -> None:
        self.masks: dict[str, tuple[np.ndarray, ...]] = {}
        """Of each method those of all images, (Y, X), nonzero = foreground."""
        self._dice: dict[tuple[str, str], float] = {}

    def add(self, method: str, masks: Sequence[np.ndarray]) -> None:
        """Add a method, and compare it with those that are there."""
        for other, theirs in self.masks.items():
            value = float(np.mean([dice(a, b != 0) for a, b in zip(masks, theirs, strict=True)]))
            self._dice[other, method] = self._dice[method, other] = value
        self.masks[method] = tuple(masks)

    def table(self) -> results.Agreement | None:
        """Make the table of all methods so far; None for fewer than two."""
        if len(self.masks) < 2:
            return None
        methods = tuple(self.masks)
        return results.Agreement(methods, np.array([[self._dice.get((a, b), 1.0) for b in methods] for a in methods]))


def write_results(
    folder: Path,
    runs: Sequence[results.MethodResult],
    planes: Sequence[np.ndarray],
    truths: Sequence[np.ndarray] | None,
    masks: Mapping[str, Sequence[np.ndarray]],
    names: Sequence[str],
) -> list[Path]:
    """Write tables and figure of a comparison that was made in memory; drawing takes seconds.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    runs : sequence of MethodResult
    planes, truths, masks, names
        As `results.draw` takes them.

    Raises
    ------
    InputError
        If the folder cannot be made or written to.
    """
    make_folder(folder)
    alike = MaskAgreement()
    for method, found in masks.items():
        alike.add(method, found)
    table = alike.table()
    return [
        *results.write_csv(folder, runs, table),
        *results.write_markdown(folder, runs, table),
        save_figure(folder / results.FIGURE, results.draw(planes, truths, masks, names)),
    ]


NOT_SAVED = "The comparison goes on; its folder is not up to date."
"""Appended to the warning where the folder cannot be written to."""


class ComparisonResults:
    """Scores of the runs so far and the masks of the first repeats, in memory and in the comparison's folder.

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
        self.results: list[results.MethodResult] = []
        self.agreement = MaskAgreement()
        """Of the first repeats; their masks are (Y, X) uint8 arrays of 0 and 1."""
        if folder is not None:
            make_folder(folder)

    def describe(self, inputs: Sequence[Path]) -> Iterator[Saved]:
        """Write ``run.yaml``."""
        if self.folder is not None:
            task = self.task
            facts = {"images": list(task.names), "groups": list(task.groups), "objects": self.objects}
            run = RunFolder(self.folder)
            yield Saved(
                run.write_description(task.config, task.device, task.names, list(map(described, inputs)), facts)
            )

    def add(
        self, method: str, repeat: int, found: Sequence[Segmentation], seconds: float, memory: int
    ) -> results.MethodFinished:
        """Score a run.

        Parameters
        ----------
        seconds : float
            For all images together.
        """
        task, scores = self.task, None
        found = [_within(s, missing) for s, missing in zip_longest(found, task.missing)]
        if task.masks is not None:
            scores = tuple(map(image_scores, found, task.masks, task.names))
        masks = tuple(s.mask.astype(np.uint8) for s in found)
        if repeat == 0:
            self.agreement.add(method, masks)
        self.results.append(results.MethodResult(method, repeat, seconds / len(task.planes), memory, scores))
        return results.MethodFinished(self.results[-1], masks, self.agreement.table())

    def write(self) -> Iterator[Saved | Warned]:
        """Write the tables, or warn where they cannot be written."""
        yield from self._saved(results.write_csv, results.write_markdown)

    def draw(self) -> Iterator[Saved | Warned]:
        """Write the figure, or warn where it cannot be written."""
        yield from self._saved(self._figure)

    def _saved(
        self, *writers: Callable[[Path, Sequence[results.MethodResult], results.Agreement | None], list[Path]]
    ) -> Iterator[Saved | Warned]:
        def writing(folder: Path) -> Iterator[Saved]:
            for write in writers:
                yield from map(Saved, write(folder, self.results, self.agreement.table()))

        if self.folder is not None and self.results:
            yield from warned(writing(self.folder), NOT_SAVED)

    def _figure(self, folder: Path, *_: Any) -> list[Path]:
        planes = [-p if self.objects == "dark" else p for p in self.task.planes]  # as the user knows them
        figure = results.draw(planes, self.task.masks, self.agreement.masks, self.task.names)
        return [save_figure(folder / results.FIGURE, figure)]


LOOK_EVERY = 0.005
"""Seconds between two looks at the process's memory: what comes and goes within is missed."""


class PeakMemory:
    """Peak of this process's memory within a block, over what it held when the block began.

    Main memory is resident memory, looked at from a thread of its own; on CUDA the peak that torch allocated there is
    added. Memory that was freed before the block but is still the process's hides some of it, and so does what other
    threads free meanwhile.

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
        gc.collect()  # garbage of earlier work that goes in the meantime would hide what this block takes
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
        while not self._end.wait(LOOK_EVERY):
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, self._process.memory_info().rss - self._before)


def prepare(
    images: Sequence[np.ndarray],
    config: CompareConfig,
    control: Control,
    masks: Sequence[np.ndarray] | None,
    names: Sequence[str] | None,
    groups: Sequence[str] | None,
) -> tuple[Task, Polarity, list[str]]:
    """Check what is to be compared; return the task of the first repeat, the polarity in force, and notes on masks."""
    if not len(images):
        raise InputError("There is no image to compare methods on; give at least one.")
    names = tuple(names) if names is not None else tuple(f"image {i + 1}" for i in range(len(images)))
    found = [measured(plane) for plane in check_planes(images, names)]
    planes = [plane for plane, _ in found]
    groups = tuple(groups) if groups is not None else tuple(map(frame_of, names))
    truths, notes = (None, []) if masks is None else _truths(masks, planes, names, config.reading)
    if supervised := [METHODS[name].title for name in config.methods if METHODS[name].needs_masks]:
        if truths is None:
            raise InputError(f"{supervised[0]} is trained on masks; give masks of the images, or leave it out.")
        check_groups(groups)
    device = _device(config)
    seen = [plane for plane, missing in found if missing is None or not missing.all()]
    objects = common_polarity(seen) if config.objects == "auto" else config.objects
    oriented = tuple(orient(plane, objects) for plane in planes)
    return (
        Task(oriented, truths, groups, names, config.seed, device, control, config, tuple(m for _, m in found)),
        objects,
        notes,
    )


def _within(found: Segmentation, missing: np.ndarray | None) -> Segmentation:
    """Take away what a method found where nothing was measured."""
    if missing is None:
        return found
    score = np.where(missing, found.score.min(), found.score)
    return replace(found, mask=found.mask & ~missing, score=score)


def warm_up(task: Task) -> None:
    """Load the libraries the methods need, so that neither time nor memory of the first one counts them.

    Raises
    ------
    InputError
        If a library does not load, or the supervised networks cannot be built.
    """
    if not _needs_torch(task.config):
        return
    import torch

    from napari_metastructure.igtt import iterate  # noqa: F401
    from napari_metastructure.networks import ENCODERS
    from napari_metastructure.networks.build import NetworkSpec, build

    for name in task.config.methods:
        if METHODS[name].needs_masks:
            encoder = task.config.train.encoder or ENCODERS[name]
            build(NetworkSpec.model_validate({"architecture": name, "encoder": encoder}), 0)
    pixels = torch.zeros(1, 1, 32, 32, device=task.device)
    torch.nn.Conv2d(1, 1, 3, device=task.device)(pixels).sum().backward()


def _truths(
    masks: Sequence[np.ndarray], planes: Sequence[np.ndarray], names: Sequence[str], reading: Reading
) -> tuple[tuple[np.ndarray, ...], list[str]]:
    """Check ground truth and read it as `training.metrics.as_truth` does."""
    if len(masks) != len(planes):
        raise InputError(f"There are {len(planes)} images and {len(masks)} masks; give one for each.")
    masks = [np.asarray(mask) for mask in masks]
    for mask, plane, name in zip(masks, planes, names, strict=True):
        check_same_size(name, plane.shape, mask.shape)
        if mask.dtype.kind not in "bui":
            raise InputError(f"The mask of {name} holds numbers of type {mask.dtype}; give integers or booleans.")
    truths, notes = as_truth(masks, reading, [f"The mask of {name}" for name in names])
    return tuple(truths), notes


def _needs_torch(config: CompareConfig) -> bool:
    return any(METHODS[name].torch for name in config.methods)


def _device(config: CompareConfig) -> str:
    """Resolve the device; torch is not asked where no method needs it."""
    if not _needs_torch(config):
        return "cpu"
    from napari_metastructure.networks.device import resolve

    return str(resolve(config.device))


def runs_of(config: CompareConfig) -> list[tuple[str, int]]:
    """List method and repeat of every run: all methods of a repeat before the next repeat."""
    return [
        (name, repeat)
        for repeat in range(config.repeats)
        for name in config.methods
        if repeat == 0 or METHODS[name].random
    ]


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
) -> Iterator[results.CompareEvent | Saved | Warned]:
    """Segment planes by several methods and report progress.

    Methods that depend on a seed run ``config.repeats`` times, repeat r with ``config.seed + r``; the others once.

    Parameters
    ----------
    images : sequence of (Y, X) arrays of any sizes
        Real numbers; not changed.
    config : CompareConfig
    control : Control, optional
        To stop and pause from another thread.
    masks : sequence of (Y, X) arrays, optional
        Ground truth of each image: booleans or integers, read by ``config.reading``; 255 is unlabelled and left out,
        but foreground where all of them hold nothing but 0 and 255. Only supervised methods are trained on masks, and
        never on that of the image they segment.
    names : sequence of str, optional
        What messages and tables call the images.
    groups : sequence of str, optional
        Images of one group (a frame, a stack) go to one side of a split; by default `methods.frame_of` each name.
    folder : Path, optional
        ``run.yaml``, ``results.csv``, ``table.csv``, ``table.md``, ``agreement.csv``, rewritten after each run,
        and ``compare.png``, drawn at the end.
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

    Examples
    --------
    >>> from napari_metastructure.images.simulate import nuclei
    >>> image, truth = nuclei((128, 128), np.random.default_rng(1))
    >>> *_, end = compare([image], CompareConfig(methods=("otsu", "lc"), device="cpu"), masks=[truth])
    >>> [result.method for result in end.results]
    ['otsu', 'lc']
    >>> end.agreement.methods
    ('otsu', 'lc')
    """
    control = control or Control()
    task, objects, notes = prepare(images, config, control, masks, names, groups)
    warm_up(task)
    kept, runs, stopped = ComparisonResults(task, objects, folder), runs_of(config), False
    labelled = task.masks is not None
    yield results.CompareStarted(config.methods, config.repeats, len(runs), len(task.planes), objects, labelled)
    yield from map(Warned, notes)
    shares = (0.0 if missing is None else float(missing.mean()) for missing in task.missing)
    yield from map(Warned, missing_notes(zip(task.names, shares, strict=True)))
    yield from kept.describe(inputs or [])
    for number, (method, repeat) in enumerate(runs, 1):
        yield results.MethodStarted(number, len(runs), method, repeat)
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
        finished = kept.add(method, repeat, found, seconds, memory)
        yield from kept.write()
        yield finished
    yield from kept.draw()
    done = tuple(kept.results)
    yield results.CompareFinished(stopped, _reason(stopped, len(done), len(runs)), done, kept.agreement.table())


def _run(
    task: Task, method: str, repeat: int
) -> Generator[results.MethodProgress | Warned, None, tuple[list[Segmentation], float, int]]:
    """Run a method once; return its masks, seconds and peak of memory in bytes.

    Neither the time its listeners take counts, nor that spent paused.
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
                yield results.MethodProgress(method, repeat, float(step))
    return found, seconds, memory.bytes


def _reason(stopped: bool, done: int, runs: int) -> str:
    """Say in a sentence why it ended."""
    share = f"{done} of {runs} {'run is' if runs == 1 else 'runs are'} done"
    if stopped:
        return f"Stopped by the user; {share}."
    if done == runs:
        return f"{all_are(runs, 'run')} done."
    return f"{share}; the others failed." if done else "Every run failed."
