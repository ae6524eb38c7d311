"""What can be set about densities; one definition for the form, its tooltips and the layers' metadata."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import Pixels, Reader, Reading, has_unlabelled, read_classes, values_in
from napari_metastructure.labels.density import Kernel, Maps, check_bandwidth, height, plane_maps, weights
from napari_metastructure.labels.structure import BINS
from napari_metastructure.labels.structure import ClassHistogram as Humps
from napari_metastructure.labels.structure import class_histogram as humps
from napari_metastructure.plugin._density_maps import map_name
from napari_metastructure.plugin._form import title
from napari_metastructure.plugin._layers import Truths, full, is_ours, placement, visible_plane

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_metastructure.labels.transition import TransitionMatrix
    from napari_metastructure.plugin._layers import VisiblePlane, Watch
    from napari_metastructure.training.control import Control


Unit = Literal["pixel", "layer"]


class DensitySettings(BaseModel):
    """How densities are estimated and shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reading: Reading = Field(
        "foreground",
        title="Labels are",
        description="How the numbers are meant. Foreground: 0 and one other label. Objects: instance numbers, every "
        "one but 0 is foreground. Classes: each number is a class. 255 is unlabelled.",
    )
    label_class: int | None = Field(
        1,
        title="Density of",
        ge=0,
        description="The class whose pixels are taken as points; or a map for each class above 0.",
    )
    kernel: Kernel = Field(
        "box",
        description="How neighbours count. Box (the paper's): all pixels within the bandwidth alike. Epanechnikov: "
        "near ones more. Gaussian: near ones more, and some beyond the bandwidth.",
    )
    bandwidth: float = Field(
        8.0,
        gt=0,
        allow_inf_nan=False,
        description="How far around each place pixels count: radius of box and Epanechnikov, sigma of Gaussian.",
    )
    unit: Unit = Field(
        "pixel", description="Whether the bandwidth is in pixels, or in the unit of the layer, by its scale."
    )
    edges: bool = Field(
        False,
        title="Correct edges",
        description="Divide by the share of the kernel that lies on labelled pixels of the image; without, the "
        "density sinks towards the edges.",
    )
    one_scale: bool = Field(
        True,
        title="One contrast",
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
        """What a map's metadata says of how it was made; not how it is shown."""
        return self.model_dump(mode="json", exclude={"label_class", "one_scale", "side_by_side"})

    def changed(self, **values: Any) -> DensitySettings:
        """The settings with some of them replaced.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the setting.
        """
        try:
            return DensitySettings(**{**self.model_dump(), **values})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            field = DensitySettings.model_fields.get(name)
            where = title(name, field) if field else name
            raise InputError(f"{where}: {first['msg']}.") from None


# -------- From label planes to density maps, in a background thread; of what has not changed the last map is kept.


@dataclass(frozen=True)
class Part:
    """One layer of a question.

    Attributes
    ----------
    plane : VisiblePlane
    pixels : Pixels
        Those of the plane.
    bandwidth : (float, float)
        In pixels along Y and X.
    truth : Pixels or None
        The true classes; None if there are none but its own.
    """

    plane: VisiblePlane
    pixels: Pixels
    bandwidth: tuple[float, float]
    truth: Pixels | None


@dataclass(frozen=True)
class Question:
    """Densities of some planes, one way; and why other layers have nothing to ask about."""

    parts: tuple[Part, ...]
    settings: DensitySettings
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartMaps:
    """The maps of one part.

    Attributes
    ----------
    labels : (Y, X) array or None
        The classes; None where they could not be read.
    classes : tuple of int
        Those on the plane.
    maps : dict of int to (Y, X) float32 array
        By class; empty where there are none.
    tops : dict of int to float
        The highest density of each map.
    problem, note : str
        Why there is no map; why a map is empty.
    """

    part: Part
    labels: np.ndarray | None = None
    classes: tuple[int, ...] = ()
    maps: Maps = field(default_factory=dict)
    tops: Mapping[int, float] = field(default_factory=dict)
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """The maps of a question."""

    question: Question
    parts: tuple[PartMaps, ...]

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes on any of the planes."""
        return tuple(sorted({label for part in self.parts for label in part.classes}))

    @property
    def top(self) -> float:
        """The highest density in any map."""
        return max((top for part in self.parts for top in part.tops.values()), default=0.0)


class Computer:
    """Answers questions, one at a time; remembers the last answer's maps."""

    def __init__(self) -> None:
        self.reader = Reader()
        self._before: dict[Hashable, PartMaps] = {}

    def answer(self, question: Question) -> Answer:
        """Every part's maps; what is wrong with one part leaves the others alone."""
        kept: dict[Hashable, PartMaps] = {}
        parts = tuple(self._maps(part, question.settings, kept) for part in question.parts)
        self._before = kept
        return Answer(question, parts)

    def _maps(self, part: Part, how: DensitySettings, kept: dict[Hashable, PartMaps]) -> PartMaps:
        key = (part.pixels.stamp, part.bandwidth, how.label_class, how.kernel, how.edges, how.reading)
        known = self._before.get(key)
        try:
            kept[key] = self._compute(part, how) if known is None else replace(known, part=part)
        except MetastructureError as error:
            return PartMaps(part, problem=str(error))
        except Exception as error:  # a lazy layer may fail in any way; the widget has to live on
            return PartMaps(part, problem=f"Layer {part.pixels.name!r} cannot be read: {error}.")
        return kept[key]

    def _compute(self, part: Part, how: DensitySettings) -> PartMaps:
        labels, classes = self.reader.read(part.pixels, how.reading)
        check_bandwidth(part.bandwidth, labels.shape, f"Layer {part.pixels.name!r}")
        maps = plane_maps(labels, classes, how.label_class, how.kernel, part.bandwidth, how.edges)
        tops = {label: float(values.max()) for label, values in maps.items()}
        note = "" if any(tops.values()) else _nothing(part.pixels.name, how.label_class)
        return PartMaps(part, labels, classes, maps, tops, note=note)


def _nothing(name: str, label_class: int | None) -> str:
    what = "no class above 0" if label_class is None else f"no pixel of class {label_class}"
    return f"Layer {name!r} has {what} on this slice; its map is empty."


# -------- What maps say about labels, in a background thread: humps by true class, and how much is left of the truth.


@dataclass(frozen=True)
class Numbers:
    """One layer's labels against the true classes, on the visible slice.

    Attributes
    ----------
    name, truth : str
        The layer, and that of the true classes; equal where there are none but its own.
    left : float
        Meta-structure left, 0 to 1.
    distance : float
        Of the maps, 0 to 1: the largest, of several classes.
    transition : TransitionMatrix or None
    verdict : str
        How many classes can be told apart, in words.
    problem : str
        Why there are no numbers, in one sentence.
    """

    name: str
    truth: str
    left: float = float("nan")
    distance: float = float("nan")
    transition: TransitionMatrix | None = None
    verdict: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Measured:
    """Everything measured on an answer's maps."""

    humps: tuple[Humps, ...] = ()
    numbers: tuple[Numbers, ...] = ()


def measure(answer: Answer, reader: Reader) -> Measured:
    """Histograms and numbers of all parts that have maps."""
    found: list[Humps] = []
    numbers: list[Numbers] = []
    for part in answer.parts:
        if part.labels is None:
            continue
        name, asked = part.part.pixels.name, part.part.truth
        truth_name = name if asked is None else asked.name
        try:
            truth, classes = _truth(part, answer, reader)
            found += _humps(part, truth, classes, answer.question.settings)
            numbers.append(Numbers(name, name) if asked is None else _compare(part, asked, truth, classes, answer))
        except MetastructureError as error:
            numbers.append(Numbers(name, truth_name, problem=str(error)))
        except Exception as error:  # a lazy layer may fail in any way
            numbers.append(Numbers(name, truth_name, problem=f"Layer {truth_name!r} cannot be read: {error}."))
    return Measured(tuple(found), tuple(numbers))


def _truth(part: PartMaps, answer: Answer, reader: Reader) -> tuple[np.ndarray, tuple[int, ...]]:
    """The true classes of a part, of the same size, and which there are."""
    assert part.labels is not None
    how, asked = answer.question.settings, part.part
    if asked.truth is None:
        return part.labels, part.classes
    truth, classes = reader.read(asked.truth, how.reading)
    if truth.shape != part.labels.shape:
        sizes = [" x ".join(map(str, labels.shape)) for labels in (part.labels, truth)]
        raise InputError(
            f"Layer {asked.pixels.name!r} is {sizes[0]} pixels but {asked.truth.name!r} is {sizes[1]}; choose "
            "true classes of the same size."
        )
    return truth, classes


def _humps(part: PartMaps, truth: np.ndarray, classes: tuple[int, ...], how: DensitySettings) -> Iterator[Humps]:
    for label, values in part.maps.items():
        if part.tops[label] > 0:
            name = map_name(part.part.pixels.name, label, how.several)
            yield humps(name, values, truth, classes, step=_step(part, label, how))


def _step(part: PartMaps, label: int, how: DensitySettings) -> float:
    """By how much two densities differ at least, relative to even ones: the box counts whole pixels."""
    by, bx = part.part.bandwidth
    if how.kernel != "box" or part.labels is None or by * bx > BINS**2:  # then a bin holds so many that it is no matter
        return 0.0
    points, labelled = (int(np.count_nonzero(found)) for found in (part.labels == label, part.labels != UNLABELLED))
    if not how.edges:
        return height(how.kernel, (by, bx)) / points * part.labels.size
    # Away from edges and gaps the share of points among the pixels of the kernel, over their share of all.
    return labelled / points / float(weights(how.kernel, (by, bx)).sum())


def _compare(part: PartMaps, source: Pixels, truth: np.ndarray, classes: tuple[int, ...], answer: Answer) -> Numbers:
    from napari_metastructure.labels.structure import distance
    from napari_metastructure.labels.structure import structure_retained as structure_left
    from napari_metastructure.labels.transition import estimate_transition_matrix
    from napari_metastructure.labels.verdict import verdict

    assert part.labels is not None
    how, asked = answer.question.settings, part.part
    transition = estimate_transition_matrix(truth, part.labels)
    left = structure_left(truth, part.labels, how.kernel, asked.bandwidth)
    # The truth may be ticked as well: its maps are there already.
    known = (p.maps for p in answer.parts if (p.part.pixels.stamp, p.part.bandwidth) == (source.stamp, asked.bandwidth))
    true_maps = next(known, None) or plane_maps(truth, classes, how.label_class, how.kernel, asked.bandwidth, how.edges)
    apart = [distance(true_maps[label], values) for label, values in part.maps.items() if label in true_maps]
    name, sentence = asked.pixels.name, verdict(transition).sentence
    return Numbers(name, source.name, left, max(apart, default=float("nan")), transition, sentence)


# -------- Bandwidths in the unit of a layer, as pixels of that layer.


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


# From ticked layers to a question: which plane of each is on screen, at which bandwidth, and where its truth
# is.


class Asker:
    """Puts questions about layers as they are right now; reads no pixels."""

    def __init__(self, viewer: napari.Viewer, watch: Watch) -> None:
        self.viewer = viewer
        self._watch = watch
        self._truths = Truths(viewer)

    def truth_of(self, layer: Layer, chosen: Layer | None) -> Layer:
        """Where a layer's true classes are: as chosen, else in what it was made from, else in itself."""
        return self._truths.of(layer) if chosen is None else chosen

    def question(self, layers: Sequence[Layer], truth: Layer | None, settings: DensitySettings) -> Question:
        """Ask about these layers.

        Parameters
        ----------
        layers : sequence of napari.layers.Labels
            They and their truths are watched.
        truth : napari.layers.Labels or None
            Of all of them; None for `truth_of` each.
        settings : DensitySettings
            A bandwidth in a unit is in that of the first layer.
        """
        refused: list[str] = []
        parts = []
        for layer in layers:
            try:
                plane, pixels = self._visible(layer)
                bandwidth = bandwidth_in_pixels(settings, layer, layers[0])
            except InputError as error:
                refused.append(str(error))
                continue
            parts.append(Part(plane, pixels, bandwidth, self._true_pixels(layer, truth, refused)))
        return Question(tuple(parts), settings, tuple(refused))

    def _true_pixels(self, layer: Layer, chosen: Layer | None, refused: list[str]) -> Pixels | None:
        truth = self.truth_of(layer, chosen)
        if truth is layer and chosen is None:
            return None
        try:
            return self._visible(truth)[1]
        except InputError as error:
            refused.append(str(error))
            return None

    def _visible(self, layer: Layer) -> tuple[VisiblePlane, Pixels]:
        """A layer's plane on screen, its pixels unread."""
        plane = visible_plane(self.viewer, layer)
        if plane is None and self.viewer.dims.ndisplay == 3:
            raise InputError("Densities are of slices; switch the viewer back to 2D.")
        if plane is None:
            raise InputError(
                f"Layer {layer.name!r} has no slice here; move the sliders into it, with Y and X on screen."
            )
        stamp, whole = self._watch.stamp(layer), self._watch.whole(layer)
        return plane, Pixels(layer.name, full(layer), plane.at, is_ours(layer), (stamp, plane.at), whole)


# -------- Densities of whole stacks, plane by plane in a background thread, with progress.


@dataclass(frozen=True)
class Stack:
    """One layer as it was when the button was pressed."""

    name: str
    data: Any
    ours: bool
    bandwidth: tuple[float, float]
    where: dict[str, Any]

    @classmethod
    def of(cls, layer: Any, data: Any, ours: bool, bandwidth: tuple[float, float]) -> Stack:
        """A layer, its pixels at full resolution, and its bandwidth in pixels."""
        return cls(layer.name, data, ours, bandwidth, placement(layer))

    @property
    def leading(self) -> tuple[int, ...]:
        """Shape of the axes before Y and X."""
        return tuple(int(n) for n in self.data.shape[:-2])


@dataclass(frozen=True)
class PlaneDone:
    """A plane of all the stacks together is done."""

    done: int
    of: int


@dataclass(frozen=True)
class StacksDone:
    """All of them are done.

    Attributes
    ----------
    maps : list of (Stack, int, array)
        Each layer's densities by class, of the layer's shape, float32.
    """

    maps: list[tuple[Stack, int, np.ndarray]]

    @property
    def top(self) -> float:
        """The highest density in any."""
        return max((float(values.max()) for _, _, values in self.maps), default=0.0)


def stacks_job(
    stacks: Sequence[Stack], label_class: int | None, kernel: Kernel, edges: bool, reading: Reading, control: Control
) -> Callable[[], Iterator[PlaneDone | StacksDone]]:
    """What the thread does; it ends early, without `StacksDone`, once the control says stop."""

    def job() -> Iterator[PlaneDone | StacksDone]:
        total, done = sum(int(np.prod(stack.leading)) for stack in stacks), 0
        maps: list[tuple[Stack, int, np.ndarray]] = []
        for stack in stacks:
            check_bandwidth(stack.bandwidth, stack.data.shape, f"Layer {stack.name!r}")
            unlabelled = stack.ours or has_unlabelled(stack.data)
            found: dict[int, np.ndarray] = {}
            for at in np.ndindex(stack.leading):
                if control.stopped:
                    return
                labels = read_classes(np.asarray(stack.data[at]), reading, f"Layer {stack.name!r}", unlabelled)
                classes = tuple(value for value in values_in(labels) if value != UNLABELLED)
                maps_here = plane_maps(labels, classes, label_class, kernel, stack.bandwidth, edges)
                for label, values in maps_here.items():
                    if not values.any():
                        continue  # a plane without the class stays empty
                    if label not in found:
                        found[label] = _empty(stack)
                    found[label][at] = values
                done += 1
                yield PlaneDone(done, total)
            if not found:
                what = "class above 0" if label_class is None else f"pixel of class {label_class}"
                raise InputError(f"Layer {stack.name!r} has no {what} on any slice; choose a class that is there.")
            maps += [(stack, label, found[label]) for label in sorted(found)]
        yield StacksDone(maps)

    return job


def _empty(stack: Stack) -> np.ndarray:
    try:
        return np.zeros(stack.data.shape, np.float32)
    except MemoryError:
        size = np.prod(stack.data.shape, dtype=float) * 4 / 2**30
        raise InputError(
            f"The densities of layer {stack.name!r} need {size:.1f} GiB of memory; cut the stack into shorter ones."
        ) from None
