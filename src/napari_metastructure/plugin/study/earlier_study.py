"""What a folder holds of an earlier study, read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.earlier_run import read_config
from napari_metastructure.training.study import results as files
from napari_metastructure.training.study.config import StudyConfig


@dataclass(frozen=True)
class EarlierStudy:
    """A study in a folder: how many runs it finished."""

    folder: Path
    runs: int

    @classmethod
    def find(cls, folder: Path | None) -> EarlierStudy | None:
        """The study in a folder, or None; looks, and never raises."""
        try:
            found = files.read(folder) if folder is not None else []
        except (InputError, OSError):
            found = []
        return cls(folder, len(found)) if folder is not None and found else None

    def config(self) -> StudyConfig:
        """The settings it was made with.

        Raises
        ------
        InputError
            If ``run.yaml`` is missing, damaged or of another kind of run.
        """
        return read_config(self.folder, StudyConfig)
