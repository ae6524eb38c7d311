"""A look before a run of iGTT: how long it will take, from a timed probe, and a run on what is on screen."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from platformdirs import user_cache_path
from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalDebouncer

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._layers import ORIGIN, full, placement
from napari_metastructure.plugin._progress import duration
from napari_metastructure.plugin._worker import LatestOnly, torch_beside_a_window
from napari_metastructure.training.control import Control, Stopped

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_metastructure.igtt.config import IGTTConfig
    from napari_metastructure.igtt.room import Need
    from napari_metastructure.plugin._source import Source

# ---- how long it will take -------------------------------------------------------------------------------------------

PROBE_STEPS = 3
"""Steps of training in a probe; the first, which is slow, does not count."""

PROBE_SIDE = 256
"""Pixels along each side of the plane of a probe at most."""

PROBING = threading.Lock()
"""Held while a probe runs: the run that follows waits for its end, so that one draws random numbers at a time."""

WAIT_MS = 500
"""Time without a change before a probe begins."""


@dataclass(frozen=True)
class Pace:
    """Seconds for the parts of a run: the start and each relabelling by pixel, and each step of training."""

    start: float
    step: float
    relabel: float

    def seconds(self, config: IGTTConfig, pixels: int) -> tuple[float, float]:
        """Return how long the start and all epochs take, on planes of so many pixels together."""
        return self.start * pixels, config.epochs * (config.steps_per_epoch * self.step + self.relabel * pixels)


@dataclass(frozen=True)
class Estimate:
    """What a run on these planes will take: seconds of the start, seconds of all epochs, a device, and memory."""

    start: float
    epochs: float
    device: str
    planes: int
    size: tuple[int, int]
    need: Need | None = None

    def __str__(self) -> str:
        """Put it into words."""
        planes = "1 plane" if self.planes == 1 else f"{self.planes} planes"
        about = duration(_rounded(self.start + self.epochs))
        need = f". {self.need}" if self.need is not None and self.need.matters else ""
        return f"About {about}: {planes} of {self.size[0]} x {self.size[1]}, {self.device}{need}"


def _rounded(seconds: float) -> float:
    """Leave out what an estimate cannot know: of minutes, the seconds but for tens."""
    step = 1 if seconds < 60 else 10 if seconds < 600 else 60
    return max(1, step * round(seconds / step))


class Estimator(QObject):
    """Estimates how long runs take, in a thread; what was measured once is remembered, also for the next start.

    Signals
    -------
    known
        The `Estimate` for what was asked last.
    """

    known = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._latest, self._pause = LatestOnly(self), QSignalDebouncer(parent=self)
        self._latest.done.connect(self._on_done)
        self._pause.setTimeout(WAIT_MS)
        self._pause.triggered.connect(self._begin)
        self._asked: tuple[IGTTConfig, list[tuple[int, ...]]] | None = None
        self._control = Control()

    def ask(self, config: IGTTConfig, sources: Sequence[Source]) -> None:
        """Estimate a run on these layers, once nothing else has been asked for a moment."""
        self.stop()
        self._asked = config, [source.shape for source in sources]
        self._pause.throttle()

    def stop(self) -> None:
        """Forget what was asked; a probe ends at its next step."""
        self._asked = None
        self._control.stop()
        self._latest.drop()

    def _begin(self) -> None:
        if self._asked is not None:
            config, shapes = self._asked
            control = self._control = Control()
            self._latest.ask(lambda: estimate(config, shapes, control))

    def _on_done(self, found: Estimate | None) -> None:
        if found is not None and self._asked is not None:
            self.known.emit(found)


def estimate(config: IGTTConfig, shapes: Sequence[tuple[int, ...]], control: Control) -> Estimate | None:
    """Estimate how long a run takes on layers of these shapes; for a thread. None if it was stopped."""
    torch_beside_a_window()
    from napari_metastructure.igtt.room import Need
    from napari_metastructure.networks.device import list_devices, resolve

    device = str(resolve(config.device))
    size = shapes[0][-2:]
    side = tuple(min(n, PROBE_SIDE) for n in size)
    name = next((found.name for found in list_devices() if found.id == device), device)
    key = json.dumps([name, side, *(str(getattr(config, part)) for part in PACE_DEPENDS_ON)])
    pace = _recalled(key)
    if pace is None:
        with PROBING, suppress(Stopped):
            pace = probe(config, side, control)
        if pace is None:
            return None
        _remember(key, pace)
    planes = sum(math.prod(shape[:-2]) for shape in shapes)
    start, epochs = pace.seconds(config, sum(math.prod(shape) for shape in shapes))
    return Estimate(start, epochs, name, planes, (size[0], size[1]), Need.of(shapes, config))


PACE_DEPENDS_ON = (
    *("network", "encoder", "base_channels", "inputs", "start", "criterion", "search", "extraction", "loss"),
    *("optimizer", "batch_size", "patch_size", "radius", "thresholds"),
)
"""Settings that another pace may follow from."""


def probe(config: IGTTConfig, size: tuple[int, ...], control: Control) -> Pace | None:
    """Run a few steps on a simulated plane and time them; None if it was stopped."""
    from napari_metastructure.igtt.iterate import iterate
    from napari_metastructure.images.simulate import nuclei
    from napari_metastructure.training.events import BatchFinished, EpochFinished, RunStarted

    field = nuclei((max(size[0], 64), max(size[1], 64)), np.random.default_rng(0))[0][: size[0], : size[1]]
    short = config.model_copy(update={"epochs": 1, "steps_per_epoch": PROBE_STEPS, "encoder_weights": None})
    times: list[float] = []
    for event in iterate([field], short, control):
        if isinstance(event, RunStarted | BatchFinished | EpochFinished):
            times.append(time.perf_counter())
    if control.stopped or len(times) != PROBE_STEPS + 3:
        return None
    begun, started, first, *_, last, done = times
    return Pace((started - begun) / field.size, (last - first) / (PROBE_STEPS - 1), (done - last) / field.size)


_paces: dict[str, Pace] = {}


def _file() -> Path:
    return user_cache_path("napari-metastructure") / "pace.json"


def _recalled(key: str) -> Pace | None:
    with suppress(OSError, ValueError, TypeError, AttributeError):
        for known, pace in json.loads(_file().read_text("utf-8")).items():
            _paces.setdefault(known, Pace(**pace))
    return _paces.get(key)


def _remember(key: str, pace: Pace) -> None:
    from napari_metastructure.images.writing import replacing

    _paces[key] = pace
    with suppress(OSError, InputError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        with replacing(_file()) as beside:
            beside.write_text(json.dumps({known: asdict(pace) for known, pace in _paces.items()}), "utf-8")


# ---- a try on what is on screen --------------------------------------------------------------------------------------

TRY_EPOCHS = 3
"""Epochs of a try at most."""


def part_on_screen(viewer: napari.Viewer, source: Source) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the pixels of an image that are on screen, (Y, X) or (Y, X, samples), and how to add them as a layer.

    Raises
    ------
    InputError
        If none are.
    """
    layer: Image = source.layer
    if viewer.dims.ndisplay != 2 or set(viewer.dims.displayed) != {viewer.dims.ndim - 2, viewer.dims.ndim - 1}:
        raise InputError("A try needs the axes Y and X on screen, in 2D.")
    point = np.rint(layer.world_to_data(viewer.dims.point)).astype(int)[: len(source.leading)]
    at = tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(point, source.leading, strict=True))
    coarse = layer.downsample_factors[layer.data_level] if layer.multiscale else np.ones(len(source.shape))
    corners = (np.asarray(layer.corner_pixels) * coarse)[:, -2:]
    low = np.clip(np.floor(corners[0]), 0, source.shape[-2:]).astype(int)
    high = np.clip(np.ceil(corners[1] + 1), 0, source.shape[-2:]).astype(int)
    if not layer.visible or np.any(high - low < 2):
        raise InputError(f"Nothing of layer {layer.name!r} is on screen; show it, or move it into view.")
    pixels = np.asarray(full(layer)[(*at, slice(low[0], high[0]), slice(low[1], high[1]))])
    whole = placement(layer)
    sizes = {"rotate": 2, "shear": 2, "affine": 3}
    where = {key: value[-n:, -n:] if (n := sizes.get(key)) else value[-2:] for key, value in whole.items()}
    where["translate"] = tuple(where["translate"] + where["rotate"] @ where["shear"] @ (np.array(where["scale"]) * low))
    look = {"rgb": layer.rgb, "name": f"{layer.name} (part)", "metadata": {ORIGIN: {"source": layer.name}}}
    if not layer.rgb:
        look |= {"colormap": layer.colormap, "contrast_limits": layer.contrast_limits, "gamma": layer.gamma}
    return pixels, {**look, **where}
