"""Whether a file is a model at all, its description consistent, and an image of a kind it can be used on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.checks import check_plane
from napari_metastructure.images.intensity import channels_of
from napari_metastructure.labels import UNLABELLED

if TYPE_CHECKING:
    from napari_metastructure.networks.build import NetworkSpec
    from napari_metastructure.networks.checkpoint import Use

FILE = "model.safetensors"
"""What the model of a run folder is called."""


def find_model(path: str | Path) -> Path:
    """The model file that a path names: itself, or that of a run folder.

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


def is_blank(image: np.ndarray) -> bool:
    """Whether each channel of a (Y, X) or (C, Y, X) image has one value everywhere."""
    axes = (-2, -1)
    return bool((image.min(axis=axes) == image.max(axis=axes)).all())


def check_channel(plane: np.ndarray, name: str) -> np.ndarray:
    """`images.checks.check_plane`, but for planes of one value: one empty frame shall not stop a stack.

    Returns
    -------
    (Y, X) float32 array

    Raises
    ------
    InputError
        It names the plane.
    """
    if plane.ndim == 2 and plane.size and plane.dtype.kind in "buif" and plane.min() == plane.max():
        ramp = np.arange(plane.size, dtype=np.float32).reshape(plane.shape)
        check_plane(ramp, name)  # its size, then
        if np.isfinite(plane.flat[0]):
            return plane.astype(np.float32)
    return check_plane(plane, name)


def amount(channels: int) -> str:
    """So many channels, in words."""
    return "one channel" if channels == 1 else f"{channels} channels"


def check_description(spec: NetworkSpec, use: Use, path: Path) -> None:
    """Refuse a description that contradicts itself, as of a damaged or home-made file.

    Raises
    ------
    InputError
        It names the file.
    """
    binary = len(use.classes) == 2
    logits, inputs = 1 if binary else len(use.classes), channels_of(use.inputs, use.channels)
    why = ""
    if spec.classes != logits:
        why = f"{len(use.classes)} classes but {spec.classes} outputs"
    elif spec.in_channels != inputs:
        why = f"{inputs} inputs are made of an image but the network has {spec.in_channels}"
    elif list(use.classes) != sorted(set(use.classes)) or not 0 <= use.classes[0] <= use.classes[-1] < UNLABELLED:
        why = f"classes {use.classes} are no ascending values from 0 to {UNLABELLED - 1}"
    elif not all(0 < side <= 2**14 and side % 32 == 0 for side in use.patch):
        why = f"tiles of {use.patch[0]} x {use.patch[1]} pixels"
    elif use.cut != "half" and not binary:
        why = f"a cut by {use.cut} of more than two classes"
    elif use.colour is not None and use.channels > 1:
        why = f"a single colour of {use.channels} channels"
    elif use.surround and (use.channels > 1 or not binary):
        why = "a field of view of more than one channel or two classes"
    if why:
        raise InputError(f"{path} contradicts itself ({why}), so it cannot be used; save the model anew.")
