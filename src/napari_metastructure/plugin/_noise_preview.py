"""Live preview of label noise: the slice on screen with its noise, what it leaves to learn, and its layer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.recipes import RecipeBase, apply_to_plane
from napari_metastructure.labels.structure import Comparison
from napari_metastructure.labels.transition import TransitionMatrix
from napari_metastructure.plugin._layers import made_from
from napari_metastructure.plugin._live import Superseded


@dataclass(frozen=True)
class NoiseRequest:
    """A recipe and a seed, for the planes of a source.

    Attributes
    ----------
    layer : napari.layers.Labels
    stack : LabelStack
        The planes of the layer, read as classes.
    recipe : RecipeBase or None
        None where the dials hold none: planes are then read for their classes only.
    seed : int
    index : int
        Number of the plane on screen.
    problem : str
        Why there is no recipe, in one sentence.
    """

    layer: Labels
    stack: LabelStack
    recipe: RecipeBase | None
    seed: int
    index: int = 0
    problem: str = ""

    def origin(self, classes: tuple[int, ...], transition: TransitionMatrix | None, **more: Any) -> dict[str, Any]:
        """Describe how the labels were made, as a layer's metadata."""
        return made_from(
            self.layer,
            recipe=None if self.recipe is None else self.recipe.model_dump(mode="json"),
            seed=self.seed,
            reading=self.stack.reading,
            classes=list(classes),
            transition=None if transition is None else transition.as_dict(),
            **more,
        )


@dataclass(frozen=True)
class NoisePreview:
    """One plane with noise, or why there is none; `measure` adds the comparison.

    Attributes
    ----------
    request : NoiseRequest
    classes : tuple of int
        Of the whole source; empty if it could not be read.
    clean, noisy : (Y, X) array or None
        None where there is a problem.
    transition : TransitionMatrix or None
        In closed form; PCL has none.
    problem : str
        One sentence; empty if all is well.
    comparison : Comparison or None
        What the noise leaves of this plane.
    foreground : int or None
        The number in the layer that is read as class 1, where that is not 1.
    """

    request: NoiseRequest
    classes: tuple[int, ...] = ()
    clean: np.ndarray | None = None
    noisy: np.ndarray | None = None
    transition: TransitionMatrix | None = None
    problem: str = ""
    comparison: Comparison | None = None
    foreground: int | None = None


def draw(request: NoiseRequest, wanted: Callable[[], bool]) -> NoisePreview:
    """Draw the noise of one plane, as applying the recipe to the whole stack does.

    Raises
    ------
    Superseded
        If ``wanted()`` turns False while the planes are read for their classes.
    """
    classes: tuple[int, ...] = ()
    stack, recipe = request.stack, request.recipe
    try:
        for _ in stack.survey():
            if not wanted():
                raise Superseded
        meaning = stack.meaning()
        classes = meaning.classes
        if recipe is None:
            return NoisePreview(request, classes, problem=request.problem, foreground=meaning.foreground)
        transition = recipe.transition(classes)
        clean = stack.read(request.index, meaning)
        noisy = apply_to_plane(recipe, clean, (), request.seed, classes, first=request.index)
    except InputError as error:
        return NoisePreview(request, classes, problem=str(error))
    return NoisePreview(request, classes, clean, noisy, transition, foreground=meaning.foreground)


def measure(preview: NoisePreview) -> NoisePreview:
    """Add the comparison of noisy and clean labels to a preview."""
    from napari_metastructure.labels.structure import judge_noise

    clean, noisy = preview.clean, preview.noisy
    assert clean is not None
    assert noisy is not None
    return replace(preview, comparison=judge_noise(clean, noisy, preview.classes, preview.transition))
