"""Steps in a process of their own: one that fails, hangs or dies becomes a row, and the next one goes on.

One worker process takes one step after the other, for importing torch and opening the card cost seconds. After a step
that did not end well it is replaced: an error can leave the card unusable for the process that met it.
"""

import multiprocessing
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import psutil

from gpu.report import Report, Row

START_SECONDS = 120.0
"""What importing torch and opening the card may take on a machine that has never done it."""


@dataclass(frozen=True)
class Job:
    """One step: its name, the function ``module:name`` that does it, and its share of the time."""

    name: str
    function: str
    share: float


def run(jobs: Sequence[Job], device: str, seconds: float, report: Report) -> None:
    """Run the steps one after the other; what they find goes into the report.

    Each may take its share of the time that is left, so time that a step does not need goes to those after it.

    Parameters
    ----------
    device : str
        As `networks.device.resolve` takes it.
    seconds : float
        For all of them together.
    """
    deadline = time.monotonic() + seconds
    worker: _Worker | None = None
    for number, job in enumerate(jobs):
        left = deadline - time.monotonic()
        if left <= 0:
            report.add(Row(job.name, "the step", status="skipped", note="There was no time left."))
            continue
        try:
            if worker is None:
                worker = _Worker(device)
                report.device, report.on_gpu = worker.wait_until_ready(min(START_SECONDS, left))
                left = deadline - time.monotonic()
            limit = max(1.0, left * job.share / sum(later.share for later in jobs[number:]))
            healthy = worker.do(job, limit, report)
        except _Ended as end:
            report.add(Row(job.name, "the step", status="failed", note=str(end)))
            healthy = False
        if not healthy and worker is not None:
            worker.end()
            worker = None
    if worker is not None:
        worker.end()


class _Ended(Exception):
    """Why the worker is of no use any more."""


class _Worker:
    """The process; this side of it."""

    def __init__(self, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._messages, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, device), name="gpu-check")
        self._process.start()
        there.close()  # so that the death of the process ends the messages

    def wait_until_ready(self, seconds: float) -> tuple[str, bool]:
        """Return what the device is called, and whether it is a GPU."""
        kind, *facts = self._next(time.monotonic() + seconds, f"The process did not start within {seconds:.0f} s.")
        if kind != "ready":
            raise _Ended(str(facts[0]))
        return facts[0], facts[1]

    def do(self, job: Job, seconds: float, report: Report) -> bool:
        """One step; whether the process can go on with another one."""
        try:
            self._messages.send((job, seconds))
        except OSError:
            self._died()
        began = time.monotonic()
        until, late = began + seconds, f"It did not end within its {seconds:.0f} s and was ended."
        fine = True
        while True:
            kind, *facts = self._next(until, late)
            if kind == "done":
                took = time.monotonic() - began
                report.add(Row(job.name, "the whole step", took, "s", f"<= {seconds:.0f} s", "ok"))
                return fine
            (row,) = facts
            fine = fine and row.status != "failed"
            report.add(row)

    def end(self) -> None:
        """End the process and all that it started."""
        self._messages.close()
        try:
            process = psutil.Process(self._process.pid)
            for one in [*process.children(recursive=True), process]:
                one.kill()
        except psutil.NoSuchProcess:
            pass
        self._process.join()

    def _next(self, until: float, late: str) -> tuple[Any, ...]:
        if not self._messages.poll(max(0.0, until - time.monotonic())):
            raise _Ended(late)
        try:
            return self._messages.recv()
        except (EOFError, OSError):
            self._died()

    def _died(self) -> NoReturn:
        self._process.join()
        raise _Ended(f"Its process died (exit code {self._process.exitcode}).")


def _serve(messages: Connection, device: str) -> None:
    """Do steps as they come; runs in the process."""
    try:
        from gpu.measure import Step, describe

        found, name = describe(device)
        messages.send(("ready", name, found.type != "cpu"))
    except Exception as error:  # whatever it is, it belongs into the table
        messages.send(("failed", f"{type(error).__name__}: {error}"))
        return
    while True:
        try:
            job, seconds = messages.recv()
        except EOFError:
            return
        step = Step(job.name, found, seconds, lambda row: messages.send(("row", row)))
        module, function = job.function.split(":")
        try:
            getattr(import_module(module), function)(step)
        except Exception as error:
            step.failed("the step", error, traceback.format_exc())
        messages.send(("done",))
