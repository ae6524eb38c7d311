"""The Train widget: networks trained on images and labels, clean or noisy, watched and steered live."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.layers import Labels
from napari.utils.notifications import show_info, show_warning
from qtpy import QtCore, QtWidgets

from napari_metastructure.errors import InputError, MetastructureError, counted, listed
from napari_metastructure.networks.model import Model
from napari_metastructure.plugin import _layers
from napari_metastructure.plugin._curves import TrainCurves
from napari_metastructure.plugin._estimate import Unknown, Work, train_estimate
from napari_metastructure.plugin._form import ConfigPanel, Editor, tooltip, with_tip
from napari_metastructure.plugin._inputs import heading, lay_out, row
from napari_metastructure.plugin._job_widget import Job, JobWidget, RunButtons, RunInFolder
from napari_metastructure.plugin._pairs import LUMINANCE, LayerSet
from napari_metastructure.plugin._preferences import of_settings
from napari_metastructure.plugin._progress import EpochProgress
from napari_metastructure.plugin._saving import ask_file
from napari_metastructure.plugin._training_data import DataPanel
from napari_metastructure.plugin._watched import WatchedImage, Watching, train_job
from napari_metastructure.plugin._worker import EventLoopSteps
from napari_metastructure.training import events
from napari_metastructure.training.config import MAY_CHANGE, TrainConfig
from napari_metastructure.training.pairs import TrainingSet
from napari_metastructure.training.run_folder import FoundRun

MAIN = ("preset", "network", "epochs", "loss", "device")

GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs"),
    "Data": ("validation_fraction", "classes", "patch_size", "batch_size", "steps_per_epoch", "augment"),
    "Optimisation": ("optimizer", "learning_rate", "schedule", "patience", "seed"),
}


class TrainSettings(ConfigPanel[TrainConfig]):
    """Everything in `TrainConfig`, as a form; how labels are read is chosen elsewhere."""

    def __init__(self, reading: Editor) -> None:
        self._reading = reading
        super().__init__(TrainConfig, MAIN, GROUPS, ("reading",))

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

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Fixed, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setToolTip(tooltip("The device this run computes on."))
        self.setVisible(False)

    def show_device(self, device: str) -> None:
        """Show it: green for an accelerator, grey for the CPU."""
        ground = "#6b7280" if device == "cpu" else "#2e8b57"
        self.setStyleSheet(f"background: {ground}; color: white; border-radius: 6px; padding: 2px 6px;")
        self.setText(device.upper())
        self.setVisible(True)


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
    notification, and the method returns False (or None). See `JobWidget` for
    ``finished``, ``failure`` and ``saved``.

    Attributes
    ----------
    result : TrainFinished or None
        How the last run ended; None while it goes on, or if it failed.
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
    run_folder: RunInFolder[TrainConfig]

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(
            napari_viewer,
            RunButtons("Train the network on the pairs, in the background."),
            EpochProgress("Epochs done; Patience may end it before the last.", "Optimiser steps done in this epoch."),
        )
        self.data = DataPanel(self.viewer)
        self.settings = TrainSettings(self.data.reading)
        self.with_device = self.settings
        ranges = self.data.ranges
        self.keep_in(RunInFolder(EarlierTraining, self.settings, MAY_CHANGE, RESUMED, self.name, ranges))
        self.folder = self.run_folder.row
        self.form = (self.data, self.settings, self.folder)
        self.badge = DeviceBadge()
        self.curves = TrainCurves(self.viewer)
        self.scores = QtWidgets.QLabel()
        self.scores.setWordWrap(True)
        self.scores.setToolTip(tooltip("The newest epoch in numbers."))
        self.save_button = with_tip(
            QtWidgets.QPushButton("Save model as…"),
            "Save the network of the best epoch, with all that prediction needs, as one .safetensors file.",
        )
        self.use_button = with_tip(
            QtWidgets.QPushButton("Use in Predict"),
            "Open the Predict widget with this model; without a run folder save it first.",
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
        self._tidying = EventLoopSteps(self)
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
                row(self.buttons, self.badge, spacing=6, wide=self.buttons),
                self.progress,
                row(self.save_button, self.use_button),
            ),
        )
        self._connect()

    def _connect(self) -> None:
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

    def prepare_resumed(self) -> Job:
        """Make ready the job that goes on with the run in the folder, on the pairs chosen."""
        run, config = self.run_folder.resumed()
        return self._prepare(run.folder, config, run)

    def _prepare(
        self, folder: Path | None, config: TrainConfig | None = None, resumed: FoundRun[TrainConfig] | None = None
    ) -> Job:
        config = config or self.settings.config()
        channel, given = self.data.channel.get(), self.data.given()
        if isinstance(given, LayerSet):
            self.reads(given.pixels)
            self.doubt(given.apart)
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
        images = counted(event.training, "image")
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
        if self.watched is not None:
            self._tidying.start(self.watched.end())
        QtCore.QTimer.singleShot(0, self._scroll_down)  # once the new sentence has its place

    def summary(self) -> str:
        """Say why the run ended; of a resumed one that had nothing left to do, what would give it some."""
        if self.result is None:
            return ""
        idle = self._resumed is not None and not self.epochs and not self.result.stopped
        more = " To train on, raise Epochs and press Resume run." if idle else ""
        return f"{self.result.reason}{more}{self.kept}"

    def to_estimate(self) -> Work | Unknown | None:
        """Return what finds out how long a run would take."""
        if (given := self.data.given()) is None:  # the folder is still being looked through
            return None
        config = self.settings.config()
        return partial(train_estimate, config, *given.held(config))

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
            show_warning("There is no model yet; run first." if not self.running else "The run has not ended yet.")
            return None
        from napari_metastructure.networks.model_file import save_model

        path = Path(path)
        path = path if path.suffix == ENDING else path.with_name(path.name + ENDING)
        try:
            self.saved_model = save_model(path, self.model.network, self.model.spec, self.model.use)
        except (MetastructureError, OSError, ValueError) as error:
            self.refuse(str(error))
            return None
        return self.saved_model

    def use_in_predict(self) -> bool:
        """Open the Predict widget on the model's file; False if it is in none yet."""
        kept = self.place / f"model{ENDING}" if self.place is not None and self.model is not None else None
        path = self.saved_model or (kept if kept is not None and kept.is_file() else None)
        if path is None:
            show_warning("The model has not been saved yet; save it first.")
            return False
        _, predict = self.viewer.window.add_plugin_dock_widget(PLUGIN, PREDICT)
        return bool(predict.choose_model(path))

    def _ask_where(self) -> None:
        name = ask_file(self, "Save model", f"model{ENDING}", {ENDING: "Model"})
        if name and (path := self.save_model(name)):
            self.say_saved([path])
