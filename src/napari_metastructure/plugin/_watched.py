"""Image of the validation set that is watched in a training, and the job that predicts it with every epoch."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels

from napari_metastructure import __version__
from napari_metastructure.images.ranges import ALL
from napari_metastructure.labels.readings import Reading
from napari_metastructure.plugin import _layers
from napari_metastructure.plugin._job_widget import Job
from napari_metastructure.plugin._layer_order import (
    add_above,
    bring_to_front,
    earlier,
    is_untouched,
    kept_view,
    note_as_made,
)
from napari_metastructure.plugin._pairs import LayerSet, shape_of
from napari_metastructure.plugin._source import Source
from napari_metastructure.plugin._training_data import FIRST
from napari_metastructure.plugin._worker import torch_beside_a_window, wait_for
from napari_metastructure.training import events
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control
from napari_metastructure.training.pairs import Pair, TrainingSet


@dataclass(frozen=True, slots=True)
class Watching:
    """An image of the validation set whose predictions will come with every epoch.

    Attributes
    ----------
    group : str
        The image: of pairs from layers the layer's name.
    names : tuple of str
        Its pairs, one per plane.
    image : dict or None
        Arguments of ``viewer.add_image``, of an image that is no layer yet.
    labels : tuple or None
        Its Labels layer and how that is read, see `LayerSet.read_as`.
    ready : threading.Event
        To be set once its layer is there: beside a busy thread, adding it would take many times as long.
    """

    group: str
    names: tuple[str, ...]
    image: dict[str, Any] | None = field(repr=False)
    labels: tuple[Labels, Reading, int | None] | None = field(default=None, repr=False)
    ready: threading.Event = field(default_factory=threading.Event, repr=False)


def train_job(
    make: Callable[[], TrainingSet],
    config: TrainConfig,
    watch: str | None,
    folder: Path | None,
    resume: bool,
) -> Job:
    """Make the job of a run; ``watch`` names the image whose predictions are wanted, or none."""

    def job(control: Control) -> Iterator[events.Event | Watching]:
        torch_beside_a_window()
        from napari_metastructure.training.train import train

        given = make()
        if isinstance(given, LayerSet):  # else what is painted meanwhile would change the scores alone
            given = given.mapped(Pair.with_labels_copied)
        if folder is not None and isinstance(given, LayerSet):
            given = given.with_files()
        names: Sequence[str] = ()
        if watched := watched_pairs(given.held(config)[1], watch):
            names = tuple(pair.name for pair in watched)
            if isinstance(given, LayerSet):
                image, labels = None, given.read_as(watched[0], config.reading)
            else:
                image, labels = _image_of(watched), None
            watching = Watching(watched[0].group, names, image, labels)
            yield watching
            wait_for(watching.ready, control)
        yield from train(
            given.training,
            config,
            control,
            validation=given.validation,
            folder=folder,
            resume=resume,
            watch=names,
            chosen=given.chosen if isinstance(given, LayerSet) else ALL,
        )

    return job


def watched_pairs(validation: Sequence[Pair], watch: str | None) -> list[Pair]:
    """Return the planes of the image that is watched; none if nothing is, or there is no such image."""
    if watch is None or not validation:
        return []
    group = validation[0].group if watch == FIRST else watch
    return [pair for pair in validation if pair.group == group]


def _image_of(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Read an image from a file, as ``viewer.add_image`` takes it; of several channels the first."""
    from napari_metastructure.images.files import noting, read_image

    with noting():
        file = read_image(pairs[0].files[0])
    planes = [np.asarray(pair.read_image()) for pair in pairs]
    planes = [plane[0] if plane.ndim == 3 else plane for plane in planes]
    places = [file.axes.index(a) for a in "TZYX" if a in file.axes]
    shape = [file.data.shape[i] for i in places]
    return {
        "data": np.stack(planes).reshape(shape),
        "name": pairs[0].group,
        "scale": [file.scale[i] for i in places],
        "units": [file.units[i] for i in places],
    }


# ---- its layer ----


class WatchedImage:
    """One image of the validation set, with what the network predicts as a layer with an epoch axis.

    Parameters
    ----------
    viewer : napari.Viewer
    watching : Watching
    given : Source or None
        Its layer; without one it is added.
    config : TrainConfig

    Raises
    ------
    InputError
        If memory does not suffice for all epochs.
    """

    def __init__(self, viewer: napari.Viewer, watching: Watching, given: Source | None, config: TrainConfig) -> None:
        self.viewer, self._given = viewer, given
        self.names, self._shown_as = watching.names, watching.labels
        self.labels: Labels | None = None
        self.slider = _layers.EpochSlider(viewer)
        self.epochs = self.slider.epochs
        self._config = config
        self._added = False
        self.source: Image = self._image(watching) if given is None else given.layer
        shape = shape_of(self.source) if given is None else given.shape
        self._pages = _layers.EpochPages(shape, config.epochs, "predictions", self.source.name)

    def _image(self, watching: Watching) -> Image:
        """Add the image, unless an earlier run has."""
        how = watching.image or {}
        about = {_layers.ORIGIN: {"version": __version__, "watched": watching.group}}
        for layer in self.viewer.layers:
            if type(layer) is Image and layer.metadata == about and np.array_equal(layer.data, how["data"]):
                return layer
        self._added = True
        with kept_view(self.viewer):
            return self.viewer.add_image(**how, metadata=about)

    def open(self) -> None:
        """Add the layer, empty, and bring its image to the front."""
        bring_to_front(self.viewer, [self.source])
        how = {"trained": True, "seed": self._config.seed, "config": self._config.model_dump(mode="json")}
        how |= {_layers.PLANES: self._given.note} if self._given is not None and self._given.note else {}
        where = partial(_layers.placement, self.source, "epoch", len(self._pages.shape))
        self.labels = Labels(
            self._pages.array[:1],
            name=_layers.result_name(self.source.name, "prediction"),
            opacity=0.6,
            metadata=_layers.made_from(self.source, **how),
            **where(),
        )
        self.labels.editable = False
        add_above(self.viewer, self.source, self.labels, where)
        self.slider.layers.append(self.labels)

    def use_colors(self, classes: Sequence[int]) -> None:
        """Use the colours of the user's Labels layer; of two classes the foreground alone is drawn, in its own colour.

        It lies on the user's mask, and in the same colour the two could not be told apart.
        """
        if self.labels is not None:
            several = len(classes) > 2
            shown = _layers.colors_as_read(classes, self._shown_as) if several else None
            self.labels.colormap = _layers.class_colormap(classes if several else classes[1:], shown)

    def shows(self, watching: Watching, source: Image | None, epoch: int) -> bool:
        """Whether the newest epoch drawn here is this one, of the image that is to be watched."""
        there = self.labels is not None and self.labels in self.viewer.layers and self.source in self.viewer.layers
        return there and self.names == watching.names and source in (None, self.source) and self.epochs[-1:] == [epoch]

    def go_on(self, config: TrainConfig) -> None:
        """Make room for a run that goes on from the one drawn here, and show it again."""
        if self._pages.reserve(config.epochs) and self.labels is not None:
            self.labels.data = self._pages.array[: len(self.labels.data)]
        if self.labels is not None:
            self.labels.visible = True

    def close(self) -> None:
        """Undo `open` (for a run that never finished an epoch)."""
        for layer in (self.labels, self.source if self._added else None):
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def add(self, event: events.TrainEpoch) -> Iterator[None]:
        """Draw an epoch in two steps, the second of which moves the slider if it stands at the newest."""
        if self.labels is None or self.labels not in self.viewer.layers:
            return iter(())
        planes = [event.predictions[name] for name in self.names]
        page = np.stack(planes) if self._given is None else self._given.join(planes)
        pages = self._pages.put(event.epoch, page.reshape(self._pages.shape))
        return self.slider.follow([event.epoch], self._draw(self.labels, event.epoch, pages))

    def _draw(self, labels: Labels, epoch: int, pages: np.ndarray) -> Iterator[None]:
        if labels in self.viewer.layers:
            self.slider.set_data(labels, pages, epoch)
        yield

    def end(self) -> Iterator[None]:
        """Take away, in steps, predictions of earlier runs that are the same so far, and that the user left alone."""
        if self.labels is None or self.labels not in self.viewer.layers:
            return
        note_as_made(self.labels)
        for before in earlier(self.viewer, self.labels, self.source, "config", _layers.PLANES):
            old, new = before.data, self.labels.data
            if before is self.labels or old.shape[1:] != new.shape[1:] or len(old) > len(new):
                continue
            for one, other in zip(old, new, strict=False):
                if not np.array_equal(one, other):
                    break
                yield
            else:
                name = before.name
                if before in self.viewer.layers:
                    self.viewer.layers.remove(before)
                if is_untouched(self.labels):
                    self.labels.name = name  # without napari's number for a second of a name
                    note_as_made(self.labels)

    def hide(self) -> None:
        """Hide it: a new run draws its own."""
        if self.labels is not None:
            self.labels.visible = False
