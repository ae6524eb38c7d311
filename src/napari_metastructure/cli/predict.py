"""``metastructure predict`` and ``export``: a trained model on images, and for other programs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_metastructure.batch.recipe import expanded
from napari_metastructure.cli._options import (
    FRAMES,
    PLANES,
    RESUME,
    SCHEDULER,
    WAYS,
    alone_in,
    file,
    folder,
    warnings_as_lines,
)
from napari_metastructure.cli._progress import INTERRUPTED, Terminal, bars, running
from napari_metastructure.cli.batch import BAD_FILES, shared_out
from napari_metastructure.errors import InputError, counted
from napari_metastructure.images.files import check_free, list_images
from napari_metastructure.images.ranges import Chosen
from napari_metastructure.training.control import Stopped


def predict(
    model: Annotated[Path, typer.Argument(help="A run folder, or its model.safetensors.")],
    images: Annotated[
        list[Path], typer.Argument(help="Images, folders of them, or patterns as 'in/*.tif'.", readable=False)
    ],
    out: Annotated[Path, folder("Folder of the results; made if it is not there.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, ... or mps.", metavar="D")] = "auto",
    channel: Annotated[
        str | None,
        typer.Option(
            help="The channel that a model of one channel gets: a number from 0; of a colour image also red, green, "
            "blue, alpha or luminance. [default: the colour that the model was trained on, else luminance]"
        ),
    ] = None,
    planes: Annotated[str, PLANES] = "",
    frames: Annotated[str, FRAMES] = "",
    ome: Annotated[bool, typer.Option("--ome", help="Write OME-TIFF instead of ImageJ TIFF.")] = False,
    zarr: Annotated[
        bool, typer.Option("--zarr", help="Write OME-Zarr with a pyramid; needs the extra [zarr].")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are in --out already.")] = False,
    no_probability: Annotated[
        bool, typer.Option("--no-probability", help="Write the labels only; takes less memory and disk.")
    ] = False,
    scheduler: Annotated[str | None, SCHEDULER] = None,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Label images by a model that iGTT or supervised training has saved.

    Writes <stem>_mask.tif (uint8: 0 and 255 for two classes, else the class values) and <stem>_probability.tif
    (float32: of the foreground, or of the class chosen), with axes and voxel size of the image; T and Z are taken plane
    by plane, and what --planes and --frames leave out is empty. A large OME-Zarr or TIFF is read, predicted and written
    in parts (docs/large.md). A file that cannot be used is named, the others go on, and the exit code is 2. Ctrl-C
    leaves whole files only and exits with 130. With --scheduler or --resume also batch.yaml and batch.csv, what was
    done and what failed; large images are shared out by tiles then, to the same masks.
    """
    if zarr and (ome or scheduler is not None or resume):
        raise InputError("--zarr goes without --ome, --scheduler and --resume; leave them out.")
    if scheduler is not None or resume:
        task = {"what": "predict", "model": model, "device": device, "channel": channel}
        task |= {"ome": ome, "probability": not no_probability, "planes": planes, "frames": frames}
        shared_out(images, out, scheduler, task, resume, overwrite)
        return
    from napari_metastructure.igtt.apply import load_model
    from napari_metastructure.networks import batch as prediction
    from napari_metastructure.networks.device import resolve

    chosen = Chosen(planes, frames)
    loaded, where = load_model(model), resolve(device)
    with warnings_as_lines():
        paths = list_images(expanded(images))
        kinds = {"ome": ome, "zarr": zarr, "probability": not no_probability}
        targets = prediction.targets_of(paths, out, **kinds, overwrite=overwrite, ways=WAYS)
    with alone_in(out), running() as terminal:
        check_free([file for target in targets for file in target.files], overwrite=overwrite, ways=WAYS)
        try:
            refused = _follow(
                prediction.predict_files(loaded, paths, targets, where, terminal.control.checkpoint, channel, chosen),
                terminal,
            )
        except Stopped:
            terminal.say("Stopped by the user; every file that was written is whole.")
            raise typer.Exit(INTERRUPTED) from None
    if refused:
        raise typer.Exit(BAD_FILES)


def _follow(events: Iterable[Any], terminal: Terminal) -> int:
    """Show a prediction as it goes; return the number of files that could not be used."""
    from napari_metastructure.networks import batch as prediction

    refused = 0
    with bars(terminal.console) as progress:
        task = progress.add_task("", total=None, left="left")
        for event in events:
            match event:
                case prediction.PredictionStarted():
                    progress.update(task, total=event.images)
                    terminal.say(f"{event.model}; on {event.device}")
                case prediction.PredictionProgress():
                    progress.update(task, completed=event.done, description=event.name)
                case prediction.FileWritten():
                    for note in event.notes:
                        terminal.warn(note)
                    terminal.say(f"{event.path} -> {', '.join(path.name for path in event.written)}")
                case prediction.FileRefused():
                    refused += 1
                    terminal.warn(event.why, "Error")
                case prediction.PredictionFinished():
                    terminal.say(f"{counted(event.images, 'image')} predicted in {event.seconds:.1f} s")
    return refused


_ENDINGS = {"onnx": ".onnx", "bioimageio": ".zip"}


def export(
    model: Annotated[Path, typer.Argument(help="A run folder, or its model.safetensors.")],
    to: Annotated[
        str,
        typer.Option(
            help="onnx (needs the extra [onnx]), or a bioimage.io package ([bioimageio]).", metavar="onnx|bioimageio"
        ),
    ],
    out: Annotated[Path, file(*_ENDINGS.values(), help="The file: .onnx, or .zip for bioimageio.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")] = False,
) -> None:
    """Write a model for other programs, run it there, and compare it with ours before it is kept.

    The file takes tiles of the size the network was trained at, any number at once, and gives probabilities.
    """
    ending: Any = _ENDINGS.get(to)
    if ending is None:
        raise InputError(f"--to {to}: choose onnx or bioimageio.")
    if out.suffix.lower() != ending:
        raise InputError(f"--out {out}: the name of a file for {to} ends in {ending}.")
    check_free([out], overwrite=overwrite, ways=WAYS)

    from napari_metastructure.igtt.apply import load_model
    from napari_metastructure.networks.export import export as write

    exported = write(load_model(model), "onnx" if to == "onnx" else "bioimageio", out)
    typer.echo(f"{exported.path} written. {exported.takes}")
    typer.echo(f"Largest difference in probability to our own output, on an example: {exported.difference:.2g}")
