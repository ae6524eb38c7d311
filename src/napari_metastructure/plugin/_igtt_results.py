"""What can be done with the masks of an iGTT run: buttons and ticks below it."""

from collections.abc import Sequence

from qtpy import QtCore, QtWidgets

from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._igtt_layers import Extra
from napari_metastructure.plugin._inputs import row
from napari_metastructure.plugin._stroke_list import BrushButtons


class ResultPanel(QtWidgets.QWidget):
    """Buttons that only say what was asked for; the widget does it."""

    use_epoch = QtCore.Signal()
    continue_from_edits = QtCore.Signal()
    save = QtCore.Signal(bool)
    show_extra = QtCore.Signal(str, bool)
    show_outlines = QtCore.Signal(bool)
    show_waiting = QtCore.Signal()
    film = QtCore.Signal()
    figure = QtCore.Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.waiting_button = QtWidgets.QPushButton()
        self.waiting_button.setToolTip(
            tooltip(
                "New epochs wait while you paint, and until your paint is locked, so that nothing moves under the "
                "brush. This button shows the newest."
            )
        )
        self.waiting_button.setVisible(False)
        self.probability = QtWidgets.QCheckBox("Probability")
        self.probability.setToolTip(tooltip("Show the network's foreground probability of the newest epoch."))
        self.labels = QtWidgets.QCheckBox("Pseudo-label")
        self.labels.setToolTip(
            tooltip(
                "Show what the next epoch trains on: orange = object, blue = background, grey = unlabelled (left out).",
                "Pseudo-label",
            )
        )
        self.outlines = QtWidgets.QCheckBox("Outlines")
        self.outlines.setToolTip(tooltip("Draw masks as outlines, so that the image below is seen."))
        self.use_button = QtWidgets.QPushButton("Use epoch")
        self.use_button.setToolTip(tooltip("Make the epoch on the slider the final mask, as a layer of its own."))
        self.edits_button = QtWidgets.QPushButton("Continue")
        self.edits_button.setToolTip(
            tooltip(
                "Paint object or background first, where the masks are wrong. The pixels you painted are locked and "
                "training goes on: in the running run from its next epoch, else in a new run that starts from the "
                "epoch on the slider."
            )
        )
        self.ask_button = QtWidgets.QPushButton("Ask me…")
        self.ask_button.setToolTip(
            tooltip("Be shown places, one after the other, and say whether they are object or background.")
        )
        self.save_button = QtWidgets.QPushButton("Save…")
        self.save_button.setToolTip(
            tooltip(
                "Save the final mask, or if there is none yet the epoch on the slider; or the epochs as a film or a "
                "figure."
            )
        )
        menu = QtWidgets.QMenu(self.save_button)
        menu.setToolTipsVisible(True)
        for text, act, tip in (
            ("Mask as TIFF…", lambda: self.save.emit(False), "0 and 255, with axes, voxel size and unit, for Fiji."),
            ("Mask as OME-TIFF…", lambda: self.save.emit(True), "The same as OME-TIFF; Fiji reads it too."),
            ("Epochs as film…", self.film.emit, "GIF or MP4 of the plane on screen, filled or as outlines."),
            ("Epochs as figure…", self.figure.emit, "A grid of epochs with loss and agreement: PNG, PDF or SVG."),
        ):
            action = menu.addAction(text)
            action.setToolTip(tip)
            action.triggered.connect(lambda _=False, act=act: act())
        self.save_button.setMenu(menu)
        layout = QtWidgets.QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.brushes = BrushButtons(self)
        lines = (
            (self.probability, self.labels),
            (*self.brushes.buttons.values(), self.ask_button, self.edits_button),
            (self.use_button, self.save_button, self.outlines),
        )
        for number, line in enumerate(lines):
            layout.addWidget(row(*line, spacing=2), number, 0)
        layout.addWidget(self.waiting_button, len(lines), 0)
        self.waiting_button.clicked.connect(self.show_waiting)
        self.use_button.clicked.connect(self.use_epoch)
        self.edits_button.clicked.connect(self.continue_from_edits)
        self.probability.toggled.connect(lambda on: self.show_extra.emit("probability", on))
        self.outlines.toggled.connect(self.show_outlines)
        self.labels.toggled.connect(lambda on: self.show_extra.emit("labels", on))
        self.set_available(False)

    def shown(self) -> dict[Extra, bool]:
        """Return which of the optional layers are ticked."""
        return {"probability": self.probability.isChecked(), "labels": self.labels.isChecked()}

    def show_ready(self, waiting: Sequence[int]) -> None:
        """Offer the newest of the epochs that wait, if there are any."""
        if waiting:
            self.waiting_button.setText(f"Epoch {waiting[-1]} is ready: show it")
        self.waiting_button.setVisible(bool(waiting))

    def set_available(self, there: bool) -> None:
        """Enable the buttons if there are masks to work with."""
        more = (self.ask_button, self.use_button, self.edits_button, self.save_button)
        for button in (*self.brushes.buttons.values(), *more):
            button.setEnabled(there)
