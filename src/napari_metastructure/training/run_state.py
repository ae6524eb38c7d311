"""Metrics and state of a run: saved while it runs, in another folder if its own fails, and read to resume it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from napari_metastructure.errors import InputError
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.distributed import ALONE, Ranks
from napari_metastructure.training.events import Saved, Unsaved
from napari_metastructure.training.run_folder import FILES, RunFolder, damaged

SAVING_SHARE = 0.02
"""Part of the run's time that saving the state to resume from may take."""


class Saver:
    """The folder a job writes to; where that fails, another one if a listener names one.

    Parameters
    ----------
    folder : RunFolder, optional
        Without one nothing is written.
    control : Control
        Where a listener names another folder, see `Unsaved`.
    whole : callable
        Writes all there is to write: into a folder that takes the place of one that failed.

    Attributes
    ----------
    lost : bool
        True once nothing can be written any more: the job should end.
    """

    def __init__(self, folder: RunFolder | None, control: Control, whole: Callable[[], Iterator[Saved]]) -> None:
        self.folder, self.control, self.whole = folder, control, whole
        self.lost = False

    def save(self, write: Callable[[], Iterator[Saved]]) -> Iterator[Saved | Unsaved]:
        """Write; where that fails, tell it, and write all into the folder that the listener names."""
        moved = False
        while self.folder is not None:
            try:
                yield from write()
                return
            except InputError as error:
                failed, self.folder, self.lost = self.folder, None, True
                if moved:  # the little that a new folder could take is no run
                    with suppress(InputError):
                        failed.clear()
                failed.unlock()
                with suppress(OSError):
                    if moved:
                        failed.path.rmdir()  # if nothing else is in it
                message = str(error)
            write, moved = self.whole, True
            while self.folder is None:
                yield Unsaved(message, failed.path)
                with suppress(Stopped):
                    self.control.checkpoint()  # a listener may hold the job while it asks
                if (other := self.control.take_folder()) is None:
                    return
                try:
                    self.folder = _free(other)
                    self.lost = False
                except InputError as error:
                    message = str(error)

    def close(self) -> None:
        """Let others write into the folder."""
        if self.folder is not None:
            self.folder.unlock()


def _free(path: Path) -> RunFolder:
    """Return a folder, locked, that holds no run."""
    folder = RunFolder(path)
    folder.lock()
    if any((path / name).exists() for name in FILES):
        folder.unlock()
        raise InputError(f"{path} holds another run; choose another folder.")
    return folder


class RunState:
    """Metrics of a run by epoch (``metrics.csv``) and its state (``last.pt``), to save and to resume from.

    Parameters
    ----------
    config : BaseModel
        The settings; a resumed run needs the same ones, except for ``may_change``.
    may_change : sequence of str
    identity : list of (str, str)
        What the run is made of: the name and checksum of each image, and of its labels. The checksums have to be the
        same when it is resumed.
    """

    def __init__(self, config: BaseModel, may_change: Sequence[str], identity: Sequence[tuple[str, str]]) -> None:
        self.config = config
        self.may_change = may_change
        self.identity = identity
        self.rows: list[dict[str, Any]] = []
        self._saved_epoch = self._kept_epoch = -1
        self._kept: dict[str, Any] = {}
        self._saving_seconds = 0.0

    @property
    def epoch(self) -> int:
        """The newest epoch; 0 before the first."""
        return self.rows[-1]["epoch"] if self.rows else 0

    def keep(self, state: Callable[[], dict[str, Any]]) -> None:
        """Remember the state as it is at the end of an epoch: a stop comes later, inside the next one."""
        if self._kept_epoch != self.epoch:
            self._kept, self._kept_epoch = state(), self.epoch

    def save(self, folder: RunFolder, state: Callable[[], dict[str, Any]], *, last: bool) -> Iterator[Saved]:
        """Write ``metrics.csv`` and, where that costs little of the run's time or it is the last call, ``last.pt``.

        What is written is the state of the end of the epoch, even if the run is stopped inside the next one, so that
        going on gives what an undisturbed run gives.

        Parameters
        ----------
        folder : RunFolder
        state : callable
            Returns what only the run knows, and does not change it later; called at the end of each epoch.
        last : bool
            Also true for a folder that takes the place of another: there nothing is saved yet.
        """
        if not self.rows:
            return
        yield Saved(folder.write_metrics(self.rows))
        spent = sum(row["seconds"] for row in self.rows)
        there = self._saved_epoch == self.epoch and folder.last.exists()
        if there:
            return
        self.keep(state)
        if not (last or self._saving_seconds <= SAVING_SHARE * spent):
            return
        began = time.perf_counter()
        facts = {
            "config": self.config.model_dump_json(),
            "identity": [checksum for _, checksum in self.identity],
            "rows": self.rows,
        }
        yield Saved(folder.write_last({**facts, **self._kept}))
        self._saving_seconds += time.perf_counter() - began
        self._saved_epoch = self.epoch

    def resume(self, folder: RunFolder | None, restore: Callable[[dict[str, Any]], None], ranks: Ranks = ALONE) -> None:
        """Read what ``last.pt`` holds, and go on from there.

        Parameters
        ----------
        folder : RunFolder or None
        restore : callable
            Takes what ``state`` of `save` returned; whatever it raises means that the file is damaged.
        ranks : Ranks
            Processes of the run: the first reads, the others need no folder.

        Raises
        ------
        InputError
            If there is none, or it is damaged, or that of another run.
        """
        path, state = ranks.from_first(lambda: self._read(folder))
        with naming_damage(path):
            self.rows = [{str(k): _number(v) for k, v in row.items()} for row in state["rows"]]
            if [row["epoch"] - self.rows[0]["epoch"] for row in self.rows] != list(range(len(self.rows))):
                raise ValueError
            restore(state)
        self._saved_epoch = self.epoch

    def _read(self, folder: RunFolder | None) -> tuple[Path, dict[str, Any]]:
        """Read the state of a run that was made of the same settings and images as this one."""
        if folder is None:
            raise InputError("A run can only be resumed in its folder; name the folder.")
        state = folder.read_last()
        with naming_damage(folder.last):
            then, now = json.loads(state["config"]), self.config.model_dump(mode="json")
            then = type(self.config)().model_dump(mode="json") | then  # settings that came later had their defaults
            changed = next((k for k in now if k not in self.may_change and now[k] != then.get(k)), None)
            was = str(then.get(changed))[:60]
            checksums = [str(checksum) for checksum in state["identity"]]
        if changed is not None:
            raise InputError(
                f"The run in {folder.path} was made with {changed} = {was}, not {now[changed]}; resume it with the "
                "same settings or choose another folder."
            )
        check_identity(checksums, self.identity, f"the run in {folder.path}")
        return folder.last, state


def check_identity(then: Sequence[str], now: Sequence[tuple[str, str]], job: str) -> None:
    """Refuse to go on with a job on images or labels that are not those it was made of.

    Parameters
    ----------
    then : sequence of str
        Their checksums when it began.
    now : sequence of (str, str)
        Their names and checksums.
    job : str
        What messages call it.

    Raises
    ------
    InputError
        It names the first one that has changed.
    """
    other = f"give those that {job} began with, or choose another folder"
    if len(then) != len(now):
        more = "more" if len(now) > len(then) else "fewer"
        raise InputError(f"There are {more} images or labels than before ({len(now)}, not {len(then)}); {other}.")
    changed = next((name for (name, checksum), before in zip(now, then, strict=True) if checksum != before), None)
    if changed is not None:
        raise InputError(f"{changed} has changed, or is another one than before; {other}.")


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn whatever the values of a file cause into the sentence for a damaged one."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, RuntimeError, TypeError, ValueError) as error:
        raise damaged(path) from error


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise TypeError
    return value
