"""Begin a run: check what was asked for, take over what an earlier run left, and start the thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import MAY_CHANGE, IGTTConfig
from napari_metastructure.plugin.earlier_run import FoundRun
from napari_metastructure.plugin.igtt_live import IGTTLive
from napari_metastructure.plugin.job import igtt_job, read_at_once
from napari_metastructure.plugin.layers import RunLayers
from napari_metastructure.plugin.sources import sources_of
from napari_metastructure.training.control import Control


class IGTTRun(IGTTLive):
    """Runs begin here, new or resumed."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.buttons.run.clicked.connect(lambda: self.start())
        self.folder.resume_run.connect(lambda: self.resume_run())

    def start(self) -> bool:
        """Check the ticked layers and run on them in the background; False if something is wrong."""
        folder = self.folder.get()
        if self._is_taken(folder):
            return False
        return self._begin(self.picker.chosen(), folder)

    def resume_run(self) -> bool:
        """Go on with the run in the folder, on the ticked layers; False if something is wrong.

        Its settings are loaded first, unless they are shown already: then epochs, device and stop agreement are
        taken as they are shown.
        """
        if (found := self._to_go_on(MAY_CHANGE)) is None:
            return False
        run, config = found
        return self._begin(self.picker.chosen(), run.folder, run, config)

    def _begin(
        self,
        chosen: Sequence[napari.layers.Layer],
        folder: Path | None,
        earlier: FoundRun[IGTTConfig] | None = None,
        config: IGTTConfig | None = None,
        corrections: dict[int, np.ndarray] | None = None,
        start_masks: Sequence[np.ndarray] | None = None,
    ) -> bool:
        if self._is_busy():
            return False
        try:
            config = config or self.settings.config()
            sources = sources_of(chosen)
            # Everything is checked before the thread starts, except what would take long to read.
            planes = read_at_once(sources)
            layers = RunLayers(self.viewer, sources, config)
        except InputError as error:
            return self._refuse(str(error))
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
