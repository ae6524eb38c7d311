"""Where a study is kept, and what can be done with one that is there already."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.study.earlier_study import EarlierStudy
from napari_metastructure.plugin.study.folder_line import FolderLine


class FolderPanel(QWidget):
    """A folder for tables and figure; empty means nowhere. One with a study in it is gone on with."""

    load_settings = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = EarlierStudy
        self.line = FolderLine(
            "study folder (optional)",
            "Where the study keeps curves.csv, table.csv, study.png and study.svg, written anew after each run. A "
            "study that is there already goes on with the runs it has not done.",
        )
        self.found = QLabel()
        self.found.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # the button comes first
        self.found.setToolTip(tooltip("Runs that a study in this folder has finished; Run does the rest of them."))
        self.load_button = QPushButton("Load settings")
        self.load_button.setToolTip(tooltip("Take over conditions and settings of the study in this folder."))
        row = QHBoxLayout()
        row.addWidget(self.found)
        row.addWidget(self.load_button)
        layout = QVBoxLayout(self)
        for box in (row, layout):
            box.setContentsMargins(0, 0, 0, 0)
            box.setSpacing(4)
        layout.addWidget(self.line)
        layout.addLayout(row)
        self.line.changed.connect(self.look)
        self.load_button.clicked.connect(self.load_settings)
        self.look()

    def get(self) -> Path | None:
        """The folder, or None."""
        return self.line.get()

    def set(self, folder: Path | str | None) -> None:
        """Show this folder."""
        self.line.set(folder)
        self.look()

    def look(self) -> None:
        """See whether the folder holds a study."""
        study = self.kind.find(self.get())
        for part in (self.found, self.load_button):
            part.setVisible(study is not None)
        if study is not None:
            self.found.setText(f"Holds {study.runs} {'run' if study.runs == 1 else 'runs'}")
