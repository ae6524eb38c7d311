"""Which image layer goes with which labels layer, as chosen or as names and shapes suggest."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from napari.layers import Image, Labels, Layer

from napari_metastructure.plugin.placement import ORIGIN
from napari_metastructure.plugin.visible import full

Use = Literal["train", "validation"]

COMMON = frozenset(
    ("image", "images", "img", "raw", "mask", "masks", "label", "labels", "gt", "truth", "seg", "segmentation")
)
"""Words that tell an image's name from that of its labels, and not one image from another."""


@dataclass
class Row:
    """A pair in the making.

    Attributes
    ----------
    image, labels : layer or None
        None where nothing is chosen, or the layer is gone.
    use : {"train", "validation"}
    by : {"name", "shape", "user"}
        Why they were put together; what shapes suggest is given up when there is more to choose from.
    """

    image: Image | None = None
    labels: Labels | None = None
    use: Use = "train"
    by: Literal["name", "shape", "user"] = "user"

    @property
    def problem(self) -> str:
        """Why it cannot be trained on; empty if it can."""
        if self.image is None:
            return "has no image; choose an image layer or remove the row"
        if self.labels is None:
            return f"has no labels for image {self.image.name!r}; choose a Labels layer or remove the row"
        image, labels = shape_of(self.image), shape_of(self.labels)
        if image != labels:
            sizes = [" x ".join(map(str, shape)) for shape in (image, labels)]
            return (
                f"does not fit: image {self.image.name!r} has {sizes[0]} pixels and labels {self.labels.name!r} "
                f"{sizes[1]}; choose labels of that image"
            )
        return ""


def is_image(layer: Layer) -> bool:
    """Whether a layer can be trained on: an image that this plugin did not make."""
    return isinstance(layer, Image) and ORIGIN not in layer.metadata


def is_labels(layer: Layer) -> bool:
    """Whether a layer holds labels, clean or made noisy here."""
    return isinstance(layer, Labels)


def shape_of(layer: Layer) -> tuple[int, ...]:
    """The shape at full resolution, without RGB samples."""
    shape = tuple(int(n) for n in full(layer).shape)
    return shape[:-1] if getattr(layer, "rgb", False) else shape


def suggest(layers: Sequence[Layer], taken: Sequence[Row] = ()) -> list[Row]:
    """Pairs among layers that are in no row yet: same name but for words like "mask", else the only ones of a shape.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of the viewer.
    taken : sequence of Row

    Returns
    -------
    list of Row
        In the order of the images. Nothing is guessed: of several images with a name or shape, none is paired.
        Labels that this plugin made are left to the user, who knows which of them to train on.
    """
    gone = {id(layer) for row in taken for layer in (row.image, row.labels)}
    free = [layer for layer in layers if id(layer) not in gone]
    images = [layer for layer in free if is_image(layer)]
    labels = [layer for layer in free if is_labels(layer) and ORIGIN not in layer.metadata]
    found = {id(image): Row(image, label, by="name") for image, label in _alone(images, labels, _by_name)}
    paired = {id(row.labels) for row in found.values()}
    rest = [image for image in images if id(image) not in found]
    others = [label for label in labels if id(label) not in paired]
    found |= {id(image): Row(image, label, by="shape") for image, label in _alone(rest, others, shape_of)}
    return [found[id(image)] for image in images if id(image) in found]


def _alone(
    images: Sequence[Image], labels: Sequence[Labels], key: Callable[[Any], Hashable]
) -> list[tuple[Image, Labels]]:
    """The image and the labels of each key that belongs to one of both."""
    groups: dict[Hashable, tuple[list[Image], list[Labels]]] = defaultdict(lambda: ([], []))
    for image in images:
        groups[key(image)][0].append(image)
    for label in labels:
        groups[key(label)][1].append(label)
    return [(some[0], others[0]) for some, others in groups.values() if len(some) == 1 == len(others)]


def _by_name(layer: Layer) -> Hashable:
    """The words of a name that tell, and the shape; napari's number of a second layer of that name does not tell."""
    name = re.sub(r" \[\d+\]$", "", layer.name).lower()
    words = tuple(word for word in re.split(r"[\W_]+", name) if word and word not in COMMON)
    return (words, shape_of(layer)) if words else id(layer)
