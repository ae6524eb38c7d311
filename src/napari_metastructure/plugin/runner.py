"""Carry a job's events from a background thread to the main thread.

Two traps of generator workers are avoided by construction (both measured):

- a `RuntimeError` in a napari *generator* worker vanishes, and torch's out-of-memory is one. Here a plain
  function drains the generator, so every exception is caught and told.
- ``worker.quit()`` abandons a generator half way, with its weights and files. Here ``quit`` pulls the job's
  own stop flag, and the job leaves its loop, saves and ends by itself.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, QTimer, Signal

from napari_metastructure.errors import MetastructureError, RunFailed
from napari_metastructure.training.events import BatchFinished, Event

if TYPE_CHECKING:
    from napari_metastructure.training.control import Control

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
