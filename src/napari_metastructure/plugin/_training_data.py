"""Choice of the images and labels to train on: layers or a folder, how labels and colours are read, what to watch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, QTimer, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QRadioButton, QVBoxLayout, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._form import choice_editor, tooltip
from napari_metastructure.plugin._inputs import PathEdit
from napari_metastructure.plugin._pairs import LUMINANCE, LayerSet, PairsTable, set_of_rows
from napari_metastructure.plugin._worker import LatestOnly
from napari_metastructure.training.pairs import Pair, TrainingSet

if TYPE_CHECKING:
    import napari

    from napari_metastructure.labels.classes import Reading
    from napari_metastructure.training.config import TrainConfig

FIRST = ""
"""Watch the first image there is to validate on."""

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


# ---- a folder with a training set: typed or browsed for, looked through in the background ----------------


PATIENCE_MS = 300
"""Time after a key before the folder is looked through."""


class FolderChoice(PathEdit):
    """A line and a dialog for a folder; ``looked`` is emitted when `found` or `problem` changed.

    Attributes
    ----------
    found : TrainingSet or None
        What is in the folder, once that is known.
    problem : str
        Why the folder cannot be used.
    """

    looked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "folder with images and labels",
            "A folder with images/ and labels/ (or masks/), files paired by name; or with train/ and val/ (and test/) "
            "with those two in each; or a Cityscapes tree (leftImg8bit/, gtFine/).",
            parent,
        )
        self.found: TrainingSet | None = None
        self.problem = ""
        self._channel = LUMINANCE
        self._latest = LatestOnly(self)
        self._latest.done.connect(self._on_found)
        self._latest.failed.connect(self._on_failed)
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(PATIENCE_MS)
        self._wait.timeout.connect(self._look)
        self.changed.connect(self.look)

    def read_channel(self, channel: str) -> None:
        """Take this channel of colour images."""
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
        self.looked.emit()

    def _look(self) -> None:
        if (folder := self.get()) is not None:
            self._latest.ask(partial(set_of_folder, folder, self._channel))

    def _on_found(self, found: TrainingSet) -> None:
        self.found = found
        self.looked.emit()

    def _on_failed(self, error: Exception) -> None:
        self.problem = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        self.looked.emit()


def set_of_folder(folder: Path, channel: str) -> TrainingSet:
    """Find the set in a folder, colour images read as `CHANNELS` says."""
    from napari_metastructure.training.folders import training_set

    return training_set(folder, None if channel == LUMINANCE else channel)


# ---- what to train on, how labels and colours are read, and which image to watch ------------------------


class DataPanel(QWidget):
    """Layers or a folder; ``changed`` is emitted when the set may be another one.

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
        for signal in (self.table.changed, self.folder.looked, self.channel.changed):
            signal.connect(lambda *_: self.changed.emit())

    def given(self) -> TrainingSet | None:
        """Return the set chosen; None for a folder that is still being looked through.

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
        self.table.show_kept(groups if isinstance(given, LayerSet) else ())
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
