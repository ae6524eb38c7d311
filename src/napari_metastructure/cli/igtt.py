"""``metastructure igtt``: masks from unlabelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from napari_metastructure.cli._files import RUN_WAYS, check_modes, read_images, tell_colour
from napari_metastructure.cli._options import CHANNEL, option, warnings_as_lines
from napari_metastructure.cli._options import settings as chosen_settings
from napari_metastructure.cli._progress import counted, running
from napari_metastructure.igtt.config import PRESETS, IGTTConfig
from napari_metastructure.images.files import check_free, output_stems, read_image, result_path
from napari_metastructure.images.image import Image, plane_count, stack, stacks
from napari_metastructure.images.lazy import is_lazy
from napari_metastructure.images.writing import remove, write_mask, write_probability, writing_tiff
from napari_metastructure.networks import ENCODERS
from napari_metastructure.training.events import EpochFinished, Finished, RunStarted
from napari_metastructure.training.run_folder import FILES

if TYPE_CHECKING:
    from napari_metastructure.images.channels import ImageSet

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
    network: Annotated[str | None, _option("network", metavar="|".join(ENCODERS))] = None,
    encoder: Annotated[str | None, _option("encoder", metavar="NAME")] = None,
    epochs: Annotated[int | None, _option("epochs", metavar="N")] = None,
    seed: Annotated[int | None, _option("seed", metavar="N")] = None,
    device: Annotated[str | None, _option("device", metavar="D")] = None,
    channel: Annotated[str, CHANNEL] = "auto",
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
    check_modes(resume, overwrite)
    given = (preset, objects, network, encoder, epochs, seed, device)
    config = chosen_settings(IGTTConfig, dict(zip(_TYPED, given, strict=True)), settings or [])
    read = read_images(images, channel)
    outputs = Outputs(out, read.images, keep_epochs, ome)
    outputs.check_free(resume, overwrite)
    tell_colour(read)
    _run(outputs, read, config, resume)


def _run(outputs: Outputs, read: ImageSet, config: IGTTConfig, resume: bool) -> None:
    """Run, show progress, and write the results."""
    from napari_metastructure.igtt.iterate import iterate
    from napari_metastructure.igtt.room import Need

    inputs = [image.source for image in read.images if image.source]
    history: list[Sequence[np.ndarray]] = []
    resumed, last = 0, None
    with running() as terminal:
        more: dict[str, Any] = {"folder": outputs.folder, "inputs": inputs, "resume": resume, "colour": read.colour}
        need = Need.of([plane.shape for plane in read.planes], config)
        if need.matters:
            terminal.say(str(need))
        events = iterate(read.planes, config, terminal.control, names=read.names, **more)
        for event in terminal.follow(events):
            match event:
                case RunStarted():
                    resumed = event.resumed_epoch
                    if not resume:  # all is well so far, and --overwrite was given if anything is there
                        outputs.clear()
                case EpochFinished() if "epochs" in outputs.kinds:
                    history.append(event.masks)
                case Finished():
                    last = event
                    if last.masks:  # a run may be stopped before its first; here, while the folder is still its own
                        write = partial(outputs.write_all, last, history, resumed)
                        written = terminal.write(terminal.place or outputs.folder, write)
                        images = counted(len(outputs.images), "image")
                        terminal.say(f"{len(written)} files for {images} written to {written[0].parent}")
        if last is None:  # a job ends with Finished or raises; anything else would lose masks without a word
            raise RuntimeError("the run ended without a result")
    terminal.end(last.stopped)


class Outputs:
    """Results of each image of a run: masks, probabilities and, if asked for, the masks of every epoch.

    Parameters
    ----------
    folder : Path
        The run folder.
    images : sequence of Image
        The inputs, each from a file.
    epochs : bool
        Whether ``<stem>_epochs.tif`` is written too.
    ome : bool
        OME-TIFF, named ``.ome.tif``, in place of ImageJ TIFF.
    """

    def __init__(self, folder: Path, images: Sequence[Image], epochs: bool, ome: bool) -> None:
        self.folder, self.images, self.ome = folder, list(images), ome
        with warnings_as_lines():
            self.stems = output_stems([i.source or Path(i.name) for i in images])
        self.kinds = ("mask", "probability", "epochs") if epochs else ("mask", "probability")

    def path(self, index: int, kind: str) -> Path:
        """Give the file of one image: ``kind`` is mask, probability or epochs."""
        return result_path(self.folder, self.stems[index], kind, self.ome)

    @property
    def files(self) -> list[Path]:
        """All that the run writes."""
        own = [self.path(i, kind) for i in range(len(self.images)) for kind in self.kinds]
        return [*(self.folder / name for name in FILES), *own]

    def check_free(self, resume: bool, overwrite: bool) -> None:
        """Refuse to write over an earlier run, unless asked to, and over an input in any case.

        Raises
        ------
        InputError
            Naming the file in the way.
        """
        inputs = [i.source for i in self.images if i.source]
        check_free(self.files, inputs, overwrite=resume or overwrite, ways=RUN_WAYS)

    def clear(self) -> None:
        """Remove the files of an earlier run, so that no file of the folder is of another run than the rest.

        Raises
        ------
        InputError
            If one cannot be removed.
        """
        remove(self.files)

    def write_all(
        self, result: Finished, history: Sequence[Sequence[np.ndarray]], resumed: int, folder: Path
    ) -> list[Path]:
        """Write all results of a run into a folder, its own or another; arguments as `write_epochs`."""
        self.folder = folder
        written = self.write(result.masks, result.probabilities)
        return written + (self.write_epochs(history, before=resumed) if history else [])

    def write(self, masks: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]) -> list[Path]:
        """Write ``<stem>_mask.tif`` (uint8, 0 and 255) and ``<stem>_probability.tif`` (float32)."""
        written = []
        first = 0
        for index, image in enumerate(self.images):
            last = first + plane_count(image)
            kinds = (("mask", write_mask, masks), ("probability", write_probability, probabilities))
            for kind, write, found in kinds:
                path, own = self.path(index, kind), found[first:last]
                if is_lazy(image.data):
                    _write_planes(path, image, own, kind, self.ome)
                else:
                    write(path, (whole := stack(own, like=image)).data, whole, self.ome)
                written.append(path)
            first = last
        return written

    def write_epochs(self, epochs: Sequence[Sequence[np.ndarray]], before: int = 0) -> list[Path]:
        """Write ``<stem>_epochs.tif``: the masks of every epoch along T.

        Parameters
        ----------
        epochs : sequence, one per epoch, of the masks of all planes
        before : int
            How many epochs a resumed run had already; they are taken from the file of that run where it is.
        """
        written = []
        for index, frames in enumerate(zip(*(stacks(masks, like=self.images) for masks in epochs), strict=True)):
            target, first = self.path(index, "epochs"), frames[0]
            axes, data = _with_epochs(first.axes), np.stack([f.data != 0 for f in frames])
            if before and target.exists():
                earlier = _read_epochs(target, axes)
                if earlier.shape[1:] == data.shape[1:] and len(earlier) >= before:
                    data = np.concatenate([earlier[:before] != 0, data])
            like = replace(first, data=data, axes=axes, scale=(1.0, *first.scale), units=("pixel", *first.units))
            write_mask(target, data, like, self.ome)
            written.append(target)
        return written


def _write_planes(path: Path, image: Image, planes: Sequence[np.ndarray], kind: str, ome: bool) -> None:
    """Write the planes of an image that memory may not hold, one after the other."""
    leading = [image.data.shape[image.axes.index(a)] for a in "TZ" if a in image.axes]
    with writing_tiff(path, image, np.uint8 if kind == "mask" else np.float32, ome) as file:
        for at, plane in zip(np.ndindex(*leading), planes, strict=True):
            file.put(at, 0, (plane != 0) * np.uint8(255) if kind == "mask" else plane)


def _with_epochs(axes: str) -> str:
    """Put the epochs in front of the axes as T; an image's own T moves to Z, or to C where Z is taken."""
    return "T" + axes.replace("T", "C" if "Z" in axes else "Z")


def _read_epochs(path: Path, axes: str) -> np.ndarray:
    """Read the masks of an earlier run, axes in the order asked for; a single epoch has lost its axis."""
    image = read_image(path)
    data, found = image.data, image.axes
    for axis in axes:
        if axis not in found:
            data, found = data[None], axis + found
    return data.transpose([found.index(a) for a in axes])
