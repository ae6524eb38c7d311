"""Progress on its way to the window."""

import pytest

from napari_metastructure.plugin import igtt as job
from napari_metastructure.plugin._worker import OFTEN_ENOUGH_S, now_and_then


@pytest.fixture
def clock(monkeypatch):
    """The time, to be set."""
    now = [5.0]
    monkeypatch.setattr(job.time, "perf_counter", lambda: now[0])
    return now


def test_what_is_minor_comes_seldom_and_all_else_at_once(clock):
    def events():
        for event, pause in ((1, 0.4), (2, 0.4), ("a", 0.3), (3, 0.2), (4, 0.1), ("b", 0.1), (5, 2), (6, 0)):
            yield event
            clock[0] += pause * OFTEN_ENOUGH_S

    assert list(now_and_then(events(), lambda event: isinstance(event, int))) == [1, "a", 3, "b", 6]
