"""The live preview: noise on the plane that is on screen, drawn anew whenever something it follows from changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

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
from napari_metastructure.plugin._worker import Latest

if TYPE_CHECKING:
    import napari

    from napari_metastructure.labels.verdict import Verdict


# -------- A Labels layer as clean labels: how its numbers are read, and which classes its planes hold.


class Superseded(Exception):
    """What was asked for is not wanted any more; no error, for nobody waits for the answer."""


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


# -------- What the preview draws and measures, in a background thread; `stack` draws all planes.


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
    from napari_metastructure.labels.structure import structure_retained as structure_left
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


# -------- The layer of the live preview: one plane of noisy labels, laid over its source.


OPACITY = 0.8

GROUND = (0.07, 0.07, 0.08, 0.8)
"""The background class over labels that can be seen: it must not look like the class beneath."""

CHANGES_BENEATH = ("visible", "inserted", "removed", "moved", "reordered")
"""Events of the list of layers, and of those in it, after which other labels may lie beneath."""


class PreviewLayer:
    """Makes, fills, hides and removes the layer; it is the same one from plane to plane and source to source.

    A plain object: it can let go of the viewer when the widget that has it is deleted already.

    Parameters
    ----------
    viewer : napari.Viewer
    closed : callable
        Called when the user took the layer away.
    """

    def __init__(self, viewer: napari.Viewer, closed: Callable[[], None]) -> None:
        self.viewer = viewer
        self.layer: Labels | None = None
        self._closed = closed
        self._classes: tuple[int, ...] = ()
        self._colors: tuple[Any, ...] = ()
        self._placed: tuple[Any, ...] = ()
        self._hidden = False
        viewer.layers.events.connect(self._on_layers)

    def show(self, drawn: Drawn) -> None:
        """Put a plane on screen, in the layer there is or a new one."""
        assert drawn.noisy is not None
        source = drawn.order.source.layer
        name = f"{source.name} noise preview"
        metadata = {ORIGIN: {**drawn.order.origin(drawn.classes, None), "preview of plane": drawn.index}}
        where = VisiblePlane(source, drawn.index, ()).placement()
        placed = (source, name, repr(where))
        if self.layer is None:
            self._add(Labels(drawn.noisy, name=name, metadata=metadata, opacity=OPACITY, **where))
        else:
            self.layer.data = drawn.noisy  # which tells whoever follows the layer
            self.layer.metadata = metadata
            if placed != self._placed:  # only then: napari redraws at each of them, even if nothing changes
                self._move_above(source)
                for attribute, value in {"name": name, **where}.items():
                    setattr(self.layer, attribute, value)
        self._placed, self._classes = placed, drawn.classes
        self._use_colors()
        if self._hidden and self.layer is not None:
            self.layer.visible = True
        self._hidden = False

    def hide(self) -> None:
        """Put the layer out of sight until there is something to show."""
        if self.layer is not None and self.layer.visible:
            self._hidden = True
            self.layer.visible = False

    def remove(self) -> None:
        """Take the layer away."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def release(self) -> None:
        """Let go of the viewer, and take the layer away."""
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
        """The colours of the classes; over other labels in sight the background has one too."""
        layers = self.viewer.layers
        if self.layer is None or self.layer not in layers:
            return
        below = layers[: layers.index(self.layer)]
        colors = self._classes, any(isinstance(layer, Labels) and layer.visible for layer in below)
        if colors != self._colors:
            self._colors = colors
            self.layer.colormap = preview_colormap(*colors)

    def _on_layers(self, event: Any) -> None:
        """Layers came, went or moved, or one of them said something."""
        if event.type == "removed" and self.layer is not None and event.value is self.layer:
            self.layer = None
            self._closed()
        elif event.type in CHANGES_BENEATH:
            self._use_colors()


def preview_colormap(classes: tuple[int, ...], over_labels: bool) -> Any:
    """The classes' colours; with labels beneath in sight, background and unlabelled cover those."""
    if not over_labels:
        return class_colormap(classes)
    colors = {label: class_color(label) for label in classes if label > 0}
    return colormap({0: GROUND, **colors, UNLABELLED: (*UNLABELLED_COLOR[:3], 0.9)}, others="transparent")


# -------- Hear of everything that changes what a source's preview shows: its pixels, its place, the viewer's sliders.


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
        for event in self._sliders():
            event.connect(self._on_slider)

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
        self._disconnect()
        self.source = None
        for event in self._sliders():
            event.disconnect(self._on_slider)

    def _disconnect(self) -> None:
        if self.source is not None:
            for event, listener in self._events():
                event.disconnect(listener)

    def _sliders(self) -> tuple[Any, ...]:
        events = self.viewer.dims.events
        return events.point, events.ndisplay, events.order

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

    def _on_slider(self, event: Any) -> None:
        if self.source is not None:
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


MEASURE_AFTER_MS = 150
"""What is left of the structure is measured once a dial has stood still for so long."""

ELSEWHERE = "The preview needs the axes Y and X on screen, in 2D, and a slider that stands within the layer."


class Preview(QObject):
    """Keeps one 2D layer in step with source, slider, recipe and seed.

    Signals
    -------
    stale :
        Something changed that the preview follows from; `ask` anew.
    drawn : Drawn
        A plane was drawn and is on screen, unless there is a problem or the layer is switched off.
    measured : Measured
        What its noise leaves.
    failed : Exception
        A plane could not be drawn, for no reason the user could mend.
    closed :
        The user took the layer away.
    """

    stale = Signal()
    drawn = Signal(object)
    measured = Signal(object)
    failed = Signal(object)
    closed = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.watch = Watch(viewer, self._on_stale)
        self.view = PreviewLayer(viewer, self._on_closed)
        self._ticket = _Ticket()
        self._on = True
        self._drawing, self._measuring = Latest(self), Latest(self)
        self._drawing.done.connect(self._on_drawn)
        self._drawing.failed.connect(self._on_failed)
        self._measuring.done.connect(self._on_measured)
        self._measuring.failed.connect(self.failed)
        self._last: Drawn | None = None
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(MEASURE_AFTER_MS)
        self._pause.timeout.connect(self._measure)

    @property
    def layer(self) -> Labels | None:
        """The layer on screen, as long as there is one."""
        return self.view.layer

    @property
    def source(self) -> Source | None:
        """What is followed."""
        return self.watch.source

    @property
    def busy(self) -> bool:
        """True while something is being drawn or measured, or is about to be."""
        return self._drawing.busy or self._measuring.busy or self._pause.isActive()

    def follow(self, source: Source | None) -> None:
        """Follow another source, or none; with none the layer goes."""
        self.forget()
        self.watch.follow(source)
        if source is None:
            self.view.remove()

    def ask(self, order: Order) -> str:
        """Draw the plane on screen in the background; why that cannot be, else nothing."""
        plane = visible_plane(self.viewer, order.source.layer)
        if plane is None:
            self.forget()
            return ELSEWHERE
        self._ticket.wanted = False
        ticket = self._ticket = _Ticket()
        self._drawing.ask(lambda: draw_plane(order, plane.index, ticket))
        return ""

    def switch(self, on: bool) -> None:
        """Show the layer, from the next plane on, or take it away; planes are drawn all the same."""
        self._on = on
        if not on:
            self.view.remove()

    def forget(self) -> None:
        """Let what is being drawn or measured go, and hide what was drawn: it is not what was asked for."""
        self._ticket.wanted = False
        self._pause.stop()
        self._drawing.drop()
        self._measuring.drop()
        self._last = None
        self.view.hide()

    def release(self) -> None:
        """Let go of viewer and layers, and take the preview away; also after this object was deleted by Qt."""
        self._ticket.wanted = False
        self.watch.release()
        self.view.release()

    def _on_stale(self) -> None:
        self.stale.emit()

    def _on_drawn(self, drawn: Drawn) -> None:
        if drawn.order.source is not self.source:
            return
        if drawn.problem:
            self.view.hide()
            self._last = None
        else:
            if self._on:
                self.view.show(drawn)
            self._last = drawn
            self._pause.start()
        self.drawn.emit(drawn)

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, Superseded):
            self.view.hide()
            self.failed.emit(error)

    def _measure(self) -> None:
        drawn = self._last
        if drawn is not None:
            self._measuring.ask(lambda: measure(drawn))

    def _on_measured(self, measured: Any) -> None:
        if measured.drawn is self._last:
            self.measured.emit(measured)

    def _on_closed(self) -> None:
        self.closed.emit()


class _Ticket:
    """Whether an answer is still wanted; asked by the thread."""

    def __init__(self) -> None:
        self.wanted = True

    def __call__(self) -> bool:
        return self.wanted
