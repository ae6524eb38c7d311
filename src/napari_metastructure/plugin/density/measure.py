"""What maps say about labels, in a background thread: humps by true class, and how much is left of the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.kernels import height, weights
from napari_metastructure.plugin.density.compute import Answer, PartMaps, plane_maps
from napari_metastructure.plugin.density.drawing import map_name
from napari_metastructure.plugin.density.humps import BINS, Humps, humps

if TYPE_CHECKING:
    from napari_metastructure.labels.transition import TransitionMatrix
    from napari_metastructure.plugin.density.read import Pixels, Reader
    from napari_metastructure.plugin.density.settings import DensitySettings


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
    from napari_metastructure.labels.distance import distance, structure_left
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
