"""Estimates of how long a run will take, from timed probes on this device that are remembered."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path
from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalDebouncer

from napari_metastructure.errors import InputError, counted
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.networks import Architecture
from napari_metastructure.plugin._progress import duration
from napari_metastructure.plugin._worker import LatestOnly, torch_beside_a_window
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.pairs import Pair

PROBE_STEPS = 3
"""Steps of training in a probe; the first, which is slow, does not count."""

PROBE_SIDE = 256
"""Pixels along each side of the plane of a probe at most."""

WAIT_MS = 500
"""Time without a change before a probe begins."""


@dataclass(frozen=True)
class Estimate:
    """Time and memory that a run will take.

    Attributes
    ----------
    start, epochs : float
        Seconds until training begins, and those of all epochs or planes.
    what : str
        On what: "12 planes of 256 x 256".
    device : str
    note : str
        What else is to be known.
    """

    start: float
    epochs: float
    what: str
    device: str
    note: str = "Measured on this device by a short probe."
    need: str = ""
    """What it takes of memory and disk, where that is much."""

    def __str__(self) -> str:
        """Put it into words."""
        need = f". {self.need}" if self.need else ""
        return f"About {duration(_rounded(self.start + self.epochs))}: {self.what}, {self.device}{need}"


@dataclass(frozen=True)
class Unknown:
    """Reason why there is no estimate before a run: in short, and as a sentence."""

    why: str
    note: str

    def __str__(self) -> str:
        """Say it."""
        return self.why


Work = Callable[[Control], Estimate | Unknown | None]
"""Estimates something, in a thread; None if it was stopped."""


def _rounded(seconds: float) -> float:
    """Leave out what an estimate cannot know: of minutes, the seconds but for tens."""
    step = 1 if seconds < 60 else 10 if seconds < 600 else 60
    return max(1, step * round(seconds / step))


class Estimator(QObject):
    """Estimates in a thread how long a run takes.

    Signals
    -------
    known
        The `Estimate`, or `Unknown`, for what was asked last.
    """

    known = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._latest, self._pause = LatestOnly(self), QSignalDebouncer(parent=self)
        self._latest.done.connect(self._on_done)
        self._pause.setTimeout(WAIT_MS)
        self._pause.triggered.connect(self._begin)
        self._asked: Work | None = None
        self._control = Control()

    def ask(self, work: Work) -> None:
        """Estimate this, once nothing else has been asked for a moment."""
        self.stop()
        self._asked = work
        self._pause.throttle()

    def stop(self) -> None:
        """Forget what was asked; a probe ends at its next step."""
        self._asked = None
        self._control.stop()
        self._latest.drop()

    def _begin(self) -> None:
        if (work := self._asked) is not None:
            control = self._control = Control()
            self._latest.ask(lambda: work(control))

    def _on_done(self, found: Estimate | Unknown | None) -> None:
        if found is not None and self._asked is not None:
            self.known.emit(found)


# ---- probes and runs keep out of each other's way --------------------------------------------------------------------

_probing, _runs = threading.Lock(), 0


@contextmanager
def no_probe() -> Iterator[None]:
    """Wait for the end of a probe, and let none begin in the block: one draws random numbers at a time."""
    global _runs
    with _probing:
        _runs += 1
    try:
        yield
    finally:
        with _probing:
            _runs -= 1


def measured(
    device: str, key: Sequence[object], probe: Callable[[], Sequence[float] | None]
) -> tuple[str, Sequence[float] | None]:
    """Return a device's name, and what a probe has found on it for this key: measured once, also for the next start.

    None if it was stopped, or a run is going on.
    """
    torch_beside_a_window()
    from napari_metastructure.networks.device import list_devices, resolve

    device = str(resolve(device))
    name = next((found.name for found in list_devices() if found.id == device), device)
    text = json.dumps([name, *map(str, key)])
    pace: Sequence[float] | None = _recalled(text)
    if pace is None:
        with _probing, suppress(Stopped):
            pace = None if _runs else probe()
        if pace is not None:
            _remember(text, pace)
    return name, pace


_paces: dict[str, list[float]] = {}


def _file() -> Path:
    return user_cache_path("napari-metastructure") / "pace.json"


def _recalled(key: str) -> list[float] | None:
    with suppress(OSError, ValueError, TypeError, AttributeError):
        for known, pace in json.loads(_file().read_text("utf-8")).items():
            _paces.setdefault(known, [float(seconds) for seconds in pace])
    return _paces.get(key)


def _remember(key: str, pace: Sequence[float]) -> None:
    from napari_metastructure.images.writing import replacing

    _paces[key] = list(pace)
    with suppress(OSError, InputError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        with replacing(_file()) as beside:
            beside.write_text(json.dumps(_paces), "utf-8")


def probe_plane(size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Simulate a plane and its mask, of a size but no larger than `PROBE_SIDE`."""
    from napari_metastructure.images.simulate import nuclei

    height, width = (min(n, PROBE_SIDE) for n in size)
    image, mask = nuclei((max(height, 64), max(width, 64)), np.random.default_rng(0))[:2]
    return image[:height, :width], (mask[:height, :width] > 0).astype(np.uint8)


def planes_in_words(count: int, size: Sequence[int]) -> str:
    """Say how many planes there are, and how large the first one is."""
    return f"{counted(count, 'plane')} of {size[0]} x {size[1]}"


# ---- supervised training ---------------------------------------------------------------------------------------------

TRAIN_PACE = (
    *("network", "encoder", "base_channels", "inputs", "loss", "optimizer", "batch_size", "patch_size", "augment"),
)
"""Settings that another pace may follow from."""


def train_seconds(
    config: TrainConfig, training: Sequence[Pair], validation: Sequence[Pair], control: Control
) -> tuple[str, float] | None:
    """Estimate how long a training takes, all its epochs: the device's name and seconds; for a thread."""
    size = training[0].shape
    side = tuple(min(n, PROBE_SIDE) for n in size)
    key = ("train", side, *(getattr(config, part) for part in TRAIN_PACE))
    name, pace = measured(config.device, key, lambda: probe_train(config, size, control))
    if pace is None:
        return None
    step, validate = pace
    pixels = sum(math.prod(pair.shape) for pair in training)
    area = math.prod(min(n, config.patch_size) for n in size)
    from napari_metastructure.training.train import LEAST_STEPS

    steps = config.steps_per_epoch or max(LEAST_STEPS, math.ceil(pixels / (area * config.batch_size)))
    return name, config.epochs * (steps * step + validate * sum(math.prod(pair.shape) for pair in validation))


def train_estimate(
    config: TrainConfig, training: Sequence[Pair], validation: Sequence[Pair], control: Control
) -> Estimate | None:
    """Estimate how long a training takes; for a thread."""
    if (found := train_seconds(config, training, validation, control)) is None:
        return None
    note = "At most: Patience may end it before." if config.patience else Estimate.note
    return Estimate(0, found[1], counted(config.epochs, "epoch"), found[0], note)


def probe_train(config: TrainConfig, size: Sequence[int], control: Control) -> tuple[float, float] | None:
    """Time a few steps on a simulated plane, and validation by pixel; None if it was stopped."""
    from napari_metastructure.training.events import BatchFinished, TrainEpoch
    from napari_metastructure.training.pairs import pairs_of
    from napari_metastructure.training.train import train

    image, mask = probe_plane(size)
    changes = {"epochs": 1, "steps_per_epoch": PROBE_STEPS, "encoder_weights": None, "classes": None}
    short = config.model_copy(update={**changes, "reading": "classes"})
    times: list[float] = []
    for event in train(pairs_of([image], [mask]), short, control, validation=pairs_of([image], [mask])):
        if isinstance(event, BatchFinished | TrainEpoch):
            times.append(time.perf_counter())
    if control.stopped or len(times) != PROBE_STEPS + 1:
        return None
    first, *_, last, done = times
    return (last - first) / (PROBE_STEPS - 1), (done - last) / image.size


def study_estimate(
    config: TrainConfig,
    runs: Mapping[Architecture, int],
    training: Sequence[Pair],
    test: Sequence[Pair],
    control: Control,
) -> Estimate | None:
    """Estimate how long trainings take, so many of each network; for a thread."""
    total, device = 0.0, ""
    for network, count in runs.items():
        settings = config.model_copy(update={"network": network})
        if (found := train_seconds(settings, training, test, control)) is None:
            return None
        device, total = found[0], total + count * found[1]
    return Estimate(0, total, f"{counted(sum(runs.values()), 'training')} of {counted(config.epochs, 'epoch')}", device)


# ---- iGTT ---------------------------------------------------------------------------------------------------

IGTT_PACE = (
    *("network", "encoder", "base_channels", "inputs", "start", "criterion", "search", "extraction", "loss"),
    *("optimizer", "batch_size", "patch_size", "radius", "thresholds", "weights"),
)
"""Settings that another pace may follow from."""


def igtt_estimate(config: IGTTConfig, shapes: Sequence[tuple[int, ...]], control: Control) -> Estimate | None:
    """Estimate how long a run takes on planes, of shapes (planes, Y, X) of each layer; for a thread."""
    size = shapes[0][-2:]
    side = tuple(min(n, PROBE_SIDE) for n in size)
    key = (side, *(getattr(config, part) for part in IGTT_PACE))
    name, pace = measured(config.device, key, lambda: probe_igtt(config, size, control))
    if pace is None:
        return None
    from napari_metastructure.igtt.rounds import is_trained, steps_and_batch
    from napari_metastructure.igtt.storage import MemoryNeed

    start, step, relabel = pace
    pixels, trained = sum(math.prod(shape) for shape in shapes), is_trained(config)
    steps, _ = steps_and_batch(config, trained, pixels / math.prod(min(n, config.patch_size) for n in size))
    epochs = config.epochs * (steps * step + relabel * pixels)
    what = planes_in_words(sum(math.prod(shape[:-2]) for shape in shapes), size)
    said = str(need) if (need := MemoryNeed.of(shapes, config)).matters else ""
    if trained and config.start == "prior" and config.rounds != "always":
        return Estimate(start * pixels, 0, what, name, ENDS, said)
    return Estimate(start * pixels, epochs, what, name, need=said)


ENDS = "The run ends with its first masks; it answers what you paint, and trains where Rounds is always."


def probe_igtt(config: IGTTConfig, size: Sequence[int], control: Control) -> tuple[float, float, float] | None:
    """Time a run on a simulated plane: start by pixel, a step, and relabelling by pixel; None if it was stopped."""
    from napari_metastructure.igtt.iterate import iterate
    from napari_metastructure.training.events import BatchFinished, EpochFinished, RunStarted

    field, _ = probe_plane(size)
    changes = {"epochs": 1, "steps_per_epoch": PROBE_STEPS, "encoder_weights": None, "rounds": "always"}
    times: list[float] = []
    for event in iterate([field], config.model_copy(update=changes), control):
        if isinstance(event, RunStarted | BatchFinished | EpochFinished):
            times.append(time.perf_counter())
    if control.stopped:
        return None
    begun, started, first, *_, last, done = times
    return (started - begun) / field.size, (last - first) / (PROBE_STEPS - 1), (done - last) / field.size


# ---- prediction ------------------------------------------------------------------------------------------------------


def predict_estimate(model: Path, device: str, sizes: Sequence[Sequence[int]], control: Control) -> Estimate | None:
    """Estimate how long it takes to predict planes, of shapes (planes, Y, X) of each layer; for a thread."""
    torch_beside_a_window()
    from napari_metastructure.igtt.apply import load_model

    loaded = load_model(model)
    side = tuple(min(n, PROBE_SIDE) for n in sizes[0][-2:])

    def probe() -> Sequence[float] | None:
        plane = probe_plane(sizes[0][-2:])[0].astype(np.float32)
        image = plane if loaded.use.channels == 1 else np.stack([plane] * loaded.use.channels)
        loaded.predict(image, device, control.checkpoint)  # the first is slow
        began = time.perf_counter()
        loaded.predict(image, device, control.checkpoint)
        return [(time.perf_counter() - began) / plane.size]

    try:
        name, pace = measured(device, ("predict", side, loaded.spec, loaded.use), probe)
    finally:
        loaded.release()
    if pace is None:
        return None
    count = sum(math.prod(shape[:-2]) for shape in sizes)
    what = planes_in_words(count, sizes[0][-2:])
    return Estimate(0, pace[0] * sum(math.prod(shape) for shape in sizes), what, name)
