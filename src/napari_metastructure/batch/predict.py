"""Prediction of image files as units of a batch; large ones in parts."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.batch.recipe import Predict
from napari_metastructure.batch.work_units import Checkpoint, Done, Split, Steps, Unit
from napari_metastructure.errors import InputError
from napari_metastructure.igtt.apply import load_model
from napari_metastructure.images.image import Image, plane_names
from napari_metastructure.images.ranges import leading_of, taken
from napari_metastructure.images.surround import missing_notes, missing_share
from napari_metastructure.networks import batch as prediction
from napari_metastructure.networks.batch import is_large
from napari_metastructure.networks.device import resolve
from napari_metastructure.networks.model import Model, find_model
from napari_metastructure.networks.predict import FEWEST_ROWS, rows_of_tiles

TILES = 32
"""Tiles of a part: some seconds on a CPU core, and a few megabytes to send."""


def units_of(task: Predict, paths: Sequence[Path], out: Path, splits: bool) -> list[Unit]:
    """Make a unit of each image.

    Raises
    ------
    InputError
        If there is no model.
    """
    model = find_model(task.model)
    with model.open("rb") as file:
        mark = file_digest(file, "sha256").hexdigest()
    _model(model, mark)  # whatever is wrong with it is said before anything else
    resolve(task.device)
    targets = prediction.targets_of(paths, out, ome=task.ome, probability=task.probability, overwrite=True)
    return [
        Unit(
            *(str(path), (path,), target.files, predict_file, (model, mark, path, target, task, splits), mark),
            replaced=target.others,
        )
        for path, target in zip(paths, targets, strict=True)
    ]


@lru_cache(maxsize=1)
def _model(path: Path, checksum: str) -> Model:
    """Read a model once for all units of a process."""
    return load_model(path)


def predict_file(
    checkpoint: Checkpoint, model: Path, mark: str, path: Path, target: prediction.Target, task: Predict, splits: bool
) -> Steps:
    """Predict a file, or say how to split it."""
    loaded, device = _model(model, mark), resolve(task.device)
    if splits:
        image, planes, *_ = _taken(path, loaded, task, lazily=True)
        if not is_large(image) and (parts := list(_parts(loaded, planes))):  # else memory would not hold it
            args = (model, mark, path, task)
            return Split(tuple((predict_part, (*args, part)) for part in parts), join_file, (*args, target, parts))
    for event in prediction.predict_files(loaded, [path], [target], device, checkpoint, task.channel, task.chosen):
        match event:
            case prediction.PredictionProgress():
                yield event.done
            case prediction.FileRefused():
                raise InputError(event.why)
            case prediction.FileWritten():
                return Done(event.notes)
    raise RuntimeError(f"{path} was neither predicted nor refused")


def _taken(
    path: Path, model: Model, task: Predict, lazily: bool = False
) -> tuple[Image, list[np.ndarray], tuple[int, ...] | None, list[str]]:
    """Read a file: its image, the planes that are taken, their numbers if not all are, and notes."""
    image, planes, notes = prediction.read_for(path, model, task.channel, lazily)
    kept = task.chosen.kept(leading_of(image, task.chosen), str(path))
    return image, taken(planes, kept), kept, notes


Part = tuple[int, int, range | None]
"""The planes from one to another, or of a single large one some rows of tiles."""


def _parts(model: Model, planes: Sequence[np.ndarray]) -> Iterator[Part]:
    """Cut the planes of a file into parts of about `TILES`; none if it is one part."""
    counts = [rows_of_tiles(model.network, plane.shape, model.use.patch) for plane in planes]
    if sum(rows * tiles for rows, tiles in counts) < 2 * TILES:
        return
    first = gathered = 0
    for index, (rows, tiles) in enumerate(counts):
        step = max(1, TILES // tiles)
        if rows >= max(FEWEST_ROWS, 2 * step):
            if gathered:
                yield first, index, None
            for top in range(0, rows, step):
                yield index, index + 1, range(top, min(top + step, rows))
            first, gathered = index + 1, 0
            continue
        gathered += rows * tiles
        if gathered >= TILES:
            yield first, index + 1, None
            first, gathered = index + 1, 0
    if gathered:
        yield first, len(planes), None


def predict_part(checkpoint: Checkpoint, model: Path, mark: str, path: Path, task: Predict, part: Part) -> Steps:
    """Predict some planes of a file, or some rows of tiles of a plane."""
    loaded, device = _model(model, mark), resolve(task.device)
    first, last, rows = part
    if rows is None:
        names, planes = _planes(path, path.stat().st_mtime_ns, model, mark, task)
        todo = [(name, lambda plane=plane: plane) for name, plane in zip(names, planes, strict=True)][first:last]
        found = []
        for event in prediction.predict_planes(loaded, todo, len(todo), device, checkpoint, task.probability):
            if isinstance(event, prediction.PlanePredicted):
                found.append((event.labels, event.probability))
            elif isinstance(event, prediction.PredictionProgress):
                yield event.done / event.images
        return found
    yield 0.0
    inputs = _prepared(path, path.stat().st_mtime_ns, model, mark, task, first)
    return None if inputs is None else loaded.part(inputs, rows, device, checkpoint)


@lru_cache(maxsize=1)
def _planes(path: Path, modified: int, model: Path, mark: str, task: Predict) -> tuple[list[str], list[np.ndarray]]:
    """Read a file once for all parts of it that a process does, one after the other."""
    image, planes, kept, _ = _taken(path, _model(model, mark), task)
    return taken(plane_names(image), kept), planes


@lru_cache(maxsize=1)
def _prepared(path: Path, modified: int, model: Path, mark: str, task: Predict, index: int) -> Any:
    """Prepare a plane once for all its parts."""
    names, planes = _planes(path, modified, model, mark, task)
    return _model(model, mark).prepare(planes[index], resolve(task.device), name=names[index])


def join_file(
    checkpoint: Checkpoint,
    model: Path,
    mark: str,
    path: Path,
    task: Predict,
    target: prediction.Target,
    parts: Sequence[Part],
    made: Sequence[Any],
) -> Steps:
    """Write the results of a file that was predicted in parts."""
    loaded, device = _model(model, mark), resolve(task.device)
    image, planes, kept, notes = _taken(path, loaded, task)
    whole: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
    rows: dict[int, list[tuple[range, Any]]] = {}
    for (first, last, some), result in zip(parts, made, strict=True):
        if some is None:
            whole |= dict(zip(range(first, last), result, strict=True))
        else:
            rows.setdefault(first, []).append((some, result))
    found = []
    for index, (name, plane) in enumerate(zip(taken(plane_names(image), kept), planes, strict=True)):
        if index not in whole:
            steps = loaded.steps(plane, device, checkpoint, task.probability, name, rows.pop(index))
            whole[index] = yield from steps
        labels, probability = whole[index]
        found.append(prediction.PlanePredicted(index, name, labels, probability, missing_share(plane)))
        yield (index + 1) / len(planes)
    loaded.release()
    note = task.chosen.note(leading_of(image, task.chosen))
    prediction.write_predicted(target, found, image, loaded.use.classes, kept, note)
    notes += missing_notes((event.name, event.missing) for event in found)
    return Done(prediction.written(target, 0, path, notes).notes)
