"""The Train widget: networks trained on images and labels, clean or noisy, watched and steered live."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QSize, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_metastructure import __version__
from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.plugin._curves import TrainCurves
from napari_metastructure.plugin._form import ConfigPanel, tooltip
from napari_metastructure.plugin._inputs import FolderRow, heading, lay_out
from napari_metastructure.plugin._job_widget import ProgressPanel, RunButtons, Steering
from napari_metastructure.plugin._layers import ORIGIN, EpochPages, class_colormap, placement
from napari_metastructure.plugin._pairs import (
    FIRST,
    LUMINANCE,
    DataPanel,
    TrainingSet,
    check,
    read_as,
    set_of_folder,
    shape_of,
    with_files,
)
from napari_metastructure.plugin._worker import Runner, torch_beside_a_window
from napari_metastructure.training.config import MAY_CHANGE, TrainConfig
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import BatchFinished, Kept, TrainEpoch, TrainFinished, TrainStarted, Warned
from napari_metastructure.training.run_folder import FoundRun

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer

    from napari_metastructure.labels.classes import Reading
    from napari_metastructure.networks.model import Model
    from napari_metastructure.training.events import TrainEpoch
    from napari_metastructure.training.pairs import Pair


# -------- What the background thread of a training run does, from layers or a folder to events.


@dataclass(frozen=True, slots=True)
class Watching:
    """An image of the validation set whose predictions will come with every epoch.

    Attributes
    ----------
    group : str
        The image: of pairs from layers the layer's name.
    names : tuple of str
        Its pairs, one per plane.
    image : dict or None
        Arguments of ``viewer.add_image``, of an image that is no layer yet.
    ready : threading.Event
        To be set once its layer is there: beside a busy thread, adding it would take many times as long.
    """

    group: str
    names: tuple[str, ...]
    image: dict[str, Any] | None = field(repr=False)
    ready: threading.Event = field(default_factory=threading.Event, repr=False)


def train_job(
    make: Callable[[], TrainingSet],
    reading: Reading,
    config: TrainConfig,
    control: Control,
    watch: str | None,
    folder: Path | None,
    resume: bool,
) -> Callable[[], Iterator[Any]]:
    """What the thread does; ``watch`` names the image whose predictions are wanted, or none."""

    def job() -> Iterator[Any]:  # events, and `Watching`
        torch_beside_a_window()
        from napari_metastructure.training.train import train

        given = make() if folder is None else with_files(make())
        given = read_as(given, reading, config.classes)
        names: Sequence[str] = ()
        if watched := watched_pairs(given.held(config)[1], watch):
            names = tuple(pair.name for pair in watched)
            watching = Watching(watched[0].group, names, None if given.layers else _image_of(watched))
            yield watching
            while not (watching.ready.wait(0.05) or control.stopped):  # who could set it may have been closed
                pass
        yield from train(
            given.training,
            config,
            control,
            validation=given.validation,
            folder=folder,
            resume=resume,
            watch=names,
        )

    return job


def watched_pairs(validation: Sequence[Pair], watch: str | None) -> list[Pair]:
    """The planes of the image that is watched; none if nothing is, or there is no such image."""
    if watch is None or not validation:
        return []
    group = validation[0].group if watch == FIRST else watch
    return [pair for pair in validation if pair.group == group]


def _image_of(pairs: Sequence[Pair]) -> dict[str, Any]:
    """An image from a file, as ``viewer.add_image`` takes it; of several channels the first."""
    from napari_metastructure.images.files import read_image

    file = read_image(pairs[0].files[0])
    planes = [np.asarray(pair.read_image()) for pair in pairs]
    planes = [plane[0] if plane.ndim == 3 else plane for plane in planes]
    places = [file.axes.index(a) for a in "TZYX" if a in file.axes]
    shape = [file.data.shape[i] for i in places]
    return {
        "data": np.stack(planes).reshape(shape),
        "name": pairs[0].group,
        "scale": [file.scale[i] for i in places],
        "units": [file.units[i] for i in places],
    }


# -------- The settings of a training run, and what a run folder says of an earlier one.


MAIN = ("preset", "network", "epochs", "loss", "device")

GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs"),
    "Data": ("validation_fraction", "classes", "patch_size", "batch_size", "steps_per_epoch", "augment"),
    "Optimisation": ("optimizer", "learning_rate", "schedule", "patience", "seed"),
}


class TrainSettings(ConfigPanel[TrainConfig]):
    """Everything in `TrainConfig`, as a form."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(TrainConfig, MAIN, GROUPS, parent=parent)


class EarlierTraining(FoundRun[TrainConfig]):
    """A run of supervised training."""

    model = TrainConfig
    columns = ("loss",)


# -------- How the Train widget looks: its panels in a scroll area. What they do is in `live`, `begin` and `widget`.


RESUMED = (
    "the same images and labels. Its settings are loaded first, unless they are shown already; of those, Epochs, "
    "Patience and Device may be changed."
)


class TrainLayout(QWidget):
    """The panels, top to bottom in the order they are used; it scrolls where a screen is too low."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.data = DataPanel(viewer)
        self.settings = TrainSettings()
        self.folder = FolderRow(EarlierTraining, RESUMED)
        self.buttons = RunButtons("Train the network on the pairs, in the background.")
        self.badge = DeviceBadge()
        self.progress = ProgressPanel()
        self.progress.epochs.setToolTip(tooltip("Epochs done; Patience may end it before the last."))
        self.progress.batches.setToolTip(tooltip("Optimiser steps done in this epoch."))
        self.curves = TrainCurves(viewer)
        self.scores = QLabel()
        self.scores.setWordWrap(True)
        self.scores.setToolTip(tooltip("The newest epoch in numbers."))
        self.save_button = QPushButton("Save model as…")
        self.save_button.setToolTip(
            tooltip("Save the network of the best epoch with all that predicting takes, as one .safetensors file.")
        )
        self.use_button = QPushButton("Use in Predict")
        self.use_button.setToolTip(
            tooltip("Open the Predict widget with this model; without a run folder save it first.")
        )
        for button in (self.save_button, self.use_button):
            button.setEnabled(False)
        run = QWidget()
        row = QHBoxLayout(run)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.buttons, 1)
        row.addWidget(self.badge)
        result = QWidget()
        results = QHBoxLayout(result)
        results.setContentsMargins(0, 0, 0, 0)
        results.setSpacing(4)
        results.addWidget(self.save_button)
        results.addWidget(self.use_button)
        self.scroll = lay_out(
            self,
            (
                heading("Images and labels"),
                self.data,
                heading("Settings"),
                self.settings,
                self.folder,
                run,
                self.progress,
                self.curves,
                self.scores,
                result,
            ),
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen."""
        return QSize(400, 780)


class DeviceBadge(QLabel):
    """Where the run computes; out of sight before the first one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setToolTip(tooltip("The device this run computes on."))
        self.setVisible(False)

    def show_device(self, device: str) -> None:
        """Show it: green for an accelerator, grey for the CPU."""
        ground = "#6b7280" if device == "cpu" else "#2e8b57"
        self.setStyleSheet(f"background: {ground}; color: white; border-radius: 6px; padding: 2px 6px;")
        self.setText(device.upper())
        self.setVisible(True)


# -------- The predictions of one image, epoch after epoch, as a Labels layer with an epoch axis.


class WatchedImage:
    """One image of the validation set and what the network says of it.

    Parameters
    ----------
    viewer : napari.Viewer
    watching : Watching
    source : napari.layers.Image or None
        Its layer; without one it is added.
    config : TrainConfig

    Raises
    ------
    InputError
        If memory does not suffice for all epochs.
    """

    def __init__(self, viewer: napari.Viewer, watching: Watching, source: Image | None, config: TrainConfig) -> None:
        self.viewer = viewer
        self.names = watching.names
        self.labels: Labels | None = None
        self.epochs: list[int] = []
        self._config = config
        self._hidden: list[Layer] = []
        self._added = source is None
        if source is None:
            source = viewer.add_image(**(watching.image or {}), metadata={ORIGIN: {"version": __version__}})
        self.source = source
        self._pages = EpochPages(shape_of(source), config.epochs, "predictions", source.name)

    def open(self, others: Sequence[Layer]) -> None:
        """Add the layer, empty, and bring it in sight: of images that lie over each other the topmost shows only."""
        self._hidden = [layer for layer in others if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        self.source.visible = True
        origin = {
            "version": __version__,
            "source": self.source.name,
            "seed": self._config.seed,
            "config": self._config.model_dump(mode="json"),
        }
        self.labels = self.viewer.add_labels(
            self._pages.array[:1],
            name=f"{self.source.name} prediction",
            opacity=0.6,
            metadata={ORIGIN: origin},
            **placement(self.source, "epoch"),
        )
        self.labels.editable = False

    def use_colors(self, classes: Sequence[int]) -> None:
        """Of two classes the second is foreground, whatever its number; a lower one is not drawn."""
        if self.labels is not None:
            self.labels.colormap = class_colormap(classes if len(classes) > 2 else classes[1:])

    def close(self) -> None:
        """Undo `open` (for a run that never finished an epoch)."""
        for layer in self._hidden:
            layer.visible = True
        for layer in (self.labels, self.source if self._added else None):
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def add(self, event: TrainEpoch) -> None:
        """Draw an epoch; the slider follows if it stood at the newest."""
        if self.labels is None or self.labels not in self.viewer.layers:
            return
        following = not self.epochs or self.epoch == self.epochs[-1]
        self.epochs.append(event.epoch)
        planes = np.stack([event.predictions[name] for name in self.names])
        self.labels.data = self._pages.put(event.epoch, planes.reshape(self._pages.shape))
        if following:
            self.viewer.dims.set_point(self._axis, event.epoch)

    def go_to(self, epoch: int) -> None:
        """Move the slider to an epoch, if it stands at the newest."""
        there = self.labels is not None and self.labels in self.viewer.layers
        if there and epoch in self.epochs and self.epoch == self.epochs[-1]:
            self.viewer.dims.set_point(self._axis, epoch)

    def hide(self) -> None:
        """Put it out of sight (a new run draws its own)."""
        if self.labels is not None:
            self.labels.visible = False

    @property
    def epoch(self) -> int:
        """Where the slider stands."""
        return round(self.viewer.dims.point[self._axis])

    @property
    def _axis(self) -> int:
        assert self.labels is not None
        return int(self.viewer.dims.ndim - self.labels.ndim)


# Watch and steer the run that goes on: its events become curves, a layer and progress, its buttons a control.


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
        self.runner.event_received.connect(self._on_event)
        self.runner.finished.connect(self._on_ended)
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


# -------- Begin a run: check what was asked for, take over what an earlier run left, and start the thread.


class TrainBegin(TrainLive):
    """Runs begin here, new or resumed."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.buttons.run.clicked.connect(lambda: self.start())
        self.folder.resume_run.connect(lambda: self.resume_run())

    def start(self) -> bool:
        """Check pairs and settings and train in the background; False if something is wrong."""
        folder = self.folder.get()
        return not self._is_taken(folder) and self._begin(folder)

    def resume_run(self) -> bool:
        """Go on with the run in the folder, on the pairs chosen; False if something is wrong.

        Its settings are loaded first, unless they are shown already: then epochs, patience and device are taken as
        they are shown.
        """
        if (found := self._to_go_on(MAY_CHANGE)) is None:
            return False
        run, config = found
        return self._begin(run.folder, config, resume=True)

    def _begin(self, folder: Path | None, config: TrainConfig | None = None, resume: bool = False) -> bool:
        if self._is_busy():
            return False
        reading, channel = self.data.reading.get(), self.data.channel.get()
        try:
            config = config or self.settings.config()
            given = self.data.given()
            if given is not None and given.eager:  # else in the thread: it would take long to read
                check(read_as(given, reading, config.classes), config)
        except InputError as error:
            return self._refuse(str(error))
        if channel == LUMINANCE and given and any(source.layer.rgb for source in given.layers.values()):
            show_info("RGB images are reduced to their luminance.")
        control = Control()
        self._reset(config, given, folder, resume)
        where = self.data.folder.get()
        make = partial(_same, given) if given is not None else partial(set_of_folder, where or Path(), channel)
        job = train_job(make, reading, config, control, self.data.watch.get(), folder, resume)
        self.runner.start(job, control, "The training run")
        return True

    def _reset(self, config: TrainConfig, given: TrainingSet | None, folder: Path | None, resume: bool) -> None:
        """Make room for a new run."""
        if self.watched is not None:
            self.watched.hide()
        self._config, self._given, self._resumed = config, given, resume
        self._where = f" The run is kept in {folder}." if folder else ""
        self.result = self.failure = self.model = self.watched = self.saved = None
        self.epochs = []
        if folder is not None:
            self.folder.set(folder)
            self._loaded = folder
        self.curves.clear()
        self.scores.setText("")
        self.progress.reset("Preparing…")
        self.buttons.show_state("running")
        for button in (self.save_button, self.use_button):
            button.setEnabled(False)
        self._let_choose(False)


def _same(given: TrainingSet) -> TrainingSet:
    return given


ENDING = ".safetensors"

PLUGIN, PREDICT = "napari-metastructure", "Predict (apply a saved model)"


class TrainWidget(TrainBegin):
    """Train a network on images and their labels.

    The buttons call `start`, `pause`, `resume`, `stop`, `resume_run`, `load_run_settings`, `save_model` and
    `use_in_predict`; scripts may do the same. None of them raises: what is wrong is said in one sentence by a napari
    notification, and the method returns False (or None).

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each run that began, however it ended.
    result : TrainFinished or None
        How the last run ended; None while it goes on, or if it failed.
    failure : MetastructureError or None
        Why the last run failed.
    model : Model or None
        The network of the best epoch of the last run, also of one that failed later.
    saved : Path or None
        Where that network was saved.
    data : DataPanel
        What is trained on.
    """

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.save_button.clicked.connect(self._ask_where)
        self.use_button.clicked.connect(lambda: self.use_in_predict())

    def save_model(self, path: str | Path) -> Path | None:
        """Write the network of the best epoch, with all that predicting takes; None if something is wrong.

        Parameters
        ----------
        path : path
            The file; ``.safetensors`` is added where it is missing.
        """
        if self.running or self.model is None:
            show_warning("There is no model yet; run first." if not self.running else "The run still goes on.")
            return None
        from napari_metastructure.networks.checkpoint import save_model

        path = Path(path)
        path = path if path.suffix == ENDING else path.with_name(path.name + ENDING)
        try:
            self.saved = save_model(path, self.model.network, self.model.spec, self.model.use)
        except (MetastructureError, OSError, ValueError) as error:
            show_error(str(error))
            return None
        return self.saved

    def use_in_predict(self) -> bool:
        """Open the Predict widget on the model's file; False if it is in none yet."""
        folder = self.folder.get()
        kept = folder / f"model{ENDING}" if folder is not None and self.model is not None else None
        path = self.saved or (kept if kept is not None and kept.is_file() else None)
        if path is None:
            show_warning("The model is in no file yet; save it first.")
            return False
        _, predict = self.viewer.window.add_plugin_dock_widget(PLUGIN, PREDICT)
        return bool(predict.choose_model(path))

    def _ask_where(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save model", f"model{ENDING}", f"Model (*{ENDING})")
        if name and (path := self.save_model(name)):
            self.progress.say(f"Saved {path.name}.")
