"""The iGTT widget: from unlabelled image layers to masks, watched and steered live."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout, QPushButton, QWidget

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.igtt.config import MAY_CHANGE, IGTTConfig
from napari_metastructure.plugin._curves import IGTTCurves
from napari_metastructure.plugin._form import ConfigPanel, tooltip
from napari_metastructure.plugin._igtt_layers import Extra, RunLayers
from napari_metastructure.plugin._inputs import LayerPicker, heading, lay_out
from napari_metastructure.plugin._job_widget import EpochProgress, Job, JobWidget, RunButtons, RunInFolder
from napari_metastructure.plugin._source import ColourTaken, Source, colour_of, read_at_once, read_planes, sources_of
from napari_metastructure.plugin._worker import TurnByTurn, torch_beside_a_window, wait_for
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
from napari_metastructure.training.run_folder import FoundRun

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device


class ResultPanel(QWidget):
    """Buttons that only say what was asked for; the widget does it."""

    use_epoch = Signal()
    continue_from_edits = Signal()
    save = Signal(bool)
    show_extra = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.probability = QCheckBox("Probability")
        self.probability.setToolTip(tooltip("Show the network's foreground probability of the newest epoch."))
        self.labels = QCheckBox("Pseudo-label")
        self.labels.setToolTip(
            tooltip(
                "Show what the next epoch trains on: orange = object, blue = background, grey = unlabelled (left out)."
            )
        )
        self.use_button = QPushButton("Use this epoch")
        self.use_button.setToolTip(tooltip("Make the epoch on the slider the final mask, as a layer of its own."))
        self.edits_button = QPushButton("Continue from my edits")
        self.edits_button.setToolTip(
            tooltip(
                "Paint or erase on the masks layer first. The pixels you changed, object and background "
                "alike, are locked and training goes on: in the running run from its next epoch, else in a "
                "new run that starts from the epoch on the slider."
            )
        )
        self.save_button = QPushButton("Save mask as TIFF…")
        self.save_button.setToolTip(
            tooltip("Save the final mask (else the epoch on the slider) as 0/255 with axes, voxel size and unit.")
        )
        self.ome = QCheckBox("OME-TIFF")
        self.ome.setToolTip(tooltip("Write OME-TIFF instead of the ImageJ kind that Fiji reads."))
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for place, part in enumerate(
            (self.probability, self.labels, self.use_button, self.edits_button, self.save_button, self.ome)
        ):
            layout.addWidget(part, place // 2, place % 2)
        self.use_button.clicked.connect(self.use_epoch)
        self.edits_button.clicked.connect(self.continue_from_edits)
        self.save_button.clicked.connect(lambda: self.save.emit(self.ome.isChecked()))
        self.probability.toggled.connect(lambda on: self.show_extra.emit("probability", on))
        self.labels.toggled.connect(lambda on: self.show_extra.emit("labels", on))
        self.set_available(False)

    def shown(self) -> dict[Extra, bool]:
        """Return which of the optional layers are ticked."""
        return {"probability": self.probability.isChecked(), "labels": self.labels.isChecked()}

    def set_available(self, there: bool) -> None:
        """Enable the buttons if there are masks to work with."""
        for button in (self.use_button, self.edits_button, self.save_button):
            button.setEnabled(there)


MAIN = ("preset", "objects", "network", "epochs", "device")

GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs", "weights"),
    "Pseudo-labels": (
        *("start", "criterion", "search", "thresholds", "extraction"),
        *("keep", "radius", "memory", "anchor", "balance"),
    ),
    "Training": (
        *("loss", "optimizer", "learning_rate", "steps_per_epoch", "batch_size", "patch_size"),
        *("stop_agreement", "seed"),
    ),
}


class SettingsPanel(ConfigPanel[IGTTConfig]):
    """Everything in `IGTTConfig`, as a form; choosing a preset fills the form with its values."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(IGTTConfig, MAIN, GROUPS, parent=parent)


class EarlierRun(FoundRun[IGTTConfig]):
    """A run of iGTT in a folder."""

    model = IGTTConfig
    columns = ("loss", "agreement")


RESUMED = (
    "the ticked layers. Its settings are loaded first, unless they are shown already; of those, Epochs, Device and "
    "Stop agreement may be changed."
)


def igtt_job(
    sources: Sequence[Source],
    planes: list[np.ndarray] | None,
    config: IGTTConfig,
    ready: threading.Event,
    given: Mapping[str, Any],
) -> Job:
    """Make the job of a run, which begins once ``ready`` is set.

    Parameters
    ----------
    sources : sequence of Source
    planes : list of (Y, X) arrays, or None
        Their checked pixels; None: they are read and checked in the thread.
    config : IGTTConfig
    ready : threading.Event
    given : mapping
        Further arguments of `iterate`.
    """

    def job(control: Control) -> Iterator[Event | ColourTaken]:
        wait_for(ready, control)
        torch_beside_a_window()
        from napari_metastructure.igtt.iterate import iterate

        names = [name for source in sources for name in source.names()]
        colour = colour_of(sources)
        if colour is not None:
            yield ColourTaken(colour)
        images = read_planes(sources, colour) if planes is None else planes
        paths = [Path(path) for source in sources if (path := source.layer.source.path)]
        files = [path for path in paths if path.is_file()]
        yield from iterate(images, config, control, names=names, inputs=files, colour=colour, **given)

    return job


class IGTTWidget(JobWidget):
    """Segment image layers without labels.

    The buttons call `start`, `pause`, `resume`, `stop`, `resume_run`, `load_run_settings`, `use_epoch`,
    `continue_from_edits` and `save_mask`; scripts may do the same. None of them raises: what is wrong is said in
    one sentence by a napari notification, and the method returns False (or nothing).

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each run that began, however it ended.
    result : Finished or None
        How the last run ended; None while it goes on, or if it failed.
    failure : MetastructureError or None
        Why the last run failed.
    layers : RunLayers or None
        What the last run drew.
    """

    title = "The iGTT run"
    progress: EpochProgress

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(
            napari_viewer,
            RunButtons("Segment the ticked layers without labels, in the background."),
            EpochProgress(
                "Rounds of training and relabelling; it may end before the last.", "Optimiser steps done in this round."
            ),
            parent,
        )
        self.picker = LayerPicker(self.viewer, "Images to segment together: 2D, or T/Z stacks, taken slice by slice.")
        self.settings = SettingsPanel()
        self.run_folder = RunInFolder(EarlierRun, self.settings, MAY_CHANGE, RESUMED)
        self.folder = self.run_folder.row
        self.curves = IGTTCurves(self.viewer)
        self.results = ResultPanel()
        self.form = (self.settings, self.folder)
        self.result: Finished | None = None
        self.layers: RunLayers | None = None
        self._earlier: FoundRun[IGTTConfig] | None = None
        self._locked: dict[int, np.ndarray] = {}
        self._scores: dict[int, tuple[ScoreCurve, ...]] = {}
        self._kept: list[Labels] = []
        self._where = ""
        self._opening, self._ready = TurnByTurn(self), threading.Event()
        parts = (heading("Images"), self.picker, heading("Settings"), *self.form, self.buttons, self.progress)
        lay_out(self, (*parts, self.curves, heading("Result"), self.results))
        self._connect()

    def _connect(self) -> None:
        self.folder.load_settings.connect(lambda: self.load_run_settings())
        self.folder.resume_run.connect(lambda: self.resume_run())
        self.results.use_epoch.connect(lambda: self.use_epoch())
        self.results.continue_from_edits.connect(lambda: self.continue_from_edits())
        self.results.save.connect(self._ask_where)
        self.results.show_extra.connect(self._show_extra)
        layers = self.viewer.layers
        self.listen(layers.events.removed, self._on_layer_removed)
        self.listen(layers.selection.events.active, self._show_score)
        self.listen(self.viewer.dims.events.point, self._show_score)
        self.release_with(self.picker.release, self.curves.release)

    # ---- begin a run: new, resumed, or from edits ----------------------------------------------------------

    def prepare(self) -> Job:
        """Check the ticked layers, and make room for a new run on them."""
        return self._prepare(self.picker.chosen(), self.run_folder.free())

    def resume_run(self) -> bool:
        """Go on with the run in the folder, on the ticked layers; False if something is wrong.

        Its settings are loaded first, unless they are shown already: then epochs, device and stop agreement are
        taken as they are shown.
        """

        def prepare() -> Job:
            run, config = self.run_folder.resumed()
            return self._prepare(self.picker.chosen(), run.folder, run, config)

        return self.begin(prepare)

    def continue_from_edits(self) -> bool:
        """Lock the pixels painted on the masks and train on; False if nothing was painted.

        A run that goes on takes them up at its next relabelling. Otherwise a new run starts from the epoch on the
        slider, in a folder beside that of the run before.
        """
        if (layers := self._with_masks()) is None:
            return False
        painted = layers.corrections()
        if not painted:
            show_warning("Nothing was painted yet; paint or erase on the masks layer, then continue.")
            return False
        if self.running and self.runner.control is not None:
            for index, pixels in painted.items():
                self.runner.control.correct(index, pixels)
            self._locked = self.runner.control.take_corrections()
            count = sum(int((pixels != 255).sum()) for pixels in painted.values())
            self.say(f"{count} painted pixels are locked from the next epoch on.")
            return True
        locked = Control()  # earlier corrections stay, later ones win
        for corrections in (self._locked, painted):
            for index, pixels in corrections.items():
                locked.correct(index, pixels)
        sources = [part.source.layer for part in layers.parts]
        start_masks = layers.masks(layers.epoch)

        def prepare() -> Job:
            folder = self.run_folder.free_beside()
            return self._prepare(sources, folder, corrections=locked.take_corrections(), start_masks=start_masks)

        return self.begin(prepare)

    def load_run_settings(self) -> bool:
        """Show the settings that the run in the folder was made with; False if they cannot be read."""
        try:
            self.run_folder.load_settings()
        except InputError as error:
            return self.refuse(str(error))
        self.say("The settings are those of the run in the folder.")
        return True

    def _prepare(
        self,
        chosen: Sequence[napari.layers.Layer],
        folder: Path | None,
        earlier: FoundRun[IGTTConfig] | None = None,
        config: IGTTConfig | None = None,
        corrections: dict[int, np.ndarray] | None = None,
        start_masks: Sequence[np.ndarray] | None = None,
    ) -> Job:
        config = config or self.settings.config()
        sources = sources_of(chosen)
        # Everything is checked before the thread starts, except what would take long to read.
        planes = read_at_once(sources)
        layers = RunLayers(self.viewer, sources, config)
        if self.layers is not None:
            self.layers.hide()
        layers.shown = self.results.shown()
        self.layers, self.result = layers, None
        self._earlier, self._locked = earlier, corrections or {}
        self._scores, self._kept = {}, []
        self.show_place(folder)
        self.curves.clear()
        self.results.set_available(False)
        self._ready = threading.Event()  # the thread waits for all layers: beside a busy one they take twice as long
        self._opening.start(layers.open(), self._ready.set)
        given = {"folder": folder, "corrections": corrections, "start_masks": start_masks}
        return igtt_job(sources, planes, config, self._ready, {**given, "resume": earlier is not None})

    def show_place(self, folder: Path | None) -> None:
        """Show in which folder the run is kept; None: in none."""
        self._where = f" The run is kept in {folder}." if folder else ""
        self.run_folder.use(folder)

    # ---- while it goes on ------------------------------------------------------------------------------------

    def on_batches(self, batches: list[BatchFinished]) -> None:
        """Move the lower bar and append to the loss."""
        self.progress.show_batch(batches[-1])
        self.curves.add_batches(batches)

    def on_event(self, event: object) -> None:
        """Draw epochs; pass on what the job says."""
        match event:
            case RunStarted():
                before = self._earlier.rounds if self._earlier is not None else []
                self.curves.begin(event.epochs, [row for row in before if row[0] < event.resumed_epoch])
                self.progress.begin_epochs(event)
                images = "1 image" if event.images == 1 else f"{event.images} images"
                self.say(f"{images} on {event.device}, {event.objects} objects.")
            case EpochFinished() if self.layers is not None:
                self._scores[event.epoch] = event.curves
                self.progress.show_epoch(event)
                self.curves.add_epoch(event)
                self.runner.spread(self._draw(self.layers, event))
            case ColourTaken():
                show_info(str(event))
            case Warned(message):
                self.warn(message)
            case Finished():
                self.result = event

    def on_end(self) -> None:
        """Take away layers that were never filled, and go to the epoch that was taken."""
        self.folder.look()
        if self.layers is None:
            return
        if not self.layers.epochs:
            self._opening.drop()
            self.layers.close()
        else:  # stopped before all layers were there
            self._opening.finish()
        if self.failure is None and self.result is not None:
            self.layers.slider.go_to(self.result.epoch)

    def summary(self) -> str:
        """Say why the run ended; of a resumed one that had nothing left to do, what would give it some."""
        if self.result is None or self.layers is None:
            return self.why_stopped
        idle = self._earlier is not None and len(self.layers.epochs) == 1 and not self.result.stopped
        more = " To train on, raise Epochs or Stop agreement and press Resume run." if idle else ""
        return f"{self.why_stopped or self.result.reason}{more}{self._where}"

    def show_devices(self, devices: list[Device]) -> None:
        """Offer these devices in the form."""
        self.settings.set_devices(devices)

    def _on_layer_removed(self, event: Any) -> None:
        if self.running and self.layers is not None and self.layers.needs(event.value):
            self.stop(f"Stopped because layer {event.value.name!r} was removed.")

    def _draw(self, layers: RunLayers, event: EpochFinished) -> Iterator[None]:
        yield from layers.add(event)
        self.results.set_available(True)
        self._show_score()

    def _show_score(self, event: Any = None) -> None:
        """Draw the threshold search of the image and epoch on screen."""
        if self.layers is not None and (curves := self._scores.get(self.layers.epoch)):
            self.curves.show_score(curves[min(self.layers.plane, len(curves) - 1)])

    # ---- masks in the user's hands -------------------------------------------------------------------------

    def use_epoch(self) -> list[Labels]:
        """Make the epoch on the slider the final mask; the new layers, one per source."""
        if (layers := self._with_masks()) is None:
            return []
        self._kept = layers.keep(layers.epoch)
        return self._kept

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
        if (layers := self._with_masks()) is None:
            return []
        try:
            return layers.save(Path(path), self._kept, ome)
        except (MetastructureError, OSError) as error:
            show_error(str(error))
            return []

    def _ask_where(self, ome: bool) -> None:
        kind = "OME-TIFF (*.ome.tif *.ome.tiff)" if ome else "TIFF (*.tif *.tiff)"
        name, _ = QFileDialog.getSaveFileName(self, "Save mask", "mask.ome.tif" if ome else "mask.tif", kind)
        if name and (paths := self.save_mask(name, ome)):
            self.say(f"Saved {', '.join(path.name for path in paths)}.")

    def _show_extra(self, kind: Extra, shown: bool) -> None:
        if self.layers is not None:
            self.layers.show(kind, shown)

    def _with_masks(self) -> RunLayers | None:
        """Return the layers of a run with masks; None, which is said, without."""
        if self.layers is None or not self.layers.epochs:
            show_warning("There are no masks yet; run first.")
            return None
        return self.layers
