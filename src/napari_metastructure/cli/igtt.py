"""``metastructure igtt`` and ``film``: masks from unlabelled images, and how they came about."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from napari_metastructure.batch.recipe import expanded
from napari_metastructure.cli import _options
from napari_metastructure.cli._progress import running
from napari_metastructure.cli.batch import shared_out
from napari_metastructure.errors import InputError, counted, listed, span
from napari_metastructure.igtt.config import PRESETS, IGTTConfig
from napari_metastructure.igtt.film import FIGURES, FILMS, Epochs, write
from napari_metastructure.igtt.outputs import IGTTRun, Outputs, read_epochs, with_epochs
from napari_metastructure.images.files import check_free, output_stems, read_image, result_path, stem
from napari_metastructure.images.image import plane_count, planes
from napari_metastructure.images.ranges import Chosen
from napari_metastructure.networks import ENCODERS
from napari_metastructure.training.distributed import join
from napari_metastructure.training.events import EpochFinished, Finished, RunStarted
from napari_metastructure.training.run_folder import changed_since, read_description

if TYPE_CHECKING:
    from napari_metastructure.cli._asking import Asking
    from napari_metastructure.images.channels import ImageSet

AUTO = "auto"


_TYPED = ("preset", "objects", "network", "encoder", "epochs", "seed", "device")

_option = partial(_options.option, IGTTConfig, PRESETS)


def igtt(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them.", readable=False)],
    out: Annotated[Path, _options.folder("The run folder; made if it is not there.")],
    preset: Annotated[
        str | None,
        typer.Option(
            help="The recommended settings (default), or Algorithm 1 as printed (paper); other options are set on top.",
            metavar="default|paper",
        ),
    ] = None,
    objects: Annotated[str | None, _option("objects")] = None,
    network: Annotated[str | None, _option("network", metavar="|".join(ENCODERS))] = None,
    encoder: Annotated[str | None, _option("encoder", metavar="NAME")] = None,
    epochs: Annotated[int | None, _option("epochs", metavar="N")] = None,
    seed: Annotated[int | None, _option("seed", metavar="N")] = None,
    device: Annotated[str | None, _option("device", metavar="D")] = None,
    channel: Annotated[str, _options.CHANNEL] = AUTO,
    planes: Annotated[str, _options.PLANES] = "",
    frames: Annotated[str, _options.FRAMES] = "",
    settings: Annotated[list[str] | None, _options.SET] = None,
    keep_epochs: Annotated[bool, typer.Option("--keep-epochs", help="Also write the masks of all epochs.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False,
    ome: Annotated[bool, typer.Option("--ome", help="Write OME-TIFF instead of ImageJ TIFF.")] = False,
    model: Annotated[
        Path | None, typer.Option(help="Apply the model of an earlier run, as predict does; no new run.")
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="A run of its own for each file, in --out/<stem>/, as a batch.")
    ] = False,
    scheduler: Annotated[str | None, _options.SCHEDULER] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="Pixels of known class, which the run learns from: CSV with file, plane (from 1), y, x (from 0) and "
            "class (object, background, skip or empty).",
            metavar="CSV",
        ),
    ] = None,
    ask: Annotated[
        int | None, typer.Option(help="Write so many places to ask about next, to --places.", metavar="N")
    ] = None,
    places: Annotated[
        Path | None, _options.file(".csv", help="Their file, in the form of --answers.", metavar="CSV")
    ] = None,
    ask_how: Annotated[
        str,
        typer.Option(
            help="Ask about pixels that are unsure and stand for many others, or about a random sample.",
            metavar="unsure|random",
        ),
    ] = "unsure",
) -> None:
    """Segment images without labels (iGTT).

    Writes <stem>_mask.tif (uint8, 0 and 255), <stem>_probability.tif (float32), run.yaml, metrics.csv and the
    model. Stems that clash get their ending or folder (x_png, a_x). Results have the size of their image: what
    --planes and --frames leave out is empty in them. Ctrl-C stops the run, saves, and exits with 130; --resume goes on.
    One run trains one network on all images, and is done by one worker of a --scheduler; runs of --each, and the images
    of --model, are shared out. With --resume, new --answers are learned from and --ask asks on.
    """
    from napari_metastructure.cli._asking import Asking  # scipy, which --help does without
    from napari_metastructure.images.channels import read_set

    _options.check_modes(resume, overwrite)
    asking = Asking(answers, ask, places, ask_how)
    if asking.wanted and (model is not None or each or scheduler is not None):
        raise InputError("--answers and --ask belong to one run: leave out --model, --each and --scheduler.")
    given = (preset, objects, network, encoder, epochs, seed, device)
    if model is not None:
        if each or keep_epochs or settings or any(value is not None for value in given[:-1]):
            raise InputError("--model applies what was trained: leave out --each, --keep-epochs and settings of a run.")
        task = {"what": "predict", "model": model, "device": device or "auto", "ome": ome}
        task |= {"channel": None if channel == AUTO else channel, "planes": planes, "frames": frames}
        shared_out(images, out, scheduler, task, resume, overwrite)
        return
    config = _options.chosen_settings(IGTTConfig, dict(zip(_TYPED, given, strict=True)), settings or [])
    if each or scheduler is not None:
        task = {"what": "igtt", "config": config, "channel": channel, "each": each, "planes": planes, "frames": frames}
        task |= {"keep_epochs": keep_epochs, "ome": ome}
        shared_out(images, out, scheduler, task, resume, overwrite)
        return
    asked = Chosen(planes, frames, "" if channel == AUTO else channel)
    chosen = join().from_first(lambda: _chosen(asked, out if resume else None))
    with _options.warnings_as_lines():
        read = read_set(expanded(images), chosen.channel or AUTO, chosen, lazily=True)
        outputs = Outputs(out, read.images, keep_epochs, ome, read.kept, chosen)
    join().from_first(lambda: outputs.check_free(resume, overwrite, _options.RUN_WAYS))
    painted = asking.read(read)
    if resume and painted and epochs is None and (found := IGTTRun.find(out)) and found.epoch >= config.epochs:
        config = config.model_copy(update={"epochs": found.epoch + config.epochs})
    _options.tell_colour(read)
    _run(outputs, read, config, resume, asking, painted)


def _chosen(asked: Chosen, folder: Path | None) -> Chosen:
    """Return what of the images is taken: what was asked for, or of a run that is resumed what it was made of."""
    if folder is None:
        return asked
    before = IGTTRun(folder).chosen()
    now, then = ({**c.facts(), "channel": ""} for c in (asked, before))
    if now not in (then, {"channel": ""}):
        was = " and ".join(f"{name} {text}" for name, text in then.items() if text) or "all planes"
        raise InputError(f"The run in {folder} was made of {was}; leave out --planes and --frames to resume it.")
    return replace(before, channel=asked.channel or before.channel)


def _run(
    outputs: Outputs,
    read: ImageSet,
    config: IGTTConfig,
    resume: bool,
    asking: Asking,
    painted: Mapping[int, np.ndarray],
) -> None:
    """Run, show progress, and write the results."""
    from napari_metastructure.igtt.iterate import iterate
    from napari_metastructure.igtt.storage import MemoryNeed

    inputs = [image.source for image in read.images if image.source]
    history: list[Sequence[np.ndarray]] = []
    resumed, last, ranks = 0, None, join()
    strays = outputs.of_others()
    with running(ranks) as terminal:
        need = MemoryNeed.of([plane.shape for plane in read.planes], config)
        if need.matters:
            terminal.say(str(need))
        events = iterate(
            read.planes,
            config,
            terminal.control,
            names=read.names,
            folder=outputs.folder,
            inputs=inputs,
            resume=resume,
            corrections=painted,
            colour=read.colour,
            ranks=ranks,
            chosen=outputs.chosen,
        )
        for event in terminal.follow(events):
            match event:
                case RunStarted():
                    resumed = event.resumed_epoch
                    if not resume and ranks.first:  # all is well so far, and --overwrite was given if anything is there
                        outputs.clear()
                        if strays:
                            terminal.warn(f"{strays[0]} is of the earlier run's other images and was left as it is.")
                case EpochFinished():
                    asking.see(event)
                    if "epochs" in outputs.kinds:
                        history.append(event.masks)
                case Finished():
                    last = event
                    if last.masks and ranks.first:  # a run may be stopped before its first
                        # Here, while the folder is still its own.
                        write = partial(outputs.write_all, last, history, resumed)
                        written = terminal.write(terminal.place or outputs.folder, write)
                        images = counted(len(outputs.images), "image")
                        terminal.say(f"{len(written)} files for {images} written to {written[0].parent}")
                        for said in asking.write(last, read, config):
                            terminal.say(said)
        if last is None:  # a job ends with Finished or raises; anything else would lose masks without a word
            raise RuntimeError("the run ended without a result")
    terminal.end(last.stopped)


# The epochs of a run as a film or a figure.


def film(
    run: Annotated[Path, typer.Argument(help="The folder of a run with --keep-epochs.")],
    out: Annotated[
        Path,
        _options.file(
            *FILMS,
            *FIGURES,
            help="A film, .gif or .mp4 (needs the extra [film]), or a figure with the curves, .png, .pdf or .svg.",
        ),
    ],
    image: Annotated[
        Path | None, typer.Option(help="The image file. [default: the first of the run]", metavar="FILE")
    ] = None,
    plane: Annotated[
        int | None,
        typer.Option(
            help="Which of its planes, from 1. [default: the one that the last mask covers most]", metavar="N"
        ),
    ] = None,
    outlines: Annotated[bool, typer.Option("--outlines", help="Draw outlines in place of filled masks.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")] = False,
) -> None:
    """Draw the epochs of an iGTT run over its image.

    The run has to have kept them: metastructure igtt ... --keep-epochs.
    """
    epochs = _kept_epochs(run, image, plane)
    check_free([out], IGTTRun(run).images(), overwrite=overwrite, ways=_options.WAYS)
    typer.echo(f"{write(out, epochs, outlines)}: {counted(len(epochs.masks), 'epoch')}")


def _kept_epochs(folder: Path, wanted: Path | None, plane: int | None) -> Epochs:
    """Read a plane of an image of a run, and its masks."""
    run = IGTTRun.find(folder)
    if run is None:
        raise InputError(f"{folder} holds no run; name the folder of one.")
    files = run.images()
    with _options.warnings_as_lines():
        kept = {
            file: path
            for file, name in zip(files, output_stems(files), strict=True)
            for ome in (False, True)
            if (path := result_path(folder, name, "epochs", ome)).exists()
        }
    if not kept:
        raise InputError(f"The run in {folder} kept no epochs; run it with --keep-epochs.")
    names = [file for file in kept if wanted is None or os.path.realpath(wanted) == os.path.realpath(file)]
    if not names and len(called := [file for file in kept if str(wanted) == file.name]) == 1:
        names = called
    if not names:
        raise InputError(f"--image {wanted}: the run kept epochs of {listed([file.name for file in kept])}.")
    if names[0].name in changed_since(read_description(folder)):
        typer.echo(f"Warning: {names[0]} changed since the run was made.", err=True)
    if not names[0].exists():
        raise InputError(f"{names[0]}, an image of the run in {folder}, is no longer there; put it back to draw it.")
    with _options.warnings_as_lines():
        found = read_image(names[0])
        channel = run.chosen().channel or None
        pixels = planes(found, channel)
        axes = "".join(a for a in found.axes if a not in "CS")
        masks = read_epochs(kept[names[0]], with_epochs(axes))
    order = [with_epochs(axes).index(a) for a in with_epochs("".join(a for a in "TZYX" if a in axes))]
    masks = masks.transpose(order).reshape(len(masks), -1, *masks.shape[-2:])
    count = plane_count(found)
    if masks.shape[1:] != (count, *pixels[0].shape):
        raise InputError(f"{kept[names[0]]} does not fit {names[0]}; was the image replaced?")
    if plane is not None and not 1 <= plane <= count:
        raise InputError(f"--plane {plane}: {stem(names[0])} has {counted(count, 'plane')}; choose {span(1, count)}.")
    at = int(np.argmax(np.count_nonzero(masks[-1], axis=(-2, -1)))) if plane is None else plane - 1
    first = max(run.epoch - len(masks) + 1, 0)
    return Epochs(pixels[at], dict(enumerate(masks[:, at], first)), run.rounds)
