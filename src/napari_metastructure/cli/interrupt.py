"""Ctrl-C: once to stop and save, twice to end at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from napari_metastructure.training.control import Control

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it (128 + SIGINT)."""

_NOTE = b"\nStopping after this batch and saving; press Ctrl-C again to end at once.\n"


@contextmanager
def stopping_on_interrupt(control: Control) -> Iterator[None]:
    """Within the block the first Ctrl-C stops ``control``; the second raises `KeyboardInterrupt`."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a shell's background job, say
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        control.stop()
        os.write(2, _NOTE)  # not print: the signal may have come in the middle of one

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
