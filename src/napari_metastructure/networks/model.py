"""Saved models, read and applied: from an image to labels and probabilities."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from napari_metastructure.errors import InputError, counted
from napari_metastructure.images.defects import mended
from napari_metastructure.images.intensity import as_float32, check_plane, network_inputs
from napari_metastructure.images.lazy import ROWS, Plane, as_plane
from napari_metastructure.images.surround import fill, measured, missing_share, surround, together
from napari_metastructure.images.temporary import TemporaryPlane
from napari_metastructure.networks import ENCODERS

if TYPE_CHECKING:
    import torch

    from napari_metastructure.networks.build import NetworkSpec
    from napari_metastructure.networks.model_file import Use


FILE = "model.safetensors"
"""What the model of a run folder is called."""


def find_model(path: str | Path) -> Path:
    """Return the model file that a path names: itself, or that of a run folder.

    Raises
    ------
    InputError
        If there is none.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / FILE).is_file():
            raise InputError(f"The folder {path} holds no {FILE}; choose a run folder whose training has saved one.")
        return path / FILE
    if not path.exists():
        raise InputError(f"There is no model {path}; name a run folder, or a {FILE} in one.")
    return path


def amount(channels: int) -> str:
    """Say how many channels, in words."""
    return "one channel" if channels == 1 else f"{channels} channels"


Checkpoint = Callable[[], None]

CutRows = tuple[slice, np.ndarray, np.ndarray]
"""Some rows, and there the probability and the bool mask."""

Cut = Callable[[Any, Any, Checkpoint | None, "torch.device"], Iterator[CutRows]]
"""Given the (Y, X) foreground probability and the image: the mask, from top to bottom. The probability may be turned
around; for large images it is a `images.temporary.TemporaryPlane` and the image a `images.lazy.Plane`."""


class Prediction(NamedTuple):
    """Prediction of a model for one image plane."""

    labels: np.ndarray
    """(Y, X) uint8, the values of `Use.classes`."""
    probability: np.ndarray | None
    """(Y, X) float32: of the foreground for two classes, else of the class chosen."""


class Part(NamedTuple):
    """Progress of a prediction, and the rows that are finished, if any."""

    done: float
    """Share of the image that the network has seen, 0 to 1."""
    rows: slice | None = None
    labels: np.ndarray | None = None
    probability: np.ndarray | None = None
    missing: float | None = None
    """In the first part of a plane: the share of its pixels at which nothing was measured, see `images.surround`."""


class Model:
    """A trained network with all that applying it takes.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    spec : NetworkSpec
    use : Use
    path : Path
        The file it came from, as messages call it.

    Raises
    ------
    InputError
        If network and description do not fit each other.
    """

    def __init__(self, network: torch.nn.Module, spec: NetworkSpec, use: Use, path: Path) -> None:
        from napari_metastructure.networks.model_file import check_description

        self.network, self.spec, self.use, self.path = network, spec, use, path
        self.cut: Cut | None = None
        """Makes the masks of models whose ``use.cut`` is not "half": `igtt.apply.load_model` gives it."""
        self._device: torch.device | None = None
        check_description(spec, use, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model file, or the model of a run folder; no code of the file is run.

        Raises
        ------
        InputError
            If there is no model, or it is damaged, cut short, or of another program.
        """
        from napari_metastructure.networks.model_file import load_model

        path = find_model(path)
        return cls(*load_model(path), path)

    def __str__(self) -> str:
        """Say what the model is, on one line."""
        spec, use = self.spec, self.use
        encoder = f"{spec.base_channels} channels" if ENCODERS[spec.architecture] == "none" else spec.encoder
        cut = "" if use.cut == "half" else f", cut by iGTT's {use.cut} criterion"
        colour = "" if use.colour is None else f" (of colour images {use.colour})"
        classes = ", ".join(map(str, use.classes))
        return (
            f"{spec.architecture} ({encoder}), classes {classes}{cut}; images of {amount(use.channels)}{colour}, "
            f"{use.inputs} normalisation, {use.objects} objects; trained at {use.patch[0]} x {use.patch[1]} pixels"
        )

    def predict(
        self,
        image: np.ndarray,
        device: str | torch.device = "auto",
        checkpoint: Checkpoint | None = None,
        want_probability: bool = True,
        name: str = "The image",
    ) -> Prediction:
        """Predict labels and probability of one image plane of any size.

        Parameters
        ----------
        image : (Y, X) or (C, Y, X) array
            Real numbers; as many channels as the model takes. Without any contrast (one value per channel) there is
            nothing to see: it is called the first class throughout, with probability 0.
        device : str or torch.device
            As `networks.device.resolve` takes it.
        checkpoint : callable, optional
            Called between tiles; may raise to leave.
        want_probability : bool
            Without it, memory grows by a byte a pixel only (models with a criterion need the probability anyway).
        name : str
            What messages call the image.

        Raises
        ------
        InputError
            Pixels that cannot be used, or another number of channels; the message names the image.
        RunFailed
            If memory does not suffice for a single tile.
        """
        steps = self.steps(image, device, checkpoint, want_probability, name)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    def steps(
        self,
        image: Any,
        device: str | torch.device = "auto",
        checkpoint: Checkpoint | None = None,
        want_probability: bool = True,
        name: str = "The image",
        parts: Iterable[tuple[range, np.ndarray]] | None = None,
    ) -> Generator[float, None, Prediction]:
        """Do what `predict` does, and yield after each row of tiles which share of the image is done (0 to 1).

        With ``parts``, what `part` has made of all rows of tiles, from the top, the network is not asked again.
        """
        shape = image.shape[-2:]
        labels = np.zeros(shape, np.uint8)
        probability = np.zeros(shape, np.float32) if want_probability else None
        for part in self.stream(image, device, checkpoint, want_probability, name, parts=parts):
            if part.rows is not None and part.labels is not None:
                labels[part.rows] = part.labels
                if probability is not None and part.probability is not None:
                    probability[part.rows] = part.probability
            if part.missing is None:
                yield part.done
        return Prediction(labels, probability)

    def stream(
        self,
        image: Any,
        device: str | torch.device = "auto",
        checkpoint: Checkpoint | None = None,
        want_probability: bool = True,
        name: str = "The image",
        folder: Path | None = None,
        parts: Iterable[tuple[range, np.ndarray]] | None = None,
    ) -> Iterator[Part]:
        """Predict an image of any size from top to bottom.

        Up to `networks.predict.WHOLE` pixels an image is normalised as a whole; of a larger one some rows are in
        memory at a time, whether it is an array or lazy (a `images.lazy.Plane`, a dask array), and the result is the
        same either way, bit for bit. What the cut of an iGTT model needs a second time lies in an unnamed file.

        Parameters are those of `steps`, and ``folder``, where the disk has room for that file.

        Yields
        ------
        Part
            Each row once.
        """
        from napari_metastructure.networks.predict import WHOLE, bands, joined, prepared

        use, shape = self.use, image.shape[-2:]
        cut = self.cut if use.cut != "half" else None
        if cut is None and use.cut != "half":
            raise ValueError(f"{self.path} is cut by iGTT's {use.cut} criterion; read it by igtt.apply.load_model")
        large = int(np.prod(image.shape)) > WHOLE
        image, outside, share = self._within(self._ready(image, name))
        yield Part(0.0, missing=share)
        if share == 1:
            for first in range(0, shape[0], ROWS):
                rows = slice(first, min(first + ROWS, shape[0]))
                labels = np.full((rows.stop - first, shape[1]), use.classes[0], np.uint8)
                yield Part(rows.stop / shape[0], rows, labels, np.zeros(labels.shape, np.float32))
            return
        device = self._on(device)
        if parts is None:
            inputs = prepared(image, use.inputs, use.objects, checkpoint, device)
            found = bands(self.network, inputs, use.patch, device, checkpoint)
        else:
            found = joined(self.network, shape, use.patch, parts)
        # For a cut alone half precision is fine, and saves a large image much.
        precision = np.float32 if want_probability or not large else np.float16
        kept: Any = (
            None if cut is None else TemporaryPlane(shape, precision, folder) if large else np.zeros(shape, precision)
        )
        for first, band in found:
            rows = slice(first, first + band.shape[1])
            p = band.max(axis=0)
            if cut is None:
                yield self._part(rows, self._labels(band), p, outside, shape)
                continue
            if outside is not None and use.signed:  # else what is nothing now would be turned into an object
                p[outside[rows]] = 0
            if large:
                kept.write(first, p)
            else:
                kept[rows] = p
            yield Part(rows.stop / shape[0])
        if cut is not None:
            classes = np.array(use.classes, np.uint8)
            for rows, p, mask in cut(kept, image, checkpoint, device):
                yield self._part(rows, classes[mask.view(np.uint8)], p, outside, shape, done=1.0)

    def _part(
        self,
        rows: slice,
        labels: np.ndarray,
        p: np.ndarray,
        outside: Any,
        shape: tuple[int, ...],
        done: float | None = None,
    ) -> Part:
        """Return finished rows, nothing outside of the field of view."""
        if outside is not None:
            beyond = outside[rows]
            labels[beyond] = self.use.classes[0]
            p = np.where(beyond, np.float32(0), p)
        return Part(rows.stop / shape[0] if done is None else done, rows, labels, p)

    def _rows_of(self, plane: Plane, name: str) -> Plane:
        """Do what `check` does where rows are read."""
        self.check(np.zeros((*plane.shape[:-2], *(min(n, 64) for n in plane.shape[-2:])), plane.dtype), name)
        if plane.dtype.kind in "ui" and plane.dtype.itemsize <= 2:
            return plane
        return plane.map(lambda block: as_float32(block, name), np.float32)

    def prepare(
        self, image: np.ndarray, device: torch.device, checkpoint: Checkpoint | None = None, name: str = "The image"
    ) -> Any:
        """Return what `part` takes of an image plane, the arguments as in `predict`; None where there is nothing."""
        from napari_metastructure.networks.predict import prepared

        image, _, share = self._within(self._ready(image, name))
        if share == 1:
            return None
        return prepared(image, self.use.inputs, self.use.objects, checkpoint, self._on(device))

    def part(self, inputs: Any, rows: range, device: torch.device, checkpoint: Checkpoint | None = None) -> np.ndarray:
        """Predict some rows of tiles of a prepared plane: what they add to it, (K, rows, X) float32, for `steps`."""
        from napari_metastructure.networks.predict import bands

        made = bands(self.network, inputs, self.use.patch, self._on(device), checkpoint, rows=rows)
        return np.concatenate([band for _, band in made], axis=1)

    def _ready(self, image: Any, name: str) -> Any:
        """Check an image; a large one is a `Plane` then, whether it was lazy or an array."""
        from napari_metastructure.networks.predict import WHOLE

        large = int(np.prod(image.shape)) > WHOLE
        return self._rows_of(as_plane(image), name) if large else self.check(image, name)

    def _within(self, image: Any) -> tuple[Any, Any, float]:
        """Fill what lies outside the field of view; return the image, where that is, and which share was missing."""
        if (share := missing_share(image)) == 1:
            return image, None, share
        image, missing = measured(mended(image) if self.use.surround else image, margins=self.use.surround)
        outside = surround(image, self.use.objects) if self.use.surround else None
        return (image if outside is None else fill(image, outside)), together(outside, missing), share

    def check(self, image: np.ndarray, name: str = "The image") -> np.ndarray:
        """Return the image as float32 or, to save memory, as the small integers it holds; (Y, X) for one channel.

        Raises
        ------
        InputError
            As `predict`.
        """
        image, wanted = np.asarray(image), self.use.channels
        found = 1 if image.ndim == 2 else len(image)
        if image.ndim not in (2, 3) or found != wanted:
            has = counted(found, "channel") if image.ndim in (2, 3) else f"{image.ndim} dimensions"
            raise InputError(f"{name} has {has}, but {self.path} was trained on images of {amount(wanted)}.")
        planes = image[None] if image.ndim == 2 else image
        small = image.dtype.kind in "ui" and image.dtype.itemsize <= 2
        names = [name] if wanted == 1 else [f"{name}, channel {index}" for index in range(wanted)]
        checked = planes if small else np.empty(planes.shape, np.float32)
        for index, (plane, called) in enumerate(zip(planes, names, strict=True)):
            as_float = check_plane(plane, called)
            if not small:
                checked[index] = as_float
        return checked[0] if wanted == 1 else checked

    def inputs_of(self, image: np.ndarray) -> np.ndarray:
        """Return what the network sees of an image that `check` has passed: a (C', Y, X) float32 array."""
        return network_inputs(image, self.use.inputs, self.use.objects)

    def release(self) -> None:
        """Give the memory of an accelerator back; the model can still be used."""
        from napari_metastructure.networks.device import release

        self.network.cpu()
        if self._device is not None:
            release(self._device)

    def _on(self, device: str | torch.device) -> torch.device:
        """Put the network on a device; return it."""
        from napari_metastructure.networks.device import place, resolve

        device = resolve(device) if isinstance(device, str) else device
        place(self.network, device)
        self._device = device
        return device

    def _labels(self, band: np.ndarray) -> np.ndarray:
        """Return the class values of (K, rows, X) probabilities: above one half, or the likeliest."""
        classes = np.array(self.use.classes, np.uint8)
        return classes[(band[0] > 0.5).astype(np.intp) if len(band) == 1 else band.argmax(axis=0)]
