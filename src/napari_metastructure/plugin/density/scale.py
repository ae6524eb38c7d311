"""Bandwidths in the unit of a layer, as pixels of that layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_metastructure.errors import InputError

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_metastructure.plugin.density.settings import DensitySettings


def pixel_size(layer: Layer) -> tuple[float, float]:
    """A layer's pixel along Y and X, in its unit."""
    return float(abs(layer.scale[-2])), float(abs(layer.scale[-1]))


def unit_symbol(layer: Layer) -> str | None:
    """How a layer's unit is written; None if the layer knows nothing but pixels."""
    if (symbol := f"{layer.units[-1]:~P}") not in ("px", "pixel"):
        return symbol
    return None if pixel_size(layer) == (1, 1) else "scaled"


def bandwidth_in_pixels(settings: DensitySettings, layer: Layer, first: Layer) -> tuple[float, float]:
    """The bandwidth along Y and X, in pixels of a layer.

    Parameters
    ----------
    settings : DensitySettings
        A bandwidth in ``pixel`` is the same along both axes; in ``layer``, pixels that are not square give two.
    layer : napari.layers.Layer
    first : napari.layers.Layer
        The layer in whose unit the bandwidth is given.

    Raises
    ------
    InputError
        If the unit of one layer cannot be converted to that of the other.
    """
    if settings.unit == "pixel":
        return settings.bandwidth, settings.bandwidth
    sides = []
    for axis, pixel in zip((-2, -1), pixel_size(layer), strict=True):
        factor = _factor(first.units[-1], layer.units[axis])
        if factor is None:
            raise InputError(
                f"Layer {layer.name!r} is in {layer.units[axis]}, {first.name!r} in {first.units[-1]}; give the "
                "bandwidth in pixels, or tick layers of one unit."
            )
        sides.append(settings.bandwidth * factor / pixel)
    return sides[0], sides[1]


def _factor(unit: Any, other: Any) -> float | None:
    """How much of another unit one of this unit is; None if they measure different things."""
    if unit == other:
        return 1.0
    try:
        return float((1 * unit).to(other).magnitude)
    except TypeError:  # as pint, which napari brings, calls a wrong dimension
        return None
