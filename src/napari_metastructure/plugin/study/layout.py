"""How the study widget looks: what to compare, what came out, and always in sight the buttons and bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_metastructure.plugin.column import heading, pages_above
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.run_buttons import RunButtons
from napari_metastructure.plugin.study.conditions_panel import ConditionsPanel
from napari_metastructure.plugin.study.curves import StudyCurves
from napari_metastructure.plugin.study.data_panel import DataPanel
from napari_metastructure.plugin.study.folder_panel import FolderPanel
from napari_metastructure.plugin.study.progress import StudyProgress
from napari_metastructure.plugin.study.settings import StudySettings
from napari_metastructure.plugin.study.table import StudyTable

if TYPE_CHECKING:
    import napari


class StudyLayout(QWidget):
    """Two pages, Study and Results, above the buttons and bars that both need."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.data = DataPanel(viewer)
        self.conditions = ConditionsPanel(viewer)
        self.settings = StudySettings()
        self.folder = FolderPanel()
        self.curves = StudyCurves(viewer)
        self.table = StudyTable()
        self.image = QComboBox()
        self.image.setToolTip(
            tooltip("The training image whose labels are shown, of the conditions ticked under Labels in the table.")
        )
        self.image.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.save_button = QPushButton("Save results…")
        self.save_button.setToolTip(
            tooltip("Write curves.csv, table.csv, study.png and study.svg of the runs that are done into a folder.")
        )
        self.buttons = RunButtons("Train on all conditions, one after the other, in the background.")
        self.progress = StudyProgress()

        study = (
            heading("Images and clean labels"),
            self.data,
            heading("Conditions"),
            self.conditions,
            heading("Networks and training"),
            self.settings,
            heading("Folder"),
            self.folder,
        )
        results = (self.curves, self.table, _row(QLabel("Labels of"), self.image), self.save_button)
        self.tabs = pages_above(self, {"Study": study, "Results": results}, (self.buttons, self.progress))
        self.save_button.setEnabled(False)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen; wide enough for the table."""
        return QSize(450, 780)


def _row(label: QLabel, box: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
    layout.addWidget(label)
    layout.addWidget(box, 1)
    return row
