"""Images and their labels, read when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from napari_metastructure.errors import InputError, listed
from napari_metastructure.images.intensity import check_plane, refuse_blank
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import MOST_CLASSES, check_labels, values_in

if TYPE_CHECKING:
    from napari_metastructure.labels.classes import Reading
    from napari_metastructure.training.config import TrainConfig


Read = Callable[[], Any]


@dataclass(frozen=True)
class Pair:
    """One image plane and its labels.

    Attributes
    ----------
    name : str
        What messages call it.
    group : str
        Planes of one image share it: a set is split between groups, never inside one.
    shape : (int, int)
        Height and width.
    read_image : callable
        Returns the (Y, X) or (C, Y, X) image.
    read_labels : callable
        Returns the (Y, X) labels: class values, 255 = unlabelled.
    files : tuple of Path
        Where they come from, if from files.
    """

    name: str
    group: str
    shape: tuple[int, int]
    read_image: Read = field(repr=False)
    read_labels: Read = field(repr=False)
    files: tuple[Path, ...] = ()


def pairs_of(
    images: Sequence[np.ndarray], labels: Sequence[np.ndarray], names: Sequence[str] | None = None
) -> list[Pair]:
    """Pairs from arrays in memory.

    Parameters
    ----------
    images : sequence of (..., Y, X) arrays
        Leading axes are planes of one group. For several channels make `Pair` yourself.
    labels : sequence of integer arrays of the same shapes
    names : sequence of str, optional

    Raises
    ------
    InputError
        If there is none, or an image and its labels differ in shape; it names them.
    """
    if len(images) != len(labels):
        raise InputError(f"There are {len(images)} images and {len(labels)} labels; give one for each.")
    found = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = names[number] if names is not None else f"image {number + 1}"
        image, label = np.asarray(image), np.asarray(label)
        check_same_size(name, image.shape, label.shape)
        for at in np.ndindex(image.shape[:-2]):
            plane, mask = image[at], label[at]
            whole = f"{name} [{', '.join(map(str, at))}]" if at else name
            found.append(Pair(whole, name, plane.shape, reader_of(plane), reader_of(mask)))
    return found


def reader_of(array: np.ndarray) -> Read:
    """Return what reads an array that is in memory."""
    return lambda: array


def check_same_size(name: str, image: Sequence[int], labels: Sequence[int]) -> None:
    """Check that an image and its labels lie on each other.

    Raises
    ------
    InputError
    """
    if tuple(image) != tuple(labels):
        sizes = [" x ".join(map(str, s)) for s in (image, labels)]
        raise InputError(f"{name}: the image has {sizes[0]} pixels, its labels {sizes[1]}; give labels of that image.")


Purpose = Literal["validation", "test"]
"""What the images of a set that are not trained on are for."""

VERBS: dict[Purpose, str] = {"validation": "validate", "test": "test"}

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
    test : int
        Images of a split that training leaves alone.
    """

    training: list[Pair]
    validation: list[Pair] | None = None
    test: int = 0

    @property
    def pairs(self) -> list[Pair]:
        """All of them."""
        return [*self.training, *(self.validation or [])]

    def held(self, config: TrainConfig) -> tuple[list[Pair], list[Pair]]:
        """Return what a run with these settings trains on and validates on."""
        if self.validation is not None:
            return self.training, self.validation
        return split(self.training, config.validation_fraction, config.seed)

    def in_words(self, config: TrainConfig, purpose: Purpose = "validation") -> str:
        """Say what a run would use: ``36 images to train on, 12 to validate on.``"""
        training, kept = self.held(config)
        why = "" if self.validation is not None or not kept else f" (kept by {purpose.capitalize()} fraction)"
        test = f"; {self.test} of a test split stay out" if self.test else ""
        held = f"{len(kept) or 'none'} to {VERBS[purpose]} on{why}"
        return f"{len(training)} image{'s' * (len(training) != 1)} to train on, {held}{test}."

    def mapped(self, change: Callable[[Pair], Pair]) -> Self:
        """Return the same set with each pair changed."""
        validation = None if self.validation is None else [change(pair) for pair in self.validation]
        return replace(self, training=[change(pair) for pair in self.training], validation=validation)

    def with_classes(self, checkpoint: Callable[[], None], copied: bool) -> Self:
        """Return the same set with labels as class values: of masks of 0 and 255, 0 and 1.

        Parameters
        ----------
        checkpoint : callable
            Called between images; may raise.
        copied : bool
            Read all labels now and keep them in memory: what is painted on them later changes nothing.
        """
        masks = is_mask(label_values(self.pairs, checkpoint))

        def as_classes(pair: Pair) -> Pair:
            checkpoint()
            read = partial(clean_labels, pair, masks)
            return replace(pair, read_labels=reader_of(np.array(read())) if copied else read)

        return self.mapped(as_classes)

    def read_as(self, reading: Reading, classes: Sequence[int] | None = None) -> Self:
        """Return the same set with its labels as they are meant; reads them all to see which values there are.

        Parameters
        ----------
        reading : {"classes", "foreground", "objects"}
        classes : sequence of int, optional
            Those that the user listed: then there may be many.

        Raises
        ------
        InputError
            For instance numbers where classes are meant, or several labels where one foreground is; it names the
            image.
        """
        values = label_values(self.pairs, lambda: None)
        numbers = [value for value in values if value not in (0, UNLABELLED)]
        if reading == "classes" or is_mask(values):
            if numbers and numbers[-1] > UNLABELLED:
                raise InputError(
                    f"{values[numbers[-1]]}: the label {numbers[-1]} looks like an instance number; read the labels "
                    "as objects (any number is foreground), or relabel them by class."
                )
            if classes is None and len(numbers) > MANY:
                raise InputError(
                    f"The labels hold {len(numbers)} different numbers besides 0: if they count objects, read the "
                    "labels as objects; if each is a class, list them under Classes."
                )
            return self
        if reading == "foreground" and len(numbers) > 1:
            raise InputError(
                f"{values[numbers[-1]]}: {len(numbers)} different labels besides 0 are not foreground and background; "
                "read the labels as objects (any number is foreground) or as classes."
            )
        unlabelled = UNLABELLED if reading == "foreground" else None
        plain = set(values) <= {0, 1} or (set(values) <= {0, 1, UNLABELLED} and unlabelled is not None)

        def as_foreground(pair: Pair) -> Pair:
            read = partial(_foreground, pair.read_labels, pair.name, unlabelled)
            return replace(pair, read_labels=read, files=pair.files if plain else ())

        return self.mapped(as_foreground)

    def check(self, config: TrainConfig) -> None:
        """Read all pixels and see whether they can be trained on.

        Raises
        ------
        InputError
            It names the image.
        """
        training, validation = self.held(config)
        classes = check_values(label_values(training, lambda: None), config.classes)
        if validation:
            check_values(label_values(validation, lambda: None), classes)
        refuse_blank((read_image(pair) for pair in self.pairs), [pair.name for pair in self.pairs])


def _foreground(read: Read, name: str, unlabelled: int | None) -> np.ndarray:
    """Read labels as 0 and 1; 255 stays where it means unlabelled."""
    labels = check_labels(read(), name)
    result = (labels != 0).astype(np.uint8)
    if unlabelled is not None:
        result[labels == unlabelled] = unlabelled
    return result


def split(pairs: Sequence[Pair], fraction: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Keep a fraction of the pairs for validation, whole groups at a time.

    Parameters
    ----------
    fraction : float
        Share of the pairs at least, 0 to 1; 0 keeps none.
    seed : int
        The same groups are kept for the same seed and names, in whatever order they come.

    Returns
    -------
    training, validation : list of Pair
        Validation is empty where all pairs are of one group: that cannot be split.
    """
    groups = sorted({pair.group for pair in pairs})
    if fraction <= 0 or len(groups) < 2:
        return list(pairs), []
    np.random.default_rng([seed, len(groups)]).shuffle(groups)
    kept: set[str] = set()
    for group in groups[:-1]:  # one is left to train on
        if sum(pair.group in kept for pair in pairs) >= fraction * len(pairs):
            break
        kept.add(group)
    return [p for p in pairs if p.group not in kept], [p for p in pairs if p.group in kept]


# ---- What is read of a pair -----------------------------------------------------------------------------


def label_values(pairs: Sequence[Pair], checkpoint: Callable[[], None]) -> dict[int, str]:
    """Every value in the labels of a set, and the first label image that has it; reads them all.

    Raises
    ------
    InputError
        For a label image that cannot be used; it names it.
    """
    found: dict[int, str] = {}
    for pair in pairs:
        checkpoint()
        for value in values_in(_raw_labels(pair)):
            found.setdefault(value, pair.name)
    return found


def is_mask(values: Collection[int]) -> bool:
    """Whether a set of labels is one of masks, 0 and 255: there 255 means foreground and not unlabelled."""
    return set(values) == {0, UNLABELLED}


def check_values(values: Mapping[int, str], classes: Sequence[int] | None) -> tuple[int, ...]:
    """Return the classes given, or those there are; every label has to be one of them, and there must be a choice.

    Parameters
    ----------
    values : mapping of int to str
        What `label_values` found.

    Raises
    ------
    InputError
        For a label that is no class (it names the image), no labelled pixel at all, or a single class.
    """
    if is_mask(values):
        values = {int(value > 0): name for value, name in values.items()}
    labelled = sorted(set(values) - {UNLABELLED})
    if not labelled:
        raise InputError(f"Every pixel of the labels is {UNLABELLED}, unlabelled; label some of each class.")
    if labelled[-1] > MOST_CLASSES:
        raise InputError(
            f"{values[labelled[-1]]}: the label {labelled[-1]} is above {MOST_CLASSES}, so it looks like an instance "
            "number; relabel by class, from 0."
        )
    if classes is not None:
        if strangers := [value for value in labelled if value not in classes]:
            raise InputError(
                f"{values[strangers[0]]}: the label {strangers[0]} is none of the classes {listed(classes)}; add it "
                "to the classes, or set those pixels to 255 (unlabelled)."
            )
        return tuple(classes)
    if len(labelled) == 1:
        raise InputError(
            f"All labelled pixels are {labelled[0]}, so there is nothing to tell apart; label background (0) and "
            "objects, or name the classes."
        )
    return tuple(labelled)


def read_image(pair: Pair) -> np.ndarray:
    """Return the checked image of a pair, (Y, X) or (C, Y, X) float32; some pixels may be NaN, see `images.surround`.

    Raises
    ------
    InputError
        It names the pair.
    """
    image = np.asarray(pair.read_image())
    check_same_size(pair.name, image.shape[-2:], pair.shape)
    if image.ndim == 3:
        return np.stack([check_plane(c, f"{pair.name} (channel {i})") for i, c in enumerate(image)])
    return check_plane(image, pair.name)


def label_codes(pair: Pair, classes: Sequence[int], masks: bool) -> np.ndarray:
    """Return the (Y, X) uint8 labels of a pair as class codes, 255 unlabelled; ``masks`` as in `clean_labels`."""
    labels = clean_labels(pair, masks)
    codes = np.full(labels.shape, UNLABELLED, np.uint8)
    for code, value in enumerate(classes):
        codes[labels == value] = code
    return codes


def clean_labels(pair: Pair, masks: bool) -> np.ndarray:
    """Return the (Y, X) labels of a pair as class values: of masks of 0 and 255 (`is_mask`), 0 and 1."""
    labels = _raw_labels(pair)
    return (labels != 0).astype(np.uint8) if masks else labels


def _raw_labels(pair: Pair) -> np.ndarray:
    labels = check_labels(pair.read_labels(), pair.name)
    check_same_size(pair.name, pair.shape, labels.shape)
    return labels
