"""The numbers of a noise study: a curve per run, a line per condition."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.atomic import replacing

CURVES, TABLE = "curves.csv", "table.csv"


@dataclass(frozen=True, slots=True)
class RunResult:
    """One training of a study.

    Attributes
    ----------
    network, condition, family : str
    seed : int
    rank, classes : int
        Of the noise transition matrix, see `predicted.Predicted`.
    left : float
        Share of the meta-structure left.
    loss, test : tuple of float
        Mean training loss, and Dice (mIoU for more than two classes) on the test images, after each epoch.
    """

    network: str
    condition: str
    family: str
    seed: int
    rank: int
    classes: int
    left: float
    loss: tuple[float, ...]
    test: tuple[float, ...]

    @property
    def final(self) -> float:
        """Test score after the last epoch: the best epoch cannot be known without clean labels."""
        return self.test[-1]


def table(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """A line per network and condition, in the order they first came: mean and spread over the repeats.

    Returns
    -------
    list of dict
        ``network, condition, family, repeats, test_mean, test_std`` (sample standard deviation, nan for one repeat),
        ``test_best`` (mean of the best epoch of each run, with hindsight), ``loss_mean, rank, classes, left``.
    """
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        groups.setdefault((result.network, result.condition), []).append(result)
    lines = []
    for (network, condition), runs in groups.items():
        finals = [run.final for run in runs]
        lines.append(
            {
                "network": network,
                "condition": condition,
                "family": runs[0].family,
                "repeats": len(runs),
                "test_mean": float(np.mean(finals)),
                "test_std": float(np.std(finals, ddof=1)) if len(runs) > 1 else math.nan,
                "test_best": float(np.mean([max(run.test) for run in runs])),
                "loss_mean": float(np.mean([run.loss[-1] for run in runs])),
                "rank": runs[0].rank,
                "classes": runs[0].classes,
                "left": float(np.mean([run.left for run in runs])),
            }
        )
    return lines


def write(folder: Path, results: Sequence[RunResult]) -> list[Path]:
    """Write ``curves.csv``, a line per run and epoch, and ``table.csv``.

    Raises
    ------
    InputError
        If the folder cannot be written to; what was there before stays.
    """
    rows = [
        {
            **{k: v for k, v in asdict(r).items() if k not in ("loss", "test")},
            "epoch": e + 1,
            "loss": loss,
            "test": test,
        }
        for r in results
        for e, (loss, test) in enumerate(zip(r.loss, r.test, strict=True))
    ]
    return [_write(folder / CURVES, rows), _write(folder / TABLE, table(results))]


def read(folder: Path) -> list[RunResult]:
    """The runs of ``curves.csv``, none if it is not there.

    Raises
    ------
    InputError
        If it is damaged.
    """
    path = folder / CURVES
    if not path.exists():
        return []
    runs: dict[tuple[str, str, int], dict[str, Any]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                seed = int(row["seed"])
                facts = {
                    "family": row["family"],
                    **{name: int(row[name]) for name in ("rank", "classes")},
                    "left": float(row["left"]),
                }
                run = runs.setdefault((row["network"], row["condition"], seed), {**facts, "loss": [], "test": []})
                run["loss"].append(float(row["loss"]))
                run["test"].append(float(row["test"]))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); choose another folder.") from error
    return [
        RunResult(network, condition, seed=seed, **{**run, "loss": tuple(run["loss"]), "test": tuple(run["test"])})
        for (network, condition, seed), run in runs.items()
    ]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path
