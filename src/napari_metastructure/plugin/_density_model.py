"""Densities of label layers: settings, units of bandwidths, maps and measurements of the visible slices."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from napari.layers import Layer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_metastructure.errors import InputError, MetastructureError, explain, sized
from napari_metastructure.labels import density
from napari_metastructure.labels.classes import LabelStack, PlaneDone
from napari_metastructure.labels.readings import Reading, meaning_of
from napari_metastructure.labels.structure import ClassHistogram, Comparison
from napari_metastructure.plugin._calibration import pixel_size
from napari_metastructure.plugin._layers import VisiblePlane, result_name

Unit = Literal["pixel", "layer"]


class DensitySettings(BaseModel):
    """Settings of density estimation and display."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reading: Reading = Field(
        "foreground",
        title="Labels are",
        description="What the numbers in the labels mean. Foreground: 0 and one other label. Objects: instance "
        "numbers, every one but 0 is foreground. Classes: each number is a class. 255 is unlabelled.",
    )
    label_class: int | None = Field(
        1,
        title="Density of",
        ge=0,
        description="The class whose density is shown, or a map for each class above 0.",
    )
    kernel: density.Kernel = Field(
        "box",
        description="How much neighbours count. Box (the paper's): all pixels within the bandwidth equally. "
        "Epanechnikov: near ones more. Gaussian: near ones more, and some even beyond the bandwidth.",
    )
    bandwidth: float = Field(
        8.0,
        gt=0,
        allow_inf_nan=False,
        description="How far around each place pixels count: radius of box and Epanechnikov, sigma of Gaussian.",
    )
    unit: Unit = Field("pixel", description="Give the bandwidth in pixels, or in the unit of the layer.")
    edges: bool = Field(
        False,
        title="Correct edges",
        description="Divide by the share of the kernel that lies on labelled pixels of the image. Off: the "
        "density falls towards the edges.",
    )
    one_scale: bool = Field(
        True,
        title="Same contrast",
        description="All maps on one contrast scale, from 0 to the highest density in any. Off: each map from its own "
        "lowest to its own highest, which shows the pattern in maps that are nearly even.",
    )
    side_by_side: bool = Field(
        False,
        title="Side by side",
        description="Lay the maps beside their labels (below them, if the labels lie apart) instead of over them.",
    )

    @property
    def several(self) -> bool:
        """Whether a layer may have several maps."""
        return self.label_class is None and self.reading == "classes"

    def described(self) -> dict[str, Any]:
        """Return what a map's metadata says of how it was made; not how it is shown."""
        return self.model_dump(mode="json", exclude={"label_class", "one_scale", "side_by_side"})

    def changed(self, **values: Any) -> DensitySettings:
        """Return the settings with some of them replaced.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the setting.
        """
        try:
            return DensitySettings(**{**self.model_dump(), **values})
        except ValidationError as error:
            raise InputError(explain(error, DensitySettings)) from None


# ---- maps and measurements of the visible slices -----------------------------------------------------------


@dataclass(frozen=True)
class DensityRequest:
    """The density of one layer's visible plane, or of its whole stack.

    Attributes
    ----------
    layer : napari.layers.Labels
    settings : DensitySettings
    stack : LabelStack or None
        The planes of the layer; None where there is a problem.
    plane : VisiblePlane or None
        The one on screen.
    bandwidth : (float, float)
        In pixels along Y and X.
    reference : (LabelStack, int) or None
        Where the true classes are, and on which plane; None if there are none but the layer's own.
    reference_layer : napari.layers.Labels or None
        The layer of the reference.
    versions : tuple of int
        Count the changes of the stack, and of that of the reference: equal numbers, equal pixels.
    problem : str
        Why there is nothing to compute, in one sentence.
    """

    layer: Layer
    settings: DensitySettings
    stack: LabelStack | None = None
    plane: VisiblePlane | None = None
    bandwidth: tuple[float, float] = (1.0, 1.0)
    reference: tuple[LabelStack, int] | None = None
    reference_layer: Layer | None = None
    versions: tuple[int, ...] = ()
    problem: str = ""

    def origin(self, label_class: int) -> dict[str, Any]:
        """Describe how a map was made, for its layer's metadata."""
        return {
            "source": self.layer.name,
            "class": label_class,
            "settings": self.settings.described(),
            "bandwidth in pixels": list(self.bandwidth),
        }


@dataclass(frozen=True)
class DensityResult:
    """The density maps of one layer's plane, and what they say; `measure` adds histograms and comparison.

    Attributes
    ----------
    request : DensityRequest
    labels : (Y, X) array or None
        The classes; None where they could not be read.
    classes : tuple of int
        Those on the plane.
    maps : dict of int to (Y, X) float32 array
        By class; empty where there are none.
    tops : dict of int to float
        The highest density of each map.
    problem, note : str
        Why there is no map, or no measurement; why a map is empty.
    histograms : tuple of ClassHistogram
        Of each map, by true class.
    comparison : Comparison or None
        With the reference.
    foreground : int or None
        The number in the layer of the true classes that is read as class 1, where that is not 1.
    """

    request: DensityRequest
    labels: np.ndarray | None = None
    classes: tuple[int, ...] = ()
    maps: density.Maps = field(default_factory=dict)
    tops: Mapping[int, float] = field(default_factory=dict)
    problem: str = ""
    note: str = ""
    histograms: tuple[ClassHistogram, ...] = ()
    comparison: Comparison | None = None
    foreground: int | None = None

    @property
    def name(self) -> str:
        """The name of the layer."""
        return str(self.request.layer.name)

    @property
    def reference(self) -> str:
        """The name of the layer of the true classes."""
        layer = self.request.reference_layer
        return self.name if layer is None else str(layer.name)


class DensityWorker:
    """Computes maps in a background thread; of what has not changed the last maps are kept."""

    def __init__(self) -> None:
        self._before: dict[Hashable, DensityResult] = {}

    def compute(self, requests: Sequence[DensityRequest]) -> list[DensityResult]:
        """Compute the maps of each request; what is wrong with one leaves the others alone."""
        kept: dict[Hashable, DensityResult] = {}
        results = [self._compute(request, kept) for request in requests]
        self._before = kept
        return results

    def _compute(self, request: DensityRequest, kept: dict[Hashable, DensityResult]) -> DensityResult:
        stack, plane, how = request.stack, request.plane, request.settings
        if stack is None or plane is None:
            return DensityResult(request, problem=request.problem)
        key = _key(stack, request.versions[0], plane.index, request)
        try:
            if (known := self._before.get(key)) is not None:
                result = replace(known, request=request, problem=request.problem)
            else:
                labels, classes = stack.read_alone(plane.index)
                density.check_bandwidth(request.bandwidth, labels.shape, stack.name)
                maps = density.plane_maps(labels, classes, how.label_class, how.kernel, request.bandwidth, how.edges)
                tops = {label: float(values.max()) for label, values in maps.items()}
                what = "no class above 0" if how.label_class is None else f"no pixel of class {how.label_class}"
                note = "" if any(tops.values()) else f"{stack.name} has {what} on this slice; its map is empty."
                result = DensityResult(request, labels, classes, maps, tops, request.problem, note)
        except MetastructureError as error:
            return DensityResult(request, problem=str(error))
        except Exception as error:  # a lazy layer may fail in any way; the widget has to live on
            return DensityResult(request, problem=f"{stack.name} cannot be read: {error}.")
        kept[key] = result
        return result


def _key(stack: LabelStack, version: int, index: int, request: DensityRequest) -> Hashable:
    how = request.settings
    return stack, version, index, request.bandwidth, how.label_class, how.kernel, how.edges


def measure(results: Sequence[DensityResult]) -> list[DensityResult]:
    """Add histograms and the comparison with the reference to all results that have maps."""
    maps = {}
    for result in results:
        request = result.request
        if request.stack is not None and request.plane is not None:
            maps[_key(request.stack, request.versions[0], request.plane.index, request)] = result.maps
    return [result if result.labels is None else _measured(result, maps) for result in results]


def _measured(result: DensityResult, maps: Mapping[Hashable, density.Maps]) -> DensityResult:
    from napari_metastructure.labels.structure import compare_labels

    request, labels = result.request, result.labels
    assert labels is not None
    how, bandwidth = request.settings, request.bandwidth
    assert request.stack is not None
    assert request.plane is not None
    if request.reference is None:
        number = _foreground(request.stack, request.plane.index)
        return replace(result, histograms=tuple(_histograms(result, labels, result.classes)), foreground=number)
    stack, index = request.reference
    try:
        truth, classes = stack.read_alone(index)
        if truth.shape != labels.shape:
            raise InputError(
                f"Layer {result.name!r} has {sized(labels.shape)} but {result.reference!r} has {sized(truth.shape)}; "
                "choose true classes of the same size."
            )
        histograms = tuple(_histograms(result, truth, classes))
        result = replace(result, histograms=histograms, foreground=_foreground(stack, index))
        true_maps = maps.get(_key(stack, request.versions[1], index, request))  # there already if it is ticked as well
        if not true_maps:
            true_maps = density.plane_maps(truth, classes, how.label_class, how.kernel, bandwidth, how.edges)
        comparison = compare_labels(truth, labels, how.kernel, bandwidth, maps=(true_maps, result.maps))
    except MetastructureError as error:
        return replace(result, problem=str(error))
    except Exception as error:  # a lazy layer may fail in any way
        return replace(result, problem=f"{stack.name} cannot be read: {error}.")
    return replace(result, comparison=comparison)


def _foreground(stack: LabelStack, index: int) -> int | None:
    """Find the number of a plane that is read as class 1, if that is not 1."""
    values = {stack.name: stack.values_of(index)}
    return meaning_of(values, stack.reading, stack.name, may_be_empty=True).foreground


def _histograms(result: DensityResult, truth: np.ndarray, classes: tuple[int, ...]) -> Iterator[ClassHistogram]:
    from napari_metastructure.labels.structure import class_histogram, density_step

    how, labels = result.request.settings, result.labels
    assert labels is not None
    for label, values in result.maps.items():
        if result.tops[label] > 0:
            step = density_step(labels, label, how.kernel, result.request.bandwidth, edges=how.edges)
            yield class_histogram(map_name(result.name, label, how.several), values, truth, classes, step=step)


def map_name(source: str, label_class: int, several: bool) -> str:
    """Name a density layer: class 1 alone needs no number."""
    return result_name(source, f"density {label_class}" if several or label_class != 1 else "density")


@dataclass(frozen=True)
class StackMap:
    """The density of a class in a whole stack, and the contrast limits to show it with."""

    request: DensityRequest
    label_class: int
    values: np.ndarray
    limits: tuple[float, float]


def stacks_job(requests: Sequence[DensityRequest]) -> Iterator[PlaneDone | tuple[StackMap, ...]]:
    """Compute the densities of whole stacks: yields progress, and at last a map for each request and class."""
    total, before = sum(len(request.stack or ()) for request in requests), 0
    found: list[StackMap] = []
    for request in requests:
        assert request.stack is not None
        how = request.settings
        for event in density.densities_of_stack(
            request.stack, how.label_class, how.kernel, request.bandwidth, edges=how.edges
        ):
            if isinstance(event, PlaneDone):
                yield PlaneDone(before + event.done, total)
            else:
                ranges = {label: (float(values.min()), float(values.max())) for label, values in event.items()}
                found += [StackMap(request, label, values, ranges[label]) for label, values in event.items()]
        before += len(request.stack)
    top = max((made.limits[1] for made in found), default=0.0)
    yield tuple(replace(made, limits=(0.0, top)) if made.request.settings.one_scale else made for made in found)


# ---- bandwidths in the unit of a layer, as pixels of that layer ---------------------------------------------


def unit_symbol(layer: Layer) -> str | None:
    """Return the symbol of a layer's unit; None if the layer knows nothing but pixels."""
    if (symbol := f"{layer.units[-1]:~P}") not in ("px", "pixel"):
        return symbol
    return None if np.allclose(pixel_size(layer), 1) else "scaled"


def bandwidth_in_pixels(settings: DensitySettings, layer: Layer, first: Layer) -> tuple[float, float]:
    """Convert the bandwidth along Y and X to pixels of a layer.

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
    """Return how much of another unit one of this unit is; None if they measure different things."""
    if unit == other:
        return 1.0
    try:
        return float((1 * unit).to(other).magnitude)
    except TypeError:  # as pint, which napari brings, calls a wrong dimension
        return None
