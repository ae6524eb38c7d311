"""Watch and steer the study that goes on: its events become curves, rows and bars, its buttons a control."""

from __future__ import annotations

from typing import Any

import napari
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels.verdict import verdict
from napari_metastructure.plugin.runner import Runner
from napari_metastructure.plugin.steering import Steering
from napari_metastructure.plugin.study.colors import condition_colors, on_dark
from napari_metastructure.plugin.study.curves import Key
from napari_metastructure.plugin.study.job import StudyJob
from napari_metastructure.plugin.study.layout import StudyLayout
from napari_metastructure.plugin.study.noisy_layers import NoisyLayers, Order
from napari_metastructure.training.events import BatchFinished, TrainEpoch, TrainStarted, Warned
from napari_metastructure.training.study.config import StudyConfig
from napari_metastructure.training.study.events import (
    ConditionFinished,
    ConditionStarted,
    StudyFinished,
    StudyStarted,
)
from napari_metastructure.training.study.results import RunResult


class StudyLive(Steering, StudyLayout):
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
        self.runner.batches.connect(self._on_batches)
        self.runner.told.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
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
