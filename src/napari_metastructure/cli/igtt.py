"""``metastructure igtt``: masks from unlabelled images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_metastructure.cli._files import AUTO, CHANNEL, ReadPlanes, read_planes
from napari_metastructure.cli._options import option
from napari_metastructure.cli._options import settings as chosen_settings
from napari_metastructure.igtt.config import PRESETS, IGTTConfig

if TYPE_CHECKING:
    import numpy as np

    from napari_metastructure.cli._files import Outputs

_TYPED = ("preset", "objects", "network", "encoder", "epochs", "seed", "device")


_option = partial(option, IGTTConfig, PRESETS)


def igtt(
    images: Annotated[
        list[Path], typer.Argument(help="Images, or folders of them.", show_default=False, readable=False)
    ],
    out: Annotated[Path, typer.Option(help="The run folder; made if it is not there.", show_default=False)],
    preset: Annotated[
        str | None,
        typer.Option(
            help="What works (default), or Algorithm 1 as printed (paper); other options are set on top.",
            metavar="default|paper",
        ),
    ] = None,
    objects: Annotated[str | None, _option("objects", metavar="auto|bright|dark")] = None,
    network: Annotated[str | None, _option("network", metavar="light-unet|unet|deeplabv3plus")] = None,
    encoder: Annotated[str | None, _option("encoder", metavar="NAME")] = None,
    epochs: Annotated[int | None, _option("epochs", metavar="N")] = None,
    seed: Annotated[int | None, _option("seed", metavar="N")] = None,
    device: Annotated[str | None, _option("device", metavar="D")] = None,
    channel: Annotated[str, CHANNEL] = AUTO,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of run.yaml; may be repeated."),
    ] = None,
    keep_epochs: Annotated[bool, typer.Option("--keep-epochs", help="Write <stem>_epochs.tif as well.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False,
    ome: Annotated[bool, typer.Option("--ome", help="Write OME-TIFF in place of ImageJ TIFF.")] = False,
) -> None:
    """Segment images without labels (iGTT).

    Writes <stem>_mask.tif (uint8, 0 and 255), <stem>_probability.tif (float32), run.yaml, metrics.csv and the
    model. Stems that clash get their ending or folder (x_png, a_x). Ctrl-C stops the run, saves, and exits with
    130; --resume goes on.
    """
    given = (preset, objects, network, encoder, epochs, seed, device)
    config = chosen_settings(IGTTConfig, dict(zip(_TYPED, given, strict=True)), settings or [])
    read = read_planes(images, channel)

    from napari_metastructure.cli._files import Outputs

    outputs = Outputs(out, read.images, [len(p) for p in read.planes], keep_epochs, ome)
    outputs.check_free(overwrite or resume)
    read.tell_colour()
    _run(outputs, read, config, resume)


def _run(outputs: Outputs, read: ReadPlanes, config: IGTTConfig, resume: bool) -> None:
    """Run, show, and write what came of it."""
    from rich.console import Console

    from napari_metastructure.cli._progress import INTERRUPTED, followed, stopping_on_interrupt
    from napari_metastructure.igtt.iterate import iterate
    from napari_metastructure.training.control import Control
    from napari_metastructure.training.events import EpochFinished, Finished, RunStarted

    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    control, inputs = Control(), [image.source for image in outputs.images]
    history: list[Sequence[np.ndarray]] = []
    resumed, last = 0, None
    with stopping_on_interrupt(control):
        planes = [plane for own in read.planes for plane in own]
        more: dict[str, Any] = {"folder": outputs.folder, "inputs": inputs, "resume": resume, "colour": read.colour}
        events = iterate(planes, config, control, names=read.names, **more)
        for event in followed(events, console, errors):
            match event:
                case RunStarted():
                    resumed = event.resumed_epoch
                    if not resume:  # all is well so far, and --overwrite was given if anything is there
                        outputs.clear()
                case EpochFinished() if "epochs" in outputs.kinds:
                    history.append(event.masks)
                case Finished():
                    last = event
        if last is None:  # a job ends with Finished or raises; anything else would lose masks without a word
            raise RuntimeError("the run ended without a result")
        if last.masks:  # a run may be stopped before its first
            written = outputs.write(last.masks, last.probabilities)
            if history:
                written += outputs.write_epochs(history, before=resumed)
            count = len(outputs.images)
            images = "1 image" if count == 1 else f"{count} images"
            console.print(
                f"{len(written)} files for {images} written to", str(outputs.folder), markup=False, soft_wrap=True
            )
    if last.stopped:
        raise typer.Exit(INTERRUPTED)
