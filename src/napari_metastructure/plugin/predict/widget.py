"""The Predict widget: labels and probabilities of layers or files by a model that was saved before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.networks.prediction import (
    FileRefused,
    FileWritten,
    PredictionFinished,
    PredictionProgress,
    PredictionStarted,
)
from napari_metastructure.plugin.predict.job import LayerPredicted, Told, folder_job, layers_job
from napari_metastructure.plugin.predict.layout import PredictLayout
from napari_metastructure.plugin.predict.results import add_layers, summary
from napari_metastructure.plugin.runner import Runner
from napari_metastructure.plugin.warm_up import warm_up_in_background
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import Warned

LAYERS, FOLDER = 0, 1
"""The tabs."""


class PredictWidget(PredictLayout):
    """Apply a saved model to image layers or to a folder of images.

    The buttons call `start` and `cancel`; scripts may do the same, and `choose_model`, `choose_layers`,
    `choose_folders` and `set`. None of them raises: what is wrong is said in one sentence by a napari notification
    and in the widget, and the method returns False.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each prediction that began, however it ended.
    result : PredictionFinished or None
        How the last one ended; None while it goes on, or if it failed.
    failure : MetastructureError or None
        Why the last one failed.
    made : list of Layer
        The layers of the last one.
    written : list of Path
        The files of the last one.
    refused : list of str
        Why files of the last one could not be used.
    """

    finished = Signal()

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.result: PredictionFinished | None = None
        self.failure: MetastructureError | None = None
        self.made: list[Layer] = []
        self.written: list[Path] = []
        self.refused: list[str] = []
        self._asked_devices = False
        self.runner = Runner(self)
        self.runner.told.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
        self.predict_button.clicked.connect(lambda: self.start())
        self.cancel_button.clicked.connect(lambda: self.cancel())
        self.destroyed.connect(self.picker.release)
        self._let_choose(True)

    # ---- for scripts -------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True from a successful `start` until `finished`."""
        return self.runner.running

    def choose_model(self, path: Path | str | None) -> bool:
        """Take the model of a run folder or file; what it is is said below the line a moment later."""
        self.model.set(path)
        return True

    def choose_layers(self, layers: Sequence[Layer]) -> bool:
        """Tick these image layers and no others, and predict layers."""
        try:
            self.picker.choose(layers)
        except InputError as error:
            return self._refuse(str(error))
        self.where.setCurrentIndex(LAYERS)
        return True

    def choose_folders(self, images: Path | str, out: Path | str) -> bool:
        """Predict the image files of one folder into another."""
        self.images.set(images)
        self.out.set(out)
        self.where.setCurrentIndex(FOLDER)
        return True

    def set(self, **settings: Any) -> bool:
        """Change settings, those of `PredictSettings`: ``set(device="cpu", probability=False)``."""
        try:
            self.settings.fill(self.settings.config(**settings))
        except InputError as error:
            return self._refuse(str(error))
        return True

    def start(self) -> bool:
        """Predict in the background what is chosen; False if something is wrong."""
        if self.running:
            show_warning("A prediction is going on; cancel it first.")
            return False
        control = Control()
        try:
            job = self._job(control)
        except InputError as error:
            return self._refuse(str(error))
        self.result, self.failure = None, None
        self.made, self.written, self.refused = [], [], []
        self._let_choose(False)
        self.progress.reset("Loading the model…")
        self.runner.start(job, control, "The prediction")
        return True

    def cancel(self) -> bool:
        """End the prediction at its next tile, and keep what is done; False if none is going on."""
        if not self.running:
            return False
        self.runner.stop()
        self.cancel_button.setEnabled(False)
        self.progress.say("Stopping…")
        return True

    # ---- what the thread says -----------------------------------------------------------------------------

    def _job(self, control: Control) -> Any:
        """What is to be done, as far as that can be checked without waiting."""
        settings, model = self.settings.config(), self.model.get()
        if model is None:
            raise InputError("No model is chosen; name a run folder, or a model file in one.")
        if self.where.currentIndex() == LAYERS:
            layers = self.picker.chosen()
            if not layers:
                raise InputError("No image layer is chosen; open an image and tick its layer in the list.")
            return layers_job(model, layers, settings, control)
        images, out = self.images.get(), self.out.get()
        if images is None or out is None:
            raise InputError("Two folders are needed: one with the images, and one for the results.")
        if not images.is_dir():
            raise InputError(f"There is no folder {images}; choose one with images.")
        return folder_job(model, images, out, settings, control)

    def _on_event(self, event: Told) -> None:
        match event:
            case PredictionStarted():
                self.progress.begin()
                self.progress.say(f"{event.model}; on {event.device}.")
            case PredictionProgress():
                if self.cancel_button.isEnabled():
                    self.progress.show_done(event)
            case LayerPredicted():
                self.made += add_layers(self.viewer, event)
            case FileWritten():
                self.written += event.written
                for note in event.notes:
                    show_warning(note)
            case FileRefused():
                self.refused.append(event.why)
                show_warning(event.why)
            case Warned():
                show_warning(event.message)
            case PredictionFinished():
                self.result = event

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        self._let_choose(True)
        if failure is not None:
            show_error(str(failure))
            self.progress.end(str(failure))
        elif self.result is not None:
            self.progress.end(summary(self.result, len(self.made), self.written, self.refused))
        self.finished.emit()

    # ---- what happens around it ---------------------------------------------------------------------------

    def _let_choose(self, free: bool) -> None:
        """What a prediction is made of cannot be changed while it goes on."""
        for part in (self.model, self.where, self.settings, self.predict_button):
            part.setEnabled(free)
        self.cancel_button.setEnabled(not free)

    def _refuse(self, why: str) -> bool:
        show_error(why)
        if not self.running:
            self.progress.say(why)
        return False

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Look for devices once, in the background: that imports torch, which takes seconds."""
        super().showEvent(event)
        if not self._asked_devices:
            self._asked_devices = True
            warm_up_in_background(self.settings.set_devices)
