"""Watch and steer the run that goes on: its events become layers, curves and progress, its buttons a control."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import MetastructureError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin.earlier_run import FoundRun
from napari_metastructure.plugin.igtt_layout import IGTTLayout
from napari_metastructure.plugin.layers import RunLayers
from napari_metastructure.plugin.runner import Runner
from napari_metastructure.plugin.sources import ColourTaken
from napari_metastructure.plugin.steering import Steering
from napari_metastructure.training.events import (
    BatchFinished,
    EpochFinished,
    Event,
    Finished,
    RunStarted,
    ScoreCurve,
    Warned,
)


class IGTTLive(Steering, IGTTLayout):
    """The panels in step with one run at a time; `IGTTRun` begins runs, `IGTTWidget` uses their masks."""

    finished = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.result: Finished | None = None
        self.failure: MetastructureError | None = None
        self.layers: RunLayers | None = None
        self.runner = Runner(self)
        self._earlier: FoundRun[IGTTConfig] | None = None
        self._locked: dict[int, np.ndarray] = {}
        self._scores: dict[int, tuple[ScoreCurve, ...]] = {}
        self._kept: list[Labels] = []
        self._why_stopped = self._where = ""
        self._opening: Iterator[None] = iter(())
        self._ready = threading.Event()
        self._turns = QTimer(self)
        self._turns.timeout.connect(self._open_layers)
        self._connect()

    def _on_batches(self, batches: list[BatchFinished]) -> None:
        self.progress.batch(batches[-1])
        self.curves.add_batches(batches)

    def _on_event(self, event: Event | ColourTaken) -> None:
        assert self.layers is not None
        match event:
            case RunStarted():
                before = self._earlier.rounds if self._earlier is not None else []
                self.progress.begin(event)
                self.curves.begin(event.epochs, [row for row in before if row[0] < event.resumed_epoch])
            case EpochFinished():
                self._scores[event.epoch] = event.curves
                self.layers.add(event)
                self.progress.epoch(event)
                self.curves.add_epoch(event)
                self.results.set_available(True)
                self._show_score()
            case ColourTaken():
                show_info(str(event))
            case Warned(message):
                show_warning(message)
                self.progress.say(message)
            case Finished():
                self.result = event

    def _open_layers(self) -> None:
        """One layer more, each in a turn of its own of Qt's loop: napari takes a tenth of a second for one.

        The thread waits for the last of them: beside a busy one they would take twice as long.
        """
        assert self.runner.control is not None
        if self.runner.control.stopped or next(self._opening, "all") == "all":
            self._turns.stop()
            self._ready.set()

    def _let_choose(self, free: bool) -> None:
        """What a run is made of cannot be changed while it goes on."""
        self.settings.setEnabled(free)
        self.folder.setEnabled(free)
        self.folder.look()

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        self.buttons.show_state("idle")
        self._let_choose(True)
        assert self.layers is not None
        if not self.layers.epochs:
            self.layers.close()
        else:  # stopped before all layers were there
            deque(self._opening, maxlen=0)
        if failure is not None:
            show_error(str(failure))
            self.progress.end(str(failure))
        elif self.result is not None:
            self.layers.go_to(self.result.epoch)
            self.progress.end(f"{self._why_stopped or self.result.reason}{self._how_to_go_on()}{self._where}")
        self.finished.emit()

    def _how_to_go_on(self) -> str:
        """A resumed run that had nothing left to do says what would give it some."""
        assert self.layers is not None
        assert self.result is not None
        idle = self._earlier is not None and len(self.layers.epochs) == 1 and not self.result.stopped
        return " To train on, raise Epochs or Stop agreement and press Resume run." if idle else ""

    # ---- what happens around it ------------------------------------------------------------------------

    def _connect(self) -> None:
        self._connect_buttons()
        self.runner.batches.connect(self._on_batches)
        self.runner.told.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
        layers, moved = self.viewer.layers, self.viewer.dims.events.point
        removed, selected = layers.events.removed, layers.selection.events.active
        removed.connect(self._on_layer_removed)
        moved.connect(self._show_score)
        selected.connect(self._show_score)
        on_removed, on_moved = self._on_layer_removed, self._show_score
        picker, curves = self.picker, self.curves

        def release() -> None:
            """The viewer may outlive the widget and must not call it then."""
            picker.release()
            curves.release()
            removed.disconnect(on_removed)
            moved.disconnect(on_moved)
            selected.disconnect(on_moved)

        self.destroyed.connect(release)

    def _on_layer_removed(self, event: Any) -> None:
        if self.running and self.layers is not None and self.layers.needs(event.value):
            self._why_stopped = f"Stopped because layer {event.value.name!r} was removed."
            self.stop()

    def _show_score(self, event: Any = None) -> None:
        """Draw the threshold search of the image and epoch on screen."""
        if self.layers is not None and (curves := self._scores.get(self.layers.epoch)):
            self.curves.show_score(curves[min(self.layers.plane, len(curves) - 1)])
