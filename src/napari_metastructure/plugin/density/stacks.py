"""Densities of whole stacks, plane by plane in a background thread, with progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import values_in
from napari_metastructure.labels.kernels import Kernel, check_bandwidth
from napari_metastructure.plugin.density.compute import plane_maps
from napari_metastructure.plugin.density.read import has_unlabelled, read_classes
from napari_metastructure.plugin.placement import placement

if TYPE_CHECKING:
    from napari_metastructure.labels.classes import Reading
    from napari_metastructure.training.control import Control


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
