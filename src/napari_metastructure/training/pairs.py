"""Images and their labels, read when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError

Read = Callable[[], Any]


@dataclass(frozen=True)
class Pair:
    """One image plane and its labels.

    Attributes
    ----------
    name : str
        What messages call it.
    group : str
        Planes of one image share it: a set is split between groups, never inside one.
    shape : (int, int)
        Height and width.
    read_image : callable
        Returns the (Y, X) or (C, Y, X) image.
    read_labels : callable
        Returns the (Y, X) labels: class values, 255 = unlabelled.
    files : tuple of Path
        Where they come from, if from files.
    """

    name: str
    group: str
    shape: tuple[int, int]
    read_image: Read = field(repr=False)
    read_labels: Read = field(repr=False)
    files: tuple[Path, ...] = ()


def pairs_of(
    images: Sequence[np.ndarray], labels: Sequence[np.ndarray], names: Sequence[str] | None = None
) -> list[Pair]:
    """Pairs from arrays in memory.

    Parameters
    ----------
    images : sequence of (..., Y, X) arrays
        Leading axes are planes of one group. For several channels make `Pair` yourself.
    labels : sequence of integer arrays of the same shapes
    names : sequence of str, optional

    Raises
    ------
    InputError
        If there is none, or an image and its labels differ in shape; it names them.
    """
    if len(images) != len(labels):
        raise InputError(f"There are {len(images)} images and {len(labels)} labels; give one for each.")
    found = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = names[number] if names is not None else f"image {number + 1}"
        image, label = np.asarray(image), np.asarray(label)
        check_same_size(name, image.shape, label.shape)
        for at in np.ndindex(image.shape[:-2]):
            plane, mask = image[at], label[at]
            whole = f"{name} [{', '.join(map(str, at))}]" if at else name
            found.append(Pair(whole, name, plane.shape, _held(plane), _held(mask)))
    return found


def _held(array: np.ndarray) -> Read:
    """Reads an array that is in memory."""
    return lambda: array


def check_same_size(name: str, image: Sequence[int], labels: Sequence[int]) -> None:
    """An image and its labels have to lie on each other.

    Raises
    ------
    InputError
    """
    if tuple(image) != tuple(labels):
        sizes = [" x ".join(map(str, s)) for s in (image, labels)]
        raise InputError(f"{name}: the image has {sizes[0]} pixels, its labels {sizes[1]}; give labels of that image.")


def split(pairs: Sequence[Pair], fraction: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Keep a fraction of the pairs for validation, whole groups at a time.

    Parameters
    ----------
    fraction : float
        Share of the pairs at least, 0 to 1; 0 keeps none.
    seed : int
        The same groups are kept for the same seed and names, in whatever order they come.

    Returns
    -------
    training, validation : list of Pair
        Validation is empty where all pairs are of one group: that cannot be split.
    """
    groups = sorted({pair.group for pair in pairs})
    if fraction <= 0 or len(groups) < 2:
        return list(pairs), []
    np.random.default_rng([seed, len(groups)]).shuffle(groups)
    kept: set[str] = set()
    for group in groups[:-1]:  # one is left to train on
        if sum(pair.group in kept for pair in pairs) >= fraction * len(pairs):
            break
        kept.add(group)
    return [p for p in pairs if p.group not in kept], [p for p in pairs if p.group in kept]
