"""The noise study widget: from clean labels to what networks learn from many kinds of noisy ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import napari
import numpy as np
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QObject, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_metastructure import __version__
from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels.classes import Reading
from napari_metastructure.labels.recipes import apply
from napari_metastructure.labels.verdict import verdict
from napari_metastructure.plugin._conditions import ConditionsPanel
from napari_metastructure.plugin._form import ConfigPanel, ModelForm, choice_editor, collapsed, tooltip
from napari_metastructure.plugin._inputs import PathEdit, heading, pages_above
from napari_metastructure.plugin._job_widget import OneRun, ProgressPanel, RunButtons
from napari_metastructure.plugin._layers import ORIGIN, VisiblePlane, class_colormap
from napari_metastructure.plugin._pairs import LUMINANCE, LayerSet, PairsTable, set_of_rows
from napari_metastructure.plugin._study_results import Key, StudyCurves, StudyTable, condition_colors, on_dark
from napari_metastructure.plugin._training_data import READINGS
from napari_metastructure.plugin._worker import LatestOnly, Runner, torch_beside_a_window
from napari_metastructure.training import study_results as files
from napari_metastructure.training.config import PRESETS, TrainConfig
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import BatchFinished, TrainEpoch, TrainStarted, Warned
from napari_metastructure.training.pairs import Pair, TrainingSet, split
from napari_metastructure.training.run_folder import read_config
from napari_metastructure.training.study_results import (
    Condition,
    ConditionFinished,
    ConditionStarted,
    Network,
    RunResult,
    StudyConfig,
    StudyFinished,
    StudyStarted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer

    from napari_metastructure.networks.device import Device
    from napari_metastructure.training.events import Event
    from napari_metastructure.training.pairs import Pair
    from napari_metastructure.training.study_results import Condition, StudyEvent


# -------- What the background thread of a study does, from layers or files to events.


class StudyJob:
    """The study, as `Runner` wants it: call it in the thread.

    Attributes
    ----------
    training : sequence of Pair
        The images trained on, with clean labels as classes, in the order of their noise; there before the first event.
    """

    def __init__(
        self,
        make: Callable[[], TrainingSet],
        reading: Reading,
        config: StudyConfig,
        control: Control,
        folder: Path | None,
    ) -> None:
        self.make, self.reading, self.config, self.control, self.folder = make, reading, config, control, folder
        self.training: Sequence[Pair] = ()
        self._given: TrainingSet | None = None

    def __call__(self) -> Iterator[Event | StudyEvent]:
        """Find and read the pairs, then run the study."""
        torch_beside_a_window()
        from napari_metastructure.training.study import study

        try:
            self._given = self.make()
            given = _as_it_is_now(self._given.read_as(self.reading, self.config.train.classes), self.control.checkpoint)
        except Stopped:
            yield StudyFinished(True, "Stopped by the user before the first run began.", ())
            return
        held = given.validation
        if held is None:
            self.training, held = split(given.training, self.config.test_fraction, self.config.train.seed)
        else:
            self.training = given.training
        yield from study(self.training, self.config, self.control, test=held, folder=self.folder)

    def place(self, pair: Pair) -> VisiblePlane | None:
        """Where a pair lies in the viewer; None if it comes from a file."""
        source = self._given.layers.get(pair.group) if isinstance(self._given, LayerSet) else None
        if source is None:
            return None
        index = source.names().index(pair.name)
        return VisiblePlane(source.layer, index, tuple(int(i) for i in np.unravel_index(index, source.leading)))


def set_of_files(folder: Path) -> TrainingSet:
    """The set in a folder, with its images for testing (else those for validation) as the ones to validate on."""
    from napari_metastructure.training.folders import find_pairs

    found = find_pairs(folder)
    return TrainingSet(found.train, found.test or found.validation or None)


def _as_it_is_now(given: TrainingSet, checkpoint: Callable[[], None]) -> TrainingSet:
    """The same with labels as classes; those of layers are copied, so that painting on them changes no later run."""
    from napari_metastructure.training.pairs import clean_labels, is_mask, label_values

    masks = is_mask(label_values(given.pairs, checkpoint))

    def read(pair: Pair) -> Pair:
        checkpoint()
        if not isinstance(given, LayerSet):
            return replace(pair, read_labels=partial(clean_labels, pair, masks))
        return replace(pair, read_labels=_Held(np.array(clean_labels(pair, masks))))

    validation = None if given.validation is None else [read(pair) for pair in given.validation]
    return replace(given, training=[read(pair) for pair in given.training], validation=validation)


class _Held:
    """Reads labels that are in memory."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def __call__(self) -> np.ndarray:
        return self.labels


# -------- What a study is made on: layers of the viewer, or a folder, and what the numbers in the labels mean.


class DataPanel(QWidget):
    """Choose image layers with their labels, or a folder of files; the one whose tab is in front is taken."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pairs = PairsTable(viewer)
        self.folder = PathEdit(
            "folder with images and labels",
            "A folder with images/ and labels/ (or masks/), or with train/ and test/ and those two in each, or "
            "Cityscapes' tree; files are paired by name.",
        )
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.pairs, "Layers")
        self.tabs.addTab(_on_top(self.folder), "Folder")
        self.reading = choice_editor([])
        for reading, text in READINGS.items():
            self.reading.widget.addItem(text, reading)
        self.reading.widget.setToolTip(
            tooltip(
                "What the numbers in the labels mean. <b>Foreground and background</b>: 0 and one other number. "
                "<b>Objects</b>: numbered objects, all of them foreground. <b>Classes</b>: 0, 1, 2, … each a class. "
                "255 is unlabelled, except in masks of 0 and 255."
            )
        )
        self.reading.set("foreground")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.summary.setToolTip(
            tooltip("Rows that are used to validate are the test images. Without any, a share of the images is kept.")
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.tabs, self.summary, self.reading.widget):
            layout.addWidget(part)

    def use_folder(self, folder: Path | str) -> None:
        """Take the files in a folder."""
        self.folder.set(folder)
        self.tabs.setCurrentIndex(1)

    def show_set(self, fraction: float, seed: int) -> None:
        """Say what a study would train and test on, and mark the rows kept for testing.

        Parameters
        ----------
        fraction : float
            Share of the images that is kept where no row is used to validate.
        seed : int
        """
        text, kept = "The test split of the folder, else a share of its images, is kept for testing.", []
        if self.tabs.currentIndex() == 0:
            try:
                given = set_of_rows(self.pairs.rows, LUMINANCE)
            except InputError as error:
                text = str(error)
            else:
                training, test = given.training, given.validation
                why = "" if test is not None else " (kept by Test fraction)"
                if test is None:
                    training, test = split(training, fraction, seed)
                kept = [pair.group for pair in test]
                text = f"{len(training)} image{'s' * (len(training) != 1)} to train on, {len(test)} to test on{why}."
        self.summary.setText(text)
        self.pairs.show_kept(kept)

    def data(self) -> Callable[[], TrainingSet]:
        """What was chosen: of layers all that can be told without reading pixels is checked, files are found later.

        Raises
        ------
        InputError
            If nothing was, or something is wrong with it.
        """
        if self.tabs.currentIndex() == 0:
            chosen = set_of_rows(self.pairs.rows, LUMINANCE)
            return lambda: chosen
        folder = self.folder.get()
        if folder is None:
            raise InputError("No folder is chosen; name one with images and labels, or take layers.")
        return lambda: set_of_files(folder)


def _on_top(part: QWidget) -> QWidget:
    page = QWidget()
    layout = QVBoxLayout(page)
    layout.setContentsMargins(0, 4, 0, 0)
    layout.addWidget(part)
    layout.addStretch(1)
    return page


# -------- What a folder holds of an earlier study, read without torch.


@dataclass(frozen=True)
class EarlierStudy:
    """A study in a folder: how many runs it finished."""

    folder: Path
    runs: int

    @classmethod
    def find(cls, folder: Path | None) -> EarlierStudy | None:
        """The study in a folder, or None; looks, and never raises."""
        try:
            found = files.read(folder) if folder is not None else []
        except (InputError, OSError):
            found = []
        return cls(folder, len(found)) if folder is not None and found else None

    def config(self) -> StudyConfig:
        """The settings it was made with.

        Raises
        ------
        InputError
            If ``run.yaml`` is missing, damaged or of another kind of run.
        """
        return read_config(self.folder, StudyConfig)


# -------- Where a study is kept, and what can be done with one that is there already.


class FolderPanel(QWidget):
    """A folder for tables and figure; empty means nowhere. One with a study in it is gone on with."""

    load_settings = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = EarlierStudy
        self.line = PathEdit(
            "study folder (optional)",
            "Where the study keeps curves.csv, table.csv, study.png and study.svg, written anew after each run. A "
            "study that is there already goes on with the runs it has not done.",
        )
        self.found = QLabel()
        self.found.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # the button comes first
        self.found.setToolTip(tooltip("Runs that a study in this folder has finished; Run does the rest of them."))
        self.load_button = QPushButton("Load settings")
        self.load_button.setToolTip(tooltip("Take over conditions and settings of the study in this folder."))
        row = QHBoxLayout()
        row.addWidget(self.found)
        row.addWidget(self.load_button)
        layout = QVBoxLayout(self)
        for box in (row, layout):
            box.setContentsMargins(0, 0, 0, 0)
            box.setSpacing(4)
        layout.addWidget(self.line)
        layout.addLayout(row)
        self.line.changed.connect(self.look)
        self.load_button.clicked.connect(self.load_settings)
        self.look()

    def get(self) -> Path | None:
        """The folder, or None."""
        return self.line.get()

    def set(self, folder: Path | str | None) -> None:
        """Show this folder."""
        self.line.set(folder)
        self.look()

    def look(self) -> None:
        """See whether the folder holds a study."""
        study = self.kind.find(self.get())
        for part in (self.found, self.load_button):
            part.setVisible(study is not None)
        if study is not None:
            self.found.setText(f"Holds {study.runs} {'run' if study.runs == 1 else 'runs'}")


# -------- The bars of a study: runs done, and how far the one at work is.


class StudyProgress(ProgressPanel):
    """The upper bar counts runs, the lower one the epochs of the run at work; the time left is that of all runs."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "Runs done, each a training on one kind of labels.", "Epochs of the run at work.", parent=parent
        )
        self._runs = self._epochs = 0

    def start(self, event: StudyStarted) -> None:
        """Begin once the images are read; some runs may be done already."""
        self._runs = event.runs
        self.begin(len(event.done), event.runs, f"{len(event.done)} of {event.runs} runs")
        self.say(f"{event.training} images to train on, {event.test} to test on.")

    def run(self, event: ConditionStarted) -> None:
        """Name the run that begins."""
        self.say(f"Run {event.number} of {event.runs}: {event.condition}, {event.network}, seed {event.seed}.")

    def train(self, event: TrainStarted) -> None:
        """Show an empty bar: the network is built."""
        self._epochs = event.epochs
        self.show_inner(0.0, event.epochs, f"epoch 1 of {event.epochs}")

    def batch(self, event: BatchFinished) -> None:
        """Show a step."""
        done = event.epoch - 1 + event.batch / max(event.batches, 1)
        self.show_inner(done, self._epochs, f"epoch {event.epoch} of {self._epochs}")

    def trained(self, event: TrainEpoch) -> None:
        """Show an epoch."""
        self.show_inner(float(event.epoch), event.epochs, f"epoch {event.epoch} of {event.epochs}")

    def done(self, runs: int) -> None:
        """Show how many runs are done."""
        self.show_outer(runs, self._runs, f"{runs} of {self._runs} runs")


# -------- The settings of a study: networks and repeats in sight, the rest of each training collapsed.


MAIN = ("preset", "epochs", "seed", "device")

WITHOUT = ("network", "validation_fraction", "patience")
"""The study sets these itself."""

GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs"),
    "Training": (
        *("loss", "optimizer", "learning_rate", "schedule"),
        *("steps_per_epoch", "batch_size", "patch_size", "augment"),
    ),
}

NETWORKS: tuple[Network, ...] = get_args(Network)


class StudySettings(QWidget):
    """All of `StudyConfig` but its conditions; ``changed`` tells that what is kept for testing may be."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.networks = {name: QCheckBox(name) for name in NETWORKS}
        self.repeats = ModelForm(StudyConfig, ("repeats",))
        self.train = TrainingSettings()
        self.more = ModelForm(StudyConfig, ("test_fraction", "bandwidth"))
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, box in enumerate(self.networks.values()):
            box.setToolTip(tooltip("Each ticked network is trained by itself; light-unet suits small data and CPUs."))
            grid.addWidget(box, place // 2, place % 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(grid)
        for part in (self.repeats, self.train, collapsed("Test and prediction", self.more)):
            layout.addWidget(part)
        self.fill(StudyConfig())
        for form in (self.more, self.train.main):
            form.changed.connect(lambda _: self.changed.emit())

    def config(self, conditions: Sequence[Condition]) -> StudyConfig:
        """The settings as shown.

        Raises
        ------
        InputError
            If nothing is ticked where something has to be, or a value cannot be used.
        """
        networks = tuple(name for name, box in self.networks.items() if box.isChecked())
        if not networks:
            raise InputError("No network is chosen; tick one at least.")
        if not conditions:
            raise InputError("No condition is chosen; tick one at least.")
        return StudyConfig(
            conditions=tuple(conditions),
            networks=networks,
            train=self.train.config(),
            **self.repeats.values(),
            **self.more.values(),
        )

    def set_devices(self, devices: list[Device]) -> None:
        """Offer these devices."""
        self.train.set_devices(devices)

    def fill(self, config: StudyConfig) -> None:
        """Show these settings."""
        for name, box in self.networks.items():
            box.setChecked(name in config.networks)
        for form in (self.repeats, self.more):
            form.fill({name: getattr(config, name) for name in form.editors})
        self.train.fill(config.train)
        self.changed.emit()

    @property
    def kept(self) -> tuple[float, int]:
        """The share of the images kept for testing, and the seed of the split."""
        return float(self.more.values()["test_fraction"]), int(self.train.main.values()["seed"])


class TrainingSettings(ConfigPanel[TrainConfig]):
    """The settings of each training."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(TrainConfig, MAIN, GROUPS, WITHOUT, parent)

    def of_preset(self, preset: str) -> TrainConfig:
        """What a preset fills in; epochs where it says nothing of them, seed and device stay as they are."""
        shown = self.main.values()
        kept = {name: shown[name] for name in ("epochs", "seed", "device") if name not in PRESETS[preset]}
        return TrainConfig.from_preset(preset, **kept)


# -------- How the study widget looks: what to compare, what came out, and always in sight the buttons and bars.


class StudyLayout(QWidget):
    """Two pages, Study and Results, above the buttons and bars that both need."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.data = DataPanel(viewer)
        self.conditions = ConditionsPanel(viewer)
        self.settings = StudySettings()
        self.folder = FolderPanel()
        self.curves = StudyCurves(viewer)
        self.table = StudyTable()
        self.image = QComboBox()
        self.image.setToolTip(
            tooltip("The training image whose labels are shown, of the conditions ticked under Labels in the table.")
        )
        self.image.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.save_button = QPushButton("Save results…")
        self.save_button.setToolTip(
            tooltip("Write curves.csv, table.csv, study.png and study.svg of the runs that are done into a folder.")
        )
        self.buttons = RunButtons("Train on all conditions, one after the other, in the background.")
        self.progress = StudyProgress()

        study = (
            heading("Images and clean labels"),
            self.data,
            heading("Conditions"),
            self.conditions,
            heading("Networks and training"),
            self.settings,
            heading("Folder"),
            self.folder,
        )
        results = (self.curves, self.table, _row(QLabel("Labels of"), self.image), self.save_button)
        self.tabs = pages_above(self, {"Study": study, "Results": results}, (self.buttons, self.progress))
        self.save_button.setEnabled(False)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen; wide enough for the table."""
        return QSize(450, 780)


def _row(label: QLabel, box: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
    layout.addWidget(label)
    layout.addWidget(box, 1)
    return row


# -------- The labels that networks are trained on, as layers over one training image.


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What is to be shown.

    Attributes
    ----------
    pair : Pair
        A training image with its clean labels.
    number : int
        Its place among them, of which its noise is drawn.
    conditions : sequence of Condition
    seed : int
        Of the first repeat.
    classes : tuple of int
    place : VisiblePlane or None
        Where it lies in the viewer; None for a file, which is then shown itself.
    """

    pair: Pair
    number: int
    conditions: Sequence[Condition]
    seed: int
    classes: tuple[int, ...]
    place: VisiblePlane | None


@dataclass(frozen=True)
class Drawn:
    """The answer: pixels by condition, and the image if it is not in the viewer."""

    order: Order
    labels: Mapping[str, np.ndarray]
    image: np.ndarray | None


def draw(order: Order) -> Drawn:
    """Draw the labels anew, just as the study drew them: same recipe, seed and number."""
    clean = np.asarray(order.pair.read_labels())
    labels = {
        c.name: clean if c.recipe is None else apply(c.recipe, clean, order.seed, order.classes, first=order.number)
        for c in order.conditions
    }
    return Drawn(order, labels, None if order.place else np.asarray(order.pair.read_image()))


class NoisyLayers(QObject):
    """One Labels layer per condition asked for, drawn in the background; those not asked for any more go."""

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layers: dict[str, Layer] = {}
        self._image: Layer | None = None
        self._shown: tuple[Pair, int] | None = None
        self._latest = LatestOnly(self)
        self._latest.done.connect(self._on_drawn)
        self._latest.failed.connect(self._on_failed)

    @property
    def busy(self) -> bool:
        """Whether something is still to come."""
        return self._latest.busy

    def show(self, order: Order) -> None:
        """Show these labels and no others."""
        if self._shown != (order.pair, order.seed):
            self._remove(list(self.layers))
        self._remove([name for name in self.layers if all(name != c.name for c in order.conditions)])
        self._forget_gone()
        missing = [c for c in order.conditions if c.name not in self.layers]
        if not missing:
            self._latest.drop()
            return
        self._latest.ask(lambda: draw(order))

    def let_go(self) -> None:
        """Another study begins: what is shown stays and is the user's."""
        self._latest.drop()
        self.layers, self._image, self._shown = {}, None, None

    def _on_drawn(self, drawn: Drawn) -> None:
        order = drawn.order
        self._shown = order.pair, order.seed
        self._forget_gone()
        active = self.viewer.layers.selection.active
        if drawn.image is not None and self._image is None:
            origin = {"version": __version__, "source": order.pair.name}
            self._image = self.viewer.add_image(drawn.image, name=order.pair.name, metadata={ORIGIN: origin})
        where: dict[str, Any] = order.place.placement() if order.place else {}
        for condition in order.conditions:
            if condition.name not in self.layers:
                self.layers[condition.name] = self.viewer.add_labels(
                    drawn.labels[condition.name].astype(np.uint8, copy=False),
                    name=f"{order.pair.name} {condition.name}",
                    colormap=class_colormap(order.classes),
                    opacity=0.6,
                    metadata={ORIGIN: _origin(order, condition)},
                    **where,
                )
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def _on_failed(self, error: Exception) -> None:
        log.error("Noisy labels could not be drawn", exc_info=error)
        show_error(f"The labels could not be shown: {error}")

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            self._take_out(self.layers.pop(name))
        if not self.layers and self._image is not None:
            self._take_out(self._image)
            self._image = None

    def _take_out(self, layer: Layer) -> None:
        if layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _forget_gone(self) -> None:
        """The user may have taken layers out."""
        self.layers = {name: layer for name, layer in self.layers.items() if layer in self.viewer.layers}
        if self._image is not None and self._image not in self.viewer.layers:
            self._image = None


def _origin(order: Order, condition: Condition) -> dict[str, Any]:
    """How the labels were made."""
    return {
        "version": __version__,
        "image": order.pair.name,
        "condition": condition.name,
        "recipe": None if condition.recipe is None else condition.recipe.model_dump(mode="json"),
        "seed": order.seed,
        "number": order.number,
        "classes": list(order.classes),
    }


# -------- Watch and steer the study that goes on: its events become curves, rows and bars, its buttons a control.


class StudyLive(OneRun, StudyLayout):
    """The panels in step with one study at a time; `StudyWidget` begins studies and saves them."""

    settings: Any
    folder: Any
    progress: Any
    finished = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.results: tuple[RunResult, ...] = ()
        self.failure: MetastructureError | None = None
        self.runner = Runner(self)
        self.labels = NoisyLayers(viewer, self)
        self._config: StudyConfig | None = None
        self._job: StudyJob | None = None
        self._classes: tuple[int, ...] = ()
        self._going: tuple[Key, list[float], list[float]] | None = None
        self._end = self._where = ""
        self._connect()

    def _on_batches(self, batches: list[BatchFinished]) -> None:
        self.progress.batch(batches[-1])

    def _on_event(self, event: Any) -> None:
        match event:
            case StudyStarted():
                self._on_started(event)
            case ConditionStarted():
                key = event.network, event.condition
                self._going = key, [], []
                self.progress.run(event)
                self.table.show_predicted(key, event.predicted)
                self.table.explain(event.condition, event.predicted.sentence)
                self.table.show_going(key, None)
            case TrainStarted():
                self.progress.train(event)
            case TrainEpoch():
                self._on_epoch(event)
            case ConditionFinished(result):
                self.results = (*self.results, result)
                self._going = None
                self.table.show_results(self.results)
                self.table.show_going((result.network, result.condition), None)
                self._draw((result.network, result.condition))
                self.progress.done(len(self.results))
                self.save_button.setEnabled(True)
            case Warned(message):
                show_warning(message)
                self.progress.say(message)
            case StudyFinished():
                self._end = event.reason

    def _on_started(self, event: StudyStarted) -> None:
        """What an earlier study in the folder had done is shown at once."""
        assert self._job is not None
        assert self._config is not None
        self._classes, self.results = event.classes, event.done
        self.progress.start(event)
        self.curves.name_score(len(event.classes))
        self.table.show_results(self.results)
        self.save_button.setEnabled(bool(self.results))
        for key in {(result.network, result.condition) for result in self.results}:
            self._draw(key)
        for condition in self._config.conditions:
            matrix = condition.recipe.transition(event.classes) if condition.recipe else None
            if matrix is not None:
                self.table.explain(condition.name, verdict(matrix).sentence)
        for pair in self._job.training:
            self.image.addItem(pair.name)

    def _on_epoch(self, event: TrainEpoch) -> None:
        if self._going is None or event.validation is None:
            return
        key, scores, losses = self._going
        scores.append(event.validation.dice if len(self._classes) == 2 else event.validation.iou)
        losses.append(event.loss)
        self.progress.trained(event)
        self.table.show_going(key, scores[-1])
        self._draw(key)

    def _draw(self, key: Key) -> None:
        """The curves of one condition: runs that are done, and the one at work."""
        done = [result for result in self.results if (result.network, result.condition) == key]
        mine = self._going is not None and self._going[0] == key
        self.curves.show_runs(key, done, self._going[1:] if self._going is not None and mine else ((), ()))

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        if self._going is not None:  # half a run is no result
            key, self._going = self._going[0], None
            self.table.show_going(key, None)
            self.table.forget_going(key)
            self._draw(key)
        self.buttons.show_state("idle")
        self._let_choose(True)
        if failure is not None:
            show_error(str(failure))
            self.progress.end(str(failure))
        else:
            self.progress.end(f"{self._end}{self._where}")
        self.finished.emit()

    def _let_choose(self, free: bool) -> None:
        """What a study is made of cannot be changed while it goes on."""
        for part in (self.data, self.conditions, self.settings, self.folder):
            part.setEnabled(free)
        self.folder.look()

    # ---- labels as layers --------------------------------------------------------------------------------

    def show_labels(self, conditions: list[str], image: str | None = None) -> bool:
        """Show the labels of these conditions as layers, and of no others; False if there are none yet.

        Parameters
        ----------
        conditions : list of str
        image : str, optional
            The training image; by default the one chosen.
        """
        if self._job is None or not self._job.training:
            return self._refuse("There are no noisy labels yet; run first.")
        if image is not None and (at := self.image.findText(image)) >= 0:
            self.image.setCurrentIndex(at)
        self.table.show_labels(conditions)
        return True

    def _show_labels(self) -> None:
        """As the table and the box say."""
        if self._config is None or self._job is None or self.image.currentIndex() < 0:
            return
        shown, number = self.table.labels_shown(), self.image.currentIndex()
        conditions = [condition for condition in self._config.conditions if condition.name in shown]
        pair = self._job.training[number]
        seed = self._config.train.seed
        self.labels.show(Order(pair, number, conditions, seed, self._classes, self._job.place(pair)))

    # ---- what happens around it ------------------------------------------------------------------------

    def _connect(self) -> None:
        self._connect_buttons()
        self.folder.load_settings.connect(lambda: self.load_run_settings())
        self.runner.batches.connect(self._on_batches)
        self.runner.event_received.connect(self._on_event)
        self.runner.finished.connect(self._on_ended)
        self.conditions.refused.connect(self._refuse)
        for changed in (self.data.pairs.changed, self.data.tabs.currentChanged, self.settings.changed):
            changed.connect(lambda *_: self.data.show_set(*self.settings.kept))
        self.data.show_set(*self.settings.kept)
        self.table.curves_changed.connect(lambda: self.curves.show_only(self.table.hidden()))
        self.table.picked.connect(self.curves.emphasise)
        self.table.labels_changed.connect(self._show_labels)
        self.image.currentIndexChanged.connect(lambda _: self._show_labels())
        themes, on_theme, pairs = self.viewer.events.theme, self._use_theme, self.data.pairs
        themes.connect(on_theme)

        def release() -> None:
            """The viewer may outlive the widget and must not call it then."""
            pairs.release()
            themes.disconnect(on_theme)

        self.destroyed.connect(release)

    def _use_theme(self) -> None:
        self.curves.use_theme()
        self.conditions.use_theme()
        self._use_colors()

    def _use_colors(self) -> None:
        if self._config is not None:
            colors = condition_colors(self._config.conditions, on_dark(self.viewer))
            self.curves.use_colors(colors)
            self.table.use_colors(colors)

    def load_run_settings(self) -> bool:
        """Show conditions and settings of the study in the folder; False if they cannot be read."""
        study = self.folder.kind.find(self.folder.get())
        if study is None:
            return self._refuse("The folder holds no study whose settings could be loaded; choose one that does.")
        try:
            config = study.config()
        except InputError as error:
            return self._refuse(str(error))
        self.settings.fill(config)
        self.conditions.choose(config.conditions)
        self.progress.say("The settings are those of the study in the folder.")
        return True


RESULTS = 1


class StudyWidget(StudyLive):
    """Compare what networks learn from clean and noisy labels of the same images.

    The buttons call `start`, `pause`, `resume`, `stop`, `load_run_settings`, `show_labels` and `save_results`; scripts
    may do the same. None of them raises: what is wrong is said in one sentence by a napari notification, and the
    method returns False (or nothing).

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each study that began, however it ended.
    saved : Signal(list of Path)
        What `save_results` wrote; empty if it could not.
    results : tuple of RunResult
        The runs that are done, of the study at work or the last one.
    failure : MetastructureError or None
        Why the last study failed.
    """

    saved = Signal(list)

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self._saving = LatestOnly(self)
        self._saving.done.connect(self._on_saved)
        self._saving.failed.connect(self._on_not_saved)
        self.buttons.run.clicked.connect(lambda: self.start())
        self.save_button.clicked.connect(self._ask_where)

    def start(self) -> bool:
        """Check what was chosen and run the study in the background; False if something is wrong.

        A study that is in the folder already goes on with the runs it has not done.
        """
        if self._is_busy():
            return False
        try:
            make = self.data.data()
            config: StudyConfig = self.settings.config(self.conditions.conditions())
        except InputError as error:
            return self._refuse(str(error))
        folder, control = self.folder.get(), Control()
        self._job = StudyJob(make, self.data.reading.get(), config, control, folder)
        self._reset(config)
        self._where = f" Tables and figure are in {folder}." if folder else ""
        self.runner.start(self._job, control, "The noise study")
        return True

    def save_results(self, folder: str | Path) -> bool:
        """Write tables and figure of the runs that are done, in the background; `saved` tells the end.

        Parameters
        ----------
        folder : path
            Made if it is not there. It gets ``curves.csv``, ``table.csv``, ``study.png`` and ``study.svg``.
        """
        if not self.results:
            return self._refuse("There are no results yet; run first.")
        self._saving.ask(partial(write_results, Path(folder), self.results))
        return True

    def _ask_where(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save results into")
        if folder:
            self.save_results(folder)

    def _on_saved(self, paths: list[Path]) -> None:
        if not self.running:
            self.progress.say(f"Saved {', '.join(path.name for path in paths)} in {paths[0].parent}.")
        self.saved.emit(paths)

    def _on_not_saved(self, error: Exception) -> None:
        show_error(str(error) if isinstance(error, MetastructureError) else f"The results could not be saved: {error}")
        self.saved.emit([])

    def _reset(self, config: StudyConfig) -> None:
        """Make room for a new study."""
        self._config, self.results, self.failure = config, (), None
        self._going, self._end = None, ""
        self.labels.let_go()
        self.image.clear()
        self.curves.begin(config.networks, [c.name for c in config.conditions], config.train.epochs)
        self.table.begin(config.networks, config.conditions)
        self._use_colors()
        self.save_button.setEnabled(False)
        self.progress.reset("Reading the images…")
        self.buttons.show_state("running")
        self._let_choose(False)
        self.tabs.setCurrentIndex(RESULTS)


def write_results(folder: Path, results: Sequence[RunResult]) -> list[Path]:
    """Write what `training.study` writes into the folder of a study; draws with matplotlib, which takes seconds.

    Raises
    ------
    InputError
        If the folder cannot be made or written to.
    """
    from napari_metastructure.images.writing import cannot_write
    from napari_metastructure.training.study_figure import write_figure
    from napari_metastructure.training.study_results import write

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return [*write(folder, results), *write_figure(folder, results)]
