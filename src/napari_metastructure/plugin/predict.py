"""The Predict widget: labels and probabilities of layers or files by a model that was saved before."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import napari
import numpy as np
from napari.layers import Layer
from napari.utils.notifications import show_error, show_warning
from pydantic import BaseModel, ConfigDict, Field
from qtpy.QtCore import QSize, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_metastructure import __version__
from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.networks.batch import (
    FileRefused,
    FileWritten,
    PlanePredicted,
    PredictionEvent,
    PredictionFinished,
    PredictionProgress,
    PredictionStarted,
)
from napari_metastructure.plugin._form import ConfigPanel, tooltip
from napari_metastructure.plugin._inputs import FolderLine, LayerPicker, heading, lay_out
from napari_metastructure.plugin._job_widget import Clock, duration, set_bar
from napari_metastructure.plugin._layers import ORIGIN, class_colormap
from napari_metastructure.plugin._source import Layered
from napari_metastructure.plugin._worker import (
    LatestOnly,
    Runner,
    throttled,
    torch_beside_a_window,
    warm_up_in_background,
)
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Warned

if TYPE_CHECKING:
    from napari_metastructure.networks.batch import PredictionFinished
    from napari_metastructure.networks.model import Model


# -------- What a prediction can be told besides model and images.


class PredictSettings(BaseModel):
    """The form's fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, ... or mps.")
    channel: str | None = Field(
        None,
        description="For a model of one channel, which one of colour images (red, green, blue, alpha, luminance; by "
        "default the one it was trained on, else luminance) or of files with several channels (a number from 0).",
    )
    probability: bool = Field(
        True, description="Give the probability too: of the foreground, or of the class that was chosen."
    )
    ome: bool = Field(False, title="OME-TIFF", description="Write OME-TIFF instead of the ImageJ kind that Fiji reads.")
    overwrite: bool = Field(False, description="Replace results of the same names that are in the folder already.")

    @classmethod
    def from_preset(cls, preset: str = "default", **overrides: object) -> Self:
        """There is one preset: the defaults."""
        return cls.model_validate(overrides)


class PredictSettingsPanel(ConfigPanel[PredictSettings]):
    """The form; what concerns files only is collapsed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            PredictSettings, ("device", "channel", "probability"), {"Files": ("ome", "overwrite")}, parent=parent
        )


# -------- What the background thread of a prediction does: layers, or a folder of images.


@dataclass(frozen=True, slots=True)
class LayerPredicted:
    """One layer is done: arrays of `Layered.shape`."""

    layered: Layered
    labels: np.ndarray = field(repr=False)
    probability: np.ndarray | None = field(repr=False)
    classes: tuple[int, ...]
    model: str


Told = PredictionEvent | LayerPredicted | Warned

Job = Callable[[], Iterator[Any]]


def describe(path: Path) -> str:
    """What the model in a file or run folder is.

    Raises
    ------
    InputError
        If there is none.
    """
    return str(_load(path))


def layers_job(path: Path, layers: Sequence[Layer], settings: PredictSettings, control: Control) -> Job:
    """Predict image layers one after the other."""

    def go(model: Model, device: Any) -> Iterator[Told]:
        from napari_metastructure.networks.batch import blank_note, predict_planes

        chosen = [_layered(layer, model, settings.channel) for layer in layers]
        total, done, began, blank = sum(c.count for c in chosen), 0, time.perf_counter(), []
        yield PredictionStarted(str(model), len(chosen), str(device))
        for layered in chosen:
            labels, probability = _room(layered, settings.probability)
            for event in predict_planes(
                model, layered.planes(), layered.count, device, control.checkpoint, settings.probability
            ):
                match event:
                    case PlanePredicted():
                        _put(event.labels, labels, event.index)
                        _put(event.probability, probability, event.index)
                        blank += [event.name] if event.blank else []
                    case PredictionProgress():
                        yield replace(event, done=done + event.done, images=total)
            done += layered.count
            yield LayerPredicted(layered, labels, probability, model.use.classes, str(model.path))
        yield from (Warned(note) for note in blank_note(blank))
        model.release()
        yield PredictionFinished(False, len(chosen), time.perf_counter() - began)

    return _job(path, settings, go)


def folder_job(path: Path, images: Path, out: Path, settings: PredictSettings, control: Control) -> Job:
    """Predict the image files of a folder, and write what comes of them into another."""

    def go(model: Model, device: Any) -> Iterator[Told]:
        from napari_metastructure.images.files import list_images, output_stems
        from napari_metastructure.networks.batch import predict_files, targets_of

        with warnings.catch_warnings(record=True) as skipped:
            warnings.simplefilter("always", UserWarning)
            paths = list_images([images])
        yield from (Warned(str(note.message)) for note in skipped if note.category is UserWarning)
        targets = targets_of(
            paths,
            output_stems(paths),
            out,
            ome=settings.ome,
            probability=settings.probability,
            overwrite=settings.overwrite,
        )
        yield from predict_files(model, paths, targets, device, control.checkpoint, settings.channel)

    return _job(path, settings, go)


def _job(path: Path, settings: PredictSettings, go: Callable[[Any, Any], Iterator[Told]]) -> Job:
    """Load the model, then ``go``; a stop is an end like any other."""

    def job() -> Iterator[Told]:
        began = time.perf_counter()
        model = _load(path)
        from napari_metastructure.networks.device import resolve

        try:
            yield from throttled(go(model, resolve(settings.device)), _in_between)
        except Stopped:
            model.release()
            yield PredictionFinished(True, 0, time.perf_counter() - began)

    return job


def _layered(layer: Layer, model: Model, channel: str | None) -> Layered:
    """A layer as the model takes it: of RGB layers the colour it was trained on, if the user did not name one."""
    own = model.use.colour if getattr(layer, "rgb", False) else None
    return Layered.of(layer, model.use.channels, own if channel is None else channel)


def _load(path: Path) -> Model:
    torch_beside_a_window()
    from napari_metastructure.igtt.apply import load_model

    return load_model(path)


def _in_between(event: Told) -> bool:
    """Whether it tells of progress, and not of the end."""
    return isinstance(event, PredictionProgress) and event.done < event.images


def _put(plane: np.ndarray | None, result: np.ndarray | None, index: int) -> None:
    """A plane at its place, in C order of the axes before Y and X."""
    if plane is not None and result is not None:
        result.reshape(-1, *plane.shape)[index] = plane


def _room(layered: Layered, want_probability: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Arrays for the result."""
    try:
        probability = np.zeros(layered.shape, np.float32) if want_probability else None
        return np.zeros(layered.shape, np.uint8), probability
    except MemoryError:
        size = np.prod(layered.shape, dtype=float) * (5 if want_probability else 1) / 2**30
        raise InputError(
            f"The result of layer {layered.source.name!r} needs {size:.1f} GiB of memory; untick Probability, or "
            "predict its file by the folder."
        ) from None


# -------- Which model: a run folder or a file, and a line that says what it is.


PAUSE_MS = 300
"""A path is looked at once nothing was typed for so long."""


class ModelLine(QWidget):
    """A line of text and two file dialogs; ``described`` tells that the line below is of the model that is named.

    Attributes
    ----------
    known : bool
        Whether there is a model at that path, as far as it was looked at.
    """

    described = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.known = False
        self.line = QLineEdit()
        self.line.setPlaceholderText("run folder, or a model file in one")
        self.line.setClearButtonEnabled(True)
        self.folder_button, self.file_button = QPushButton("Folder…"), QPushButton("File…")
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for column, part in enumerate((self.line, self.folder_button, self.file_button)):
            part.setToolTip(tooltip("The folder of an iGTT run or of a training, or its model.safetensors."))
            layout.addWidget(part, 0, column)
        layout.setColumnStretch(0, 1)
        layout.addWidget(self.facts, 1, 0, 1, 3)
        self._latest = LatestOnly(self)
        self._latest.done.connect(partial(self._show, known=True))
        self._latest.failed.connect(partial(self._show, known=False))
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.timeout.connect(self._look)
        self.line.textChanged.connect(self._on_text)
        self.folder_button.clicked.connect(self._ask_folder)
        self.file_button.clicked.connect(self._ask_file)

    def get(self) -> Path | None:
        """The path, or None."""
        text = self.line.text().strip()
        return Path(os.path.expanduser(text)) if text else None  # pathlib's own raises at a "~" it does not know

    def set(self, path: Path | str | None) -> None:
        """Show this path."""
        self.line.setText("" if path is None else str(path))

    def _on_text(self) -> None:
        self.known = False
        self._latest.drop()
        self.facts.setText("")
        self._pause.start()

    def _look(self) -> None:
        if (path := self.get()) is not None:
            self.facts.setText("Looking at the model…")
            self._latest.ask(partial(describe, path))

    def _show(self, said: object, known: bool) -> None:
        self.known = known
        self.facts.setText(str(said))
        self.described.emit()

    def _ask_folder(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Run folder", self.line.text()):
            self.set(path)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Model", self.line.text(), "Models (*.safetensors)")
        if path:
            self.set(path)


# -------- One bar for all planes or files, the time left, and a line that says what is going on.


STEPS = 1000
"""Parts of the bar: rows of tiles move it, not only whole images."""


class PredictProgress(QWidget):
    """Shows `PredictionProgress`; a plain text line says the rest."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar, self.left, self.status = QProgressBar(), QLabel(), QLabel("Ready.")
        self.bar.setToolTip(tooltip("Planes or files that are done."))
        self.status.setWordWrap(True)
        self.clock = Clock()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.bar, self.left, self.status):
            layout.addWidget(part)
        self.reset("Ready.")

    def reset(self, text: str) -> None:
        """An empty bar, and a text."""
        set_bar(self.bar, 0, STEPS, "")
        self.left.setText("")
        self.say(text)

    def say(self, text: str) -> None:
        """Show a sentence."""
        self.status.setText(text)

    def begin(self) -> None:
        """The first image begins now."""
        self.clock.start()

    def show_done(self, event: PredictionProgress) -> None:
        """So much is done."""
        share = event.done / max(event.images, 1)
        set_bar(self.bar, round(STEPS * share), text=f"{int(event.done)} of {event.images}")
        left = self.clock.left(share)
        if left is not None and share < 1:
            self.left.setText(f"{duration(left)} left")
        self.say(event.name)

    def end(self, text: str) -> None:
        """It is over; the bar stays where it is."""
        self.left.setText("")
        self.say(text)


# -------- How the Predict widget looks; what it does is in `widget`.


class PredictLayout(QWidget):
    """The panels, top to bottom in the order they are used."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.model = ModelLine()
        self.picker = LayerPicker(viewer, "Images to label: 2D, or stacks of any axes, taken plane by plane.")
        self.images = FolderLine("folder of images", "Every image file in it is labelled, not those in its subfolders.")
        self.out = FolderLine(
            "folder for the results", "Gets <stem>_mask.tif and <stem>_probability.tif of each image."
        )
        self.where = QTabWidget()
        self.where.addTab(_page(self.picker), "Layers")
        self.where.addTab(_page(self.images, self.out), "Folder")
        self.settings = PredictSettingsPanel()
        self.predict_button, self.cancel_button = QPushButton("Predict"), QPushButton("Cancel")
        self.predict_button.setToolTip(
            tooltip("Label the ticked layers, or the images of the folder, in the background.")
        )
        self.cancel_button.setToolTip(tooltip("End it at the next tile; what is done already stays."))
        self.progress = PredictProgress()
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.predict_button)
        row.addWidget(self.cancel_button)
        parts = (heading("Model"), self.model, heading("Images"), self.where, heading("Settings"), self.settings)
        lay_out(self, (*parts, buttons, self.progress))

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Fits within a small laptop's screen."""
        return QSize(380, 560)


def _page(*parts: QWidget) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(4, 4, 4, 4)
    column.setSpacing(4)
    for part in parts:
        column.addWidget(part)
    column.addStretch(1)
    return page


# -------- What a prediction leaves: layers over their sources, and a sentence that says what was done.


def add_layers(viewer: napari.Viewer, event: LayerPredicted) -> list[Layer]:
    """Lay probability (hidden, it would cover the image) and labels over the layer they were predicted from."""
    source, made = event.layered.source, []
    origin = {"version": __version__, "source": source.name, "model": event.model, "classes": event.classes}
    more: dict[str, Any] = {"metadata": {ORIGIN: origin}, **event.layered.placement()}
    if event.probability is not None:
        name = f"{source.name} probability"
        look: dict[str, Any] = {"contrast_limits": (0, 1), "colormap": "magma", "visible": False}
        made.append(viewer.add_image(event.probability, name=name, **look, **more))
    name, colors = f"{source.name} prediction", class_colormap(event.classes)
    look = {"colormap": colors, "opacity": 0.6, "visible": source.layer.visible}
    made.append(viewer.add_labels(event.labels, name=name, **look, **more))
    return made


def summary(result: PredictionFinished, layers: int, written: Sequence[Path], refused: Sequence[str]) -> str:
    """What came of it, in a sentence or two."""
    if result.stopped:
        done = f" {len(written)} files were written." if written else f" {layers} layers were made." if layers else ""
        return f"Cancelled.{done}"
    images = "1 image" if result.images == 1 else f"{result.images} images"
    where = f" into {written[0].parent}" if written else ""
    bad = f" {len(refused)} could not be used: {refused[0]}" if refused else ""
    return f"{images} predicted in {result.seconds:.1f} s{where}.{bad}"


LAYERS, FOLDER = 0, 1
"""The tabs."""


class PredictWidget(PredictLayout):
    """Apply a saved model to image layers or to a folder of images.

    The buttons call `start` and `cancel`; scripts may do the same, and `choose_model`, `choose_layers`,
    `choose_folders` and `set`. None of them raises: what is wrong is said in one sentence by a napari notification
    and in the widget, and the method returns False.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each prediction that began, however it ended.
    result : PredictionFinished or None
        How the last one ended; None while it goes on, or if it failed.
    failure : MetastructureError or None
        Why the last one failed.
    made : list of Layer
        The layers of the last one.
    written : list of Path
        The files of the last one.
    refused : list of str
        Why files of the last one could not be used.
    """

    finished = Signal()

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.result: PredictionFinished | None = None
        self.failure: MetastructureError | None = None
        self.made: list[Layer] = []
        self.written: list[Path] = []
        self.refused: list[str] = []
        self._asked_devices = False
        self.runner = Runner(self)
        self.runner.event_received.connect(self._on_event)
        self.runner.finished.connect(self._on_ended)
        self.predict_button.clicked.connect(lambda: self.start())
        self.cancel_button.clicked.connect(lambda: self.cancel())
        self.destroyed.connect(self.picker.release)
        self._let_choose(True)

    # ---- for scripts -------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True from a successful `start` until `finished`."""
        return self.runner.running

    def choose_model(self, path: Path | str | None) -> bool:
        """Take the model of a run folder or file; what it is is said below the line a moment later."""
        self.model.set(path)
        return True

    def choose_layers(self, layers: Sequence[Layer]) -> bool:
        """Tick these image layers and no others, and predict layers."""
        try:
            self.picker.choose(layers)
        except InputError as error:
            return self._refuse(str(error))
        self.where.setCurrentIndex(LAYERS)
        return True

    def choose_folders(self, images: Path | str, out: Path | str) -> bool:
        """Predict the image files of one folder into another."""
        self.images.set(images)
        self.out.set(out)
        self.where.setCurrentIndex(FOLDER)
        return True

    def set(self, **settings: Any) -> bool:
        """Change settings, those of `PredictSettings`: ``set(device="cpu", probability=False)``."""
        try:
            self.settings.fill(self.settings.config(**settings))
        except InputError as error:
            return self._refuse(str(error))
        return True

    def start(self) -> bool:
        """Predict in the background what is chosen; False if something is wrong."""
        if self.running:
            show_warning("A prediction is going on; cancel it first.")
            return False
        control = Control()
        try:
            job = self._job(control)
        except InputError as error:
            return self._refuse(str(error))
        self.result, self.failure = None, None
        self.made, self.written, self.refused = [], [], []
        self._let_choose(False)
        self.progress.reset("Loading the model…")
        self.runner.start(job, control, "The prediction")
        return True

    def cancel(self) -> bool:
        """End the prediction at its next tile, and keep what is done; False if none is going on."""
        if not self.running:
            return False
        self.runner.stop()
        self.cancel_button.setEnabled(False)
        self.progress.say("Stopping…")
        return True

    # ---- what the thread says -----------------------------------------------------------------------------

    def _job(self, control: Control) -> Any:
        """What is to be done, as far as that can be checked without waiting."""
        settings, model = self.settings.config(), self.model.get()
        if model is None:
            raise InputError("No model is chosen; name a run folder, or a model file in one.")
        if self.where.currentIndex() == LAYERS:
            layers = self.picker.chosen()
            if not layers:
                raise InputError("No image layer is chosen; open an image and tick its layer in the list.")
            return layers_job(model, layers, settings, control)
        images, out = self.images.get(), self.out.get()
        if images is None or out is None:
            raise InputError("Two folders are needed: one with the images, and one for the results.")
        if not images.is_dir():
            raise InputError(f"There is no folder {images}; choose one with images.")
        return folder_job(model, images, out, settings, control)

    def _on_event(self, event: Told) -> None:
        match event:
            case PredictionStarted():
                self.progress.begin()
                self.progress.say(f"{event.model}; on {event.device}.")
            case PredictionProgress():
                if self.cancel_button.isEnabled():
                    self.progress.show_done(event)
            case LayerPredicted():
                self.made += add_layers(self.viewer, event)
            case FileWritten():
                self.written += event.written
                for note in event.notes:
                    show_warning(note)
            case FileRefused():
                self.refused.append(event.why)
                show_warning(event.why)
            case Warned():
                show_warning(event.message)
            case PredictionFinished():
                self.result = event

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        self._let_choose(True)
        if failure is not None:
            show_error(str(failure))
            self.progress.end(str(failure))
        elif self.result is not None:
            self.progress.end(summary(self.result, len(self.made), self.written, self.refused))
        self.finished.emit()

    # ---- what happens around it ---------------------------------------------------------------------------

    def _let_choose(self, free: bool) -> None:
        """What a prediction is made of cannot be changed while it goes on."""
        for part in (self.model, self.where, self.settings, self.predict_button):
            part.setEnabled(free)
        self.cancel_button.setEnabled(not free)

    def _refuse(self, why: str) -> bool:
        show_error(why)
        if not self.running:
            self.progress.say(why)
        return False

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Look for devices once, in the background: that imports torch, which takes seconds."""
        super().showEvent(event)
        if not self._asked_devices:
            self._asked_devices = True
            warm_up_in_background(self.settings.set_devices)
