"""Saved models, read and applied: from an image to labels and probabilities."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.intensity import check_plane
from napari_metastructure.networks import ENCODERS

if TYPE_CHECKING:
    import torch

    from napari_metastructure.networks.build import NetworkSpec
    from napari_metastructure.networks.checkpoint import Use


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

Cut = Callable[[np.ndarray, np.ndarray, Checkpoint | None, "torch.device"], np.ndarray]
"""Given the (Y, X) foreground probability and the image: the (Y, X) bool mask. May turn the former around, in place."""


class Prediction(NamedTuple):
    """What a model says of one image plane."""

    labels: np.ndarray
    """(Y, X) uint8, the values of `Use.classes`."""
    probability: np.ndarray | None
    """(Y, X) float32: of the foreground for two classes, else of the class chosen."""


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
    cut : callable, optional
        Makes the masks of models whose ``use.cut`` is not "half": `igtt.apply.load_model` gives it.

    Raises
    ------
    InputError
        If network and description do not fit each other.
    """

    def __init__(
        self, network: torch.nn.Module, spec: NetworkSpec, use: Use, path: Path, cut: Cut | None = None
    ) -> None:
        from napari_metastructure.networks.checkpoint import check_description

        self.network, self.spec, self.use, self.path, self.cut = network, spec, use, path, cut
        self._device: torch.device | None = None
        check_description(spec, use, path)

    @classmethod
    def load(cls, path: str | Path, cut: Cut | None = None) -> Self:
        """Read a model file, or the model of a run folder; no code of the file is run.

        Raises
        ------
        InputError
            If there is no model, or it is damaged, cut short, or of another program.
        """
        from napari_metastructure.networks.checkpoint import load_model

        path = find_model(path)
        return cls(*load_model(path), path, cut)

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
        image: np.ndarray,
        device: str | torch.device = "auto",
        checkpoint: Checkpoint | None = None,
        want_probability: bool = True,
        name: str = "The image",
        parts: Iterable[tuple[range, np.ndarray]] | None = None,
    ) -> Generator[float, None, Prediction]:
        """Do what `predict` does, and yield after each row of tiles which share of the image is done (0 to 1).

        With ``parts``, what `part` has made of all rows of tiles, from the top, the network is not asked again.
        """
        from napari_metastructure.images.surround import together
        from napari_metastructure.networks.predict import WHOLE, bands, joined, prepared

        image, outside, missing = self._within(self.check(image, name))
        use, shape = self.use, image.shape[-2:]
        cut = self.cut if use.cut != "half" else None
        if cut is None and use.cut != "half":
            raise ValueError(f"{self.path} is cut by iGTT's {use.cut} criterion; read it by igtt.apply.load_model")
        labels = np.full(shape, use.classes[0], np.uint8)
        # For a cut alone half precision is fine, and saves a large image much.
        precision = np.float32 if want_probability or image.size <= WHOLE else np.float16
        probability = np.zeros(shape, precision) if want_probability or cut else None
        if missing is not None and missing.all():
            return Prediction(labels, probability)
        outside = together(outside, missing)
        device = self._on(device)
        if parts is None:
            inputs = prepared(image, use.inputs, use.objects, checkpoint, device)
            found = bands(self.network, inputs, use.patch, device, checkpoint)
        else:
            found = joined(self.network, shape, use.patch, parts)
        for first, band in found:
            rows = slice(first, first + band.shape[1])
            if probability is not None:
                probability[rows] = band.max(axis=0)
            if cut is None:
                labels[rows] = self._labels(band)
            yield rows.stop / shape[0]
        if cut is not None and probability is not None:
            if outside is not None and use.signed:  # else what is nothing now would be turned into an object
                probability[outside] = 0
            labels[cut(probability, image, checkpoint, device)] = use.classes[1]
        if outside is not None:
            labels[outside] = use.classes[0]
            if probability is not None:
                probability[outside] = 0
        return Prediction(labels, probability if want_probability else None)

    def prepare(
        self, image: np.ndarray, device: torch.device, checkpoint: Checkpoint | None = None, name: str = "The image"
    ) -> Any:
        """Return what `part` takes of an image plane, the arguments as in `predict`; None where there is nothing."""
        from napari_metastructure.networks.predict import prepared

        image, _, missing = self._within(self.check(image, name))
        if missing is not None and missing.all():
            return None
        return prepared(image, self.use.inputs, self.use.objects, checkpoint, self._on(device))

    def part(self, inputs: Any, rows: range, device: torch.device, checkpoint: Checkpoint | None = None) -> np.ndarray:
        """Predict some rows of tiles of a prepared plane: what they add to it, (K, rows, X) float32, for `steps`."""
        from napari_metastructure.networks.predict import bands

        made = bands(self.network, inputs, self.use.patch, self._on(device), checkpoint, rows=rows)
        return np.concatenate([band for _, band in made], axis=1)

    def _within(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Fill what lies outside the field of view; return the image, where that is, and where nothing was measured."""
        from napari_metastructure.images.surround import fill, measured, surround

        image, missing = measured(image)
        if missing is not None and missing.all():
            return image, None, missing
        outside = surround(image, self.use.objects) if self.use.surround else None
        return (image if outside is None else fill(image, outside)), outside, missing

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
            has = f"{found} channel{'s' * (found != 1)}" if image.ndim in (2, 3) else f"{image.ndim} dimensions"
            raise InputError(f"{name} has {has}, but {self.path} was trained on images of {amount(wanted)}.")
        planes = image[None] if image.ndim == 2 else image
        small = image.dtype.kind in "bui" and image.dtype.itemsize <= 2
        names = [name] if wanted == 1 else [f"{name}, channel {index}" for index in range(wanted)]
        checked = planes if small else np.empty(planes.shape, np.float32)
        for index, (plane, called) in enumerate(zip(planes, names, strict=True)):
            as_float = check_plane(plane, called)
            if not small:
                checked[index] = as_float
        return checked[0] if wanted == 1 else checked

    def inputs_of(self, image: np.ndarray) -> np.ndarray:
        """Return what the network sees of an image that `check` has passed: a (C', Y, X) float32 array."""
        from napari_metastructure.images.intensity import network_inputs

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
