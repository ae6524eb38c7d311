"""What the live previews of Noise and Measure draw in a thread: the slice on screen, noisy or cleaned up."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_metastructure.errors import InputError, counted
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.recipes import RecipeBase, apply_to_plane
from napari_metastructure.labels.regions import Blocks, CleanUp, clean_up, number_objects
from napari_metastructure.labels.structure import Comparison
from napari_metastructure.labels.transition import TransitionMatrix
from napari_metastructure.plugin._layers import VisiblePlane, made_from
from napari_metastructure.plugin._live import Superseded

# ---- label noise ---------------------------------------------------------------------------------------------


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


def draw_noise(request: NoiseRequest, wanted: Callable[[], bool]) -> NoisePreview:
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


def measure_noise(preview: NoisePreview) -> NoisePreview:
    """Add the comparison of noisy and clean labels to a preview."""
    from napari_metastructure.labels.structure import judge_noise

    clean, noisy = preview.clean, preview.noisy
    assert clean is not None
    assert noisy is not None
    return replace(preview, comparison=judge_noise(clean, noisy, preview.classes, preview.transition))


# ---- clean-up ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CleanPreview:
    """One plane cleaned up.

    Attributes
    ----------
    source : napari.layers.Labels
    index : int
        Number of the plane.
    labels : (Y, X) array
        As the source writes them.
    before, after : (Y, X) or (Z, Y, X) array
        Numbers of the plane, or of the volume that it is part of.
    """

    source: Labels
    index: int
    labels: np.ndarray
    before: np.ndarray
    after: np.ndarray


class CleanDrawer:
    """Draws previews in a thread, one at a time; the last volume is kept while the slider moves through it."""

    def __init__(self) -> None:
        self._known: tuple[object, np.ndarray, np.ndarray] | None = None

    def draw(
        self, stack: LabelStack, plane: VisiblePlane, dials: CleanUp, volumes: bool, wanted: Callable[[], bool]
    ) -> CleanPreview:
        """Clean the plane on screen, as cleaning the whole stack does.

        Raises
        ------
        InputError
            If the labels cannot be read.
        Superseded
            If ``wanted()`` turns False while the planes are read for their values.
        """
        stack.refuse_picture(plane.index)
        for _ in stack.survey():
            if not wanted():
                raise Superseded
        meaning = stack.meaning()
        place = plane.at[:-1] if volumes else plane.at
        key = stack, stack.changes, stack.reading, place, dials, volumes
        if self._known is None or self._known[0] != key:
            before = Blocks.of(stack, meaning, stack.shape, volumes)[place]
            self._known = key, before, clean_up(before, dials)
        _, before, after = self._known
        shown = after[plane.at[-1]] if volumes else after
        return CleanPreview(plane.layer, plane.index, stack.written(shown, meaning), before, after)

    def forget(self) -> None:
        """Let go of the last labels."""
        self._known = None


def describe(preview: CleanPreview) -> str:
    """Say what was removed and filled."""
    before, after = (int(number_objects(numbers).max()) for numbers in (preview.before, preview.after))
    filled = int(np.count_nonzero((preview.before == 0) & (preview.after > 0)))
    where, what = ("On this slice", "pixel") if preview.before.ndim == 2 else ("In this volume", "voxel")
    return f"{where}: {after} of {counted(before, 'object')} kept. Filled in holes: {counted(filled, what)}."
