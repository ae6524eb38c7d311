"""What is trained and validated on: pairs made from rows of layers, or found in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.image import Image
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.plugin.sources import EAGER_BYTES, Source
from napari_metastructure.plugin.train.rows import Row
from napari_metastructure.plugin.visible import full
from napari_metastructure.training.pairs import Pair, split

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_metastructure.labels.classes import Reading
    from napari_metastructure.training.config import TrainConfig

LUMINANCE = "luminance"
"""Of colour images what they are reduced to, and of all others what they are."""

MANY = 20
"""Labels with more numbers than this are taken for classes only if the user lists them."""


@dataclass(frozen=True)
class TrainingSet:
    """Pairs to train on, and to validate on.

    Attributes
    ----------
    training : list of Pair
    validation : list of Pair or None
        None: the share that the settings say is kept.
    layers : dict of str to Source
        The image layer of each group of pairs, if they come from layers.
    rows : tuple of Row
        The rows they come from.
    test : int
        Images of a split that training leaves alone.
    """

    training: list[Pair]
    validation: list[Pair] | None = None
    layers: dict[str, Source] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    test: int = 0

    @property
    def pairs(self) -> list[Pair]:
        """All of them."""
        return [*self.training, *(self.validation or [])]

    @property
    def eager(self) -> bool:
        """Whether reading all pixels takes no noticeable time."""
        datas = [full(layer) for row in self.rows for layer in (row.image, row.labels) if layer is not None]
        small = sum(data.nbytes for data in datas if isinstance(data, np.ndarray)) <= EAGER_BYTES
        return bool(datas) and small and all(isinstance(data, np.ndarray) for data in datas)

    def held(self, config: TrainConfig) -> tuple[list[Pair], list[Pair]]:
        """What a run with these settings trains on and validates on."""
        if self.validation is not None:
            return self.training, self.validation
        return split(self.training, config.validation_fraction, config.seed)

    def in_words(self, config: TrainConfig) -> str:
        """``36 images to train on, 12 to validate on.``"""
        training, validation = self.held(config)
        why = "" if self.validation is not None or not validation else " (kept by Validation fraction)"
        test = f"; {self.test} of a test split stay out" if self.test else ""
        held = f"{len(validation)} to validate on{why}" if validation else "none to validate on"
        return f"{len(training)} image{'s' * (len(training) != 1)} to train on, {held}{test}."


def set_of_rows(rows: Sequence[Row], channel: str) -> TrainingSet:
    """The set that rows of layers make; no pixel is read yet.

    Parameters
    ----------
    rows : sequence of Row
    channel : str
        Of RGB layers: "luminance", "red", "green", "blue", or "all" as channels of their own.

    Raises
    ------
    InputError
        For a row that cannot be used, an image in two rows, or nothing to train on; it names row or layer.
    """
    if not rows:
        raise InputError("There is no pair to train on; open images and their labels, and add a row for each pair.")
    sets: dict[str, list[Pair]] = {"train": [], "validation": []}
    layers: dict[str, Source] = {}
    for number, row in enumerate(rows, 1):
        if row.problem or row.image is None or row.labels is None:
            raise InputError(f"Row {number} {row.problem}.")
        source = Source.of(row.image)
        if source.name in layers:
            raise InputError(f"Image layer {source.name!r} is in two rows; keep one of them.")
        layers[source.name] = source
        sets[row.use] += _pairs(source, row.labels, channel)
    if not sets["train"]:
        raise InputError("All rows are used to validate; set at least one to train.")
    return TrainingSet(sets["train"], sets["validation"] or None, layers, tuple(replace(row) for row in rows))


def set_of_folder(folder: Path, channel: str) -> TrainingSet:
    """The set in a folder; see `training.folders.find_pairs`."""
    from napari_metastructure.training.folders import find_pairs

    found = find_pairs(folder, channel=None if channel == LUMINANCE else channel)
    return TrainingSet(found.train, found.validation or None, test=len(found.test))


def read_as(given: TrainingSet, reading: Reading, classes: Sequence[int] | None = None) -> TrainingSet:
    """The same set with its labels as they are meant; reads them all to see which values there are.

    Parameters
    ----------
    given : TrainingSet
    reading : {"classes", "foreground", "objects"}
    classes : sequence of int, optional
        Those that the user listed: then there may be many.

    Raises
    ------
    InputError
        For instance numbers where classes are meant, or several labels where one foreground is; it names the image.
    """
    from napari_metastructure.training.store import is_mask, label_values

    values = label_values(given.pairs, lambda: None)
    numbers = [value for value in values if value not in (0, UNLABELLED)]
    if reading == "classes" or is_mask(values):
        if numbers and numbers[-1] > UNLABELLED:
            raise InputError(
                f"{values[numbers[-1]]}: the label {numbers[-1]} looks like an instance number; read the labels as "
                "objects (any number is foreground), or relabel them by class."
            )
        if classes is None and len(numbers) > MANY:
            raise InputError(
                f"The labels hold {len(numbers)} different numbers besides 0: if they count objects, read the labels "
                "as objects; if each is a class, list them under Classes."
            )
        return given
    if reading == "foreground" and len(numbers) > 1:
        raise InputError(
            f"{values[numbers[-1]]}: {len(numbers)} different labels besides 0 are not foreground and background; "
            "read the labels as objects (any number is foreground) or as classes."
        )
    unlabelled = UNLABELLED if reading == "foreground" else None
    plain = set(values) <= {0, 1} or (set(values) <= {0, 1, UNLABELLED} and unlabelled is not None)
    return _mapped(given, lambda pair: _as_foreground(pair, unlabelled, keep_files=plain))


def check(given: TrainingSet, config: TrainConfig) -> None:
    """Read all pixels and see whether they can be trained on.

    Raises
    ------
    InputError
        It names the image.
    """
    from napari_metastructure.training.store import check_values, label_values, read_image

    training, validation = given.held(config)
    classes = check_values(label_values(training, lambda: None), config.classes)
    if validation:
        check_values(label_values(validation, lambda: None), classes)
    for pair in given.pairs:
        read_image(pair)


def with_files(given: TrainingSet) -> TrainingSet:
    """The same set with the files its layers are in, so that ``run.yaml`` can repeat the run.

    Only if every layer is in a file and still as it is there: a part of the set would repeat another run.
    """
    files: dict[str, tuple[Path, ...]] = {}
    for row in given.rows:
        if row.image is None or row.labels is None or not (same_as_file(row.image) and same_as_file(row.labels)):
            return given
        files[row.image.name] = (Path(row.image.source.path), Path(row.labels.source.path))
    return _mapped(given, lambda pair: replace(pair, files=files.get(pair.group, pair.files)))


def same_as_file(layer: Layer) -> bool:
    """Whether a layer's pixels are those of the one file it came from."""
    from napari_metastructure.images.files import read_image

    path = layer.source.path
    if not path or not Path(path).is_file():
        return False
    try:
        image = read_image(path)
    except InputError:
        return False
    in_order = "".join(a for a in "TZYXS" if a in image.axes) == image.axes
    return in_order and np.array_equal(image.data, np.squeeze(np.asarray(full(layer))))


def _mapped(given: TrainingSet, change: Any) -> TrainingSet:
    validation = None if given.validation is None else [change(pair) for pair in given.validation]
    return replace(given, training=[change(pair) for pair in given.training], validation=validation)


def _pairs(source: Source, labels: Layer, channel: str) -> Iterator[Pair]:
    """A pair for each plane of two layers."""
    data, shape = full(labels), source.shape
    for at, name in zip(np.ndindex(source.leading), source.names(), strict=True):
        image = partial(_image_plane, source, full(source.layer), at, channel)
        yield Pair(name, source.name, (shape[-2], shape[-1]), image, partial(_plane, data, at))


def _plane(data: Any, at: tuple[int, ...]) -> np.ndarray:
    return np.asarray(data[at])


def _image_plane(source: Source, data: Any, at: tuple[int, ...], channel: str) -> np.ndarray:
    """(Y, X) pixels, or (3, Y, X) of an RGB layer with all its channels."""
    from napari_metastructure.images import axes

    plane = np.asarray(data[at])
    if not source.layer.rgb:
        return plane
    image = Image(plane, "YXS", (1, 1, 1), ("pixel",) * 3, source.name)
    if channel == "all":
        return axes.channel_planes(image, 3)[0]
    return axes.planes(image, channel)[0]


def _as_foreground(pair: Pair, unlabelled: int | None, keep_files: bool) -> Pair:
    read = partial(_foreground, pair.read_labels, pair.name, unlabelled)
    return replace(pair, read_labels=read, files=pair.files if keep_files else ())


def _foreground(read: Any, name: str, unlabelled: int | None) -> np.ndarray:
    """Labels of 0 and 1; 255 stays where it means unlabelled."""
    from napari_metastructure.labels.classes import check_labels

    labels = check_labels(read(), name)
    result = (labels != 0).astype(np.uint8)
    if unlabelled is not None:
        result[labels == unlabelled] = unlabelled
    return result
