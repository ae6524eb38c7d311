"""The iGTT widget: from unlabelled image layers to masks, watched and steered live."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QPushButton, QWidget

from napari_metastructure.errors import InputError, MetastructureError, listed
from napari_metastructure.igtt.config import MAY_CHANGE, IGTTConfig
from napari_metastructure.plugin._curves import IGTTCurves
from napari_metastructure.plugin._form import ConfigPanel, tooltip
from napari_metastructure.plugin._igtt_layers import Extra, RunLayers
from napari_metastructure.plugin._inputs import LayerPicker, heading, lay_out, row
from napari_metastructure.plugin._job_widget import Job, JobWidget, RunButtons, RunInFolder
from napari_metastructure.plugin._painting import counted
from napari_metastructure.plugin._progress import EpochProgress
from napari_metastructure.plugin._source import ColourTaken, Source, colour_of, read_at_once, read_planes, sources_of
from napari_metastructure.plugin._trial import PROBING, TRY_EPOCHS, Estimate, Estimator, part_on_screen
from napari_metastructure.plugin._worker import TurnByTurn, torch_beside_a_window, wait_for
from napari_metastructure.plugin.writer import ask_where
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
    show_waiting = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.waiting_button = QPushButton()
        self.waiting_button.setToolTip(
            tooltip(
                "New epochs wait while a brush is in hand, or paint is not locked yet: nothing moves under it. "
                "This goes to the newest; what was painted stays on its epoch and can still be locked."
            )
        )
        self.waiting_button.setVisible(False)
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
        lines = (
            (self.probability, self.labels),
            (self.edits_button, self.use_button),
            (self.save_button, self.ome),
        )
        for number, line in enumerate(lines):
            layout.addWidget(row(*line, spacing=2), number, 0)
        layout.addWidget(self.waiting_button, len(lines), 0)
        self.waiting_button.clicked.connect(self.show_waiting)
        self.use_button.clicked.connect(self.use_epoch)
        self.edits_button.clicked.connect(self.continue_from_edits)
        self.save_button.clicked.connect(lambda: self.save.emit(self.ome.isChecked()))
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
        with PROBING:  # the probe of an estimate ends at its next step
            pass
        torch_beside_a_window()
        from napari_metastructure.igtt.iterate import iterate

        names = [name for source in sources for name in source.names()]
        colour = colour_of(sources)
        if colour is not None:
            yield ColourTaken(colour)
        images = read_planes(sources, colour, lazily=True) if planes is None else planes
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
        self.try_button = QPushButton("Try on what I see")
        self.try_button.setToolTip(
            tooltip(
                f"Run on the part of the selected image that is on screen, for {TRY_EPOCHS} epochs at most: zoom in to "
                "see soon what the settings do. Its layers go with the next run."
            )
        )
        self.form = (self.settings, self.folder, self.try_button)
        self.estimator = Estimator(self)
        self._estimate: Estimate | None = None
        self._trial: tuple[napari.layers.Layer, RunLayers] | None = None
        self.result: Finished | None = None
        self.layers: RunLayers | None = None
        self._earlier: FoundRun[IGTTConfig] | None = None
        self._folder: Path | None = None
        self._scores: dict[int, tuple[ScoreCurve, ...]] = {}
        self._kept: list[Labels] = []
        self._where = ""
        self._opening, self._ready = TurnByTurn(self), threading.Event()
        parts = (heading("Images"), self.picker, self.try_button, heading("Settings"), *self.form, self.curves)
        lay_out(self, parts, (self.buttons, self.progress, self.results))
        self._connect()

    def _connect(self) -> None:
        self.try_button.clicked.connect(lambda: self.try_on_screen())
        self.estimator.known.connect(self._show_estimate)
        self.picker.picked.connect(self._ask_estimate)
        self.forget_refusal_at(self.picker.picked, self.folder.path.changed)
        for form in self.settings.forms:
            form.changed.connect(self._ask_estimate)
        self.folder.load_settings.connect(lambda: self.load_run_settings())
        self.folder.resume_run.connect(lambda: self.resume_run())
        self.results.use_epoch.connect(lambda: self.use_epoch())
        self.results.continue_from_edits.connect(lambda: self.continue_from_edits())
        self.results.save.connect(self._ask_where)
        self.results.show_extra.connect(self._show_extra)
        self.results.show_waiting.connect(lambda: self.show_waiting(True))
        layers = self.viewer.layers
        self.listen(layers.events.removed, self._on_layer_removed)
        self.listen(layers.selection.events.active, self._show_score)
        self.listen(layers.selection.events.active, self._on_brush)
        self.listen(self.viewer.dims.events.point, self._show_score)
        self.release_with(self.picker.release, self.curves.release, self.estimator.stop)

    # ---- begin a run: new, resumed, or from edits ----------------------------------------------------------

    def prepare(self) -> Job:
        """Check the ticked layers, and make room for a new run on them."""
        estimate = self._estimate
        job = self._prepare(self.picker.chosen(), self.run_folder.free())
        self.progress.expected = None if estimate is None else estimate.epochs
        return job

    def try_on_screen(self) -> bool:
        """Run on the part of the selected image that is on screen, or of the first ticked one; False if it cannot."""

        def prepare() -> Job:
            chosen = self.picker.chosen()
            active = self.viewer.layers.selection.active
            sources = sources_of([active] if active in chosen else chosen[:1])
            config = self.settings.config()
            config = config.model_copy(update={"epochs": min(config.epochs, TRY_EPOCHS)})
            pixels, look = part_on_screen(self.viewer, sources[0])
            part = self.viewer.add_image(pixels, **look)
            try:
                job = self._prepare([part], None, config=config)
            except InputError:
                self.viewer.layers.remove(part)
                raise
            if self.layers is not None:
                self._trial = part, self.layers
            return job

        return self.begin(prepare)

    def resume_run(self) -> bool:
        """Go on with the run in the folder, on the ticked layers; False if something is wrong.

        Its settings are loaded first, unless they are shown already: then epochs, device and stop agreement are
        taken as they are shown.
        """

        def prepare() -> Job:
            run, config = self.run_folder.resumed()
            chosen, layers = self.picker.chosen(), self.layers
            if layers is not None and not (
                self._folder == run.folder
                and layers.newest == run.epoch
                and [part.source.layer for part in layers.parts] == chosen
                and all(part.there for part in layers.parts)
            ):
                layers = None
            return self._prepare(chosen, run.folder, run, config, layers)

        return self.begin(prepare)

    def continue_from_edits(self) -> bool:
        """Lock the pixels painted on the masks and train on; False if nothing was painted.

        A run that goes on takes them up at its next relabelling; a paused one is resumed. Otherwise a new run starts
        from the epoch on the slider, in the same layers, and counts its epochs on from the newest.
        """
        if (layers := self._with_masks()) is None:
            return False
        painted = layers.corrections()
        if not painted and not (self.running and layers.locked):  # which may have been undone
            show_warning("Nothing was painted yet; paint or erase on the masks layer, then continue.")
            return False
        if self.running:
            if (control := self._control) is None:
                return self.refuse("The run is about to end; continue once it has.")
            for index, pixels in layers.told().items():
                control.correct(index, pixels)
            self._lock(painted)
            self.resume()
            self.say(f"{counted(painted)} are locked from the next epoch on.")
            return True

        def prepare() -> Job:
            if gone := [part.source.name for part in layers.parts if not part.there]:
                raise InputError(f"The masks layer of {listed(gone)} was removed; press Run for a new run.")
            config, start = self.settings.config(), layers.masks(layers.epoch)
            first = layers.newest or 0
            config = self.settings.config(epochs=first + config.epochs)
            sources = [part.source.layer for part in layers.parts]
            given = {"corrections": painted, "start_masks": start, "first_epoch": first}
            job = self._prepare(sources, self.run_folder.free_beside(), config=config, layers=layers, given=given)
            self.run_folder.shown_no_more()  # its last epoch is another one than the form says
            self._lock(painted)
            return job

        return self.begin(prepare)

    def show_waiting(self, wanted: bool = False) -> None:
        """Draw the epochs that wait; while a brush or paint holds them, only if they are ``wanted``."""
        if self.layers is not None and self.layers.waiting:
            self._take(self._draw_waiting(self.layers, wanted))

    def _lock(self, painted: Mapping[int, np.ndarray]) -> None:
        """Note what the run was told, and let epochs come again."""
        if self.layers is not None:
            self.layers.locked = dict(painted)
            if not self.layers.put_brush_away():  # which says so itself
                self.show_waiting()

    def _locked_in_words(self) -> str:
        return f"{counted(self.layers.locked)} are locked" if self.layers is not None and self.layers.locked else ""

    def _take(self, steps: Iterator[None]) -> None:
        """Take these steps one in a turn of Qt's loop, after those that wait for theirs."""
        if self.running:
            self.runner.spread(steps)
        else:
            self._opening.finish()
            self._opening.start(steps)

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
        layers: RunLayers | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> Job:
        """Check what a run needs, and make room for it; ``layers`` are those it goes on in."""
        config = config or self.settings.config()
        sources = sources_of(chosen)
        # Everything is checked before the thread starts, except what would take long to read.
        planes = read_at_once(sources)
        self.estimator.stop()
        self.progress.expected = self._estimate = None
        self._ready = threading.Event()  # the thread waits for all layers: beside a busy one they take twice as long
        if layers is not None:
            layers.go_on(config)
            self._ready.set()
        else:
            layers = RunLayers(self.viewer, sources, config)
            if self.layers is not None:
                self.layers.hide()
            self._drop_trial()
            layers.shown = self.results.shown()
            self._scores, self._kept = {}, []
            self.curves.clear()
            self.results.set_available(False)
            self.results.show_ready(())
            self._opening.start(layers.open(), partial(self._on_open, layers, self._ready))
        self.layers, self.result, self._earlier = layers, None, earlier
        self.show_place(folder)
        run = {"folder": folder, "resume": earlier is not None, **(given or {})}
        return igtt_job(sources, planes, config, self._ready, run)

    def _drop_trial(self) -> None:
        """Take the layers of a try away, but for masks that were painted on."""
        if self._trial is None:
            return
        part, layers = self._trial
        self._trial = None
        if not layers.corrections():
            layers.close()
        if part in self.viewer.layers:
            self.viewer.layers.remove(part)

    def _on_open(self, layers: RunLayers, ready: threading.Event) -> None:
        """Let the run begin, and notice when a brush is taken up or put away."""
        for part in layers.parts:
            if part.masks is not None:
                self.listen(part.masks.events.mode, self._on_brush)
        ready.set()

    def _on_brush(self, event: Any = None) -> None:
        self.show_waiting()

    def show_place(self, folder: Path | None) -> None:
        """Show in which folder the run is kept; None: in none."""
        self._where = f" The run is kept in {folder}." if folder else ""
        self._folder = folder
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
                before = self.curves.rounds or (self._earlier.rounds if self._earlier is not None else [])
                last = event.resumed_epoch
                self.curves.begin(event.epochs, [row for row in before if self._goes_on(last) or row[0] < last])
                self.progress.begin_epochs(event)
                images = "1 image" if event.images == 1 else f"{event.images} images"
                locked = f" {self._locked_in_words()}." if self._locked_in_words() else ""
                self.say(f"{images} on {event.device}, {event.objects} objects.{locked}")
            case EpochFinished() if self._goes_on(event.epoch):  # where it begins: drawn already, and painted on
                self.progress.show_epoch(event)
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
        if self.layers.newest is None:
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
        idle = self._earlier is not None and self.layers.newest == self._earlier.epoch and not self.result.stopped
        more = " To train on, raise Epochs or Stop agreement and press Resume run." if idle else ""
        return f"{self.why_stopped or self.result.reason}{more}{self._where}"

    def show_devices(self, devices: list[Device]) -> None:
        """Offer these devices in the form."""
        self.settings.set_devices(devices)
        self._ask_estimate()

    def _ask_estimate(self, _: str = "") -> None:
        """Find out how long a run would take, if somebody sees it."""
        if self.running or not self.isVisible():
            return
        self._estimate = None
        self.progress.eta.setText("")
        with suppress(InputError):  # said at Run; meanwhile it may be half typed
            self.estimator.ask(self.settings.config(), sources_of(self.picker.chosen()))

    def _show_estimate(self, estimate: Estimate) -> None:
        if not self.running:
            self._estimate = estimate
            self.progress.eta.setText(str(estimate))

    def _on_layer_removed(self, event: Any) -> None:
        if self.running and self.layers is not None and self.layers.needs(event.value):
            self.stop(f"Stopped because layer {event.value.name!r} was removed.")

    def _goes_on(self, epoch: int) -> bool:
        """Whether the layers have this epoch already."""
        return self.layers is not None and epoch in (*self.layers.epochs, *self.layers.waiting)

    def _draw(self, layers: RunLayers, event: EpochFinished) -> Iterator[None]:
        layers.add(event)
        yield from self._draw_waiting(layers)
        self.results.set_available(True)
        self._show_score()

    def _draw_waiting(self, layers: RunLayers, wanted: bool = False) -> Iterator[None]:
        yield from layers.show_waiting(wanted)
        if layers is self.layers:
            self.results.show_ready(layers.waiting)

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
            The file, whose ending may be left out; with several sources each one's name comes before its own.
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
        sources = [part.source.layer for part in self.layers.parts] if self.layers is not None else []
        if sources and (path := ask_where(self, sources, ome)) and (paths := self.save_mask(path, ome)):
            self.say(f"Saved {', '.join(path.name for path in paths)} in {paths[0].parent}.")

    def _show_extra(self, kind: Extra, shown: bool) -> None:
        if self.layers is not None:
            self.layers.show(kind, shown)

    def _with_masks(self) -> RunLayers | None:
        """Return the layers of a run with masks; None, which is said, without."""
        if self.layers is None or not self.layers.epochs:
            show_warning("There are no masks yet; run first.")
            return None
        return self.layers
