"""The Noise study widget: what networks learn from clean labels and from many kinds of noisy ones."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import napari
import numpy as np
from napari.layers import Layer
from qtpy import QtCore, QtWidgets

from napari_metastructure.errors import InputError, counted
from napari_metastructure.labels.readings import Reading
from napari_metastructure.labels.verdict import verdict
from napari_metastructure.networks import Architecture
from napari_metastructure.plugin import _inputs, _study_results
from napari_metastructure.plugin._conditions import ConditionsPanel
from napari_metastructure.plugin._estimate import Unknown, Work, study_estimate
from napari_metastructure.plugin._form import ModelForm, collapsed, tooltip, with_tip
from napari_metastructure.plugin._job_widget import Job, JobWidget, RunButtons
from napari_metastructure.plugin._layers import VisiblePlane
from napari_metastructure.plugin._pairs import LayerSet
from napari_metastructure.plugin._preferences import of_settings
from napari_metastructure.plugin._progress import ProgressPanel
from napari_metastructure.plugin._saving import ask_folder
from napari_metastructure.plugin._training_data import DataPanel, TrainingSettings
from napari_metastructure.plugin._worker import torch_beside_a_window
from napari_metastructure.training import events, study_results
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.pairs import Pair, TrainingSet

# ---- the job -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PairsRead:
    """The images trained on, with clean labels as classes, in the order of their noise, and the set they are of."""

    training: Sequence[Pair]
    given: TrainingSet

    def read_as(self, pair: Pair, reading: Reading) -> Any:
        """Return a pair's Labels layer and how it is read, see `LayerSet.read_as`; None of a file."""
        return self.given.read_as(pair, reading) if isinstance(self.given, LayerSet) else None

    def place(self, pair: Pair) -> VisiblePlane | None:
        """Return where a pair lies in the viewer; None if it comes from a file."""
        if not isinstance(self.given, LayerSet):
            return None
        source = self.given.layers[pair.group]
        index = self.given.numbers[pair.name]
        return VisiblePlane(source.layer, index, tuple(int(i) for i in np.unravel_index(index, source.leading)))


def study_job(make: Callable[[], TrainingSet], config: study_results.StudyConfig, folder: Path | None) -> Job:
    """Make the job of a study: it finds and reads the pairs, then trains on all conditions."""

    def job(control: Control) -> Iterator[events.Event | study_results.StudyEvent | PairsRead]:
        torch_beside_a_window()
        from napari_metastructure.training.study import study

        try:
            given = make()
            given, notes = given.read(config.train, control.checkpoint, copied=isinstance(given, LayerSet))
        except Stopped:
            yield study_results.StudyFinished(True, "Stopped by the user before the first run began.", ())
            return
        training, test = given.held(split_config(config.test_fraction, config.train.seed))
        yield PairsRead(training, given)
        yield from map(events.Warned, notes)
        yield from study(training, config, control, test=test, folder=folder)

    return job


def split_config(test_fraction: float, seed: int) -> TrainConfig:
    """Return settings by which a training keeps the images for validation that a study keeps for testing."""
    return TrainConfig(validation_fraction=test_fraction, seed=seed)


# ---- the form ----------------------------------------------------------------------------------------------


KEPT = ("epochs", "seed", "device")

WITHOUT = ("network", "validation_fraction", "patience", "reading")
"""The study sets these itself, or by the row of the labels."""

NETWORKS: tuple[Architecture, ...] = get_args(Architecture)


class StudySettings(QtWidgets.QWidget):
    """All of `StudyConfig` but its conditions; ``changed`` says that other images may be kept for testing."""

    changed = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self.networks = {name: QtWidgets.QCheckBox(name) for name in NETWORKS}
        self.repeats = ModelForm(study_results.StudyConfig, ("repeats",))
        self.train = TrainingSettings(("preset", *KEPT), WITHOUT, KEPT)
        self.more = ModelForm(study_results.StudyConfig, ("test_fraction", "bandwidth"))
        grid = QtWidgets.QGridLayout()
        grid.setSpacing(4)
        for place, box in enumerate(self.networks.values()):
            box.setToolTip(tooltip("Each ticked network is trained separately; light-unet suits small data and CPUs."))
            grid.addWidget(box, place // 2, place % 2)
        more = collapsed(
            "Test and prediction",
            self.more,
            "The images kept for testing, and how far around a pixel labels are counted.",
        )
        _inputs.column(grid, self.repeats, self.train, more, into=self)
        self.fill(study_results.StudyConfig())
        for form in (self.more, self.train.main):
            form.changed.connect(lambda _: self.changed.emit())

    def config(
        self, conditions: Sequence[study_results.Condition], reading: Reading = "auto"
    ) -> study_results.StudyConfig:
        """Return the settings as shown, for these conditions and labels that are read this way.

        Raises
        ------
        InputError
            If nothing is ticked where something has to be, or a value cannot be used.
        """
        networks = tuple(name for name, box in self.networks.items() if box.isChecked())
        if not networks:
            raise InputError("No network is chosen; tick at least one.")
        if not conditions:
            raise InputError("No condition is chosen; tick at least one.")
        return study_results.StudyConfig(
            conditions=tuple(conditions),
            networks=networks,
            train=self.train.config(reading=reading),
            **self.repeats.values(),
            **self.more.values(),
        )

    def fill(self, config: study_results.StudyConfig) -> None:
        """Show these settings."""
        for name, box in self.networks.items():
            box.setChecked(name in config.networks)
        for form in (self.repeats, self.more):
            form.fill({name: getattr(config, name) for name in form.editors})
        self.train.fill(config.train)
        self.changed.emit()

    def split(self) -> TrainConfig:
        """Return what decides which images are kept for testing, see `split_config`."""
        return split_config(self.more.values()["test_fraction"], self.train.main.values()["seed"])


class StudyFolder(QtWidgets.QWidget):
    """A folder for tables and figure; empty means nowhere. A study that is in it goes on when Run is pressed."""

    def __init__(self) -> None:
        super().__init__()
        self.line = _inputs.PathEdit(
            "study folder (optional)",
            "Where the study keeps curves.csv, table.csv, study.png and study.svg, updated after each run. A study "
            "that is there already goes on with the runs it has not done.",
        )
        self.found = _inputs.yielding("Runs that a study in this folder has finished; Run does the rest of them.")
        self.load_button = with_tip(
            QtWidgets.QPushButton("Load settings"), "Take over conditions and settings of the study in this folder."
        )
        _inputs.column(self.line, _inputs.row(self.found, self.load_button), into=self)
        self.line.changed.connect(self.look)
        self.get, self.set = self.line.get, self.line.set
        self.look()

    def look(self) -> None:
        """Show whether the folder holds a study."""
        study = study_results.FoundStudy.find(self.get())
        for part in (self.found, self.load_button):
            part.setVisible(study is not None)
        if study is not None:
            self.found.setText(f"Holds {counted(study.runs, 'run')}")


# ---- the widget --------------------------------------------------------------------------------------------


RESULTS = 1
"""Number of the Results page."""


class StudyWidget(JobWidget):
    """Compare what networks learn from clean and noisy labels of the same images.

    The buttons call `start`, `pause`, `resume`, `stop`, `load_run_settings`, `show_labels` and `save_results`; scripts
    may do the same. None of them raises: what is wrong is said in one sentence by a napari notification, and the
    method returns False. See `JobWidget` for
    ``finished``, ``failure`` and ``saved``.

    Attributes
    ----------
    results : tuple of RunResult
        The finished runs of the current study or the last one.
    """

    name = "study"
    title = "The noise study"
    preparing = "Reading the images…"
    size = (450, 780)
    kept_in = " Tables and figure are in {}."

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(
            napari_viewer,
            RunButtons("Train on all conditions, one after the other, in the background."),
            ProgressPanel("Runs done, each a training on one kind of labels.", "Epochs of the current run."),
        )
        self.data = DataPanel(self.viewer, "test")
        self.data.reading.set("foreground")
        self.conditions = ConditionsPanel(self.viewer)
        self.settings = StudySettings()
        self.with_device = self.settings.train
        self.folder = StudyFolder()
        self.form = (self.data, self.conditions, self.settings, self.folder)
        self.curves = _study_results.StudyCurves(self.viewer)
        self.table = _study_results.StudyTable()
        self.labels = _study_results.NoisyLayers(self.viewer, self)
        self.image = with_tip(
            QtWidgets.QComboBox(),
            "The training image whose labels are shown, of the conditions ticked under Labels in the table.",
        )
        self.image.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.save_button = with_tip(
            QtWidgets.QPushButton("Save results…"),
            "Write curves.csv, table.csv, study.png and study.svg of the finished runs into a folder.",
        )
        self.save_button.setEnabled(False)
        self.results: tuple[study_results.RunResult, ...] = ()
        self._config = study_results.StudyConfig()
        self._read: PairsRead | None = None
        self._classes: tuple[int, ...] = ()
        self._current: tuple[_study_results.Key, list[float], list[float]] | None = (
            None  # the run, its scores and losses so far
        )
        self._runs = self._epochs = 0
        self._end = ""
        study = (
            *(_inputs.heading("Images and clean labels"), self.data, _inputs.heading("Conditions"), self.conditions),
            *(_inputs.heading("Networks and training"), self.settings, _inputs.heading("Folder"), self.folder),
        )
        labels_of = _inputs.row(QtWidgets.QLabel("Labels of"), self.image, wide=self.image)
        results = (self.curves, self.table, labels_of, self.save_button)
        self.tabs = _inputs.pages_above(
            self, {"Study": study, "Results": results}, self.tools, (self.buttons, self.progress)
        )
        self._connect()

    def _connect(self) -> None:
        self.folder.load_button.clicked.connect(lambda: self.load_run_settings())
        self.save_button.clicked.connect(self._ask_where)
        self.conditions.refused.connect(self.refuse)
        for changed in (self.data.changed, self.settings.changed):
            changed.connect(self._show_set)
        ticks = [box.toggled for box in self.settings.networks.values()]
        forms = [form.changed for form in (self.settings.repeats, *self.settings.train.forms)]
        self.estimate_at(self.conditions.changed, *ticks, *forms)
        inputs = (self.data.changed, self.conditions.changed, self.folder.line.changed, self.settings.more.changed)
        self.forget_refusal_at(*inputs, *ticks, *forms)
        self.table.curves_changed.connect(lambda: self.curves.show_only(self.table.hidden()))
        self.table.picked.connect(self.curves.emphasise)
        self.table.labels_changed.connect(self._show_labels)
        self.image.currentIndexChanged.connect(lambda _: self._show_labels())
        self.listen(self.viewer.events.theme, self._use_theme)
        self.release_with(self.data.release)
        self.conditions.free.toggled.connect(lambda _: _inputs.order_tabs(self))  # its dials are made then
        self._show_set()
        self.remember(
            {"settings": of_settings(study_results.StudyConfig, self.config, self.show_config)},
            lambda known: {"settings": {"train": known.settings(TrainConfig)}},
        )

    # ---- begin a study ---------------------------------------------------------------------------------------

    def prepare(self) -> Job:
        """Check what was chosen, and make room for a new study.

        A study that is in the folder already goes on with the runs it has not done.
        """
        given = self.data.given()
        config, folder = self.config(), self.folder.get()
        self._config, self._read, self.results = config, None, ()
        self._current, self._end = None, ""
        self.show_place(folder)
        if isinstance(given, LayerSet):
            self.reads(given.pixels)
            self.doubt(given.apart)
        self.labels.let_go()
        self.image.clear()
        self.curves.begin(config.networks, [c.name for c in config.conditions], config.train.epochs)
        self.table.begin(config.networks, config.conditions)
        self._use_colors()
        self.save_button.setEnabled(False)
        self.tabs.setCurrentIndex(RESULTS)
        return study_job(self.data.reader(given), config, folder)

    def config(self) -> study_results.StudyConfig:
        """Return conditions and settings as shown.

        Raises
        ------
        InputError
            If nothing is ticked where something has to be, or a value cannot be used.
        """
        return self.settings.config(self.conditions.conditions(), self.data.reading.get())

    def show_config(self, config: study_results.StudyConfig) -> None:
        """Show these conditions and settings."""
        self.settings.fill(config)
        self.data.reading.set(config.train.reading)
        self.conditions.choose(config.conditions)

    def made_layers(self) -> list[Layer]:
        """Return the noisy labels that are shown."""
        return list(self.labels.layers.values())

    def load_run_settings(self) -> bool:
        """Show conditions and settings of the study in the folder; False if they cannot be read."""
        if (study := study_results.FoundStudy.find(self.folder.get())) is None:
            return self.refuse("The folder holds no study whose settings could be loaded; choose one that does.")
        try:
            config = study.config()
        except InputError as error:
            return self.refuse(str(error))
        self.show_config(config)
        self.say("The settings are those of the study in the folder.")
        return True

    def _show_set(self) -> None:
        """Say what would be trained and tested on."""
        try:
            config = self.settings.split()
        except InputError:  # said at Run; meanwhile it may be half typed
            config = None
        self.data.show_set(config)
        self.ask_estimate()

    def to_estimate(self) -> Work | Unknown | None:
        """Return what finds out how long a study would take."""
        if (given := self.data.given()) is None:  # the folder is still being looked through
            return None
        config = self.settings.config(self.conditions.conditions(), self.data.reading.get())
        runs = dict.fromkeys(config.networks, len(config.conditions) * config.repeats)
        settings = config.train.model_copy(update={"patience": 0})
        return partial(study_estimate, settings, runs, *given.held(self.settings.split()))

    # ---- while it runs ---------------------------------------------------------------------------------------

    def on_batches(self, batches: list[events.BatchFinished]) -> None:
        """Move the lower bar."""
        newest = batches[-1]
        self._show_epoch(newest.epoch, newest.epoch - 1 + newest.batch / max(newest.batches, 1))

    def on_event(self, event: object) -> None:
        """Show curves, rows and bars of what the study reports."""
        match event:
            case PairsRead():
                self._read = event
            case study_results.StudyStarted():
                self._on_started(event)
            case study_results.ConditionStarted():
                self._current = (event.network, event.condition), [], []
                self.say(f"Run {event.number} of {event.runs}: {event.condition}, {event.network}, seed {event.seed}.")
                self.table.show_predicted(event.condition, event.predicted)
                self.table.explain(event.condition, event.predicted.sentence)
            case events.TrainStarted():
                self._epochs = event.epochs
                self._show_epoch(1, 0.0)
            case events.TrainEpoch():
                self._on_epoch(event)
            case study_results.ConditionFinished(result):
                self.results = (*self.results, result)
                self.table.show_results(self.results)
                self._end_run()
                self.progress.show_outer(len(self.results), self._runs, self._runs_done())
                self.save_button.setEnabled(True)
            case events.Warned(message):
                self.warn(message)
            case study_results.StudyFinished(reason=reason):
                self._end = reason

    def on_end(self) -> None:
        """Drop the run that was not finished: half a run is no result."""
        self._end_run()
        self.folder.look()

    def summary(self) -> str:
        """Say why the study ended, and where its files are."""
        return f"{self._end}{self.kept}"

    def _on_started(self, event: study_results.StudyStarted) -> None:
        """Show what an earlier study in the folder had done."""
        self._classes, self.results, self._runs = event.classes, event.done, event.runs
        self.progress.begin(len(event.done), event.runs, self._runs_done())
        self.say(f"{counted(event.training, 'image')} to train on, {event.test} to test on.")
        self.curves.name_score(len(event.classes))
        self.table.show_results(self.results)
        self.save_button.setEnabled(bool(self.results))
        for key in {(result.network, result.condition) for result in self.results}:
            self._draw(key)
        for condition in self._config.conditions:
            matrix = condition.recipe.transition(event.classes) if condition.recipe else None
            if matrix is not None:
                self.table.explain(condition.name, verdict(matrix).sentence)
        for pair in self._read.training if self._read is not None else ():
            self.image.addItem(pair.name)

    def _on_epoch(self, event: events.TrainEpoch) -> None:
        if self._current is None or event.validation is None:
            return
        key, scores, losses = self._current
        scores.append(event.validation.dice if len(self._classes) == 2 else event.validation.iou)
        losses.append(event.loss)
        self._show_epoch(event.epoch, float(event.epoch))
        self.table.show_score(key, scores[-1])
        self._draw(key)

    def _end_run(self) -> None:
        """Draw the finished runs of the current condition alone."""
        if self._current is not None:
            key, self._current = self._current[0], None
            self.table.end_run(key)
            self._draw(key)

    def _draw(self, key: _study_results.Key) -> None:
        """Draw the curves of one condition: of finished runs, and of the current one."""
        done = [result for result in self.results if (result.network, result.condition) == key]
        mine = self._current is not None and self._current[0] == key
        self.curves.show_runs(key, done, self._current[1:] if self._current is not None and mine else ((), ()))

    def _show_epoch(self, number: int, done: float) -> None:
        self.progress.show_inner(done, self._epochs, f"epoch {number} of {self._epochs}")

    def _runs_done(self) -> str:
        return f"{len(self.results)} of {counted(self._runs, 'run')}"

    def _use_theme(self) -> None:
        self.curves.use_theme()
        self.conditions.use_theme()
        self._use_colors()

    def _use_colors(self) -> None:
        colors = _study_results.condition_colors(self._config.conditions, _study_results.on_dark(self.viewer))
        self.curves.use_colors(colors)
        self.table.use_colors(colors)

    # ---- labels as layers, and files -------------------------------------------------------------------------

    def show_labels(self, conditions: list[str], image: str | None = None) -> bool:
        """Show the labels of these conditions as layers, and of no others; False if there are none yet.

        Parameters
        ----------
        conditions : list of str
        image : str, optional
            The training image; by default the one chosen.
        """
        if self._read is None:
            return self.refuse("There are no noisy labels yet; run first.")
        if image is not None and (at := self.image.findText(image)) >= 0:
            self.image.setCurrentIndex(at)
        self.table.show_labels(conditions)
        return True

    def _show_labels(self) -> None:
        """Show labels as the table and the box say."""
        number, shown = self.image.currentIndex(), self.table.labels_shown()
        if self._read is not None and number >= 0:
            conditions = [condition for condition in self._config.conditions if condition.name in shown]
            read, train = self._read, self._config.train
            pair = read.training[number]
            read_as = partial(read.read_as, pair, train.reading)
            drawn = (pair, number, conditions, train.seed, self._classes, read.place(pair), read_as)
            self.labels.show(_study_results.NoisyLabels(*drawn))

    def save_results(self, folder: str | Path) -> bool:
        """Write tables and figure of the finished runs, in the background; `saved` is emitted at the end.

        Parameters
        ----------
        folder : path
            Made if it is not there. It gets ``curves.csv``, ``table.csv``, ``study.png`` and ``study.svg``.
        """
        if not (results := self.results):
            return self.refuse("There are no results yet; run first.")

        def write() -> list[Path]:
            from napari_metastructure.training.study import write_results

            return write_results(Path(folder), results)

        self.save_in_background(write)
        return True

    def _ask_where(self) -> None:
        if folder := ask_folder(self, (study_results.CURVES, study_results.TABLE, *study_results.FIGURES)):
            self.save_results(folder)
