"""Carry a job's events from a background thread to the main thread.

Two traps of generator workers are avoided by construction (both measured):

- a `RuntimeError` in a napari *generator* worker vanishes, and torch's out-of-memory is one. Here a plain
  function drains the generator, so every exception is caught and told.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import create_worker as create_qt_worker

from napari_metastructure.errors import MetastructureError, RunFailed
from napari_metastructure.training.events import BatchFinished, Event

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device
    from napari_metastructure.training.control import Control
    from napari_metastructure.training.events import Event


# -------- What the background thread of a run does: torch beside a window, and iGTT from layers to events.


OFTEN_ENOUGH_S = 0.05
"""Progress comes no more often than this."""


def torch_beside_a_window() -> None:
    """Import torch so that it gets on with napari's canvas, and leave a core to the window."""
    keep_triton_out()
    import torch

    # torch's threads wait for one another, and the slowest is the one Qt disturbs.
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1)))


def now_and_then(events: Iterable[Any], minor: Callable[[Any], bool]) -> Iterator[Any]:
    """Leave out minor events that come faster than anyone can see; all others pass."""
    last = -OFTEN_ENOUGH_S
    for event in events:
        if minor(event):
            now = time.perf_counter()
            if now - last < OFTEN_ENOUGH_S:
                continue
            last = now
        yield event


log = logging.getLogger(__name__)

INTERVAL_MS = 100
"""Time between two deliveries: at most ten updates a second reach Qt, whatever the job's pace."""

BUDGET_S = 0.02
"""Once a delivery took this long, what is left waits for the next turn of the event loop."""

PAUSE_MS = 5
"""Time for Qt between deliveries at the end of a run. Not 0: Qt posts those, and does them all before it draws."""


class Mailbox:
    """A queue between the two threads; consecutive `BatchFinished` come out as one list."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._lock = threading.Lock()

    def put(self, event: Event) -> None:
        """Add an event (any thread)."""
        with self._lock:
            self._events.append(event)

    def __len__(self) -> int:
        return len(self._events)

    def take(self) -> Event | list[BatchFinished] | None:
        """The oldest event, or all batches up to the next event of another kind, or None."""
        with self._lock:
            if not self._events:
                return None
            if not isinstance(self._events[0], BatchFinished):
                return self._events.popleft()
            batches: list[BatchFinished] = []
            while self._events and isinstance(first := self._events[0], BatchFinished):
                batches.append(first)
                self._events.popleft()
            return batches


class _Pump:
    """What the thread does: run the job to its end and post what it says.

    An object and not a closure because napari's task list keeps every worker it has seen: the job, and with
    it images and network, must be let go at the end.
    """

    def __init__(self, job: Callable[[], Iterable[Any]], control: Control, mailbox: Mailbox, what: str) -> None:
        self.job: Callable[[], Iterable[Any]] | None = job
        self.control = control
        self.mailbox = mailbox
        self.what = what
        self.failure: MetastructureError | None = None

    def __str__(self) -> str:  # napari shows this when it asks before closing
        return self.what

    def __call__(self) -> None:
        job, self.job = self.job, None
        try:
            assert job is not None
            for event in job():
                self.mailbox.put(event)
        except MetastructureError as error:
            self.failure = type(error)(str(error))  # a fresh one: the traceback would keep the network alive
        except BaseException as error:  # whatever it is, the widget has to leave its running state
            # as text: a log handler that kept the traceback would keep the network alive with it
            log.error("%s broke\n%s", self.what, traceback.format_exc())
            self.failure = RunFailed(f"{self.what} broke: {type(error).__name__}: {error}")


class RunWorker(FunctionWorker):
    """A worker whose ``quit`` (napari calls it when its window closes) stops the job at its next batch."""

    def __init__(self, pump: _Pump) -> None:
        super().__init__(pump)
        self._stop = pump.control.stop

    def quit(self) -> None:
        """Ask the job to stop, save and end."""
        self._stop()
        super().quit()


class Runner(QObject):
    """Runs one job at a time; its signals are emitted in the main thread.

    Signals
    -------
    batches : list of BatchFinished
        All steps since the last delivery, oldest first.
    told : Event
        Every other event, in order, none dropped.
    ended : MetastructureError or None
        Once per run, after the last event and once the thread is through; the failure, if it failed.
    """

    batches = Signal(list)
    told = Signal(object)
    ended = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.control: Control | None = None
        self.longest = self.longest_work = 0.0
        """Longest delivery of this run in seconds: by the clock, and the main thread's own work in it."""
        self._pump: _Pump | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._deliver)

    @property
    def running(self) -> bool:
        """True from `start` until `ended` was emitted."""
        return self._pump is not None

    def start(self, job: Callable[[], Iterable[Any]], control: Control, what: str = "The run") -> None:
        """Run ``job()``, an iterable of events that heeds ``control``, in a background thread."""
        if self.running:
            raise RunFailed("A run is going on already; stop it first.")
        self.control = control
        self.longest = self.longest_work = 0.0
        self._pump = _Pump(job, control, Mailbox(), what)
        # The owner may be deleted during a run: the thread then has to end, and must not call back.
        self.destroyed.connect(control.stop)
        worker = create_worker(self._pump, _start_thread=False, _worker_class=RunWorker)
        worker.finished.connect(self._finish)
        worker.start()
        self._timer.start()

    def stop(self) -> None:
        """End the run at its next batch."""
        if self.control is not None:
            self.control.stop()

    def _deliver(self) -> bool:
        """Hand out what has arrived, within the time budget; True if nothing is left."""
        begin, work = time.perf_counter(), time.thread_time()
        spent, left = 0.0, len(self._pump.mailbox) if self._pump else 0  # what comes meanwhile can wait
        while spent < BUDGET_S:
            # asked anew each time: a listener may have closed the window
            item = None if self._pump is None or left <= 0 else self._pump.mailbox.take()
            if item is None:
                return True
            left -= len(item) if isinstance(item, list) else 1
            (self.batches if isinstance(item, list) else self.told).emit(item)
            spent = time.perf_counter() - begin
            self.longest = max(self.longest, spent)
            self.longest_work = max(self.longest_work, time.thread_time() - work)
        return False

    def _finish(self) -> None:
        if not self._deliver():
            QTimer.singleShot(PAUSE_MS, self._finish)
            return
        self._timer.stop()
        pump, self._pump = self._pump, None
        if pump is not None:
            self.destroyed.disconnect(pump.control.stop)
            self.ended.emit(pump.failure)


# -------- Answer the newest question only: background work for previews that follow a dial.


Job = Callable[[], Any]


class Latest(QObject):
    """Runs one job at a time in a background thread; of those that come meanwhile only the newest is kept.

    So a dial that is turned fast draws as often as the machine can follow, the window stays free, and what is drawn
    last always belongs to where the dial stands.

    Signals
    -------
    done : object
        What a job returned; in the main thread. Answers to questions that were `drop`-ped are not told.
    failed : Exception
        What a job raised.
    """

    done = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._next: Job | None = None
        self._running = False
        self._dropped = False

    @property
    def busy(self) -> bool:
        """True while an answer is on its way."""
        return self._running

    def ask(self, job: Job) -> None:
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
        worker = create_qt_worker(_attempt, job, _start_thread=False)
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


def _attempt(job: Job) -> tuple[Any, Exception | None]:
    """What the job returned, or why it could not: an exception in a worker would only be warned about."""
    try:
        return job(), None
    except Exception as error:
        return None, error


# -------- Keep the process alive where Mesa draws napari's canvas and torch would load triton.


def keep_triton_out() -> bool:
    """Tell Python that triton is not installed, if importing it would end the process.

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
    """Whether a shared libLLVM, or a driver that holds one, is mapped into this process (Linux only)."""
    try:
        loaded = maps.read_text()
    except OSError:
        return False
    return any(library in loaded for library in ("libLLVM", "swrast_dri", "libgallium"))


# -------- Load in the background what a first run would otherwise load while the user waits and watches.


def warm_up_in_background(returned: Callable[[list[Device]], None]) -> None:
    """Start `warm_up` in a thread; ``returned`` is called with the devices in the main thread, which calls this."""
    import pint

    # napari asks it with the first layer; asked by two threads at once for the first time, it fails in one of them.
    _ = pint.get_application_registry().pixel
    worker = create_qt_worker(warm_up)
    worker.returned.connect(returned)
    worker.start()


def warm_up() -> list[Device]:
    """Import the engine and what napari and torch import late; for a background thread.

    Returns
    -------
    list of Device
        What this machine can run on.
    """
    import numpy as np
    from napari.layers import Labels

    Labels(np.zeros((1, 1, 1), np.uint8))  # pandas and a colormap: a quarter of a second at the first Run
    keep_triton_out()
    import torch

    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # torch's compiler, looked for by the first optimiser
    import napari_metastructure.igtt.iterate  # noqa: F401
    from napari_metastructure.networks.device import list_devices

    return list_devices()
