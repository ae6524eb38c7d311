"""An optional folder: a line of text and a button that opens the file dialog."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from napari_metastructure.plugin.form import tooltip


class FolderRow(QWidget):
    """Where a run is written; empty means nowhere."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = QLineEdit()
        self.line.setPlaceholderText("run folder (optional)")
        self.line.setClearButtonEnabled(True)
        button = QPushButton("Browse…")
        for part in (self.line, button):
            part.setToolTip(
                tooltip("Where the run keeps its settings, curves and network. Leave empty to keep nothing.")
            )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.line)
        layout.addWidget(button)
        button.clicked.connect(self._browse)

    def get(self) -> Path | None:
        """The folder, or None."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def set(self, folder: Path | str | None) -> None:
        """Show this folder."""
        self.line.setText("" if folder is None else str(folder))

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Run folder", self.line.text())
        if folder:
            self.set(folder)
