"""Folder in, folder out: files done one after the other, or shared out, with a table of what becomes of each."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_warning
from qtpy import QtCore, QtGui, QtWidgets

from napari_metastructure.batch import run
from napari_metastructure.batch.recipe import BatchRecipe
from napari_metastructure.errors import InputError, MetastructureError, counted, denied
from napari_metastructure.plugin._form import collapsed, tooltip, with_tip
from napari_metastructure.plugin._inputs import PathEdit, column, row
from napari_metastructure.plugin._job_widget import RunButtons
from napari_metastructure.plugin._progress import ProgressPanel, duration
from napari_metastructure.plugin._saving import ask_file
from napari_metastructure.plugin._worker import Runner, throttled, torch_beside_a_window
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import Warned

WAYS = ("choose another folder for the results", "press Do the rest to go on with it", "tick Replace")
"""What can be done where something is in the way."""

TITLE = "The batch"

ROWS = 6
"""Files visible at once; the table scrolls."""


class FolderBatch(QtWidgets.QWidget):
    """Do all files of a folder by a recipe, in the background.

    Scripts may call `choose`, `start`, `pause`, `resume`, `cancel`, `go_on` and `save_recipe`. None of them raises:
    what is wrong is said in one sentence by a napari notification and in the panel, and the method returns False.

    Parameters
    ----------
    task : callable
        Returns what is done with each file, as `BatchRecipe.task`; may raise an `InputError`.
    files : str
        What the folder holds: "images", "clean labels".
    results : str
        What the other folder gets of each.
    more : sequence of QWidget
        Further settings, below the folders.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each batch that began, however it ended.
    result : BatchFinished or None
        How the last one ended; None while it goes on, or if it broke off.
    failure : MetastructureError or None
        Why the last one broke off.
    written : list of Path
        What the last one has written.
    """

    finished = QtCore.Signal()

    def __init__(
        self, task: Callable[[], Any], files: str, results: str, more: Sequence[QtWidgets.QWidget] = ()
    ) -> None:
        super().__init__()
        self._task = task
        self.inputs = PathEdit(
            f"folder of {files}", f"All {files} in it are processed, but not those in its subfolders."
        )
        self.out = PathEdit(
            "folder for the results", f"Gets {results} of each, and batch.csv, which says what was done."
        )
        self.scheduler = QtWidgets.QLineEdit()
        self.scheduler.setPlaceholderText("scheduler: none, one file after the other")
        self.scheduler.setToolTip(
            tooltip(
                "local:4 shares the files out to four processes on this computer, tcp://address:8786 to the workers of "
                "a running scheduler of dask.distributed; they have to see both folders under the same path."
            )
        )
        self.replace = with_tip(
            QtWidgets.QCheckBox("Replace"), "Start over, and replace results of the same names in the folder."
        )
        self.table = FileTable()
        self.buttons = RunButtons(
            "Process all files of the folder in the background.",
            "Start",
            "Cancel",
            "End the batch; finished files stay. Do the rest goes on with the others.",
        )
        self.rest_button = with_tip(
            QtWidgets.QPushButton("Do the rest"), "Go on with the batch in the folder, past the files that are done."
        )
        self.save_button = with_tip(
            QtWidgets.QPushButton("Save recipe…"), "Write the settings as a file for: metastructure batch FILE."
        )
        self.progress = ProgressPanel("Files that are done.")
        self.settings = column(self.inputs, self.out, row(self.scheduler, self.replace), *more)
        column(
            self.settings,
            self.buttons,
            row(self.rest_button, self.save_button),
            self.progress,
            self.table,
            into=self,
        )
        self.runner = Runner(self)
        self.runner.after_closing = lambda: "Finished files stay, and Do the rest goes on with the others."
        self.runner.event_received.connect(self._on_event)
        self.runner.finished.connect(self._on_finished)
        self.result: run.BatchFinished | None = None
        self.failure: MetastructureError | None = None
        self.written: list[Path] = []
        self._refused = ""
        self._shares: list[float] = []
        self.buttons.run.clicked.connect(lambda: self.start())
        self.buttons.pause.clicked.connect(lambda: self.pause())
        self.buttons.resume.clicked.connect(lambda: self.resume())
        self.buttons.stop.clicked.connect(lambda: self.cancel())
        self.rest_button.clicked.connect(lambda: self.go_on())
        self.save_button.clicked.connect(self._ask_where)
        for signal in (self.inputs.changed, self.out.changed, self.scheduler.textChanged):
            signal.connect(self._forget)

    def section(self) -> QtWidgets.QWidget:
        """Put the panel under a title that opens it."""
        return collapsed("Folder in, folder out", self, "Process all files of a folder with the settings shown here.")

    # ---- for buttons and scripts ---------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True from a successful start until `finished`."""
        return self.runner.running

    def choose(self, inputs: Path | str, out: Path | str, scheduler: str = "") -> bool:
        """Name the folders, and who does the work."""
        self.inputs.set(inputs)
        self.out.set(out)
        self.scheduler.setText(scheduler)
        return True

    def recipe(self) -> BatchRecipe:
        """Return what is shown as a recipe.

        Raises
        ------
        InputError
            If something is missing or does not fit.
        """
        inputs, out = self.inputs.get(), self.out.get()
        if inputs is None or out is None:
            raise InputError("Two folders are needed: one with the files, and one for the results.")
        try:
            if not inputs.is_dir():
                raise InputError(f"There is no folder {inputs}; choose one that exists.")
            if out.exists() and not out.is_dir():
                raise InputError(f"{out} is a file; choose a folder for the results.")
        except PermissionError as error:
            raise InputError(denied(error)) from error
        values = {"inputs": (str(inputs),), "out": out, "task": self._task()}
        return BatchRecipe.make(**values, scheduler=self.scheduler.text().strip() or None)

    def start(self, go_on: bool = False) -> bool:
        """Do all files; False if something is wrong."""
        if self.running:
            show_warning(f"{TITLE} is going on; cancel it first.")
            return False
        try:
            recipe = self.recipe()
        except InputError as error:
            return self._refuse(str(error))
        self.result, self.failure, self.written = None, None, []
        self.progress.start(TITLE, "Looking at the files…")
        self.table.hide()  # of another batch, until the files of this one are known
        self._show_state(running=True)
        control = Control()
        replace = self.replace.isChecked() and not go_on
        self.runner.start(partial(batch_job, recipe, control, go_on, replace), control, TITLE)
        return True

    def go_on(self) -> bool:
        """Do what is not done yet in the folder of the results; False if something is wrong."""
        return self.start(go_on=True)

    def pause(self) -> bool:
        """Begin no further file; False if no batch is running."""
        if not self.running or self.runner.control is None:
            return False
        self.runner.control.pause()
        self.progress.pause()
        self.buttons.show_state("paused")
        return True

    def resume(self) -> bool:
        """Let a paused batch go on; False if none is running."""
        if not self.running or self.runner.control is None:
            return False
        self.runner.control.resume()
        self.progress.resume()
        self.buttons.show_state("running")
        return True

    def cancel(self) -> bool:
        """End the batch; files that are done stay. False if none is running."""
        if not self.running:
            return False
        self.runner.stop()
        self.buttons.show_state("stopping")
        self.progress.say("Stopping…")
        return True

    def save_recipe(self, path: Path | str) -> bool:
        """Write what is shown as YAML; False if something is wrong."""
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".yaml")
        try:
            self.recipe().absolute().write(path)
        except InputError as error:
            return self._refuse(str(error))
        self.progress.say(f"Saved; on the command line: metastructure batch {shlex.quote(str(path))}")
        return True

    # ---- how it works ----------------------------------------------------------------------------------------

    def _ask_where(self) -> None:
        if path := ask_file(self, "Save the recipe", "recipe.yaml", {".yaml": "Recipes"}):
            self.save_recipe(path)

    def _refuse(self, why: str) -> bool:
        show_error(why)
        if not self.running:
            self._refused = why
            self.progress.say(why)
        return False

    def _forget(self, *_: Any) -> None:
        """Say no longer what was refused: its cause may be gone."""
        if self._refused and self.progress.status.text() == self._refused:
            self.progress.say("Ready.")

    def _show_state(self, running: bool) -> None:
        self.buttons.show_state("running" if running else "idle")
        self.settings.setEnabled(not running)
        self.rest_button.setEnabled(not running)

    def _on_event(self, event: object) -> None:
        match event:
            case run.BatchStarted():
                self.table.files.begin(event)
                self.table.show()
                self._shares = [1.0 if done else 0.0 for done in event.settled]
                self.progress.begin(sum(self._shares), len(self._shares), self._count())
                self.progress.say(f"The work is done by {event.where}.")
            case run.UnitProgress():
                self.table.files.show_state(event.index, f"running, {event.share:.0%}")
                self._take(event.index, min(event.share, 0.99))
            case run.UnitDone():
                self.written += event.written
                took = duration(event.seconds) if event.seconds >= 10 else f"{event.seconds:.1f} s"
                self.table.files.show_state(event.index, f"done, {took}", " ".join(event.notes))
                self._take(event.index, 1.0)
                for note in event.notes:
                    show_warning(note)
            case run.UnitFailed():
                why = event.why.removeprefix(event.name).lstrip(" :")
                self.table.files.show_state(event.index, f"failed: {why}", event.why)
                self._take(event.index, 1.0)
            case Warned():
                show_warning(event.message)
            case run.BatchFinished():
                self.result = event

    def _take(self, index: int, share: float) -> None:
        self._shares[index] = share
        self.progress.show_outer(sum(self._shares), len(self._shares), self._count())

    def _count(self) -> str:
        return f"{sum(share == 1.0 for share in self._shares)} of {counted(len(self._shares), 'file')}"

    def _on_finished(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        self._show_state(running=False)
        self.table.files.leave()
        if failure is not None:
            show_error(str(failure))
        self.progress.end(str(failure) if self.result is None else summary(self.result))
        self.finished.emit()


def batch_job(recipe: BatchRecipe, control: Control, resume: bool, overwrite: bool) -> Iterator[run.BatchEvent]:
    """Run a batch, in a thread."""
    if recipe.task.what in ("predict", "igtt"):
        torch_beside_a_window()
    events = run.run(recipe, control, resume=resume, overwrite=overwrite, ways=WAYS)
    yield from throttled(events, lambda event: isinstance(event, run.UnitProgress))


def summary(result: run.BatchFinished) -> str:
    """Say what came of a batch, in a few sentences."""
    before = f", {result.settled} before" if result.settled else ""
    failed = f" {result.failed} failed; the table says why." if result.failed else ""
    what = "Cancelled; press Do the rest to go on." if result.stopped else " ".join(result.said)
    done = f"{counted(result.done, 'file')} done{before} in {duration(result.seconds)}."
    return f"{done}{failed} {what} The report is {result.report}.".replace("  ", " ")


# ---- the table ---------------------------------------------------------------------------------------------------


class FileTable(QtWidgets.QTableView):
    """A row for each file: its name, and what becomes of it; also for ten thousands of them.

    Attributes
    ----------
    files : FileStates
    """

    def __init__(self) -> None:
        super().__init__()
        self.files = FileStates()
        self.setModel(self.files)
        self.verticalHeader().setVisible(False)
        height = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(height)
        self.setFixedHeight((ROWS + 1) * height + 8)
        self.horizontalHeader().setSectionResizeMode(QtWidgets.QHeaderView.ResizeMode.Stretch)
        self.setTextElideMode(QtCore.Qt.TextElideMode.ElideMiddle)
        self.hide()  # until there are files
        self.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self.setWordWrap(False)
        self.setToolTip(tooltip("The state of each file; hover over it to read the whole message."))
        self.files.rowsInserted.connect(lambda *_: self.scrollToTop())


HEADS = ("File", "State")

FAILED = QtGui.QColor("#e5534b")


class FileStates(QtCore.QAbstractTableModel):
    """States of the files of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.states: list[str] = []
        self.tips: list[str] = []

    def begin(self, event: run.BatchStarted) -> None:
        """Show the files of a batch that starts."""
        self.beginResetModel()
        self.names = list(event.names)
        self.states = ["done before" if done else "waiting" for done in event.settled]
        self.tips = [""] * len(self.names)
        self.endResetModel()

    def show_state(self, index: int, state: str, tip: str = "") -> None:
        """Show what becomes of one."""
        self.states[index], self.tips[index] = state, tip
        cell = self.index(index, 1)
        self.dataChanged.emit(cell, cell)

    def leave(self) -> None:
        """Call what runs no longer waiting."""
        for index, state in enumerate(self.states):
            if state.startswith("running"):
                self.show_state(index, "waiting")

    def rowCount(self, parent: QtCore.QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Count the files."""
        return len(self.names)

    def columnCount(self, parent: QtCore.QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        """Count the columns."""
        return len(HEADS)

    def data(self, index: QtCore.QModelIndex, role: int = QtCore.Qt.ItemDataRole.DisplayRole) -> Any:
        """Give text, tooltip and colour of a cell."""
        at, state = index.row(), index.column() == 1
        if role == QtCore.Qt.ItemDataRole.DisplayRole:
            return self.states[at] if state else Path(self.names[at]).name
        if role == QtCore.Qt.ItemDataRole.ToolTipRole:
            return tooltip(self.tips[at] or self.states[at] if state else self.names[at])
        if role == QtCore.Qt.ItemDataRole.ForegroundRole and state and self.states[at].startswith("failed"):
            return FAILED
        return None

    def headerData(self, section: int, side: Any, role: int = QtCore.Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: N802
        """Name a column."""
        return (
            HEADS[section]
            if role == QtCore.Qt.ItemDataRole.DisplayRole and side == QtCore.Qt.Orientation.Horizontal
            else None
        )
