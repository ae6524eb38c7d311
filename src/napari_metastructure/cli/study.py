"""``metastructure study``: what networks learn from many kinds of noisy labels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_metastructure.cli._options import earlier_run, option, parse
from napari_metastructure.cli.train import Channel, Data, find_sets
from napari_metastructure.errors import InputError
from napari_metastructure.training.config import PRESETS, TrainConfig

if TYPE_CHECKING:
    from rich.table import Table

    from napari_metastructure.training.folders import Splits
    from napari_metastructure.training.study_results import Condition, RunResult, StudyConfig

_TYPED = ("preset", "epochs", "seed", "device", "classes")
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
            help="light-unet, unet, deeplabv3plus or hrnet; may be repeated. [default: light-unet]", show_default=False
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
    earlier = earlier_run(config_file)["config"] if config_file else None
    typed = dict(zip(_TYPED, (preset, epochs, seed, device, None), strict=True))
    training = {k: v for k, v in typed.items() if v is not None} | parse(settings or [], typed)
    config = _config(earlier, figure, condition, network, repeats, training)
    sets = find_sets(data, None, channel, None)
    _run(sets, config, out)


def _config(
    earlier: dict[str, Any] | None,
    figure: str,
    conditions: list[str] | None,
    networks: list[str] | None,
    repeats: int | None,
    training: dict[str, Any],
) -> StudyConfig:
    """The settings, each level over the one before: defaults, an earlier study, what was typed."""
    from napari_metastructure.cli._options import validated
    from napari_metastructure.training.study_results import STUDIES, StudyConfig

    if figure not in STUDIES:
        raise InputError(f"--figure {figure!r} is none of {', '.join(STUDIES)}; choose one of these.")
    own = StudyConfig(**earlier) if earlier else StudyConfig.preset(figure)
    build = TrainConfig.from_preset if "preset" in training else (lambda **o: TrainConfig(**{**dict(own.train), **o}))
    options: dict[str, Any] = {"train": validated(TrainConfig, build, training, _TYPED)}
    options |= {k: v for k, v in (("networks", networks or None), ("repeats", repeats)) if v is not None}
    if conditions:
        options["conditions"] = tuple(condition_of(text) for text in conditions)
    return validated(StudyConfig, lambda **o: StudyConfig(**{**dict(own), **o}), options, ("networks", "repeats"))


def condition_of(text: str) -> Condition:
    """A condition by its name, or a free one: ``NAME:KIND:DIAL=VALUE,DIAL=VALUE``.

    Raises
    ------
    InputError
    """
    from napari_metastructure.cli._options import read_dial
    from napari_metastructure.labels.recipes import make_recipe
    from napari_metastructure.training.study_results import CONDITIONS, Condition

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
    return Condition(name=name, recipe=make_recipe(kind, **{dial: read_dial(dial, value) for dial, value in values}))


def _run(sets: Splits, config: StudyConfig, out: Path) -> None:
    from rich.console import Console

    from napari_metastructure.cli._progress import INTERRUPTED, followed, stopping_on_interrupt
    from napari_metastructure.training.control import Control
    from napari_metastructure.training.study import study as job
    from napari_metastructure.training.study_results import ConditionFinished, ConditionStarted, StudyFinished

    console, errors, control = Console(highlight=False), Console(stderr=True, highlight=False), Control()
    last = None
    with stopping_on_interrupt(control):
        events = job(sets.train, config, control, test=sets.test or sets.validation or None, folder=out)
        for event in followed(events, console, errors):
            match event:
                case ConditionStarted():
                    title = f"run {event.number}/{event.runs}: {event.condition}, {event.network}, seed {event.seed}"
                    console.print(title, style="bold", soft_wrap=True, markup=False)
                case ConditionFinished():
                    console.print(f"test {event.result.final:.4f}", soft_wrap=True)
                case StudyFinished():
                    last = event
        if last is None:
            raise RuntimeError("the study ended without a result")
        if last.results:
            console.print(*_tables(last.results))
        console.print(last.reason, f"Tables and figure are in {out}.", soft_wrap=True, markup=False)
    if last.stopped:
        raise typer.Exit(INTERRUPTED)


def _tables(results: tuple[RunResult, ...]) -> Iterator[Table]:
    """The lines of ``table.csv`` by network: scores of the last epoch and, with hindsight, of the best."""
    from rich import box
    from rich.table import Table

    from napari_metastructure.training.study_results import table

    lines = table(results)
    for network in dict.fromkeys(line["network"] for line in lines):
        shown = Table(title=network, box=box.SIMPLE)
        shown.add_column("condition", no_wrap=True)
        for name in ("Dice" if results[0].classes == 2 else "mIoU", "std", "best", "loss", "rank", "left", "runs"):
            shown.add_column(name, justify="right", no_wrap=True)
        for line in (line for line in lines if line["network"] == network):
            numbers = (line[key] for key in ("test_mean", "test_std", "test_best", "loss_mean"))
            rank = f"{line['rank']} of {line['classes']}"
            cells = [f"{n:.3f}" for n in numbers] + [rank, f"{line['left']:.2f}", str(line["repeats"])]
            shown.add_row(line["condition"], *cells)
        yield shown
