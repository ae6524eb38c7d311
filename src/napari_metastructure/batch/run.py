"""Runs of batches: files one after the other or shared out to workers, as a generator of events."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_metastructure.batch.recipe import IGTT, BatchRecipe, Compare, Density, Noise, Predict
from napari_metastructure.batch.record import Record
from napari_metastructure.batch.scheduler import JOIN, Pool, Share, is_part, pool_of
from napari_metastructure.batch.work_units import Done, Outcome, Piece, Plan, Split, Unit
from napari_metastructure.images.files import OTHER_FOLDER, noting
from napari_metastructure.images.read_options import set_read_options
from napari_metastructure.images.writing import make_folder
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Warned


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """All is checked: what is done, and where.

    Attributes
    ----------
    names : tuple of str
        Of the units: files, or all of them together.
    settled : tuple of bool
        Which of them an earlier call has done.
    where : str
        Who does the others, with the address of the dashboard.
    """

    names: tuple[str, ...]
    settled: tuple[bool, ...]
    where: str


@dataclass(frozen=True, slots=True)
class UnitProgress:
    """A unit has begun, and so much of it is done (0 to 1)."""

    index: int
    name: str
    share: float


@dataclass(frozen=True, slots=True)
class UnitDone:
    """A unit is done; its results are whole."""

    index: int
    name: str
    written: tuple[Path, ...]
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class UnitFailed:
    """A unit cannot be done; the others go on."""

    index: int
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class BatchFinished:
    """The last event."""

    stopped: bool
    done: int
    settled: int
    failed: int
    seconds: float
    report: Path
    said: tuple[str, ...] = field(default=())
    """What the whole says, as the verdict on noise."""


BatchEvent = BatchStarted | UnitProgress | UnitDone | UnitFailed | BatchFinished | Warned


def plan_of(recipe: BatchRecipe, paths: Sequence[Path], splits: bool) -> Plan:
    """Look at what is to be done, as far as that says whether it can be."""
    match recipe.task:
        case Predict():
            from napari_metastructure.batch.predict import units_of

            return Plan(units_of(recipe.task, paths, recipe.out, splits))
        case Noise() | Density() as task:
            from napari_metastructure.batch.labels import plan_density, plan_noise

            where = paths, recipe.out
            return plan_noise(task, *where) if isinstance(task, Noise) else plan_density(task, *where)
        case IGTT() | Compare() as task:
            from napari_metastructure.batch.segmentation import plan_compare, plan_igtt

            where = paths, recipe.out
            return plan_igtt(task, *where) if isinstance(task, IGTT) else plan_compare(task, *where)


def run(
    recipe: BatchRecipe,
    control: Control | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    ways: Sequence[str] = OTHER_FOLDER,
) -> Iterator[BatchEvent]:
    """Do all files of a recipe, each whole or not at all; a bad one does not end the others.

    Parameters
    ----------
    recipe : BatchRecipe
    control : Control, optional
        To stop and pause from another thread.
    resume : bool
        Leave out what an earlier call has done from the same inputs with the same settings.
    overwrite : bool
        Replace an earlier batch, and results of the same names.
    ways : sequence of str
        Ways out where something is in the way; see `images.files.check_free`.

    Yields
    ------
    BatchEvent
        `BatchStarted`, then for each unit `UnitProgress` and `UnitDone` or `UnitFailed`; `BatchFinished` as the last.

    Raises
    ------
    InputError
        Before anything is done: settings, files, folder or scheduler cannot be used. Later: the scheduler is gone, or
        the report cannot be written; what was done stays, and the batch can be gone on with.

    Examples
    --------
    Predict a folder by two processes::

        recipe = BatchRecipe.make(
            inputs=("images",), out="masks", task={"what": "predict", "model": "run"}, scheduler="local:2"
        )
        for event in run(recipe, resume=True):
            print(event)
    """
    control, began = control or Control(), time.perf_counter()
    recipe = recipe.absolute()
    set_read_options(recipe.axes, recipe.series)
    with noting() as notes:
        record = Record(recipe, resume, overwrite, ways)
        paths = recipe.files()
        plan = plan_of(recipe, paths, recipe.scheduler is not None)
    yield from map(Warned, notes)
    make_folder(recipe.out)
    record.begin(plan.units)
    report = None
    try:
        folders = sorted({path.parent for unit in plan.units for path in unit.inputs})
        settled = [record.settled(unit) for unit in plan.units]
        with pool_of(recipe.scheduler if not all(settled) else None, folders, recipe.out) as pool:
            record.start()
            names = (*(unit.name for unit in plan.units), *map(str, plan.refused))
            yield BatchStarted(names, (*settled, *[False] * len(plan.refused)), pool.where)
            for index, (path, why) in enumerate(plan.refused.items(), len(plan.units)):
                record.add(_refused(path), Outcome(why=why))
                yield UnitFailed(index, str(path), why)
            events = _work(plan.units, settled, pool, record, control)
            done = failed = 0
            stopped = False
            try:
                for event in events:
                    done += isinstance(event, UnitDone)
                    failed += isinstance(event, UnitFailed)
                    yield event
            except Stopped:
                stopped = True
        said: Sequence[str] = ()
        if plan.finish is not None and (made := record.facts(plan.units)):
            said = plan.finish(made)
    finally:
        report = record.close([*plan.units, *map(_refused, plan.refused)])
    seconds, failed = time.perf_counter() - began, failed + len(plan.refused)
    yield BatchFinished(stopped, done, sum(settled), failed, seconds, report, tuple(said))


def _refused(path: Path) -> Unit:
    """Stand for a file that cannot be used, in the report."""

    def never(*_: object) -> Iterator[float]:
        raise AssertionError

    return Unit(str(path), (path,), (), never, ())  # type: ignore[arg-type]


def _work(
    units: Sequence[Unit], settled: Sequence[bool], pool: Pool, record: Record, control: Control
) -> Iterator[UnitProgress | UnitDone | UnitFailed]:
    """Hand out the units that are not settled, and say what comes of them."""
    todo = deque(index for index, done in enumerate(settled) if not done)
    out: set[int] = set()
    parts: dict[int, dict[str, float]] = {}  # of units that were split: how much of each part is done
    identities: dict[int, Outcome] = {}
    while todo or out:
        while todo and pool.room:
            index = todo.popleft()
            unit = units[index]
            pool.submit(str(index), Piece(unit.work, unit.args, unit.inputs, unit.results))
            out.add(index)
        event = pool.step(control)
        if event is None:
            continue
        index = int(event.key.partition(":")[0])
        unit = units[index]
        if isinstance(event, Share):
            yield UnitProgress(index, unit.name, _share(parts.get(index), event.key, event.share))
            continue
        outcome = event.outcome
        if is_part(event.key):
            yield UnitProgress(index, unit.name, _share(parts[index], event.key, 1.0))
        elif isinstance(outcome.value, Split):
            split: Split = outcome.value
            keys = [f"{index}:{number}" for number in range(len(split.parts))]
            for key, (work, args) in zip(keys, split.parts, strict=True):
                pool.submit(key, Piece(work, args))
            pool.submit(f"{index}{JOIN}", Piece(split.join, split.args, (), unit.results), keys)
            parts[index], identities[index] = dict.fromkeys(keys, 0.0), outcome
        else:
            out.remove(index)
            if (first := identities.pop(index, None)) is not None:
                outcome = replace(outcome, identity=first.identity, seconds=first.seconds + outcome.seconds)
            record.add(unit, outcome)
            if outcome.why:
                yield UnitFailed(index, unit.name, outcome.why)
            else:
                value: Done = outcome.value
                yield UnitDone(index, unit.name, unit.results, value.notes, outcome.seconds)


def _share(parts: dict[str, float] | None, key: str, share: float) -> float:
    """Note how much of a unit, or of one of its parts, is done; return how much of the unit."""
    if parts is None:
        return share
    if key in parts:
        parts[key] = max(parts[key], share)
    return sum(parts.values()) / len(parts)
