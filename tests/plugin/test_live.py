"""Live previews show the newest request only, and are measured once nothing changes; stack runs can be cancelled."""

import threading

import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import PlaneDone
from napari_metastructure.plugin._live import LivePreview, StackRun, Superseded


class Numbers(QWidget):
    """Shows a number, doubled; measures it by its square."""

    def __init__(self, viewer, measure_after_ms=0):
        super().__init__()
        self.number, self.asked, self.shown, self.measured, self.errors = 1, [], [], [], []
        self.gate = threading.Event()
        self.gate.set()
        self.live = LivePreview(
            viewer,
            self,
            request=self.request,
            show=lambda result: self.shown.append(result) or result > 0,
            measure=lambda result: (result / 2) ** 2,
            show_measured=self.measured.append,
            failed=self.errors.append,
            measure_after_ms=measure_after_ms,
        )

    def request(self):
        number = self.number
        self.asked.append(number)
        return None if number is None else lambda wanted: self.compute(number, wanted)

    def compute(self, number, wanted):
        assert self.gate.wait(60)
        if not wanted():
            raise Superseded
        return 2 / 0 if number == "fault" else 2 * number


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def numbers(viewer, qtbot):
    widget = Numbers(viewer)
    qtbot.addWidget(widget)
    return widget


@pytest.fixture
def settle(qtbot):
    return lambda widget: qtbot.waitUntil(lambda: not widget.live.busy, timeout=60_000)


def test_changes_of_one_turn_are_one_request(numbers, settle):
    for number in (1, 2, 3):
        numbers.number = number
        numbers.live.refresh()
    assert numbers.live.busy
    settle(numbers)
    assert (numbers.asked, numbers.shown, numbers.measured) == ([3], [6], [9])


def test_of_requests_that_come_meanwhile_the_newest_is_shown(numbers, settle, qtbot):
    numbers.gate.clear()
    for number in (1, 2, 3):
        numbers.number = number
        numbers.live.refresh()
        qtbot.waitUntil(lambda: numbers.asked[-1:] == [numbers.number])
    numbers.gate.set()
    settle(numbers)
    assert (numbers.asked, numbers.shown, numbers.measured) == ([1, 2, 3], [6], [9])
    assert numbers.errors == []


def test_only_what_stands_still_is_measured(viewer, settle, qtbot):
    widget = Numbers(viewer, measure_after_ms=10**6)
    qtbot.addWidget(widget)
    for number in (1, 2):
        widget.number = number
        widget.live.refresh()
        qtbot.waitUntil(lambda: widget.shown[-1:] == [2 * widget.number])
    assert widget.measured == [] and widget.live.busy
    widget.live.pause.flush()
    settle(widget)
    assert widget.measured == [4]


def test_a_result_may_not_be_worth_measuring(numbers, settle):
    numbers.number = -1
    numbers.live.refresh()
    settle(numbers)
    assert (numbers.shown, numbers.measured) == ([-2], [])


def test_what_was_dropped_is_not_shown(numbers, settle, qtbot):
    numbers.gate.clear()
    numbers.live.refresh()
    qtbot.waitUntil(lambda: numbers.asked == [1])
    numbers.live.drop()
    numbers.gate.set()
    settle(numbers)
    assert numbers.shown == numbers.measured == numbers.errors == []


def test_a_fault_is_reported_and_the_next_request_shown(numbers, settle):
    numbers.number = "fault"
    numbers.live.refresh()
    settle(numbers)
    assert [type(error) for error in numbers.errors] == [ZeroDivisionError]
    numbers.number = 4
    numbers.live.refresh()
    settle(numbers)
    assert numbers.shown == [8]


def test_without_a_job_what_is_shown_is_still_measured(numbers, settle, qtbot):
    numbers.live.pause.setTimeout(10**6)
    numbers.live.refresh()
    qtbot.waitUntil(lambda: numbers.shown == [2])
    numbers.live.pause.setTimeout(0)
    numbers.number = None
    numbers.live.refresh()
    settle(numbers)
    assert numbers.measured == [1]


def test_the_sliders_are_followed(viewer, numbers, settle):
    viewer.dims.ndim = 3
    viewer.dims.ndisplay = 3
    settle(numbers)
    assert numbers.shown


def test_it_rests_while_its_widget_is_out_of_the_window(viewer, settle, qtbot):
    dock, numbers, seen = QWidget(), Numbers(viewer), []
    qtbot.addWidget(dock)
    QVBoxLayout(dock).addWidget(numbers)
    numbers.live.closed.connect(lambda: seen.append("closed"))
    numbers.live.reopened.connect(lambda: seen.append("reopened"))
    numbers.setParent(None)
    numbers.live.refresh()
    settle(numbers)
    assert (seen, numbers.asked) == (["closed"], [])
    dock.layout().addWidget(numbers)
    settle(numbers)
    assert (seen, numbers.shown) == (["closed", "reopened"], [2])


def test_deleted_it_lets_go_of_the_viewer(viewer, qtbot):
    widget, released = Numbers(viewer), []

    class Part:
        def release(self):
            released.append(1)

    live = widget.live
    live.hold(Part())
    with qtbot.waitSignal(widget.destroyed, timeout=60_000):
        widget.deleteLater()
    viewer.dims.ndisplay = 3
    assert released == [1]
    assert not live.busy


# ---- runs over stacks --------------------------------------------------------------------------------------


@pytest.fixture
def run(qtbot):
    run = StackRun("Counting", "Slices counted.")
    qtbot.addWidget(run)
    return run


def ended(run, qtbot, job):
    with qtbot.waitSignal(run.ended, timeout=60_000) as said:
        run.start(job)
        assert run.running and run.isVisibleTo(run.parentWidget()) is True
    assert not run.running and run.isHidden()
    return said.args


def test_progress_and_result(run, qtbot):
    seen = []
    run.bar.valueChanged.connect(lambda done: seen.append((done, run.bar.maximum())))
    job = iter([PlaneDone(1, 3), PlaneDone(2, 3), PlaneDone(3, 3), "counted"])
    assert ended(run, qtbot, lambda: job) == ["counted", ""]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_failure_is_a_sentence(run, qtbot):
    def job():
        yield PlaneDone(1, 2)
        raise InputError("There is nothing to count; open a stack.")

    assert ended(run, qtbot, job) == [None, "There is nothing to count; open a stack."]
    assert ended(run, qtbot, lambda: iter(["again"])) == ["again", ""]


def test_a_cancelled_run_ends_after_its_slice(run, qtbot):
    gate, done = threading.Event(), []

    def job():
        for plane in range(3):
            done.append(plane)
            assert gate.wait(60)
            yield PlaneDone(plane + 1, 3)
        yield "counted"

    with qtbot.waitSignal(run.ended, timeout=60_000) as said:
        run.start(job)
        qtbot.waitUntil(lambda: done == [0])
        run.cancel_button.click()
        gate.set()
    assert said.args == [None, ""]
    assert done == [0]
