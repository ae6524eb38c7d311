"""How much memory a block of code takes, main memory and CUDA's."""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

STEP = 0.005
"""Seconds between two looks at the process's memory: what comes and goes within is missed."""


class PeakMemory:
    """Within the block, the peak of this process's memory over what it held when the block began.

    Main memory is resident memory, looked at from a thread of its own; on CUDA the peak that torch allocated there is
    added. Memory freed before the block is given back to the system first, as far as the C library can, so that the
    block does not hide in it.

    Parameters
    ----------
    cuda : str, optional
        The CUDA device the block works on (``cuda:0``).

    Attributes
    ----------
    bytes : int
        The peak; grows while the block runs.
    """

    def __init__(self, cuda: str | None = None) -> None:
        import psutil

        self.cuda, self.bytes = cuda, 0
        self._process = psutil.Process()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak memory", daemon=True)

    def __enter__(self) -> Self:
        _give_back()
        self._before = self._process.memory_info().rss
        if self.cuda:
            import torch

            torch.cuda.reset_peak_memory_stats(self.cuda)
            self._before_cuda = torch.cuda.memory_allocated(self.cuda)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._look()
        if self.cuda:
            import torch

            self.bytes += torch.cuda.max_memory_allocated(self.cuda) - self._before_cuda

    def _watch(self) -> None:
        while not self._end.wait(STEP):
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, self._process.memory_info().rss - self._before)


def _give_back() -> None:
    """Hand memory that is free inside this process back to the system; only glibc can be asked to.

    No garbage is collected: that takes a good part of a second, in which a window would stand still.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library; Windows has no CDLL(None)
        ctypes.CDLL(None).malloc_trim(0)
