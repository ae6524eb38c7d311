"""``metastructure train`` and ``study``: networks from images and labels, clean and noisy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from napari_metastructure.cli import _options
from napari_metastructure.cli._progress import running, table
from napari_metastructure.errors import InputError
from napari_metastructure.images.files import check_free
from napari_metastructure.labels.recipes import make_recipe
from napari_metastructure.networks import ENCODERS
from napari_metastructure.training import study_results
from napari_metastructure.training.config import PRESETS, TrainConfig
from napari_metastructure.training.distributed import join
from napari_metastructure.training.events import TrainFinished
from napari_metastructure.training.run_folder import FILES, read_config, read_files

if TYPE_CHECKING:
    from napari_metastructure.training.folders import Splits

_TYPED = (
    *("preset", "network", "encoder", "loss", "epochs", "validation_fraction", "seed", "device"),
    *("reading", "classes"),
)
_option = partial(_options.option, TrainConfig, PRESETS)

Data = Annotated[
    Path | None,
    typer.Argument(
        help="A training set: images/ and labels/ (or masks/), or train/, val/ and test/ with those two in each, or a "
        "Cityscapes tree."
    ),
]
Channel = Annotated[
    str | None,
    typer.Option(
        help="Channel of a multi-channel image: a number from 0; of a colour image also red, green, blue, alpha or "
        "luminance (its default); all: each is an input of the network."
    ),
]


def train(
    data: Data = None,
    out: Annotated[Path, _options.folder("The run folder; made if it is not there.")] = ...,  # type: ignore[assignment]
    validation: Annotated[
        Path | None, typer.Option("--val", help="A training set of the same form, to validate on.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="default, or the settings the paper names; other options are set on top.", metavar="default|paper"
        ),
    ] = None,
    network: Annotated[str | None, _option("network", metavar="|".join(ENCODERS))] = None,
    encoder: Annotated[str | None, _option("encoder", metavar="NAME")] = None,
    loss: Annotated[str | None, _option("loss")] = None,
    epochs: Annotated[int | None, _option("epochs", metavar="N")] = None,
    validation_fraction: Annotated[float | None, _option("validation_fraction", metavar="F")] = None,
    seed: Annotated[int | None, _option("seed", metavar="N")] = None,
    device: Annotated[str | None, _option("device", metavar="D")] = None,
    reading: Annotated[str | None, _option("reading")] = None,
    classes: Annotated[str | None, _option("classes", metavar="0,1,...")] = None,
    channel: Channel = None,
    settings: Annotated[list[str] | None, _options.SET] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="RUN.YAML",
            help="Repeat an earlier run: its settings, and its images and labels where DATA is left out.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False,
) -> None:
    """Train a network on images and labels.

    Labels are class numbers, 255 = unlabelled; masks of 0 and 255 are background and foreground (see --reading). Writes
    run.yaml, metrics.csv, model.safetensors (the best epoch) and last.pt. Where the set has a test split, the model is
    scored on it at the end. Ctrl-C stops the run, saves, and exits with 130; --resume goes on.
    """
    _options.check_modes(resume, overwrite)
    numbers = None if classes is None else _numbers(classes)
    given = (preset, network, encoder, loss, epochs, validation_fraction, seed, device, reading, numbers)
    earlier = dict(read_config(config_file, TrainConfig)) if config_file else None
    config = _options.chosen_settings(TrainConfig, dict(zip(_TYPED, given, strict=True)), settings or [], earlier)
    files = [out / name for name in FILES]
    join().from_first(lambda: check_free(files, overwrite=resume or overwrite, ways=_options.RUN_WAYS))
    sets = find_sets(data, validation, channel, config_file)
    if sets.validation and validation_fraction is not None:
        raise InputError("--validation-fraction: there are images to validate on already; leave it out.")
    _run(sets, config, out, resume)


def find_sets(data: Path | None, validation: Path | None, channel: str | None, earlier: Path | None) -> Splits:
    """Find the pairs to train, validate and test on, from folders or from the ``run.yaml`` of an earlier run.

    Raises
    ------
    InputError
        If there is nothing to train on, or a folder or file cannot be used.
    """
    from napari_metastructure.training.folders import Splits, file_pairs, find_pairs, tell_shared

    with _options.warnings_as_lines():
        if data is not None:
            found = find_pairs(data, channel=channel)
        else:
            splits = read_files(earlier) if earlier is not None else ((), ())
            if not splits[0]:
                raise InputError(
                    "Name a folder with images and labels to train on (a run of layers that were in no files "
                    "cannot be repeated without)."
                )
            found = Splits(*([p for couple in couples for p in file_pairs(*couple, channel)] for couples in splits))
        if validation is not None:
            found = Splits(found.train, find_pairs(validation, channel=channel).train, found.test)
            tell_shared(found)
    return found


def _run(sets: Splits, config: TrainConfig, out: Path, resume: bool) -> None:
    """Train, show progress, and score the model where there are test images."""
    from napari_metastructure.training import train as supervised

    last, ranks = None, join()
    with running(ranks) as terminal:
        if sets.test:  # what numbers mean is settled for all splits together
            sets, notes = sets.read(config)
            for note in notes:
                terminal.warn(note)
        held = sets.validation or None
        events = supervised.train(
            sets.train, config, terminal.control, validation=held, folder=out, resume=resume, ranks=ranks
        )
        for event in terminal.follow(events):
            if isinstance(event, TrainFinished):
                last = event
        if last is None:
            raise RuntimeError("the run ended without a result")
        if sets.test and last.model is not None and not last.stopped and ranks.first:
            scores = supervised.score(last.model, sets.test, config.device)
            terminal.say(f"test, {len(sets.test)} images: {_in_words(scores, len(last.model.use.classes) > 2)}")
    terminal.end(last.stopped)


def _in_words(scores: Any, many: bool) -> str:
    """Put the scores of a model on a line; ``many`` where it has more than two classes."""
    more = f"  IoU by class {' '.join(f'{v:.3f}' for v in scores.class_iou)}" if many else f"  AUC {scores.auc:.4f}"
    return f"Dice {scores.dice:.4f}  {'mIoU' if many else 'IoU'} {scores.iou:.4f}  accuracy {scores.accuracy:.4f}{more}"


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--classes {text}: write numbers separated by commas, for example 0,1,2.") from None


# Studies: what networks learn from many kinds of noisy labels.

_TYPED_STUDY = ("preset", "epochs", "seed", "device", "reading")


def study(
    data: Data = None,
    out: Annotated[Path, _options.folder("The study's folder; made if it is not there.")] = ...,  # type: ignore[assignment]
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
        ),
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(ENCODERS)}; may be repeated. [default: light-unet]")
    ] = None,
    repeats: Annotated[int | None, typer.Option(help="Runs of each condition. [default: 3]")] = None,
    preset: Annotated[str | None, typer.Option(help="Settings of each training: default or paper.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of each training. [default: 20]")] = None,
    seed: Annotated[int | None, _option("seed", metavar="N")] = None,
    device: Annotated[str | None, _option("device", metavar="D")] = None,
    reading: Annotated[str | None, _option("reading")] = None,
    channel: Channel = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of a training; may be repeated."),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="RUN.YAML", help="Repeat an earlier study with its settings.")
    ] = None,
) -> None:
    """Train networks on clean and noisy labels and test them on clean ones.

    Kinds of noise are compared on the same images, with several seeds each; the test images (the test split of the
    set, or a quarter of its images) keep their labels. Writes curves.csv, table.csv, study.png and study.svg, and
    prints the table with what the noise transition matrix predicts. A study in --out goes on where it was.
    """
    earlier = read_config(config_file, study_results.StudyConfig) if config_file else None
    typed = dict(zip(_TYPED_STUDY, (preset, epochs, seed, device, reading), strict=True))
    asked = _options.parse(settings or [], (*typed, "network"), TrainConfig)
    if idle := [name for name in ("validation_fraction", "patience") if name in asked]:
        raise InputError(f"--set {idle[0]}: a study tests after all epochs, and does not need it; leave it out.")
    training = {k: v for k, v in typed.items() if v is not None} | asked
    config = _config(earlier, figure, condition, network, repeats, training)
    sets = find_sets(data, None, channel, None)
    _run_study(sets, config, out)


def _config(
    earlier: study_results.StudyConfig | None,
    figure: str,
    conditions: list[str] | None,
    networks: list[str] | None,
    repeats: int | None,
    training: dict[str, Any],
) -> study_results.StudyConfig:
    """Build the settings, each level over the one before: defaults, an earlier study, what was typed."""
    if figure not in study_results.STUDIES:
        raise InputError(f"--figure {figure!r} is none of {', '.join(study_results.STUDIES)}; choose one of these.")
    own = earlier or study_results.StudyConfig.preset(figure)
    build = TrainConfig.from_preset if "preset" in training else (lambda **o: TrainConfig(**{**dict(own.train), **o}))
    options: dict[str, Any] = {"train": _options.validated(TrainConfig, build, training, _TYPED_STUDY)}
    options |= {k: v for k, v in (("networks", networks or None), ("repeats", repeats)) if v is not None}
    if conditions:
        options["conditions"] = tuple(condition_of(text) for text in conditions)
    return _options.validated(
        study_results.StudyConfig,
        lambda **o: study_results.StudyConfig(**{**dict(own), **o}),
        options,
        {"networks": "--network", "repeats": "--repeats", "conditions": "--condition"},
    )


def condition_of(text: str) -> study_results.Condition:
    """Read a condition: its name, or a free one as ``NAME:KIND:DIAL=VALUE,DIAL=VALUE``."""
    if text in study_results.CONDITIONS:
        return study_results.CONDITIONS[text]
    name, _, rest = text.partition(":")
    kind, _, dials = rest.partition(":")
    if not kind:
        raise InputError(
            f"--condition {text!r} is none of {', '.join(study_results.CONDITIONS)}; choose one, or write "
            "NAME:KIND:DIAL=VALUE, for example thick:dilate:n=3."
        )
    values = [(dial.strip(), value) for dial, _, value in (part.partition("=") for part in dials.split(",") if part)]
    if twice := [dial for dial, _ in values if [d for d, _ in values].count(dial) > 1]:
        raise InputError(f"--condition {text!r} sets {twice[0]} twice; set it once.")
    return study_results.Condition(
        name=name, recipe=make_recipe(kind, **{dial: _options.read_dial(dial, value) for dial, value in values})
    )


def _run_study(sets: Splits, config: study_results.StudyConfig, out: Path) -> None:
    """Run the trainings, show progress, and print the tables."""
    from napari_metastructure.training.study import study as job

    last = None
    with running() as terminal:
        events = job(sets.train, config, terminal.control, test=sets.test or sets.validation or None, folder=out)
        for event in terminal.follow(events):
            match event:
                case study_results.ConditionStarted():
                    run = f"run {event.number}/{event.runs}: {event.condition}, {event.network}, seed {event.seed}"
                    terminal.say(run, style="bold")
                case study_results.ConditionFinished():
                    terminal.say(f"test {event.result.final:.4f}")
                case study_results.StudyFinished():
                    last = event
        if last is None:
            raise RuntimeError("the study ended without a result")
        if last.results:
            terminal.console.print(*_tables(last.results))
        where = f" Tables and figure are in {terminal.place or out}." if last.results else ""
        terminal.say(f"{last.reason}{where}")
    terminal.end(last.stopped)


def _tables(results: tuple[study_results.RunResult, ...]) -> Iterator[Table]:
    """Make a table of ``table.csv`` for each network: scores of the last epoch and, with hindsight, of the best."""
    lines = study_results.table(results)
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
