"""``metastructure study``: what networks learn from many kinds of noisy labels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_metastructure.cli._options import option, parse, read_dial, validated
from napari_metastructure.cli._progress import running, table
from napari_metastructure.cli.train import Channel, Data, find_sets
from napari_metastructure.errors import InputError
from napari_metastructure.labels.recipes import make_recipe
from napari_metastructure.networks import ENCODERS
from napari_metastructure.training.config import PRESETS, TrainConfig
from napari_metastructure.training.run_folder import read_config
from napari_metastructure.training.study_results import (
    CONDITIONS,
    STUDIES,
    Condition,
    ConditionFinished,
    ConditionStarted,
    RunResult,
    StudyConfig,
    StudyFinished,
)
from napari_metastructure.training.study_results import table as study_table

if TYPE_CHECKING:
    from rich.table import Table

    from napari_metastructure.training.folders import Splits

_TYPED = ("preset", "epochs", "seed", "device", "reading")
_option = partial(option, TrainConfig, PRESETS)


def study(
    data: Data = None,
    out: Annotated[Path, typer.Option(help="The study's folder; made if it is not there.", show_default=False)] = ...,  # type: ignore[assignment]
    figure: Annotated[
        str,
        typer.Option(
            help='The conditions: those of "figure 1", "figure 2" or "figure 5" of the paper, or all of them.',
            metavar="NAME",
        ),
    ] = "figure 1",
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            metavar="NAME[:KIND:DIAL=VALUE,...]",
            help="In place of --figure, may be repeated: a condition by its name (CL, 'RCL flipping 0.45', ...), or a "
            "free one: 'thick:dilate:n=3'.",
            show_default=False,
        ),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(ENCODERS)}; may be repeated. [default: light-unet]",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(help="Runs of each condition. [default: 3]", show_default=False)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Settings of each training: default or paper.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of each training. [default: 20]", show_default=False)
    ] = None,
    seed: Annotated[int | None, _option("seed", metavar="N")] = None,
    device: Annotated[str | None, _option("device", metavar="D")] = None,
    reading: Annotated[str | None, _option("reading")] = None,
    channel: Channel = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of a training; may be repeated."),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="RUN.YAML", help="Repeat an earlier study with its settings.", show_default=False
        ),
    ] = None,
) -> None:
    """Train networks on clean and noisy labels and test them on clean ones.

    Kinds of noise are compared on the same images, with several seeds each; the test images (the test split of the
    set, or a quarter of its images) keep their labels. Writes curves.csv, table.csv, study.png and study.svg, and
    prints the table with what the noise transition matrix predicts. A study in --out goes on where it was.
    """
    earlier = read_config(config_file, StudyConfig) if config_file else None
    typed = dict(zip(_TYPED, (preset, epochs, seed, device, reading), strict=True))
    training = {k: v for k, v in typed.items() if v is not None} | parse(settings or [], typed)
    config = _config(earlier, figure, condition, network, repeats, training)
    sets = find_sets(data, None, channel, None)
    _run(sets, config, out)


def _config(
    earlier: StudyConfig | None,
    figure: str,
    conditions: list[str] | None,
    networks: list[str] | None,
    repeats: int | None,
    training: dict[str, Any],
) -> StudyConfig:
    """Build the settings, each level over the one before: defaults, an earlier study, what was typed."""
    if figure not in STUDIES:
        raise InputError(f"--figure {figure!r} is none of {', '.join(STUDIES)}; choose one of these.")
    own = earlier or StudyConfig.preset(figure)
    build = TrainConfig.from_preset if "preset" in training else (lambda **o: TrainConfig(**{**dict(own.train), **o}))
    options: dict[str, Any] = {"train": validated(TrainConfig, build, training, _TYPED)}
    options |= {k: v for k, v in (("networks", networks or None), ("repeats", repeats)) if v is not None}
    if conditions:
        options["conditions"] = tuple(condition_of(text) for text in conditions)
    return validated(StudyConfig, lambda **o: StudyConfig(**{**dict(own), **o}), options, ("networks", "repeats"))


def condition_of(text: str) -> Condition:
    """Read a condition: its name, or a free one as ``NAME:KIND:DIAL=VALUE,DIAL=VALUE``.

    Raises
    ------
    InputError
    """
    if text in CONDITIONS:
        return CONDITIONS[text]
    name, _, rest = text.partition(":")
    kind, _, dials = rest.partition(":")
    if not kind:
        raise InputError(
            f"--condition {text!r} is none of {', '.join(CONDITIONS)}; choose one, or write NAME:KIND:DIAL=VALUE, "
            "for example thick:dilate:n=3."
        )
    values = [(dial.strip(), value) for dial, _, value in (part.partition("=") for part in dials.split(",") if part)]
    if twice := [dial for dial, _ in values if [d for d, _ in values].count(dial) > 1]:
        raise InputError(f"--condition {text!r} sets {twice[0]} twice; set it once.")
    return Condition(name=name, recipe=make_recipe(kind, **{dial: read_dial(dial, value) for dial, value in values}))


def _run(sets: Splits, config: StudyConfig, out: Path) -> None:
    """Run the trainings, show progress, and print the tables."""
    from napari_metastructure.training.study import study as job

    last = None
    with running() as terminal:
        events = job(sets.train, config, terminal.control, test=sets.test or sets.validation or None, folder=out)
        for event in terminal.follow(events):
            match event:
                case ConditionStarted():
                    run = f"run {event.number}/{event.runs}: {event.condition}, {event.network}, seed {event.seed}"
                    terminal.say(run, style="bold")
                case ConditionFinished():
                    terminal.say(f"test {event.result.final:.4f}")
                case StudyFinished():
                    last = event
        if last is None:
            raise RuntimeError("the study ended without a result")
        if last.results:
            terminal.console.print(*_tables(last.results))
        terminal.say(f"{last.reason} Tables and figure are in {terminal.place or out}.")
    terminal.end(last.stopped)


def _tables(results: tuple[RunResult, ...]) -> Iterator[Table]:
    """Make a table of ``table.csv`` for each network: scores of the last epoch and, with hindsight, of the best."""
    lines = study_table(results)
    score = "Dice" if results[0].classes == 2 else "mIoU"
    for network in dict.fromkeys(line["network"] for line in lines):
        rows = [
            [
                line["condition"],
                *(f"{line[key]:.3f}" for key in ("test_mean", "test_std", "test_best", "loss_mean")),
                f"{line['rank']} of {line['classes']}",
                f"{line['left']:.2f}",
                str(line["repeats"]),
            ]
            for line in lines
            if line["network"] == network
        ]
        yield table(
            ["condition", score, "std", "best", "loss", "rank", "retained", "runs"],
            rows,
            title=network,
            whole_names=True,
        )
