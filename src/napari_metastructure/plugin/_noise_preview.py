"""Live preview of label noise: the slice on screen with its noise, what it leaves to learn, and its layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.recipes import RecipeBase, apply_to_plane
from napari_metastructure.labels.transition import TransitionMatrix
from napari_metastructure.plugin._layers import (
    UNLABELLED_COLOR,
    VisiblePlane,
    class_color,
    class_colormap,
    colormap,
    made_from,
    result_name,
)
from napari_metastructure.plugin._live import Superseded
from napari_metastructure.plugin._stacking import kept_view

if TYPE_CHECKING:
    import napari

    from napari_metastructure.labels.structure import Comparison


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
    """

    request: NoiseRequest
    classes: tuple[int, ...] = ()
    clean: np.ndarray | None = None
    noisy: np.ndarray | None = None
    transition: TransitionMatrix | None = None
    problem: str = ""
    comparison: Comparison | None = None


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
            return NoisePreview(request, classes, problem=request.problem)
        transition = recipe.transition(classes)
        clean = stack.read(request.index, meaning)
        noisy = apply_to_plane(recipe, clean, (), request.seed, classes, first=request.index)
    except InputError as error:
        return NoisePreview(request, classes, problem=str(error))
    return NoisePreview(request, classes, clean, noisy, transition)


def measure(preview: NoisePreview) -> NoisePreview:
    """Add the comparison of noisy and clean labels to a preview."""
    from napari_metastructure.labels.structure import judge_noise

    clean, noisy = preview.clean, preview.noisy
    assert clean is not None
    assert noisy is not None
    return replace(preview, comparison=judge_noise(clean, noisy, preview.classes, preview.transition))


# ---- the layer ---------------------------------------------------------------------------------------------

GROUND = (0.07, 0.07, 0.08, 1)
"""The background class over other visible labels: it must not look like the class beneath."""

CHANGES_BENEATH = ("visible", "opacity", "inserted", "removed", "moved", "reordered")
"""Events of the layer list, and of its layers, after which other labels may lie beneath."""


class PreviewLayer:
    """One 2D Labels layer in place of its source; it is the same one from plane to plane and source to source.

    While it shows, the source is out of sight: clean labels that shine through make random ones look right. That is
    done by its opacity, as napari lets nobody paint on a layer that is not visible.

    A plain object: it can let go of the viewer when the widget that has it is deleted already.

    Parameters
    ----------
    viewer : napari.Viewer
    removed : callable
        Called when the user removed the layer.
    """

    def __init__(self, viewer: napari.Viewer, removed: Callable[[], None]) -> None:
        self.viewer = viewer
        self.layer: Labels | None = None
        self._removed = removed
        self._classes: tuple[int, ...] = ()
        self._colors: tuple[Any, ...] = ()
        self._placed: tuple[Any, ...] = ()
        self._hidden = False
        self._aside: tuple[Labels, float] | None = None  # the source that is out of sight, and its opacity
        viewer.layers.events.connect(self._on_layers)

    def show(self, preview: NoisePreview) -> None:
        """Put a plane on screen, in the layer there is or a new one."""
        assert preview.noisy is not None
        request, source = preview.request, preview.request.layer
        name = result_name(source.name, "noise preview")
        metadata = request.origin(preview.classes, None, **{"preview of plane": request.index})
        where = VisiblePlane(source, request.index, ()).placement()
        placed = (source, name, repr(where))
        if self.layer is None:
            self._add(Labels(preview.noisy, name=name, metadata=metadata, opacity=1, **where))
        else:
            self.layer.data = preview.noisy
            self.layer.metadata = metadata
            if placed != self._placed:  # only then: napari redraws at each of them, even if nothing changes
                self._move_above(source)
                for attribute, value in {"name": name, **where}.items():
                    setattr(self.layer, attribute, value)
        self._placed, self._classes = placed, preview.classes
        self._use_colors()
        if self._hidden and self.layer is not None:
            self.layer.visible = True
        self._hidden = False
        self._set_aside()

    def hide(self) -> None:
        """Hide the layer until there is something to show."""
        if self.layer is not None and self.layer.visible:
            self._hidden = True
            self.layer.visible = False  # which puts the source back

    def remove(self) -> None:
        """Remove the layer."""
        layer, self.layer = self.layer, None
        self._set_aside()
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def release(self) -> None:
        """Let go of the viewer, and remove the layer."""
        self.viewer.layers.events.disconnect(self._on_layers)
        self.remove()

    def _add(self, layer: Labels) -> None:
        self.layer = layer  # before it is in the viewer: lists of sources must not offer it
        self._colors, self._hidden = (), False
        with kept_view(self.viewer):  # a user who paints on the source goes on painting
            self.viewer.add_layer(layer)

    def _move_above(self, source: Labels) -> None:
        layers = self.viewer.layers
        if source in layers and layers.index(self.layer) < layers.index(source):
            layers.move(layers.index(self.layer), layers.index(source) + 1)

    def _set_aside(self) -> None:
        """Take the source out of sight while the preview shows, and put back one that was, unless the user has."""
        source = self._placed[0] if self.layer is not None and self.layer.visible and self._placed else None
        if self._aside is not None and self._aside[0] is not source:
            (before, opacity), self._aside = self._aside, None
            before.opacity = before.opacity or opacity
        if self._aside is None and source is not None:
            self._aside = source, source.opacity
            source.opacity = 0

    def _use_colors(self) -> None:
        """Colour the classes; over other visible labels background and unlabelled pixels cover those."""
        layers = self.viewer.layers
        if self.layer is None or self.layer not in layers:
            return
        below = layers[: layers.index(self.layer)]
        colors = self._classes, any(isinstance(layer, Labels) and layer.visible and layer.opacity for layer in below)
        if colors == self._colors:
            return
        self._colors = classes, over_labels = colors
        if over_labels:
            by_label = {label: class_color(label) for label in classes if label > 0}
            covering = {0: GROUND, **by_label, UNLABELLED: UNLABELLED_COLOR[:3]}
            self.layer.colormap = colormap(covering, others="transparent")
        else:
            self.layer.colormap = class_colormap(classes)

    def _on_layers(self, event: Any) -> None:
        """React to layers that came, went or moved, or changed themselves."""
        if event.type == "removed" and self.layer is not None and event.value is self.layer:
            self.layer = None
            self._set_aside()
            self._removed()
        elif event.type in CHANGES_BENEATH:
            self._set_aside()
            self._use_colors()
