"""Prediction of many planes or files, large ones in parts, by a generator of events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images import lazy
from napari_metastructure.images.channels import channel_for
from napari_metastructure.images.files import OTHER_FOLDER, check_free, noting, output_stems, read_image, result_path
from napari_metastructure.images.image import Image, channel_planes, plane_count, plane_names, stack
from napari_metastructure.images.lazy import opened
from napari_metastructure.images.ome_zarr import writing_zarr
from napari_metastructure.images.ranges import ALL, Chosen, leading_of, put_back, taken
from napari_metastructure.images.surround import missing_notes, missing_share
from napari_metastructure.images.writing import (
    make_folder,
    remove,
    write_mask,
    write_probability,
    write_tiff,
    writing_tiff,
)

if TYPE_CHECKING:
    import torch

    from napari_metastructure.networks.model import Checkpoint, Model


# ---- Events, as `training.events` are those of a run --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PredictionStarted:
    """The model is loaded: what it is, how many planes or files there are, and where it runs."""

    model: str
    images: int
    device: str


@dataclass(frozen=True, slots=True)
class PredictionProgress:
    """So much is done: 2.5 of ``images`` is half of the third."""

    done: float
    images: int
    name: str


@dataclass(frozen=True, slots=True)
class PlanePredicted:
    """One plane is done; arrays as in `model.Prediction`."""

    index: int
    name: str
    labels: np.ndarray = field(repr=False)
    probability: np.ndarray | None = field(repr=False)
    missing: float
    """Share of its pixels at which nothing was measured: 1 for one value everywhere, see `images.surround`."""


@dataclass(frozen=True, slots=True)
class FileWritten:
    """One image file is done."""

    index: int
    path: Path
    written: tuple[Path, ...]
    notes: tuple[str, ...]
    """Sentences about the file that the user should know."""


@dataclass(frozen=True, slots=True)
class FileRefused:
    """One image file cannot be used; the others go on."""

    index: int
    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class PredictionFinished:
    """The last event: ``images`` are done, in so many seconds; ``stopped`` if the user ended it before all were."""

    stopped: bool
    images: int
    seconds: float


PredictionEvent = (
    PredictionStarted | PredictionProgress | PlanePredicted | FileWritten | FileRefused | PredictionFinished
)


# ---- Planes of an array, and files of their results ---------------------------------------------------------


Plane = tuple[str, Callable[[], np.ndarray]]
"""What messages call a plane, and what reads it."""


@dataclass(frozen=True, slots=True)
class PlaneAxes:
    """The axes of an array before Y and X: planes, and perhaps the channels of each plane.

    Attributes
    ----------
    shape : tuple of int
        Of the whole array, ``(..., Y, X)``.
    axis : int or None
        The axis of channels; None if a plane has one.
    """

    shape: tuple[int, ...]
    axis: int | None = None

    @classmethod
    def find(cls, shape: Sequence[int], labels: Sequence[str], channels: int, name: str) -> Self:
        """Match the axes of an array to a model with this number of channels.

        The channels are the axis that is called so (``c``, ``channel``), else the last before Y and X.

        Parameters
        ----------
        shape : sequence of int
        labels : sequence of str
            Names of its axes, as far as there are.
        channels : int
        name : str
            What the message calls the array, such as ``Layer 'cells'``.

        Raises
        ------
        InputError
            If no axis has as many channels.
        """
        if channels == 1:
            return cls(tuple(shape))
        named = [i for i, label in enumerate(labels[:-2]) if label.lower() in ("c", "channel", "channels")]
        axis = named[0] if named else len(shape) - 3
        if axis < 0 or shape[axis] != channels:
            raise InputError(
                f"{name} ({' x '.join(map(str, shape))}) has no axis of {channels} channels, which the model takes; "
                "choose an image with such an axis before Y and X."
            )
        return cls(tuple(shape), axis)

    @property
    def leading(self) -> tuple[int, ...]:
        """Shape of the axes that are predicted plane by plane."""
        return tuple(n for i, n in enumerate(self.shape[:-2]) if i != self.axis)

    @property
    def count(self) -> int:
        """Number of planes."""
        return math.prod(self.leading)

    @property
    def result(self) -> tuple[int, ...]:
        """Shape of the result: without an axis of channels in front; one further in has length 1."""
        if self.axis == 0:
            return self.shape[1:]
        return tuple(1 if i == self.axis else n for i, n in enumerate(self.shape))

    def places(self) -> Iterator[tuple[tuple[int, ...], tuple[int | slice, ...]]]:
        """Yield each plane's place along `leading`, and its index into the array, in C order."""
        for at in np.ndindex(self.leading):
            yield at, at if self.axis is None else (*at[: self.axis], slice(None), *at[self.axis :])


@dataclass(frozen=True, slots=True)
class Target:
    """Result files of one image: ``<folder>/<stem>_mask.tif`` and ``<stem>_probability.tif``, or OME-Zarr."""

    folder: Path
    stem: str
    ome: bool = False
    probability: bool = True
    zarr: bool = False

    @property
    def mask(self) -> Path:
        """Labels: 0 and 255 for two classes, else the class values."""
        return self._file("mask")

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is written."""
        return (self.mask, self._file("probability")) if self.probability else (self.mask,)

    @property
    def others(self) -> tuple[Path, ...]:
        """What an earlier prediction may have left in another form, or of probabilities."""
        forms = ((False, False), (True, False), (False, True))  # ome, zarr
        found = [result_path(self.folder, self.stem, kind, *form) for kind in ("mask", "probability") for form in forms]
        return tuple(path for path in found if path not in self.files)

    def _file(self, kind: str) -> Path:
        return result_path(self.folder, self.stem, kind, self.ome, self.zarr)


def targets_of(
    paths: Sequence[Path],
    folder: Path,
    *,
    ome: bool = False,
    zarr: bool = False,
    probability: bool = True,
    overwrite: bool = False,
    ways: Sequence[str] = OTHER_FOLDER,
) -> list[Target]:
    """Say where the results of image files go.

    Parameters
    ----------
    paths : sequence of Path
        As `images.files.list_images` finds them; never written over.
    folder : Path
    ome, zarr, probability, overwrite : bool
        OME-TIFF in place of ImageJ TIFF; OME-Zarr; with probabilities; replace results that are there.
    ways : sequence of str
        Ways out where something is in the way; see `images.files.check_free`.

    Raises
    ------
    InputError
        Naming a file that is in the way.
    """
    targets = [Target(folder, stem, ome, probability, zarr) for stem in output_stems(paths)]
    files = [file for target in targets for file in (*target.files, *target.others)]
    check_free(files, paths, overwrite=overwrite, ways=ways)
    return targets


# ---- Prediction -----------------------------------------------------------------------------------------


def predict_planes(
    model: Model,
    planes: Iterable[Plane],
    count: int,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    want_probability: bool = True,
) -> Iterator[PredictionEvent]:
    """Predict planes that are read when their turn comes.

    Yields
    ------
    PredictionProgress, PlanePredicted

    Raises
    ------
    InputError
        If a plane cannot be used.
    RunFailed
        If memory does not suffice for a single tile.
    """
    for index, (name, read) in enumerate(planes):
        if checkpoint is not None:
            checkpoint()
        image = opened(read())
        steps = model.steps(image, device, checkpoint, want_probability, name)
        while True:
            try:
                yield PredictionProgress(index + next(steps), count, name)
            except StopIteration as end:
                labels, probability = end.value
                break
        yield PlanePredicted(index, name, labels, probability, missing_share(image))
        yield PredictionProgress(index + 1, count, name)


def predict_files(
    model: Model,
    paths: Sequence[Path],
    targets: Sequence[Target],
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    channel: int | str | None = None,
    chosen: Chosen = ALL,
) -> Iterator[PredictionEvent]:
    """Predict image files, one in memory at a time, or parts of a large one; each result is whole or not there.

    Parameters
    ----------
    model : Model
    paths : sequence of Path
        Image files of any axes; T and Z are predicted plane by plane.
    targets : sequence of Target
        Where the result of each goes; folders are made.
    device : torch.device
    checkpoint : callable, optional
        Called between tiles; may raise to leave.
    channel : int or str, optional
        As `images.image.planes` takes it; by default the colour that the model was trained on.
    chosen : Chosen
        Which planes and frames of each file; the others are empty in the result.

    Yields
    ------
    PredictionStarted, then PredictionProgress and, for each file, FileWritten or FileRefused; PredictionFinished

    Raises
    ------
    InputError
        If a result cannot be written.
    RunFailed
        If memory does not suffice for a single tile.
    """
    began, done = time.perf_counter(), 0
    yield PredictionStarted(str(model), len(paths), str(device))
    for index, (path, target) in enumerate(zip(paths, targets, strict=True)):
        try:
            image, planes, notes = read_for(path, model, channel, lazily=True)
            kept = chosen.kept(leading_of(image, chosen), str(path))
            planes, names = taken(planes, kept), taken(plane_names(replace(image, name=str(path))), kept)
            if target.zarr or is_large(image):
                said, shares = chosen.note(leading_of(image, chosen)), list[tuple[str, float]]()
                where = (target.files, device, checkpoint, target.ome, kept, said)
                for share in predict_in_parts(model, image, planes, names, shares, *where):
                    yield PredictionProgress(index + share, len(paths), path.name)
                done += 1
                yield written(target, index, path, (*notes, *missing_notes(shares)))
                continue
            todo = [(name, lambda plane=plane: plane) for name, plane in zip(names, planes, strict=True)]
            found: list[PlanePredicted] = []
            for event in predict_planes(model, todo, len(todo), device, checkpoint, target.probability):
                if isinstance(event, PlanePredicted):
                    found.append(event)
                elif isinstance(event, PredictionProgress):
                    yield PredictionProgress(index + event.done / len(todo), len(paths), path.name)
        except InputError as error:
            yield FileRefused(index, path, str(error))
            continue
        notes += missing_notes((event.name, event.missing) for event in found)
        del planes, todo
        write_predicted(target, found, image, model.use.classes, kept, chosen.note(leading_of(image, chosen)))
        done += 1
        yield written(target, index, path, notes)
    model.release()
    yield PredictionFinished(False, done, time.perf_counter() - began)


def written(target: Target, index: int, path: Path, notes: Iterable[str]) -> FileWritten:
    """Say that a file is done, of which no earlier result in another form is left."""
    remove(target.others)
    return FileWritten(index, path, target.files, tuple(notes))


def read_for(
    path: Path, model: Model, channel: int | str | None, lazily: bool = False
) -> tuple[Image, list[np.ndarray], list[str]]:
    """Read an image file: it, its planes, and what the reader had to say about it."""
    with noting() as notes:
        image = read_image(path, lazily=lazily)
    channel = channel_for(image, model.use.colour) if channel is None else channel
    planes = channel_planes(replace(image, name=str(path)), model.use.channels, channel)
    return image, planes, notes


def write_predicted(
    target: Target,
    found: Sequence[PlanePredicted],
    image: Image,
    classes: Sequence[int],
    kept: Sequence[int] | None,
    note: str,
) -> None:
    """Write the labels, and the probability if it is wanted, with axes and scale of the image."""
    make_folder(target.folder)
    count = plane_count(image)
    labels = stack(put_back([event.labels for event in found], kept, count), like=image)
    if len(classes) == 2:
        write_mask(target.mask, labels.data == classes[1], labels, target.ome, note)
    else:
        write_tiff(target.mask, labels.data, labels.axes, labels.scale, labels.units, target.ome, note)
    if target.probability:
        planes = [event.probability for event in found if event.probability is not None]
        probability = stack(put_back(planes, kept, count), like=image)
        write_probability(target.files[1], probability.data, probability, target.ome, note)


# ---- Images that memory does not hold: read, predicted and written from top to bottom


def is_large(image: Image) -> bool:
    """Test whether an image is predicted in parts: it, its labels and its probabilities together fill memory."""
    return image.data.nbytes > lazy.LARGE_BYTES


def predict_in_parts(
    model: Model,
    image: Image,
    planes: Sequence[Any],
    names: Sequence[str],
    shares: list[tuple[str, float]],
    files: Sequence[Path],
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    ome: bool = False,
    numbers: Sequence[int] | None = None,
    note: str = "",
) -> Iterator[float]:
    """Predict the planes of an image into files, which are there when all of them are done.

    Parameters
    ----------
    model : Model
    image : Image
        Gives axes and scale; its pixels may be lazy.
    planes : sequence of (Y, X) or (C, Y, X) arrays or `images.lazy.Plane`
        As `images.image.channel_planes` cuts them.
    names : sequence of str
        What messages call them.
    shares : list
        Gets name and `images.surround.missing_share` of each plane.
    files : sequence of Path
        For the labels and, if there is a second one, the probability: ``.zarr`` or TIFF.
    device, checkpoint :
        As for `Model.stream`.
    ome : bool
        OME-TIFF in place of ImageJ TIFF.
    numbers : sequence of int, optional
        Those of the planes among all of the image, the others of which are empty in the result.
    note : str
        What a TIFF says of that.

    Yields
    ------
    float
        The share that is done.

    Raises
    ------
    InputError
        If the image cannot be used, or the files cannot be written; no part of them is left.
    """
    classes = model.use.classes
    leading = [image.data.shape[image.axes.index(a)] for a in "TZ" if a in image.axes]
    folder = files[0].parent
    make_folder(folder)
    with ExitStack() as written:
        out: list[Any] = []
        for path, dtype in zip(files, (np.uint8, np.float32), strict=False):
            if path.suffix == ".zarr":
                out.append(written.enter_context(writing_zarr(path, image, dtype, labels=dtype == np.uint8)))
            else:
                out.append(written.enter_context(writing_tiff(path, image, dtype, ome, note)))
        for index, (plane, name) in enumerate(zip(planes, names, strict=True)):
            number = index if numbers is None else numbers[index]
            at = tuple(int(i) for i in np.unravel_index(number, leading)) if leading else ()
            for part in model.stream(plane, device, checkpoint, len(out) > 1, name, folder):
                if part.missing is not None:
                    shares.append((name, part.missing))
                if part.rows is not None and part.labels is not None:
                    labels = part.labels
                    if len(classes) == 2:
                        labels = (labels == classes[1]).view(np.uint8) * np.uint8(255)
                    for rows, pixels in zip(out, (labels, part.probability), strict=False):
                        rows.put(at, part.rows.start, pixels)
                yield (index + part.done) / len(planes)
