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
from napari_metastructure.cli._options import CHANNEL, FRAMES, PLANES, option, warnings_as_lines
from napari_metastructure.cli._options import settings as chosen_settings
from napari_metastructure.cli._progress import counted, running
from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import PRESETS, IGTTConfig
from napari_metastructure.images.files import check_free, output_stems, read_image, result_path
from napari_metastructure.images.image import Image, plane_count, stacks
from napari_metastructure.images.ranges import ALL, Chosen, leading_of, put_back
from napari_metastructure.images.writing import remove, write_mask, write_probability
from napari_metastructure.networks import ENCODERS
from napari_metastructure.training.distributed import join
from napari_metastructure.training.events import EpochFinished, Finished, RunStarted
from napari_metastructure.training.run_folder import FILES, FoundRun

if TYPE_CHECKING:
    from napari_metastructure.images.channels import ImageSet

AUTO = "auto"

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
            help="The recommended settings (default), or Algorithm 1 as printed (paper); other options are set on top.",
            metavar="default|paper",
        ),
    ] = None,
    objects: Annotated[str | None, _option("objects", metavar="auto|bright|dark")] = None,
    network: Annotated[str | None, _option("network", metavar="|".join(ENCODERS))] = None,
    encoder: Annotated[str | None, _option("encoder", metavar="NAME")] = None,
    epochs: Annotated[int | None, _option("epochs", metavar="N")] = None,
    seed: Annotated[int | None, _option("seed", metavar="N")] = None,
    device: Annotated[str | None, _option("device", metavar="D")] = None,
    channel: Annotated[str, CHANNEL] = AUTO,
    planes: Annotated[str, PLANES] = "",
    frames: Annotated[str, FRAMES] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of run.yaml; may be repeated."),
    ] = None,
    keep_epochs: Annotated[bool, typer.Option("--keep-epochs", help="Also write the masks of all epochs.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False,
    ome: Annotated[bool, typer.Option("--ome", help="Write OME-TIFF instead of ImageJ TIFF.")] = False,
) -> None:
    """Segment images without labels (iGTT).

    Writes <stem>_mask.tif (uint8, 0 and 255), <stem>_probability.tif (float32), run.yaml, metrics.csv and the
    model. Stems that clash get their ending or folder (x_png, a_x). Results have the size of their image: what
    --planes and --frames leave out is empty in them. Ctrl-C stops the run, saves, and exits with 130; --resume goes on.
    """
    check_modes(resume, overwrite)
    given = (preset, objects, network, encoder, epochs, seed, device)
    config = chosen_settings(IGTTConfig, dict(zip(_TYPED, given, strict=True)), settings or [])
    chosen = _chosen(Chosen(planes, frames, "" if channel == AUTO else channel), out if resume else None)
    read = read_images(images, chosen.channel or AUTO, chosen)
    outputs = Outputs(out, read.images, keep_epochs, ome, read.kept, chosen)
    join().from_first(lambda: outputs.check_free(resume, overwrite))
    tell_colour(read)
    _run(outputs, read, config, resume)


def _chosen(asked: Chosen, folder: Path | None) -> Chosen:
    """Return what of the images is taken: what was asked for, or of a run that is resumed what it was made of."""
    if folder is None:
        return asked
    before = FoundRun[IGTTConfig](folder).chosen()
    now, then = ({**c.facts(), "channel": ""} for c in (asked, before))
    if now not in (then, {"channel": ""}):
        was = " and ".join(f"{name} {text}" for name, text in then.items() if text) or "all planes"
        raise InputError(f"The run in {folder} was made of {was}; leave out --planes and --frames to resume it.")
    return replace(before, channel=asked.channel or before.channel)


def _run(outputs: Outputs, read: ImageSet, config: IGTTConfig, resume: bool) -> None:
    """Run, show progress, and write the results."""
    from napari_metastructure.igtt.iterate import iterate

    inputs = [image.source for image in read.images if image.source]
    history: list[Sequence[np.ndarray]] = []
    resumed, last, ranks = 0, None, join()
    with running(ranks) as terminal:
        more: dict[str, Any] = {"folder": outputs.folder, "inputs": inputs, "resume": resume, "colour": read.colour}
        more |= {"ranks": ranks, "chosen": outputs.chosen}
        events = iterate(read.planes, config, terminal.control, names=read.names, **more)
        for event in terminal.follow(events):
            match event:
                case RunStarted():
                    resumed = event.resumed_epoch
                    if not resume and ranks.first:  # all is well so far, and --overwrite was given if anything is there
                        outputs.clear()
                case EpochFinished() if "epochs" in outputs.kinds:
                    history.append(event.masks)
                case Finished():
                    last = event
                    if last.masks and ranks.first:  # a run may be stopped before its first
                        # Here, while the folder is still its own.
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
    kept : sequence of (tuple of int, or None)
        Of each image the planes that were segmented, by default all; the others are empty.
    chosen : Chosen
        How they were chosen.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[Image],
        epochs: bool,
        ome: bool,
        kept: Sequence[tuple[int, ...] | None] = (),
        chosen: Chosen = ALL,
    ) -> None:
        self.folder, self.images, self.ome, self.chosen = folder, list(images), ome, chosen
        self.kept = kept or [None] * len(self.images)
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
        for index, found in enumerate(zip(*(self._stacks(p) for p in (masks, probabilities)), strict=True)):
            for kind, write, image in zip(self.kinds[:2], (write_mask, write_probability), found, strict=True):
                write(self.path(index, kind), image.data, image, self.ome, self._note(index))
                written.append(self.path(index, kind))
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
        for index, frames in enumerate(zip(*map(self._stacks, epochs), strict=True)):
            target, first = self.path(index, "epochs"), frames[0]
            axes, data = with_epochs(first.axes), np.stack([f.data != 0 for f in frames])
            if before and target.exists():
                earlier = read_epochs(target, axes)
                if earlier.shape[1:] == data.shape[1:] and len(earlier) >= before:
                    data = np.concatenate([earlier[:before] != 0, data])
            like = replace(first, data=data, axes=axes, scale=(1.0, *first.scale), units=("pixel", *first.units))
            write_mask(target, data, like, self.ome, self._note(index))
            written.append(target)
        return written

    def _stacks(self, planes: Sequence[np.ndarray]) -> list[Image]:
        """Put the planes of all images back together."""
        every: list[np.ndarray] = []
        for image, kept in zip(self.images, self.kept, strict=True):
            count = plane_count(image)
            own, planes = planes[: (n := count if kept is None else len(kept))], planes[n:]
            every += put_back(own, kept, count)
        return stacks(every, like=self.images)

    def _note(self, index: int) -> str:
        return self.chosen.note(leading_of(self.images[index], self.chosen))


def with_epochs(axes: str) -> str:
    """Put the epochs in front of the axes as T; an image's own T moves to Z, or to C where Z is taken."""
    return "T" + axes.replace("T", "C" if "Z" in axes else "Z")


def read_epochs(path: Path, axes: str) -> np.ndarray:
    """Read the masks of an earlier run, axes in the order asked for; a single epoch has lost its axis."""
    image = read_image(path)
    data, found = image.data, image.axes
    for axis in axes:
        if axis not in found:
            data, found = data[None], axis + found
    return data.transpose([found.index(a) for a in axes])
