"""How the iGTT widget looks: its panels in a scroll area. What they do is in `igtt_widget`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QWidget

from napari_metastructure.plugin.column import heading, lay_out
from napari_metastructure.plugin.curves import Curves
from napari_metastructure.plugin.folder_row import FolderRow
from napari_metastructure.plugin.layer_picker import LayerPicker
from napari_metastructure.plugin.progress_panel import ProgressPanel
from napari_metastructure.plugin.result_panel import ResultPanel
from napari_metastructure.plugin.run_buttons import RunButtons
from napari_metastructure.plugin.settings_panel import SettingsPanel

if TYPE_CHECKING:
    import napari


class IGTTLayout(QWidget):
    """The panels, top to bottom in the order they are used; it scrolls where a screen is too low."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.picker = LayerPicker(viewer, "Images to segment together: 2D, or T/Z stacks, taken slice by slice.")
        self.settings = SettingsPanel()
        self.folder = FolderRow()
        self.buttons = RunButtons()
        self.progress = ProgressPanel()
        self.curves = Curves(viewer)
        self.results = ResultPanel()

        lay_out(
            self,
            (
                heading("Images"),
                self.picker,
                heading("Settings"),
                self.settings,
                self.folder,
                self.buttons,
                self.progress,
                self.curves,
                heading("Result"),
                self.results,
            ),
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen."""
        return QSize(380, 780)
