"""The iGTT widget: from unlabelled image layers to masks, watched and steered live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFileDialog, QWidget
from superqt.utils import create_worker

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.plugin.igtt_layout import IGTTLayout
from napari_metastructure.plugin.job import igtt_job, read_planes
from napari_metastructure.plugin.layers import RunLayers
from napari_metastructure.plugin.runner import Runner
from napari_metastructure.plugin.sources import sources_of
from napari_metastructure.plugin.warm_up import warm_up
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import (
    BatchFinished,
    EpochFinished,
    Event,
    Finished,
    RunStarted,
    ScoreCurve,
    Warned,
)

if TYPE_CHECKING:
    pass


class IGTTWidget(IGTTLayout):
    """Segment image layers without labels.

    The buttons call the methods below; scripts may do the same. None of them raises: what is wrong is said
    in one sentence by a napari notification, and the method returns False (or nothing).

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each run that `start` began, however it ended.
    result : Finished or None
        How the last run ended; None while it goes on, or if it failed.
    failure : MetastructureError or None
        Why the last run failed.
    layers : RunLayers or None
        What the last run drew.
    """

    finished = Signal()

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.result: Finished | None = None
        self.failure: MetastructureError | None = None
        self.layers: RunLayers | None = None
        self.runner = Runner(self)
        self._locked: dict[int, np.ndarray] = {}
        self._scores: list[tuple[ScoreCurve, ...]] = []
        self._kept: list[Labels] = []
        self._why_stopped = self._where = ""
        self._asked_devices = False
        self._connect()

    # ---- what the buttons and scripts call -------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True from a successful `start` until `finished`."""
        return self.runner.running

    def start(self) -> bool:
        """Check the ticked layers and run on them in the background; False if something is wrong."""
        return self._begin(self.picker.chosen())

    def pause(self) -> None:
        """Hold the run at its next batch."""
        if self.running and self.runner.control is not None:
            self.runner.control.pause()
            self.progress.clock.pause()
            self.buttons.show_state("paused")

    def resume(self) -> None:
        """Let a paused run go on."""
        if self.running and self.runner.control is not None:
            self.runner.control.resume()
            self.progress.clock.resume()
            self.buttons.show_state("running")

    def stop(self) -> None:
        """End the run at its next batch and keep what it has."""
        if self.running:
            self.runner.stop()
            self.buttons.show_state("stopping")
            self.progress.say("Stopping after this batch…")

    def use_epoch(self) -> list[Labels]:
        """Make the epoch on the slider the final mask; the new layers, one per source."""
        if not self._has_masks():
            return []
        assert self.layers is not None
        self._kept = self.layers.keep(self.layers.index)
        return self._kept

    def continue_from_edits(self) -> bool:
        """Lock the pixels painted on the masks and train on; False if nothing was painted."""
        if not self._has_masks():
            return False
        assert self.layers is not None
        painted = self.layers.corrections()
        if not painted:
            show_warning("Nothing was painted yet; paint or erase on the masks layer, then continue.")
            return False
        if self.running and self.runner.control is not None:
            for index, pixels in painted.items():
                self.runner.control.correct(index, pixels)
            self._locked = self.runner.control.take_corrections()
            self.progress.say(f"{_count(painted)} painted pixels are locked from the next epoch on.")
            return True
        locked = Control()  # earlier corrections stay, later ones win
        for corrections in (self._locked, painted):
            for index, pixels in corrections.items():
                locked.correct(index, pixels)
        chosen = [part.source.layer for part in self.layers.parts]
        return self._begin(chosen, self.layers.masks(self.layers.index), locked.take_corrections())

    def save_mask(self, path: str | Path, ome: bool = False) -> list[Path]:
        """Write the final mask, else the epoch on the slider, as TIFF of 0 and 255 with the source's scale.

        Parameters
        ----------
        path : path
            The file; with several sources each one's name is added to its stem.
        ome : bool
            OME-TIFF instead of ImageJ TIFF.

        Returns
        -------
        list of Path
            What was written; empty if something was wrong.
        """
        if not self._has_masks():
            return []
        assert self.layers is not None
        try:
            return self.layers.save(Path(path), self._kept, ome)
        except (MetastructureError, OSError) as error:
            show_error(str(error))
            return []

    # ---- a run -----------------------------------------------------------------------------------------

    def _begin(
        self,
        chosen: Sequence[napari.layers.Layer],
        start_masks: Sequence[np.ndarray] | None = None,
        corrections: Mapping[int, np.ndarray] | None = None,
    ) -> bool:
        if self.running:
            show_warning("A run is going on; stop it first.")
            return False
        try:
            config = self.settings.config()
            sources = sources_of(chosen)
            # Everything is checked before the thread starts, except what would take long to read.
            planes = read_planes(sources) if all(source.eager for source in sources) else None
            layers = RunLayers(self.viewer, sources, config)
        except InputError as error:
            show_error(str(error))
            self.progress.say(str(error))
            return False
        if any(source.layer.rgb for source in sources):
            show_info("RGB images are reduced to their luminance.")
        control = Control()
        self._locked = dict(corrections or {})
        folder = self.folder.get()
        self._where = f" The run is kept in {folder}." if folder else ""
        given = {"folder": folder, "corrections": corrections, "start_masks": start_masks}
        self._reset(layers)
        self.runner.start(igtt_job(sources, planes, config, control, given), control, "The iGTT run")
        return True

    def _reset(self, layers: RunLayers) -> None:
        """Make room for a new run."""
        if self.layers is not None:
            self.layers.hide()
        layers.shown = self.results.shown()
        layers.open()
        self.layers, self.result, self.failure = layers, None, None
        self._scores, self._kept, self._why_stopped = [], [], ""
        self.curves.clear()
        self.progress.reset("Preparing…")
        self.buttons.show_state("running")
        self.settings.setEnabled(False)
        self.results.set_available(False)

    def _on_batches(self, batches: list[BatchFinished]) -> None:
        self.progress.batch(batches[-1])
        self.curves.add_batches(batches)

    def _on_event(self, event: Event) -> None:
        assert self.layers is not None
        match event:
            case RunStarted():
                self.progress.begin(event)
                self.curves.begin(event.epochs)
            case EpochFinished():
                self._scores.append(event.curves)
                self.layers.add(event)
                self.progress.epoch(event)
                self.curves.add_epoch(event)
                self.results.set_available(True)
                self._show_score()
            case Warned(message):
                show_warning(message)
                self.progress.say(message)
            case Finished():
                self.result = event

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        self.buttons.show_state("idle")
        self.settings.setEnabled(True)
        assert self.layers is not None
        if not self.layers.epochs:
            self.layers.close()
        if failure is not None:
            show_error(str(failure))
            self.progress.end(str(failure))
        elif self.result is not None:
            self.layers.go_to(self.result.epoch)
            self.progress.end(f"{self._why_stopped or self.result.reason}{self._where}")
        self.finished.emit()

    # ---- what happens around it ------------------------------------------------------------------------

    def _connect(self) -> None:
        self.buttons.run.clicked.connect(lambda: self.start())
        self.buttons.pause.clicked.connect(lambda: self.pause())
        self.buttons.resume.clicked.connect(lambda: self.resume())
        self.buttons.stop.clicked.connect(lambda: self.stop())
        self.results.use_epoch.connect(lambda: self.use_epoch())
        self.results.continue_from_edits.connect(lambda: self.continue_from_edits())
        self.results.save.connect(self._ask_where)
        self.results.show_extra.connect(self._show_extra)
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
        if self.layers is not None and self._scores:
            curves = self._scores[min(self.layers.index, len(self._scores) - 1)]
            if curves:
                self.curves.show_score(curves[min(self.layers.plane, len(curves) - 1)])

    def _show_extra(self, kind: Any, shown: bool) -> None:
        if self.layers is not None:
            self.layers.show(kind, shown)

    def _ask_where(self, ome: bool) -> None:
        kind = "OME-TIFF (*.ome.tif *.ome.tiff)" if ome else "TIFF (*.tif *.tiff)"
        name, _ = QFileDialog.getSaveFileName(self, "Save mask", "mask.ome.tif" if ome else "mask.tif", kind)
        if name and (paths := self.save_mask(name, ome)):
            self.progress.say(f"Saved {', '.join(path.name for path in paths)}.")

    def _has_masks(self) -> bool:
        if self.layers is None or not self.layers.epochs:
            show_warning("There are no masks yet; run first.")
            return False
        return True

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Look for devices once, in the background: that imports torch, which takes seconds."""
        super().showEvent(event)
        if not self._asked_devices:
            self._asked_devices = True
            worker = create_worker(warm_up)
            worker.returned.connect(self.settings.set_devices)
            worker.start()


def _count(corrections: Mapping[int, np.ndarray]) -> int:
    return sum(int((pixels != 255).sum()) for pixels in corrections.values())
