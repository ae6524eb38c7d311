"""How the Train widget looks: its panels in a scroll area. What they do is in `live`, `begin` and `widget`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_metastructure.plugin.column import heading, lay_out
from napari_metastructure.plugin.folder_row import FolderRow
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.progress_panel import ProgressPanel
from napari_metastructure.plugin.run_buttons import RunButtons
from napari_metastructure.plugin.train.curves import TrainCurves
from napari_metastructure.plugin.train.data_panel import DataPanel
from napari_metastructure.plugin.train.settings import EarlierTraining, TrainSettings

if TYPE_CHECKING:
    import napari

RESUMED = (
    "the same images and labels. Its settings are loaded first, unless they are shown already; of those, Epochs, "
    "Patience and Device may be changed."
)


class TrainLayout(QWidget):
    """The panels, top to bottom in the order they are used; it scrolls where a screen is too low."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.data = DataPanel(viewer)
        self.settings = TrainSettings()
        self.folder = FolderRow(EarlierTraining, RESUMED)
        self.buttons = RunButtons("Train the network on the pairs, in the background.")
        self.badge = DeviceBadge()
        self.progress = ProgressPanel()
        self.progress.epochs.setToolTip(tooltip("Epochs done; Patience may end it before the last."))
        self.progress.batches.setToolTip(tooltip("Optimiser steps done in this epoch."))
        self.curves = TrainCurves(viewer)
        self.scores = QLabel()
        self.scores.setWordWrap(True)
        self.scores.setToolTip(tooltip("The newest epoch in numbers."))
        self.save_button = QPushButton("Save model as…")
        self.save_button.setToolTip(
            tooltip("Save the network of the best epoch with all that predicting takes, as one .safetensors file.")
        )
        self.use_button = QPushButton("Use in Predict")
        self.use_button.setToolTip(
            tooltip("Open the Predict widget with this model; without a run folder save it first.")
        )
        for button in (self.save_button, self.use_button):
            button.setEnabled(False)
        run = QWidget()
        row = QHBoxLayout(run)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.buttons, 1)
        row.addWidget(self.badge)
        result = QWidget()
        results = QHBoxLayout(result)
        results.setContentsMargins(0, 0, 0, 0)
        results.setSpacing(4)
        results.addWidget(self.save_button)
        results.addWidget(self.use_button)
        self.scroll = lay_out(
            self,
            (
                heading("Images and labels"),
                self.data,
                heading("Settings"),
                self.settings,
                self.folder,
                run,
                self.progress,
                self.curves,
                self.scores,
                result,
            ),
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen."""
        return QSize(400, 780)


class DeviceBadge(QLabel):
    """Where the run computes; out of sight before the first one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setToolTip(tooltip("The device this run computes on."))
        self.setVisible(False)

    def show_device(self, device: str) -> None:
        """Show it: green for an accelerator, grey for the CPU."""
        ground = "#6b7280" if device == "cpu" else "#2e8b57"
        self.setStyleSheet(f"background: {ground}; color: white; border-radius: 6px; padding: 2px 6px;")
        self.setText(device.upper())
        self.setVisible(True)
