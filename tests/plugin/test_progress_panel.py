"""Bars, time left and status follow the events."""

import pytest
from qtpy.QtWidgets import QWidget

from napari_metastructure.plugin import _job_widget as progress_panel
from napari_metastructure.plugin._inputs import lay_out
from napari_metastructure.plugin._job_widget import Clock, EpochProgress, ProgressPanel, duration
from napari_metastructure.training.events import BatchFinished, EpochFinished, RunStarted


@pytest.fixture
def now(monkeypatch):
    class Time:
        value = 100.0

        def monotonic(self):
            return self.value

    clock = Time()
    monkeypatch.setattr(progress_panel, "time", clock)
    return clock


def test_time_left_is_proportional_and_pauses_do_not_count(now):
    clock = Clock()
    assert clock.left(0.5) is None
    clock.start()
    now.value += 10
    assert clock.left(0.25) == pytest.approx(30)
    clock.pause()
    now.value += 1000
    assert clock.left(0.25) == pytest.approx(30)
    clock.resume()
    now.value += 10
    assert clock.left(0.5) == pytest.approx(20)
    assert clock.left(0) is None


def test_bars_and_time_follow_a_run(qtbot, now):
    panel = EpochProgress("epochs", "batches")
    qtbot.addWidget(panel)
    panel.begin_epochs(RunStarted(epochs=4, batches=10, images=2, device="cpu"))
    assert panel.outer.format() == "0 of 4 epochs"
    now.value += 5
    panel.show_batch(BatchFinished(1, 5, 10, 0.3))
    assert (panel.inner.value(), panel.inner.maximum()) == (5, 10)
    assert panel.eta.text().startswith("35 s left, done by ")
    panel.show_epoch(EpochFinished(1, 4, 0.3, 0.9, 0.1, (), (), (), (), 1, 0))
    assert (panel.outer.value(), panel.outer.maximum()) == (1, 4)
    panel.end("Over.")
    assert panel.eta.text() == ""
    assert panel.status.text() == "Over."


def test_a_resumed_run_counts_only_what_is_ahead(qtbot, now):
    panel = EpochProgress("epochs", "batches")
    qtbot.addWidget(panel)
    panel.begin_epochs(RunStarted(epochs=4, batches=10, images=1, device="cpu", resumed_epoch=2))
    now.value += 6
    panel.show_epoch(EpochFinished(3, 4, 0.3, 0.9, 0.1, (), (), (), (), 1, 0))
    assert panel.eta.text().startswith("6 s left")


def test_all_lines_of_a_long_sentence_have_room_at_once(qtbot):
    panel, widget = ProgressPanel("one bar"), QWidget()
    lay_out(widget, [panel])
    qtbot.addWidget(widget)
    widget.setFixedWidth(360)
    widget.show()
    before = panel.status.height()
    panel.say("The masks no longer change; they are those of epoch 4.")
    assert panel.status.height() >= panel.status.heightForWidth(panel.status.width())
    panel.end("The masks no longer change; they are those of epoch 4. " * 3)
    assert panel.status.height() >= panel.status.heightForWidth(panel.status.width()) > before
    assert panel.rect().contains(panel.status.geometry())


@pytest.mark.parametrize(("seconds", "words"), [(3.6, "4 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
