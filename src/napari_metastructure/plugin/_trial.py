"""A look before a run of iGTT: how long it will take, from a timed probe, and a run on what is on screen."""

import math
import time
from collections.abc import Sequence
from typing import Any

import napari
import numpy as np
from napari.layers import Image

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin import _estimate
from napari_metastructure.plugin._layers import ORIGIN, full, placement
from napari_metastructure.plugin._source import Source
from napari_metastructure.training.control import Control

# ---- how long it will take -------------------------------------------------------------------------------------------

PACE_DEPENDS_ON = (
    *("network", "encoder", "base_channels", "inputs", "start", "criterion", "search", "extraction", "loss"),
    *("optimizer", "batch_size", "patch_size", "radius", "thresholds", "weights"),
)
"""Settings that another pace may follow from."""


def estimate(config: IGTTConfig, shapes: Sequence[tuple[int, ...]], control: Control) -> _estimate.Estimate | None:
    """Estimate how long a run takes on planes, of shapes (planes, Y, X) of each layer; for a thread."""
    size = shapes[0][-2:]
    side = tuple(min(n, _estimate.PROBE_SIDE) for n in size)
    key = (side, *(getattr(config, part) for part in PACE_DEPENDS_ON))
    name, pace = _estimate.measured(config.device, key, lambda: probe(config, size, control))
    if pace is None:
        return None
    from napari_metastructure.igtt.room import Need
    from napari_metastructure.igtt.rounds import effort, is_trained

    start, step, relabel = pace
    pixels, trained = sum(math.prod(shape) for shape in shapes), is_trained(config)
    steps, _ = effort(config, trained, pixels / math.prod(min(n, config.patch_size) for n in size))
    epochs = config.epochs * (steps * step + relabel * pixels)
    what = _estimate.planes_in_words(sum(math.prod(shape[:-2]) for shape in shapes), size)
    said = str(need) if (need := Need.of(shapes, config)).matters else ""
    if trained and config.start == "prior" and config.rounds != "always":
        return _estimate.Estimate(start * pixels, 0, what, name, ENDS, said)
    return _estimate.Estimate(start * pixels, epochs, what, name, need=said)


ENDS = "The run ends with its first masks; it answers what you paint, and trains where Rounds is always."


def probe(config: IGTTConfig, size: Sequence[int], control: Control) -> tuple[float, float, float] | None:
    """Time a run on a simulated plane: start by pixel, a step, and relabelling by pixel; None if it was stopped."""
    from napari_metastructure.igtt.iterate import iterate
    from napari_metastructure.training.events import BatchFinished, EpochFinished, RunStarted

    field, _ = _estimate.probe_plane(size)
    changes = {"epochs": 1, "steps_per_epoch": _estimate.PROBE_STEPS, "encoder_weights": None, "rounds": "always"}
    times: list[float] = []
    for event in iterate([field], config.model_copy(update=changes), control):
        if isinstance(event, RunStarted | BatchFinished | EpochFinished):
            times.append(time.perf_counter())
    if control.stopped:
        return None
    begun, started, first, *_, last, done = times
    return (started - begun) / field.size, (last - first) / (_estimate.PROBE_STEPS - 1), (done - last) / field.size


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
