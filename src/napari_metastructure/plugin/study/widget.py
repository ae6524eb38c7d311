"""The noise study widget: from clean labels to what networks learn from many kinds of noisy ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import napari
from napari.utils.notifications import show_error
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.plugin.latest import Latest
from napari_metastructure.plugin.study.job import StudyJob
from napari_metastructure.plugin.study.live import StudyLive
from napari_metastructure.training.control import Control
from napari_metastructure.training.study.config import StudyConfig
from napari_metastructure.training.study.results import RunResult

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
        self._saving = Latest(self)
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
    from napari_metastructure.images.atomic import cannot_write
    from napari_metastructure.training.study.figure import write_figure
    from napari_metastructure.training.study.results import write

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return [*write(folder, results), *write_figure(folder, results)]
