"""From label planes to density maps, in a background thread; of what has not changed the last map is kept."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure.errors import MetastructureError
from napari_metastructure.labels.density import densities
from napari_metastructure.labels.kernels import Kernel, check_bandwidth
from napari_metastructure.plugin.density.read import Pixels, Reader

if TYPE_CHECKING:
    from napari_metastructure.plugin.density.settings import DensitySettings
    from napari_metastructure.plugin.visible import VisiblePlane

Maps = Mapping[int, np.ndarray]


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


def plane_maps(
    labels: np.ndarray,
    classes: tuple[int, ...],
    label_class: int | None,
    kernel: Kernel,
    bandwidth: tuple[float, float],
    edges: bool,
) -> Maps:
    """The maps of one plane: of one class, or of each above 0; of a class that is not on the plane, an empty one.

    Parameters
    ----------
    labels : (Y, X) array
    classes : tuple of int
        Those on the plane.
    label_class : int or None
        Whose map; None for each above 0.
    kernel, bandwidth, edges
        As in `napari_metastructure.labels.density.density`.

    Returns
    -------
    dict of int to (Y, X) float32 array
    """
    wanted = [c for c in classes if c] or [1] if label_class is None else [label_class]
    present = [c for c in wanted if c in classes]
    maps = densities(labels, kernel, bandwidth, edges=edges, classes=present) if present else {}
    return {c: maps[c] if c in maps else np.zeros(labels.shape, np.float32) for c in wanted}


def _nothing(name: str, label_class: int | None) -> str:
    what = "no class above 0" if label_class is None else f"no pixel of class {label_class}"
    return f"Layer {name!r} has {what} on this slice; its map is empty."
