"""What a run folder holds from an earlier run, read without torch: the settings it was made with, how far it came."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ValidationError

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig

C = TypeVar("C", bound=BaseModel)

FILES = ("last.pt", "run.yaml", "model.safetensors", "metrics.csv")
"""Any of these says that a folder is taken: a new run would write over it."""


@dataclass(frozen=True)
class FoundRun(Generic[C]):
    """A run in a folder; each kind of run says which settings it has and how its epochs are told.

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
        """The run in a folder, or None if the folder is free; looks, and never raises."""
        try:
            if folder is None or not any((folder / name).exists() for name in FILES):
                return None
        except OSError:
            return None
        return cls(folder, _rounds(folder / "metrics.csv", cls.columns))

    @property
    def epoch(self) -> int:
        """The newest epoch it finished."""
        return self.rounds[-1][0] if self.rounds else 0

    @property
    def can_go_on(self) -> bool:
        """Whether it left a state to go on from."""
        return (self.folder / "last.pt").exists()

    def config(self) -> C:
        """The settings it was made with.

        Raises
        ------
        InputError
            If ``run.yaml`` is missing, damaged or of another version.
        """
        config: C = read_config(self.folder, self.model)
        return config


def read_config(folder: Path, model: type[C]) -> C:
    """The settings in a folder's ``run.yaml``.

    Raises
    ------
    InputError
        If it is missing, damaged, or of another version or kind of run.
    """
    import yaml

    path = folder / "run.yaml"
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
        return model(**facts["config"])
    except OSError as error:
        why = error.strerror or type(error).__name__
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        why = f"it is damaged or of another program ({type(error).__name__})"
    raise InputError(f"The settings of the run cannot be read from {path}: {why}; choose another folder.") from None


class EarlierRun(FoundRun[IGTTConfig]):
    """A run of iGTT."""

    model = IGTTConfig
    columns = ("loss", "agreement")


def beside(folder: Path) -> Path:
    """The folder itself if no run is in it, else the first name that is free: run-2, run-3, ..."""
    if EarlierRun.find(folder) is None:
        return folder
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _rounds(path: Path, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(int(r["epoch"]), *(float(r[name]) for name in columns)) for r in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [row for row in rows if row[0] > 0]
