"""``metastructure train``: a network from images and labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_metastructure.cli._files import RUN_WAYS, check_modes
from napari_metastructure.cli._options import option, warnings_as_lines
from napari_metastructure.cli._options import settings as chosen_settings
from napari_metastructure.cli._progress import running
from napari_metastructure.errors import InputError
from napari_metastructure.images.files import check_free
from napari_metastructure.networks import ENCODERS
from napari_metastructure.training.config import PRESETS, TrainConfig
from napari_metastructure.training.distributed import join
from napari_metastructure.training.events import TrainFinished
from napari_metastructure.training.run_folder import FILES, read_config, read_files

if TYPE_CHECKING:
    from napari_metastructure.training.folders import Splits
    from napari_metastructure.training.pairs import Pair

_TYPED = (
    *("preset", "network", "encoder", "loss", "epochs", "validation_fraction", "seed", "device"),
    *("reading", "classes"),
)
_option = partial(option, TrainConfig, PRESETS)

Data = Annotated[
    Path | None,
    typer.Argument(
        help="A training set: images/ and labels/ (or masks/), or train/, val/ and test/ with those two in each, or a "
        "Cityscapes tree.",
        show_default=False,
    ),
]
Channel = Annotated[
    str | None,
    typer.Option(
        help="Channel of a multi-channel image: a number from 0; of a colour image also red, green, blue, alpha or "
        "luminance (its default); all: each is an input of the network.",
        show_default=False,
    ),
]


def train(
    data: Data = None,
    out: Annotated[Path, typer.Option(help="The run folder; made if it is not there.", show_default=False)] = ...,  # type: ignore[assignment]
    validation: Annotated[
        Path | None, typer.Option("--val", help="A training set of the same form, to validate on.", show_default=False)
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
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of run.yaml; may be repeated."),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="RUN.YAML",
            help="Repeat an earlier run: its settings, and its images and labels where DATA is left out.",
            show_default=False,
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
    check_modes(resume, overwrite)
    numbers = None if classes is None else _numbers(classes)
    given = (preset, network, encoder, loss, epochs, validation_fraction, seed, device, reading, numbers)
    earlier = dict(read_config(config_file, TrainConfig)) if config_file else None
    config = chosen_settings(TrainConfig, dict(zip(_TYPED, given, strict=True)), settings or [], earlier)
    files = [out / name for name in FILES]
    join().from_first(lambda: check_free(files, overwrite=resume or overwrite, ways=RUN_WAYS))
    sets = find_sets(data, validation, channel, config_file)
    _run(sets, config, out, resume)


def find_sets(data: Path | None, validation: Path | None, channel: str | None, earlier: Path | None) -> Splits:
    """Find the pairs to train, validate and test on, from folders or from the ``run.yaml`` of an earlier run.

    Raises
    ------
    InputError
        If there is nothing to train on, or a folder or file cannot be used.
    """
    from napari_metastructure.training.folders import Splits, file_pairs, find_pairs

    with warnings_as_lines():
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
    return found


def _run(sets: Splits, config: TrainConfig, out: Path, resume: bool) -> None:
    """Train, show progress, and score the model where there are test images."""
    from napari_metastructure.training.train import train as job

    last, ranks = None, join()
    with running(ranks) as terminal:
        if sets.test:  # what numbers mean is settled for all splits together
            sets, notes = sets.read(config)
            for note in notes:
                terminal.warn(note)
        more: dict[str, Any] = {"folder": out, "resume": resume, "ranks": ranks}
        events = job(sets.train, config, terminal.control, validation=sets.validation or None, **more)
        for event in terminal.follow(events):
            if isinstance(event, TrainFinished):
                last = event
        if last is None:
            raise RuntimeError("the run ended without a result")
        if sets.test and last.model is not None and not last.stopped and ranks.first:
            terminal.say(_tested(sets.test, last.model, config))
    terminal.end(last.stopped)


def _tested(pairs: Sequence[Pair], model: Any, config: TrainConfig) -> str:
    """Score the model on the test split, and put the scores on a line."""
    from napari_metastructure.training.train import score

    scores = score(model, pairs, config.device)
    many = len(model.use.classes) > 2
    auc = "" if many else f"  AUC {scores.auc:.4f}"
    ious = "  IoU by class " + " ".join(f"{v:.3f}" for v in scores.class_iou) if many else ""
    return (
        f"test, {len(pairs)} images: Dice {scores.dice:.4f}  {'mIoU' if many else 'IoU'} {scores.iou:.4f}  accuracy "
        f"{scores.accuracy:.4f}{auc}{ious}"
    )


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--classes {text}: write numbers separated by commas, for example 0,1,2.") from None
