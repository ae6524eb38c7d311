"""Prediction of images that memory does not hold: read, predicted and written from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.images import lazy
from napari_metastructure.images.image import Image
from napari_metastructure.images.ome_zarr import writing_zarr
from napari_metastructure.images.writing import make_folder, writing_tiff

if TYPE_CHECKING:
    import torch

    from napari_metastructure.networks.model import Checkpoint, Model


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
