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
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy import QtCore, QtWidgets

from napari_metastructure import __version__
from napari_metastructure.errors import InputError, MetastructureError, listed
from napari_metastructure.images.ranges import ALL
from napari_metastructure.networks.model import Model
from napari_metastructure.plugin import _layers
from napari_metastructure.plugin._curves import TrainCurves
from napari_metastructure.plugin._estimate import Unknown, Work, train_estimate
from napari_metastructure.plugin._form import ConfigPanel, Editor, tooltip
from napari_metastructure.plugin._inputs import heading, lay_out, row
from napari_metastructure.plugin._job_widget import Job, JobWidget, RunButtons, RunInFolder
from napari_metastructure.plugin._pairs import LUMINANCE, LayerSet, shape_of
from napari_metastructure.plugin._preferences import of_settings
from napari_metastructure.plugin._progress import EpochProgress
from napari_metastructure.plugin._source import Source
from napari_metastructure.plugin._stacking import add_above, bring_to_front, kept_view
from napari_metastructure.plugin._training_data import FIRST, DataPanel
from napari_metastructure.plugin._worker import torch_beside_a_window, wait_for
from napari_metastructure.training import events
from napari_metastructure.training.config import MAY_CHANGE, TrainConfig
from napari_metastructure.training.control import Control
from napari_metastructure.training.pairs import Pair, TrainingSet
from napari_metastructure.training.run_folder import FoundRun

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device


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
    config: TrainConfig,
    watch: str | None,
    folder: Path | None,
    resume: bool,
) -> Job:
    """Make the job of a run; ``watch`` names the image whose predictions are wanted, or none."""

    def job(control: Control) -> Iterator[events.Event | Watching]:
        torch_beside_a_window()
        from napari_metastructure.training.train import train

        given = make()
        if folder is not None and isinstance(given, LayerSet):
            given = given.with_files()
        names: Sequence[str] = ()
        if watched := watched_pairs(given.held(config)[1], watch):
            names = tuple(pair.name for pair in watched)
            watching = Watching(watched[0].group, names, None if isinstance(given, LayerSet) else _image_of(watched))
            yield watching
            wait_for(watching.ready, control)
        yield from train(
            given.training,
            config,
            control,
            validation=given.validation,
            folder=folder,
            resume=resume,
            watch=names,
            chosen=given.chosen if isinstance(given, LayerSet) else ALL,
        )

    return job


def watched_pairs(validation: Sequence[Pair], watch: str | None) -> list[Pair]:
    """Return the planes of the image that is watched; none if nothing is, or there is no such image."""
    if watch is None or not validation:
        return []
    group = validation[0].group if watch == FIRST else watch
    return [pair for pair in validation if pair.group == group]


def _image_of(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Read an image from a file, as ``viewer.add_image`` takes it; of several channels the first."""
    from napari_metastructure.images.files import noting, read_image

    with noting():
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


MAIN = ("preset", "network", "epochs", "loss", "device")

GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs"),
    "Data": ("validation_fraction", "classes", "patch_size", "batch_size", "steps_per_epoch", "augment"),
    "Optimisation": ("optimizer", "learning_rate", "schedule", "patience", "seed"),
}


class TrainSettings(ConfigPanel[TrainConfig]):
    """Everything in `TrainConfig`, as a form; how labels are read is chosen elsewhere."""

    def __init__(self, reading: Editor, parent: QtWidgets.QWidget | None = None) -> None:
        self._reading = reading
        super().__init__(TrainConfig, MAIN, GROUPS, ("reading",), parent)

    def config(self, **overrides: Any) -> TrainConfig:
        """Return the settings as shown, with some of them replaced."""
        return super().config(**{"reading": self._reading.get(), **overrides})

    def fill(self, config: TrainConfig) -> None:
        """Show these settings."""
        super().fill(config)
        self._reading.set(config.reading)

    def of_preset(self, preset: str) -> TrainConfig:
        """Return what choosing a preset fills in."""
        return super().of_preset(preset).model_copy(update={"reading": self._reading.get()})


class EarlierTraining(FoundRun[TrainConfig]):
    """A run of supervised training."""

    model = TrainConfig
    columns = ("loss",)


class DeviceBadge(QtWidgets.QLabel):
    """The device a run computes on; hidden before the first one."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Fixed, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setToolTip(tooltip("The device this run computes on."))
        self.setVisible(False)

    def show_device(self, device: str) -> None:
        """Show it: green for an accelerator, grey for the CPU."""
        ground = "#6b7280" if device == "cpu" else "#2e8b57"
        self.setStyleSheet(f"background: {ground}; color: white; border-radius: 6px; padding: 2px 6px;")
        self.setText(device.upper())
        self.setVisible(True)


class WatchedImage:
    """One image of the validation set, with what the network predicts as a layer with an epoch axis.

    Parameters
    ----------
    viewer : napari.Viewer
    watching : Watching
    given : Source or None
        Its layer; without one it is added.
    config : TrainConfig

    Raises
    ------
    InputError
        If memory does not suffice for all epochs.
    """

    def __init__(self, viewer: napari.Viewer, watching: Watching, given: Source | None, config: TrainConfig) -> None:
        self.viewer, self._given = viewer, given
        self.names = watching.names
        self.labels: Labels | None = None
        self.slider = _layers.EpochSlider(viewer)
        self.epochs = self.slider.epochs
        self._config = config
        self._added = given is None
        if given is None:
            with kept_view(viewer):
                layer = viewer.add_image(**(watching.image or {}), metadata={_layers.ORIGIN: {"version": __version__}})
        self.source: Image = layer if given is None else given.layer
        self._pages = _layers.EpochPages(shape_of(self.source), config.epochs, "predictions", self.source.name)

    def open(self) -> None:
        """Add the layer, empty, and bring its image to the front."""
        bring_to_front(self.viewer, [self.source])
        how = {"seed": self._config.seed, "config": self._config.model_dump(mode="json")}
        how |= {_layers.PLANES: self._given.note} if self._given is not None and self._given.note else {}
        self.labels = Labels(
            self._pages.array[:1],
            name=_layers.result_name(self.source.name, "prediction"),
            opacity=0.6,
            metadata=_layers.made_from(self.source, **how),
            **_layers.placement(self.source, "epoch"),
        )
        self.labels.editable = False
        add_above(self.viewer, self.source, self.labels)
        self.slider.layers.append(self.labels)

    def use_colors(self, classes: Sequence[int]) -> None:
        """Of two classes the second is foreground, whatever its number; a lower one is not drawn."""
        if self.labels is not None:
            self.labels.colormap = _layers.class_colormap(classes if len(classes) > 2 else classes[1:])

    def shows(self, watching: Watching, source: Image | None, epoch: int) -> bool:
        """Whether the newest epoch drawn here is this one, of the image that is to be watched."""
        there = self.labels is not None and self.labels in self.viewer.layers and self.source in self.viewer.layers
        return there and self.names == watching.names and source in (None, self.source) and self.epochs[-1:] == [epoch]

    def go_on(self, config: TrainConfig) -> None:
        """Make room for a run that goes on from the one drawn here, and show it again."""
        if self._pages.reserve(config.epochs) and self.labels is not None:
            self.labels.data = self._pages.array[: len(self.labels.data)]
        if self.labels is not None:
            self.labels.visible = True

    def close(self) -> None:
        """Undo `open` (for a run that never finished an epoch)."""
        for layer in (self.labels, self.source if self._added else None):
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def add(self, event: events.TrainEpoch) -> Iterator[None]:
        """Draw an epoch in two steps, the second of which moves the slider if it stands at the newest."""
        if self.labels is None or self.labels not in self.viewer.layers:
            return iter(())
        planes = [event.predictions[name] for name in self.names]
        page = np.stack(planes) if self._given is None else self._given.join(planes)
        pages = self._pages.put(event.epoch, page.reshape(self._pages.shape))
        return self.slider.follow([event.epoch], self._draw(self.labels, event.epoch, pages))

    def _draw(self, labels: Labels, epoch: int, pages: np.ndarray) -> Iterator[None]:
        if labels in self.viewer.layers:
            self.slider.set_data(labels, pages, epoch)
        yield

    def hide(self) -> None:
        """Hide it: a new run draws its own."""
        if self.labels is not None:
            self.labels.visible = False


def scores_in_words(event: events.TrainEpoch) -> str:
    """Put the newest epoch into numbers: of the validation images, else of the patches trained on."""
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


ENDING = ".safetensors"

PLUGIN, PREDICT = "napari-metastructure", "Predict (apply a saved model)"

RESUMED = (
    "the same images and labels. Its settings are loaded first, unless they are shown already; only Epochs, "
    "Patience and Device may be changed."
)


class TrainWidget(JobWidget):
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
    saved_model : Path or None
        Where that network was saved.
    data : DataPanel
        What is trained on.
    """

    name = "train"
    title = "The training run"
    size = (400, 780)
    progress: EpochProgress

    def __init__(self, napari_viewer: napari.Viewer, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(
            napari_viewer,
            RunButtons("Train the network on the pairs, in the background."),
            EpochProgress("Epochs done; Patience may end it before the last.", "Optimiser steps done in this epoch."),
            parent,
        )
        self.data = DataPanel(self.viewer)
        self.settings = TrainSettings(self.data.reading)
        self.run_folder = RunInFolder(EarlierTraining, self.settings, MAY_CHANGE, RESUMED, self.name)
        self.folder = self.run_folder.row
        self.form = (self.data, self.settings, self.folder)
        self.badge = DeviceBadge()
        self.curves = TrainCurves(self.viewer)
        self.scores = QtWidgets.QLabel()
        self.scores.setWordWrap(True)
        self.scores.setToolTip(tooltip("The newest epoch in numbers."))
        self.save_button = QtWidgets.QPushButton("Save model as…")
        self.save_button.setToolTip(
            tooltip("Save the network of the best epoch, with all that prediction needs, as one .safetensors file.")
        )
        self.use_button = QtWidgets.QPushButton("Use in Predict")
        self.use_button.setToolTip(
            tooltip("Open the Predict widget with this model; without a run folder save it first.")
        )
        self.result: events.TrainFinished | None = None
        self.model: Model | None = None
        self.saved_model: Path | None = None
        self.watched: WatchedImage | None = None
        self.epochs: list[int] = []
        self._config = TrainConfig()
        self._given: TrainingSet | None = None
        self._resumed: FoundRun[TrainConfig] | None = None
        self._before: WatchedImage | None = None
        self._where = ""
        self._offer_model(False)
        self.scroll = lay_out(
            self,
            (
                row(heading("Images and labels"), self.tools),
                self.data,
                heading("Settings"),
                self.settings,
                self.folder,
                self.curves,
                self.scores,
            ),
            (
                _row(6, self.buttons, self.badge, stretch=True),
                self.progress,
                _row(4, self.save_button, self.use_button),
            ),
        )
        self._connect()

    def _connect(self) -> None:
        self.tools.reset_button.clicked.connect(self.run_folder.propose)
        self.folder.load_settings.connect(lambda: self.load_run_settings())
        self.folder.resume_run.connect(lambda: self.resume_run())
        self.save_button.clicked.connect(self._ask_where)
        self.use_button.clicked.connect(lambda: self.use_in_predict())
        self.data.changed.connect(self._show_set)
        for form in self.settings.forms:
            form.changed.connect(self._show_set)
        self.forget_refusal_at(
            self.data.changed, self.folder.path.changed, *(form.changed for form in self.settings.forms)
        )
        self._show_set()
        self.release_with(self.data.release, self.curves.release)
        settings = of_settings(TrainConfig, self.settings.config, self.settings.fill)
        self.remember({"settings": settings}, lambda known: {"settings": known.settings(TrainConfig)})

    def slider(self) -> _layers.EpochSlider | None:
        """Return what moves through the epochs of the newest run."""
        return None if self.watched is None else self.watched.slider

    def made_layers(self) -> list[Labels]:
        """Return the prediction of the newest run."""
        return [] if self.watched is None or self.watched.labels is None else [self.watched.labels]

    # ---- begin a run: new or resumed -----------------------------------------------------------------------

    def prepare(self) -> Job:
        """Check pairs and settings, and make room for a new run."""
        before = self.estimate
        job = self._prepare(self.run_folder.free())
        self.progress.expected = None if before is None else before.epochs
        return job

    def resume_run(self) -> bool:
        """Go on with the run in the folder, on the pairs chosen; False if something is wrong.

        Its settings are loaded first, unless they are shown already: then epochs, patience and device are taken as
        they are shown.
        """

        def prepare() -> Job:
            run, config = self.run_folder.resumed()
            self.data.ranges.set(run.chosen())
            return self._prepare(run.folder, config, run)

        return self.begin(prepare)

    def load_run_settings(self) -> bool:
        """Show the settings that the run in the folder was made with; False if they cannot be read."""
        try:
            self.run_folder.load_settings()
        except InputError as error:
            return self.refuse(str(error))
        if (run := self.run_folder.kind.find(self.folder.get())) is not None:
            self.data.ranges.set(run.chosen())
        self.say("The settings are those of the run in the folder.")
        return True

    def _prepare(
        self, folder: Path | None, config: TrainConfig | None = None, resumed: FoundRun[TrainConfig] | None = None
    ) -> Job:
        config = config or self.settings.config()
        channel, given = self.data.channel.get(), self.data.given()
        if isinstance(given, LayerSet):
            if given.eager:  # else in the thread: it would take long to read
                given.check(config)
            if channel == LUMINANCE and any(source.layer.rgb for source in given.layers.values()):
                show_info("RGB images are reduced to their luminance.")
        if self.watched is not None and resumed is None:
            self.watched.hide()
        self.progress.expected = None
        self._config, self._given, self._resumed, self._before = config, given, resumed, self.watched
        self.result = self.model = self.watched = self.saved_model = None
        self.epochs = []
        self.show_place(folder)
        self.curves.clear()
        self.scores.setText("")
        self._offer_model(False)
        return train_job(self.data.reader(given), config, self.data.watch.get(), folder, resumed is not None)

    def show_place(self, folder: Path | None) -> None:
        """Show in which folder the run is kept; None: in none."""
        self._where = f" The run is kept in {folder}." if folder else ""
        self.run_folder.use(folder)

    # ---- while it goes on ------------------------------------------------------------------------------------

    def on_batches(self, batches: list[events.BatchFinished]) -> None:
        """Move the lower bar and append to the loss."""
        self.progress.show_batch(batches[-1])
        self.curves.add_batches(batches)

    def on_event(self, event: object) -> None:
        """Draw epochs; pass on what the job says."""
        match event:
            case Watching():
                self._open_watched(event)
                event.ready.set()
            case events.TrainStarted():
                self._on_started(event)
            case events.TrainEpoch():
                self.epochs.append(event.epoch)
                self.progress.show_epoch(event)
                self.curves.add_epoch(event)
                self.scores.setText(scores_in_words(event))
                if self.watched is not None:
                    self.runner.spread(self.watched.add(event))
            case events.Warned(message):
                self.warn(message)
            case events.Kept(model=model):
                self.model = model
            case events.TrainFinished():
                self.result, self.model = event, event.model

    def _on_started(self, event: events.TrainStarted) -> None:
        self.badge.show_device(event.device)
        self.progress.begin_epochs(event)
        images = "1 image" if event.training == 1 else f"{event.training} images"
        held = f"{event.validation} to validate on" if event.validation else "none to validate on"
        self.say(f"{images} to train on, {held}; classes {listed(event.classes)}.")
        self.curves.begin(event)
        self._scroll_down()  # the curves are what one watches now
        if self.watched is not None:
            self.watched.use_colors(event.classes)

    def on_end(self) -> None:
        """Offer the model, and go to the epoch that was kept."""
        self.folder.look()
        self._offer_model(self.model is not None)
        if self.watched is not None and not self.watched.epochs:
            self.watched.close()
            self.watched = None
        if self.watched is not None and self.failure is None and self.result is not None:
            self.watched.slider.go_to(self.result.best_epoch)
        QtCore.QTimer.singleShot(0, self._scroll_down)  # once the new sentence has its place

    def summary(self) -> str:
        """Say why the run ended; of a resumed one that had nothing left to do, what would give it some."""
        if self.result is None:
            return ""
        idle = self._resumed is not None and not self.epochs and not self.result.stopped
        more = " To train on, raise Epochs and press Resume run." if idle else ""
        return f"{self.result.reason}{more}{self._where}"

    def to_estimate(self) -> Work | Unknown | None:
        """Return what finds out how long a run would take."""
        if (given := self.data.given()) is None:  # the folder is still being looked through
            return None
        config = self.settings.config()
        return partial(train_estimate, config, *given.held(config))

    def show_devices(self, devices: list[Device]) -> None:
        """Offer these devices in the form."""
        self.settings.set_devices(devices)

    def _open_watched(self, watching: Watching) -> None:
        """Add the layer of the image that is watched; without memory for it the run goes on unwatched.

        A run that is resumed goes on in the layer it has.
        """
        given = self._given if isinstance(self._given, LayerSet) else None
        source = given.layers[watching.group] if given is not None else None
        layer = source.layer if source is not None else None
        before, self._before = self._before, None
        try:
            if before is not None and self._resumed is not None:
                if before.shows(watching, layer, self._resumed.epoch):
                    before.go_on(self._config)
                    self.watched = before
                    return
                before.hide()
            self.watched = WatchedImage(self.viewer, watching, source, self._config)
        except InputError as error:
            show_warning(str(error))
            return
        self.watched.open()

    def _show_set(self, *_: Any) -> None:
        """Say what would be trained on; the settings decide how many images are kept for validation."""
        try:
            config = self.settings.config()
        except InputError:  # said at Run; meanwhile it may be half typed
            config = None
        self.data.show_set(config)
        self.ask_estimate()

    def _offer_model(self, there: bool) -> None:
        for button in (self.save_button, self.use_button):
            button.setEnabled(there)

    def _scroll_down(self) -> None:
        self.scroll.ensureWidgetVisible(self.scores)

    # ---- the model -------------------------------------------------------------------------------------------

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
            self.saved_model = save_model(path, self.model.network, self.model.spec, self.model.use)
        except (MetastructureError, OSError, ValueError) as error:
            show_error(str(error))
            return None
        return self.saved_model

    def use_in_predict(self) -> bool:
        """Open the Predict widget on the model's file; False if it is in none yet."""
        folder = self.folder.get()
        kept = folder / f"model{ENDING}" if folder is not None and self.model is not None else None
        path = self.saved_model or (kept if kept is not None and kept.is_file() else None)
        if path is None:
            show_warning("The model is in no file yet; save it first.")
            return False
        _, predict = self.viewer.window.add_plugin_dock_widget(PLUGIN, PREDICT)
        return bool(predict.choose_model(path))

    def _ask_where(self) -> None:
        name, _ = QtWidgets.QFileDialog.getSaveFileName(self, "Save model", f"model{ENDING}", f"Model (*{ENDING})")
        if name and (path := self.save_model(name)):
            self.say(f"Saved {path.name}.")


def _row(spacing: int, *parts: QtWidgets.QWidget, stretch: bool = False) -> QtWidgets.QWidget:
    """Put parts beside each other; ``stretch`` gives the first all room that is left."""
    row = QtWidgets.QWidget()
    layout = QtWidgets.QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing)
    for number, part in enumerate(parts):
        layout.addWidget(part, int(stretch and number == 0))
    return row
