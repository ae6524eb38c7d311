"""A napari image layer as the engine takes it: a list of 2D planes, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Layer

from napari_metastructure.errors import InputError, counted, sized
from napari_metastructure.images.channels import Colour
from napari_metastructure.images.image import Image as PixelImage
from napari_metastructure.images.image import channel_planes
from napari_metastructure.images.lazy import as_plane, computed, is_large, opened
from napari_metastructure.images.ranges import ALL, Chosen, put_back, taken
from napari_metastructure.networks.batch import Plane, PlaneAxes
from napari_metastructure.plugin._layers import full, made_from, placement


def read_at_once(sources: Sequence[Source]) -> list[np.ndarray] | None:
    """`read_planes`, or None where that would take long: much to read, or a colour to choose."""
    quick = all(source.eager and not source.layer.rgb for source in sources)
    return read_planes(sources) if quick else None


def read_planes(sources: Sequence[Source], colour: str | None = None, lazily: bool = False) -> list[Any]:
    """Every source's checked planes, one after the other; of RGB layers that colour, or their luminance.

    With ``lazily``, those of a large lazy layer are read, and checked, when they are needed.
    """
    from napari_metastructure.images.intensity import check_planes

    found = [plane for source in sources for plane in source.planes(colour, lazily)]
    return check_planes(found, [f"Layer {name!r}" for source in sources for name in source.names()])


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
    kept : tuple of int, or None
        The numbers of the planes that are taken, in C order of the leading axes; None for all.
    note : str
        Which they are, in words.
    data : array
        Its pixels at full resolution, which stay those of the run whatever the layer is given meanwhile.
    """

    layer: Image
    shape: tuple[int, ...]
    kept: tuple[int, ...] | None = None
    note: str = ""
    data: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, layer: Layer, chosen: Chosen = ALL) -> Source:
        """Check everything that needs no pixels.

        Raises
        ------
        InputError
            If it is no image layer, has fewer than two dimensions, or no such planes as are chosen.
        """
        from napari.layers import Image

        if not isinstance(layer, Image):
            kind = type(layer).__name__
            raise InputError(f"Layer {layer.name!r} is a {kind} layer; choose an Image layer.")
        data = full(layer)
        shape = tuple(int(n) for n in data.shape)
        shape = shape[:-1] if layer.rgb else shape
        if len(shape) < 2:
            raise InputError(f"Layer {layer.name!r} has {len(shape)} dimension; an image needs at least two.")
        if 0 in shape:
            raise InputError(f"Layer {layer.name!r} is empty (shape {shape}); choose an image with pixels.")
        kept = chosen.kept(shape[:-2], f"Layer {layer.name!r}")
        return cls(layer, shape, kept, chosen.note(shape[:-2]), data)

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
        """Number of 2D planes that are taken."""
        return self.whole if self.kept is None else len(self.kept)

    @property
    def whole(self) -> int:
        """Number of 2D planes of the layer."""
        return int(np.prod(self.leading, dtype=int))

    @property
    def places(self) -> list[tuple[int, ...]]:
        """Where each plane that is taken lies along the leading axes."""
        return taken(list(np.ndindex(self.leading)), self.kept)

    @property
    def eager(self) -> bool:
        """Whether reading all pixels takes no noticeable time."""
        return isinstance(self.data, np.ndarray) and self.data.nbytes <= EAGER_BYTES

    def placement(self, leading: str | None = None) -> dict[str, Any]:
        """Keyword arguments that lay a new layer over it, with one axis more in front or none; see `placement`."""
        return placement(self.layer, leading, len(self.shape))

    def names(self) -> list[str]:
        """Name each plane, as messages and files of a run do."""
        if self.whole == 1:
            return [self.name]
        return [f"{self.name} [{', '.join(map(str, at))}]" for at in self.places]

    def planes(self, colour: str | None = None, lazily: bool = False) -> Iterator[Any]:
        """Each plane as checked (Y, X) float32, in C order of the leading axes; of RGB that colour, or the luminance.

        Raises
        ------
        InputError
            If a plane cannot be used; the message names it.
        """
        from napari_metastructure.images.intensity import check_plane

        lazily = lazily and not self.layer.rgb and is_large(self.data)
        for at, name in zip(self.places, self.names(), strict=True):
            yield as_plane(self.data[at]) if lazily else check_plane(self.plane(at, colour), f"Layer {name!r}")

    def plane(self, at: tuple[int, ...], colour: str | None = None) -> np.ndarray:
        """Read the (Y, X) pixels at a place along the leading axes, unchecked; of RGB that colour, or the luminance."""
        if not self.layer.rgb:
            return computed(self.data[at])
        from napari_metastructure.images import image as axes

        (pixels,) = axes.planes(self.coloured(at), colour)
        return pixels

    def measured(self, at: tuple[int, ...], colour: str | None = None, mend: bool = False) -> np.ndarray:
        """Read a plane as a run sees it: checked, float32, and filled where pixels are NaN, infinite, or flaws."""
        from napari_metastructure.images.defects import mended
        from napari_metastructure.images.intensity import check_plane
        from napari_metastructure.images.surround import measured

        plane = check_plane(self.plane(at, colour), f"Layer {self.name!r}")
        return measured(mended(plane) if mend else plane, margins=mend)[0]

    def coloured(self, at: tuple[int, ...]) -> PixelImage:
        """Read the (Y, X, samples) pixels of an RGB layer at a place along the leading axes."""
        from napari_metastructure.images.image import Image as PixelImage

        return PixelImage(np.asarray(self.data[at]), "YXS", (1, 1, 1), ("pixel",) * 3, self.name)

    def join(self, planes: Sequence[np.ndarray], empty: int = 0) -> np.ndarray:
        """Put one array per plane back in place, ``([T, Z, ...], Y, X)``; planes that are not taken are empty."""
        return np.stack(put_back(planes, self.kept, self.whole, empty)).reshape(self.shape)

    def part(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Return of pixels of its shape the planes that are taken."""
        return taken(list(pixels.reshape(-1, *self.shape[-2:])), self.kept)

    def plane_of(self, number: int) -> int:
        """Return which plane of the layer one of those that are taken is."""
        return number if self.kept is None else self.kept[number]

    def number(self, plane: int) -> int | None:
        """Return which of the planes that are taken one of the layer is; None if it is not."""
        return plane if self.kept is None else self.kept.index(plane) if plane in self.kept else None


@dataclass(frozen=True, slots=True)
class ColourTaken:
    """An event: of RGB layers this channel is segmented."""

    colour: Colour

    def __str__(self) -> str:
        """Say it to the user."""
        return f"RGB images: the {self.colour} channel is used. To use another, split the RGB layer and tick that one."


def colour_of(sources: Sequence[Source]) -> Colour | None:
    """Choose the channel in which the RGB layers are best segmented; None if there are none, or all are grey.

    This may take a few seconds.
    """
    from napari_metastructure.images.channels import SAMPLE, choose_channel

    every = [(source, at) for source in sources if source.layer.rgb for at in source.places]
    some = np.unique(np.linspace(0, len(every) - 1, SAMPLE).astype(int)) if every else ()
    return choose_channel([every[i][0].coloured(every[i][1]) for i in some])


def sources_of(layers: Sequence[Layer], chosen: Chosen = ALL) -> list[Source]:
    """Check a choice of layers and of their planes; they must agree in their number of dimensions.

    The epoch axis comes before all others, and napari aligns axes from the right: of layers with different
    numbers of dimensions, one layer's epochs would share a slider with another's slices.
    """
    if not layers:
        raise InputError("No image layer is chosen; open an image and tick its layer in the list.")
    sources = [Source.of(layer, chosen) for layer in layers]
    first = sources[0]
    for other in sources[1:]:
        if len(other.shape) != len(first.shape):
            raise InputError(
                f"Layer {first.name!r} has {counted(len(first.shape), 'dimension')} and {other.name!r} has "
                f"{len(other.shape)}; run them one after the other."
            )
    return sources


# ---- what is on screen of an image layer ---------------------------------------------------------------------


MOST_TRIED = 4096**2
"""Pixels on screen that can be tried on."""


def part_on_screen(
    viewer: napari.Viewer, source: Source
) -> tuple[Callable[[], np.ndarray], dict[str, Any], Callable[[], dict[str, Any]]]:
    """Find the pixels of an image that are on screen.

    Returns
    -------
    read : callable
        Reads them, (Y, X) or (Y, X, samples); of a lazy layer that may take long.
    look : dict
        Keyword arguments that show them as the image is shown.
    where : callable
        Returns those that place them, as the image lies by then.

    Raises
    ------
    InputError
        If there are none, or too many.
    """
    layer: Image = source.layer
    if viewer.dims.ndisplay != 2 or set(viewer.dims.displayed) != {viewer.dims.ndim - 2, viewer.dims.ndim - 1}:
        raise InputError("Try on what I see needs the axes Y and X on screen, in 2D.")
    point = np.rint(layer.world_to_data(viewer.dims.point)).astype(int)[: len(source.leading)]
    at = tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(point, source.leading, strict=True))
    coarse = layer.downsample_factors[layer.data_level] if layer.multiscale else np.ones(len(source.shape))
    corners = (np.asarray(layer.corner_pixels) * coarse)[:, -2:]
    low = np.clip(np.floor(corners[0]), 0, source.shape[-2:]).astype(int)
    high = np.clip(np.ceil(corners[1] + 1), 0, source.shape[-2:]).astype(int)
    if not layer.visible or np.any(high - low < 2):
        raise InputError(f"Layer {layer.name!r} is not on screen; show it, or move it into view.")
    if np.prod(high - low) > MOST_TRIED:
        raise InputError(f"Layer {layer.name!r} has {sized(high - low)} on screen, too many for a try; zoom in first.")
    index = (*at, slice(low[0], high[0]), slice(low[1], high[1]))

    def where() -> dict[str, Any]:
        lies = placement(layer, ndim=2)
        shift = lies["rotate"] @ lies["shear"] @ (np.array(lies["scale"]) * low)
        return {**lies, "translate": tuple(lies["translate"] + shift)}

    look = {"rgb": layer.rgb, "name": f"{layer.name} (part)", "metadata": made_from(layer)}
    if not layer.rgb:
        look |= {"colormap": layer.colormap, "contrast_limits": layer.contrast_limits, "gamma": layer.gamma}
    return lambda: np.asarray(source.data[index]), look, where


# ---- an image layer as a model takes it --------------------------------------------------------------------


@dataclass(frozen=True)
class ModelLayer:
    """An image layer chosen for a model.

    Attributes
    ----------
    source : Source
    axes : PlaneAxes
        Without the samples of RGB layers.
    channels : int
        How many the model takes.
    channel : str or None
        Of RGB layers, for a model of one channel.
    """

    source: Source
    axes: PlaneAxes
    channels: int
    channel: str | None

    @classmethod
    def of(cls, source: Source, channels: int, channel: str | None = None) -> ModelLayer:
        """Match a layer to a model with this number of channels, without reading its pixels.

        Raises
        ------
        InputError
            If it does not fit; the message names the layer.
        """
        if channels == 1 or source.layer.rgb:
            made = cls(source, PlaneAxes(source.shape), channels, channel)
            made._plane(np.zeros((2, 2, *source.data.shape[len(source.shape) :])))  # whether it can be
            return made
        if channel is not None:
            raise InputError(f"All {channels} channels of layer {source.name!r} are taken; leave Channel empty.")
        labels = [str(label) for label in source.layer.axis_labels]
        axes = PlaneAxes.find(source.shape, labels, channels, f"Layer {source.name!r}")
        if source.kept is not None:
            at = [list(places) for places in np.unravel_index(source.kept, source.leading)]
            if len(set(at.pop(axes.axis or 0))) < channels:
                raise InputError(
                    f"The model takes all {channels} channels of layer {source.name!r}; choose none of them alone."
                )
            kept = np.unique(np.ravel_multi_index(at, axes.leading)) if at else [0]
            source = replace(source, kept=tuple(map(int, kept)))
        return cls(source, axes, channels, None)

    def planes(self) -> list[Plane]:
        """List what messages call each plane, and what reads it, in C order."""
        made: list[Plane] = []
        for at, index in self.places:
            name = f"Layer {self.source.name!r}" + (f" [{', '.join(map(str, at))}]" if at else "")
            made.append((name, partial(self._read, index)))
        return made

    @property
    def places(self) -> list[tuple[tuple[int, ...], tuple[int | slice, ...]]]:
        """Each plane that is taken: its place along the axes before Y and X, and its index, see `PlaneAxes`."""
        return taken(list(self.axes.places()), self.source.kept)

    def placement(self) -> dict[str, Any]:
        """Keyword arguments that lay the result over the layer, at all of its channels."""
        axis = self.axes.axis
        where = placement(self.source.layer, ndim=len(self.source.shape) - (axis == 0))
        if axis:  # one step as long as all channels together
            scale, translate = np.array(where["scale"]), np.array(where["translate"])
            step = np.zeros(len(scale))
            step[axis] = scale[axis] * (self.channels - 1) / 2
            scale[axis] *= self.channels
            where["scale"] = tuple(scale)
            where["translate"] = tuple(translate + np.asarray(where["rotate"]) @ step)
        return where

    def _read(self, index: tuple[int | slice, ...]) -> Any:
        pixels = opened(self.source.data[index])
        return pixels if self.axes.axis is not None else self._plane(pixels)

    def _plane(self, pixels: Any) -> Any:
        """Take what the model needs of a (Y, X) or (Y, X, samples) plane."""
        axes = "YXS" if self.source.layer.rgb else "YX"
        image = PixelImage(pixels, axes, (1.0,) * len(axes), ("pixel",) * len(axes), f"Layer {self.source.name!r}")
        return channel_planes(image, self.channels, self.channel)[0]
