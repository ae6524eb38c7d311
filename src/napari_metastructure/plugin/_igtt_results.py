"""Result buttons of the iGTT widget: brushes, layers to show, final mask, saving."""

from collections.abc import Sequence

from qtpy import QtCore, QtWidgets

from napari_metastructure.plugin._form import tooltip, with_tip
from napari_metastructure.plugin._igtt_layers import Extra
from napari_metastructure.plugin._inputs import column, row
from napari_metastructure.plugin._stroke_list import BrushButtons


class ResultPanel(QtWidgets.QWidget):
    """Buttons and ticks, which the widget hears of, and a menu to save by."""

    save = QtCore.Signal(bool)
    show_extra = QtCore.Signal(str, bool)
    film = QtCore.Signal()
    figure = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self.waiting_button = with_tip(
            QtWidgets.QPushButton(),
            "New epochs wait while you paint, and until your paint is locked, so that nothing moves under the "
            "brush. This button shows the newest.",
        )
        self.waiting_button.setVisible(False)
        self.probability = with_tip(
            QtWidgets.QCheckBox("Probability"), "Show the network's foreground probability of the newest epoch."
        )
        self.labels = QtWidgets.QCheckBox("Pseudo-label")
        self.labels.setToolTip(
            tooltip(
                "Show what the next epoch trains on: orange = object, blue = background, grey = unlabelled (left out).",
                "Pseudo-label",
            )
        )
        self.outlines = with_tip(
            QtWidgets.QCheckBox("Outlines"), "Draw masks as outlines, so that the image below is seen."
        )
        self.use_button = with_tip(
            QtWidgets.QPushButton("Use epoch"), "Make the epoch on the slider the final mask, as a layer of its own."
        )
        self.edits_button = with_tip(
            QtWidgets.QPushButton("Use strokes"),
            "Paint object or background first, where the masks are wrong. What you painted is locked, and the next "
            "epoch changes similar places in all images. A run that is going on trains on with it.",
        )
        self.ask_button = with_tip(
            QtWidgets.QPushButton("Ask me…"),
            "Show places one after the other, for you to say whether they are object or background.",
        )
        self.save_button = with_tip(
            QtWidgets.QPushButton("Save…"),
            "Save the final mask, or if there is none yet the epoch on the slider; or the epochs as a film or a "
            "figure.",
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
        self.brushes = BrushButtons(self)
        lines = (
            (self.probability, self.labels),
            (*self.brushes.buttons.values(), self.ask_button, self.edits_button),
            (self.use_button, self.save_button, self.outlines),
        )
        self.setStyleSheet("QPushButton { font-size: 11px; padding-left: 1px; padding-right: 1px; }")  # four in a row
        column(*(row(*line, spacing=2) for line in lines), self.waiting_button, into=self)
        self.probability.toggled.connect(lambda on: self.show_extra.emit("probability", on))
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
