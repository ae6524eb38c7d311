"""Control of a running job from another thread: stop, pause, resume, correct, save elsewhere."""

import threading
import time
from pathlib import Path

import numpy as np

FREE = 254
"""In a correction: a pixel that is locked no longer."""


class Stopped(Exception):
    """Raised inside a job when its control says stop; the job catches it, saves and finishes."""


class Control:
    """A stop flag, a pause flag, a box of corrections and a folder to go to; safe to use from any thread.

    A job calls `checkpoint` between batches: it blocks while paused and raises `Stopped` once stopped.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._go = threading.Event()
        self._go.set()
        self._lock = threading.Lock()
        self._corrections: dict[int, np.ndarray] = {}
        self._folder: Path | None = None
        self.paused_seconds = 0.0
        """Time the job has spent waiting in `checkpoint`."""

    @property
    def stopped(self) -> bool:
        """True once `stop` was called."""
        return self._stop.is_set()

    @property
    def paused(self) -> bool:
        """True between `pause` and `resume` (or `stop`)."""
        return not self._go.is_set()

    def stop(self) -> None:
        """End the job at its next batch; also wakes a paused job."""
        self._stop.set()
        self._go.set()

    def pause(self) -> None:
        """Hold the job at its next batch."""
        if not self.stopped:
            self._go.clear()

    def resume(self) -> None:
        """Let a paused job go on."""
        self._go.set()

    def correct(self, index: int, pixels: np.ndarray) -> None:
        """Lock pixels of one image's pseudo-label from the next round on.

        Parameters
        ----------
        index : int
            Which image, from 0.
        pixels : (Y, X) uint8 array
            1 = foreground, 0 = background, 254 = locked no longer, 255 = as before. Later corrections win.
        """
        with self._lock:
            before = self._corrections.get(index)
            pixels = np.array(pixels, dtype=np.uint8)
            if before is not None:
                pixels = np.where(pixels == 255, before, pixels)
            self._corrections[index] = pixels

    def take_corrections(self) -> dict[int, np.ndarray]:
        """Return all corrections given so far, by image; the job asks at each relabelling."""
        with self._lock:
            return dict(self._corrections)

    def save_to(self, folder: Path) -> None:
        """Name the folder that a job whose own cannot be written to saves to from now on."""
        with self._lock:
            self._folder = folder

    def take_folder(self) -> Path | None:
        """Return the folder that was named since the last call, or None."""
        with self._lock:
            folder, self._folder = self._folder, None
            return folder

    def checkpoint(self) -> None:
        """Wait while paused, then raise `Stopped` if stopped."""
        if not self._go.is_set():
            began = time.perf_counter()
            self._go.wait()
            self.paused_seconds += time.perf_counter() - began
        if self._stop.is_set():
            raise Stopped
