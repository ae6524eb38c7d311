"""Background threads: events cross whole, nothing that goes wrong is lost, previews answer the newest request."""

import gc
import sys
import threading
import time
import weakref
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool, QTimer

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.plugin import _worker
from napari_metastructure.plugin._worker import (
    BUDGET_S,
    INTERVAL_MS,
    MIN_INTERVAL_S,
    EventLoopSteps,
    LatestOnly,
    Runner,
    throttled,
    wait_for,
)
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import BatchFinished, EpochFinished, Finished, Warned


def epoch(number):
    return EpochFinished(number, 3, 0.5, 0.9, 0.1, (), (), (), (), 1.0, 0.1)


def steps(control, *, epochs=2, batches=5, log=None, pause=0.0):
    """A job as the engine writes them: it heeds the control and cleans up behind itself."""
    log = [] if log is None else log
    try:
        for e in range(1, epochs + 1):
            for b in range(1, batches + 1):
                control.checkpoint()
                time.sleep(pause)
                yield BatchFinished(e, b, batches, 1.0 / b)
            yield epoch(e)
        yield Finished(False, "done", epochs, (), ())
    except Stopped:
        yield Finished(True, "stopped", 0, (), ())
    finally:
        log.append(threading.current_thread())


@pytest.fixture
def runner(qtbot):
    runner = Runner()
    runner.heard, runner.threads = [], set()

    def hear(item):
        runner.threads.add(threading.current_thread())
        runner.heard.extend(item if isinstance(item, list) else [item])

    runner.batches.connect(hear)
    runner.event_received.connect(hear)
    yield runner
    runner.stop()
    qtbot.waitUntil(lambda: not runner.running, timeout=60_000)


def run(qtbot, runner, job, control=None):
    control = control or Control()
    with qtbot.waitSignal(runner.finished, timeout=60_000) as blocker:
        runner.start(lambda: job(control), control)
    return blocker.args[0]


def test_every_event_arrives_in_order_in_the_main_thread(qtbot, runner):
    assert run(qtbot, runner, steps) is None
    assert [type(e).__name__ for e in runner.heard] == 2 * [*5 * ["BatchFinished"], "EpochFinished"] + ["Finished"]
    assert [e.batch for e in runner.heard if isinstance(e, BatchFinished)] == 2 * [1, 2, 3, 4, 5]
    assert runner.threads == {threading.main_thread()}
    assert not runner.running


def test_a_flood_reaches_qt_in_one_bundle_a_delivery(qtbot, runner):
    """Whatever the pace of the job: deliveries are made by a timer of their own."""
    posted, bundles = threading.Event(), []
    runner.batches.connect(lambda batches: bundles.append(len(batches)))

    def flood(control):
        yield from (BatchFinished(1, number, 1000, 0.0) for number in range(1000))
        yield epoch(1)
        posted.set()

    control = Control()
    with qtbot.waitSignal(runner.finished):
        runner.start(lambda: flood(control), control)
        assert posted.wait(60)  # Qt's loop stands still meanwhile
        assert runner._timer.interval() == INTERVAL_MS
    assert bundles == [1000]
    assert len(runner.heard) == 1001


@pytest.fixture
def clock(monkeypatch):
    """The time, to be set."""
    now = [5.0]
    monkeypatch.setattr(_worker.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def turns(runner, monkeypatch):
    """The deliveries so far."""
    counted, deliver = [], runner._deliver
    monkeypatch.setattr(runner, "_deliver", lambda: counted.append(1) or deliver())
    return counted


@pytest.mark.parametrize(("seconds", "together"), [(2 * BUDGET_S, 1), (0.4 * BUDGET_S, 3), (0, 9)])
def test_slow_listeners_do_not_pile_up_in_one_turn_of_the_loop(qtbot, runner, clock, turns, seconds, together):
    """Many epochs that wait are handed out over several turns, so that the window is drawn in between."""
    heard, posted, control = Counter(), threading.Event(), Control()

    def listen(event):
        clock[0] += seconds
        heard[len(turns)] += 1

    runner.event_received.connect(listen)

    def burst(control):
        yield from (epoch(n) for n in range(9))
        posted.set()

    with qtbot.waitSignal(runner.finished):
        runner.start(lambda: burst(control), control)
        assert posted.wait(60)
    assert sum(heard.values()) == 9
    assert max(heard.values()) == together
    assert runner.longest == pytest.approx(together * seconds)


def test_steps_of_a_listener_come_one_a_turn_and_before_the_next_event(qtbot, runner, turns):
    log = []

    def steps(number):
        for step in "ab":
            log.append((f"{number}{step}", len(turns)))
            yield
        log.append((f"{number}end", len(turns)))

    def listen(event):
        log.append((f"{event.epoch}", len(turns)))
        runner.spread(steps(event.epoch))

    runner.event_received.connect(listen)
    runner.finished.connect(lambda failure: log.append(("finished", len(turns))))
    assert run(qtbot, runner, lambda control: (epoch(number) for number in range(3))) is None
    assert [what for what, _ in log] == [
        *(f"{number}{step}" for number in range(3) for step in ("", "a", "b", "end")),
        "finished",
    ]
    assert all(turn < after for (_, turn), (_, after) in pairwise(log[:-1]))


def test_a_step_that_fails_is_the_last_of_its_event(qtbot, runner):
    def steps():
        yield
        raise ValueError("of a listener")

    runner.event_received.connect(lambda event: runner.spread(steps()))
    with qtbot.captureExceptions() as errors:
        assert run(qtbot, runner, lambda control: (epoch(number) for number in range(2))) is None
    assert [str(error[1]) for error in errors] == ["of a listener"] * 2
    assert len(runner.heard) == 2


class OutOfMemory(RuntimeError):
    """What torch raises when a GPU is full derives from RuntimeError."""


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), OutOfMemory("CUDA out of memory"), ValueError("x")])
def test_a_runtime_error_in_the_thread_does_not_vanish(qtbot, runner, error):
    """napari's generator workers swallow RuntimeErrors and never end; see superqt's WorkerBase.run."""

    def broken(control):
        yield BatchFinished(1, 1, 2, 0.5)
        raise error

    failure = run(qtbot, runner, broken)
    assert isinstance(failure, RunFailed)
    assert type(error).__name__ in str(failure)
    assert str(error) in str(failure)
    assert not isinstance(failure, RuntimeError)
    assert len(runner.heard) == 1
    assert not runner.running


def test_our_own_errors_keep_type_and_sentence(qtbot, runner):
    def refuse(control):
        raise InputError("Layer 'a' is constant; choose another.")
        yield

    failure = run(qtbot, runner, refuse)
    assert type(failure) is InputError
    assert str(failure) == "Layer 'a' is constant; choose another."
    assert failure.__traceback__ is None


def test_after_a_failure_the_runner_runs_again(qtbot, runner):
    def broken(control):
        raise RuntimeError("once")
        yield

    assert run(qtbot, runner, broken) is not None
    assert run(qtbot, runner, steps) is None


def test_quit_ends_the_job_by_itself_and_in_its_own_thread(qtbot, runner, monkeypatch):
    """``worker.quit()`` must not leave the generator hanging: its finally runs, in the worker's thread."""
    workers, log, control = [], [], Control()
    make = _worker.create_worker
    monkeypatch.setattr(_worker, "create_worker", lambda *a, **k: workers.append(make(*a, **k)) or workers[-1])
    with qtbot.waitSignal(runner.finished, timeout=60_000):
        runner.start(lambda: steps(control, batches=10**6, log=log, pause=0.002), control)
        qtbot.waitUntil(lambda: bool(runner.heard), timeout=60_000)
        workers[0].quit()
    assert isinstance(runner.heard[-1], Finished)
    assert runner.heard[-1].stopped
    assert len(log) == 1
    assert log[0] is not threading.main_thread()


def test_quit_wakes_a_paused_job(qtbot, runner, hold):
    control = Control()
    with qtbot.waitSignal(runner.finished):
        held = hold(control)
        runner.start(lambda: steps(control, batches=10**6), control)
        qtbot.waitUntil(held.is_set)
        runner.stop()
    assert runner.heard[-1].stopped


def test_deleting_the_owner_during_a_run_ends_the_thread(qtbot, hold):
    owner, control, log = Runner(), Control(), []
    held = hold(control)
    owner.start(lambda: steps(control, batches=10**6, log=log), control)
    qtbot.waitUntil(held.is_set)
    owner.deleteLater()
    qtbot.waitUntil(lambda: len(log) == 1)
    assert control.stopped


def test_a_finished_job_is_let_go(qtbot, runner):
    """napari's task list keeps all workers; images and network must not stay in memory with them."""

    class Network:
        pass

    network = Network()
    alive = weakref.ref(network)

    def job(control, network=network):
        yield Warned(str(network))
        raise RuntimeError("with a traceback")

    assert run(qtbot, runner, job) is not None
    del network, job
    gc.collect()
    assert alive() is None


def test_two_runs_at_once_are_refused(qtbot, runner):
    control = Control()
    runner.start(lambda: steps(control, batches=10**6, pause=0.002), control)
    with pytest.raises(RunFailed, match="already"):
        runner.start(lambda: iter(()), Control())


@pytest.fixture
def one_thread():
    """As many threads in Qt's pool as on a machine with one core."""
    pool = QThreadPool.globalInstance()
    before = pool.maxThreadCount()
    pool.setMaxThreadCount(1)
    yield pool
    pool.setMaxThreadCount(before)


def test_a_long_job_leaves_the_pool_to_short_ones(qtbot, runner, hold, one_thread):
    """Previews are drawn and results saved while a run goes on, whatever the number of cores."""
    control, latest, answers = Control(), LatestOnly(), []
    latest.done.connect(answers.append)
    held = hold(control)
    with qtbot.waitSignal(runner.finished):
        runner.start(lambda: steps(control), control)
        qtbot.waitUntil(held.is_set)
        latest.ask(lambda: "drawn")
        qtbot.waitUntil(lambda: answers == ["drawn"])
        runner.stop()
    qtbot.waitUntil(lambda: one_thread.activeThreadCount() == 0)


def test_consecutive_batches_alone_are_joined():
    run = _worker._Run(list, Control(), "The run")
    for event in (BatchFinished(1, 1, 2, 0.0), BatchFinished(1, 2, 2, 0.0), epoch(1), BatchFinished(2, 1, 2, np.nan)):
        run.post(event)
    assert [b.batch for b in run.take()] == [1, 2]
    assert run.take().epoch == 1
    assert [b.epoch for b in run.take()] == [2]
    assert run.take() is None


def test_what_is_minor_comes_seldom_and_all_else_at_once(clock):
    def events():
        for event, pause in ((1, 0.4), (2, 0.4), ("a", 0.3), (3, 0.2), (4, 0.1), ("b", 0.1), (5, 2), (6, 0)):
            yield event
            clock[0] += pause * MIN_INTERVAL_S

    assert list(throttled(events(), lambda event: isinstance(event, int))) == [1, "a", 3, "b", 6]


def test_waiting_ends_when_ready_or_stopped():
    ready, control = threading.Event(), Control()
    ready.set()
    wait_for(ready, control)
    control.stop()
    wait_for(threading.Event(), control)


# ---- one step in each turn of Qt's loop ------------------------------------------------------------------


def test_steps_are_taken_one_a_turn(qtbot):
    turns, log = EventLoopSteps(), []

    def steps():
        for number in range(3):
            log.append(number)
            QTimer.singleShot(0, lambda number=number: log.append(f"turn after {number}"))
            yield

    with qtbot.waitCallback() as done:
        turns.start(steps(), done)
        assert log == []
    assert [entry for entry in log if isinstance(entry, int)] == [0, 1, 2]
    assert log.index("turn after 0") < log.index(2)
    assert not turns.step()


def test_what_is_left_is_taken_at_once_or_dropped(qtbot):
    turns, log, ends = EventLoopSteps(), [], []
    for end in (turns.finish, turns.drop):
        turns.start((log.append(number) for number in range(3)), lambda: ends.append(len(log)))
        assert turns.step()
        end()
        assert not turns.step()
    assert log == [0, 1, 2, 0]
    assert ends == [3, 4], "the end is reported once"


# ---- previews: of requests that come faster than answers, the newest is answered --------------------------


@pytest.fixture
def latest(qtbot):
    latest = LatestOnly()
    latest.answers, latest.errors = [], []
    latest.done.connect(latest.answers.append)
    latest.failed.connect(latest.errors.append)
    return latest


def idle(qtbot, latest):
    qtbot.waitUntil(lambda: not latest.busy, timeout=60_000)


def test_the_newest_of_those_that_wait_is_answered(latest, qtbot):
    go = threading.Event()
    latest.ask(lambda: go.wait(60) and "first")
    assert latest.busy
    for number in range(5):
        latest.ask(lambda number=number: number)
    go.set()
    qtbot.waitUntil(lambda: latest.answers == ["first", 4], timeout=60_000)
    idle(qtbot, latest)
    assert latest.errors == []


def test_jobs_run_in_another_thread_and_are_told_in_this_one(latest, qtbot):
    told_in = []
    latest.done.connect(lambda _: told_in.append(threading.get_ident()))
    latest.ask(threading.get_ident)
    idle(qtbot, latest)
    assert latest.answers != [threading.get_ident()]
    assert told_in == [threading.get_ident()]


@pytest.mark.parametrize("error", [InputError("no"), RuntimeError("a RuntimeError is lost in a generator worker")])
def test_an_error_is_told_and_the_next_job_runs(latest, qtbot, error):
    def fail():
        raise error

    latest.ask(fail)
    idle(qtbot, latest)
    assert latest.errors == [error]
    latest.ask(lambda: 1)
    idle(qtbot, latest)
    assert latest.answers == [1]


def test_what_was_dropped_is_not_told(latest, qtbot):
    go = threading.Event()
    latest.ask(lambda: go.wait(60) and "dropped")
    latest.ask(lambda: "dropped before it ran")
    latest.drop()
    go.set()
    idle(qtbot, latest)
    latest.ask(lambda: "asked after it")
    idle(qtbot, latest)
    assert latest.answers == ["asked after it"]


def test_a_question_after_a_drop_is_answered_while_the_dropped_one_runs(latest, qtbot):
    go = threading.Event()
    latest.ask(lambda: go.wait(60) and "dropped")
    latest.drop()
    latest.ask(lambda: "new")
    go.set()
    qtbot.waitUntil(lambda: latest.answers == ["new"], timeout=60_000)


# ---- triton is kept out exactly where importing it would end the process ------------------------------------


@pytest.fixture
def no_triton(monkeypatch):
    """triton is not loaded yet."""
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "triton")


@pytest.mark.parametrize(
    ("maps", "there"),
    [
        ("7f00 r-xp /usr/lib/x86_64-linux-gnu/libLLVM-15.so.1\n", True),
        ("7f00 r-xp /usr/lib/x86_64-linux-gnu/libgallium-25.0.so\n", True),
        ("7f00 r-xp /usr/lib/x86_64-linux-gnu/libGLX_nvidia.so.0\n", False),
        (None, False),
    ],
)
def test_only_mesas_llvm_counts(tmp_path, maps, there):
    path = tmp_path / "maps"
    if maps is not None:
        path.write_text(maps)
    assert _worker._mesa_llvm_is_loaded(path) is there


def test_with_mesas_llvm_triton_cannot_be_imported(monkeypatch, no_triton):
    monkeypatch.setattr(_worker, "_mesa_llvm_is_loaded", lambda: True)
    assert _worker.block_triton_beside_mesa()
    assert _worker.block_triton_beside_mesa()
    with pytest.raises(ImportError):
        import triton  # noqa: F401


def test_without_it_nothing_changes(monkeypatch, no_triton):
    monkeypatch.setattr(_worker, "_mesa_llvm_is_loaded", lambda: False)
    assert not _worker.block_triton_beside_mesa()
    assert "triton" not in sys.modules


def test_a_triton_that_is_loaded_already_stays(monkeypatch, no_triton):
    loaded = object()
    monkeypatch.setitem(sys.modules, "triton", loaded)
    monkeypatch.setattr(_worker, "_mesa_llvm_is_loaded", lambda: True)
    assert not _worker.block_triton_beside_mesa()
    assert sys.modules["triton"] is loaded
