"""Run folders: settings, metrics, model and the state to resume from."""

import csv
import errno
import os
import pickletools
import platform
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, ClassVar, Generic, Self, TypeVar
from warnings import warn

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel, TypeAdapter, ValidationError

from napari_metastructure import __version__
from napari_metastructure.errors import InputError, explain, listed
from napari_metastructure.images.files import fingerprint
from napari_metastructure.images.ranges import Chosen
from napari_metastructure.images.writing import cannot_write, make_folder, remove, replacing, sweep
from napari_metastructure.training.events import Saved, Warned
from napari_metastructure.training.yaml_file import read_yaml, write_yaml

FORMAT = "napari-metastructure-run/1"

DESCRIPTION, METRICS, MODEL, LAST = FILES = ("run.yaml", "metrics.csv", "model.safetensors", "last.pt")
"""The files of a run. Any of them says that a folder is taken: a new run would write over it."""

CHOSEN = "chosen"
"""Key of ``run.yaml`` under which stand the planes, frames and channel of the inputs that were taken, if not all."""

LOCK, OWNER = ".lock", ".lock.txt"
"""The file that the system locks for a run, and the run that has it, in words."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""Of file systems that have no locks: runs go there without."""

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
        self._lock: FileLock | None = None
        self._owner = ""
        self._described = False
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
        inputs: Sequence[Mapping[str, Any]],
        more: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write ``run.yaml``: settings, versions, device, inputs (their files as `described`) and ``more``."""
        facts = {
            "format": FORMAT,
            "config": config.model_dump(mode="json"),
            "device": device,
            "inputs": list(inputs) or [{"name": n} for n in names],
            "versions": {"napari-metastructure": __version__, "python": platform.python_version(), **_versions()},
            **(more or {}),
        }
        self.check_here()
        self._described = True
        return write_yaml(self.path / DESCRIPTION, facts)

    def free_if_unused(self) -> None:
        """Remove the description that a run has written and nothing else: nothing could go on from it."""
        if self._described and self._here() and not any((self.path / name).exists() for name in FILES[1:]):
            with suppress(OSError):
                (self.path / DESCRIPTION).unlink()

    def clear(self) -> None:
        """Remove the files of an earlier run, so that no file is of another run than the rest."""
        remove(self.path / name for name in FILES)

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write ``metrics.csv``, one row an epoch."""
        self.check_here()
        return write_rows(self.path / METRICS, rows)

    def write_last(self, state: dict[str, Any]) -> Path:
        """Write the state to resume from."""
        self.check_here()
        return write_state(self.last, state)

    def read_last(self) -> dict[str, Any]:
        """Read it back.

        Raises
        ------
        InputError
            Missing, damaged, or written by another program.
        """
        return read_state(self.last)

    # ---- one run at a time -------------------------------------------------------------------------------

    def lock(self) -> None:
        """Keep other runs out until `unlock`, or until this process ends, however it does; tidy up after killed ones.

        Raises
        ------
        InputError
            If another run is writing to the folder; it names its process.
        """
        lock = FileLock(self.path / LOCK, timeout=0, thread_local=False)
        owner = self.path / OWNER
        try:
            lock.acquire()
        except Timeout:
            with suppress(OSError, UnicodeDecodeError):
                said = owner.read_text(encoding="utf-8")[:120]
                who = f" ({said})" if said.isprintable() else ""
                raise InputError(
                    f"Another run is writing to {self.path}{who}; wait until it has ended, or choose another folder."
                ) from None
            raise InputError(f"Another run is writing to {self.path}; choose another folder.") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise cannot_write(self.path, error) from error
        else:
            self._lock = lock
        self._owner = f"process {os.getpid()} on {platform.node()}, since {datetime.now():%Y-%m-%d %H:%M:%S}"
        with replacing(owner) as beside:
            beside.write_text(self._owner, encoding="utf-8")
        sweep(self.path)

    def unlock(self) -> None:
        """Let other runs in."""
        if self._owner and self._here():
            for name in (OWNER, LOCK):  # while it is ours: a lock that is no longer in its folder has no effect
                with suppress(OSError):
                    (self.path / name).unlink()
        self._owner = ""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _here(self) -> bool:
        """Whether the folder is still the one that was locked: it may have been moved, and another be in its place."""
        try:
            return (self.path / OWNER).read_text(encoding="utf-8") == self._owner
        except (OSError, UnicodeDecodeError):
            return False

    def check_here(self) -> None:
        """Refuse to write into another folder that has taken the place of the one that was locked."""
        if self._owner and not self._here():
            raise InputError(
                f"Cannot write to {self.path}: the folder was moved, replaced or removed while the run went on; choose "
                "another folder."
            )


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


def described(file: Path) -> dict[str, Any]:
    """Describe an input file so that it can be recognised: its name, place, size and SHA-256.

    Raises
    ------
    InputError
        If it is no longer there.
    """
    try:
        return {"name": Path(file).name, **fingerprint(file)}
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); a run needs its images until it ends.") from error


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


# ---- Reading an earlier run, without torch ---------------------------------------------------------------


C = TypeVar("C", bound=BaseModel)


@dataclass(frozen=True)
class FoundRun(Generic[C]):
    """A run in a folder; each kind of run says which settings it has and which columns of its metrics are shown.

    Attributes
    ----------
    folder : Path
    rounds : sequence of (epoch, ...)
        How it went, from epoch 1 or where it counted on, by `columns`; empty if ``metrics.csv`` is missing, damaged or
        of another kind.
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

    def chosen(self) -> Chosen:
        """Read which planes, frames and channel of the inputs it was made of; all where that cannot be read."""
        with suppress(InputError):
            return Chosen.of(read_description(self.folder).get(CHOSEN))
        return Chosen()

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

    A warning names those that have changed since.

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
    if changed := changed_since(facts):
        since = f"changed since the run that {_description(path)} describes"
        warn(f"{listed(changed)} {since}; this one will not give the same.", stacklevel=2)
    return training, validation


def changed_since(description: Mapping[str, Any]) -> list[str]:
    """Name the inputs whose bytes are not those that the description of their run has noted."""
    found, inputs = [], description.get("inputs")
    for noted in inputs if isinstance(inputs, list) else []:
        with suppress(OSError, KeyError, TypeError):  # `file_pairs` says what is missing
            if noted["sha256"] != fingerprint(noted["path"])["sha256"]:
                found.append(Path(noted["path"]).name)
    return found


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
    if not rows or [row[0] - rows[0][0] for row in rows] != list(range(len(rows))):
        return []
    return [row for row in rows if row[0] > 0]  # iGTT counts its start as epoch 0, or on from another run


# ---- The state to resume from: last.pt, read only if it is whole and without code

STATE_FORMAT = "napari-metastructure-state/2"

_NAMES = {
    *("collections OrderedDict", "torch._utils _rebuild_tensor_v2"),
    *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char")),
    *("torch ByteStorage", "torch BoolStorage"),
}
"""All that a state of ours is made of; torch itself would take more, bytearrays of any size among it."""


def write_state(path: Path, state: dict[str, Any]) -> Path:
    """Write a state of tensors, texts and numbers, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    import torch

    with replacing(path) as beside, beside.open("wb") as file:
        out: Any = _Writer(file)
        try:
            torch.save({"format": STATE_FORMAT, **state}, out)
        except Exception:
            if out.error is not None:
                raise out.error from None
            raise
    return path


class _Writer:
    """A file that remembers why it could not be written to: torch hides a full disk in an error of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def read_state(path: Path) -> dict[str, Any]:
    """Read it back into main memory, whatever device it is of, if its checksums are right.

    Raises
    ------
    InputError
        Missing, damaged, or written by another program or version.
    """
    import torch

    if not path.is_file():
        raise InputError(f"There is nothing to resume in {path.parent}: it holds no {path.name}; start a new run.")
    try:
        _check_state(path)
        large = path.stat().st_size > psutil.virtual_memory().available / 2
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=large)
    except Exception as error:  # torch and zipfile raise many kinds for a broken file
        raise damaged(path) from error
    if not isinstance(state, dict) or not str(state.get("format")).startswith("napari-metastructure-"):
        raise damaged(path)
    if state["format"] != STATE_FORMAT:
        raise InputError(f"{path} is of another version of this program; start a new run in another folder.")
    return state


def damaged(path: Path) -> InputError:
    """Make the sentence for a file that cannot be gone on from."""
    return InputError(f"{path} is damaged or of another program; start a new run in another folder.")


def _check_state(path: Path) -> None:
    """Compare the checksums of all parts, which torch does not, and see that they ask for no more than they hold."""
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
        stored = all(part.compress_type == zipfile.ZIP_STORED and not part.flag_bits & 1 for part in parts)
        if not stored or sum(part.file_size for part in parts) > path.stat().st_size or file.testzip() is not None:
            raise ValueError
        pickles = [part for part in parts if part.filename.endswith("/data.pkl")]
        for code, argument, _ in pickletools.genops(file.read(pickles[0])):
            if (code.name in ("GLOBAL", "INST") and argument not in _NAMES) or code.name == "STACK_GLOBAL":
                raise ValueError(argument)
