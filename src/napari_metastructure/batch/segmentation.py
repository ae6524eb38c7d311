"""iGTT and comparisons as units of a batch: a run for each file, or one for all of them."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.baselines import compare as comparison
from napari_metastructure.baselines import results
from napari_metastructure.baselines.config import TITLES
from napari_metastructure.baselines.methods import frame_of
from napari_metastructure.batch.label_set import check_same_size, partners_of
from napari_metastructure.batch.recipe import IGTT, Compare
from napari_metastructure.batch.work_units import Checkpoint, Done, Plan, Steps, Unit
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.igtt.outputs import KINDS, IGTTRun, Outputs, results_in
from napari_metastructure.images.channels import read_set
from napari_metastructure.images.files import check_free, noting, output_stems, result_path, stem
from napari_metastructure.images.image import Image, extent, plane_count, planes, stacks
from napari_metastructure.images.label_files import read_labels
from napari_metastructure.images.writing import make_folder, remove, write_mask
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import (
    BatchFinished,
    EpochFinished,
    Event,
    Finished,
    RunStarted,
    Unsaved,
    Warned,
)
from napari_metastructure.training.run_folder import DESCRIPTION, MODEL

TOGETHER = "all {} files together"
"""What the report calls a unit of several files."""


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
    kinds = KINDS if task.keep_epochs else KINDS[:2]
    masks = [result_path(folder, stem, kind, task.ome) for stem in names for kind in kinds]
    files = (*(folder / file for file in (DESCRIPTION, MODEL)), *masks)
    others = tuple(path for path in results_in(folder, names) if path not in masks)
    return Unit(name, tuple(paths), files, segment, (tuple(paths), folder, task), replaced=others)


def segment(checkpoint: Checkpoint, paths: Sequence[Path], folder: Path, task: IGTT) -> Steps:
    """Run iGTT on files and write its results; a run that was broken off goes on."""
    from napari_metastructure.igtt.iterate import iterate

    with noting() as notes:
        read = read_set(paths, task.channel, task.chosen)
        outputs = Outputs(folder, read.images, task.keep_epochs, task.ome, read.kept, task.chosen)

    def begun(resume: bool) -> Iterator[Event]:
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
        return chain([next(events)], events)

    earlier = IGTTRun.find(folder)
    resume = earlier is not None and earlier.can_go_on
    try:
        events = begun(resume)
    except InputError:
        if not resume:
            raise
        resume, events = False, begun(False)  # it was of other images, or is damaged
    history: list[Sequence[np.ndarray]] = []
    resumed, epochs = 0, 1
    result: Finished | None = None
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
    name = str(paths[0]) if len(paths) == 1 else TOGETHER.format(len(paths))
    files = (out / DESCRIPTION, out / results.RESULTS)
    return Plan([Unit(name, tuple(paths), files, compare, (tuple(paths), out, task), _mark(task.masks))])


def _mark(masks: Path | None) -> str:
    """Tell the ground truth by its names, sizes and times."""
    found = [] if masks is None else sorted(masks.iterdir()) if masks.is_dir() else [masks]
    return " ".join(f"{path.name}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in found)


def compare(checkpoint: Checkpoint, paths: Sequence[Path], out: Path, task: Compare) -> Steps:
    """Run a comparison and write its results."""
    with noting() as notes:
        files = CompareFiles(paths, task.masks, task.channel, out)
    read, done, runs = files.read, 0, 1
    given: dict[str, Any] = {"masks": files.masks, "names": read.names, "groups": files.groups}
    for event in comparison.compare(
        read.planes, task.config, _Linked(checkpoint), folder=out, inputs=files.paths, **given
    ):
        match event:
            case results.CompareStarted():
                runs = event.runs
                files.clear()
            case results.MethodProgress():
                yield (done + event.done) / runs
            case results.MethodFinished():
                done += 1
                if event.result.repeat == 0:
                    files.write(event.result.method, event.masks)
            case Warned():
                notes.append(event.message)
            case results.CompareFinished():
                checkpoint()
                if not event.results:
                    raise RunFailed(" ".join(["No method came to an end.", *notes]))
                if lost := [note for note in notes if note.endswith(comparison.NOT_SAVED)]:
                    raise RunFailed(lost[-1].removesuffix(f" {comparison.NOT_SAVED}"))
    return Done(tuple(notes))


# Files of a comparison: images and ground truth, paired by stem, and results.


class CompareFiles:
    """Images, ground truth and results of a comparison, paired by stem.

    Parameters
    ----------
    images : sequence of Path
        Folders and files.
    masks : Path or None
        The same.
    channel : str
        As `napari_metastructure.images.channels.read_set` takes it.
    out : Path
        The folder of the results.

    Attributes
    ----------
    read : ImageSet
        The images, their planes and the channel that was taken.
    paths : list of Path
        The image files.
    groups : list of str
        The frame or stack that each plane is of.
    masks : list of (Y, X) arrays, or None
        Ground truth of each plane.

    Raises
    ------
    InputError
        For a file that cannot be used, two images of one stem, an image without a mask, or a mask that does not fit.
    """

    def __init__(self, images: Sequence[Path], masks: Path | None, channel: str, out: Path) -> None:
        self.out, self.read = out, read_set(images, channel)
        self.paths = [image.source or Path(image.name) for image in self.read.images]
        self._check_stems()
        self._names = output_stems(self.paths)
        self.groups = [
            frame_of(stem(path))
            for path, image in zip(self.paths, self.read.images, strict=True)
            for _ in range(plane_count(image))
        ]
        self.masks: list[np.ndarray] | None = None
        self._inputs = self.paths
        if masks is not None:
            partners = partners_of(self.paths, masks)
            self._inputs = [*self.paths, *partners]
            self.masks = [
                plane
                for image, path, partner in zip(self.read.images, self.paths, partners, strict=True)
                for plane in _truth(path, partner, image)
            ]

    def check_free(self, methods: Sequence[str], overwrite: bool, ways: Sequence[str]) -> None:
        """Refuse to write over an input in any case, and over an earlier comparison unless asked to.

        The ``ways`` out are those of `images.files.check_free`.

        Raises
        ------
        InputError
            Naming the file in the way.
        """
        check_free(self._files(list(TITLES)), self._inputs, overwrite=True, ways=ways)
        check_free(self._files(methods), overwrite=overwrite, ways=ways)

    def clear(self) -> None:
        """Remove what an earlier comparison has written, also masks of methods that are not run now.

        Raises
        ------
        InputError
            If a file cannot be removed.
        """
        remove(self._files(list(TITLES)))

    def write(self, method: str, masks: Sequence[np.ndarray]) -> None:
        """Write ``masks/METHOD/<stem>_mask.tif`` with axes and voxel size of the images.

        Raises
        ------
        InputError
            If one cannot be written.
        """
        make_folder(self.out / "masks" / method)
        for path, image in zip(self._masks_of(method), stacks(masks, like=self.read.images), strict=True):
            write_mask(path, image.data, image)

    def _files(self, methods: Sequence[str]) -> list[Path]:
        tables = ("run.yaml", results.RESULTS, results.TABLE, results.AGREEMENT, results.MARKDOWN, results.FIGURE)
        return [self.out / name for name in tables] + [path for name in methods for path in self._masks_of(name)]

    def _masks_of(self, method: str) -> list[Path]:
        return [result_path(self.out / "masks" / method, name, "mask") for name in self._names]

    def _check_stems(self) -> None:
        """Refuse two images of one stem, by which tables and masks name them."""
        seen: dict[str, Path] = {}
        for path in self.paths:
            key = stem(path).casefold()
            if key in seen:
                raise InputError(f"{seen[key]} and {path} share the stem {stem(path)!r}; keep one of them.")
            seen[key] = path


def _truth(path: Path, partner: Path, image: Image) -> list[np.ndarray]:
    """Read the planes of a mask, one for each of its image."""
    mask = read_labels(partner)
    check_same_size(partner, extent(mask), path, extent(image))
    return planes(mask)
