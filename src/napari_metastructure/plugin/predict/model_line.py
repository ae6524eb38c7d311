"""Which model: a run folder or a file, and a line that says what it is."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QLineEdit, QPushButton, QWidget

from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.latest import Latest
from napari_metastructure.plugin.predict.job import describe

PAUSE_MS = 300
"""A path is looked at once nothing was typed for so long."""


class ModelLine(QWidget):
    """A line of text and two file dialogs; ``described`` tells that the line below is of the model that is named.

    Attributes
    ----------
    known : bool
        Whether there is a model at that path, as far as it was looked at.
    """

    described = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.known = False
        self.line = QLineEdit()
        self.line.setPlaceholderText("run folder, or a model file in one")
        self.line.setClearButtonEnabled(True)
        self.folder_button, self.file_button = QPushButton("Folder…"), QPushButton("File…")
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for column, part in enumerate((self.line, self.folder_button, self.file_button)):
            part.setToolTip(tooltip("The folder of an iGTT run or of a training, or its model.safetensors."))
            layout.addWidget(part, 0, column)
        layout.setColumnStretch(0, 1)
        layout.addWidget(self.facts, 1, 0, 1, 3)
        self._latest = Latest(self)
        self._latest.done.connect(partial(self._show, known=True))
        self._latest.failed.connect(partial(self._show, known=False))
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.timeout.connect(self._look)
        self.line.textChanged.connect(self._on_text)
        self.folder_button.clicked.connect(self._ask_folder)
        self.file_button.clicked.connect(self._ask_file)

    def get(self) -> Path | None:
        """The path, or None."""
        text = self.line.text().strip()
        return Path(os.path.expanduser(text)) if text else None  # pathlib's own raises at a "~" it does not know

    def set(self, path: Path | str | None) -> None:
        """Show this path."""
        self.line.setText("" if path is None else str(path))

    def _on_text(self) -> None:
        self.known = False
        self._latest.drop()
        self.facts.setText("")
        self._pause.start()

    def _look(self) -> None:
        if (path := self.get()) is not None:
            self.facts.setText("Looking at the model…")
            self._latest.ask(partial(describe, path))

    def _show(self, said: object, known: bool) -> None:
        self.known = known
        self.facts.setText(str(said))
        self.described.emit()

    def _ask_folder(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Run folder", self.line.text()):
            self.set(path)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Model", self.line.text(), "Models (*.safetensors)")
        if path:
            self.set(path)
