"""Background threads: a steered job whose events reach the main thread, and previews of which the newest counts.

Two traps of generator workers are avoided by construction (both measured):

- a `RuntimeError` in a napari *generator* worker vanishes, and torch's out-of-memory is one. Here a plain
  function drains the generator, so every exception is caught and reported.
- ``worker.quit()`` abandons a generator half way, with its weights and files. Here ``quit`` pulls the job's
  own stop flag, and the job leaves its loop, saves and ends by itself.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari.qt.threading import FunctionWorker, create_worker
from napari.utils.notifications import show_warning
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QThreadPool, QTimer, Signal
from qtpy.QtWidgets import QDockWidget
from superqt.utils import FunctionWorker as QtFunctionWorker
from superqt.utils import create_worker as create_qt_worker

from napari_metastructure.errors import MetastructureError, RunFailed
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import BatchFinished, Unsaved

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device


log = logging.getLogger(__name__)

INTERVAL_MS = 100
"""Time between two deliveries: at most ten updates a second reach Qt, whatever the job's pace."""

BUDGET_S = 0.01
"""Once a delivery took this long, the rest waits for the next turn of the event loop."""

PAUSE_MS = 5
"""Time for Qt between deliveries while some wait. Not 0: Qt posts those, and does them all before it draws."""

THREADS = 32
"""Of Qt's pool, at least."""

HIDE = "To let it go on, hide the panel instead (the eye in its title)."

MIN_INTERVAL_S = 0.05
"""`throttled` lets minor events pass no more often than this."""


# ---- one steered job at a time ---------------------------------------------------------------------------


class _Run:
    """One job in its thread, and the events it has posted for the main thread.

    An object and not a closure because napari's task list keeps every worker it has seen: the job, and with
    it images and network, must be let go at the end.
    """

    def __init__(self, job: Callable[[], Iterable[Any]], control: Control, title: str) -> None:
        self.job: Callable[[], Iterable[Any]] | None = job
        self.control = control
        self.title = title
        self.failure: MetastructureError | None = None
        self.events: deque[Any] = deque()  # one thread appends, the other takes: that needs no lock

    def __str__(self) -> str:  # napari shows this when it asks before closing
        return self.title

    def __call__(self) -> None:
        """Run the job to its end."""
        job, self.job = self.job, None
        try:
            assert job is not None
            for event in job():
                if isinstance(event, Unsaved):
                    self.control.pause()  # until the user has named another folder
                self.post(event)
        except MetastructureError as error:
            self.failure = type(error)(str(error))  # a fresh one: the traceback would keep the network alive
        except BaseException as error:  # whatever it is, the widget has to leave its running state
            # as text: a log handler that kept the traceback would keep the network alive with it
            log.error("%s broke\n%s", self.title, traceback.format_exc())
            self.failure = RunFailed(f"{self.title} failed: {type(error).__name__}: {error}")

    def post(self, event: Any) -> None:
        """Add an event (in the thread)."""
        self.events.append(event)

    def take(self) -> Any:
        """Return the oldest event, or a list of all batches up to the next event of another kind; None without."""
        batches: list[BatchFinished] = []
        while self.events and isinstance(self.events[0], BatchFinished):
            batches.append(self.events.popleft())
        return batches or (self.events.popleft() if self.events else None)


class _EndsQuietly:
    """A worker that says nothing more once the window is closed: Qt has deleted what it would say it by."""

    signals: QObject

    def start(self) -> None:
        """Begin, in a pool with threads to spare.

        Qt's has one for each core. Jobs of hours would keep previews waiting; and Qt scales pictures in threads of it,
        while the main thread holds Python's lock: with none free but for jobs that wait for that lock, all would stop.
        """
        pool = QThreadPool.globalInstance()
        pool.setMaxThreadCount(max(pool.maxThreadCount(), THREADS))
        super().start()  # type: ignore[misc] # of the worker this is mixed into

    def run(self) -> None:
        """Do the work."""
        try:
            super().run()  # type: ignore[misc] # of the worker this is mixed into
        except RuntimeError:
            if isalive(self.signals):
                raise


class _Task(_EndsQuietly, QtFunctionWorker):
    """A short piece of work in a thread."""


class _RunWorker(_EndsQuietly, FunctionWorker):
    """A worker whose ``quit`` (napari calls it when its window closes) stops the job at its next batch."""

    def __init__(self, run: _Run) -> None:
        super().__init__(run)
        self._stop = run.control.stop

    def quit(self) -> None:
        """Ask the job to stop, save and end."""
        self._stop()
        super().quit()


class Runner(QObject):
    """Runs one job at a time in a thread; its signals are emitted in the main thread.

    Signals
    -------
    batches : list of BatchFinished
        All steps since the last delivery, oldest first.
    event_received : object
        Every other event, in order, none dropped.
    finished : MetastructureError or None
        Once per run, after the last event and once the thread is through; the failure, if it failed.

    Attributes
    ----------
    after_closing : callable
        Says what is left of a run that is stopped as its panel is closed, in a sentence.
    """

    batches = Signal(list)
    event_received = Signal(object)
    finished = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.control: Control | None = None
        self.after_closing: Callable[[], str] = lambda: ""
        self.longest = self.longest_work = 0.0
        """Longest delivery of this run in seconds: by the clock, and the main thread's own work in it."""
        self._run: _Run | None = None
        self._steps: Iterator[None] | None = None
        self._thread_ended = False
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._on_timer)

    @property
    def running(self) -> bool:
        """True from `start` until `finished` was emitted."""
        return self._run is not None

    def start(self, job: Callable[[], Iterable[Any]], control: Control, title: str = "The run") -> None:
        """Run ``job()``, an iterable of events that heeds ``control``, in a background thread."""
        if self.running:
            raise RunFailed("A run is going on already; stop it first.")
        self.control = control
        self.longest = self.longest_work = 0.0
        self._run, self._steps, self._thread_ended = _Run(job, control, title), None, False
        # The owner may be deleted during a run: the thread then has to end, and must not call back.
        self.destroyed.connect(control.stop)
        panel = self.parent()
        while panel is not None and not isinstance(panel.parent(), QDockWidget):
            panel = panel.parent()
        if panel is not None:
            panel.installEventFilter(self)
        worker = create_worker(self._run, _start_thread=False, _worker_class=_RunWorker)
        worker.finished.connect(self._on_thread_ended)
        worker.start()
        self._timer.start(INTERVAL_MS)

    def spread(self, steps: Iterator[None]) -> None:
        """Take these steps one in a turn of Qt's loop, and hand out the next event after them.

        For listeners whose work on an event is long: napari takes 5 to 15 ms to draw a layer, so each is a step.
        """
        self._steps = steps if self._steps is None else chain(self._steps, steps)

    def stop(self) -> None:
        """End the run at its next batch."""
        if self.control is not None:
            self.control.stop()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Stop the job when napari takes its widget out of its dock: nobody could see or steer it any more."""
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None and self._run is not None:
            if not self._run.control.stopped:
                said = (f"{self._run.title} was stopped because its panel was closed.", self.after_closing(), HIDE)
                show_warning(" ".join(filter(None, said)))
            self.stop()
        return False

    def before_closing(self) -> str:
        """Say what closing the panel does to the run; empty where none would be stopped."""
        if self._run is None or self._run.control.stopped:
            return ""
        said = (f"{self._run.title} is going on, and is stopped if its panel is closed.", self.after_closing(), HIDE)
        return " ".join(filter(None, said))

    def _deliver(self) -> bool:
        """Take a step, or hand out what has arrived within the time budget; True if nothing is left."""
        begin, work = time.perf_counter(), time.thread_time()
        spent, left, empty = 0.0, len(self._run.events) if self._run else 0, False  # what comes meanwhile can wait
        while spent < BUDGET_S:
            steps = self._steps
            if steps is not None:
                if next(steps, "all") == "all" and self._steps is steps:
                    self._steps = None
            elif self._run is not None and left > 0:  # looked up each time: a listener may have closed the window
                item = self._run.take()
                left -= len(item) if isinstance(item, list) else 1
                (self.batches if isinstance(item, list) else self.event_received).emit(item)
            else:
                empty = True
                break
            spent = time.perf_counter() - begin
            self.longest = max(self.longest, spent)
            self.longest_work = max(self.longest_work, time.thread_time() - work)
            if steps is not None or self._steps is not None:
                break
        self._timer.setInterval(INTERVAL_MS if empty else PAUSE_MS)
        return empty

    def _on_thread_ended(self) -> None:
        self._thread_ended = True
        self._timer.start(PAUSE_MS)

    def _on_timer(self) -> None:
        ended = self._thread_ended  # looked up first: what it posted last is delivered then
        if self._deliver() and ended:
            self._timer.stop()
            run, self._run = self._run, None
            if run is not None:
                self.destroyed.disconnect(run.control.stop)
                self.finished.emit(run.failure)


E = TypeVar("E")


def throttled(events: Iterable[E], is_minor: Callable[[E], bool]) -> Iterator[E]:
    """Leave out minor events that come faster than anyone can see; all others pass."""
    last = -MIN_INTERVAL_S
    for event in events:
        if is_minor(event):
            now = time.perf_counter()
            if now - last < MIN_INTERVAL_S:
                continue
            last = now
        yield event


def wait_for(ready: threading.Event, control: Control) -> None:
    """Wait in a job until the main thread is ready, or the run is stopped: its window may have been closed."""
    while not (ready.wait(0.05) or control.stopped):
        pass


class EventLoopSteps(QObject):
    """Takes the steps of an iterator one in a turn of Qt's loop: napari needs a tenth of a second for a new layer."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._steps: Iterator[None] = iter(())
        self._done: Callable[[], None] | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.step)

    def start(self, steps: Iterator[None], done: Callable[[], None] | None = None) -> None:
        """Take these steps; ``done()`` is called after the last."""
        self._steps, self._done = steps, done
        self._timer.start(PAUSE_MS)

    @property
    def busy(self) -> bool:
        """True while steps are left."""
        return self._timer.isActive()

    def step(self) -> bool:
        """Take a step now; False if there was none left."""
        if next(self._steps, "all") != "all":
            return True
        self._timer.stop()
        done, self._done = self._done, None
        if done is not None:
            done()
        return False

    def finish(self) -> None:
        """Take all steps that are left at once."""
        while self.step():
            pass

    def drop(self) -> None:
        """Take no further step."""
        self._steps = iter(())
        self.finish()


# ---- previews: the newest request only -------------------------------------------------------------------


class LatestOnly(QObject):
    """Runs one job at a time in a background thread; of those that come meanwhile only the newest is kept.

    So a dial that is turned fast draws as often as the machine can follow, the window stays free, and what is drawn
    last always belongs to where the dial stands.

    Signals
    -------
    done : object
        What a job returned; in the main thread. Not emitted for jobs that were `drop`-ped.
    failed : Exception
        What a job raised.
    """

    done = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._next: Callable[[], Any] | None = None
        self._running = False
        self._dropped = False

    @property
    def busy(self) -> bool:
        """True while an answer is on its way."""
        return self._running

    def ask(self, job: Callable[[], Any]) -> None:
        """Run ``job()`` as soon as the one that runs has ended; a job still waiting is forgotten."""
        self._next = job
        if not self._running:
            self._start()

    def drop(self) -> None:
        """Forget the job that waits, and the answer of the one that runs."""
        self._next = None
        self._dropped = self._running

    def _start(self) -> None:
        job, self._next = self._next, None
        assert job is not None
        self._running, self._dropped = True, False
        worker = create_qt_worker(_attempt, job, _start_thread=False, _worker_class=_Task)
        worker.returned.connect(self._on_returned)
        worker.start()

    def _on_returned(self, answer: tuple[Any, Exception | None]) -> None:
        self._running = False
        dropped, self._dropped = self._dropped, False
        if self._next is not None:  # first, so that a listener may ask again
            self._start()
        result, error = answer
        if dropped:
            return
        if error is None:
            self.done.emit(result)
        else:
            self.failed.emit(error)


def _attempt(job: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return what the job returned, or why it could not: an exception in a worker would only be warned about."""
    try:
        return job(), None
    except Exception as error:
        return None, error


# ---- torch in the process of a window ----------------------------------------------------------------------


def torch_beside_a_window() -> None:
    """Import torch so that it gets on with napari's canvas, and leave a core to the window."""
    _import_torch()
    import torch

    # torch's threads wait for one another, and the slowest is the one Qt disturbs.
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1)))


def _import_torch() -> None:
    """Import torch in a thread of its own, for a thread of Qt's pool.

    The pool reuses its threads, and Python knows them anew each time. Older releases of torch (2.4 is one) keep what
    Python knew of the thread that imported them: the next job in it ended the process in a segmentation fault.
    """
    block_triton_beside_mesa()
    thread = threading.Thread(target=_attempt, args=(lambda: import_module("torch"),), name="import of torch")
    thread.start()  # if it fails there, the caller's own import raises the error
    thread.join()


def block_triton_beside_mesa() -> bool:
    """Make Python believe that triton is not installed, if importing it would end the process.

    On Linux, OpenGL drivers of Mesa (llvmpipe: remote desktops, containers, virtual machines; some AMD ones) load
    LLVM; triton brings an LLVM of its own, and importing it after the first is a segmentation fault. torch imports it
    with the first optimiser, only to look whether it is there. It is needed for `torch.compile` alone, which this
    package does not use. So where Mesa's LLVM is loaded already and triton is not, it stays out.

    Returns
    -------
    bool
        Whether triton is kept out.
    """
    if "triton" not in sys.modules and _mesa_llvm_is_loaded():
        sys.modules["triton"] = None  # type: ignore[assignment] # Python's own sign for "cannot be imported"
    return sys.modules.get("triton", ...) is None


def _mesa_llvm_is_loaded(maps: Path = Path("/proc/self/maps")) -> bool:
    """Tell whether a shared libLLVM, or a driver that holds one, is mapped into this process (Linux only)."""
    try:
        loaded = maps.read_text()
    except OSError:
        return False
    return any(library in loaded for library in ("libLLVM", "swrast_dri", "libgallium"))


def warm_up_in_background(returned: Callable[[list[Device]], None]) -> None:
    """Start `warm_up` in a thread; ``returned`` is called with the devices in the main thread, which calls this."""
    import pint

    # napari asks it with the first layer; asked by two threads at once for the first time, it fails in one of them.
    _ = pint.get_application_registry().pixel
    worker = create_qt_worker(warm_up, _start_thread=False, _worker_class=_Task)
    worker.returned.connect(returned)
    worker.start()


def warm_up() -> list[Device]:
    """Import the engine and what napari and torch import late, so that the first Run need not wait; for a thread.

    Returns
    -------
    list of Device
        What this machine can run on.
    """
    import numpy as np
    from napari.layers import Labels

    from napari_metastructure.plugin._layers import colormap

    # pandas, colormaps, and what numba compiles for labels with colours of their own: a second at the first Run
    Labels(np.zeros((1, 1, 1), np.uint8), colormap=colormap({0: "transparent", 1: "white"}, others="white"))
    _import_torch()
    import torch

    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # torch's compiler, looked for by the first optimiser
    import napari_metastructure.igtt.iterate  # noqa: F401
    from napari_metastructure.networks.device import list_devices

    return list_devices()
