"""The Predict widget: labels and probabilities of layers or files by a model that was saved before."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_warning
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QTabWidget
from superqt.utils import QSignalDebouncer

from napari_metastructure.batch.recipe import PredictSettings
from napari_metastructure.errors import InputError, counted
from napari_metastructure.networks import batch
from napari_metastructure.networks.model import Model, find_model
from napari_metastructure.plugin import _inputs
from napari_metastructure.plugin._batch import FolderBatch
from napari_metastructure.plugin._estimate import Work, predict_estimate
from napari_metastructure.plugin._form import ConfigPanel
from napari_metastructure.plugin._job_widget import Job, JobWidget, RunButtons
from napari_metastructure.plugin._layer_order import add_above, bring_to_front, earlier
from napari_metastructure.plugin._layers import PLANES, class_colormap, hide_earlier, made_from, result_name
from napari_metastructure.plugin._preferences import Value, of_path, of_settings
from napari_metastructure.plugin._progress import ProgressPanel
from napari_metastructure.plugin._ranges import RangeRows
from napari_metastructure.plugin._source import ModelLayer, Source
from napari_metastructure.plugin._worker import LatestOnly, throttled, torch_beside_a_window
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Warned

# ---- what the background thread does ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LayerPredicted:
    """One layer is done: arrays of `PlaneAxes.result`."""

    model_layer: ModelLayer
    labels: np.ndarray = field(repr=False)
    probability: np.ndarray | None = field(repr=False)
    classes: tuple[int, ...]
    model: str


def layers_job(path: Path, sources: Sequence[Source], settings: PredictSettings) -> Job:
    """Make the job that predicts image layers one after the other by the model in a file or run folder."""

    def predict(
        model: Model, device: Any, control: Control
    ) -> Iterator[batch.PredictionEvent | LayerPredicted | Warned]:
        from napari_metastructure.images.surround import missing_notes
        from napari_metastructure.networks.batch import predict_planes

        chosen = [_model_layer(source, model, settings.channel) for source in sources]
        total, done, began = sum(len(c.places) for c in chosen), 0, time.perf_counter()
        shares: list[tuple[str, float]] = []
        yield batch.PredictionStarted(str(model), len(chosen), str(device))
        for model_layer in chosen:
            labels, probability = _empty_result(model_layer, settings.probability)
            for event in predict_planes(
                model, model_layer.planes(), len(model_layer.places), device, control.checkpoint, settings.probability
            ):
                match event:
                    case batch.PlanePredicted():
                        number = (
                            event.index if model_layer.source.kept is None else model_layer.source.kept[event.index]
                        )
                        _put(event.labels, labels, number)
                        _put(event.probability, probability, number)
                        shares.append((event.name, event.missing))
                    case batch.PredictionProgress():
                        yield replace(event, done=done + event.done, images=total)
            done += len(model_layer.places)
            yield LayerPredicted(model_layer, labels, probability, model.use.classes, str(model.path))
        yield from map(Warned, missing_notes(shares))
        model.release()
        yield batch.PredictionFinished(False, len(chosen), time.perf_counter() - began)

    return partial(_with_model, path, settings.device, predict)


def _with_model(
    path: Path, device: str, predict: Callable[[Any, Any, Control], Iterator[Any]], control: Control
) -> Any:
    """Load the model and predict; a stop is an end like any other."""
    began = time.perf_counter()
    model = _load(path)
    from napari_metastructure.networks.device import resolve

    try:
        yield from throttled(predict(model, resolve(device), control), _is_on_the_way)
    except Stopped:
        model.release()
        yield batch.PredictionFinished(True, 0, time.perf_counter() - began)


def _load(path: Path) -> Model:
    torch_beside_a_window()
    from napari_metastructure.igtt.apply import load_model

    return load_model(path)


def _is_on_the_way(event: object) -> bool:
    """Whether an event says how far it is, and not that it is all done."""
    return isinstance(event, batch.PredictionProgress) and event.done < event.images


def _model_layer(source: Source, model: Model, channel: str | None) -> ModelLayer:
    """See a layer as the model takes it: of RGB layers the colour it was trained on, if the user did not name one."""
    own = model.use.colour if source.layer.rgb else None
    return ModelLayer.of(source, model.use.channels, own if channel is None else channel)


def _put(plane: np.ndarray | None, result: np.ndarray | None, index: int) -> None:
    """Put a plane at its place, in C order of the axes before Y and X."""
    if plane is not None and result is not None:
        result.reshape(-1, *plane.shape)[index] = plane


def _empty_result(model_layer: ModelLayer, want_probability: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Make arrays for the result."""
    try:
        probability = np.zeros(model_layer.axes.result, np.float32) if want_probability else None
        return np.zeros(model_layer.axes.result, np.uint8), probability
    except MemoryError:
        size = np.prod(model_layer.axes.result, dtype=float) * (5 if want_probability else 1) / 2**30
        raise InputError(
            f"The result of layer {model_layer.source.name!r} needs {size:.1f} GiB of memory; untick Probability, or "
            "predict its file by the folder."
        ) from None


# ---- the widget --------------------------------------------------------------------------------------------------


class ModelLine(_inputs.PathEdit):
    """Name a run folder or model file; a line below says what the model is, and ``described`` that it does.

    Attributes
    ----------
    known : bool
        Whether there is a model at that path, as far as it was looked at.
    """

    described = Signal()

    def __init__(self) -> None:
        tip = "The folder of an iGTT run or of a training, or its model.safetensors."
        super().__init__("run folder, or a model file in one", tip, "Models (*.safetensors)")
        self.known = False
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        self._latest = LatestOnly(self)
        self._latest.done.connect(partial(self._show, known=True))
        self._latest.failed.connect(partial(self._show, known=False))
        self._pause = QSignalDebouncer(parent=self)
        self._pause.setTimeout(300)  # ms since the last key
        self._pause.triggered.connect(self._look)
        self.changed.connect(self._on_path)

    def _on_path(self) -> None:
        self.known = False
        self._latest.drop()
        self.facts.setText("")
        self._pause.throttle()

    def _look(self) -> None:
        if (path := self.get()) is not None:
            self.facts.setText("Looking at the model…")
            self._latest.ask(lambda: str(_load(path)))

    def _show(self, said: object, known: bool) -> None:
        self.known = known
        self.facts.setText(str(said))
        self.described.emit()


def add_layers(viewer: napari.Viewer, event: LayerPredicted) -> list[Layer]:
    """Lay the probability (hidden, it would cover the image) and labels over the layer they were predicted from."""
    source, made = event.model_layer.source, list[Layer]()
    planes = {PLANES: source.note} if source.note else {}
    origin = made_from(source.layer, model=event.model, classes=event.classes, **planes)
    more: dict[str, Any] = {"metadata": origin, **event.model_layer.placement()}
    if event.probability is not None:
        name = result_name(source.name, "probability")
        look: dict[str, Any] = {"contrast_limits": (0, 1), "colormap": "magma", "visible": False}
        made.append(Image(event.probability, name=name, **look, **more))
    name, colors = result_name(source.name, "prediction"), class_colormap(event.classes)
    look = {"colormap": colors, "opacity": 0.6, "visible": source.layer.visible}
    made.append(Labels(event.labels, name=name, **look, **more))
    for how in ("model", "trained"):
        hide_earlier(viewer.layers, source.layer, how)
    for layer in made:
        # other planes, another channel, or a model trained anew are another result
        made_before = earlier(viewer, layer, source.layer, "model")
        before = [other for other in made_before if np.array_equal(other.data, layer.data)]
        add_above(viewer, source.layer, layer, event.model_layer.placement, before)
    return made


def summary(result: batch.PredictionFinished, layers: int) -> str:
    """Say what came of it, in a sentence or two."""
    if result.stopped:
        return f"Cancelled.{' 1 layer was made.' if layers == 1 else f' {layers} layers were made.' if layers else ''}"
    return f"{counted(result.images, 'image')} predicted in {result.seconds:.1f} s."


LAYERS, FOLDER = 0, 1
"""The tabs."""


class PredictWidget(JobWidget):
    """Apply a saved model to image layers, or to a folder of images by a batch.

    The buttons call `start`, `pause`, `resume` and `cancel`; scripts may do the same, and `choose_model`,
    `choose_layers`, `choose_folders` and `set`; folders are done by `batch`. None of them raises: what is wrong is said
    in one sentence by a napari notification and in the widget, and the method returns False. See `JobWidget` for
    ``finished``, ``failure`` and ``saved``.

    Attributes
    ----------
    result : PredictionFinished or None
        How the last one ended; None while it goes on, or if it failed.
    made : list of Layer
        The layers of the last one.
    batch : FolderBatch
        What does a folder.
    """

    name = "predict"
    title = "The prediction"
    preparing = "Loading the model…"
    stopping = "Stopping…"
    size = (380, 560)

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(
            napari_viewer,
            RunButtons(
                "Label the ticked layers, in the background.",
                *("Predict", "Cancel", "Stop at the next tile; what is done is kept."),
            ),
            ProgressPanel("Planes that are done."),
        )
        self.result: batch.PredictionFinished | None = None
        self.made: list[Layer] = []
        self.model = ModelLine()
        self.picker = _inputs.LayerPicker(
            self.viewer, "Images to label: 2D, or stacks of any axes, taken plane by plane."
        )
        self.ranges = RangeRows("labelled")
        self.batch = FolderBatch(self._task, "images", "<stem>_mask.tif and <stem>_probability.tif")
        self.where = QTabWidget()
        for name, part in {"Layers": self.picker, "Folder": self.batch}.items():
            page = _inputs.column(part, margin=4)
            page.layout().addStretch(1)
            self.where.addTab(page, name)
        self.where.currentChanged.connect(self._on_tab)
        self.with_device = self.settings = ConfigPanel(
            PredictSettings, ("device", "channel", "probability"), {"Files": ("ome",)}
        )
        self.form = (self.model, self.where, self.ranges, self.settings)
        self.release_with(self.picker.release)
        forms = [form.changed for form in self.settings.forms]
        inputs = (self.model.changed, self.picker.picked, self.where.currentChanged, self.ranges.changed, *forms)
        self.forget_refusal_at(*inputs)
        self.picker.picked.connect(self._show_ranges)
        self._show_ranges()
        self.estimate_at(*inputs, self.model.described)
        model = (_inputs.row(_inputs.heading("Model"), self.tools), self.model, self.model.facts)
        images = (_inputs.heading("Images"), self.where, self.ranges, _inputs.heading("Settings"), self.settings)
        _inputs.lay_out(self, (*model, *images), (self.buttons, self.progress))
        paths = {"model": of_path(self.model), "images": of_path(self.batch.inputs), "out": of_path(self.batch.out)}
        where = Value(self.where.currentIndex, self.where.setCurrentIndex)
        settings = of_settings(PredictSettings, self.settings.config, self.settings.fill)
        self.remember(
            {"settings": settings, **paths, "where": where}, lambda known: {"settings": {"device": known.device}}
        )

    def made_layers(self) -> list[Layer]:
        """Return the layers of the last prediction."""
        return self.made

    # ---- for scripts -------------------------------------------------------------------------------------

    def choose_model(self, path: Path | str | None) -> bool:
        """Take the model of a run folder or file; what it is is said below the line a moment later."""
        self.model.set(path)
        return True

    def choose_layers(self, layers: Sequence[Layer]) -> bool:
        """Tick these image layers and no others, and predict layers."""
        try:
            self.picker.choose(layers)
        except InputError as error:
            return self.refuse(str(error))
        self.where.setCurrentIndex(LAYERS)
        return True

    def choose_folders(self, images: Path | str, out: Path | str) -> bool:
        """Predict the image files of one folder into another."""
        self.where.setCurrentIndex(FOLDER)
        return self.batch.choose(images, out)

    def set(self, **settings: Any) -> bool:
        """Change settings, those of `PredictSettings`: ``set(device="cpu", probability=False)``."""
        try:
            self.settings.fill(self.settings.config(**settings))
        except InputError as error:
            return self.refuse(str(error))
        return True

    def cancel(self) -> bool:
        """End the prediction at its next tile, and keep what is done; False if none is going on."""
        return self.stop()

    # ---- the prediction ------------------------------------------------------------------------------------

    def start(self) -> bool:
        """Label the ticked layers, or the folder if its page is open; False if something is wrong."""
        return self.batch.start() if self.where.currentIndex() == FOLDER else super().start()

    def prepare(self) -> Job:
        """Check what is chosen, as far as that takes no waiting."""
        settings, model, ranges = self.settings.config(), self._model(), self.ranges.get()
        if not (layers := self.picker.chosen()):
            raise InputError("No image layer is chosen; open an image and tick its layer in the list.")
        sources = [Source.of(layer, ranges) for layer in layers]
        self.reads((source.layer, source.data) for source in sources)
        bring_to_front(self.viewer, layers)
        self.result, self.made = None, []
        return layers_job(model, sources, settings)

    def to_estimate(self) -> Work | None:
        """Return what finds out how long a prediction would take; a folder says so after its first file."""
        if (model := self.model.get()) is None or not self.model.known or self.where.currentIndex() == FOLDER:
            return None
        sources = [Source.of(layer, self.ranges.get()) for layer in self.picker.chosen()]
        shapes = [(source.count, *source.shape[-2:]) for source in sources]
        return partial(predict_estimate, model, self.settings.config().device, shapes) if shapes else None

    def _model(self) -> Path:
        if (model := self.model.get()) is None:
            raise InputError("No model is chosen; name a run folder, or a model file in one.")
        return model

    def _task(self) -> dict[str, Any]:
        """Say what is done with each file of a folder."""
        model, chosen = find_model(self._model()), self.ranges.get()
        settings = self.settings.config().model_dump()
        return {"what": "predict", "model": model, **settings, "planes": chosen.planes, "frames": chosen.frames}

    def _show_ranges(self) -> None:
        self.ranges.show_layers(self.picker.chosen() if self.where.currentIndex() == LAYERS else None)

    def _on_tab(self, tab: int) -> None:
        """Show the buttons of the open page: a folder has its own."""
        self._show_ranges()
        for part in (self.buttons, self.progress):
            part.setVisible(tab == LAYERS)

    def on_event(self, event: object) -> None:
        """Show how far it is, and add what it made."""
        match event:
            case batch.PredictionStarted():
                self.progress.begin(0, event.images, f"0 of {event.images}")
                self.say(f"{event.model}; on {event.device}.")
            case batch.PredictionProgress():
                if self.buttons.stop.isEnabled():  # else "Stopping…" stands there
                    self.progress.show_outer(float(event.done), event.images, f"{int(event.done)} of {event.images}")
                    self.say(event.name)
            case LayerPredicted():
                self.made += add_layers(self.viewer, event)
            case Warned():
                show_warning(event.message)
            case batch.PredictionFinished():
                self.result = event

    def summary(self) -> str:
        """Say what came of it."""
        return "" if self.result is None else summary(self.result, len(self.made))
