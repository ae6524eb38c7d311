"""What every widget with one run at a time does alike: its buttons steer the run, its folder may hold another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_warning
from pydantic import BaseModel
from qtpy.QtGui import QShowEvent

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.config_panel import ConfigPanel
from napari_metastructure.plugin.earlier_run import FoundRun
from napari_metastructure.plugin.folder_row import FolderRow
from napari_metastructure.plugin.progress_panel import ProgressPanel
from napari_metastructure.plugin.run_buttons import RunButtons
from napari_metastructure.plugin.runner import Runner
from napari_metastructure.plugin.warm_up import warm_up_in_background


class OneRun:
    """Mixed into a widget that has these parts."""

    settings: Any  # with `set_devices`
    buttons: RunButtons
    progress: ProgressPanel
    runner: Runner
    _asked_devices = False

    @property
    def running(self) -> bool:
        """True from a successful `start` or `resume_run` until `finished`."""
        return self.runner.running

    def pause(self) -> None:
        """Hold the run at its next batch."""
        if self.running and self.runner.control is not None:
            self.runner.control.pause()
            self.progress.clock.pause()
            self.buttons.show_state("paused")

    def resume(self) -> None:
        """Let a paused run go on."""
        if self.running and self.runner.control is not None:
            self.runner.control.resume()
            self.progress.clock.resume()
            self.buttons.show_state("running")

    def stop(self) -> None:
        """End the run at its next batch and keep what it has."""
        if self.running:
            self.runner.stop()
            self.buttons.show_state("stopping")
            self.progress.say("Stopping after this batch…")

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Look for devices once, in the background: that imports torch, which takes seconds."""
        super().showEvent(event)  # type: ignore[misc] # of the widget it is mixed into
        if not self._asked_devices:
            self._asked_devices = True
            warm_up_in_background(self.settings.set_devices)

    def _connect_buttons(self) -> None:
        """Buttons call the methods by name, so that scripts may replace those."""
        self.buttons.pause.clicked.connect(lambda: self.pause())
        self.buttons.resume.clicked.connect(lambda: self.resume())
        self.buttons.stop.clicked.connect(lambda: self.stop())

    def _is_busy(self) -> bool:
        """Whether a run goes on; then that is said."""
        if self.running:
            show_warning("A run is going on; stop it first.")
        return self.running

    def _refuse(self, why: str) -> bool:
        show_error(why)
        if not self.running:
            self.progress.say(why)
        return False


class Steering(OneRun):
    """Mixed into a widget that also has a folder, for its run."""

    settings: ConfigPanel[Any]
    folder: FolderRow
    _loaded: Path | None = None  # the folder whose run's settings the form shows

    def load_run_settings(self) -> bool:
        """Show the settings that the run in the folder was made with; False if they cannot be read."""
        run = self.folder.kind.find(self.folder.get())
        if run is None:
            return self._refuse("The run folder holds no run whose settings could be loaded; choose one that does.")
        try:
            self.settings.fill(run.config())
        except InputError as error:
            return self._refuse(str(error))
        self._loaded = run.folder
        self.progress.say("The settings are those of the run in the folder.")
        return True

    def _connect_buttons(self) -> None:
        super()._connect_buttons()
        self.folder.load_settings.connect(lambda: self.load_run_settings())

    def _is_taken(self, folder: Path | None) -> bool:
        """Whether a new run would write over one that is in the folder; then that is said."""
        run = None if self.running else self.folder.kind.find(folder)
        if run is not None:
            self._refuse(
                "The folder already holds a run; press Resume run to go on with it, or choose another folder."
                if run.can_go_on
                else "The folder already holds a run that saved no state; choose another folder."
            )
        return run is not None

    def _to_go_on(self, may_change: tuple[str, ...]) -> tuple[FoundRun[Any], Any] | None:
        """The run in the folder and the settings to go on with, which are shown then; None (and why) without.

        Its settings are loaded first, unless they are shown already: then those that may change are taken as shown.
        """
        run = self.folder.kind.find(self.folder.get())
        if run is None or not run.can_go_on:
            self._refuse("There is no run to go on with; choose a run folder that holds one (last.pt).")
            return None
        config: BaseModel
        try:
            config = run.config()
            if self._loaded == run.folder:
                shown = self.settings.config()
                config = config.model_copy(update={name: getattr(shown, name) for name in may_change})
        except InputError as error:
            self._refuse(str(error))
            return None
        if not self.running:
            config = config.model_copy(update={"epochs": max(getattr(config, "epochs"), run.epoch)})  # noqa: B009
            self.settings.fill(config)
            self._loaded = run.folder
        return run, config
