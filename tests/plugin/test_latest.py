"""Of questions that come faster than answers, the newest is answered, and none in vain."""

import threading

import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._worker import Latest


@pytest.fixture
def latest(qtbot):
    latest = Latest()
    latest.answers, latest.errors = [], []
    latest.done.connect(latest.answers.append)
    latest.failed.connect(latest.errors.append)
    return latest


def idle(qtbot, latest):
    qtbot.waitUntil(lambda: not latest.busy, timeout=5000)


def test_the_newest_of_those_that_wait_is_answered(latest, qtbot):
    go = threading.Event()
    latest.ask(lambda: go.wait(5) and "first")
    assert latest.busy
    for number in range(5):
        latest.ask(lambda number=number: number)
    go.set()
    qtbot.waitUntil(lambda: latest.answers == ["first", 4], timeout=5000)
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
    latest.ask(lambda: go.wait(5) and "dropped")
    latest.ask(lambda: "dropped before it ran")
    latest.drop()
    go.set()
    idle(qtbot, latest)
    latest.ask(lambda: "asked after it")
    idle(qtbot, latest)
    assert latest.answers == ["asked after it"]


def test_a_question_after_a_drop_is_answered_while_the_dropped_one_runs(latest, qtbot):
    go = threading.Event()
    latest.ask(lambda: go.wait(5) and "dropped")
    latest.drop()
    latest.ask(lambda: "new")
    go.set()
    qtbot.waitUntil(lambda: latest.answers == ["new"], timeout=5000)
