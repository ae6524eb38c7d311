"""Watch and steer the run that goes on: its events become curves, a layer and progress, its buttons a control."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.plugin.runner import Runner
from napari_metastructure.plugin.steering import Steering
from napari_metastructure.plugin.train.job import Watching
from napari_metastructure.plugin.train.layout import TrainLayout
from napari_metastructure.plugin.train.sets import TrainingSet
from napari_metastructure.plugin.train.watch import WatchedImage
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.events import BatchFinished, Kept, TrainEpoch, TrainFinished, TrainStarted, Warned

if TYPE_CHECKING:
    from napari_metastructure.networks.model import Model


class TrainLive(Steering, TrainLayout):
    """The panels in step with one run at a time; `TrainBegin` begins runs, `TrainWidget` saves models."""

    finished = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.result: TrainFinished | None = None
        self.failure: MetastructureError | None = None
        self.model: Model | None = None
        self.saved: Path | None = None
        self.watched: WatchedImage | None = None
        self.runner = Runner(self)
        self.epochs: list[int] = []
        self._config = TrainConfig()
        self._given: TrainingSet | None = None
        self._resumed = False
        self._where = ""
        self._connect()

    def _on_batches(self, batches: list[BatchFinished]) -> None:
        self.progress.batch(batches[-1])
        self.curves.add_batches(batches)

    def _on_event(self, event: Any) -> None:
        match event:
            case Watching():
                self._open_watched(event)
                event.ready.set()
            case TrainStarted():
                self.badge.show_device(event.device)
                self.progress.begin(event)
                self.curves.begin(event)
                self._scroll_down()  # the curves are what one watches now
                if self.watched is not None:
                    self.watched.use_colors(event.classes)
            case TrainEpoch():
                self.epochs.append(event.epoch)
                self.progress.epoch(event)
                self.curves.add_epoch(event)
                self.scores.setText(scores_in_words(event))
                if self.watched is not None:
                    self.watched.add(event)
            case Warned(message):
                show_warning(message)
                self.progress.say(message)
            case Kept(model=model):
                self.model = model
            case TrainFinished():
                self.result, self.model = event, event.model

    def _open_watched(self, watching: Watching) -> None:
        """Add the layer of the image that is watched; without memory for it the run goes on unwatched."""
        rows, layers = (self._given.rows, self._given.layers) if self._given is not None else ((), {})
        source = layers.get(watching.group)
        layer = None if source is None else source.layer
        try:
            self.watched = WatchedImage(self.viewer, watching, layer, self._config)
        except InputError as error:
            show_warning(str(error))
            return
        others = [x for row in rows if row.image is not layer for x in (row.image, row.labels) if x is not None]
        self.watched.open(others)

    def _let_choose(self, free: bool) -> None:
        """What a run is made of cannot be changed while it goes on."""
        for part in (self.data, self.settings, self.folder):
            part.setEnabled(free)
        self.folder.look()

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        self.buttons.show_state("idle")
        self._let_choose(True)
        for button in (self.save_button, self.use_button):
            button.setEnabled(self.model is not None)
        if self.watched is not None and not self.watched.epochs:
            self.watched.close()
            self.watched = None
        if failure is not None:
            show_error(str(failure))
            self.progress.end(str(failure))
        elif self.result is not None:
            if self.watched is not None:
                self.watched.go_to(self.result.best_epoch)
            self.progress.end(f"{self.result.reason}{self._how_to_go_on()}{self._where}")
        QTimer.singleShot(0, self._scroll_down)  # once the new sentence has its place
        self.finished.emit()

    def _scroll_down(self) -> None:
        self.scroll.ensureWidgetVisible(self.save_button)

    def _how_to_go_on(self) -> str:
        """A resumed run that had nothing left to do says what would give it some."""
        idle = self._resumed and not self.epochs and self.result is not None and not self.result.stopped
        return " To train on, raise Epochs and press Resume run." if idle else ""

    # ---- what happens around it ------------------------------------------------------------------------

    def _connect(self) -> None:
        self._connect_buttons()
        self.runner.batches.connect(self._on_batches)
        self.runner.told.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
        self.data.changed.connect(self._show_set)
        for form in self.settings.forms:
            form.changed.connect(self._show_set)
        self._show_set()
        data, curves = self.data, self.curves

        def release() -> None:
            """The viewer may outlive the widget and must not call it then."""
            data.release()
            curves.release()

        self.destroyed.connect(release)

    def _show_set(self, *_: Any) -> None:
        """Say what would be trained on; the settings decide how many images are kept for validation."""
        try:
            config = self.settings.config()
        except InputError:  # said at Run; meanwhile it may be half typed
            config = None
        self.data.show_set(config)


def scores_in_words(event: TrainEpoch) -> str:
    """The newest epoch in numbers: of the validation images, else of the patches trained on."""
    scores = event.validation or event.training
    who = "validation" if event.validation else "training, no validation"
    many = len(scores.class_iou) > 2
    parts = [f"Dice {scores.dice:.3f}", f"{'mIoU' if many else 'IoU'} {scores.iou:.3f}"]
    parts.append(f"accuracy {scores.accuracy:.3f}")
    if not math.isnan(scores.auc):
        parts.append(f"AUC {scores.auc:.3f}")
    best = f" Best so far: epoch {event.best_epoch}." if event.validation else ""
    ious = f" IoU by class: {', '.join(f'{value:.3f}' for value in scores.class_iou)}." if many else ""
    return f"Epoch {event.epoch} ({who}): {', '.join(parts)}.{ious}{best}"
