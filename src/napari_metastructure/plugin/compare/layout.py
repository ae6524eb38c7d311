"""How the Compare widget looks: what to compare, what came out, and always in sight the buttons and bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QPushButton, QWidget

from napari_metastructure.plugin.column import heading, pages_above
from napari_metastructure.plugin.compare.agreement_table import AgreementTable
from napari_metastructure.plugin.compare.method_boxes import MethodBoxes
from napari_metastructure.plugin.compare.progress import CompareProgress
from napari_metastructure.plugin.compare.settings import CompareSettings
from napari_metastructure.plugin.compare.table import MethodTable
from napari_metastructure.plugin.compare.truth_rows import TruthRows
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.layer_picker import LayerPicker
from napari_metastructure.plugin.run_buttons import RunButtons

if TYPE_CHECKING:
    import napari


class CompareLayout(QWidget):
    """Two pages, Methods and Results, above the buttons and bars that both need."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.picker = LayerPicker(viewer, "Images to compare methods on: 2D, or T/Z stacks, taken slice by slice.")
        self.truth = TruthRows(viewer)
        self.methods = MethodBoxes()
        self.settings = CompareSettings()
        self.table = MethodTable()
        self.agreement = AgreementTable()
        self.save_button = QPushButton("Save results…")
        self.save_button.setToolTip(
            tooltip("Write results.csv, table.csv, agreement.csv, table.md and compare.png into a folder.")
        )
        self.buttons = RunButtons("Run the ticked methods on the ticked images, one after the other.")
        self.progress = CompareProgress()
        choice = (
            heading("Images"),
            self.picker,
            heading("Ground truth (optional)"),
            self.truth,
            heading("Methods"),
            self.methods,
            heading("Settings"),
            self.settings,
        )
        self.agreement_heading = heading("Agreement between methods")
        results = (self.table, self.agreement_heading, self.agreement, self.save_button)
        self.tabs = pages_above(self, {"Methods": choice, "Results": results}, (self.buttons, self.progress))
        self.save_button.setEnabled(False)
        for part in (self.table, self.agreement_heading, self.agreement):
            part.setVisible(False)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen; wide enough for the table."""
        return QSize(540, 780)
