"""How the density widget looks: its panels in a scroll area. What they do is in `live` and `widget`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels, Shapes
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget

from napari_metastructure.plugin.column import heading, lay_out
from napari_metastructure.plugin.density.plots import HistogramPlots, ProfilePlot
from napari_metastructure.plugin.density.settings_panel import SettingsPanel
from napari_metastructure.plugin.density.table import NumbersTable
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.layer_box import LayerBox
from napari_metastructure.plugin.layer_picker import LayerPicker

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

TRUTH_TIP = (
    "The labels whose classes count as true, for histograms and numbers. By default those that a noisy layer was made "
    "from; of labels that were not made here, their own."
)


class DensityLayout(QWidget):
    """The panels, top to bottom in the order they are used; it scrolls where a screen is too low."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.picker = LayerPicker(viewer, "Labels whose density is shown, live on the visible slice.", is_labels)
        self.truth = LayerBox(viewer, TRUTH_TIP, is_labels, none="the source of each")
        self.settings = SettingsPanel()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setToolTip(tooltip("What the widget has to say about the layers and settings."))
        self.histograms = HistogramPlots(viewer)
        self.table = NumbersTable()
        self.lines = LayerBox(
            viewer, "The Shapes layer whose last line is followed.", lambda layer: isinstance(layer, Shapes), "no line"
        )
        self.draw_button = _button("Draw a line", "Draw a line over labels or a map; the plot follows it.")
        self.profiles = ProfilePlot(viewer)
        self.stack_button = _button(
            "Whole stack", "Make layers of the densities of all slices, in the background; they stay as they are then."
        )
        self.stop_button = _button("Stop", "Make no stack layers after all.")
        self.figure_button = _button(
            "Figure 6",
            "The paper's Figure 6: a circle in a rectangle (CL), with labels flipped (RCL) and random labels (RL), "
            "their noise transition matrices and their densities.",
        )
        self.progress = QProgressBar()
        self.progress.setToolTip(tooltip("Slices done."))

        lay_out(
            self,
            (
                heading("Labels"),
                self.picker,
                _row(_label("True classes from", TRUTH_TIP), self.truth),
                heading("Density"),
                self.settings,
                self.status,
                heading("Histogram per true class"),
                self.histograms,
                heading("What is left"),
                self.table,
                heading("Profile"),
                _row(self.lines, self.draw_button),
                self.profiles,
                heading("Layers"),
                _row(self.stack_button, self.stop_button, self.figure_button),
                self.progress,
            ),
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen."""
        return QSize(380, 780)


def is_labels(layer: Layer) -> bool:
    """Whether a layer is offered as labels."""
    return isinstance(layer, Labels)


def _label(text: str, tip: str) -> QLabel:
    label = QLabel(text)
    label.setToolTip(tooltip(tip))
    return label


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip(tip))
    return button


def _row(*parts: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for part in parts:
        layout.addWidget(part, 0 if isinstance(part, (QLabel, QPushButton)) and len(parts) == 2 else 1)
    return row
