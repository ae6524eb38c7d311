"""A folder: a line of text and a file dialog."""

from __future__ import annotations

import os
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from napari_metastructure.plugin.form import tooltip


class FolderLine(QWidget):
    """Name a folder; ``changed`` tells that it is another one.

    Parameters
    ----------
    hint : str
        What stands in the empty line.
    tip : str
    """

    changed = Signal()

    def __init__(self, hint: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = QLineEdit()
        self.line.setPlaceholderText(hint)
        self.line.setClearButtonEnabled(True)
        self.browse = QPushButton("Browse…")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for part in (self.line, self.browse):
            part.setToolTip(tooltip(tip))
            row.addWidget(part)
        self.browse.clicked.connect(self._ask)
        self.line.textChanged.connect(lambda _: self.changed.emit())

    def get(self) -> Path | None:
        """The folder, or None."""
        text = self.line.text().strip()
        return Path(os.path.expanduser(text)) if text else None  # pathlib's own raises at a "~" it does not know

    def set(self, folder: Path | str | None) -> None:
        """Show this folder."""
        self.line.setText("" if folder is None else str(folder))

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self.line.placeholderText(), self.line.text())
        if folder:
            self.set(folder)
