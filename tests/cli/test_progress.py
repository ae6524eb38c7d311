"""Events in a log and in a terminal."""

import io

import numpy as np
from rich.console import Console

from napari_metastructure.cli._progress import followed
from napari_metastructure.training.events import BatchFinished, EpochFinished, Finished, RunStarted, Warned

MASK = (np.zeros((8, 8), np.uint8),)


def epoch(number, loss):
    return EpochFinished(number, 2, loss, float("nan") if not number else 0.9, 0.25, MASK, MASK, MASK, (), 1.5, 0.1)


EVENTS = [
    RunStarted(2, 2, 3, "cpu", objects="dark"),
    epoch(0, float("nan")),
    BatchFinished(1, 1, 2, 0.7),
    BatchFinished(1, 2, 2, 0.6),
    epoch(1, 0.65),
    Warned("The batch was halved [to 2]."),
    BatchFinished(2, 1, 2, 0.5),
    BatchFinished(2, 2, 2, 0.4),
    epoch(2, 0.45),
    Finished(False, "All 2 epochs are done.", 2, MASK, MASK),
]


def test_a_log_gets_one_line_an_epoch():
    out, err = io.StringIO(), io.StringIO()
    passed = list(followed(EVENTS, Console(file=out), Console(file=err)))
    assert passed == EVENTS
    assert out.getvalue().splitlines() == [
        "3 planes on cpu, dark objects",
        "start  foreground 25.0 %  1.5 s",
        "epoch 1/2  loss 0.6500  agreement 0.9000  foreground 25.0 %  1.5 s",
        "epoch 2/2  loss 0.4500  agreement 0.9000  foreground 25.0 %  1.5 s",
        "All 2 epochs are done.",
    ]
    assert err.getvalue() == "Warning: The batch was halved [to 2].\n"


def test_a_terminal_gets_two_bars():
    out = io.StringIO()
    list(
        followed(
            EVENTS, Console(file=out, force_terminal=True, width=100, highlight=False), Console(file=io.StringIO())
        )
    )
    text = out.getvalue()
    assert "epoch 2/2" in text
    assert "batch 2/2" in text
    assert "left at most" in text


def test_a_resumed_run_says_so_and_its_bar_counts_what_is_left():
    out = io.StringIO()
    events = [RunStarted(2, 2, 1, "cpu", resumed_epoch=1), *EVENTS[6:]]
    list(
        followed(
            events, Console(file=out, force_terminal=True, width=100, highlight=False), Console(file=io.StringIO())
        )
    )
    assert "1 plane on cpu, bright objects, resumed after epoch 1" in out.getvalue()
    assert "0:00:00" in out.getvalue()  # the epoch bar came to its end: all of the one epoch left is done
