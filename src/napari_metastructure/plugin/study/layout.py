"""How the study widget looks: what to compare, what came out, and always in sight the buttons and bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_metastructure.plugin.column import heading, lay_out
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

        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(
            _page(
                heading("Images and clean labels"),
                self.data,
                heading("Conditions"),
                self.conditions,
                heading("Networks and training"),
                self.settings,
                heading("Folder"),
                self.folder,
            ),
            "Study",
        )
        label = QLabel("Labels of")
        self.tabs.addTab(_page(self.curves, self.table, _row(label, self.image), self.save_button), "Results")
        below = QVBoxLayout()
        below.setContentsMargins(6, 0, 6, 6)
        below.setSpacing(6)
        for part in (self.buttons, self.progress):
            below.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)  # napari's title would cut the tabs
        layout.setSpacing(6)
        layout.addWidget(self.tabs, 1)
        layout.addLayout(below)
        self.setMinimumWidth(360)
        self.save_button.setEnabled(False)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen; wide enough for the table."""
        return QSize(450, 780)


def _page(*parts: QWidget) -> QWidget:
    page = QWidget()
    lay_out(page, parts)
    return page


def _row(label: QLabel, box: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
    layout.addWidget(label)
    layout.addWidget(box, 1)
    return row
