"""The folder of a run: what was asked for, how it went, and all that is needed to go on."""

from __future__ import annotations

import csv
import hashlib
import io
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import BaseModel

from napari_metastructure import __version__
from napari_metastructure.errors import InputError
from napari_metastructure.images.atomic import cannot_write, replacing
from napari_metastructure.training.events import Saved, Warned

FORMAT = "napari-metastructure-run/1"


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
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    @property
    def model(self) -> Path:
        """Where the trained network is saved."""
        return self.path / "model.safetensors"

    @property
    def last(self) -> Path:
        """Where the state to resume from is saved."""
        return self.path / "last.pt"

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
            "inputs": [{"name": n} for n in names] if not files else [_described(f) for f in files],
            "versions": {"napari-metastructure": __version__, "python": platform.python_version(), **_versions()},
            **(more or {}),
        }
        path = self.path / "run.yaml"
        with replacing(path) as beside:
            beside.write_text(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path

    def write_metrics(self, rows: Sequence[dict[str, Any]]) -> Path:
        """Write ``metrics.csv``, one row an epoch."""
        path = self.path / "metrics.csv"
        with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        return path

    def write_last(self, state: dict[str, Any]) -> Path:
        """Write the state to resume from."""
        whole = io.BytesIO()
        torch.save({"format": FORMAT, **state}, whole)
        with replacing(self.last) as beside:  # torch's own file writer hides a full disk in a RuntimeError
            beside.write_bytes(whole.getbuffer())
        return self.last

    def read_last(self, device: torch.device) -> dict[str, Any]:
        """Read it back; runs no code from the file.

        Raises
        ------
        InputError
            Missing, truncated, or written by another program.
        """
        if not self.last.exists():
            raise InputError(f"There is nothing to resume in {self.path}: it holds no last.pt; start a new run.")
        try:
            state = torch.load(self.last, map_location=device, weights_only=True)
        except Exception as error:  # torch raises many kinds for a broken file
            raise InputError(
                f"{self.last} cannot be read ({type(error).__name__}); it is damaged or of another program: "
                "start a new run in another folder."
            ) from error
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise InputError(f"{self.last} is of another program; start a new run in another folder.")
        return state


def warned(writing: Iterable[Saved], consequence: str) -> Iterator[Saved | Warned]:
    """Write; what cannot be written is told, with what follows from it, and the run goes on."""
    try:
        yield from writing
    except InputError as error:
        yield Warned(f"{error} {consequence}")


def _described(path: Path) -> dict[str, Any]:
    path = Path(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": digest}


def _versions() -> dict[str, str]:
    found = {}
    for name in ("torch", "segmentation-models-pytorch", "numpy", "scipy", "scikit-image"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
