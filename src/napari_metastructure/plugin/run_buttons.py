"""Run, Pause/Resume and Stop."""

from __future__ import annotations

from typing import Literal

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_metastructure.plugin.form import tooltip

State = Literal["idle", "running", "paused", "stopping"]


class RunButtons(QWidget):
    """Four buttons of which only the sensible ones can be pressed; ``tip`` says what Run does."""

    def __init__(
        self,
        tip: str = "Segment the ticked layers without labels, in the background.",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        tips = {
            "Run": tip,
            "Pause": "Hold the run at its next batch; the device keeps its memory.",
            "Resume": "Let the paused run go on.",
            "Stop": "End the run at its next batch and keep what it has.",
        }
        self.run, self.pause, self.resume, self.stop = (QPushButton(name) for name in tips)
        for button, tip in zip((self.run, self.pause, self.resume, self.stop), tips.values(), strict=True):
            button.setToolTip(tooltip(tip))
            layout.addWidget(button)
        self.show_state("idle")

    def show_state(self, state: State) -> None:
        """Offer what can be done in this state."""
        self.run.setEnabled(state == "idle")
        self.pause.setVisible(state != "paused")
        self.pause.setEnabled(state == "running")
        self.resume.setVisible(state == "paused")
        self.stop.setEnabled(state in ("running", "paused"))
