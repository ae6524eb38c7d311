"""Events in a log and in a terminal, tables, and Ctrl-C."""

import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from napari_metastructure.baselines.results import (
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
)
from napari_metastructure.cli._progress import Terminal, stopping_on_interrupt, table
from napari_metastructure.training.control import Control
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


def follow(events, **more):
    """Follow events in a log, or a terminal; what was printed, and the warnings."""
    terminal, out, err = Terminal(), io.StringIO(), io.StringIO()
    terminal.console, terminal.errors = Console(file=out, highlight=False, **more), Console(file=err)
    assert list(terminal.follow(events)) == events
    return out.getvalue(), err.getvalue()


def test_a_log_gets_one_line_an_epoch():
    out, err = follow(EVENTS)
    assert out.splitlines() == [
        "3 planes on cpu, dark objects",
        "start  foreground 25.0 %  1.5 s",
        "epoch 1/2  loss 0.6500  agreement 0.9000  foreground 25.0 %  1.5 s",
        "epoch 2/2  loss 0.4500  agreement 0.9000  foreground 25.0 %  1.5 s",
        "All 2 epochs are done.",
    ]
    assert err == "Warning: The batch was halved [to 2].\n"


def test_a_terminal_gets_two_bars():
    text, _ = follow(EVENTS, force_terminal=True, width=100)
    assert "epoch 2/2" in text
    assert "batch 2/2" in text
    assert "left at most" in text


def test_a_resumed_run_says_so_and_its_bar_counts_what_is_left():
    events = [RunStarted(2, 2, 1, "cpu", resumed_epoch=1), *EVENTS[6:]]
    text, _ = follow(events, force_terminal=True, width=100)
    assert "1 plane on cpu, bright objects, resumed after epoch 1" in text
    assert "0:00:00" in text  # the epoch bar came to its end: all of the one epoch left is done


def test_a_second_training_starts_the_bars_again():
    text, _ = follow(EVENTS * 2, force_terminal=True, width=100)
    assert "\n" not in text[text.rindex("epoch 2/2") :].partition("batch 2/2")[2].strip().partition("\n")[2]
    second = text[text.index("All 2 epochs are done.") :]
    assert "epoch 1/2" in second and "0:00:00" in second[second.rindex("epoch 2/2") :]


def test_a_comparison_gets_one_bar_and_a_line_per_run():
    events = [
        CompareStarted(("otsu",), 1, 1, 2, "dark", labelled=False),
        MethodStarted(1, 1, "otsu", 0),
        MethodProgress("otsu", 0, 1.0),
        MethodFinished(MethodResult("otsu", 0, 0.25, 0, None), ()),
    ]
    out, _ = follow(events)
    lines = ["2 planes, dark objects, without ground truth", "Otsu, repeat 1:  0.25 s/image"]
    assert out.splitlines() == lines
    text, _ = follow(events, force_terminal=True, width=100)
    assert "run 1/1: Otsu, repeat 1" in text and "left at most" not in text


def test_tables_keep_numbers_whole_and_break_heads():
    out = io.StringIO()
    made = table(["image", "a long head of a column"], [["x" * 30, "0.1234"], ["y", "-"]], ["mean of 2", "0.1234"])
    Console(file=out, width=34).print(made)
    text = out.getvalue()
    assert text.count("0.1234") == 2 and text.count("x") == 30 and "a long head of a column" not in text


STOPPING = "Stopping after this batch and saving; press Ctrl-C again to end at once."


def test_a_signal_that_the_shell_ignores_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stopping_on_interrupt(Control()):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way there")
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
def test_the_second_ctrl_c_or_signal_to_end_does_it_at_once(which):
    code = """
import threading, time
from napari_metastructure.cli._progress import stopping_on_interrupt
from napari_metastructure.training.control import Control
control = Control()
with stopping_on_interrupt(control):
    print("ready", flush=True)
    while not control.stopped:
        time.sleep(0.01)
    print("stopped", flush=True)
    threading.Event().wait()  # for ever
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(which)
        assert process.stdout.readline() == "stopped\n"
        process.send_signal(which)
        _, err = process.communicate(timeout=150)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.split("\n") == ["", STOPPING, "", "Ended at once.", ""]
