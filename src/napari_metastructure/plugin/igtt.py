"""The iGTT widget: from unlabelled image layers to masks, watched and steered live."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QSize, QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout, QPushButton, QWidget

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.igtt.config import MAY_CHANGE, IGTTConfig
from napari_metastructure.plugin._curves import Curves
from napari_metastructure.plugin._form import ConfigPanel, tooltip
from napari_metastructure.plugin._igtt_layers import Extra, RunLayers
from napari_metastructure.plugin._inputs import FolderRow, LayerPicker, beside, heading, lay_out
from napari_metastructure.plugin._job_widget import ProgressPanel, RunButtons, Steering
from napari_metastructure.plugin._source import ColourTaken, Source, colour_of, read_at_once, read_planes, sources_of
from napari_metastructure.plugin._worker import Runner, torch_beside_a_window
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
    from napari_metastructure.training.events import Event


# -------- What to see of a run and what to do with its masks: check boxes and buttons.


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
        """Which of the optional layers are ticked."""
        return {"probability": self.probability.isChecked(), "labels": self.labels.isChecked()}

    def set_available(self, there: bool) -> None:
        """Whether there are masks to work with."""
        for button in (self.use_button, self.edits_button, self.save_button):
            button.setEnabled(there)


# -------- The settings of an iGTT run.


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


# -------- How the iGTT widget looks: its panels in a scroll area. What they do is in `igtt_widget`.


class IGTTLayout(QWidget):
    """The panels, top to bottom in the order they are used; it scrolls where a screen is too low."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.picker = LayerPicker(viewer, "Images to segment together: 2D, or T/Z stacks, taken slice by slice.")
        self.settings = SettingsPanel()
        self.folder = FolderRow()
        self.buttons = RunButtons()
        self.progress = ProgressPanel()
        self.curves = Curves(viewer)
        self.results = ResultPanel()

        lay_out(
            self,
            (
                heading("Images"),
                self.picker,
                heading("Settings"),
                self.settings,
                self.folder,
                self.buttons,
                self.progress,
                self.curves,
                heading("Result"),
                self.results,
            ),
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen."""
        return QSize(380, 780)


# -------- Watch and steer the run that goes on: its events become layers, curves and progress, its buttons a control.


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
        self.runner.event_received.connect(self._on_event)
        self.runner.finished.connect(self._on_ended)
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


# -------- What the background thread of a run does: torch beside a window, and iGTT from layers to events.


def igtt_job(
    sources: Sequence[Source],
    planes: list[np.ndarray] | None,
    config: IGTTConfig,
    control: Control,
    given: dict[str, Any],
    ready: threading.Event,
) -> Callable[[], Iterator[Event | ColourTaken]]:
    """What the thread does, once ``ready`` is set; planes that were not read yet are read (and checked) there."""

    def job() -> Iterator[Event | ColourTaken]:
        while not (ready.wait(0.05) or control.stopped):  # who could set it may have been closed
            pass
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


# -------- Begin a run: check what was asked for, take over what an earlier run left, and start the thread.


class IGTTRun(IGTTLive):
    """Runs begin here, new or resumed."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.buttons.run.clicked.connect(lambda: self.start())
        self.folder.resume_run.connect(lambda: self.resume_run())

    def start(self) -> bool:
        """Check the ticked layers and run on them in the background; False if something is wrong."""
        folder = self.folder.get()
        if self._is_taken(folder):
            return False
        return self._begin(self.picker.chosen(), folder)

    def resume_run(self) -> bool:
        """Go on with the run in the folder, on the ticked layers; False if something is wrong.

        Its settings are loaded first, unless they are shown already: then epochs, device and stop agreement are
        taken as they are shown.
        """
        if (found := self._to_go_on(MAY_CHANGE)) is None:
            return False
        run, config = found
        return self._begin(self.picker.chosen(), run.folder, run, config)

    def _begin(
        self,
        chosen: Sequence[napari.layers.Layer],
        folder: Path | None,
        earlier: FoundRun[IGTTConfig] | None = None,
        config: IGTTConfig | None = None,
        corrections: dict[int, np.ndarray] | None = None,
        start_masks: Sequence[np.ndarray] | None = None,
    ) -> bool:
        if self._is_busy():
            return False
        try:
            config = config or self.settings.config()
            sources = sources_of(chosen)
            # Everything is checked before the thread starts, except what would take long to read.
            planes = read_at_once(sources)
            layers = RunLayers(self.viewer, sources, config)
        except InputError as error:
            return self._refuse(str(error))
        control = Control()
        self._earlier, self._locked = earlier, corrections or {}
        self._where = f" The run is kept in {folder}." if folder else ""
        self._reset(layers)
        if folder is not None:
            self.folder.set(folder)
            self._loaded = folder
        given: dict[str, Any] = {"folder": folder, "corrections": corrections, "start_masks": start_masks}
        given["resume"] = earlier is not None
        self._opening, self._ready = layers.open(), threading.Event()
        self._turns.start(0)
        self.runner.start(igtt_job(sources, planes, config, control, given, self._ready), control, "The iGTT run")
        return True

    def _reset(self, layers: RunLayers) -> None:
        """Make room for a new run."""
        if self.layers is not None:
            self.layers.hide()
        layers.shown = self.results.shown()
        self.layers, self.result, self.failure = layers, None, None
        self._scores, self._kept, self._why_stopped = {}, [], ""
        self.curves.clear()
        self.progress.reset("Preparing…")
        self.buttons.show_state("running")
        self._let_choose(False)
        self.results.set_available(False)


class IGTTWidget(IGTTRun):
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

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.results.use_epoch.connect(lambda: self.use_epoch())
        self.results.continue_from_edits.connect(lambda: self.continue_from_edits())
        self.results.save.connect(self._ask_where)
        self.results.show_extra.connect(self._show_extra)

    def use_epoch(self) -> list[Labels]:
        """Make the epoch on the slider the final mask; the new layers, one per source."""
        if not self._has_masks():
            return []
        assert self.layers is not None
        self._kept = self.layers.keep(self.layers.epoch)
        return self._kept

    def continue_from_edits(self) -> bool:
        """Lock the pixels painted on the masks and train on; False if nothing was painted.

        A run that goes on takes them up at its next relabelling. Otherwise a new run starts from the epoch on the
        slider, in a folder beside that of the run before.
        """
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
        folder = self.folder.get()
        return self._begin(
            [part.source.layer for part in self.layers.parts],
            None if folder is None else beside(folder),
            corrections=locked.take_corrections(),
            start_masks=self.layers.masks(self.layers.epoch),
        )

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

    def _ask_where(self, ome: bool) -> None:
        kind = "OME-TIFF (*.ome.tif *.ome.tiff)" if ome else "TIFF (*.tif *.tiff)"
        name, _ = QFileDialog.getSaveFileName(self, "Save mask", "mask.ome.tif" if ome else "mask.tif", kind)
        if name and (paths := self.save_mask(name, ome)):
            self.progress.say(f"Saved {', '.join(path.name for path in paths)}.")

    def _show_extra(self, kind: Any, shown: bool) -> None:
        if self.layers is not None:
            self.layers.show(kind, shown)

    def _has_masks(self) -> bool:
        if self.layers is None or not self.layers.epochs:
            show_warning("There are no masks yet; run first.")
            return False
        return True


def _count(corrections: Mapping[int, np.ndarray]) -> int:
    return sum(int((pixels != 255).sum()) for pixels in corrections.values())
