"""Pools of workers for the units of a batch: this process, or the workers of dask.distributed."""

import os
import queue
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from platform import python_version
from typing import Any
from uuid import uuid4

from napari_metastructure import __version__
from napari_metastructure.batch.work_units import Outcome, Piece, perform
from napari_metastructure.errors import InputError, RunFailed, counted, listed
from napari_metastructure.images.read_options import ReadOptions, options
from napari_metastructure.images.writing import cannot_write
from napari_metastructure.training.control import Control

PATIENCE = 10
"""Seconds within which a scheduler has to answer, and its first worker to come."""

RETRIES = 2
"""How often work is done again after an error that another try may mend; workers that die are another matter."""

TICK = 0.2
"""Seconds between two looks at whether the user wants to stop."""

PER_CORE = 4
"""Worker processes of ``local:N`` for each core at most: a slip of the hand must not take the machine down."""

JOIN = ":join"

EVERY = 0.5
"""Seconds between two reports of a worker about one unit."""


@dataclass(frozen=True)
class Share:
    """So much of a unit, or of a part, is done (0 to 1); it has begun."""

    key: str
    share: float


@dataclass(frozen=True)
class Ended:
    """A unit, or a part, is done or failed."""

    key: str
    outcome: Outcome


class LocalPool:
    """One unit after the other in this process."""

    where = "this process"
    """Who does the work, in words."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Piece, Sequence[str]]] = deque()
        self._parts: dict[str, Outcome] = {}
        self._running: Any = None

    @property
    def room(self) -> bool:
        """One at a time."""
        return not self._waiting and self._running is None

    def submit(self, key: str, piece: Piece, parts: Sequence[str] = ()) -> None:
        """Take a piece of work; ``parts`` are the keys of what was submitted before and is joined by it."""
        self._waiting.append((key, piece, parts))

    def step(self, control: Control) -> Share | Ended | None:
        """Go one step further; return what happened.

        Raises
        ------
        Stopped
            If the user has stopped the batch.
        """
        control.checkpoint()
        if self._running is None:
            self._key, piece, parts = self._waiting.popleft()
            own = [self._parts.pop(part) for part in parts]
            self._running = perform(piece, options, control.checkpoint, own)
            return Share(self._key, 0.0)
        try:
            return Share(self._key, next(self._running))
        except StopIteration as end:
            outcome = end.value
        except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AssertionError) as error:
            outcome = Outcome(why=f"It broke: {type(error).__name__}: {error}")
        self._running = None
        if is_part(self._key):
            self._parts[self._key] = outcome
        return Ended(self._key, outcome)

    def close(self) -> None:
        """Leave the unit at work."""
        if self._running is not None:
            self._running.close()


# ---- dask.distributed ------------------------------------------------------------------------------------------


class ClusterPool:
    """The workers of a scheduler of dask.distributed; ``where`` names them, with the dashboard's address."""

    def __init__(self, client: Any, where: str) -> None:
        self.where, self._client = where, client
        self._topic = f"metastructure-{uuid4().hex[:12]}"
        self._news: queue.SimpleQueue[Share | tuple[str, Any]] = queue.SimpleQueue()
        self._futures: dict[str, Any] = {}
        self._parts: dict[str, tuple[str, ...]] = {}
        self._open: set[str] = set()
        self._looked, self._threads = -TICK, 1
        client.subscribe_topic(self._topic, lambda event: self._news.put(Share(*event[1]["share"])))

    @property
    def room(self) -> bool:
        """A few for each worker are under way, so that none waits and a stop leaves little behind."""
        if time.monotonic() - self._looked > 5:
            self._looked = time.monotonic()
            self._threads = max(1, sum(self._client.nthreads().values()))
        return len(self._open) < 2 * self._threads + 2

    def submit(self, key: str, piece: Piece, parts: Sequence[str] = ()) -> None:
        """Send a piece of work to the scheduler; what large units are split into goes first."""
        future = self._client.submit(
            on_worker,
            *(self._topic, key, piece, options, [self._futures[part] for part in parts]),
            key=f"{self._topic}-{key}",
            pure=False,
            retries=RETRIES,
            priority=1 if parts or is_part(key) else 0,
        )
        self._futures[key] = future
        self._parts[key] = tuple(parts)
        self._open.add(key)
        future.add_done_callback(lambda done: self._news.put((key, done)))

    def step(self, control: Control) -> Share | Ended | None:
        """Wait a moment for news, as `LocalPool.step`; None if there are none."""
        control.checkpoint()
        try:
            news = self._news.get(timeout=TICK)
        except queue.Empty:
            if self._client.status != "running":
                raise InputError("The scheduler is gone; start it again, and go on with the batch.") from None
            return None
        if isinstance(news, Share):
            return news if news.key in self._open else None
        key, future = news
        if key not in self._open:
            return None
        self._open.remove(key)
        outcome = self._outcome_of(key, future)
        for done in self._parts.pop(key):
            self._futures.pop(done, None)
        if not is_part(key):
            self._futures.pop(key, None)
        return Ended(key, outcome)

    def _outcome_of(self, key: str, future: Any) -> Outcome:
        """Fetch an outcome; of parts it stays with the worker, for the one that joins them."""
        from distributed.scheduler import KilledWorker

        if future.status == "finished":
            if is_part(key):
                return Outcome()
            try:
                outcome: Outcome = future.result(timeout=PATIENCE * 6)
            except Exception as lost:  # its worker died with it, and the scheduler has given up
                return Outcome(why=f"Its result was lost: {type(lost).__name__}.")
            return outcome
        try:
            error = future.exception(timeout=PATIENCE)
        except Exception as lost:
            error = lost
        if isinstance(error, KilledWorker):
            return Outcome(why="Each worker that took it died, perhaps for want of memory; give them more, or fewer.")
        return Outcome(why=f"It broke: {type(error).__name__}: {error}")

    def close(self) -> None:
        """Cancel what is not done."""
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel(list(self._futures.values()), force=True)
        self._futures.clear()


def is_part(key: str) -> bool:
    """Tell the keys of parts, ``unit:number``, from those of units and of what joins parts, ``unit:join``."""
    return ":" in key and not key.endswith(JOIN)


def on_worker(topic: str, key: str, piece: Piece, chosen: ReadOptions, parts: Sequence[Outcome]) -> Outcome:
    """Do a piece of work in a worker, and tell how far it is."""
    from distributed import get_worker

    worker, last, share = get_worker(), -EVERY, 0.0
    steps = perform(piece, chosen, _go_on, parts)
    while True:
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            worker.log_event(topic, {"share": (key, share)})
        try:
            share = next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def _go_on() -> None:
    """Pass a checkpoint: what runs on a worker is not stopped half way."""


Pool = LocalPool | ClusterPool
"""Takes units of work and says what becomes of them."""


@contextmanager
def pool_of(scheduler: str | None, folders: Sequence[Path], out: Path) -> Iterator[Pool]:
    """Give the pool that a recipe asks for.

    Parameters
    ----------
    scheduler : str or None
        As `recipe.check_scheduler` takes it; None: this process.
    folders : sequence of Path
        Where the inputs are: every worker has to see them.
    out : Path
        Where they have to be able to write.

    Raises
    ------
    InputError
        If there is no such scheduler, or its workers cannot do the work.
    """
    if scheduler is None:
        here = LocalPool()
        try:
            yield here
        finally:
            here.close()
        return
    with _client(scheduler) as client:
        where = _check_workers(client, scheduler, folders, out)
        pool = ClusterPool(client, where)
        try:
            yield pool
        finally:
            pool.close()


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    """Connect to a scheduler, or start one with workers of this machine."""
    try:
        import distributed
    except ImportError:
        raise InputError(
            'A scheduler needs dask.distributed, which is not installed; pip install "napari-metastructure[cluster]".'
        ) from None
    import dask

    class Unshaken(distributed.WorkerPlugin):  # type: ignore[misc] # without types
        """Leaves Ctrl-C, which the terminal sends to all processes, to the one that hands out the work."""

        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    # One thread each, so that results are the same to the bit; not dask's trimming of memory, which halves the speed.
    threads = {f"{name}_NUM_THREADS": 1 for name in ("OMP", "MKL", "OPENBLAS")}
    with dask.config.set(
        {"distributed.logging.distributed": "critical", "distributed.nanny.pre-spawn-environ": threads}
    ):
        if scheduler.startswith("local:"):
            count, most = int(scheduler.removeprefix("local:")), PER_CORE * (os.cpu_count() or 1)
            if count > most:
                raise InputError(
                    f"The scheduler {scheduler!r} would start {count} processes on a machine of {os.cpu_count()} "
                    f"cores; take {most} at most."
                )
            options = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": 0}
            try:
                local = distributed.LocalCluster(silence_logs=50, **options)
            except (RuntimeError, OSError) as error:
                raise RunFailed(
                    f"The {count} processes of {scheduler} do not start ({error}); take fewer, or do without."
                ) from error
            with local, distributed.Client(local, set_as_default=False) as client:
                client.register_plugin(Unshaken())
                yield client
            return
        try:
            client = distributed.Client(scheduler, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"No scheduler answers at {scheduler}; start one (dask scheduler), or check the address."
            ) from error
        with client:
            yield client


def _check_workers(client: Any, scheduler: str, folders: Sequence[Path], out: Path) -> str:
    """Refuse workers that cannot do the work; return in words who they are."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except (OSError, TimeoutError):
        raise InputError(
            f"The scheduler at {scheduler} has no workers; start some (dask worker {scheduler})."
        ) from None
    mine = python_version()
    versions = client.get_versions(check=False)["workers"]
    for worker, facts in versions.items():
        theirs = str((facts or {}).get("host", {}).get("python", "")).split(".final")[0]
        if theirs.split(".")[:2] != mine.split(".")[:2]:
            raise InputError(f"Worker {worker} runs Python {theirs}, this is {mine}; give both the same.")
    token = out / f".{uuid4().hex}.seen"
    try:
        token.touch()
        seen = client.run(check_worker, list(folders), token, on_error="return")
    except OSError as error:
        raise cannot_write(out, error) from error
    finally:
        token.unlink(missing_ok=True)
    for worker, found in seen.items():
        if not isinstance(found, dict):
            raise InputError(
                f"Worker {worker} cannot load napari-metastructure ({found}); install the version {__version__} there."
            )
        if found["version"] != __version__:
            raise InputError(
                f"Worker {worker} has napari-metastructure {found['version']}, this is {__version__}; install the same."
            )
        if found["why"]:
            raise InputError(f"Worker {worker}: {found['why']}")
    words = f"{counted(len(seen), 'worker')} of {'this machine' if scheduler[:5] == 'local' else scheduler}"
    return f"{words}, dashboard {client.dashboard_link}" if client.dashboard_link else words


def check_worker(folders: Sequence[Path], token: Path) -> dict[str, str]:
    """Say, in a worker, which version it has, and why it cannot read or write where it has to."""
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    why = ""
    if missing or not token.exists():
        what = listed(missing[:3]) if missing else f"the {token.parent} of this machine"
        why = f"it does not see {what}; put images and results where all workers find them under the same path."
    elif not os.access(token.parent, os.W_OK):
        why = f"it has no permission to write to {token.parent}; choose another folder."
    return {"version": __version__, "why": why}
