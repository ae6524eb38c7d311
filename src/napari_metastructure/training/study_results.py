"""Noise studies: what they compare, what theory predicts, their results on disk, and their events."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_metastructure.errors import InputError
from napari_metastructure.images.writing import save_figure
from napari_metastructure.labels.density import LEAST
from napari_metastructure.labels.recipes import Dilate, Erode, Flip, Random, Recipe, Sample, Skeleton, apply
from napari_metastructure.labels.structure import structure_retained
from napari_metastructure.labels.transition import count_pairs, from_counts
from napari_metastructure.labels.verdict import verdict
from napari_metastructure.networks import Architecture
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.run_folder import FoundRun, write_rows


class Condition(BaseModel):
    """One kind of training label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="What curves, tables and layers call it.")
    recipe: Recipe | None = Field(None, description="The noise; none for the clean labels (CL).")

    @property
    def family(self) -> str:
        """CL, RCL, PCL or RL."""
        return self.recipe.family if self.recipe else "CL"

    def labels(self, clean: np.ndarray, seed: int, classes: Sequence[int], number: int) -> np.ndarray:
        """Return the labels to train on: of training image ``number``, drawn as that plane of a stack would be."""
        return clean if self.recipe is None else apply(self.recipe, clean, seed, classes, first=number)


_ALL = (
    Condition(name="CL"),
    *(Condition(name=f"RCL sampling {p:g}", recipe=Sample(keep=p)) for p in (0.5, 0.3, 0.1)),
    *(Condition(name=f"RCL flipping {p:g}", recipe=Flip(fraction=p)) for p in (0.2, 0.45, 0.49)),
    Condition(name="PCL dilation", recipe=Dilate(n=2)),
    Condition(name="PCL erosion", recipe=Erode(n=2)),
    Condition(name="PCL skeleton", recipe=Skeleton()),
    *(Condition(name=f"RL {p:g}", recipe=Random(probability=p)) for p in (0.1, 0.3, 0.5)),
)

CONDITIONS: dict[str, Condition] = {condition.name: condition for condition in _ALL}
"""Those of the paper, by name. It does not say how far its labels were dilated and eroded; twice is ours."""

STUDIES: dict[str, tuple[str, ...]] = {
    "all": tuple(CONDITIONS),
    "figure 1": ("CL", "RCL flipping 0.45", "PCL skeleton", "RL 0.5"),
    "figure 2": ("CL", *(name for name in CONDITIONS if name.startswith("RCL"))),
    "figure 5": (
        *("CL", "RCL flipping 0.49", "PCL dilation", "PCL erosion", "PCL skeleton"),
        *("RL 0.1", "RL 0.3", "RL 0.5"),
    ),
}
"""The paper's figures, by their conditions."""


class StudyConfig(BaseModel):
    """Settings of `study.study`; `StudyConfig.preset` fills the conditions by a figure's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conditions: tuple[Condition, ...] = Field(
        tuple(CONDITIONS[name] for name in STUDIES["figure 1"]), min_length=1, description="The kinds of labels."
    )
    networks: tuple[Architecture, ...] = Field(
        ("light-unet",), min_length=1, description="The networks, each by itself."
    )
    repeats: int = Field(3, ge=1, le=100, description="Runs of each kind, with other noise and other first weights.")
    test_fraction: float = Field(
        0.25, gt=0, lt=1, description="Share of the images kept for testing where none are given for it; clean labels."
    )
    bandwidth: float = Field(
        4.0,
        ge=LEAST,
        description="Radius in pixels of the kernel that measures how much of the meta-structure is retained.",
    )
    train: TrainConfig = Field(
        TrainConfig(epochs=20, patience=0),
        description="Training of each run; its network, seed and validation are set by the study.",
    )

    @field_validator("conditions")
    @classmethod
    def _told_apart(cls, value: tuple[Condition, ...]) -> tuple[Condition, ...]:
        names = [condition.name for condition in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two conditions are called {twice[0]!r}; give each a name of its own")
        if not all(name.strip() for name in names):
            raise ValueError("a condition has no name; give it one")
        if any(c.recipe is not None and c.name.strip().casefold() == "cl" for c in value):
            raise ValueError("a condition with noise is called CL, which stands for clean labels; rename it")
        return value

    @field_validator("networks")
    @classmethod
    def _once(cls, value: tuple[Architecture, ...]) -> tuple[Architecture, ...]:
        if twice := [name for name in value if value.count(name) > 1]:
            raise ValueError(f"{twice[0]} is named twice; name each network once")
        return value

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """Return the conditions of a figure of the paper (`STUDIES`), with other settings replaced."""
        return cls(**{"conditions": tuple(CONDITIONS[condition] for condition in STUDIES[name]), **overrides})

    def runs(self) -> list[tuple[str, Condition, int]]:
        """List network, condition and seed of every run: all conditions of a repeat before the next repeat."""
        first = self.train.seed
        return [
            (network, condition, first + repeat)
            for network in self.networks
            for repeat in range(self.repeats)
            for condition in self.conditions
        ]


# ---- Predictions, before anything is trained ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Predicted:
    """Lemma 2 and Theorems 1 and 2 on one condition.

    Attributes
    ----------
    rank, classes : int
        Rank of the noise transition matrix, in closed form (RCL, RL) or estimated from all labels (PCL), and how
        many classes there are.
    retained : float
        Share of the meta-structure retained, mean over the images, 0 to 1 (`labels.structure.structure_retained`).
    sentence : str
        The verdict in words.
    """

    rank: int
    classes: int
    retained: float
    sentence: str


def predict(
    recipe: Recipe | None,
    clean: Sequence[np.ndarray],
    noisy: Sequence[np.ndarray],
    classes: Sequence[int],
    bandwidth: float,
) -> Predicted:
    """Compare noisy labels with the clean ones they were made of.

    Parameters
    ----------
    recipe : Recipe or None
    clean, noisy : sequence of (Y, X) integer arrays
    classes : sequence of int
    bandwidth : float
        Of the box kernel, in pixels.
    """
    matrix = recipe.transition(classes) if recipe is not None else None
    if matrix is None:
        counts = sum(count_pairs(y, noise, classes) for y, noise in zip(clean, noisy, strict=True))
        matrix = from_counts(classes, np.asarray(counts))
    retained = [
        structure_retained(y, noise, bandwidth=bandwidth) for y, noise in zip(clean, noisy, strict=True) if _two(y)
    ]
    return Predicted(
        matrix.rank, len(classes), float(np.mean(retained)) if retained else float("nan"), verdict(matrix).sentence
    )


def _two(labels: np.ndarray) -> bool:
    """Whether an image holds two classes at least: else there is no structure to compare."""
    return len(np.setdiff1d(np.unique(labels), [255])) > 1


# ---- Results: a curve per run, a line per condition ---------------------------------------------------------


CURVES, TABLE = "curves.csv", "table.csv"


@dataclass(frozen=True, slots=True)
class RunResult:
    """One training of a study.

    Attributes
    ----------
    network, condition, family : str
    seed : int
    rank, classes : int
        Of the noise transition matrix, see `Predicted`.
    left : float
        Share of the meta-structure retained; its column keeps this name, so that older studies can be read.
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
    """Make a line per network and condition, in the order they first came: mean and spread over the repeats.

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
    return [write_rows(folder / CURVES, rows), write_rows(folder / TABLE, table(results))]


def read(folder: Path) -> list[RunResult]:
    """Read the runs of ``curves.csv``, none if it is not there.

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
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(getattr(error, "strerror", None) or "damaged")
        raise InputError(f"{path} cannot be read ({why}); choose another folder.") from error
    return [
        RunResult(network, condition, seed=seed, **{**run, "loss": tuple(run["loss"]), "test": tuple(run["test"])})
        for (network, condition, seed), run in runs.items()
    ]


@dataclass(frozen=True)
class FoundStudy(FoundRun[StudyConfig]):
    """A study in a folder, of which a run is done."""

    runs: int = 0

    model = StudyConfig
    columns = ()

    @classmethod
    def find(cls, folder: Path | None) -> Self | None:
        """Return the study in a folder, or None; never raise."""
        try:
            found = read(folder) if folder is not None else []
        except (InputError, OSError):
            found = []
        return cls(folder, runs=len(found)) if folder is not None and found else None


# ---- Events, besides those of the trainings a study is made of ---------------------------------------------


@dataclass(frozen=True, slots=True)
class StudyStarted:
    """Everything is validated; ``done`` are the runs that an earlier study in this folder had finished."""

    runs: int
    training: int
    test: int
    classes: tuple[int, ...]
    done: tuple[RunResult, ...] = ()


@dataclass(frozen=True, slots=True)
class ConditionStarted:
    """A training begins; its own events follow.

    Attributes
    ----------
    number, runs : int
        Which run, from 1, of how many.
    network, condition : str
    seed : int
    predicted : Predicted
        What theory says of these labels.
    labels : tuple of (Y, X) arrays
        The noisy labels it is trained on, one per training image.
    names : tuple of str
        The names of these images.
    """

    number: int
    runs: int
    network: str
    condition: str
    seed: int
    predicted: Predicted
    labels: tuple[np.ndarray, ...] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConditionFinished:
    """A training is done and its result written."""

    result: RunResult


@dataclass(frozen=True, slots=True)
class StudyFinished:
    """The last event of a study that did not raise."""

    stopped: bool
    reason: str
    results: tuple[RunResult, ...]


StudyEvent = StudyStarted | ConditionStarted | ConditionFinished | StudyFinished


# ---- The figure, after the paper's Figures 1, 2 and 5: test score and training loss by epoch

LINES = {"CL": "-", "RCL": "-", "PCL": "--", "RL": ":"}

MAPS = {"CL": "Greys", "RCL": "Blues", "PCL": "Oranges", "RL": "Greens"}
"""A family has its colour, so that curves can be told apart at a glance."""


FIGURES = ("study.png", "study.svg")


def write_figure(folder: Path, results: Sequence[RunResult]) -> list[Path]:
    """Write ``study.png`` and ``study.svg``.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    drawn = draw(results)
    return [save_figure(folder / name, drawn) for name in FIGURES]


def draw(results: Sequence[RunResult]) -> Any:
    """Draw the results: per network a row of test score and training loss by epoch, and the last scores.

    Lines are means over the repeats, shades one standard deviation; beside each condition stands the rank of its
    noise transition matrix and how much of the meta-structure is retained.
    """
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    networks = list(dict.fromkeys(r.network for r in results))
    figure = Figure(figsize=(13, 4.2 * len(networks)), layout="constrained")
    rows = figure.subplots(len(networks), 3, squeeze=False, width_ratios=(4, 4, 5))
    colors = condition_colors(results)
    score = "Dice" if results[0].classes == 2 else "mIoU"
    for (left, middle, right), network in zip(rows, networks, strict=True):
        own = [r for r in results if r.network == network]
        for condition in dict.fromkeys(r.condition for r in own):
            runs = [r for r in own if r.condition == condition]
            for axes, curves in ((left, [r.test for r in runs]), (middle, [r.loss for r in runs])):
                _curve(axes, curves, colors[condition], LINES[runs[0].family])
        left.set(title=f"{network}: test {score}", xlabel="epoch", ylim=(0, 1))
        middle.set(title="training loss", xlabel="epoch", ylim=(0, None))
        _bars(right, table(own), colors, score)
    return figure


def condition_colors(results: Sequence[RunResult]) -> dict[str, Any]:
    """Return a colour for each condition, shades of its family's."""
    from matplotlib import colormaps

    families: dict[str, list[str]] = {}
    for result in results:
        names = families.setdefault(result.family, [])
        if result.condition not in names:
            names.append(result.condition)
    return {
        name: "black" if family == "CL" else colormaps[MAPS[family]](0.45 + 0.5 * (i + 1) / len(names))
        for family, names in families.items()
        for i, name in enumerate(names)
    }


def _curve(axes: Any, curves: Sequence[Sequence[float]], color: Any, line: str) -> None:
    """Mean and spread of runs, as far as all of them go."""
    epochs = min(len(curve) for curve in curves)
    values = np.array([curve[:epochs] for curve in curves])
    x, mean = np.arange(1, epochs + 1), values.mean(0)
    axes.plot(x, mean, color=color, linestyle=line, linewidth=1.6)
    if len(values) > 1:
        spread = values.std(0, ddof=1)
        axes.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.15, linewidth=0)


def _bars(axes: Any, lines: Sequence[dict[str, Any]], colors: dict[str, Any], score: str) -> None:
    """Return the last scores, with what the noise transition matrix and the density say of the labels."""
    places = np.arange(len(lines))
    axes.barh(
        places,
        [line["test_mean"] for line in lines],
        xerr=np.nan_to_num([line["test_std"] for line in lines]),
        color=[colors[line["condition"]] for line in lines],
        height=0.7,
    )
    names = [
        f"{line['condition']}\nrank {line['rank']} of {line['classes']}, {line['left']:.0%} retained" for line in lines
    ]
    axes.set_yticks(places, names, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), title=f"last test {score}")
