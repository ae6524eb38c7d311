"""How the Predict widget looks; what it does is in `widget`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_metastructure.plugin.column import heading, lay_out
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.layer_picker import LayerPicker
from napari_metastructure.plugin.predict.model_line import ModelLine
from napari_metastructure.plugin.predict.progress import PredictProgress
from napari_metastructure.plugin.predict.settings import PredictSettingsPanel
from napari_metastructure.plugin.study.folder_line import FolderLine

if TYPE_CHECKING:
    import napari


class PredictLayout(QWidget):
    """The panels, top to bottom in the order they are used."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.model = ModelLine()
        self.picker = LayerPicker(viewer, "Images to label: 2D, or stacks of any axes, taken plane by plane.")
        self.images = FolderLine("folder of images", "Every image file in it is labelled, not those in its subfolders.")
        self.out = FolderLine(
            "folder for the results", "Gets <stem>_mask.tif and <stem>_probability.tif of each image."
        )
        self.where = QTabWidget()
        self.where.addTab(_page(self.picker), "Layers")
        self.where.addTab(_page(self.images, self.out), "Folder")
        self.settings = PredictSettingsPanel()
        self.predict_button, self.cancel_button = QPushButton("Predict"), QPushButton("Cancel")
        self.predict_button.setToolTip(
            tooltip("Label the ticked layers, or the images of the folder, in the background.")
        )
        self.cancel_button.setToolTip(tooltip("End it at the next tile; what is done already stays."))
        self.progress = PredictProgress()
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.predict_button)
        row.addWidget(self.cancel_button)
        parts = (heading("Model"), self.model, heading("Images"), self.where, heading("Settings"), self.settings)
        lay_out(self, (*parts, buttons, self.progress))

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Fits within a small laptop's screen."""
        return QSize(380, 560)


def _page(*parts: QWidget) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(4, 4, 4, 4)
    column.setSpacing(4)
    for part in parts:
        column.addWidget(part)
    column.addStretch(1)
    return page
