"""What the preview draws and measures, in a background thread; `stack` draws all planes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure import __version__
from napari_metastructure.errors import InputError
from napari_metastructure.labels.recipes import RecipeBase, apply_to_plane
from napari_metastructure.labels.transition import TransitionMatrix
from napari_metastructure.plugin.noise.source import Source

if TYPE_CHECKING:
    from napari_metastructure.labels.verdict import Verdict

BANDWIDTH = 8.0
"""Of the densities whose distance says how much structure is left: pixels, of the paper's box."""


@dataclass(frozen=True)
class Order:
    """What is to be drawn: a recipe and a seed, on the planes of a source.

    Without a recipe, for there is a ``problem`` with it, planes are only looked at for their classes.
    """

    source: Source
    recipe: RecipeBase | None
    seed: int
    problem: str = ""

    def origin(self, classes: tuple[int, ...], transition: TransitionMatrix | None) -> dict[str, Any]:
        """How the labels were made, for a layer's metadata."""
        return {
            "version": __version__,
            "source": self.source.layer.name,
            "recipe": None if self.recipe is None else self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "reading": self.source.reading,
            "classes": list(classes),
            "transition": None if transition is None else transition.as_dict(),
        }


@dataclass(frozen=True)
class Drawn:
    """One plane with noise, or why there is none.

    Attributes
    ----------
    order : Order
    index : int
        Number of the plane.
    classes : tuple of int
        Of the whole source; empty if they cannot be told.
    clean, noisy : (Y, X) array or None
        None where there is a problem.
    transition : TransitionMatrix or None
        In closed form; None for PCL.
    problem : str
        One sentence; empty if all is well.
    """

    order: Order
    index: int
    classes: tuple[int, ...] = ()
    clean: np.ndarray | None = None
    noisy: np.ndarray | None = None
    transition: TransitionMatrix | None = None
    problem: str = ""


@dataclass(frozen=True)
class Measured:
    """What the noise leaves of a plane.

    Attributes
    ----------
    drawn : Drawn
    transition : TransitionMatrix
        The closed form, else counted on this plane.
    verdict : Verdict
    left : float or None
        Share of the meta-structure that is left, 0 to 1; None where it is not defined.
    bandwidth : float
        At which it was measured, in pixels.
    """

    drawn: Drawn
    transition: TransitionMatrix | None
    verdict: Verdict | None
    left: float | None
    bandwidth: float


def draw_plane(order: Order, index: int, wanted: Callable[[], bool]) -> Drawn:
    """Draw one plane as `StackJob` draws it.

    Raises
    ------
    Superseded
        If it is not wanted any more.
    """
    classes: tuple[int, ...] = ()
    try:
        values = order.source.values(wanted)
        classes = order.source.classes(values)
        if order.recipe is None:
            return Drawn(order, index, classes, problem=order.problem)
        transition = order.recipe.transition(classes)
        clean = order.source.plane(index, values)
        noisy = apply_to_plane(order.recipe, clean, (), order.seed, classes, first=index)
    except InputError as error:
        return Drawn(order, index, classes, problem=str(error))
    return Drawn(order, index, classes, clean, noisy, transition)


def measure(drawn: Drawn) -> Measured:
    """Say what the noise of a plane leaves: transition matrix, verdict, meta-structure."""
    from napari_metastructure.labels.distance import structure_left
    from napari_metastructure.labels.transition import estimate_transition_matrix
    from napari_metastructure.labels.verdict import verdict

    assert drawn.clean is not None
    assert drawn.noisy is not None
    bandwidth = min(BANDWIDTH, max(1.0, min(drawn.clean.shape) / 4))
    transition, judged, left = drawn.transition, None, None
    try:
        if transition is None:
            transition = estimate_transition_matrix(drawn.clean, drawn.noisy, drawn.classes)
        judged = verdict(transition)
        left = structure_left(drawn.clean, drawn.noisy, "box", bandwidth)
    except InputError:  # no labelled pixel, a class that is gone: there is nothing to measure, which is no fault
        pass
    return Measured(drawn, transition, judged, left, bandwidth)


def recipe_name(recipe: RecipeBase) -> str:
    """A recipe in a few words, for a layer's name: ``RCL flip 0.45``."""
    values = recipe.model_dump()
    words = [recipe.family, values.pop("kind")]
    if values.get("per_class") is not None:
        return " ".join([*words, "per class"])
    numbers = [v for v in values.values() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return " ".join([*words, *(f"{v:g}" for v in numbers)])
