"""How the label noise widget looks: its parts in a scroll area. What they do is in `widget`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QWidget,
)
from superqt import QLargeIntSpinBox

from napari_metastructure.plugin.column import heading, lay_out
from napari_metastructure.plugin.form import choice_editor, tooltip
from napari_metastructure.plugin.layer_box import LayerBox
from napari_metastructure.plugin.noise.matrix_view import MatrixView
from napari_metastructure.plugin.noise.recipe_form import RecipeForm
from napari_metastructure.plugin.visible import full

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

PROBLEM = "#e5534b"
READINGS = {
    "foreground": "foreground and background",
    "objects": "objects: any number is foreground",
    "classes": "classes: each number is one",
}
MOST_SEED = 2**32 - 1


class NoiseLayout(QWidget):
    """The parts, top to bottom in the order they are used; it scrolls where a screen is too low."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.sources = LayerBox(viewer, "The clean labels. They stay as they are.", self._offered)
        self.reading = choice_editor([])
        for reading, text in READINGS.items():
            self.reading.widget.addItem(text, reading)
        self.reading.widget.setToolTip(
            tooltip(
                "What the numbers of the layer mean. <b>Foreground and background</b>: 0 and one other number. "
                "<b>Objects</b>: numbered objects, all of them foreground. <b>Classes</b>: 0, 1, 2, … each a class. "
                "255 is unlabelled, except in a mask of 0 and 255."
            )
        )
        self.form = RecipeForm()
        self.seed = QLargeIntSpinBox()
        self.seed.setRange(0, MOST_SEED)
        self.seed.setToolTip(tooltip("The same seed draws the same noise again, here and on the command line."))
        self.new_seed = QPushButton("New seed")
        self.new_seed.setToolTip(tooltip("Draw the noise anew, from another seed."))
        self.problem = _text(f"color: {PROBLEM};")
        self.previewing = QCheckBox("Preview on the slice in sight")
        self.previewing.setChecked(True)
        self.previewing.setToolTip(
            tooltip(
                "Show the noise as a layer over the source; it follows every dial, the slider and your brush. "
                "It is what Apply gives on this slice."
            )
        )
        self.matrix = MatrixView()
        self.verdict, self.left = _text(), _text()
        self.left.setToolTip(
            tooltip(
                "The share of the clean labels' density that the noisy ones still tell: 100 % for clean labels and "
                "RCL, 0 % for random ones, in between for PCL."
            )
        )
        self.apply_button = QPushButton("Apply to a new layer")
        self.apply_button.setToolTip(tooltip("Draw the noise on every slice, in the background."))
        self.in_place = QCheckBox("In place")
        self.in_place.setToolTip(
            tooltip(
                "Write into the source layer instead, as classes (0, 1, …, 255 = unlabelled). "
                "Undo (Ctrl-Z on that layer) brings it back."
            )
        )
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip(tooltip("Stop after the slice that is being drawn; nothing is added."))
        self.bar = QProgressBar()
        self.bar.setToolTip(tooltip("Slices done: each is read for its classes, then drawn."))
        self.status = _text()
        self._lay_out()

    def _lay_out(self) -> None:
        labels = QFormLayout()
        labels.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        labels.addRow("Layer", self.sources)
        labels.addRow("Read as", self.reading.widget)
        seed, apply = QHBoxLayout(), QHBoxLayout()
        self.seed_label = QLabel("Seed")
        self.seed_label.setToolTip(self.seed.toolTip())
        seed.addWidget(self.seed_label)
        seed.addWidget(self.seed, 1)
        seed.addWidget(self.new_seed)
        apply.addWidget(self.apply_button, 1)
        apply.addWidget(self.in_place)
        progress = QHBoxLayout()
        progress.addWidget(self.bar, 1)
        progress.addWidget(self.cancel_button)
        self.progress = QWidget()
        self.progress.setLayout(progress)
        for row in (labels, seed, apply, progress):
            row.setContentsMargins(0, 0, 0, 0)
            row.setSpacing(4)

        parts = (
            *(heading("Clean labels"), labels),
            *(heading("Noise"), self.form, seed, self.problem, self.previewing),
            *(heading("Noise transition matrix"), self.matrix, self.verdict, self.left),
            *(heading("Result"), apply, self.progress, self.status),
        )
        lay_out(self, parts)
        self.show_progress(None)
        self.show_verdict("", "")
        self.show_problem("")
        self.say("")

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen."""
        return QSize(380, 780)

    def enable_seed(self, on: bool) -> None:
        """Whether the seed makes a difference."""
        for part in (self.seed_label, self.seed, self.new_seed):
            part.setEnabled(on)

    def say(self, text: str) -> None:
        """Say how applying went."""
        _show(self.status, text)

    def show_problem(self, text: str) -> None:
        """Say what is wrong with the dials or the source; nothing if all is well."""
        _show(self.problem, text)

    def show_verdict(self, verdict: str, left: str) -> None:
        """Say what the noise leaves to learn, and how much of the structure."""
        _show(self.verdict, verdict)
        _show(self.left, left)

    def show_progress(self, part: float | None) -> None:
        """How far applying is, 0 to 1; None while nothing is being applied."""
        self.progress.setVisible(part is not None)
        self.apply_button.setEnabled(part is None)
        self.in_place.setEnabled(part is None)
        self.bar.setRange(0, 1000)
        self.bar.setValue(int(np.clip(1000 * (part or 0), 0, 1000)))

    def _offered(self, layer: Layer) -> bool:
        """Labels with a slice to show, but for the preview of this widget."""
        preview = getattr(self, "preview", None)
        return (
            isinstance(layer, Labels) and len(full(layer).shape) > 1 and (preview is None or layer is not preview.layer)
        )


def _show(label: QLabel, text: str) -> None:
    """Sentences, or no line at all."""
    label.setText(text)
    label.setVisible(bool(text))


def _text(style: str = "") -> QLabel:
    """Sentences: plain text over as many lines as they need."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setStyleSheet(style)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
