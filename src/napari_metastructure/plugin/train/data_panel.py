"""What to train on: pairs of layers or a folder, how labels and colours are read, and which image to watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QRadioButton, QVBoxLayout, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.form import choice_editor, tooltip
from napari_metastructure.plugin.train.folder_choice import FolderChoice
from napari_metastructure.plugin.train.job import FIRST
from napari_metastructure.plugin.train.sets import LUMINANCE, TrainingSet, set_of_rows
from napari_metastructure.plugin.train.table import PairsTable

if TYPE_CHECKING:
    import napari

    from napari_metastructure.labels.classes import Reading
    from napari_metastructure.training.config import TrainConfig
    from napari_metastructure.training.pairs import Pair

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
