"""Watch and steer the comparison that goes on: its events become layers, rows and bars, its buttons a control."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import napari
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.events import (
    Agreement,
    CompareFinished,
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
)
from napari_metastructure.errors import MetastructureError
from napari_metastructure.plugin.compare.job import CompareJob
from napari_metastructure.plugin.compare.layout import CompareLayout
from napari_metastructure.plugin.compare.method_layers import MethodLayers, method_colors
from napari_metastructure.plugin.runner import Runner
from napari_metastructure.plugin.sources import ColourTaken
from napari_metastructure.plugin.steering import OneRun
from napari_metastructure.training.events import Warned


class CompareLive(OneRun, CompareLayout):
    """The panels in step with one comparison at a time; `CompareWidget` begins comparisons and saves them."""

    settings: Any
    progress: Any
    finished = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.results: tuple[MethodResult, ...] = ()
        self.failure: MetastructureError | None = None
        self.layers: MethodLayers | None = None
        self.runner = Runner(self)
        self._config: CompareConfig | None = None
        self._job: CompareJob | None = None
        self._going: MethodStarted | None = None
        self._polarity = "bright"
        self._newest: str | None = None  # the row that was selected as its method ended
        self._end = self._why_stopped = self._warning = ""
        self._opening: Iterator[None] = iter(())
        self._turns = QTimer(self)
        self._turns.timeout.connect(self._open_layers)
        self._connect()

    def _on_event(self, event: Any) -> None:
        match event:
            case CompareStarted():
                self._on_started(event)
            case MethodStarted():
                self._tell_failure()
                self._going, self._warning = event, ""
                self.progress.begin_run(event)
                self.table.show_going(event.method)
            case MethodProgress():
                if not self._stopping:
                    self.progress.progress(event)
            case MethodFinished():
                self._on_method(event)
            case Agreement():
                self.agreement.show_agreement(event)
            case ColourTaken():
                show_info(str(event))
            case Warned(message):
                self._warning = message
                show_warning(message)
                self.progress.say(message)
            case CompareFinished():
                if not event.stopped:
                    self._tell_failure()
                self._end = event.reason
                if event.agreement is not None:
                    self.agreement.show_agreement(event.agreement)

    def _on_started(self, event: CompareStarted) -> None:
        assert self._config is not None
        self._polarity = event.polarity
        self.progress.start(event, self._config.runs())
        self.table.begin(event.methods, method_colors(event.methods), event.labelled)
        self.agreement.begin(event.methods)
        self.table.setVisible(True)
        for part in (self.agreement_heading, self.agreement):
            part.setVisible(len(event.methods) > 1)

    def _on_method(self, event: MethodFinished) -> None:
        """Its masks are laid over the images, and shown if the user still looks at the newest ones."""
        assert self.layers is not None
        result = event.result
        self._going = None
        self.results = (*self.results, result)
        self.progress.end_run(event)
        self.table.show_results(self.results)
        self.save_button.setEnabled(True)
        new = result.method not in self.layers.layers
        self._open_rest()
        self._opening = self.layers.put(result.method, result.repeat, event.masks, self._polarity)
        self._open_layers()
        self._turns.start(0)
        if new and self.table.selected() in (self._newest, result.method):
            self._newest = result.method
            self.table.select(result.method)
            self.layers.show(result.method)

    def _open_layers(self) -> None:
        """One layer more, each in a turn of its own of Qt's loop: napari takes a tenth of a second for one."""
        if next(self._opening, "all") == "all":
            self._turns.stop()

    def _open_rest(self) -> None:
        deque(self._opening, maxlen=0)

    def _tell_failure(self) -> None:
        """A run that began and gave nothing has failed; the last warning says why."""
        if self._going is not None:
            self.table.show_failed(self._going.method, self._warning)
            self._going = None

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        self._turns.stop()
        self._open_rest()
        self._going = None
        self.table.show_going(None)
        self.buttons.show_state("idle")
        self._let_choose(True)
        if failure is not None:
            show_error(str(failure))
            self.progress.end(str(failure))
        else:
            self.progress.end(self._why_stopped or self._end)
        self.finished.emit()

    def _let_choose(self, free: bool) -> None:
        """What is compared cannot be changed while it goes on."""
        for part in (self.picker, self.truth, self.methods, self.settings):
            part.setEnabled(free)

    @property
    def _stopping(self) -> bool:
        return self.runner.control is not None and self.runner.control.stopped

    # ---- what happens around it ------------------------------------------------------------------------

    def _connect(self) -> None:
        self._connect_buttons()
        self.runner.told.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
        self.picker.picked.connect(self._show_truth)
        self.truth.changed.connect(lambda: self.methods.set_labelled(self._is_labelled()))
        self.table.picked.connect(self._show_method)
        self._show_truth()
        removed, on_removed = self.viewer.layers.events.removed, self._on_layer_removed
        removed.connect(on_removed)
        picker, truth = self.picker, self.truth

        def release() -> None:
            """The viewer may outlive the widget and must not call it then."""
            picker.release()
            truth.release()
            removed.disconnect(on_removed)

        self.destroyed.connect(release)

    def _show_truth(self) -> None:
        self.truth.show_images(self.picker.chosen())

    def _is_labelled(self) -> bool:
        chosen = self.truth.chosen()
        return bool(chosen) and all(labels is not None for labels in chosen)

    def _show_method(self, method: str) -> None:
        if self.layers is not None:
            self.layers.show(method)

    def _on_layer_removed(self, event: Any) -> None:
        if not self.running or self._job is None:
            return
        if any(event.value is source.layer for source in self._job.sources) and not self._why_stopped:
            self._why_stopped = f"Stopped because layer {event.value.name!r} was removed; what is done is kept."
            self.stop()
