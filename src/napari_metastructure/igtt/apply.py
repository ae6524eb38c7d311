"""Models of iGTT runs applied to other images, with the threshold chosen by the run's criterion."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.igtt.candidates import Steepness, search
from napari_metastructure.igtt.levels import Levels, blocks
from napari_metastructure.images.intensity import Polarity
from napari_metastructure.networks.model import Checkpoint, CutRows, Model


def load_model(path: str | Path) -> Model:
    """Read any model of this package, from a file or a run folder, with all that its cut takes.

    Parameters
    ----------
    path : str or Path
        A run folder, or its ``model.safetensors``.

    Returns
    -------
    Model
        Its ``predict`` gives labels and probability of an image.

    Raises
    ------
    InputError
        As `networks.model.Model.load`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from napari_metastructure.igtt.config import IGTTConfig
    >>> from napari_metastructure.igtt.iterate import iterate
    >>> from napari_metastructure.images.simulate import nuclei
    >>> first, second = (nuclei((128, 128), np.random.default_rng(seed))[0] for seed in (1, 2))
    >>> with TemporaryDirectory() as folder:
    ...     *_, end = iterate([first], IGTTConfig(device="cpu"), folder=Path(folder))
    ...     model = load_model(folder)
    >>> labels, probability = model.predict(second, device="cpu")
    >>> labels.shape, labels.dtype.name, probability.dtype.name
    ((128, 128), 'uint8', 'float32')
    """
    model = Model.load(path)
    criterion, objects, signed = model.use.cut, model.use.objects, model.use.signed
    if criterion != "half":

        def cut(p: Any, image: Any, checkpoint: Checkpoint | None, device: Any) -> Iterator[CutRows]:
            if criterion == "level" and signed:
                yield from ((rows, p[rows], mask) for rows, mask in Levels(image, objects, checkpoint, device).masks(p))
                return
            p, image = np.asarray(p), np.asarray(image)  # what other criteria take is not gathered row by row
            if not signed:  # |det Q| is the same for a mask and its inverse, so the network may be either
                turn_upright(p, image, objects)
            if criterion == "level":
                mask, _ = Levels(image, objects, checkpoint, device).cut(p)
            else:
                steep = Steepness(image, checkpoint) if criterion == "edge" else None
                mask = p > search(p, criterion, steep=steep, checkpoint=checkpoint).chosen
            yield slice(0, len(p)), p, mask

        model.cut = cut
    return model


def turn_upright(p: np.ndarray, image: np.ndarray, objects: Polarity) -> None:
    """Turn a probability around, in place, if it falls where the image rises: as a run does with eq. (6).

    Parameters
    ----------
    p : (Y, X) float32 array
    image : (Y, X) float32 array
    objects : {"bright", "dark"}
        For dark objects: if it rises where the image rises.
    """
    mean = float(image.mean(dtype=np.float64))
    covariance = sum(float(((image[own] - mean) * p[own]).sum(dtype=np.float64)) for own, _, _ in blocks(p.shape))
    if (covariance > 0) if objects == "dark" else (covariance < 0):
        np.subtract(1, p, out=p)
