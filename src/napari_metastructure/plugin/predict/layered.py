"""An image layer as a model takes it: planes of as many channels, and where the result lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.axes import channel_planes
from napari_metastructure.images.image import Image
from napari_metastructure.plugin.placement import placement
from napari_metastructure.plugin.sources import Source
from napari_metastructure.plugin.visible import full

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_metastructure.networks.batch import Plane


@dataclass(frozen=True)
class Layered:
    """An image layer chosen for a model.

    Attributes
    ----------
    source : Source
    channels : int
        How many the model takes.
    channel : str or None
        Of RGB layers, for a model of one channel.
    axis : int or None
        The layer's axis of channels; None for a model of one channel, and for RGB layers.
    """

    source: Source
    channels: int
    channel: str | None
    axis: int | None

    @classmethod
    def of(cls, layer: Layer, channels: int, channel: str | None = None) -> Layered:
        """See how a layer fits a model of so many channels, without reading its pixels.

        The channels are the axis that is called so (``c``, ``channel``), else the last before Y and X.

        Raises
        ------
        InputError
            If it does not fit; the message names the layer.
        """
        source = Source.of(layer)
        if channels == 1 or source.layer.rgb:
            made = cls(source, channels, channel, None)
            made._plane(np.zeros((2, 2, *full(layer).shape[len(source.shape) :])), source.name)  # whether it can be
            return made
        if channel is not None:
            raise InputError(f"All {channels} channels of layer {source.name!r} are taken; leave Channel empty.")
        names = [str(label).lower() for label in layer.axis_labels][: len(source.leading)]
        named = [i for i, name in enumerate(names) if name in ("c", "channel", "channels")]
        axis = named[0] if named else len(source.leading) - 1
        if axis < 0 or source.shape[axis] != channels:
            size = " x ".join(map(str, source.shape))
            raise InputError(
                f"Layer {source.name!r} ({size}) has no axis of {channels} channels, which the model takes; "
                "choose an image with such an axis before Y and X."
            )
        return cls(source, channels, channel, axis)

    @property
    def leading(self) -> tuple[int, ...]:
        """Shape of the axes that are predicted plane by plane."""
        return tuple(n for i, n in enumerate(self.source.leading) if i != self.axis)

    @property
    def count(self) -> int:
        """Number of planes."""
        return int(np.prod(self.leading, dtype=int))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result: the layer's, without an axis of channels in front; one further in has length 1."""
        shape = list(self.source.shape)
        if self.axis == 0:
            del shape[0]
        elif self.axis is not None:
            shape[self.axis] = 1
        return tuple(shape)

    def planes(self) -> list[Plane]:
        """What messages call each plane, and what reads it, in C order of `leading`."""
        made: list[Plane] = []
        for at in np.ndindex(self.leading):
            name = f"Layer {self.source.name!r}" + (f" [{', '.join(map(str, at))}]" if at else "")
            made.append((name, partial(self._read, at, name)))
        return made

    def placement(self) -> dict[str, Any]:
        """Keyword arguments that lay the result over the layer, at all of its channels."""
        where = placement(self.source.layer)
        if self.axis == 0:
            sizes = {"rotate": 2, "shear": 2, "affine": 2}
            return {key: value[1:, 1:] if key in sizes else value[1:] for key, value in where.items()}
        if self.axis is not None:  # one step as long as all channels together
            scale, translate = np.array(where["scale"]), np.array(where["translate"])
            step = np.zeros(len(scale))
            step[self.axis] = scale[self.axis] * (self.channels - 1) / 2
            scale[self.axis] *= self.channels
            where["scale"] = tuple(scale)
            where["translate"] = tuple(translate + np.asarray(where["rotate"]) @ step)
        return where

    def _read(self, at: tuple[int, ...], name: str) -> np.ndarray:
        if self.axis is not None:
            index: tuple[Any, ...] = (*at[: self.axis], slice(None), *at[self.axis :])
            return np.asarray(full(self.source.layer)[index])
        return self._plane(np.asarray(full(self.source.layer)[at]), name)

    def _plane(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """What the model takes of a (Y, X) or (Y, X, samples) plane."""
        axes = "YXS" if self.source.layer.rgb else "YX"
        image = Image(pixels, axes, (1.0,) * len(axes), ("pixel",) * len(axes), f"Layer {self.source.name!r}")
        return channel_planes(image, self.channels, self.channel)[0]
