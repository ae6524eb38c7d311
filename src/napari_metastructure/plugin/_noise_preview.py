"""Live preview of label noise: the slice on screen with its noise, what it leaves to learn, and its layer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_metastructure import __version__
from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import Reading, as_classes, check_labels, classes_in, values_in
from napari_metastructure.labels.recipes import RecipeBase, apply_to_plane
from napari_metastructure.labels.transition import TransitionMatrix
from napari_metastructure.plugin._layers import (
    ORIGIN,
    UNLABELLED_COLOR,
    VisiblePlane,
    class_color,
    class_colormap,
    colormap,
    full,
    visible_plane,
)
from napari_metastructure.plugin._live import Superseded

if TYPE_CHECKING:
    import napari

    from napari_metastructure.labels.verdict import Verdict


class Source:
    """The planes of a Labels layer as classes.

    What a number means follows from the values of all planes together (255 is a foreground or unlabelled), and so
    does the list of classes. The values of a plane are looked for once, and again when it was changed. All methods
    may be called from any thread.

    Parameters
    ----------
    layer : napari.layers.Labels
    reading : {"foreground", "objects", "classes"}
    """

    def __init__(self, layer: Labels, reading: Reading) -> None:
        self.layer = layer
        self.reading = reading
        self._lock = threading.Lock()
        self._values: dict[int, tuple[int, ...]] = {}
        self._changes = 0
        self._clean: tuple[int, tuple[int, ...], np.ndarray] | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"Layer {self.layer.name!r}"

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., Y, X) at full resolution."""
        return tuple(int(n) for n in full(self.layer).shape)

    @property
    def planes(self) -> int:
        """How many (Y, X) planes there are."""
        return int(np.prod(self.shape[:-2]))

    @property
    def changes(self) -> int:
        """Counts the calls of `forget`: equal numbers, equal pixels."""
        return self._changes

    def at(self, index: int) -> tuple[int, ...]:
        """Where a plane lies along the leading axes; the last of them runs fastest."""
        return tuple(int(i) for i in np.unravel_index(index, self.shape[:-2])) if self.shape[:-2] else ()

    def forget(self, planes: Iterable[int] | None = None) -> None:
        """These planes have changed, or all of them."""
        with self._lock:
            self._changes += 1
            self._clean = None
            if planes is None:
                self._values.clear()
            else:
                for index in planes:
                    self._values.pop(index, None)

    def values(self, wanted: Callable[[], bool], looked: Callable[[int], None] | None = None) -> tuple[int, ...]:
        """The values of all planes together, ascending.

        Parameters
        ----------
        wanted : callable
            Asked before each plane; what was found so far is kept when it says no.
        looked : callable, optional
            Told how many planes are done.

        Raises
        ------
        InputError
            For pixels that are no labels.
        Superseded
            If they are not wanted any more.
        """
        found: set[int] = set()
        for index in range(self.planes):
            if index not in self._values:
                if not wanted():
                    raise Superseded
                before, values = self._changes, self._look(self.pixels(index))
                with self._lock:
                    if before == self._changes:
                        self._values[index] = values
                found.update(values)
            else:
                found.update(self._values.get(index, ()))
            if looked is not None:
                looked(index + 1)
        return tuple(sorted(found))

    def classes(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """The classes that the values of all planes stand for, ascending.

        Raises
        ------
        InputError
            If they cannot be read this way, or no pixel is labelled.
        """
        return classes_in(np.array([list(self._meaning(values).values())]), self.name)

    def pixels(self, index: int) -> np.ndarray:
        """The (Y, X) pixels of a plane as they are."""
        return np.asarray(full(self.layer)[self.at(index)])

    def plane(self, index: int, values: tuple[int, ...]) -> np.ndarray:
        """A plane as clean labels; the one asked for last is kept.

        Parameters
        ----------
        index : int
        values : tuple of int
            Of all planes together, from `values`.

        Returns
        -------
        (Y, X) array
            Classes and 255; uint8 where that can hold them. Not to be written to.
        """
        kept = self._clean
        if kept is not None and kept[:2] == (index, values):
            return kept[2]
        before, clean = self._changes, self._read(self.pixels(index), values)
        with self._lock:
            if before == self._changes:
                self._clean = index, values, clean
        return clean

    @property
    def _ours(self) -> bool:
        """Whether this plugin made the labels: then 255 is unlabelled in them and never a foreground."""
        return ORIGIN in self.layer.metadata

    def _look(self, pixels: np.ndarray) -> tuple[int, ...]:
        # of objects not which numbers there are: they may be many
        return values_in(self._objects(pixels) if self.reading == "objects" else check_labels(pixels, self.name))

    def _meaning(self, values: tuple[int, ...]) -> dict[int, int]:
        """What each value is read as: 0, 1, ... or 255."""
        rest = [v for v in values if not (self._ours and v == UNLABELLED)]
        if not rest:
            raise InputError(f"{self.name}: every pixel is {UNLABELLED}, unlabelled; choose labels that say something.")
        read = dict(zip(rest, as_classes(np.array([rest]), self.reading, self.name)[0].tolist(), strict=True))
        return {v: read.get(v, UNLABELLED) for v in values}

    def _read(self, pixels: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
        if self.reading == "objects":
            return self._objects(pixels)
        pixels = check_labels(pixels, self.name)
        meaning = self._meaning(values)
        if all(read == value for value, read in meaning.items()):
            return pixels.astype(np.uint8) if values[-1] <= UNLABELLED else pixels
        clean = np.zeros(pixels.shape, np.uint8)
        for value, read in meaning.items():
            if read:
                clean[pixels == value] = read
        return clean

    def _objects(self, pixels: np.ndarray) -> np.ndarray:
        clean = as_classes(pixels, "objects", self.name)
        if self._ours:
            clean[pixels == UNLABELLED] = UNLABELLED
        return clean


BANDWIDTH = 8.0
"""Radius of the box, in pixels, whose densities say how much meta-structure is retained; the paper's."""


@dataclass(frozen=True)
class NoiseRequest:
    """A recipe and a seed, for the planes of a source.

    Attributes
    ----------
    source : Source
    recipe : RecipeBase or None
        None where the dials hold none: planes are then read for their classes only.
    seed : int
    index : int
        Number of the plane on screen.
    problem : str
        Why there is no recipe, in one sentence.
    """

    source: Source
    recipe: RecipeBase | None
    seed: int
    index: int = 0
    problem: str = ""

    def origin(self, classes: tuple[int, ...], transition: TransitionMatrix | None) -> dict[str, Any]:
        """Describe how the labels were made, for a layer's metadata."""
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
class NoisePreview:
    """One plane with noise, or why there is none; `measure` adds what its noise leaves.

    Attributes
    ----------
    request : NoiseRequest
    classes : tuple of int
        Of the whole source; empty if it could not be read.
    clean, noisy : (Y, X) array or None
        None where there is a problem.
    transition : TransitionMatrix or None
        In closed form; for PCL, which has none, counted on this plane by `measure`.
    counted : bool
        Whether it was counted.
    problem : str
        One sentence; empty if all is well.
    verdict : Verdict or None
        What the noise leaves to learn.
    retained : float or None
        Share of the meta-structure that is retained, 0 to 1; None where it is not defined.
    bandwidth : float
        At which it was measured, in pixels.
    """

    request: NoiseRequest
    classes: tuple[int, ...] = ()
    clean: np.ndarray | None = None
    noisy: np.ndarray | None = None
    transition: TransitionMatrix | None = None
    counted: bool = False
    problem: str = ""
    verdict: Verdict | None = None
    retained: float | None = None
    bandwidth: float = BANDWIDTH


def draw(request: NoiseRequest, wanted: Callable[[], bool]) -> NoisePreview:
    """Draw the noise of one plane, as applying the recipe to the whole stack does.

    Raises
    ------
    Superseded
        If ``wanted()`` turns False while the planes are read for their classes.
    """
    classes: tuple[int, ...] = ()
    source, recipe = request.source, request.recipe
    try:
        values = source.values(wanted)
        classes = source.classes(values)
        if recipe is None:
            return NoisePreview(request, classes, problem=request.problem)
        transition = recipe.transition(classes)
        clean = source.plane(request.index, values)
        noisy = apply_to_plane(recipe, clean, (), request.seed, classes, first=request.index)
    except InputError as error:
        return NoisePreview(request, classes, problem=str(error))
    return NoisePreview(request, classes, clean, noisy, transition)


def measure(preview: NoisePreview) -> NoisePreview:
    """Add transition matrix, verdict and retained meta-structure to a preview."""
    from napari_metastructure.labels.structure import structure_left
    from napari_metastructure.labels.transition import estimate_transition_matrix
    from napari_metastructure.labels.verdict import verdict

    clean, noisy, transition = preview.clean, preview.noisy, preview.transition
    assert clean is not None
    assert noisy is not None
    bandwidth = min(BANDWIDTH, max(1.0, min(clean.shape) / 4))
    judged, retained = None, None
    try:
        if transition is None:
            transition = estimate_transition_matrix(clean, noisy, preview.classes)
        judged = verdict(transition)
        retained = structure_left(clean, noisy, "box", bandwidth)
    except InputError:  # no labelled pixel, or a class that is gone: nothing to measure, and no fault
        pass
    return replace(
        preview,
        transition=transition,
        counted=preview.transition is None,
        verdict=judged,
        retained=retained,
        bandwidth=bandwidth,
    )


def recipe_name(recipe: RecipeBase) -> str:
    """Name a recipe in a few words, for a layer's name: ``RCL flip 0.45``."""
    values = recipe.model_dump()
    words = [recipe.family, values.pop("kind")]
    if values.get("per_class") is not None:
        return " ".join([*words, "per class"])
    numbers = [v for v in values.values() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return " ".join([*words, *(f"{v:g}" for v in numbers)])


# ---- the layer ---------------------------------------------------------------------------------------------

OPACITY = 0.8

GROUND = (0.07, 0.07, 0.08, 0.8)
"""The background class over visible labels: it must not look like the class beneath."""

CHANGES_BENEATH = ("visible", "inserted", "removed", "moved", "reordered")
"""Events of the layer list, and of its layers, after which other labels may lie beneath."""


class PreviewLayer:
    """One 2D Labels layer over its source; it is the same one from plane to plane and source to source.

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
        viewer.layers.events.connect(self._on_layers)

    def show(self, preview: NoisePreview) -> None:
        """Put a plane on screen, in the layer there is or a new one."""
        assert preview.noisy is not None
        request, source = preview.request, preview.request.source.layer
        name = f"{source.name} noise preview"
        metadata = {ORIGIN: {**request.origin(preview.classes, None), "preview of plane": request.index}}
        where = VisiblePlane(source, request.index, ()).placement()
        placed = (source, name, repr(where))
        if self.layer is None:
            self._add(Labels(preview.noisy, name=name, metadata=metadata, opacity=OPACITY, **where))
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

    def hide(self) -> None:
        """Hide the layer until there is something to show."""
        if self.layer is not None and self.layer.visible:
            self._hidden = True
            self.layer.visible = False

    def remove(self) -> None:
        """Remove the layer."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def release(self) -> None:
        """Let go of the viewer, and remove the layer."""
        self.viewer.layers.events.disconnect(self._on_layers)
        self.remove()

    def _add(self, layer: Labels) -> None:
        selected = set(self.viewer.layers.selection)
        self.layer = layer  # before it is in the viewer: lists of sources must not offer it
        self._colors, self._hidden = (), False
        self.viewer.add_layer(layer)
        self.viewer.layers.selection = selected  # whoever paints on the source goes on painting

    def _move_above(self, source: Labels) -> None:
        layers = self.viewer.layers
        if source in layers and layers.index(self.layer) < layers.index(source):
            layers.move(layers.index(self.layer), layers.index(source) + 1)

    def _use_colors(self) -> None:
        """Colour the classes; over other visible labels background and unlabelled pixels cover those."""
        layers = self.viewer.layers
        if self.layer is None or self.layer not in layers:
            return
        below = layers[: layers.index(self.layer)]
        colors = self._classes, any(isinstance(layer, Labels) and layer.visible for layer in below)
        if colors == self._colors:
            return
        self._colors = classes, over_labels = colors
        if over_labels:
            by_label = {label: class_color(label) for label in classes if label > 0}
            covering = {0: GROUND, **by_label, UNLABELLED: (*UNLABELLED_COLOR[:3], 0.9)}
            self.layer.colormap = colormap(covering, others="transparent")
        else:
            self.layer.colormap = class_colormap(classes)

    def _on_layers(self, event: Any) -> None:
        """React to layers that came, went or moved, or changed themselves."""
        if event.type == "removed" and self.layer is not None and event.value is self.layer:
            self.layer = None
            self._removed()
        elif event.type in CHANGES_BENEATH:
            self._use_colors()


MOVED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "name")


class Watch:
    """Calls ``changed()`` when a preview has to be drawn anew, after telling the source which planes to forget.

    A plain object: it can let go of the viewer when the widget that has it is deleted already.
    """

    def __init__(self, viewer: napari.Viewer, changed: Callable[[], None]) -> None:
        self.viewer = viewer
        self.source: Source | None = None
        self._changed = changed
        self._history: tuple[int, int] = (0, 0)
        self._shown: tuple[int, ...] | None = None

    def follow(self, source: Source | None) -> None:
        """Follow another source, or none."""
        self._disconnect()
        self.source = source
        if source is not None:
            self._history, self._shown = _history(source.layer), self._at()
            for event, listener in self._events():
                event.connect(listener)

    def release(self) -> None:
        """Let go of layer and viewer."""
        self.follow(None)

    def _disconnect(self) -> None:
        if self.source is not None:
            for event, listener in self._events():
                event.disconnect(listener)

    def _events(self) -> list[tuple[Any, Callable[[Any], None]]]:
        assert self.source is not None
        events = self.source.layer.events
        return [
            (events.data, self._on_data),
            (events.paint, self._on_paint),
            (events.labels_update, self._on_drawn),
            (events.set_data, self._on_drawn),
            *((getattr(events, name), self._on_moved) for name in MOVED),
        ]

    def _on_data(self, event: Any) -> None:
        """Other pixels altogether."""
        assert self.source is not None
        self.source.forget()
        self._history = _history(self.source.layer)
        self._changed()

    def _on_paint(self, event: Any) -> None:
        """The brush, or a script that edits as it does; the event has what napari's undo will need."""
        assert self.source is not None
        for atom in event.value:
            self.source.forget(_planes(atom[0], self.source.shape[:-2]))
        self._history = _history(self.source.layer)
        self._changed()

    def _on_drawn(self, event: Any) -> None:
        """Drawn anew: a brush on its way, an undo (wherever it was), a refresh by a script; or the slider was moved."""
        assert self.source is not None
        at, history = self._at(), _history(self.source.layer)
        if history != self._history:
            self._history = history
            self.source.forget()
        elif at is not None and at == self._shown:
            self.source.forget([int(np.ravel_multi_index(at, self.source.shape[:-2])) if at else 0])
        self._shown = at
        self._changed()

    def _on_moved(self, event: Any) -> None:
        self._changed()

    def _at(self) -> tuple[int, ...] | None:
        assert self.source is not None
        plane = visible_plane(self.viewer, self.source.layer)
        return None if plane is None else plane.at


def _history(layer: Any) -> tuple[int, int]:
    """Lengths of a layer's undo and redo lists: napari does not tell of an undo, but it moves one item."""
    return len(getattr(layer, "_undo_history", ())), len(getattr(layer, "_redo_history", ()))


def _planes(place: Any, leading: tuple[int, ...]) -> list[int]:
    """The planes that a place in a layer (slices, or arrays of indices, one for each axis) touches."""
    if not leading:
        return [0]
    axes = place[: len(leading)]
    if any(isinstance(axis, slice) for axis in axes):
        ranges = [range(n)[a] if isinstance(a, slice) else np.unique(a) for a, n in zip(axes, leading, strict=True)]
        grid = np.meshgrid(*(np.asarray(r) for r in ranges), indexing="ij")
        return [int(i) for i in np.ravel_multi_index(grid, leading, mode="clip").ravel()]
    return [
        int(i) for i in np.unique(np.ravel_multi_index(tuple(np.atleast_1d(a) for a in axes), leading, mode="clip"))
    ]
