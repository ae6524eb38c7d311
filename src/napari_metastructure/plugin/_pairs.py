"""Pairs of image and labels layers to train on: those that names or shapes suggest, and the table that shows them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import napari
import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy import QtCore, QtGui, QtWidgets

from napari_metastructure.errors import InputError, listed, sized
from napari_metastructure.images.lazy import Plane, opened
from napari_metastructure.images.ranges import ALL, Chosen
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.readings import Reading, meaning_of
from napari_metastructure.plugin import _inputs
from napari_metastructure.plugin._form import tooltip, with_tip
from napari_metastructure.plugin._layers import CONVERT, ORIGIN, PLACE, full, is_ours, placement
from napari_metastructure.plugin._source import EAGER_BYTES, Source
from napari_metastructure.training.pairs import VERBS, Pair, Purpose, TrainingSet

LUMINANCE = "luminance"
"""Of colour images what they are reduced to, and of all others what they are."""


# ---- which image layer goes with which labels layer, as chosen or as names and shapes suggest ----------------


Use = Literal["train", "validation"]

MASKS = frozenset(("mask", "masks", "label", "labels", "gt", "truth", "seg", "segmentation"))
"""Words of the names of labels."""

COMMON = MASKS | {"image", "images", "img", "raw"}
"""Words that distinguish an image's name from that of its labels, but not one image from another."""


@dataclass
class Row:
    """A pair in the making.

    Attributes
    ----------
    image, labels : layer or None
        None where nothing is chosen, or the layer is gone.
    use : {"train", "validation"}
    by : {"name", "shape", "user"}
        Why they were put together; what shapes suggest is given up when there is more to choose from.
    """

    image: Image | None = None
    labels: Labels | None = None
    use: Use = "train"
    by: Literal["name", "shape", "user"] = "user"

    @property
    def problem(self) -> str:
        """Why it cannot be trained on; empty if it can."""
        if self.image is None:
            return "has no image; choose an image layer or remove the row"
        if self.labels is None:
            return f"has no labels for image {self.image.name!r}; choose a Labels layer or remove the row"
        image, labels = shape_of(self.image), shape_of(self.labels)
        if image != labels:
            return (
                f"does not fit: image {self.image.name!r} has {sized(image)} and labels {self.labels.name!r} "
                f"{sized(labels)}; choose labels of that image"
            )
        return ""


def is_image(layer: Layer) -> bool:
    """Tell whether a layer can be trained on: an image that this plugin did not make."""
    return isinstance(layer, Image) and ORIGIN not in layer.metadata


def is_labels(layer: Layer) -> bool:
    """Tell whether a layer holds labels, clean or made noisy here."""
    return isinstance(layer, Labels)


def shape_of(layer: Layer) -> tuple[int, ...]:
    """Return the shape at full resolution, without RGB samples."""
    shape = tuple(int(n) for n in full(layer).shape)
    return shape[:-1] if getattr(layer, "rgb", False) else shape


def apart(one: Layer, other: Layer) -> str:
    """Say that two layers do not lie on each other in the viewer, in a sentence; empty if they do, within a pixel.

    Of axes that one of them lacks, those before the others, nothing is asked.
    """
    one, other = sorted((one, other), key=lambda layer: layer.ndim)
    corners = np.array(list(product(*((0, n - 1) for n in shape_of(one)))), float)
    before = (0.0,) * (other.ndim - one.ndim)
    found = [one.world_to_data(other.data_to_world((*before, *corner))) for corner in corners]
    if np.abs(np.subtract(found, corners)).max() <= 1:
        return ""
    places = [placement(layer, ndim=one.ndim) for layer in (one, other)]
    keys = ("scale", "translate", "rotate", "shear", "affine")
    what = listed([key for key in keys if not np.allclose(*(place[key] for place in places))])
    return (
        f"Layers {one.name!r} and {other.name!r} do not lie on each other in the viewer (they differ in {what}), but "
        "are taken pixel by pixel; if they are not of one image, choose another."
    )


def suggest(layers: Sequence[Layer], taken: Sequence[Row] = ()) -> list[Row]:
    """Pair layers that are in no row yet: of one name except for words like "mask", else the only ones of a shape.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of the viewer.
    taken : sequence of Row

    Returns
    -------
    list of Row
        In the order of the images. Nothing is guessed: of several images with a name or shape, none is paired.
        A shape says nothing of layers that lie apart. Labels that this plugin made are left to the user, who knows
        which of them to train on.
    """
    gone = {id(layer) for row in taken for layer in (row.image, row.labels)}
    free = [layer for layer in layers if id(layer) not in gone]
    images = [layer for layer in free if is_image(layer)]
    labels = [layer for layer in free if is_labels(layer) and ORIGIN not in layer.metadata]
    found = {id(image): Row(image, label, by="name") for image, label in _alone(images, labels, _by_name)}
    paired = {id(row.labels) for row in found.values()}
    rest = [image for image in images if id(image) not in found]
    others = [label for label in labels if id(label) not in paired]
    alone = [pair for pair in _alone(rest, others, shape_of) if not apart(*pair)]
    found |= {id(image): Row(image, label, by="shape") for image, label in alone}
    return [found[id(image)] for image in images if id(image) in found]


def _alone(
    images: Sequence[Image], labels: Sequence[Labels], key: Callable[[Any], Hashable]
) -> list[tuple[Image, Labels]]:
    """Pair the image and the labels of each key that belongs to exactly one of both."""
    groups: dict[Hashable, tuple[list[Image], list[Labels]]] = defaultdict(lambda: ([], []))
    for image in images:
        groups[key(image)][0].append(image)
    for label in labels:
        groups[key(label)][1].append(label)
    return [(some[0], others[0]) for some, others in groups.values() if len(some) == 1 == len(others)]


def to_convert(layers: Iterable[Layer]) -> str:
    """Say which masks were opened as images, going by their names, or, without any labels, that one may have been."""
    layers = list(layers)
    images = [layer.name for layer in layers if is_image(layer)]
    if masks := [name for name in images if MASKS & set(_words(name))]:
        are, they = ("is an image", "it holds") if len(masks) == 1 else ("are images", "they hold")
        return f"{listed([repr(name) for name in masks])} {are}; if {they} labels, {CONVERT}"
    no_labels = images and not any(map(is_labels, layers))
    return f"There is no Labels layer; if a mask was opened as an image, {CONVERT}" if no_labels else ""


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a layer's name that matter."""
    return tuple(word for word in _words(name) if word not in COMMON)


def _words(name: str) -> list[str]:
    """Split a layer's name; napari's number for a second layer of a name does not count."""
    return list(filter(None, re.split(r"[\W_]+", re.sub(r" \[\d+\]$", "", name).lower())))


def _by_name(layer: Layer) -> Hashable:
    words = words_of(layer.name)
    return (words, shape_of(layer)) if words else id(layer)


HEADS = ("image", "labels", "used to")

SETTINGS: dict[Purpose, str] = {
    "validation": "Validation fraction under Data",
    "test": "Test fraction under Test and prediction",
}
"""Where the share of the images that is kept is set."""

MOST_ROWS = 6
"""The table grows to this many rows and scrolls beyond."""

PROBLEM = "#e5534b"

NOTHING = "choose…"


class PairsTable(QtWidgets.QWidget):
    """Pairs of layers; those that names or shapes suggest are added automatically. ``changed`` reports any change.

    Parameters
    ----------
    viewer : napari.Viewer
    purpose : {"validation", "test"}
        What rows are used for that are not trained on.
    """

    changed = QtCore.Signal()

    def __init__(self, viewer: napari.Viewer, purpose: Purpose = "validation") -> None:
        super().__init__()
        self.viewer, self.purpose = viewer, purpose
        self.uses: dict[Use, str] = {"train": "train", "validation": VERBS[purpose]}
        self.kept_text = f"({VERBS[purpose]})"  # of rows that are kept without being set to it
        self.rows: list[Row] = []
        self._kept: frozenset[str] = frozenset()
        self._unwanted: set[int] = set()  # images whose row the user took out
        self._named: list[Any] = []
        self.table = QtWidgets.QTableWidget(0, len(HEADS))
        self.table.setTabKeyNavigation(False)  # Tab leaves it; the arrows go through it
        self._make_table()
        self.add_button = with_tip(QtWidgets.QPushButton("Add pair"), "Add a row; choose its layers by a double click.")
        self.remove_button = with_tip(
            QtWidgets.QPushButton("Remove"), "Take the selected rows out of the table; the layers stay."
        )
        self.use_button = with_tip(
            QtWidgets.QPushButton(f"Train ⇄ {VERBS[purpose]}"), "Use the selected rows for the other purpose."
        )
        buttons = _inputs.row(self.add_button, self.remove_button, self.use_button, spacing=2)
        _inputs.column(self.table, buttons, into=self)
        self.add_button.clicked.connect(lambda: self.add())
        self.remove_button.clicked.connect(lambda: self.remove(self.selected()))
        self.use_button.clicked.connect(lambda: self.swap_use(self.selected()))
        events = viewer.layers.events
        events.inserted.connect(self._on_inserted)
        events.removed.connect(self._on_removed)
        self._on_inserted()

    # ---- what scripts and buttons do ---------------------------------------------------------------------

    def add(self, image: Image | None = None, labels: Labels | None = None, use: Use = "train") -> None:
        """Add a row."""
        self.rows.append(Row(image, labels, use))
        self._report()

    def remove(self, numbers: list[int]) -> None:
        """Take rows out, by number from 0."""
        for number in sorted(numbers, reverse=True):
            row = self.rows.pop(number)
            if row.image is not None:
                self._unwanted.add(id(row.image))
        self._report()

    def swap_use(self, numbers: list[int]) -> None:
        """Use rows for the other purpose."""
        for number in numbers:
            row = self.rows[number]
            row.use, row.by = "validation" if row.use == "train" else "train", "user"
        self._report()

    def clear(self) -> None:
        """Take all rows out."""
        self.remove(list(range(len(self.rows))))

    def selected(self) -> list[int]:
        """Return the numbers of the selected rows."""
        return sorted({index.row() for index in self.table.selectionModel().selectedIndexes()})

    def show_kept(self, images: Iterable[str]) -> None:
        """Mark the rows of these images, which the settings keep for validation."""
        kept = frozenset(images)
        if kept != self._kept:
            self._kept = kept
            self._show()

    def release(self) -> None:
        """Let go of the viewer (its events would call a deleted widget)."""
        events = self.viewer.layers.events
        events.inserted.disconnect(self._on_inserted)
        events.removed.disconnect(self._on_removed)
        self._follow([])

    # ---- in step with the viewer -----------------------------------------------------------------------------

    def _on_inserted(self, event: Any = None) -> None:
        """Suggest again the pairs that neither the user chose nor a name gave."""
        kept = [row for row in self.rows if row.by != "shape"]
        layers = [layer for layer in self.viewer.layers if id(layer) not in self._unwanted]
        self.rows = kept + suggest(layers, kept)
        self._report()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        self._unwanted.discard(id(layer))
        for row in list(self.rows):
            if row.image is layer or row.labels is layer:
                row.image = None if row.image is layer else row.image
                row.labels = None if row.labels is layer else row.labels
                if row.by != "user" or (row.image is None and row.labels is None):
                    self.rows.remove(row)
        self._report()

    def _report(self, event: Any = None) -> None:
        self._show()
        self.changed.emit()

    def _follow(self, layers: Iterable[Layer]) -> None:
        """Hear of the name, the place and the size of these layers, and no more of those before."""
        before, self._named = self._named, list(layers)
        gone = [layer for layer in before if layer not in self._named]
        new = [layer for layer in self._named if layer not in before]
        for which, how in ((gone, "disconnect"), (new, "connect")):  # napari takes a millisecond for one
            for layer in which:
                for event in (*PLACE, "data"):
                    getattr(layer.events[event], how)(self._report)

    # ---- how it looks ------------------------------------------------------------------------------------------

    def _make_table(self) -> None:
        self.table.setHorizontalHeaderLabels(HEADS)
        self.table.setToolTip(
            tooltip(
                "Images and their labels. Double-click a cell to choose another layer, or what the pair is used for. "
                f"Where no row is used to {VERBS[self.purpose]}, a share of the images is kept for it, see "
                f"{SETTINGS[self.purpose]}."
            )
        )
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QtWidgets.QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(2, QtWidgets.QHeaderView.ResizeMode.ResizeToContents)
        self.table.verticalHeader().setVisible(False)
        self.table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setWordWrap(False)
        self.table.setTextElideMode(QtCore.Qt.TextElideMode.ElideMiddle)
        delegate = _Chooser(self._options, self._choose, self.table)
        self.table.setItemDelegate(delegate)

    def _show(self) -> None:
        self._follow({id(x): x for row in self.rows for x in (row.image, row.labels) if x is not None}.values())
        with QtCore.QSignalBlocker(self.table):
            self.table.setRowCount(len(self.rows))
            for number, row in enumerate(self.rows):
                kept = row.use == "train" and row.image is not None and row.image.name in self._kept
                names = [NOTHING if layer is None else layer.name for layer in (row.image, row.labels)]
                texts = (*names, self.kept_text if kept else self.uses[row.use])
                for column, text in enumerate(texts):
                    item = QtWidgets.QTableWidgetItem(text)
                    why = (
                        f"Kept to {VERBS[self.purpose]} on, see {SETTINGS[self.purpose]}."
                        if column == 2 and kept
                        else text
                    )
                    item.setToolTip(tooltip(f"This pair {row.problem}." if row.problem else why))
                    if row.problem:
                        item.setForeground(QtGui.QColor(PROBLEM))
                    self.table.setItem(number, column, item)
        height = max(self.table.sizeHintForRow(0), self.fontMetrics().height() + 8)
        self.table.verticalHeader().setDefaultSectionSize(height)
        shown = min(max(len(self.rows), 2), MOST_ROWS)
        self.table.setFixedHeight(shown * height + self.table.horizontalHeader().sizeHint().height() + 4)

    # ---- choosing ------------------------------------------------------------------------------------------------

    def _options(self, column: int) -> list[tuple[str, Any]]:
        """List what can be chosen in a column: texts and values."""
        if column == 2:
            return [(text, use) for use, text in self.uses.items()]
        fits = is_labels if column else is_image
        return [(layer.name, layer) for layer in self.viewer.layers if fits(layer)]

    def _choose(self, number: int, column: int, value: Any) -> None:
        if number >= len(self.rows) or value is None:
            return
        row, name = self.rows[number], ("image", "labels", "use")[column]
        if getattr(row, name) is value:
            return
        setattr(row, name, value)
        row.by = "user"
        self._report()


class _Chooser(QtWidgets.QStyledItemDelegate):
    """Offers a cell's options in a box that opens at once."""

    def __init__(
        self,
        options: Callable[[int], list[tuple[str, Any]]],
        choose: Callable[[int, int, Any], None],
        parent: QtWidgets.QWidget,
    ) -> None:
        super().__init__(parent)
        self._options, self._choose = options, choose

    def createEditor(self, parent: QtWidgets.QWidget, option: Any, index: Any) -> QtWidgets.QWidget:  # noqa: N802 - Qt's name
        box = QtWidgets.QComboBox(parent)
        for text, value in self._options(index.column()):
            box.addItem(text, value)
        box.activated.connect(lambda _: (self.commitData.emit(box), self.closeEditor.emit(box)))
        QtCore.QTimer.singleShot(0, box.showPopup)
        return box

    def setEditorData(self, editor: Any, index: Any) -> None:  # noqa: N802 - Qt's name
        at = editor.findText(index.data())
        editor.setCurrentIndex(0 if at < 0 and index.column() == 2 else at)  # a row that is kept is set to train

    def setModelData(self, editor: Any, model: Any, index: Any) -> None:  # noqa: N802 - Qt's name
        self._choose(index.row(), index.column(), editor.currentData())


# ---- the set that rows of layers make -------------------------------------------------------------------


@dataclass(frozen=True)
class LayerSet(TrainingSet):
    """A training set of layers.

    Attributes
    ----------
    layers : dict of str to Source
        The image layer of each group of pairs.
    labels : dict of str to (Labels, array)
        The labels of each, and the pixels that they had.
    numbers : dict of str to int
        Which of the planes that are taken of its layer each pair is, whatever the layer is called by now.
    chosen : Chosen
        Which of their planes are taken.
    """

    layers: dict[str, Source] = field(default_factory=dict)
    labels: dict[str, tuple[Labels, Any]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    chosen: Chosen = ALL

    @property
    def pixels(self) -> list[tuple[Layer, Any]]:
        """All its layers, each with the pixels that are read."""
        return [*((source.layer, source.data) for source in self.layers.values()), *self.labels.values()]

    @property
    def apart(self) -> list[str]:
        """What is to be said of images and labels that do not lie on each other, see `apart`."""
        said = (apart(source.layer, self.labels[group][0]) for group, source in self.layers.items())
        return list(filter(None, said))

    @property
    def eager(self) -> bool:
        """Whether reading all pixels takes no noticeable time."""
        arrays = [pixels for _, pixels in self.pixels]
        small = sum(data.nbytes for data in arrays if isinstance(data, np.ndarray)) <= EAGER_BYTES
        return bool(arrays) and small and all(isinstance(data, np.ndarray) for data in arrays)

    def read_as(self, pair: Pair, reading: Reading) -> tuple[Labels, Reading, int | None] | None:
        """Return a pair's Labels layer, and how its plane is read: see `_layers.shown_colors`; for a thread.

        None where that cannot be told.
        """
        source, (layer, pixels) = self.layers[pair.group], self.labels[pair.group]
        stack = LabelStack(pixels, reading, is_ours(layer), f"Layer {layer.name!r}")
        try:
            values = {stack.name: stack.values_of(source.plane_of(self.numbers[pair.name]))}
            meaning = meaning_of(values, reading, stack.name, may_be_empty=True)
        except InputError:
            return None
        return layer, "objects" if meaning.objects else reading, meaning.foreground

    def with_files(self) -> LayerSet:
        """Return the same set with the files its layers are in, so that ``run.yaml`` can repeat the run.

        Only if every layer is in a file, still as it is there and taken whole: a part would repeat another run.
        """
        if self.chosen != ALL:
            return self
        if not all(same_as_file(layer, pixels) for layer, pixels in self.pixels):
            return self
        files = {
            group: (Path(source.layer.source.path), Path(self.labels[group][0].source.path))
            for group, source in self.layers.items()
        }
        return self.mapped(lambda pair: replace(pair, files=files.get(pair.group, pair.files)))


def set_of_rows(rows: Sequence[Row], channel: str, chosen: Chosen = ALL) -> LayerSet:
    """Make the set of rows of layers; no pixel is read yet.

    Parameters
    ----------
    rows : sequence of Row
    channel : str
        Of RGB layers: "luminance", "red", "green", "blue", or "all" as channels of their own.
    chosen : Chosen
        Which planes of all images are taken.

    Raises
    ------
    InputError
        For a row that cannot be used, an image in two rows, or nothing to train on; it names row or layer.
    """
    if not rows:
        raise InputError("There is no pair to train on; open images and their labels, and add a row for each pair.")
    sets: dict[str, list[Pair]] = {"train": [], "validation": []}
    layers: dict[str, Source] = {}
    labels: dict[str, tuple[Labels, Any]] = {}
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if row.problem or row.image is None or row.labels is None:
            raise InputError(f"Row {number} {row.problem}.")
        source = Source.of(row.image, chosen)
        if source.name in layers:
            raise InputError(f"Image layer {source.name!r} is in two rows; keep one of them.")
        layers[source.name], labels[source.name] = source, (row.labels, full(row.labels))
        pairs = list(_pairs(source, row.labels, channel))
        numbers |= {pair.name: at for at, pair in enumerate(pairs)}
        sets[row.use] += pairs
    if not sets["train"]:
        raise InputError("All rows are used to validate; set at least one to train.")
    validation = sets["validation"] or None
    return LayerSet(sets["train"], validation, layers=layers, labels=labels, numbers=numbers, chosen=chosen)


def same_as_file(layer: Layer, pixels: Any) -> bool:
    """Tell whether pixels of a layer are those of the one file it came from."""
    from napari_metastructure.images.files import noting, read_image

    path = layer.source.path
    if not path or not Path(path).is_file():
        return False
    try:
        with noting():  # said when it is read to be trained on
            image = read_image(path)
    except InputError:
        return False
    in_order = "".join(a for a in "TZYXS" if a in image.axes) == image.axes
    return in_order and np.array_equal(image.data, np.squeeze(np.asarray(pixels)))


def _pairs(source: Source, layer: Labels, channel: str) -> Iterator[Pair]:
    """Make a pair for each plane that is taken of a layer and the pixels of its labels."""
    shape, labels, labels_of = source.shape, full(layer), f"Layer {layer.name!r}"
    for at, name in zip(source.places, source.names(), strict=True):
        image = partial(_image_plane, source, at, channel)
        yield Pair(name, source.name, (shape[-2], shape[-1]), image, partial(_plane, labels, at), labels_of=labels_of)


def _plane(data: Any, at: tuple[int, ...]) -> np.ndarray | Plane:
    return opened(data[at])


def _image_plane(source: Source, at: tuple[int, ...], channel: str) -> np.ndarray | Plane:
    """(Y, X) pixels, or (3, Y, X) of an RGB layer with all its channels."""
    from napari_metastructure.images import image as axes

    if not source.layer.rgb:
        return opened(source.data[at])
    image = source.coloured(at)
    if channel == "all":
        return axes.channel_planes(image, 3)[0]
    return axes.planes(image, channel)[0]
