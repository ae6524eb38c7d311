"""What a study is made on: layers of the viewer, or a folder, and what the numbers in the labels mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QTabWidget, QVBoxLayout, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.form import choice_editor, tooltip
from napari_metastructure.plugin.study.folder_line import FolderLine
from napari_metastructure.plugin.study.job import set_of_files
from napari_metastructure.plugin.train.data_panel import READINGS
from napari_metastructure.plugin.train.sets import LUMINANCE, TrainingSet, set_of_rows
from napari_metastructure.plugin.train.table import PairsTable
from napari_metastructure.training.pairs import split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import napari


class DataPanel(QWidget):
    """Choose image layers with their labels, or a folder of files; the one whose tab is in front is taken."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pairs = PairsTable(viewer)
        self.folder = FolderLine(
            "folder with images and labels",
            "A folder with images/ and labels/ (or masks/), or with train/ and test/ and those two in each, or "
            "Cityscapes' tree; files are paired by name.",
        )
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.pairs, "Layers")
        self.tabs.addTab(_on_top(self.folder), "Folder")
        self.reading = choice_editor([])
        for reading, text in READINGS.items():
            self.reading.widget.addItem(text, reading)
        self.reading.widget.setToolTip(
            tooltip(
                "What the numbers in the labels mean. <b>Foreground and background</b>: 0 and one other number. "
                "<b>Objects</b>: numbered objects, all of them foreground. <b>Classes</b>: 0, 1, 2, … each a class. "
                "255 is unlabelled, except in masks of 0 and 255."
            )
        )
        self.reading.set("foreground")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.summary.setToolTip(
            tooltip("Rows that are used to validate are the test images. Without any, a share of the images is kept.")
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.tabs, self.summary, self.reading.widget):
            layout.addWidget(part)

    def use_folder(self, folder: Path | str) -> None:
        """Take the files in a folder."""
        self.folder.set(folder)
        self.tabs.setCurrentIndex(1)

    def show_set(self, fraction: float, seed: int) -> None:
        """Say what a study would train and test on, and mark the rows kept for testing.

        Parameters
        ----------
        fraction : float
            Share of the images that is kept where no row is used to validate.
        seed : int
        """
        text, kept = "The test split of the folder, else a share of its images, is kept for testing.", []
        if self.tabs.currentIndex() == 0:
            try:
                given = set_of_rows(self.pairs.rows, LUMINANCE)
            except InputError as error:
                text = str(error)
            else:
                training, test = given.training, given.validation
                why = "" if test is not None else " (kept by Test fraction)"
                if test is None:
                    training, test = split(training, fraction, seed)
                kept = [pair.group for pair in test]
                text = f"{len(training)} image{'s' * (len(training) != 1)} to train on, {len(test)} to test on{why}."
        self.summary.setText(text)
        self.pairs.show_kept(kept)

    def data(self) -> Callable[[], TrainingSet]:
        """What was chosen: of layers all that can be told without reading pixels is checked, files are found later.

        Raises
        ------
        InputError
            If nothing was, or something is wrong with it.
        """
        if self.tabs.currentIndex() == 0:
            chosen = set_of_rows(self.pairs.rows, LUMINANCE)
            return lambda: chosen
        folder = self.folder.get()
        if folder is None:
            raise InputError("No folder is chosen; name one with images and labels, or take layers.")
        return lambda: set_of_files(folder)


def _on_top(part: QWidget) -> QWidget:
    page = QWidget()
    layout = QVBoxLayout(page)
    layout.setContentsMargins(0, 4, 0, 0)
    layout.addWidget(part)
    layout.addStretch(1)
    return page
