"""Begin a run: check what was asked for, take over what an earlier run left, and start the thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import MAY_CHANGE, IGTTConfig
from napari_metastructure.plugin.earlier_run import EarlierRun
from napari_metastructure.plugin.igtt_live import IGTTLive
from napari_metastructure.plugin.job import igtt_job, read_planes
from napari_metastructure.plugin.layers import RunLayers
from napari_metastructure.plugin.sources import sources_of
from napari_metastructure.training.control import Control


class IGTTRun(IGTTLive):
    """Runs begin here, new or resumed."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self._loaded: Path | None = None  # the folder whose run's settings the form shows
        self.buttons.run.clicked.connect(lambda: self.start())
        self.folder.load_settings.connect(lambda: self.load_run_settings())
        self.folder.resume_run.connect(lambda: self.resume_run())

    def start(self) -> bool:
        """Check the ticked layers and run on them in the background; False if something is wrong."""
        folder = self.folder.get()
        if not self.running and (run := EarlierRun.find(folder)) is not None:
            if run.can_go_on:
                return self._refuse(
                    "The folder already holds a run; press Resume run to go on with it, or choose another folder."
                )
            return self._refuse("The folder already holds a run that saved no state; choose another folder.")
        return self._begin(self.picker.chosen(), folder)

    def load_run_settings(self) -> bool:
        """Show the settings that the run in the folder was made with; False if they cannot be read."""
        run = EarlierRun.find(self.folder.get())
        if run is None:
            return self._refuse("The run folder holds no run whose settings could be loaded; choose one that does.")
        try:
            self.settings.fill(run.config())
        except InputError as error:
            return self._refuse(str(error))
        self._loaded = run.folder
        self.progress.say("The settings are those of the run in the folder.")
        return True

    def resume_run(self) -> bool:
        """Go on with the run in the folder, on the ticked layers; False if something is wrong.

        Its settings are loaded first, unless they are shown already: then epochs, device and stop agreement are
        taken as they are shown.
        """
        run = EarlierRun.find(self.folder.get())
        if run is None or not run.can_go_on:
            return self._refuse("There is no run to go on with; choose a run folder that holds one (last.pt).")
        try:
            config = run.config()
            if self._loaded == run.folder:
                shown = self.settings.config()
                config = config.model_copy(update={name: getattr(shown, name) for name in MAY_CHANGE})
        except InputError as error:
            return self._refuse(str(error))
        if not self.running:
            config = config.model_copy(update={"epochs": max(config.epochs, run.epoch)})
            self.settings.fill(config)
            self._loaded = run.folder
        return self._begin(self.picker.chosen(), run.folder, run, config)

    def _begin(
        self,
        chosen: Sequence[napari.layers.Layer],
        folder: Path | None,
        earlier: EarlierRun | None = None,
        config: IGTTConfig | None = None,
        corrections: dict[int, np.ndarray] | None = None,
        start_masks: Sequence[np.ndarray] | None = None,
    ) -> bool:
        if self.running:
            show_warning("A run is going on; stop it first.")
            return False
        try:
            config = config or self.settings.config()
            sources = sources_of(chosen)
            # Everything is checked before the thread starts, except what would take long to read.
            planes = read_planes(sources) if all(source.eager for source in sources) else None
            layers = RunLayers(self.viewer, sources, config)
        except InputError as error:
            return self._refuse(str(error))
        if any(source.layer.rgb for source in sources):
            show_info("RGB images are reduced to their luminance.")
        control = Control()
        self._earlier, self._locked = earlier, corrections or {}
        self._where = f" The run is kept in {folder}." if folder else ""
        self._reset(layers)
        if folder is not None:
            self.folder.set(folder)
            self._loaded = folder
        given: dict[str, Any] = {"folder": folder, "corrections": corrections, "start_masks": start_masks}
        given["resume"] = earlier is not None
        self._opening, self._ready = layers.open(), threading.Event()
        self._turns.start(0)
        self.runner.start(igtt_job(sources, planes, config, control, given, self._ready), control, "The iGTT run")
        return True

    def _refuse(self, why: str) -> bool:
        show_error(why)
        if not self.running:
            self.progress.say(why)
        return False

    def _reset(self, layers: RunLayers) -> None:
        """Make room for a new run."""
        if self.layers is not None:
            self.layers.hide()
        layers.shown = self.results.shown()
        self.layers, self.result, self.failure = layers, None, None
        self._scores, self._kept, self._why_stopped = {}, [], ""
        self.curves.clear()
        self.progress.reset("Preparing…")
        self.buttons.show_state("running")
        self._let_choose(False)
        self.results.set_available(False)
