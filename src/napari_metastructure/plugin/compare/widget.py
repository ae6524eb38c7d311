"""The Compare methods widget: many ways to segment the same images, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import napari
from napari.utils.notifications import show_error
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.events import MethodResult
from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.plugin.compare.job import CompareJob
from napari_metastructure.plugin.compare.live import CompareLive
from napari_metastructure.plugin.compare.method_layers import MethodLayers
from napari_metastructure.plugin.job import read_at_once
from napari_metastructure.plugin.latest import Latest
from napari_metastructure.plugin.sources import sources_of
from napari_metastructure.training.control import Control

RESULTS = 1


class CompareWidget(CompareLive):
    """Compare methods of segmentation on image layers, with ground truth or without.

    The buttons call `start`, `pause`, `resume`, `stop` and `save_results`; scripts may do the same, and
    ``picker.choose``, ``truth.choose``, ``methods.choose``, ``settings.fill`` and ``table.select``. What is wrong is
    said in one sentence by a napari notification, and `start` and `save_results` return False.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each comparison that began, however it ended.
    saved : Signal(list of Path)
        What `save_results` wrote; empty if it could not.
    results : tuple of MethodResult
        The runs that are done, of the comparison at work or the last one.
    failure : MetastructureError or None
        Why the last comparison failed.
    layers : MethodLayers or None
        The masks of the comparison at work or the last one.
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
        """Check what was chosen and run the methods in the background; False if something is wrong."""
        if self._is_busy():
            return False
        try:
            sources = sources_of(self.picker.chosen())
            labels = self.truth.truths()
            config = self.settings.config(self.methods.chosen())
            # Everything is checked before the thread starts, except what would take long to read.
            planes = read_at_once(sources)
        except InputError as error:
            return self._refuse(str(error))
        control = Control()
        self._reset(config, MethodLayers(self.viewer, sources, config))
        self._job = CompareJob(sources, labels, planes, config, control)
        self.runner.start(self._job, control, "The comparison")
        return True

    def save_results(self, folder: str | Path) -> bool:
        """Write tables and picture of the runs that are done, in the background; `saved` tells the end.

        Parameters
        ----------
        folder : path
            Made if it is not there. It gets ``results.csv``, ``table.csv``, ``agreement.csv`` (of two methods or
            more), ``table.md`` and ``compare.png``.
        """
        if not self.results or self._job is None:
            return self._refuse("There are no results yet; run first.")
        self._saving.ask(partial(write_results, Path(folder), self.results, self._job))
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

    def _reset(self, config: CompareConfig, layers: MethodLayers) -> None:
        """Make room for a new comparison."""
        if self.layers is not None:
            self.layers.hide()
        self._config, self.layers = config, layers
        self.results, self.failure = (), None
        self._going, self._newest = None, None
        self._end = self._why_stopped = self._warning = ""
        self.table.begin((), {}, False)
        self.agreement.begin(())
        for part in (self.table, self.agreement_heading, self.agreement):
            part.setVisible(False)
        self.save_button.setEnabled(False)
        self.progress.reset("Reading the images…")
        self.buttons.show_state("running")
        self._let_choose(False)
        self.tabs.setCurrentIndex(RESULTS)


def write_results(folder: Path, results: Sequence[MethodResult], job: CompareJob) -> list[Path]:
    """Write what `baselines.compare` writes into a folder; draws with matplotlib, which takes seconds.

    Raises
    ------
    InputError
        If the folder cannot be made or written to.
    """
    from napari_metastructure.baselines.figure import write_figure
    from napari_metastructure.baselines.scoring import agreement
    from napari_metastructure.baselines.table import write_csv, write_markdown
    from napari_metastructure.images.atomic import cannot_write

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    masks = dict(job.masks)  # the thread may add one meanwhile
    alike = agreement(masks)
    return [
        *write_csv(folder, results, alike),
        *write_markdown(folder, results, alike),
        write_figure(folder, job.planes, job.truths, masks, job.names),
    ]
