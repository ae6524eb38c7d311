"""A napari image layer as the engine takes it: a list of 2D planes, and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.visible import full

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_metastructure.images.channels import Colour
    from napari_metastructure.images.image import Image as ColourImage

EAGER_BYTES = 32 * 2**20
"""In-memory layers up to this size are checked at once on Run; larger or lazy ones in the thread."""


@dataclass(frozen=True)
class Source:
    """An image layer chosen for a run.

    Attributes
    ----------
    layer : napari.layers.Image
        The layer; multiscale layers count with their full resolution.
    shape : tuple of int
        Its pixel shape ``([T, Z, ...], Y, X)``, without RGB samples.
    """

    layer: Image
    shape: tuple[int, ...]

    @classmethod
    def of(cls, layer: Layer) -> Source:
        """Check what can be told without reading pixels.

        Raises
        ------
        InputError
            If it is no image layer or has fewer than two dimensions.
        """
        from napari.layers import Image

        if not isinstance(layer, Image):
            kind = type(layer).__name__
            raise InputError(f"Layer {layer.name!r} is a {kind} layer; choose an Image layer.")
        shape = tuple(int(n) for n in full(layer).shape)
        shape = shape[:-1] if layer.rgb else shape
        if len(shape) < 2:
            raise InputError(f"Layer {layer.name!r} has {len(shape)} dimension; an image needs at least two.")
        if 0 in shape:
            raise InputError(f"Layer {layer.name!r} is empty (shape {shape}); choose an image with pixels.")
        return cls(layer, shape)

    @property
    def name(self) -> str:
        """What messages and layers call it."""
        return self.layer.name

    @property
    def leading(self) -> tuple[int, ...]:
        """Shape of the axes before Y and X."""
        return self.shape[:-2]

    @property
    def count(self) -> int:
        """Number of 2D planes."""
        return int(np.prod(self.leading, dtype=int))

    @property
    def eager(self) -> bool:
        """Whether reading all pixels takes no noticeable time."""
        data = full(self.layer)
        return isinstance(data, np.ndarray) and data.nbytes <= EAGER_BYTES

    def names(self) -> list[str]:
        """A name for each plane, as messages and files of a run give it."""
        if self.count == 1:
            return [self.name]
        return [f"{self.name} [{', '.join(map(str, at))}]" for at in np.ndindex(self.leading)]

    def planes(self, colour: Colour | None = None) -> Iterator[np.ndarray]:
        """Each plane as checked (Y, X) float32, in C order of the leading axes; of RGB that colour, or the luminance.

        Raises
        ------
        InputError
            If a plane has NaN, is constant or too small; the message names it.
        """
        from napari_metastructure.images.checks import check_plane

        for at, name in zip(np.ndindex(self.leading), self.names(), strict=True):
            yield check_plane(self.plane(at, colour), f"Layer {name!r}")

    def plane(self, at: tuple[int, ...], colour: Colour | None = None) -> np.ndarray:
        """The (Y, X) pixels at a place along the leading axes, unchecked; of RGB that colour, or the luminance."""
        if not self.layer.rgb:
            return np.asarray(full(self.layer)[at])
        from napari_metastructure.images import axes

        (pixels,) = axes.planes(self.coloured(at), colour)
        return pixels

    def coloured(self, at: tuple[int, ...]) -> ColourImage:
        """The (Y, X, samples) pixels of an RGB layer at a place along the leading axes."""
        from napari_metastructure.images.image import Image

        return Image(np.asarray(full(self.layer)[at]), "YXS", (1, 1, 1), ("pixel",) * 3, self.name)

    def join(self, planes: Sequence[np.ndarray]) -> np.ndarray:
        """Put one array per plane back in place: ``([T, Z, ...], Y, X)``."""
        return np.stack(planes).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class ColourTaken:
    """An event: of RGB layers this channel is segmented."""

    colour: Colour

    def __str__(self) -> str:
        """What the user is told."""
        return f"RGB images: the {self.colour} channel is used. To use another, split the RGB layer and tick that one."


def colour_of(sources: Sequence[Source]) -> Colour | None:
    """The channel in which the RGB layers among these are best segmented; None if there are none, or all are grey.

    Takes up to some seconds.
    """
    from napari_metastructure.images.channels import SAMPLE, choose_channel

    every = [(source, at) for source in sources if source.layer.rgb for at in np.ndindex(source.leading)]
    some = np.unique(np.linspace(0, len(every) - 1, SAMPLE).astype(int)) if every else ()
    return choose_channel([every[i][0].coloured(every[i][1]) for i in some])


def sources_of(layers: Sequence[Layer]) -> list[Source]:
    """Check a choice of layers; they must agree in their number of dimensions.

    The epoch axis comes before all others, and napari aligns axes from the right: of layers with different
    numbers of dimensions, one layer's epochs would share a slider with another's slices.
    """
    if not layers:
        raise InputError("No image layer is chosen; open an image and tick its layer in the list.")
    sources = [Source.of(layer) for layer in layers]
    first = sources[0]
    for other in sources[1:]:
        if len(other.shape) != len(first.shape):
            raise InputError(
                f"Layer {first.name!r} has {len(first.shape)} dimensions and {other.name!r} has "
                f"{len(other.shape)}; run them one after the other."
            )
    return sources
