"""One bar for all planes or files, the time left, and a line that says what is going on."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout, QWidget

from napari_metastructure.networks.prediction import PredictionProgress
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.progress_panel import Clock, duration, set_bar

STEPS = 1000
"""Parts of the bar: rows of tiles move it, not only whole images."""


class PredictProgress(QWidget):
    """Shows `PredictionProgress`; a plain text line says the rest."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar, self.left, self.status = QProgressBar(), QLabel(), QLabel("Ready.")
        self.bar.setToolTip(tooltip("Planes or files that are done."))
        self.status.setWordWrap(True)
        self.clock = Clock()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.bar, self.left, self.status):
            layout.addWidget(part)
        self.reset("Ready.")

    def reset(self, text: str) -> None:
        """An empty bar, and a text."""
        set_bar(self.bar, 0, STEPS, "")
        self.left.setText("")
        self.say(text)

    def say(self, text: str) -> None:
        """Show a sentence."""
        self.status.setText(text)

    def begin(self) -> None:
        """The first image begins now."""
        self.clock.start()

    def show_done(self, event: PredictionProgress) -> None:
        """So much is done."""
        share = event.done / max(event.images, 1)
        set_bar(self.bar, round(STEPS * share), text=f"{int(event.done)} of {event.images}")
        left = self.clock.left(share)
        if left is not None and share < 1:
            self.left.setText(f"{duration(left)} left")
        self.say(event.name)

    def end(self, text: str) -> None:
        """It is over; the bar stays where it is."""
        self.left.setText("")
        self.say(text)
