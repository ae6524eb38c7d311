"""Events cross threads whole, and nothing that goes wrong in the thread is lost."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.plugin._worker import Mailbox, Runner
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
    runner.told.connect(hear)
    yield runner
    runner.stop()
    qtbot.waitUntil(lambda: not runner.running, timeout=5000)


def run(qtbot, runner, job, control=None):
    control = control or Control()
    with qtbot.waitSignal(runner.ended, timeout=10_000) as blocker:
        runner.start(lambda: job(control), control)
    return blocker.args[0]


def test_every_event_arrives_in_order_in_the_main_thread(qtbot, runner):
    assert run(qtbot, runner, steps) is None
    assert [type(e).__name__ for e in runner.heard] == 2 * [*5 * ["BatchFinished"], "EpochFinished"] + ["Finished"]
    assert [e.batch for e in runner.heard if isinstance(e, BatchFinished)] == 2 * [1, 2, 3, 4, 5]
    assert runner.threads == {threading.main_thread()}
    assert not runner.running


def test_a_flood_reaches_qt_at_most_ten_times_a_second(qtbot, runner):
    deliveries = []
    runner.batches.connect(lambda _: deliveries.append(time.monotonic()))

    def flood(control):
        end = time.monotonic() + 1.0
        count = 0
        while time.monotonic() < end:
            count += 1
            yield BatchFinished(1, count, 10**9, 0.0)
            time.sleep(0.0005)
        yield epoch(1)

    assert run(qtbot, runner, flood) is None
    assert len(runner.heard) > 300
    assert 2 <= len(deliveries) <= 12
    assert sum(isinstance(e, EpochFinished) for e in runner.heard) == 1


def test_slow_listeners_do_not_pile_up_in_one_turn_of_the_loop(qtbot, runner):
    """Many epochs that wait are handed out over several turns, so that the window is drawn in between."""
    turns = []
    runner.told.connect(lambda _: time.sleep(0.03))
    deliver = runner._deliver
    runner._deliver = lambda: turns.append(1) or deliver()

    def burst(control):
        yield from (epoch(n) for n in range(5))

    assert run(qtbot, runner, burst) is None
    assert len(runner.heard) == 5
    assert 0.03 <= runner.longest < 0.03 * 4
    assert len(turns) >= 5


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
    from napari_metastructure.plugin import _worker as module

    make = module.create_worker
    monkeypatch.setattr(module, "create_worker", lambda *a, **k: workers.append(make(*a, **k)) or workers[-1])
    with qtbot.waitSignal(runner.ended, timeout=10_000):
        runner.start(lambda: steps(control, batches=10**6, log=log, pause=0.002), control)
        qtbot.waitUntil(lambda: bool(runner.heard), timeout=5000)
        workers[0].quit()
    assert isinstance(runner.heard[-1], Finished)
    assert runner.heard[-1].stopped
    assert len(log) == 1
    assert log[0] is not threading.main_thread()


def test_quit_wakes_a_paused_job(qtbot, runner):
    control = Control()
    with qtbot.waitSignal(runner.ended, timeout=10_000):
        runner.start(lambda: steps(control, batches=10**6, pause=0.002), control)
        qtbot.waitUntil(lambda: bool(runner.heard), timeout=5000)
        control.pause()
        qtbot.wait(250)
        before = len(runner.heard)
        qtbot.wait(250)
        assert len(runner.heard) == before
        runner.stop()
    assert runner.heard[-1].stopped


def test_deleting_the_owner_during_a_run_ends_the_thread(qtbot):
    owner, control, log = Runner(), Control(), []
    owner.start(lambda: steps(control, batches=10**6, log=log, pause=0.002), control)
    qtbot.wait(50)
    owner.deleteLater()
    qtbot.waitUntil(lambda: len(log) == 1, timeout=5000)
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


def test_the_mailbox_joins_consecutive_batches_only():
    box = Mailbox()
    for event in (BatchFinished(1, 1, 2, 0.0), BatchFinished(1, 2, 2, 0.0), epoch(1), BatchFinished(2, 1, 2, np.nan)):
        box.put(event)
    assert [b.batch for b in box.take()] == [1, 2]
    assert box.take().epoch == 1
    assert [b.epoch for b in box.take()] == [2]
    assert box.take() is None
