"""Images and their labels, read when they are needed."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from napari_metastructure.errors import InputError, counted, listed, sized
from napari_metastructure.images.files import noting
from napari_metastructure.images.intensity import as_float32, check_plane, refuse_blank
from napari_metastructure.images.lazy import Plane, is_lazy, opened
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.pixels import check_labels, encode
from napari_metastructure.labels.readings import MOST_CLASSES, Meaning, Reading
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
        Returns the (Y, X) or (C, Y, X) image; of a large file a `images.lazy.Plane`.
    read_labels : callable
        Returns the (Y, X) labels, or a Plane as well.
    files : tuple of Path
        Where they come from, if from files.
    values : tuple of int or None
        The classes in the labels, of which any other number, 255 at best, is unlabelled; None where it is not settled
        yet what numbers mean: `read_pairs` does that.
    """

    name: str
    group: str
    shape: tuple[int, int]
    read_image: Read = field(repr=False)
    read_labels: Read = field(repr=False)
    files: tuple[Path, ...] = ()
    values: tuple[int, ...] | None = None


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

    Examples
    --------
    >>> stack = np.zeros((2, 64, 64))
    >>> [pair.name for pair in pairs_of([stack], [stack.astype(int)], ["cell"])]
    ['cell [0]', 'cell [1]']
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


def _copied(labels: Any) -> Any:
    """Copy labels that are in memory."""
    return labels if is_lazy(labels) else np.array(labels)


def check_same_size(name: str, image: Sequence[int], labels: Sequence[int]) -> None:
    """Check that an image and its labels lie on each other."""
    if tuple(image) != tuple(labels):
        raise InputError(
            f"{name}: the image has {sized(image)}, its labels {sized(labels)}; give labels of that image."
        )


Purpose = Literal["validation", "test"]
"""What the images of a set that are not trained on are for."""

MANY = 20
"""Labels with more numbers than this are taken for classes only if the user lists them."""

VERBS: dict[Purpose, str] = {"validation": "validate", "test": "test"}


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
        return f"{counted(len(training), 'image')} to train on, {held}{test}."

    def mapped(self, change: Callable[[Pair], Pair]) -> Self:
        """Return the same set with each pair changed."""
        validation = None if self.validation is None else [change(pair) for pair in self.validation]
        return replace(self, training=[change(pair) for pair in self.training], validation=validation)

    def read(self, config: TrainConfig, checkpoint: Callable[[], None], copied: bool) -> tuple[Self, list[str]]:
        """Settle what the numbers in all labels mean, see `read_pairs`.

        Parameters
        ----------
        config : TrainConfig
            Its reading and classes count.
        checkpoint : callable
            Called between images; may raise.
        copied : bool
            Keep all labels in memory: what is painted on them later changes nothing.

        Returns
        -------
        TrainingSet
            The same, with labels as classes.
        notes : list of str
        """
        pairs, notes = read_pairs(self.pairs, config.reading, config.classes, checkpoint)
        if copied:
            pairs = [replace(pair, read_labels=reader_of(_copied(pair.read_labels()))) for pair in pairs]
        count = len(self.training)
        validation = None if self.validation is None else pairs[count:]
        return replace(self, training=pairs[:count], validation=validation), notes

    def check(self, config: TrainConfig) -> None:
        """Read all pixels and see whether they can be trained on.

        Raises
        ------
        InputError
            It names the image.
        """
        given, _ = self.read(config, lambda: None, copied=False)
        training, validation = given.held(config)
        check_values(validation, check_values(training, config.classes))
        refuse_blank((read_image(pair) for pair in self.pairs), [pair.name for pair in self.pairs])


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


def read_pairs(
    pairs: Sequence[Pair],
    reading: Reading,
    classes: Sequence[int] | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> tuple[list[Pair], list[str]]:
    """Settle what the numbers in the labels of a set mean: the same in all of them, whatever they are used for.

    Parameters
    ----------
    pairs : sequence of Pair
        Those of which it is settled already stay as they are.
    reading : {"auto", "foreground", "objects", "classes"}
        See `napari_metastructure.labels.classes.LabelStack`.
    classes : sequence of int, optional
        Those that the user listed: then numbers are classes, however many they are.
    checkpoint : callable
        Called between images; may raise.

    Returns
    -------
    pairs : list of Pair
        Their labels are classes, and 255 is unlabelled.
    notes : list of str
        What a user may not expect, in sentences.

    Raises
    ------
    InputError
        As `LabelStack.meaning`, or for a label image that cannot be used; it names it.
    """
    open_pairs = [pair for pair in pairs if pair.values is None]
    if not open_pairs:
        return list(pairs), []
    planes, names = [partial(_checked_labels, pair) for pair in open_pairs], [pair.name for pair in open_pairs]
    stack = LabelStack(_Read(planes), reading, names=names, sources=_sources(open_pairs))
    with noting() as notes:
        for _ in stack.survey():
            checkpoint()
        meaning = stack.meaning(classes)
    notes = [*dict.fromkeys(notes), *stack.notes(meaning)]
    settled = iter(range(len(open_pairs)))
    return [pair if pair.values is not None else _settled(pair, stack, next(settled), meaning) for pair in pairs], notes


def _sources(pairs: Sequence[Pair]) -> list[str]:
    """Name the file or image that the labels of each pair are of; two splits may have images of one name."""
    seen: Counter[str] = Counter()
    sources = []
    for pair in pairs:
        seen[pair.name] += 1
        again = f" ({seen[pair.name]})" if seen[pair.name] > 1 else ""
        sources.append(str(pair.files[-1]) if pair.files else f"{pair.group}{again}")
    return sources


class _Read(Sequence[np.ndarray]):
    """Arrays that are read when they are asked for."""

    def __init__(self, reads: Sequence[Read]) -> None:
        self.reads = reads

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, index: Any) -> Any:
        return self.reads[index]()


def _settled(pair: Pair, stack: LabelStack, index: int, meaning: Meaning) -> Pair:
    """Return a pair whose labels are read as classes; warnings about its file were noted before."""

    def read() -> np.ndarray:
        with noting():
            stack.forget([index])  # a layer may have been painted on
            return stack.read(index, meaning)

    return replace(pair, read_labels=read, values=meaning.classes_of(stack.values_of(index)))


def check_values(pairs: Sequence[Pair], classes: Sequence[int] | None) -> tuple[int, ...]:
    """Return the classes given, or those there are; every label has to be one of them, and there must be a choice.

    Parameters
    ----------
    pairs : sequence of Pair
        As `read_pairs` returns them.

    Raises
    ------
    InputError
        For a label that is no class (it names the image), no labelled pixel at all, or a single class.
    """
    values = {value: pair.name for pair in reversed(pairs) for value in pair.values or ()}
    labelled = sorted(values)
    if labelled and labelled[-1] > MOST_CLASSES:
        raise InputError(
            f"{values[labelled[-1]]}: the label {labelled[-1]} is above {MOST_CLASSES}, so it looks like an instance "
            "number; read the labels as objects (any number is foreground), or relabel by class, from 0."
        )
    if classes is not None:
        if strangers := [value for value in labelled if value not in classes]:
            raise InputError(
                f"{values[strangers[0]]}: the label {strangers[0]} is none of the classes {listed(classes)}; add it "
                "to the classes, or set those pixels to 255 (unlabelled)."
            )
        if pairs and not labelled:
            raise InputError(f"Every pixel of the labels is {UNLABELLED}, unlabelled; label some of each class.")
        return tuple(classes)
    if not labelled:
        raise InputError(f"Every pixel of the labels is {UNLABELLED}, unlabelled; label some of each class.")
    if len(labelled) > MANY + 1:
        raise InputError(
            f"The labels hold {len(labelled)} different numbers: if they count objects, read the labels as objects; if "
            "each is a class, list them under Classes."
        )
    if len(labelled) == 1:
        raise InputError(
            f"All labelled pixels are {labelled[0]}, so there is nothing to tell apart; label background (0) and "
            "objects, or name the classes."
        )
    return tuple(labelled)


def read_image(pair: Pair) -> Any:
    """Return the checked image of a pair, (Y, X) or (C, Y, X) float32; some pixels may be NaN, see `images.surround`.

    Raises
    ------
    InputError
        It names the pair.
    """
    image = opened(pair.read_image())
    check_same_size(pair.name, image.shape[-2:], pair.shape)
    if isinstance(image, Plane):
        check_plane(np.zeros(tuple(min(n, 64) for n in pair.shape), image.dtype), pair.name)
        return image.map(lambda block: as_float32(block, pair.name), np.float32)
    if image.ndim == 3:
        return np.stack([check_plane(c, f"{pair.name} (channel {i})") for i, c in enumerate(image)])
    return check_plane(image, pair.name)


def label_codes(pair: Pair, classes: Sequence[int]) -> Any:
    """Return the (Y, X) uint8 labels of a pair that `read_pairs` has returned as class codes, 255 unlabelled."""
    labels = _checked_labels(pair)
    if isinstance(labels, Plane):
        return labels.map(lambda block: encode(block, classes), np.uint8)
    return encode(labels, classes)


def _checked_labels(pair: Pair) -> Any:
    labels = check_labels(pair.read_labels(), pair.name)
    check_same_size(pair.name, pair.shape, labels.shape)
    return labels
