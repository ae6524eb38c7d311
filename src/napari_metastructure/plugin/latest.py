"""Answer the newest question only: background work for previews that follow a dial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal
from superqt.utils import create_worker

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
        worker = create_worker(_attempt, job, _start_thread=False)
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
