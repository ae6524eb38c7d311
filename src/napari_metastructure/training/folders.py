"""Training sets in folders: images and labels paired by name, with or without splits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Self
from warnings import warn

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import fingerprint, list_images, noting, plane_shape, read_image, stem
from napari_metastructure.images.image import Image, channel_planes, plane_names, planes
from napari_metastructure.images.label_files import pair_by_stem, read_labels
from napari_metastructure.images.lazy import is_lazy
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.pairs import Pair, Purpose, TrainingSet, check_same_size, read_pairs

Channel = int | str | None

IMAGE_FOLDERS = ("images",)
LABEL_FOLDERS = ("labels", "masks")
SPLITS = {"train": ("train", "training"), "validation": ("val", "validation", "valid"), "test": ("test",)}
SHOWN = 3
"""Names of unpaired files an error gives at most."""


@dataclass(frozen=True)
class Splits:
    """The pairs of a set; validation and test are empty where the folders do not keep them apart."""

    train: list[Pair] = field(default_factory=list)
    validation: list[Pair] = field(default_factory=list)
    test: list[Pair] = field(default_factory=list)

    def read(self, config: TrainConfig) -> tuple[Self, list[str]]:
        """Settle what the numbers in all labels mean, see `pairs.read_pairs`; returns its notes as well."""
        pairs, notes = read_pairs([*self.train, *self.validation, *self.test], config.reading, config.classes)
        first, last = len(self.train), len(pairs) - len(self.test)
        return type(self)(pairs[:first], pairs[first:last], pairs[last:]), notes


def find_pairs(folder: str | Path, channel: Channel = None) -> Splits:
    """Find the training set in a folder.

    Parameters
    ----------
    folder : path
        One of three trees, files paired by stem:
        ``images/`` and ``labels/`` (or ``masks/``);
        ``train/``, ``val/``, ``test/`` with those two in each (the paper's layout);
        ``leftImg8bit/{train,val,test}/CITY/x_leftImg8bit.png`` with ``gtFine/.../x_gtFine_labelTrainIds.png``
        (or ``labelIds``), as Cityscapes has it.
    channel : int, str or None
        As in `images.image.planes`; ``"all"`` keeps every channel of an image as an input channel.

    Raises
    ------
    InputError
        For a folder that looks like none of them, a file without a partner (named), or sizes that differ.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from napari_metastructure.images.writing import write_tiff
    >>> with TemporaryDirectory() as data:
    ...     for name in ("images/a.tif", "masks/a_mask.tif"):
    ...         (Path(data) / name).parent.mkdir()
    ...         write_tiff(Path(data) / name, np.eye(32, dtype=np.uint8), "YX", (1, 1), ("pixel", "pixel"))
    ...     found = find_pairs(data)
    >>> [pair.name for pair in found.train], found.test
    (['a'], [])
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name one with images and labels.")
    if (top := folder / "leftImg8bit").is_dir():
        find = _of_cityscapes
    elif _first(folder, SPLITS["train"]) is not None:
        find, top = _of_folder, folder
    elif _first(folder, IMAGE_FOLDERS) is not None:
        return Splits(_of_folder(folder, channel))
    else:
        raise InputError(
            f"{folder} holds no training set that is known here; it needs images/ and labels/ (or masks/), or "
            "train/ and val/ with those two in each, or Cityscapes' leftImg8bit/ and gtFine/."
        )
    roots = {split: _first(top, names) for split, names in SPLITS.items()}
    found = Splits(**{split: find(root, channel) if root else [] for split, root in roots.items()})
    tell_shared(found)
    return found


def tell_shared(sets: Splits) -> None:
    """Warn about images that are kept for validation or test and trained on as well, be they copies."""
    trained, held = (
        {path: path.stat().st_size for pair in pairs for path in pair.files[:1]}
        for pairs in (sets.train, [*sets.validation, *sets.test])
    )
    sizes = {*trained.values()} & {*held.values()}  # of others nothing is read
    known = {fingerprint(path)["sha256"] for path, size in trained.items() if size in sizes}
    if both := [path for path, size in held.items() if size in sizes and fingerprint(path)["sha256"] in known]:
        more = f" and {len(both) - 1} more of {len(held)} are" if len(both) > 1 else " is"
        warn(f"{both[0]}{more} trained on as well: such scores do not tell how other images would fare.", stacklevel=3)


def training_set(folder: str | Path, channel: Channel = None, purpose: Purpose = "validation") -> TrainingSet:
    """Find the training set in a folder, as `find_pairs`.

    Of a test split only the number of images is kept; with the purpose "test" it takes the place of the validation
    split.
    """
    found = find_pairs(folder, channel=channel)
    if purpose == "test":
        return TrainingSet(found.train, found.test or found.validation or None)
    return TrainingSet(found.train, found.validation or None, len(found.test))


def pair_files(images: Sequence[Path], labels: Sequence[Path], channel: Channel = None) -> list[Pair]:
    """Pairs from image files and label files of the same stems, see `images.label_files.pair_by_stem`.

    Raises
    ------
    InputError
        As `find_pairs`.
    """
    found = pair_by_stem(images, labels)
    _all_paired(found.first_alone, found.second_alone)
    return [pair for couple in found.pairs.values() for pair in file_pairs(*couple, channel)]


def _of_folder(folder: Path, channel: Channel) -> list[Pair]:
    image_folder, label_folder = _first(folder, IMAGE_FOLDERS), _first(folder, LABEL_FOLDERS)
    if image_folder is None or label_folder is None:
        raise InputError(f"{folder} needs the folders images and labels (or masks); one of them is missing.")
    return pair_files(list_images([image_folder]), list_images([label_folder], labels=True), channel)


def _of_cityscapes(folder: Path, channel: Channel) -> list[Pair]:
    """Return the images of one split; of each its training ids, or else its label ids."""
    images = {p.name.removesuffix("_leftImg8bit.png"): p for p in sorted(folder.glob("*/*_leftImg8bit.png"))}
    truth = folder.parents[1] / "gtFine" / folder.name
    for ids in ("labelTrainIds", "labelIds"):
        labels = {p.name.removesuffix(f"_gtFine_{ids}.png"): p for p in truth.glob(f"*/*_gtFine_{ids}.png")}
        if labels:
            break
    if not labels and folder.name == "test":  # its labels are not published
        return []
    _all_paired(
        [images[key] for key in sorted(images.keys() - labels.keys())],
        [labels[key] for key in sorted(labels.keys() - images.keys())],
    )
    return [pair for key in images for pair in file_pairs(images[key], labels[key], channel)]


def _all_paired(images: Sequence[Path], labels: Sequence[Path]) -> None:
    """Refuse images without labels, and labels without an image."""
    for alone, missing in ((images, "labels"), (labels, "image")):
        if lonely := list(map(str, alone)):
            more = f" and {len(lonely) - SHOWN} more" if len(lonely) > SHOWN else ""
            one = len(lonely) == 1
            raise InputError(
                f"{', '.join(lonely[:SHOWN])}{more} {'has' if one else 'have'} no {missing} of the same name; add "
                f"{'it' if one else 'them'} or take the {'file' if one else 'files'} out."
            )


def file_pairs(image: Path, labels: Path, channel: Channel = None) -> list[Pair]:
    """Return a pair for each plane of an image file and its label file, whatever they are called.

    Raises
    ------
    InputError
        If one cannot be read, or their sizes differ.
    """
    size, label_size = plane_shape(image), plane_shape(labels, numbers=True)
    check_same_size(f"{image} and {labels}", size, label_size)
    count = int(np.prod(size[:-2], dtype=int))
    names = plane_names(_read(image)) if count > 1 else [stem(image)]
    return [
        Pair(
            name,
            stem(image),
            (size[-2], size[-1]),
            partial(_image_plane, image, index, channel),
            partial(_label_plane, labels, index),
            (image, labels),
        )
        for index, name in enumerate(names)
    ]


def _image_plane(path: Path, index: int, channel: Channel) -> np.ndarray:
    image = _read(path)
    if channel != "all":
        return planes(image, channel)[index]
    axis = next((a for a in "CS" if a in image.axes), None)
    if axis is None:
        return planes(image)[index]
    count = image.data.shape[image.axes.index(axis)]
    if is_lazy(image.data) and count > 1:
        return channel_planes(image, count)[index]
    return np.stack([planes(image, c)[index] for c in range(count)]) if count > 1 else planes(image)[index]


def _label_plane(path: Path, index: int) -> np.ndarray:
    return planes(_read_labels(path))[index]


@lru_cache(maxsize=2)
def _read(path: Path, numbers: bool = False) -> Image:
    """Read a stack once, though its planes are asked for one after the other; `plane_shape` said what is odd."""
    with noting():
        return read_image(path, numbers, lazily=True)


@lru_cache(maxsize=2)
def _read_labels(path: Path) -> Image:
    return read_labels(path, lazily=True)


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of these folders that is there, in small letters or others."""
    there = sorted((path for path in folder.iterdir() if path.is_dir()), reverse=True)  # "images" before "Images"
    return next((path for name in names for path in there if path.name.casefold() == name), None)
