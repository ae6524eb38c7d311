"""iGTT and comparisons as units of a batch: a run for each file, or one for all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.batch.recipe import IGTT, Compare
from napari_metastructure.batch.work_units import Checkpoint, Done, Plan, Steps, Unit
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.outputs import Outputs
from napari_metastructure.images.channels import read_set
from napari_metastructure.images.files import noting, output_stems, result_path
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import BatchFinished, EpochFinished, Finished, RunStarted, Unsaved, Warned
from napari_metastructure.training.run_folder import DESCRIPTION, MODEL, FoundRun

TOGETHER = "all {} files together"
"""What the report calls a unit of several files."""


class _EarlierRun(FoundRun[IGTTConfig]):
    model = IGTTConfig
    columns = ("loss", "agreement")


class _Linked(Control):
    """The control of a run that stops and waits with the batch."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._look = checkpoint

    def checkpoint(self) -> None:
        """Wait while the batch is paused, raise `Stopped` if it was stopped."""
        self._look()


def plan_igtt(task: IGTT, paths: Sequence[Path], out: Path) -> Plan:
    """Make a unit of each image, a run in a folder of its stem; or one of all, which share a network."""
    names = output_stems(paths)
    if not task.each:
        name = str(paths[0]) if len(paths) == 1 else TOGETHER.format(len(paths))
        return Plan([_unit(name, paths, names, out, task)])
    return Plan([_unit(str(p), [p], [n], out / n, task) for p, n in zip(paths, names, strict=True)])


def _unit(name: str, paths: Sequence[Path], names: Sequence[str], folder: Path, task: IGTT) -> Unit:
    kinds = ("mask", "probability", *(["epochs"] if task.keep_epochs else []))
    results = [result_path(folder, stem, kind, task.ome) for stem in names for kind in kinds]
    files = (*(folder / file for file in (DESCRIPTION, MODEL)), *results)
    return Unit(name, tuple(paths), files, segment, (tuple(paths), folder, task))


def segment(checkpoint: Checkpoint, paths: Sequence[Path], folder: Path, task: IGTT) -> Steps:
    """Run iGTT on files and write its results; a run that was broken off goes on."""
    earlier = _EarlierRun.find(folder)
    if earlier is not None and earlier.can_go_on:
        try:
            return (yield from _segment(checkpoint, paths, folder, task, True))
        except InputError:  # of other images, or damaged: it begins anew
            pass
    return (yield from _segment(checkpoint, paths, folder, task, False))


def _segment(checkpoint: Checkpoint, paths: Sequence[Path], folder: Path, task: IGTT, resume: bool) -> Steps:
    from napari_metastructure.igtt.iterate import iterate

    with noting() as notes:
        read = read_set(paths, task.channel, task.chosen)
        outputs = Outputs(folder, read.images, task.keep_epochs, task.ome, read.kept, task.chosen)
    history: list[Sequence[np.ndarray]] = []
    resumed, epochs = 0, 1
    result: Finished | None = None
    events = iterate(
        read.planes,
        task.config,
        _Linked(checkpoint),
        names=read.names,
        folder=folder,
        inputs=list(paths),
        resume=resume,
        colour=read.colour,
        chosen=task.chosen,
    )
    for event in events:
        match event:
            case RunStarted():
                resumed, epochs = event.resumed_epoch, event.epochs
                if not resume:
                    outputs.clear()
            case BatchFinished():
                yield min(1.0, (event.epoch - 1 + event.batch / event.batches) / epochs)
            case EpochFinished() if task.keep_epochs:
                history.append(event.masks)
            case Warned():
                notes.append(event.message)
            case Unsaved():
                raise InputError(event.message)
            case Finished():
                result = event
                checkpoint()  # a batch that was stopped has no result of it; the run can go on
                outputs.write_all(event, history, resumed, folder)
    if result is None:
        raise RunFailed(f"The run in {folder} ended without a result.")
    return Done(tuple(notes))


def plan_compare(task: Compare, paths: Sequence[Path], out: Path) -> Plan:
    """Make one unit of all images: seconds and memory of methods can be compared on one machine only."""
    from napari_metastructure.baselines.results import RESULTS

    name = str(paths[0]) if len(paths) == 1 else TOGETHER.format(len(paths))
    files = (out / DESCRIPTION, out / RESULTS)
    return Plan([Unit(name, tuple(paths), files, compare, (tuple(paths), out, task), _mark(task.masks))])


def _mark(masks: Path | None) -> str:
    """Tell the ground truth by its names, sizes and times."""
    found = [] if masks is None else sorted(masks.iterdir()) if masks.is_dir() else [masks]
    return " ".join(f"{path.name}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in found)


def compare(checkpoint: Checkpoint, paths: Sequence[Path], out: Path, task: Compare) -> Steps:
    """Run a comparison and write its results."""
    from napari_metastructure.baselines import compare as baselines
    from napari_metastructure.baselines.results import CompareFinished, CompareStarted, MethodFinished, MethodProgress
    from napari_metastructure.batch.compare_files import CompareFiles

    with noting() as notes:
        files = CompareFiles(paths, task.masks, task.channel, out)
    read, done, runs = files.read, 0, 1
    given: dict[str, Any] = {"masks": files.masks, "names": read.names, "groups": files.groups}
    for event in baselines.compare(
        read.planes, task.config, _Linked(checkpoint), folder=out, inputs=files.paths, **given
    ):
        match event:
            case CompareStarted():
                runs = event.runs
                files.clear()
            case MethodProgress():
                yield (done + event.done) / runs
            case MethodFinished():
                done += 1
                if event.result.repeat == 0:
                    files.write(event.result.method, event.masks)
            case Warned():
                notes.append(event.message)
            case CompareFinished():
                checkpoint()
                if not event.results:
                    raise RunFailed(" ".join(["No method came to an end.", *notes]))
    return Done(tuple(notes))
