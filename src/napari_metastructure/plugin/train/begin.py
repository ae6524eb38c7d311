"""Begin a run: check what was asked for, take over what an earlier run left, and start the thread."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import napari
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.train.job import train_job
from napari_metastructure.plugin.train.live import TrainLive
from napari_metastructure.plugin.train.sets import LUMINANCE, TrainingSet, check, read_as, set_of_folder
from napari_metastructure.training.config import MAY_CHANGE, TrainConfig
from napari_metastructure.training.control import Control


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
