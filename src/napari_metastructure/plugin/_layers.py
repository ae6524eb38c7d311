"""Helpers for napari's layers: place, visible slice, colours, epochs, changes and sources."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import napari
import numpy as np
from napari.layers import Layer

from napari_metastructure import __version__
from napari_metastructure.errors import InputError, counted
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.readings import Reading

ORIGIN = "napari-metastructure"
"""Key under which a layer's ``metadata`` says how this plugin made it."""


PLANES = "planes"
"""Key beside it under which stands which planes hold something, if not all do: a sentence for files."""


READINGS: dict[Reading, str] = {
    "classes": "classes: each number is one",
    "foreground": "foreground and background",
    "objects": "objects: any number is foreground",
}
"""How the numbers of a label layer can be read, as forms offer it, see `_inputs.reading_editor`."""

CONVERT = "right-click its layer and choose Convert to Labels."
"""How napari makes labels of a mask that was opened as an image: the end of a sentence."""

READING_TIP = (
    "What the numbers in the labels mean. <b>Classes</b>: 0, 1, 2, … each a class. <b>Foreground and background</b>: "
    "0 and one other number. <b>Objects</b>: numbered objects, all of them foreground. 255 is unlabelled, except among "
    "numbered objects, and in a mask of 0 and 255, where it is the foreground."
)


def placement(layer: Layer, leading: str | None = None, ndim: int | None = None) -> dict[str, Any]:
    """Keyword arguments that lay a new layer exactly over another.

    Parameters
    ----------
    layer : napari.layers.Layer
        The layer to lie over; of RGB images, the axes without the samples.
    leading : str, optional
        Label of one axis put before the others: step 1 without unit.
    ndim : int, optional
        How many axes of the new layer lie on the last of this one; by default all. One that the layer lacks, as it
        was given other pixels, has step 1 without unit too.

    Returns
    -------
    dict
        ``scale, translate, rotate, shear, affine, units, axis_labels`` for any ``add_*`` of a viewer.
    """
    ndim = layer.ndim if ndim is None else ndim
    own, new = slice(max(layer.ndim - ndim, 0), None), max(ndim - layer.ndim, 0)
    more = new if leading is None else new + 1
    return {
        "scale": (*[1.0] * more, *layer.scale[own]),
        "translate": (*[0.0] * more, *layer.translate[own]),
        "rotate": _lower_right(np.asarray(layer.rotate)[own, own], more),
        "shear": _lower_right(_shear_matrix(layer)[own, own], more),
        "affine": _lower_right(np.asarray(layer.affine.affine_matrix)[own, own], more),
        "units": (*["pixel"] * more, *map(str, layer.units[own])),
        "axis_labels": (
            *([leading] if leading else []),
            *(f"{at - ndim}" for at in range(new)),
            *layer.axis_labels[own],
        ),
    }


def made_from(layer: Layer, **how: Any) -> dict[str, Any]:
    """Return the metadata of a layer that this plugin makes from another: its source, its file, and how it was made."""
    file, origin = file_of(layer), origin_of(layer)
    known: dict[str, Any] = {"source": layer.name, "ids": [str(layer.unique_id), *origin.get("ids", ())]}
    known["root"] = origin.get("root", layer._type_string)
    return {ORIGIN: {"version": __version__, **known, "file": None if file is None else str(file), **how}}


def is_from(layer: Layer, source: Layer) -> bool:
    """Whether this plugin made a layer from another, whatever that is called by now.

    Another layer of the same name is not the source, unless it was opened from the same file.
    """
    origin = origin_of(layer)
    ids, file = origin.get("ids"), origin.get("file")
    if ids and ids[0] == str(source.unique_id):
        return True
    same_file = file is not None and file == str(file_of(source))
    return bool(origin.get("source") == source.name and (same_file or not ids))


def source_of(layer: Layer, layers: Iterable[Layer]) -> Layer | None:
    """Find the layer that this plugin made another from, see `is_from`."""
    first = origin_of(layer).get("ids", [None])[0]
    found = [other for other in layers if other is not layer and is_from(layer, other)]
    return max(found, key=lambda other: str(other.unique_id) == first, default=None)


def hide_earlier(layers: Iterable[Layer], source: Layer, how: str) -> None:
    """Hide what was made from a layer in the same way before, which would shine through: ``how`` names its metadata."""
    for layer in layers:
        if layer.visible and how in origin_of(layer) and is_from(layer, source):
            layer.visible = False


def file_of(layer: Layer) -> Path | None:
    """Find the file that a layer, or the layer that it was made from, was opened from; None if it is not there."""
    path: str | None = origin_of(layer).get("file")
    while path is None and layer is not None:
        path, parent = layer.source.path, layer.source.parent
        layer = None if parent is None else parent()
    return Path(path) if path is not None and Path(path).is_file() else None


LONGEST, LEAST = 22, 10
"""Letters of a result's name that napari's list has room for, and of its source's name that stay in any case."""


def result_name(source: str, what: str) -> str:
    """Name a layer after its source and what it is, so that neighbours in napari's list can be told apart."""
    return f"{shortened(source, max(LONGEST - 1 - len(what), LEAST))} {what}"


def shortened(name: str, most: int) -> str:
    """Cut a long name in its middle: names of one folder differ at their ends. One cut before is cut again."""
    if len(name) <= most:
        return name
    start = name[: (most - 1) // 3].partition("…")[0]
    return f"{start}…{name[len(start) + 1 - most :].rpartition('…')[2]}"


def _lower_right(matrix: np.ndarray, more: int) -> np.ndarray:
    """Put ``more`` axes before a matrix's own and leave them as they are."""
    result = np.eye(len(matrix) + more)
    result[more:, more:] = matrix
    return result


def _shear_matrix(layer: Layer) -> np.ndarray:
    """Return a layer's shear as a matrix; napari gives upper triangular ones as a flat list."""
    shear = np.asarray(layer.shear)
    if shear.ndim == 2:
        return shear
    matrix = np.eye(layer.ndim)
    matrix[np.triu_indices(layer.ndim, k=1)] = shear
    return matrix


# ---- the slice on screen -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class VisiblePlane:
    """One (Y, X) plane of a layer.

    Attributes
    ----------
    layer : napari.layers.Layer
    index : int
        Its number among the planes of the layer, the last leading axis running fastest.
    at : tuple of int
        Its place along each leading axis.
    """

    layer: Layer
    index: int
    at: tuple[int, ...]

    def pixels(self) -> np.ndarray:
        """Read the (Y, X) pixels, those on screen, also of a lazy layer."""
        return np.asarray(full(self.layer)[self.at])

    def placement(self) -> dict[str, Any]:
        """Keyword arguments that lay a 2D layer over it; a 2D layer shows at every position of the sliders."""
        return placement(self.layer, ndim=2)


def visible_plane(viewer: napari.Viewer, layer: Layer) -> VisiblePlane | None:
    """Return the plane of a layer where the viewer's sliders stand.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Layer
        Of two or more dimensions, the last two being Y and X; not RGB.

    Returns
    -------
    VisiblePlane or None
        None if the viewer shows other axes than Y and X, or stands outside the layer.
    """
    shape = full(layer).shape
    if viewer.dims.ndisplay != 2 or set(viewer.dims.displayed) != {viewer.dims.ndim - 2, viewer.dims.ndim - 1}:
        return None
    place = np.rint(layer.world_to_data(viewer.dims.point)).astype(int)[: len(shape) - 2]
    at = tuple(int(i) for i in place)
    if any(not 0 <= i < n for i, n in zip(at, shape, strict=False)):
        return None
    return VisiblePlane(layer, int(np.ravel_multi_index(at, shape[:-2])) if at else 0, at)


def unwrapped(viewer: napari.Viewer) -> napari.Viewer:
    """Return the viewer behind the proxy that napari hands to widgets opened from its menus.

    The proxy makes a new proxy of a layer each time, so that no layer it returns *is* one of the viewer's.
    """
    return getattr(viewer, "__wrapped__", viewer)


def full(layer: Layer) -> Any:
    """Return a layer's pixels, at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


# ---- colours of label layers: a fixed one per class, and one of its own for unlabelled pixels ---------------


# Okabe and Ito's palette: told apart by colour-blind eyes as well.
CLASS_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")

UNLABELLED_COLOR = (0.5, 0.5, 0.5, 0.45)


UNSEEN_COLOR = "#9a9a9a"

DIMMEST = 64
"""Of 255, in the brightest of red, green and blue: what is darker is not seen on a dark window."""


def class_color(label: int) -> str:
    """Return the colour of a class: those of the palette in turn for classes above 0, grey for the background."""
    return CLASS_COLORS[(label - 1) % len(CLASS_COLORS)] if label > 0 else UNSEEN_COLOR


def shown_colors(layer: Layer, classes: Iterable[int], reading: Reading, foreground: int | None) -> dict[int, str]:
    """Return the colours in which a Labels layer shows its classes; grey for those that it does not show.

    Numbered objects, each of which has a colour, are all of class 1: that has the one of the palette.

    Parameters
    ----------
    layer : napari.layers.Labels
    classes : iterable of int
    reading : {"classes", "foreground", "objects"}
    foreground : int or None
        The number in the layer that is read as class 1, where that is not 1.
    """
    shown = layer.colormap.model_copy(update={"use_selection": False})  # else all but one are transparent
    colors = {}
    for label in classes:
        number = foreground if label == 1 and foreground is not None else label
        red, green, blue, alpha = (round(255 * float(part)) for part in shown.map(number).ravel())
        seen = alpha and max(red, green, blue) >= DIMMEST
        colors[label] = f"#{red:02x}{green:02x}{blue:02x}" if seen else UNSEEN_COLOR
    return colors | {1: class_color(1)} if reading == "objects" else colors


def colors_as_read(classes: Iterable[int], read: tuple[Layer, Reading, int | None] | None) -> dict[int, str]:
    """Return the colours in which a Labels layer, see `shown_colors`, shows classes; none without a layer."""
    return {} if read is None else shown_colors(read[0], classes, read[1], read[2])


def class_colormap(classes: Sequence[int], shown: Mapping[int, str] | None = None) -> Any:
    """Make a napari colormap in which 0 is transparent, 255 is grey, and every class has its colour, or one given."""
    colors = {label: class_color(label) for label in classes if label > 0}
    colors |= {label: color for label, color in (shown or {}).items() if label in colors}
    return colormap({0: "transparent", **colors, UNLABELLED: UNLABELLED_COLOR}, others="transparent")


def colormap(colors: Mapping[int, Any], others: Any) -> Any:
    """Make a napari colormap with these colours by label, and one for all other labels."""
    from napari.utils.colormaps import DirectLabelColormap

    by_label: dict[Any, Any] = {**colors, None: others}
    return DirectLabelColormap(color_dict=by_label)


# ---- epochs ------------------------------------------------------------------------------------------------


class EpochPages:
    """One page per epoch, by its number, so that the slider says what curves and progress say.

    A resumed run leaves the pages before it empty. Pages of a zeroed array cost memory only once written, so the
    whole run's worth is asked for at once: growing is then a longer view of it, and no epoch is ever copied.

    Parameters
    ----------
    shape : tuple of int
        Of one page.
    epochs : int
        How many there will be after epoch 0.
    what, layer : str
        What messages call it: "masks" of a layer of this name.

    Raises
    ------
    InputError
        If there is not enough memory.
    """

    def __init__(self, shape: tuple[int, ...], epochs: int, what: str, layer: str) -> None:
        self.shape, self.what, self.layer = shape, what, layer
        self.array = self._empty(epochs)

    def put(self, epoch: int, page: np.ndarray) -> np.ndarray:
        """Write a page; the pages up to it, as a view."""
        self.reserve(epoch)  # a resumed run may be further than its settings say
        self.array[epoch] = page
        return self.array[: epoch + 1]

    def reserve(self, epochs: int) -> bool:
        """Make room for so many epochs; True if the pages are in another array now."""
        if epochs < (written := len(self.array)):
            return False
        array = self._empty(epochs)
        array[:written] = self.array
        self.array = array
        return True

    def _empty(self, epochs: int) -> np.ndarray:
        try:
            return np.zeros((epochs + 1, *self.shape), np.uint8)
        except MemoryError:
            size = (epochs + 1) * np.prod(self.shape, dtype=float) / 2**30
            raise InputError(
                f"The {self.what} of {counted(epochs, 'epoch')} of layer {self.layer!r} need {size:.1f} GiB of memory; "
                "choose fewer epochs."
            ) from None


class EpochSlider:
    """The viewer's slider of epochs, which follows a run as long as it stands at the newest.

    Attributes
    ----------
    layers : list of Layer
        Those with the epoch axis; the slider is gone when all of them are.
    epochs : list of int
        Those that were drawn so far.
    held : callable
        Whether it has to stay where it is: somebody paints there.
    """

    def __init__(self, viewer: napari.Viewer, held: Callable[[], bool] = lambda: False) -> None:
        self.viewer, self.held = viewer, held
        self.layers: list[Layer] = []
        self.epochs: list[int] = []

    @property
    def axis(self) -> int | None:
        """The viewer's number of the axis; None without a layer."""
        there = (layer for layer in self.layers if layer in self.viewer.layers)
        return next((int(self.viewer.dims.ndim - layer.ndim) for layer in there), None)

    @property
    def epoch(self) -> int:
        """The epoch on screen: where the slider stands, or the nearest there is (the newest without a slider)."""
        if not self.epochs:
            return 0
        axis = self.axis
        if axis is None:
            return self.epochs[-1]
        return int(np.clip(round(self.viewer.dims.point[axis]), self.epochs[0], self.epochs[-1]))

    def shows(self, epoch: int) -> bool:
        """Whether the slider stands at an epoch, or all epochs are on screen at once."""
        axis, dims = self.axis, self.viewer.dims
        return axis is not None and (axis in dims.displayed or round(dims.point[axis]) == epoch)

    def follow(self, epochs: Sequence[int], draw: Iterable[None]) -> Iterator[None]:
        """Take the steps that draw new epochs; in the last go to the newest, if the slider stood at the newest."""
        newest = self.epochs[-1] if self.epochs else None
        self.epochs += epochs
        yield from draw
        if newest in (None, self.epoch) and not self.held() and (axis := self.axis) is not None:
            self.viewer.dims.set_point(axis, epochs[-1])

    def set_data(self, layer: Layer, pages: np.ndarray, epoch: int) -> None:
        """Give a layer the pages up to a new epoch.

        napari draws a layer again when it gets data. That is needed only if this epoch is on screen already: else the
        slider stays at another one, or `follow` moves it to this one, which draws it.
        """
        with nullcontext() if self.shows(epoch) else layer.events.set_data.blocker():
            layer.data = pages

    def go_to(self, epoch: int) -> None:
        """Move to an epoch, if the slider stands at the newest."""
        axis = self.axis
        if axis is not None and not self.held() and epoch in self.epochs and self.epoch == self.epochs[-1]:
            self.viewer.dims.set_point(axis, epoch)


# ---- ending with a widget ---------------------------------------------------------------------------------


class Releases(list[Callable[[], object]]):
    """What to call when Qt destroys something; connected to its ``destroyed``.

    A list, and no function: where Python's garbage collector came before Qt, it has emptied both, and Qt calls them all
    the same. A function without its variables is a segmentation fault then, a list without items is nothing to do.
    """

    def __call__(self) -> None:
        for release in self:
            release()


class ReleaseOnClose:
    """Callbacks to disconnect when a widget is destroyed: the viewer and its layers may outlive it.

    Parameters
    ----------
    owner : QObject
        Any here: labels are written without Qt too.
    """

    def __init__(self, owner: Any) -> None:
        self._held = Releases()
        owner.destroyed.connect(self._held)

    def listen(self, emitter: Any, callback: Callable[..., Any]) -> None:
        """Connect to an event of napari until the owner is destroyed."""
        emitter.connect(callback)
        self.add(partial(emitter.disconnect, callback))

    def add(self, *releases: Callable[[], object]) -> None:
        """Call these when the owner is destroyed, in the order they were added."""
        self._held.extend(releases)


# ---- following layers ---------------------------------------------------------------------------------------

PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "name")


class LayerWatch:
    """Follows layers: reports whatever changes them, and keeps their labels as stacks that forget what has changed.

    A plain object: it can let go of the layers when the widget that has it is deleted already.

    Parameters
    ----------
    viewer : napari.Viewer
    changed : callable
        Called after every change: other pixels, a stroke while it is drawn, undo, a redraw, another place, name or
        colours of labels.
    instances : bool
        Stacks tell objects apart, see `LabelStack`.
    """

    def __init__(self, viewer: napari.Viewer, changed: Callable[[], None], instances: bool = False) -> None:
        self.viewer, self.instances = viewer, instances
        self._changed = changed
        self._listening: dict[Layer, list[tuple[Any, Callable[[Any], None]]]] = {}
        self._stacks: dict[Layer, LabelStack] = {}
        self._seen: dict[Layer, tuple[tuple[int, int], int | None]] = {}

    def follow(self, layers: Iterable[Layer]) -> None:
        """Follow these layers and no others."""
        wanted = list(dict.fromkeys(layers))
        for layer in [layer for layer in self._listening if layer not in wanted]:
            for emitter, callback in self._listening.pop(layer):
                emitter.disconnect(callback)
            self._stacks.pop(layer, None)
        for layer in [layer for layer in wanted if layer not in self._listening]:
            events = layer.events
            pairs: list[tuple[Any, Callable[[Any], None]]] = [(getattr(events, n), self._on_moved) for n in PLACE]
            pairs += [(events.data, self._on_data), (events.set_data, self._on_drawn)]
            if hasattr(events, "paint"):  # Labels
                pairs += [(events.paint, self._on_paint), (events.labels_update, self._on_drawn)]
                pairs.append((events.colormap, self._on_moved))
            for emitter, callback in pairs:
                emitter.connect(callback)
            self._listening[layer] = pairs
            self._seen[layer] = _history(layer), self._shown(layer)

    def stack(self, layer: Layer, reading: Reading) -> LabelStack:
        """Return the labels of a layer that is followed; the same stack until its data are replaced."""
        stack, ours = self._stacks.get(layer), is_ours(layer)
        if stack is None or stack.reading != reading or stack.ours != ours:
            stack = self._stacks[layer] = LabelStack(full(layer), reading, ours, instances=self.instances)
        stack.name = f"Layer {layer.name!r}"
        return stack

    def forget(self) -> None:
        """Take all pixels for changed, after a write in place that napari was not told of."""
        self._stacks.clear()

    def release(self) -> None:
        """Let go of all layers."""
        self.follow(())

    def _on_moved(self, event: Any) -> None:
        self._changed()

    def _on_data(self, event: Any) -> None:
        """Other pixels altogether: a new stack, because a job may be reading the one there was."""
        self._stacks.pop(event.source, None)
        self._seen[event.source] = _history(event.source), self._shown(event.source)
        self._changed()

    def _on_paint(self, event: Any) -> None:
        """Forget the planes that a brush, or a script that edits as it does, has changed."""
        layer = event.source
        if stack := self._stacks.get(layer):
            for atom in event.value:
                stack.forget(_planes(atom[0], stack.shape[:-2]))
        self._seen[layer] = _history(layer), self._seen[layer][1]
        self._changed()

    def _on_drawn(self, event: Any) -> None:
        """Find out why a layer is redrawn: a brush on its way, an undo (wherever it was), a refresh or the slider."""
        layer = event.source
        before, history, shown = self._seen[layer], _history(layer), self._shown(layer)
        if stack := self._stacks.get(layer):
            if history != before[0]:
                stack.forget()
            elif shown is not None and shown == before[1]:
                stack.forget([shown])
        self._seen[layer] = history, shown
        self._changed()

    def _shown(self, layer: Layer) -> int | None:
        """Return the number of the plane on screen."""
        plane = visible_plane(self.viewer, layer) if hasattr(layer.events, "paint") else None
        return None if plane is None else plane.index


def _history(layer: Any) -> tuple[int, int]:
    """Lengths of a layer's undo and redo lists: napari sends no event for an undo, but it moves one item."""
    return len(getattr(layer, "_undo_history", ())), len(getattr(layer, "_redo_history", ()))


def _planes(place: Any, leading: tuple[int, ...]) -> list[int]:
    """Find the planes that a place in a layer (slices, or arrays of indices, one for each axis) touches."""
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


# ---- true classes: those of the layer that labels were made from, if this plugin made them ------------------


class TrueLabels:
    """Finds the true classes of noisy layers; once found, a layer is known by itself and may be renamed."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self._found: WeakKeyDictionary[Layer, tuple[Any, Layer]] = WeakKeyDictionary()

    def of(self, layer: Layer) -> Layer:
        """Return the labels that a layer was made from, or the layer itself."""
        origin = origin_of(layer)
        name = origin.get("source")
        known = self._found.get(layer)
        if known is not None and known[0] == name and known[1] in self.viewer.layers:
            return known[1]
        source = find_source(self.viewer, layer)
        if source is None:
            return layer
        self._found[layer] = name, source
        return source


def origin_of(layer: Layer) -> dict[str, Any]:
    """Return how this plugin made a layer; empty if it did not."""
    origin = layer.metadata.get(ORIGIN)
    return origin if isinstance(origin, dict) else {}


def is_ours(layer: Layer) -> bool:
    """Whether this plugin made a layer in which 255 is unlabelled for sure; in numbered objects it may be one."""
    return ORIGIN in layer.metadata and bool(origin_of(layer).get("unlabelled", True))


def find_source(viewer: napari.Viewer, layer: Layer) -> Layer | None:
    """Find the label layer that a layer's metadata names as its source, first among those opened together."""
    from napari.layers import Labels

    origin = origin_of(layer)
    named = origin.get("source")
    labels = [other for other in viewer.layers if isinstance(other, Labels) and other is not layer]
    group = origin.get("group")
    for other in labels:
        theirs = origin_of(other)
        if group is not None and theirs.get("group") == group and theirs.get("cell") == named:
            return other
    return source_of(layer, labels)
