"""A folder with a training set: typed or browsed for, looked through in the background."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.latest import Latest
from napari_metastructure.plugin.train.sets import LUMINANCE, TrainingSet, set_of_folder

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
        self._latest = Latest(self)
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
