"""Run folders: settings, metrics, model and the state to resume from."""

from __future__ import annotations

import csv
import io
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from napari_metastructure import __version__
from napari_metastructure.errors import InputError, explain
from napari_metastructure.images.files import fingerprint
from napari_metastructure.images.writing import make_folder, replacing
from napari_metastructure.training.events import Saved, Warned
from napari_metastructure.training.yaml_file import read_yaml, write_yaml

FORMAT = "napari-metastructure-run/1"

DESCRIPTION, METRICS, MODEL, LAST = FILES = ("run.yaml", "metrics.csv", "model.safetensors", "last.pt")
"""The files of a run. Any of them says that a folder is taken: a new run would write over it."""

SAVING_SHARE = 0.02
"""Part of the run's time that saving the state to resume from may take."""

LIBRARIES = ("torch", "segmentation-models-pytorch", "numpy", "scipy", "scikit-image")
"""Libraries whose versions ``run.yaml`` names."""


# ---- Writing a run --------------------------------------------------------------------------------------


class RunFolder:
    """``run.yaml``, ``metrics.csv``, ``model.safetensors`` and ``last.pt`` of one run.

    Parameters
    ----------
    path : Path
        Made if it is not there.

    Raises
    ------
    InputError
        If it cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        make_folder(self.path)

    @property
    def model(self) -> Path:
        """Where the trained network is saved."""
        return self.path / MODEL

    @property
    def last(self) -> Path:
        """Where the state to resume from is saved."""
        return self.path / LAST

    def write_description(
        self,
        config: BaseModel,
        device: str,
        names: Sequence[str],
        files: Sequence[Path],
        more: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write ``run.yaml``: settings, versions, device, the inputs with their checksums, and ``more``."""
        facts = {
            "format": FORMAT,
            "config": config.model_dump(mode="json"),
            "device": device,
            "inputs": [{"name": n} for n in names]
            if not files
            else [{"name": Path(f).name, **fingerprint(f)} for f in files],
            "versions": {"napari-metastructure": __version__, "python": platform.python_version(), **_versions()},
            **(more or {}),
        }
        return write_yaml(self.path / DESCRIPTION, facts)

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write ``metrics.csv``, one row an epoch."""
        return write_rows(self.path / METRICS, rows)

    def write_last(self, state: dict[str, Any]) -> Path:
        """Write the state to resume from."""
        import torch

        whole = io.BytesIO()
        torch.save({"format": FORMAT, **state}, whole)
        with replacing(self.last) as beside:  # torch's own file writer hides a full disk in a RuntimeError
            beside.write_bytes(whole.getbuffer())
        return self.last

    def read_last(self) -> dict[str, Any]:
        """Read it back into main memory, whatever device it is of; run no code from the file.

        Raises
        ------
        InputError
            Missing, truncated, or written by another program.
        """
        import torch

        if not self.last.exists():
            raise InputError(f"There is nothing to resume in {self.path}: it holds no {LAST}; start a new run.")
        try:
            state = torch.load(self.last, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a broken file
            raise InputError(
                f"{self.last} cannot be read ({type(error).__name__}); it is damaged or of another program: "
                "start a new run in another folder."
            ) from error
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise InputError(f"{self.last} is of another program; start a new run in another folder.")
        return state


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write a CSV file, whole or not at all; the keys of the first row are its columns.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def warned(writing: Iterable[Saved], consequence: str) -> Iterator[Saved | Warned]:
    """Write; where that fails, warn with what follows from it, and let the run go on."""
    try:
        yield from writing
    except InputError as error:
        yield Warned(f"{error} {consequence}")


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Journal:
    """The rows of ``metrics.csv``, and the state of a run in its folder, for a run to write and to resume from.

    Parameters
    ----------
    config : BaseModel
        The settings; a resumed run needs the same ones but for ``may_change``.
    may_change : sequence of str
    identity : list of str
        What the run was made of; it has to be the same when it is resumed.
    folder : RunFolder, optional
        Without one nothing is written.
    """

    def __init__(
        self, config: BaseModel, may_change: Sequence[str], identity: list[str], folder: RunFolder | None
    ) -> None:
        self.config = config
        self.may_change = may_change
        self.identity = identity
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self._saved_epoch = -1
        self._saving_seconds = 0.0

    @property
    def epoch(self) -> int:
        """The newest epoch; 0 before the first."""
        return self.rows[-1]["epoch"] if self.rows else 0

    def save(self, state: Callable[[], dict[str, Any]], *, last: bool) -> Iterator[Saved]:
        """Write ``metrics.csv`` and, where that costs little of the run's time or it is the last call, ``last.pt``.

        A state that an epoch has written stays when the run is stopped inside the next one, so that going on
        gives what an undisturbed run gives.

        Parameters
        ----------
        state : callable
            Returns what only the run knows; called where it is written.
        """
        if self.folder is None or not self.rows:
            return
        yield from self.save_rows()
        spent = sum(row["seconds"] for row in self.rows)
        if self._saved_epoch == self.epoch or not (last or self._saving_seconds <= SAVING_SHARE * spent):
            return
        began = time.perf_counter()
        facts = {"config": self.config.model_dump_json(), "identity": self.identity, "rows": self.rows}
        yield Saved(self.folder.write_last({**facts, **state()}))
        self._saving_seconds += time.perf_counter() - began
        self._saved_epoch = self.epoch

    def save_rows(self) -> Iterator[Saved]:
        """Write ``metrics.csv`` alone."""
        if self.folder is not None:
            yield Saved(self.folder.write_metrics(self.rows))

    def read(self) -> dict[str, Any]:
        """Read what ``last.pt`` holds, for `restore`.

        Raises
        ------
        InputError
            If there is none, or it is that of another run.
        """
        if self.folder is None:
            raise InputError("A run can only be resumed in its folder; name the folder.")
        state = self.folder.read_last()
        then, now = json.loads(state["config"]), self.config.model_dump(mode="json")
        changed = [k for k in now if k not in self.may_change and now[k] != then.get(k)]
        if changed:
            name = changed[0]
            raise InputError(
                f"The run in {self.folder.path} was made with {name} = {then.get(name)}, not {now[name]}; "
                "resume it with the same settings or choose another folder."
            )
        if state.get("identity") != self.identity:
            raise InputError(f"The run in {self.folder.path} was made of other images; give the same ones again.")
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the rows that `read` found."""
        self.rows = state["rows"]
        self._saved_epoch = self.epoch


# ---- Reading an earlier run, without torch ---------------------------------------------------------------


C = TypeVar("C", bound=BaseModel)


@dataclass(frozen=True)
class FoundRun(Generic[C]):
    """A run in a folder; each kind of run says which settings it has and which columns of its metrics are shown.

    Attributes
    ----------
    folder : Path
    rounds : sequence of (epoch, ...)
        How it went, from epoch 1, by `columns`; empty if ``metrics.csv`` is missing, damaged or of another kind.
    """

    folder: Path
    rounds: Sequence[tuple[Any, ...]] = ()

    model: ClassVar[Any]
    columns: ClassVar[Sequence[str]]

    @classmethod
    def find(cls, folder: Path | None) -> Self | None:
        """Return the run in a folder, or None if the folder is free; never raise."""
        try:
            if folder is None or not any((folder / name).exists() for name in FILES):
                return None
        except OSError:
            return None
        return cls(folder, _rounds(folder / METRICS, cls.columns))

    @property
    def epoch(self) -> int:
        """The newest epoch it finished."""
        return self.rounds[-1][0] if self.rounds else 0

    @property
    def can_go_on(self) -> bool:
        """Whether it left a state to go on from."""
        return (self.folder / LAST).exists()

    def config(self) -> C:
        """Read the settings it was made with.

        Raises
        ------
        InputError
            If ``run.yaml`` is missing, damaged or of another version.
        """
        config: C = read_config(self.folder, self.model)
        return config


def read_description(path: Path) -> dict[str, Any]:
    """Read a ``run.yaml``: what `RunFolder.write_description` wrote.

    Parameters
    ----------
    path : Path
        The file, or the folder of the run.

    Returns
    -------
    dict
        ``config``, a dict, and more; another program's file may lack the rest.

    Raises
    ------
    InputError
        If it is missing or damaged, or holds no settings of a run.
    """
    file = _description(path)
    facts = read_yaml(file, OTHER_RUN)
    if not isinstance(facts.get("config"), dict):
        raise InputError(f"{file} cannot be read: it holds no settings of a run; {OTHER_RUN}.")
    return facts


def read_config(path: Path, model: type[C]) -> C:
    """Read the settings in a ``run.yaml``, the file or the folder it is in.

    Raises
    ------
    InputError
        If it is missing, damaged, or of another version or kind of run.
    """
    facts = read_description(path)
    try:
        return model.model_validate(facts["config"])
    except ValidationError as error:
        why = explain(error, model, lambda name: name).removesuffix(".")
    raise InputError(f"{_description(path)} cannot be read: {why}; {OTHER_RUN}.")


def read_files(path: Path) -> tuple[list[tuple[Path, Path]], list[tuple[Path, Path]]]:
    """Read which image and label files a run was trained and validated on; none where it was made of layers.

    Raises
    ------
    InputError
        If ``run.yaml`` is missing or damaged.
    """
    facts = read_description(path)
    try:
        training, validation = (_COUPLES.validate_python(facts.get(key, [])) for key in ("training", "validation"))
    except ValidationError:
        why = "its lists of image and label files are damaged"
        raise InputError(f"{_description(path)} cannot be read: {why}; {OTHER_RUN}.") from None
    return training, validation


_COUPLES = TypeAdapter(list[tuple[Path, Path]])

OTHER_RUN = "name the folder of another run"


def _description(path: Path) -> Path:
    return path / DESCRIPTION if path.is_dir() else path


def _rounds(path: Path, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(int(r["epoch"]), *(float(r[name]) for name in columns)) for r in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []
    rows = rows[rows[0][0] == 0 :] if rows else []  # iGTT counts its start as epoch 0
    return rows if [row[0] for row in rows] == list(range(1, len(rows) + 1)) else []
