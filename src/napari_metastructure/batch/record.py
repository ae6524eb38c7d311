"""Record of a batch beside its results: its recipe and a line for each file, for the report and for resuming."""

import csv
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_metastructure.batch.recipe import IGTT, BatchRecipe
from napari_metastructure.batch.work_units import Outcome, Unit, identity_of
from napari_metastructure.errors import InputError
from napari_metastructure.images.files import check_free
from napari_metastructure.images.writing import cannot_write, make_folder, replacing, sweep
from napari_metastructure.training.run_folder import RunFolder

RECIPE, REPORT, LOCK = "batch.yaml", "batch.csv", ".batch.lock"

COLUMNS = (
    *("file", "state", "why", "seconds", "worker", "results", "input", "bytes", "modified", "sha256"),
    *("mark", "notes", "facts"),
)

DONE, FAILED = "done", "failed"

FREE = ("scheduler", "inputs", "out")
"""Settings that may differ when a batch is gone on with: no result depends on them."""

Row = dict[str, Any]


class Record:
    """``batch.yaml`` and ``batch.csv`` in the folder of the results; one batch at a time writes there.

    Parameters
    ----------
    recipe : BatchRecipe
    resume : bool
        Go on with the batch that is there, if there is one.
    overwrite : bool
        Replace it, and results of the same names.
    ways : sequence of str
        Ways out where something is in the way; see `images.files.check_free`.

    Raises
    ------
    InputError
        If another batch is there and nothing was said, its settings are others, or the folder cannot be written to.
    """

    def __init__(self, recipe: BatchRecipe, resume: bool, overwrite: bool, ways: Sequence[str]) -> None:
        self.recipe, self.folder, self.ways = recipe, recipe.out, ways
        self.overwrite, self.rows = overwrite, dict[str, Row]()
        self._lock: FileLock | None = None
        self._run: RunFolder | None = None
        self._started = False
        there = [path for name in (RECIPE, REPORT) if (path := self.folder / name).exists()]
        if there and not (resume or overwrite):
            check_free(there, ways=ways)
        if there and resume and not overwrite:
            self._check_same(BatchRecipe.read(self.folder / RECIPE))
            self.rows = _read(self.folder / REPORT)
        self.resumed = bool(there) and not overwrite

    def _check_same(self, then: BatchRecipe) -> None:
        before, now = (_flat(recipe.model_dump(mode="json", exclude=set(FREE))) for recipe in (then, self.recipe))
        for name in dict.fromkeys([*now, *before]):
            was, wish = before.get(name), now.get(name)
            if was != wish and name.rsplit(".", 1)[-1] != "device":
                then_now = f"{name.removeprefix('task.')} = {was or repr(was)}, not {wish or repr(wish)}"
                raise InputError(
                    f"The batch in {self.folder} was made with {then_now}; go on with the same settings, or choose "
                    "another folder."
                )

    def begin(self, units: Iterable[Unit]) -> None:
        """Take the folder; nothing is written before `start`.

        Raises
        ------
        InputError
            If a result of these units is there that is not of this batch, or an input would be written over.
        """
        units = list(units)
        results = [path for unit in units for path in (*unit.results, *unit.replaced)]
        check_free(results, [path for unit in units for path in unit.inputs], overwrite=True, ways=self.ways)
        check_free(results, overwrite=self.overwrite or self.resumed, ways=self.ways)
        make_folder(self.folder)
        self._lock = FileLock(self.folder / LOCK, timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            self._lock = None
            raise InputError(
                f"Another batch is writing to {self.folder}; wait until it has ended, or choose another folder."
            ) from None
        except OSError as error:
            self._lock = None
            if isinstance(error, PermissionError):
                raise cannot_write(self.folder, error) from error
        sweep(self.folder)
        if not isinstance(self.recipe.task, IGTT):  # whose runs look to it in their folders
            self._run = RunFolder(self.folder)
            try:
                self._run.lock()
            except InputError:
                self.unlock()
                raise

    def start(self) -> None:
        """Write the recipe, once the workers are there."""
        self.recipe.write(self.folder / RECIPE)
        self._write(self.rows.values())  # without what was torn
        self._started = True

    def settled(self, unit: Unit) -> bool:
        """Whether a unit is done already, from the same inputs, and its results are there."""
        row = self.rows.get(unit.name)
        if row is None or row["state"] != DONE or row["mark"] != unit.mark:
            return False
        try:
            if _joined(unit.inputs) != row["input"]:
                return False
            if self._results(unit, [path.stat().st_size for path in unit.results]) != row["results"]:
                return False
            stats = [path.stat() for path in unit.inputs]
            if (sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)) == (
                int(row["bytes"]),
                int(row["modified"]),
            ):
                return True
            return bool(identity_of(unit.inputs)["sha256"] == row["sha256"])
        except (OSError, ValueError, InputError):
            return False

    def add(self, unit: Unit, outcome: Outcome) -> None:
        """Write what came of a unit.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        known = {"bytes": "", "modified": "", "sha256": "", **outcome.identity}
        notes, facts = ((), {}) if outcome.why else (outcome.value.notes, outcome.value.facts)
        sizes = [] if outcome.why else outcome.sizes
        row = {
            "file": unit.name,
            "state": FAILED if outcome.why else DONE,
            "why": outcome.why,
            "seconds": f"{outcome.seconds:.3f}",
            "worker": outcome.worker,
            "results": self._results(unit, sizes),
            "input": _joined(unit.inputs),
            **known,
            "mark": unit.mark,
            "notes": " ".join(notes),
            "facts": json.dumps(facts) if facts else "",
        }
        self.rows[unit.name] = {name: str(value) for name, value in row.items()}
        try:
            with (self.folder / REPORT).open("a", **_TEXT) as file:
                csv.DictWriter(file, COLUMNS).writerow(self.rows[unit.name])
        except OSError as error:
            raise cannot_write(self.folder / REPORT, error) from error

    def facts(self, units: Iterable[Unit]) -> list[dict[str, Any]]:
        """Return what each unit that is done has left for the end of the batch."""
        rows = [self.rows[unit.name] for unit in units if unit.name in self.rows]
        return [json.loads(row["facts"]) for row in rows if row["state"] == DONE and row["facts"]]

    def close(self, units: Iterable[Unit]) -> Path:
        """Write the report in the order of the files, and let others in."""
        try:
            if self._started:
                self._write(row for unit in units if (row := self.rows.get(unit.name)))
        finally:
            self.unlock()
        return self.folder / REPORT

    def unlock(self) -> None:
        """Let other batches in, and runs."""
        if self._run is not None:
            self._run.unlock()
        if self._lock is not None:
            with suppress(OSError):
                (self.folder / LOCK).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _write(self, rows: Iterable[Row]) -> None:
        with replacing(self.folder / REPORT) as beside, beside.open("w", **_TEXT) as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def _results(self, unit: Unit, sizes: Sequence[int]) -> str:
        """List the results with their bytes."""
        names = [path.relative_to(self.folder).as_posix() for path in unit.results[: len(sizes)]]
        return "|".join(f"{name}:{size}" for name, size in zip(names, sizes, strict=True))


_TEXT: Any = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


def _joined(paths: Iterable[Path]) -> str:
    return "|".join(map(str, paths))


def _flat(facts: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in facts.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _read(path: Path) -> dict[str, Row]:
    """Read a report; the last line of a file counts, and torn lines do not."""
    try:
        with path.open(**_TEXT) as file:
            rows = [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
    except FileNotFoundError:
        return {}
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}); remove it to do all files again.") from error
    return {row["file"]: row for row in rows if set(COLUMNS) <= set(row)}
