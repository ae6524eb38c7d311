"""The bars, and what is said of the time left."""

import pytest

from napari_metastructure.baselines.results import (
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
)
from napari_metastructure.plugin import _job_widget as progress_panel
from napari_metastructure.plugin.compare import CompareProgress


@pytest.fixture
def clock(monkeypatch):
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(progress_panel.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_of_all_runs_is_told_once_every_method_was_timed(qtbot, clock):
    panel = CompareProgress()
    qtbot.addWidget(panel)
    panel.begin_comparison(
        CompareStarted(("otsu", "dfc"), 2, 3, 2, "bright", labelled=True), [("otsu", 0), ("dfc", 0), ("dfc", 1)]
    )
    assert panel.status.text() == "2 images with ground truth, bright objects."
    panel.begin_run(MethodStarted(1, 3, "otsu", 0))
    clock[0] += 1
    panel.show_share(MethodProgress("otsu", 0, 0.5))
    assert panel.eta.text() == "Otsu: 1 s left, then 1 method not timed yet"
    panel.end_run(MethodFinished(MethodResult("otsu", 0, 1.0, 0, None), ()))
    assert (panel.outer.value(), panel.outer.maximum()) == (1, 3)
    panel.begin_run(MethodStarted(2, 3, "dfc", 0))
    assert panel.inner.format() == "DFC"
    clock[0] += 10
    panel.show_share(MethodProgress("dfc", 0, 0.25))
    assert panel.eta.text() == "DFC: 30 s left, then 1 method not timed yet", "its second repeat"
    panel.end_run(MethodFinished(MethodResult("dfc", 0, 20.0, 0, None), ()))
    panel.begin_run(MethodStarted(3, 3, "dfc", 1))
    clock[0] += 10
    panel.show_share(MethodProgress("dfc", 1, 0.25))
    assert panel.eta.text().startswith("30 s left, done by ")


def test_repeats_that_are_still_to_come_count(qtbot, clock):
    panel = CompareProgress()
    qtbot.addWidget(panel)
    panel.begin_comparison(
        CompareStarted(("dfc",), 3, 3, 2, "dark", labelled=False), [("dfc", 0), ("dfc", 1), ("dfc", 2)]
    )
    panel.begin_run(MethodStarted(1, 3, "dfc", 0))
    panel.end_run(MethodFinished(MethodResult("dfc", 0, 20.0, 0, None), ()))
    panel.begin_run(MethodStarted(2, 3, "dfc", 1))
    clock[0] += 20
    panel.show_share(MethodProgress("dfc", 1, 0.5))
    assert panel.eta.text().startswith("1 min 0 s left"), "20 s of this run and 40 s of the last one"
