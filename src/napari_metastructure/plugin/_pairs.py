"""The table of pairs: image layer, labels layer, what they are used for; in step with the viewer."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QStyledItemDelegate,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_metastructure.errors import InputError
from napari_metastructure.images.image import Image as PixelImage
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.plugin._form import choice_editor, tooltip
from napari_metastructure.plugin._layers import ORIGIN, full
from napari_metastructure.plugin._source import EAGER_BYTES, Source
from napari_metastructure.plugin._worker import LatestOnly
from napari_metastructure.training.pairs import Pair, split

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Layer

    from napari_metastructure.labels.classes import Reading
    from napari_metastructure.training.config import TrainConfig
    from napari_metastructure.training.pairs import Pair


# -------- What the background thread of a training run does, from layers or a folder to events.


FIRST = ""
"""Watch the first image there is to validate on."""


# -------- Which image layer goes with which labels layer, as chosen or as names and shapes suggest.


Use = Literal["train", "validation"]

COMMON = frozenset(
    ("image", "images", "img", "raw", "mask", "masks", "label", "labels", "gt", "truth", "seg", "segmentation")
)
"""Words that tell an image's name from that of its labels, and not one image from another."""


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
            sizes = [" x ".join(map(str, shape)) for shape in (image, labels)]
            return (
                f"does not fit: image {self.image.name!r} has {sizes[0]} pixels and labels {self.labels.name!r} "
                f"{sizes[1]}; choose labels of that image"
            )
        return ""


def is_image(layer: Layer) -> bool:
    """Whether a layer can be trained on: an image that this plugin did not make."""
    return isinstance(layer, Image) and ORIGIN not in layer.metadata


def is_labels(layer: Layer) -> bool:
    """Whether a layer holds labels, clean or made noisy here."""
    return isinstance(layer, Labels)


def shape_of(layer: Layer) -> tuple[int, ...]:
    """The shape at full resolution, without RGB samples."""
    shape = tuple(int(n) for n in full(layer).shape)
    return shape[:-1] if getattr(layer, "rgb", False) else shape


def suggest(layers: Sequence[Layer], taken: Sequence[Row] = ()) -> list[Row]:
    """Pairs among layers that are in no row yet: same name but for words like "mask", else the only ones of a shape.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of the viewer.
    taken : sequence of Row

    Returns
    -------
    list of Row
        In the order of the images. Nothing is guessed: of several images with a name or shape, none is paired.
        Labels that this plugin made are left to the user, who knows which of them to train on.
    """
    gone = {id(layer) for row in taken for layer in (row.image, row.labels)}
    free = [layer for layer in layers if id(layer) not in gone]
    images = [layer for layer in free if is_image(layer)]
    labels = [layer for layer in free if is_labels(layer) and ORIGIN not in layer.metadata]
    found = {id(image): Row(image, label, by="name") for image, label in _alone(images, labels, _by_name)}
    paired = {id(row.labels) for row in found.values()}
    rest = [image for image in images if id(image) not in found]
    others = [label for label in labels if id(label) not in paired]
    found |= {id(image): Row(image, label, by="shape") for image, label in _alone(rest, others, shape_of)}
    return [found[id(image)] for image in images if id(image) in found]


def _alone(
    images: Sequence[Image], labels: Sequence[Labels], key: Callable[[Any], Hashable]
) -> list[tuple[Image, Labels]]:
    """The image and the labels of each key that belongs to one of both."""
    groups: dict[Hashable, tuple[list[Image], list[Labels]]] = defaultdict(lambda: ([], []))
    for image in images:
        groups[key(image)][0].append(image)
    for label in labels:
        groups[key(label)][1].append(label)
    return [(some[0], others[0]) for some, others in groups.values() if len(some) == 1 == len(others)]


def _by_name(layer: Layer) -> Hashable:
    """The words of a name that tell, and the shape; napari's number of a second layer of that name does not tell."""
    name = re.sub(r" \[\d+\]$", "", layer.name).lower()
    words = tuple(word for word in re.split(r"[\W_]+", name) if word and word not in COMMON)
    return (words, shape_of(layer)) if words else id(layer)


HEADS = ("image", "labels", "used to")

USES: dict[Use, str] = {"train": "train", "validation": "validate"}

MOST_ROWS = 6
"""The table grows to this many rows and scrolls beyond."""

PROBLEM = "#e5534b"

NOTHING = "choose…"

KEPT = "(validate)"
"""Shown for rows that are kept for validation without being set to it."""


class PairsTable(QWidget):
    """Pairs of layers; those that names or shapes suggest come by themselves. ``changed`` tells of any change.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.rows: list[Row] = []
        self._kept: frozenset[str] = frozenset()
        self._unwanted: set[int] = set()  # images whose row the user took out
        self._named: list[Any] = []
        self.table = QTableWidget(0, len(HEADS))
        self._make_table()
        self.add_button = QPushButton("Add pair")
        self.add_button.setToolTip(tooltip("Add a row; choose its layers by a double click."))
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip(tooltip("Take the selected rows out of the table; the layers stay."))
        self.use_button = QPushButton("Train ⇄ validate")
        self.use_button.setToolTip(tooltip("Use the selected rows for the other purpose."))
        buttons = QHBoxLayout()
        layout = QVBoxLayout(self)
        for box in (buttons, layout):
            box.setContentsMargins(0, 0, 0, 0)
            box.setSpacing(4)
        for button in (self.add_button, self.remove_button, self.use_button):
            buttons.addWidget(button)
        layout.addWidget(self.table)
        layout.addLayout(buttons)
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
        self._tell()

    def remove(self, numbers: list[int]) -> None:
        """Take rows out, by number from 0."""
        for number in sorted(numbers, reverse=True):
            row = self.rows.pop(number)
            if row.image is not None:
                self._unwanted.add(id(row.image))
        self._tell()

    def swap_use(self, numbers: list[int]) -> None:
        """Use rows for the other purpose."""
        for number in numbers:
            row = self.rows[number]
            row.use, row.by = "validation" if row.use == "train" else "train", "user"
        self._tell()

    def clear(self) -> None:
        """Take all rows out."""
        self.remove(list(range(len(self.rows))))

    def selected(self) -> list[int]:
        """The numbers of the selected rows."""
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
        for layer in self._named:
            layer.events.name.disconnect(self._show)
        self._named = []

    # ---- in step with the viewer -----------------------------------------------------------------------------

    def _on_inserted(self, event: Any = None) -> None:
        """Suggest anew what nobody has chosen and no name says."""
        kept = [row for row in self.rows if row.by != "shape"]
        layers = [layer for layer in self.viewer.layers if id(layer) not in self._unwanted]
        self.rows = kept + suggest(layers, kept)
        self._tell()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        self._unwanted.discard(id(layer))
        for row in list(self.rows):
            if row.image is layer or row.labels is layer:
                row.image = None if row.image is layer else row.image
                row.labels = None if row.labels is layer else row.labels
                if row.by != "user" or (row.image is None and row.labels is None):
                    self.rows.remove(row)
        self._tell()

    def _tell(self) -> None:
        self._show()
        self.changed.emit()

    # ---- how it looks ------------------------------------------------------------------------------------------

    def _make_table(self) -> None:
        self.table.setHorizontalHeaderLabels(HEADS)
        self.table.setToolTip(
            tooltip(
                "Images and their labels. Double-click a cell to choose another layer, or what the pair is used for. "
                "Where no row is used to validate, the share of the images set under Data is kept for it."
            )
        )
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        self.table.verticalHeader().setVisible(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setWordWrap(False)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        delegate = _Chooser(self._options, self._choose, self.table)
        self.table.setItemDelegate(delegate)

    def _show(self, event: Any = None) -> None:
        for layer in self._named:
            layer.events.name.disconnect(self._show)
        self._named = list({id(x): x for row in self.rows for x in (row.image, row.labels) if x is not None}.values())
        for layer in self._named:
            layer.events.name.connect(self._show)
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(self.rows))
            for number, row in enumerate(self.rows):
                kept = row.use == "train" and row.image is not None and row.image.name in self._kept
                names = [NOTHING if layer is None else layer.name for layer in (row.image, row.labels)]
                texts = (*names, KEPT if kept else USES[row.use])
                for column, text in enumerate(texts):
                    item = QTableWidgetItem(text)
                    why = "Kept for validation, see Validation fraction under Data." if text == KEPT else text
                    item.setToolTip(tooltip(f"This pair {row.problem}." if row.problem else why))
                    if row.problem:
                        item.setForeground(QColor(PROBLEM))
                    self.table.setItem(number, column, item)
        height = max(self.table.sizeHintForRow(0), self.fontMetrics().height() + 8)
        self.table.verticalHeader().setDefaultSectionSize(height)
        shown = min(max(len(self.rows), 2), MOST_ROWS)
        self.table.setFixedHeight(shown * height + self.table.horizontalHeader().sizeHint().height() + 4)

    # ---- choosing ------------------------------------------------------------------------------------------------

    def _options(self, column: int) -> list[tuple[str, Any]]:
        """What can be chosen in a column: texts and values."""
        if column == 2:
            return [(text, use) for use, text in USES.items()]
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
        self._tell()


class _Chooser(QStyledItemDelegate):
    """Offers a cell's options in a box that opens at once."""

    def __init__(
        self,
        options: Callable[[int], list[tuple[str, Any]]],
        choose: Callable[[int, int, Any], None],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._options, self._choose = options, choose

    def createEditor(self, parent: QWidget, option: Any, index: Any) -> QWidget:  # noqa: N802 - Qt's name
        box = QComboBox(parent)
        for text, value in self._options(index.column()):
            box.addItem(text, value)
        box.activated.connect(lambda _: (self.commitData.emit(box), self.closeEditor.emit(box)))
        QTimer.singleShot(0, box.showPopup)
        return box

    def setEditorData(self, editor: Any, index: Any) -> None:  # noqa: N802 - Qt's name
        editor.setCurrentIndex(editor.findText(USES["train"] if index.data() == KEPT else index.data()))

    def setModelData(self, editor: Any, model: Any, index: Any) -> None:  # noqa: N802 - Qt's name
        self._choose(index.row(), index.column(), editor.currentData())


# -------- What is trained and validated on: pairs made from rows of layers, or found in a folder.


LUMINANCE = "luminance"
"""Of colour images what they are reduced to, and of all others what they are."""

MANY = 20
"""Labels with more numbers than this are taken for classes only if the user lists them."""


@dataclass(frozen=True)
class TrainingSet:
    """Pairs to train on, and to validate on.

    Attributes
    ----------
    training : list of Pair
    validation : list of Pair or None
        None: the share that the settings say is kept.
    layers : dict of str to Source
        The image layer of each group of pairs, if they come from layers.
    rows : tuple of Row
        The rows they come from.
    test : int
        Images of a split that training leaves alone.
    """

    training: list[Pair]
    validation: list[Pair] | None = None
    layers: dict[str, Source] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    test: int = 0

    @property
    def pairs(self) -> list[Pair]:
        """All of them."""
        return [*self.training, *(self.validation or [])]

    @property
    def eager(self) -> bool:
        """Whether reading all pixels takes no noticeable time."""
        datas = [full(layer) for row in self.rows for layer in (row.image, row.labels) if layer is not None]
        small = sum(data.nbytes for data in datas if isinstance(data, np.ndarray)) <= EAGER_BYTES
        return bool(datas) and small and all(isinstance(data, np.ndarray) for data in datas)

    def held(self, config: TrainConfig) -> tuple[list[Pair], list[Pair]]:
        """What a run with these settings trains on and validates on."""
        if self.validation is not None:
            return self.training, self.validation
        return split(self.training, config.validation_fraction, config.seed)

    def in_words(self, config: TrainConfig) -> str:
        """``36 images to train on, 12 to validate on.``"""
        training, validation = self.held(config)
        why = "" if self.validation is not None or not validation else " (kept by Validation fraction)"
        test = f"; {self.test} of a test split stay out" if self.test else ""
        held = f"{len(validation)} to validate on{why}" if validation else "none to validate on"
        return f"{len(training)} image{'s' * (len(training) != 1)} to train on, {held}{test}."


def set_of_rows(rows: Sequence[Row], channel: str) -> TrainingSet:
    """The set that rows of layers make; no pixel is read yet.

    Parameters
    ----------
    rows : sequence of Row
    channel : str
        Of RGB layers: "luminance", "red", "green", "blue", or "all" as channels of their own.

    Raises
    ------
    InputError
        For a row that cannot be used, an image in two rows, or nothing to train on; it names row or layer.
    """
    if not rows:
        raise InputError("There is no pair to train on; open images and their labels, and add a row for each pair.")
    sets: dict[str, list[Pair]] = {"train": [], "validation": []}
    layers: dict[str, Source] = {}
    for number, row in enumerate(rows, 1):
        if row.problem or row.image is None or row.labels is None:
            raise InputError(f"Row {number} {row.problem}.")
        source = Source.of(row.image)
        if source.name in layers:
            raise InputError(f"Image layer {source.name!r} is in two rows; keep one of them.")
        layers[source.name] = source
        sets[row.use] += _pairs(source, row.labels, channel)
    if not sets["train"]:
        raise InputError("All rows are used to validate; set at least one to train.")
    return TrainingSet(sets["train"], sets["validation"] or None, layers, tuple(replace(row) for row in rows))


def set_of_folder(folder: Path, channel: str) -> TrainingSet:
    """The set in a folder; see `training.folders.find_pairs`."""
    from napari_metastructure.training.folders import find_pairs

    found = find_pairs(folder, channel=None if channel == LUMINANCE else channel)
    return TrainingSet(found.train, found.validation or None, test=len(found.test))


def read_as(given: TrainingSet, reading: Reading, classes: Sequence[int] | None = None) -> TrainingSet:
    """The same set with its labels as they are meant; reads them all to see which values there are.

    Parameters
    ----------
    given : TrainingSet
    reading : {"classes", "foreground", "objects"}
    classes : sequence of int, optional
        Those that the user listed: then there may be many.

    Raises
    ------
    InputError
        For instance numbers where classes are meant, or several labels where one foreground is; it names the image.
    """
    from napari_metastructure.training.pairs import is_mask, label_values

    values = label_values(given.pairs, lambda: None)
    numbers = [value for value in values if value not in (0, UNLABELLED)]
    if reading == "classes" or is_mask(values):
        if numbers and numbers[-1] > UNLABELLED:
            raise InputError(
                f"{values[numbers[-1]]}: the label {numbers[-1]} looks like an instance number; read the labels as "
                "objects (any number is foreground), or relabel them by class."
            )
        if classes is None and len(numbers) > MANY:
            raise InputError(
                f"The labels hold {len(numbers)} different numbers besides 0: if they count objects, read the labels "
                "as objects; if each is a class, list them under Classes."
            )
        return given
    if reading == "foreground" and len(numbers) > 1:
        raise InputError(
            f"{values[numbers[-1]]}: {len(numbers)} different labels besides 0 are not foreground and background; "
            "read the labels as objects (any number is foreground) or as classes."
        )
    unlabelled = UNLABELLED if reading == "foreground" else None
    plain = set(values) <= {0, 1} or (set(values) <= {0, 1, UNLABELLED} and unlabelled is not None)
    return _mapped(given, lambda pair: _as_foreground(pair, unlabelled, keep_files=plain))


def check(given: TrainingSet, config: TrainConfig) -> None:
    """Read all pixels and see whether they can be trained on.

    Raises
    ------
    InputError
        It names the image.
    """
    from napari_metastructure.training.pairs import check_values, label_values, read_image

    training, validation = given.held(config)
    classes = check_values(label_values(training, lambda: None), config.classes)
    if validation:
        check_values(label_values(validation, lambda: None), classes)
    for pair in given.pairs:
        read_image(pair)


def with_files(given: TrainingSet) -> TrainingSet:
    """The same set with the files its layers are in, so that ``run.yaml`` can repeat the run.

    Only if every layer is in a file and still as it is there: a part of the set would repeat another run.
    """
    files: dict[str, tuple[Path, ...]] = {}
    for row in given.rows:
        if row.image is None or row.labels is None or not (same_as_file(row.image) and same_as_file(row.labels)):
            return given
        files[row.image.name] = (Path(row.image.source.path), Path(row.labels.source.path))
    return _mapped(given, lambda pair: replace(pair, files=files.get(pair.group, pair.files)))


def same_as_file(layer: Layer) -> bool:
    """Whether a layer's pixels are those of the one file it came from."""
    from napari_metastructure.images.files import read_image

    path = layer.source.path
    if not path or not Path(path).is_file():
        return False
    try:
        image = read_image(path)
    except InputError:
        return False
    in_order = "".join(a for a in "TZYXS" if a in image.axes) == image.axes
    return in_order and np.array_equal(image.data, np.squeeze(np.asarray(full(layer))))


def _mapped(given: TrainingSet, change: Any) -> TrainingSet:
    validation = None if given.validation is None else [change(pair) for pair in given.validation]
    return replace(given, training=[change(pair) for pair in given.training], validation=validation)


def _pairs(source: Source, labels: Layer, channel: str) -> Iterator[Pair]:
    """A pair for each plane of two layers."""
    data, shape = full(labels), source.shape
    for at, name in zip(np.ndindex(source.leading), source.names(), strict=True):
        image = partial(_image_plane, source, full(source.layer), at, channel)
        yield Pair(name, source.name, (shape[-2], shape[-1]), image, partial(_plane, data, at))


def _plane(data: Any, at: tuple[int, ...]) -> np.ndarray:
    return np.asarray(data[at])


def _image_plane(source: Source, data: Any, at: tuple[int, ...], channel: str) -> np.ndarray:
    """(Y, X) pixels, or (3, Y, X) of an RGB layer with all its channels."""
    from napari_metastructure.images import image as axes

    plane = np.asarray(data[at])
    if not source.layer.rgb:
        return plane
    image = PixelImage(plane, "YXS", (1, 1, 1), ("pixel",) * 3, source.name)
    if channel == "all":
        return axes.channel_planes(image, 3)[0]
    return axes.planes(image, channel)[0]


def _as_foreground(pair: Pair, unlabelled: int | None, keep_files: bool) -> Pair:
    read = partial(_foreground, pair.read_labels, pair.name, unlabelled)
    return replace(pair, read_labels=read, files=pair.files if keep_files else ())


def _foreground(read: Any, name: str, unlabelled: int | None) -> np.ndarray:
    """Labels of 0 and 1; 255 stays where it means unlabelled."""
    from napari_metastructure.labels.classes import check_labels

    labels = check_labels(read(), name)
    result = (labels != 0).astype(np.uint8)
    if unlabelled is not None:
        result[labels == unlabelled] = unlabelled
    return result


# -------- A folder with a training set: typed or browsed for, looked through in the background.


PATIENCE_MS = 300
"""Time after a key before the folder is looked through."""


class FolderChoice(QWidget):
    """A line and a dialog; ``changed`` tells that `found` or `problem` did.

    Attributes
    ----------
    found : TrainingSet or None
        What is in the folder, once that is known.
    problem : str
        Why the folder cannot be used.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.found: TrainingSet | None = None
        self.problem = ""
        self._channel = LUMINANCE
        self.line = QLineEdit()
        self.line.setPlaceholderText("folder with images and labels")
        self.line.setClearButtonEnabled(True)
        browse = QPushButton("Browse…")
        for part in (self.line, browse):
            part.setToolTip(
                tooltip(
                    "A folder with images/ and labels/ (or masks/), files paired by name; or with train/ and val/ "
                    "(and test/) with those two in each; or a Cityscapes tree (leftImg8bit/, gtFine/)."
                )
            )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.line, 1)
        layout.addWidget(browse)
        self._latest = LatestOnly(self)
        self._latest.done.connect(self._on_found)
        self._latest.failed.connect(self._on_failed)
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(PATIENCE_MS)
        self._wait.timeout.connect(self._look)
        browse.clicked.connect(self._browse)
        self.line.textChanged.connect(lambda _: self.look())

    def get(self) -> Path | None:
        """The folder, or None."""
        text = self.line.text().strip()
        return Path(os.path.expanduser(text)) if text else None

    def set(self, folder: Path | str | None) -> None:
        """Show this folder and look through it."""
        self.line.setText("" if folder is None else str(folder))

    def read_channel(self, channel: str) -> None:
        """Which channel of colour images to take."""
        if channel != self._channel:
            self._channel = channel
            self.look()

    @property
    def looking(self) -> bool:
        """Whether what is in the folder is not known yet."""
        return self._wait.isActive() or self._latest.busy

    def look(self) -> None:
        """Look through the folder, a moment after the last key."""
        self.found, self.problem = None, ""
        self._latest.drop()
        if self.get() is None:
            self._wait.stop()
        else:
            self._wait.start()
        self.changed.emit()

    def _look(self) -> None:
        if (folder := self.get()) is not None:
            self._latest.ask(partial(set_of_folder, folder, self._channel))

    def _on_found(self, found: TrainingSet) -> None:
        self.found = found
        self.changed.emit()

    def _on_failed(self, error: Exception) -> None:
        why = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        self.problem = why
        self.changed.emit()

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with images and labels", self.line.text())
        if folder:
            self.set(folder)


# -------- What to train on: pairs of layers or a folder, how labels and colours are read, and which image to watch.


READINGS: dict[Reading, str] = {
    "classes": "classes: each number is one",
    "foreground": "foreground and background",
    "objects": "objects: any number is foreground",
}

CHANNELS = {
    LUMINANCE: "luminance",
    "all": "all, each an input of the network",
    "red": "red",
    "green": "green",
    "blue": "blue",
}


class DataPanel(QWidget):
    """Layers or a folder; ``changed`` tells that the set may be another one.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.from_layers, self.from_folder = QRadioButton("Layers"), QRadioButton("Folder of files")
        self.from_layers.setChecked(True)
        self.from_layers.setToolTip(tooltip("Train on images and labels as they stand in the viewer."))
        self.from_folder.setToolTip(tooltip("Train on files, read as they are needed: there may be more than memory."))
        self.table, self.folder = PairsTable(viewer), FolderChoice()
        self.reading, self.channel, self.watch = (choice_editor([]) for _ in range(3))
        for editor, texts in ((self.reading, READINGS), (self.channel, CHANNELS)):
            for value, text in texts.items():
                editor.widget.addItem(text, value)
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.summary.setToolTip(tooltip("What Run would train on and validate on."))
        self._lay_out()
        self._show_watched([])
        self._switch()
        self.from_layers.toggled.connect(lambda _: self._switch())
        self.channel.changed.connect(lambda _: self.folder.read_channel(self.channel.get()))
        for signal in (self.table.changed, self.folder.changed, self.channel.changed):
            signal.connect(lambda *_: self.changed.emit())

    def given(self) -> TrainingSet | None:
        """The set chosen; None for a folder that is still being looked through.

        Raises
        ------
        InputError
            If it cannot be used.
        """
        if self.from_layers.isChecked():
            return set_of_rows(self.table.rows, self.channel.get())
        if self.folder.get() is None:
            raise InputError("No folder is chosen; name one with images and labels.")
        if self.folder.problem:
            raise InputError(self.folder.problem)
        return self.folder.found

    def show_set(self, config: TrainConfig | None) -> None:
        """Say what a run with these settings would train on, and offer its validation images to be watched."""
        held: list[Pair] = []
        given = None
        try:
            given = self.given()
            if given is None:
                text = "Looking through the folder…"
            elif config is None:
                text = ""
            else:
                text, held = given.in_words(config), given.held(config)[1]
        except InputError as error:
            text = str(error)
        self.summary.setText(text)
        groups = list(dict.fromkeys(pair.group for pair in held))
        self._show_watched(groups)
        self.table.show_kept(groups if given is not None and given.rows else ())
        rgb = any(row.image is not None and row.image.rgb for row in self.table.rows)
        for part in (self.channel_label, self.channel.widget):
            part.setVisible(rgb or self.from_folder.isChecked())

    def release(self) -> None:
        """Let go of the viewer."""
        self.table.release()

    def _show_watched(self, groups: list[str]) -> None:
        box, chosen = self.watch.widget, self.watch.get()
        with QSignalBlocker(box):
            empty = not box.count()
            box.clear()
            box.addItem("first image to validate on", FIRST)
            box.addItem("none", None)
            for group in groups:
                box.addItem(group, group)
            # None is found nowhere by findData, and stands second.
            box.setCurrentIndex(0 if empty else 1 if chosen is None else max(0, box.findData(chosen)))

    def _switch(self) -> None:
        layers = self.from_layers.isChecked()
        self.table.setVisible(layers)
        self.folder.setVisible(not layers)
        self.changed.emit()

    def _lay_out(self) -> None:
        kinds, form, column = QHBoxLayout(), QFormLayout(), QVBoxLayout(self)
        for layout in (kinds, form, column):
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setSpacing(4)
        kinds.addWidget(self.from_layers)
        kinds.addWidget(self.from_folder)
        kinds.addStretch(1)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, editor, tip in (
            (
                "Labels are",
                self.reading,
                "What the numbers mean. <b>Classes</b>: 0, 1, 2, … each a class, 255 unlabelled; a mask of 0 and 255 "
                "is background and foreground. <b>Foreground and background</b>: 0 and one other number. "
                "<b>Objects</b>: numbered objects, all of them foreground.",
            ),
            ("Colours", self.channel, "What is taken of images in colour; of others there is nothing to choose."),
            ("Watch", self.watch, "An image to validate on whose prediction is drawn with every epoch."),
        ):
            label = QLabel(name)
            for part in (label, editor.widget):
                part.setToolTip(tooltip(tip))
            form.addRow(label, editor.widget)
            if editor is self.channel:
                self.channel_label = label
        for part in (self.table, self.folder):
            column.addWidget(part)
        column.insertLayout(0, kinds)
        column.addWidget(self.summary)
        column.addLayout(form)
