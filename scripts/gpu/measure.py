"""Measures and sizes of a GPU check: synchronised clocks, memory, the share of time the device works."""

import gc
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, Self, TypeVar
from unittest import mock

import numpy as np
import torch

from gpu.report import Row
from napari_metastructure.baselines.compare import PeakMemory
from napari_metastructure.images.simulate import endoplasmic_reticulum
from napari_metastructure.networks import predict
from napari_metastructure.networks.device import list_devices, resolve
from napari_metastructure.training import loop
from napari_metastructure.training.events import Event, Warned

T = TypeVar("T")
MIB = 2**20


class OutOfTime(Exception):
    """The step has used up its time."""


class Step:
    """What a step is given: the device, how much time there is, and where rows go.

    Parameters
    ----------
    name : str
    device : torch.device
    seconds : float
        Its limit. Parts that are not begun within nine tenths of it are skipped.
    send : callable
        Takes each row.
    """

    def __init__(self, name: str, device: torch.device, seconds: float, send: Callable[[Row], None]) -> None:
        self.name, self.device, self._send = name, device, send
        self._until = time.monotonic() + 0.9 * seconds

    @property
    def on_gpu(self) -> bool:
        """Whether full sizes are wanted and targets are judged."""
        return self.device.type == "cuda"

    def row(
        self,
        what: str,
        value: float | str,
        unit: str = "",
        target: str = "",
        ok: bool | None = None,
        note: str = "",
        more: Mapping[str, float | str] | None = None,
        judged: bool = True,
    ) -> None:
        """Tell a measurement.

        Parameters
        ----------
        target : str
            What is asked of it.
        ok : bool, optional
            Whether it is so; None where nothing is asked.
        judged : bool
            False: the target holds for a GPU of full size, so elsewhere it is only shown.
        """
        status = "" if ok is None or not (judged or self.on_gpu) else "ok" if ok else "missed"
        self._send(Row(self.name, what, value, unit, target, status, note, more or {}))  # type: ignore[arg-type]

    def failed(self, what: str, error: BaseException, trace: str = "") -> None:
        """Tell why something could not be measured."""
        if isinstance(error, OutOfTime):
            self._send(Row(self.name, what, status="skipped", note="The step's time was over."))
            return
        sentence = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        self._send(Row(self.name, what, status="failed", note=sentence[:300], trace=trace))

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Do a part of a step that may fail alone.

        Raises
        ------
        OutOfTime
            The step's time was over before: what is left of the step is skipped.
        """
        try:
            self.check_time()
        except OutOfTime as error:
            self.failed(what, error)
            raise
        try:
            yield
        except Exception as error:  # whatever it is, it belongs into the table
            self.failed(what, error, traceback.format_exc())
        gc.collect()  # what failed may hold memory in its traceback

    def check_time(self) -> None:
        """Leave if the time is over.

        Raises
        ------
        OutOfTime
        """
        if time.monotonic() > self._until:
            raise OutOfTime

    def timely(self, events: Iterator[T]) -> Iterator[T]:
        """Pass on the events of a run as long as there is time; the run is closed at the end."""
        try:
            for event in events:
                self.check_time()
                yield event
        finally:
            close(events)


def close(events: Iterator[Any]) -> None:
    """End a run as a caller does who has lost interest."""
    end = getattr(events, "close", None)
    if end is not None:
        end()


def describe(device: str) -> tuple[torch.device, str]:
    """Return the torch device a choice stands for (auto: the first CUDA device), its name and the version of torch."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    found = resolve(device)
    torch.zeros(1, device=found)  # opens the card
    names = {d.id: d.name for d in list_devices()}
    return found, f"{names.get(str(found), str(found))}, torch {torch.__version__}"


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def now(device: torch.device) -> float:
    """Seconds, once the device has nothing left to do."""
    synchronize(device)
    return time.perf_counter()


def seconds_each(device: torch.device, work: Callable[[], object], times: int) -> float:
    """Mean seconds of a piece of work, after doing it twice to warm up."""
    work()
    work()
    began = now(device)
    for _ in range(times):
        work()
    return (now(device) - began) / times


# ---- memory ------------------------------------------------------------------------------------------------------


def memory(device: torch.device) -> dict[str, int]:
    """Bytes in use: of the card what torch has given out and what it has taken; on the CPU those of all tensors."""
    gc.collect()
    synchronize(device)
    if device.type == "cuda":
        return {"allocated": torch.cuda.memory_allocated(device), "reserved": torch.cuda.memory_reserved(device)}
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    return {"tensors": sum({t.data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())}


class Sampled:
    """What a probe says now and then inside a ``with``; nothing once it has failed.

    Parameters
    ----------
    probe : callable
    every : float
        Seconds between two looks.
    """

    def __init__(self, probe: Callable[[], float], every: float) -> None:
        self.values: list[float] = []
        self._probe, self._every, self._over = probe, every, threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            self._look()

    def _look(self) -> None:
        if not self._failed:
            try:
                self.values.append(self._probe())
            except Exception:  # a library that is not here, a card that does not tell
                self._failed = True


class Peaks:
    """High-water marks of host and device memory inside a ``with``, in MiB; the host's above what it was before."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.host = self.on_device = 0.0
        self._resident = PeakMemory()

    def __enter__(self) -> Self:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._resident.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._resident.__exit__(*failure)
        self.host = self._resident.bytes / MIB
        if self.device.type == "cuda":
            self.on_device = torch.cuda.max_memory_allocated(self.device) / MIB

    @property
    def more(self) -> dict[str, float | str]:
        """For a row."""
        device = {"device MiB": self.on_device} if self.device.type == "cuda" else {}
        return {"host MiB": self.host, **device}


@contextmanager
def squeezed(device: torch.device, leave: int, most: int) -> Iterator[str]:
    """Leave little memory: another allocation holds the card but for ``leave`` bytes.

    On the CPU nothing is taken; networks say that they are out of memory where they are given more than ``most``
    patches at once.

    Yields
    ------
    str
        How it was done.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info(device)[0]
        held = torch.empty(max(0, free - leave), dtype=torch.uint8, device=device)
        try:
            yield f"another allocation held {held.numel() / MIB:.0f} MiB, {leave / MIB:.0f} MiB were left"
        finally:
            del held
            torch.cuda.empty_cache()
        return

    def refuse(_: torch.nn.Module, inputs: Any) -> None:
        if isinstance(inputs[0], torch.Tensor) and len(inputs[0]) > most:
            raise torch.OutOfMemoryError("out of memory (simulated)")

    with forward_hook(refuse):
        yield f"simulated: no more than {most} patches fit"


@contextmanager
def forward_hook(hook: Callable[[torch.nn.Module, Any], None]) -> Iterator[None]:
    """Call something before each module of any network sees its inputs; it may raise."""
    handle = torch.nn.modules.module.register_module_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


# ---- what the device does ----------------------------------------------------------------------------------------


@contextmanager
def float32() -> Iterator[None]:
    """Networks run in float32, without the engine's mixed precision."""

    def off(*_: Any, **__: Any) -> Any:
        return nullcontext()

    with mock.patch.object(loop, "mixed_precision", off), mock.patch.object(predict, "mixed_precision", off):
        yield


class Busy:
    """For how many seconds the device works inside a ``with``, from torch's profiler; nan where that cannot tell."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = math.nan
        self.trouble: list[str] = []
        """Why not."""
        gpu = device.type == "cuda"
        activity = torch.profiler.ProfilerActivity
        self._where = torch.autograd.DeviceType.CUDA if gpu else torch.autograd.DeviceType.CPU
        self._profile = torch.profiler.profile(activities=[activity.CUDA if gpu else activity.CPU])

    def __enter__(self) -> Self:
        with self._trying():
            self._profile.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        with self._trying():
            self._profile.__exit__(None, None, None)
            spans = [
                (event.time_range.start, event.time_range.end)
                for event in self._profile.events() or ()
                # A mark such as Optimizer.step spans the gaps between the kernels too.
                if event.device_type == self._where and not getattr(event, "is_user_annotation", False)
            ]
            if spans:
                self.seconds = covered(spans) / 1e6  # torch tells microseconds

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Lose no more than a number where the profiler does not work."""
        try:
            yield
        except Exception as error:
            self.trouble.append(f"The profiler failed: {error}.")


def utilisation(device: torch.device) -> Sampled:
    """Per cent of the last moments in which the card computed, as its driver tells it, every tenth of a second."""
    if device.type != "cuda":
        return Sampled(lambda: math.nan, 3600)
    return Sampled(lambda: float(torch.cuda.utilization(device)), 0.1)  # needs nvidia-ml-py


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, reached))
        reached = max(reached, last)
    return total


# ---- runs --------------------------------------------------------------------------------------------------------


def until(events: Iterator[Event], kind: type, warnings: list[str] | None = None) -> Any:
    """Wait for the next event of a kind; warnings before it are kept."""
    for event in events:
        if isinstance(event, kind):
            return event
        if isinstance(event, Warned) and warnings is not None:
            warnings.append(event.message)
    raise RuntimeError(f"The run ended without {kind.__name__}.")


def differing(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """Share of the pixels at which two sets of masks differ."""
    return float(np.mean(np.concatenate([(a != b).ravel() for a, b in zip(some, others, strict=True)])))


# ---- sizes, on a GPU and without one, and simulated images -------------------------------------------------------

NETWORKS = ("light-unet", "unet", "deeplabv3plus", "hrnet")


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes
    ----------
    crops, side, frame : int, int, (int, int)
        Images of iGTT: so many squares of that side, and one frame.
    rounds, steps, patch : int
        Of iGTT's rounds; the patch of all training.
    batches : dict of int to int
        Batch size of supervised training, and steps an epoch with it. It trains for four epochs.
    large : int
        Side of the image that is predicted.
    runs : int
        How many runs have to give their memory back.
    short : int
        Steps an epoch of those runs, and of those that are stopped and resumed.
    """

    crops: int
    side: int
    frame: tuple[int, int]
    rounds: int
    steps: int
    patch: int
    batches: Mapping[int, int]
    large: int
    runs: int
    short: int


FULL = Sizes(16, 256, (1040, 1392), 8, 40, 256, {4: 50, 16: 20, 64: 8}, 8192, 20, 6)
SMALL = Sizes(2, 64, (72, 96), 1, 2, 64, {2: 2}, 320, 5, 3)


def sizes_of(step: Step) -> Sizes:
    """Full ones where there is a GPU."""
    return FULL if step.on_gpu else SMALL


def scenes(count: int, shape: tuple[int, int], first: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Simulate images of endoplasmic reticulum from a seed on, and their masks."""
    pairs = [_scene(shape, first + number) for number in range(count)]
    return [image for image, _ in pairs], [mask for _, mask in pairs]


@cache
def _scene(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    return endoplasmic_reticulum(shape, np.random.default_rng(seed))
