"""An optional run folder: a line of text, a file dialog, and what can be done with a run that is in it already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QLineEdit, QPushButton, QSizePolicy, QWidget

from napari_metastructure.plugin.earlier_run import EarlierRun, FoundRun
from napari_metastructure.plugin.form import tooltip


class FolderRow(QWidget):
    """Where a run is written; empty means nowhere. A folder with a run in it offers to go on with it.

    Parameters
    ----------
    kind : type
        How a run in the folder is read.
    resumed : str
        What a run goes on with, and what may be changed then, as the tooltip of the button says.
    """

    load_settings = Signal()
    resume_run = Signal()

    def __init__(
        self,
        kind: type[FoundRun[Any]] = EarlierRun,
        resumed: str = "the ticked layers. Its settings are loaded first, unless they are shown already; of those, "
        "Epochs, Device and Stop agreement may be changed.",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.kind = kind
        self.line = QLineEdit()
        self.line.setPlaceholderText("run folder (optional)")
        self.line.setClearButtonEnabled(True)
        browse = QPushButton("Browse…")
        for part in (self.line, browse):
            part.setToolTip(
                tooltip("Where the run keeps its settings, curves and network. Leave empty to keep nothing.")
            )
        self.found = QLabel()
        self.found.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # the buttons come first
        self.found.setToolTip(tooltip("The last epoch that the run in this folder finished."))
        self.load_button = QPushButton("Load settings")
        self.load_button.setToolTip(
            tooltip("Take over the settings of the run in this folder, to raise Epochs and go further, say.")
        )
        self.resume_button = QPushButton("Resume run")
        self.resume_button.setToolTip(
            tooltip(f"Go on with the run in this folder from the last epoch it saved, on {resumed}")
        )
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.setColumnStretch(0, 1)
        layout.addWidget(self.line, 0, 0, 1, 2)
        layout.addWidget(browse, 0, 2)
        layout.addWidget(self.found, 1, 0)
        layout.addWidget(self.load_button, 1, 1)
        layout.addWidget(self.resume_button, 1, 2)
        browse.clicked.connect(self._browse)
        self.load_button.clicked.connect(self.load_settings)
        self.resume_button.clicked.connect(self.resume_run)
        self.line.textChanged.connect(self.look)
        self.look()

    def get(self) -> Path | None:
        """The folder, or None."""
        text = self.line.text().strip()
        return Path(os.path.expanduser(text)) if text else None  # pathlib's own raises at a "~" it does not know

    def set(self, folder: Path | str | None) -> None:
        """Show this folder."""
        self.line.setText("" if folder is None else str(folder))

    def look(self) -> None:
        """See whether the folder holds a run, and offer what can be done with it."""
        run = self.kind.find(self.get())
        for part in (self.found, self.load_button, self.resume_button):
            part.setVisible(run is not None)
        if run is not None:
            self.found.setText(f"Run at epoch {run.epoch}" if run.can_go_on else "Holds a run")
            self.resume_button.setEnabled(run.can_go_on)

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Run folder", self.line.text())
        if folder:
            self.set(folder)
