"""Frame of the widgets that run one job at a time: form, buttons, progress, notifications.

How a widget is built on it:

1. Subclass `JobWidget`, say its ``title`` ("The iGTT run"), and call ``super().__init__(viewer, buttons, progress)``.
2. Make the parts, then set ``self.form`` to those that a job is made of: they are disabled while it runs.
3. Put the parts into the widget with `lay_out` or `pages_above`, ``self.buttons`` and ``self.progress`` among them.
4. Write `prepare`: check what is shown (raise `InputError`), make room for the new results, and return the job: a
   function of a `Control` that yields events. `start` calls it; other beginnings call ``self.begin(other_prepare)``.
5. Write `on_event` (``match event: ...``) and, where steps are drawn, `on_batches`. They run in the main thread.
6. Write `summary`, the sentence at the end, and `on_end` for what else happens then; see ``self.failure``.
7. Feed the bars with ``self.progress.begin(...)``, ``.show_outer(done, total, text)`` and ``.show_inner(...)``.
8. At the end call `remember`: what comes back at napari's next start, and what its preferences say of it.
9. Listen to the viewer by ``self.listen(emitter, method)``; give ``release`` methods of parts to ``self.release_with``.
10. Say in `to_estimate` how long a job will take, and by ``self.estimate_at(signals)`` when that may have changed.
11. Say in `prepare` which pixels are read, by `reads` (the end tells where a layer was given others meanwhile), and
    what may not be meant, by `doubt`.
12. For a run folder call `keep_in`, and write `prepare_resumed`; say in ``self.with_device`` which form has a device;
    write files by `save_in_background`.
13. Speak by `say` (status line), `warn` and `refuse` (notification too). Nothing here raises to the user.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import napari
from napari.layers import Layer
from napari.utils.notifications import show_error, show_info, show_warning
from pydantic import BaseModel
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFileDialog, QPushButton, QWidget

from napari_metastructure.errors import InputError, MetastructureError, denied, listed
from napari_metastructure.plugin import _estimate
from napari_metastructure.plugin._form import ConfigPanel, with_tip
from napari_metastructure.plugin._help import Tools
from napari_metastructure.plugin._inputs import FolderRow, row
from napari_metastructure.plugin._layers import EpochSlider, ReleaseOnClose, full, unwrapped
from napari_metastructure.plugin._preferences import Memory, Preferences, Value, preferences
from napari_metastructure.plugin._progress import ProgressPanel
from napari_metastructure.plugin._ranges import RangeRows
from napari_metastructure.plugin._shortcuts import Keys
from napari_metastructure.plugin._worker import LatestOnly, Runner, warm_up_in_background
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import BatchFinished, Unsaved
from napari_metastructure.training.run_folder import FoundRun

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device


Job = Callable[[Control], Iterable[Any]]
"""What a thread does: a function that yields events and heeds its control."""

C = TypeVar("C", bound=BaseModel)

STAYS = "The layers that it has made stay."


# ---- buttons ---------------------------------------------------------------------------------------------------


State = Literal["idle", "running", "paused", "stopping"]


class RunButtons(QWidget):
    """Run, Pause or Resume, and Stop, of which only the sensible ones can be pressed.

    Parameters
    ----------
    tip : str
        What Run does.
    run, stop : str
        What the first and last button are called.
    stop_tip : str
    """

    def __init__(
        self,
        tip: str,
        run: str = "Run",
        stop: str = "Stop",
        stop_tip: str = "End the run at its next batch and keep what it has.",
    ) -> None:
        super().__init__()
        tips = {
            run: tip,
            "Pause": "Pause the run after this batch; it keeps its memory on the device.",
            "Resume": "Let the paused run go on.",
            stop: stop_tip,
        }
        buttons = [with_tip(QPushButton(name), text) for name, text in tips.items()]
        self.run, self.pause, self.resume, self.stop = buttons
        row(*buttons, into=self)
        self.show_state("idle")

    def show_state(self, state: State) -> None:
        """Offer what can be done in this state."""
        self.run.setEnabled(state == "idle")
        self.pause.setVisible(state != "paused")
        self.pause.setEnabled(state == "running")
        self.resume.setVisible(state == "paused")
        self.stop.setEnabled(state in ("running", "paused"))


# ---- a run folder ------------------------------------------------------------------------------------------------


class RunInFolder(Generic[C]):
    """The run folder in step with the form: a run that is in it is shown and resumed, never written over.

    Parameters
    ----------
    kind : type
        How a run in the folder is read.
    form : ConfigPanel
    may_change : sequence of str
        Settings that a resumed run takes as they are shown.
    resumed : str
        What a run goes on with, as the tooltip of the button says.
    name : str
        Of the folder that is proposed where the preferences name one for all runs.
    ranges : RangeRows
        Shows which planes a run took.

    Attributes
    ----------
    row : FolderRow
        What the user sees of it.
    """

    def __init__(
        self,
        kind: type[FoundRun[C]],
        form: ConfigPanel[C],
        may_change: Sequence[str],
        resumed: str,
        name: str,
        ranges: RangeRows,
    ) -> None:
        self.kind, self.form, self.may_change, self.name, self.ranges = kind, form, may_change, name, ranges
        self.row = FolderRow(kind, resumed)
        self._shown: Path | None = None  # the folder whose run's settings the form shows
        self._proposed: Path | None = None
        self.propose()

    def propose(self) -> None:
        """Show a free folder in the one that the preferences name for runs, unless the user chose one."""
        if (runs := preferences().folder) and self.row.get() in (None, self._proposed):
            self._proposed = _free(Path(os.path.expanduser(runs), self.name))
            self.row.set(self._proposed)

    def free(self) -> Path | None:
        """Return the folder for a new run, or None.

        Raises
        ------
        InputError
            If it holds a run.
        """
        folder = self.row.get()
        if (run := self.kind.find(folder)) is None:
            return folder
        if folder == self._proposed:  # that was the run before
            self.propose()
            return self.row.get()
        raise InputError(
            "The folder already holds a run; press Resume run to go on with it, or choose another folder."
            if run.can_go_on
            else "The folder already holds a run that saved no state; choose another folder."
        )

    def free_beside(self) -> Path | None:
        """Return the folder if no run is in it, else the first name that is free: run-2, run-3, ...; None without."""
        folder = self.row.get()
        return folder if folder is None or self.kind.find(folder) is None else _free(folder)

    def load_settings(self) -> None:
        """Show the settings that the run in the folder was made with.

        Raises
        ------
        InputError
            If there is none, or they cannot be read.
        """
        run = self.kind.find(self.row.get())
        if run is None:
            raise InputError("The run folder holds no run whose settings could be loaded; choose one that does.")
        self.form.fill(run.config())
        self.ranges.set(run.chosen())
        self._shown = run.folder

    def resumed(self) -> tuple[FoundRun[C], C]:
        """Return the run in the folder and the settings to go on with, which are shown then.

        Its settings are loaded first, unless they are shown already: then those that may change are taken as shown.

        Raises
        ------
        InputError
            If there is no run to go on with, or its settings cannot be read.
        """
        run = self.kind.find(self.row.get())
        if run is None or not run.can_go_on:
            raise InputError("There is no run to go on with; choose a run folder that holds one (last.pt).")
        config = run.config()
        if self._shown == run.folder:
            shown = self.form.config()
            config = config.model_copy(update={name: getattr(shown, name) for name in self.may_change})
        config = config.model_copy(update={"epochs": max(getattr(config, "epochs"), run.epoch)})  # noqa: B009
        self.form.fill(config)
        self.ranges.set(run.chosen())
        self._shown = run.folder
        return run, config

    def use(self, folder: Path | None) -> None:
        """Show the folder of the run that begins; the form shows its settings."""
        if folder is not None:
            self.row.set(folder)
            self._shown = folder

    def shown_no_more(self) -> None:
        """Note that the form shows other settings than those of the run: resuming it loads them first."""
        self._shown = None


def _free(folder: Path) -> Path:
    """Return a folder that is not there yet: this one, or the first of run-2, run-3, ..."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _alone(job: Job, control: Control) -> Iterator[Any]:
    """Do a job once no probe is at work any more."""
    with _estimate.no_probe():
        yield from job(control)


# ---- the frame -----------------------------------------------------------------------------------------------------


class JobWidget(QWidget):
    """A form, a Run button, and a job in a thread whose events are shown as they come.

    Signals
    -------
    finished
        Emitted in the main thread once for each job that began, however it ended.
    saved : list of Path
        What `save_in_background` wrote; empty if it could not.

    Attributes
    ----------
    failure : MetastructureError or None
        Why the last job failed.
    form : sequence of QWidget
        What a job is made of; it cannot be changed while one runs.
    why_stopped : str
        Why the widget stopped the job by itself; empty if it did not.
    """

    finished = Signal()
    saved = Signal(list)

    name: ClassVar[str]
    """Of its page of the documentation, and in what is remembered."""
    title: ClassVar[str] = "The run"
    preparing: ClassVar[str] = "Preparing…"
    stopping: ClassVar[str] = "Stopping after this batch…"
    size: ClassVar[tuple[int, int]] = (380, 780)

    with_device: ConfigPanel[Any] | None = None
    run_folder: RunInFolder[Any] | None = None
    kept_in: ClassVar[str] = " The run is kept in {}."

    def __init__(self, viewer: napari.Viewer, buttons: RunButtons, progress: ProgressPanel) -> None:
        super().__init__()
        self.viewer, self.buttons, self.progress = unwrapped(viewer), buttons, progress
        self.failure: MetastructureError | None = None
        self.form: Sequence[QWidget] = ()
        self.why_stopped = self.kept = ""
        self._reads: list[tuple[Layer, Any]] = []
        self._doubts: list[str] = []
        self.place: Path | None = None
        self.tools = Tools(self.name)
        self.memory: Memory | None = None
        self.runner = Runner(self)
        self.runner.after_closing = self.after_closing
        self.runner.batches.connect(self.on_batches)
        self.runner.event_received.connect(self.on_event)
        self.runner.event_received.connect(self._on_unsaved)
        self.runner.finished.connect(self._on_finished)
        self._saving = LatestOnly(self)
        self._saving.done.connect(self._on_saved)
        self._saving.failed.connect(self._on_not_saved)
        self._asked_devices = False
        self._refused = ""
        # by name, so that scripts may replace the methods
        buttons.run.clicked.connect(lambda: self.start())
        buttons.pause.clicked.connect(lambda: self.pause())
        buttons.resume.clicked.connect(lambda: self.resume())
        buttons.stop.clicked.connect(lambda: self.stop())
        self.estimate: _estimate.Estimate | None = None
        self.estimator = _estimate.Estimator(self)
        self.estimator.known.connect(self._show_estimate)
        self._releases = ReleaseOnClose(self)
        self.release_with(self.estimator.stop)
        pressed = {"run": (buttons.run,), "pause": (buttons.pause, buttons.resume), "stop": (buttons.stop,)}
        self.keys = Keys(self, self.viewer, pressed, lambda: self.slider(), lambda: self.made_layers())

    # ---- what a widget says ------------------------------------------------------------------------------

    def prepare(self) -> Job:
        """Check what is asked for, make room for its results, and return the job.

        Raises
        ------
        InputError
            If something is wrong; then nothing has changed.
        """
        raise NotImplementedError

    def on_batches(self, batches: list[BatchFinished]) -> None:
        """Show steps of training, oldest first."""

    def on_event(self, event: object) -> None:
        """Show any other event."""

    def on_end(self) -> None:
        """Tidy up after a job, however it ended."""

    def summary(self) -> str:
        """Say how a job ended that did not fail."""
        return ""

    def to_estimate(self) -> _estimate.Work | _estimate.Unknown | None:
        """Return what finds out how long a job would take, why that cannot be known, or None for nothing to say.

        Raises
        ------
        InputError
            If something is wrong, or half typed.
        """
        return None

    def prepare_resumed(self) -> Job:
        """Make ready the job that goes on with the run in the folder, see `prepare`."""
        raise NotImplementedError

    def show_place(self, folder: Path | None) -> None:
        """Show in which folder the job is kept from now on; None: in none."""
        self.place, self.kept = folder, "" if folder is None else self.kept_in.format(folder)
        if self.run_folder is not None:
            self.run_folder.use(folder)

    def after_closing(self) -> str:
        """Say what is left of the job if its panel is closed."""
        if self.run_folder is None:
            return f"What it has done is kept in {self.place}." if self.place is not None else STAYS
        if self.place is None:
            return f"{STAYS} Without a run folder it cannot be resumed."
        return f"It is kept in {self.place}: choose that run folder in a new panel and press Resume run to go on."

    def slider(self) -> EpochSlider | None:
        """Return what moves through the epochs of the newest job; None where it has none."""
        return None

    def made_layers(self) -> Sequence[Layer]:
        """Return the layers that show the newest job's results, those to be painted on first."""
        return ()

    # ---- what buttons and scripts do ---------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True from a successful start until `finished`."""
        return self.runner.running

    def start(self) -> bool:
        """Check what is asked for and run it in the background; False if something is wrong."""
        return self.begin(self.prepare)

    def begin(self, prepare: Callable[[], Job]) -> bool:
        """Run the job that ``prepare`` returns; False, and a sentence that says why, if it raises or one is running."""
        if self.running:
            show_warning(f"{self.title} is going on; stop it first.")
            return False
        self._reads, self._doubts = [], []
        try:
            job = prepare()
        except InputError as error:
            return self.refuse(str(error))
        except PermissionError as error:
            return self.refuse(denied(error))
        self.estimator.stop()
        self.failure, self.why_stopped = None, ""
        if self.memory is not None:
            self.memory.save()
        self.progress.start(self.title, self.preparing)
        self.buttons.show_state("running")
        self._set_form_enabled(False)
        control = Control()
        self.runner.start(partial(_alone, job, control), control, self.title)
        return True

    def resume_run(self) -> bool:
        """Go on with the run in the folder, on what is chosen; False if something is wrong.

        Its settings are loaded first, unless they are shown already: then those that may change are taken as shown.
        """
        return self.begin(self.prepare_resumed)

    def load_run_settings(self) -> bool:
        """Show the settings that the run in the folder was made with; False if they cannot be read."""
        try:
            if self.run_folder is not None:
                self.run_folder.load_settings()
        except InputError as error:
            return self.refuse(str(error))
        self.say("The settings are those of the run in the folder.")
        return True

    def pause(self) -> bool:
        """Hold the job at its next batch; False if none is running."""
        if (control := self._control) is None:
            return False
        control.pause()
        self.progress.pause()
        self.buttons.show_state("paused")
        return True

    def resume(self) -> bool:
        """Let a paused job go on; False if none is running."""
        if (control := self._control) is None:
            return False
        control.resume()
        self.progress.resume()
        self.buttons.show_state("running")
        return True

    def stop(self, why: str = "") -> bool:
        """End the job at its next batch and keep what it has; False if none is running."""
        if not self.running:
            return False
        self.why_stopped = self.why_stopped or why
        self.runner.stop()
        self.buttons.show_state("stopping")
        self.say(self.stopping)
        return True

    # ---- what a widget may use ---------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Show a sentence in the status line."""
        self.progress.say(text)

    def warn(self, text: str) -> None:
        """Show a sentence in the status line and as a notification."""
        show_warning(text)
        self.say(text)

    def refuse(self, why: str) -> bool:
        """Say what is wrong; False, for the caller to return."""
        show_error(why)
        if not self.running:
            self._refused = why
            self.say(why)
        return False

    def forget_refusal_at(self, *inputs: Any) -> None:
        """Say no longer what was refused once one of these signals comes: its cause may be gone."""

        def forget(*_: Any) -> None:
            if self._refused and self.progress.status.text() == self._refused and not self.running:
                self.say("Ready.")

        for signal in inputs:
            signal.connect(forget)

    def estimate_at(self, *inputs: Any) -> None:
        """Estimate how long a job takes once one of these signals comes: it may be another one."""
        for signal in inputs:
            signal.connect(lambda *_: self.ask_estimate())

    def ask_estimate(self) -> None:
        """Find out how long a job would take, if somebody sees it."""
        if self.running or not self.isVisible():
            return
        self.estimator.stop()
        self.estimate = None
        self.progress.eta.setText("")
        with suppress(InputError):  # said at Run; meanwhile it may be half typed
            work = self.to_estimate()
            if isinstance(work, _estimate.Unknown):
                self._show_estimate(work)
            elif work is not None:
                self.estimator.ask(work)

    def _show_estimate(self, estimate: _estimate.Estimate | _estimate.Unknown) -> None:
        if not self.running:
            self.estimate = estimate if isinstance(estimate, _estimate.Estimate) else None
            self.progress.show_before(str(estimate), estimate.note)

    def listen(self, emitter: Any, callback: Callable[..., None]) -> None:
        """Connect to an event of the viewer, which may outlive the widget and must not call it then."""
        self._releases.listen(emitter, callback)

    def remember(self, values: Mapping[str, Value], preferred: Callable[[Preferences], dict[str, Any]]) -> None:
        """Open with what napari's preferences say and with what was shown last, see `Memory`."""
        self.memory = memory = Memory(self, self.name, values, preferred)
        self.tools.reset_button.clicked.connect(lambda: memory.reset())

    def keep_in(self, run_folder: RunInFolder[Any]) -> None:
        """Keep jobs in a folder, load the settings of one that is there, and go on with it."""
        self.run_folder = run_folder
        self.tools.reset_button.clicked.connect(run_folder.propose)
        run_folder.row.load_button.clicked.connect(lambda: self.load_run_settings())
        run_folder.row.resume_button.clicked.connect(lambda: self.resume_run())

    def release_with(self, *releases: Callable[[], object]) -> None:
        """Call these when the widget is destroyed."""
        self._releases.add(*releases)

    def reads(self, layers: Iterable[tuple[Layer, Any]]) -> None:
        """Note the layers that a job is about to read, and the pixels that it reads of each, see `_replaced`."""
        self._reads = list(layers)

    def doubt(self, sentences: Iterable[str]) -> None:
        """Warn, as a job begins, of what may not be meant; its end says it again."""
        self._doubts = [said for said in sentences if said]
        for said in self._doubts:
            show_warning(said)

    def say_saved(self, paths: Sequence[Path]) -> None:
        """Say what was saved; while a job runs by a notification alone."""
        said = f"Saved {', '.join(path.name for path in paths)} in {paths[0].parent}."
        show_info(said) if self.running else self.say(said)

    def save_in_background(self, write: Callable[[], list[Path]]) -> None:
        """Call ``write`` in a thread; `saved` is emitted at the end."""
        self._saving.ask(write)

    # ---- how it works ----------------------------------------------------------------------------------------

    @property
    def _control(self) -> Control | None:
        """The control of the job that is running and was not stopped."""
        control = self.runner.control
        return control if control is not None and self.running and not control.stopped else None

    def _on_unsaved(self, event: object) -> None:
        """Ask where a job, which waits, shall be saved whose folder cannot be written to; stop it if nowhere."""
        if not isinstance(event, Unsaved):
            return
        show_error(event.message)
        if self._control is None:  # it is ending, and has not waited
            self.show_place(None)
            return
        self.pause()
        self.say(f"{event.message} Choose another folder to go on; Cancel ends the run with what it has.")
        dialog = QFileDialog(self, "Save the run elsewhere", str(event.folder.parent))
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda name: self.save_to(Path(name)))
        dialog.rejected.connect(lambda: self._save_nowhere(event.message))
        dialog.open()  # not exec: events of the job are being handed out

    def save_to(self, folder: Path) -> bool:
        """Go on in another folder, after the one of the job could not be written to; False if none is running."""
        if (control := self._control) is None:
            return False
        self.show_place(folder)
        control.save_to(folder)
        return self.resume()

    def _save_nowhere(self, why: str) -> None:
        self.show_place(None)
        self.stop(why)

    def _set_form_enabled(self, enabled: bool) -> None:
        for part in (*self.form, self.tools.reset_button):
            part.setEnabled(enabled)

    def _on_finished(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        self.buttons.show_state("idle")
        self._set_form_enabled(True)
        self.on_end()
        if failure is not None:
            show_error(str(failure))
        said = (self.summary(), *self._doubts, self._replaced()) if failure is None else (str(failure),)
        self.progress.end(" ".join(filter(None, said)))
        self.finished.emit()

    def _replaced(self) -> str:
        """Say which layers show other pixels than those that the job has read."""
        names = [repr(layer.name) for layer, pixels in self._reads if full(layer) is not pixels]
        if not names:
            return ""
        began = f"{self.title[0].lower()}{self.title[1:]} began"
        return f"Other pixels were put into {listed(names)} since {began}; its results are of the earlier ones."

    def _on_saved(self, paths: list[Path]) -> None:
        self.say_saved(paths)
        self.saved.emit(paths)

    def _on_not_saved(self, error: Exception) -> None:
        self.refuse(str(error) if isinstance(error, MetastructureError) else f"The results could not be saved: {error}")
        self.saved.emit([])

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Look for devices once, in the background: that imports torch, which takes seconds."""
        super().showEvent(event)
        if not self._asked_devices:
            self._asked_devices = True
            warm_up_in_background(self._on_devices)
        else:
            self.ask_estimate()

    def _on_devices(self, devices: list[Device]) -> None:
        if self.with_device is not None:
            self.with_device.set_devices(devices)
        self.ask_estimate()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Take as much height as there is, within a small laptop's screen."""
        return QSize(*self.size)
