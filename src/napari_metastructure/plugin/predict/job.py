"""What the background thread of a prediction does: layers, or a folder of images."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.networks.prediction import (
    PlanePredicted,
    PredictionEvent,
    PredictionFinished,
    PredictionProgress,
    PredictionStarted,
)
from napari_metastructure.plugin.job import now_and_then, torch_beside_a_window
from napari_metastructure.plugin.predict.layered import Layered
from napari_metastructure.plugin.predict.settings import PredictSettings
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Warned

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_metastructure.networks.model import Model


@dataclass(frozen=True, slots=True)
class LayerPredicted:
    """One layer is done: arrays of `Layered.shape`."""

    layered: Layered
    labels: np.ndarray = field(repr=False)
    probability: np.ndarray | None = field(repr=False)
    classes: tuple[int, ...]
    model: str


Told = PredictionEvent | LayerPredicted | Warned
Job = Callable[[], Iterator[Any]]


def describe(path: Path) -> str:
    """What the model in a file or run folder is.

    Raises
    ------
    InputError
        If there is none.
    """
    return str(_load(path))


def layers_job(path: Path, layers: Sequence[Layer], settings: PredictSettings, control: Control) -> Job:
    """Predict image layers one after the other."""

    def go(model: Model, device: Any) -> Iterator[Told]:
        from napari_metastructure.networks.batch import blank_note, predict_planes

        chosen = [_layered(layer, model, settings.channel) for layer in layers]
        total, done, began, blank = sum(c.count for c in chosen), 0, time.perf_counter(), []
        yield PredictionStarted(str(model), len(chosen), str(device))
        for layered in chosen:
            labels, probability = _room(layered, settings.probability)
            for event in predict_planes(
                model, layered.planes(), layered.count, device, control.checkpoint, settings.probability
            ):
                match event:
                    case PlanePredicted():
                        _put(event.labels, labels, event.index)
                        _put(event.probability, probability, event.index)
                        blank += [event.name] if event.blank else []
                    case PredictionProgress():
                        yield replace(event, done=done + event.done, images=total)
            done += layered.count
            yield LayerPredicted(layered, labels, probability, model.use.classes, str(model.path))
        yield from (Warned(note) for note in blank_note(blank))
        model.release()
        yield PredictionFinished(False, len(chosen), time.perf_counter() - began)

    return _job(path, settings, go)


def folder_job(path: Path, images: Path, out: Path, settings: PredictSettings, control: Control) -> Job:
    """Predict the image files of a folder, and write what comes of them into another."""

    def go(model: Model, device: Any) -> Iterator[Told]:
        from napari_metastructure.cli.outputs import output_stems
        from napari_metastructure.images.files import list_images
        from napari_metastructure.networks.batch import predict_files, targets_of

        with warnings.catch_warnings(record=True) as skipped:
            warnings.simplefilter("always", UserWarning)
            paths = list_images([images])
        yield from (Warned(str(note.message)) for note in skipped if note.category is UserWarning)
        targets = targets_of(
            paths,
            output_stems(paths),
            out,
            ome=settings.ome,
            probability=settings.probability,
            overwrite=settings.overwrite,
        )
        yield from predict_files(model, paths, targets, device, control.checkpoint, settings.channel)

    return _job(path, settings, go)


def _job(path: Path, settings: PredictSettings, go: Callable[[Any, Any], Iterator[Told]]) -> Job:
    """Load the model, then ``go``; a stop is an end like any other."""

    def job() -> Iterator[Told]:
        began = time.perf_counter()
        model = _load(path)
        from napari_metastructure.networks.device import resolve

        try:
            yield from now_and_then(go(model, resolve(settings.device)), _in_between)
        except Stopped:
            model.release()
            yield PredictionFinished(True, 0, time.perf_counter() - began)

    return job


def _layered(layer: Layer, model: Model, channel: str | None) -> Layered:
    """A layer as the model takes it: of RGB layers the colour it was trained on, if the user did not name one."""
    own = model.use.colour if getattr(layer, "rgb", False) else None
    return Layered.of(layer, model.use.channels, own if channel is None else channel)


def _load(path: Path) -> Model:
    torch_beside_a_window()
    from napari_metastructure.igtt.apply import load_model

    return load_model(path)


def _in_between(event: Told) -> bool:
    """Whether it tells of progress, and not of the end."""
    return isinstance(event, PredictionProgress) and event.done < event.images


def _put(plane: np.ndarray | None, result: np.ndarray | None, index: int) -> None:
    """A plane at its place, in C order of the axes before Y and X."""
    if plane is not None and result is not None:
        result.reshape(-1, *plane.shape)[index] = plane


def _room(layered: Layered, want_probability: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Arrays for the result."""
    try:
        probability = np.zeros(layered.shape, np.float32) if want_probability else None
        return np.zeros(layered.shape, np.uint8), probability
    except MemoryError:
        size = np.prod(layered.shape, dtype=float) * (5 if want_probability else 1) / 2**30
        raise InputError(
            f"The result of layer {layered.source.name!r} needs {size:.1f} GiB of memory; untick Probability, or "
            "predict its file by the folder."
        ) from None
