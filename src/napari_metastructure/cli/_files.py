"""The files of a run that carry an image's name: masks, probabilities, epochs."""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast, get_args
from warnings import warn

import numpy as np
import typer
import yaml

from napari_metastructure.baselines.figure import FIGURE
from napari_metastructure.baselines.methods import METHODS, frame_of
from napari_metastructure.baselines.results import AGREEMENT, MARKDOWN, RESULTS, TABLE
from napari_metastructure.errors import InputError
from napari_metastructure.images.files import output_stems, read_image, stem
from napari_metastructure.images.image import PIXEL, Image, convert, is_time, pint_name, planes, stack
from napari_metastructure.images.writing import cannot_write, write_mask, write_probability
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import Reading, as_classes, blocks, classes_in, lookup, values_in
from napari_metastructure.labels.density import check_bandwidth

if TYPE_CHECKING:
    from napari_metastructure.images.channels import Colour


_RUN_FILES = ("run.yaml", "last.pt", "metrics.csv", "model.safetensors")


class Outputs:
    """Where the result of each image goes.

    Parameters
    ----------
    folder : Path
        The run folder.
    images : sequence of Image
        The inputs, each from a file.
    counts : sequence of int
        Number of planes of each.
    epochs : bool
        Whether ``<stem>_epochs.tif`` is written too.
    ome : bool
        OME-TIFF, named ``.ome.tif``, in place of ImageJ TIFF.
    """

    def __init__(self, folder: Path, images: Sequence[Image], counts: Sequence[int], epochs: bool, ome: bool) -> None:
        self.folder, self.images, self.counts, self.ome = folder, list(images), list(counts), ome
        self.stems = output_stems([i.source or Path(i.name) for i in images])
        self.kinds = ("mask", "probability", "epochs") if epochs else ("mask", "probability")

    def path(self, index: int, kind: str) -> Path:
        """The file of one image: ``kind`` is mask, probability or epochs."""
        return self.folder / f"{self.stems[index]}_{kind}{'.ome.tif' if self.ome else '.tif'}"

    def check_free(self, overwrite: bool) -> None:
        """Refuse to write over an earlier run, unless asked to, and over an input in any case.

        Raises
        ------
        InputError
            Naming the file in the way.
        """
        targets = [self.path(i, kind) for i in range(len(self.images)) for kind in self.kinds]
        inputs = {i.source.resolve() for i in self.images if i.source}
        for target in targets:
            if target.resolve() in inputs:
                raise InputError(f"{target} is an input and would be written over; choose another --out.")
        there = [p for p in (*(self.folder / n for n in _RUN_FILES), *targets) if p.exists()]
        if there and not overwrite:
            raise InputError(
                f"{there[0]} is there already; choose another --out, go on with --resume, "
                "or replace it with --overwrite."
            )

    def clear(self) -> None:
        """Remove the files of an earlier run, so that no file of the folder is of another run than the rest.

        Raises
        ------
        InputError
            If one cannot be removed.
        """
        own = [self.path(i, kind) for i in range(len(self.images)) for kind in self.kinds]
        for path in [*(self.folder / name for name in _RUN_FILES), *own]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from error

    def write(self, masks: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]) -> list[Path]:
        """Write ``<stem>_mask.tif`` (uint8, 0 and 255) and ``<stem>_probability.tif`` (float32)."""
        written = []
        for index, image in enumerate(self.images):
            mask, probability = (stack(self._own(index, p), like=image) for p in (masks, probabilities))
            write_mask(self.path(index, "mask"), mask.data, mask, self.ome)
            write_probability(self.path(index, "probability"), probability.data, probability, self.ome)
            written += [self.path(index, "mask"), self.path(index, "probability")]
        return written

    def write_epochs(self, epochs: Sequence[Sequence[np.ndarray]], before: int = 0) -> list[Path]:
        """Write ``<stem>_epochs.tif``: the masks of every epoch along T.

        Parameters
        ----------
        epochs : sequence, one per epoch, of the masks of all planes
        before : int
            How many epochs a resumed run had already; they are taken from the file of that run where it is.
        """
        written = []
        for index, image in enumerate(self.images):
            frames = [stack(self._own(index, masks), like=image) for masks in epochs]
            target, first = self.path(index, "epochs"), frames[0]
            axes, data = _with_epochs(first.axes), np.stack([f.data != 0 for f in frames])
            if before and target.exists():
                earlier = _read_epochs(target, axes)
                if earlier.shape[1:] == data.shape[1:] and len(earlier) >= before:
                    data = np.concatenate([earlier[:before] != 0, data])
            like = replace(first, data=data, axes=axes, scale=(1.0, *first.scale), units=("pixel", *first.units))
            write_mask(target, data, like, self.ome)
            written.append(target)
        return written

    def _own(self, index: int, planes: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The planes of one image out of those of all."""
        begin = sum(self.counts[:index])
        return planes[begin : begin + self.counts[index]]


def _with_epochs(axes: str) -> str:
    """Axes with the epochs in front as T; an image's own T moves to Z, or to C where Z is taken."""
    return "T" + axes.replace("T", "C" if "Z" in axes else "Z")


def _read_epochs(path: Path, axes: str) -> np.ndarray:
    """The masks of an earlier run, axes in the order asked for; a single epoch has lost its axis."""
    image = read_image(path)
    data, found = image.data, image.axes
    for axis in axes:
        if axis not in found:
            data, found = data[None], axis + found
    return data.transpose([found.index(a) for a in axes])


# -------- Label images and masks from files: read without channels, paired by stem, compared in size.


NOISE_FILE = "noise.yaml"
"""Beside the noisy labels that ``metastructure noise`` has made; it lists them."""


def by_stem(folder: Path) -> dict[str, Path]:
    """The images of a folder by stem, ``_mask`` aside.

    Raises
    ------
    InputError
        For what is no folder, a folder without images, or two files of one stem.
    """
    from napari_metastructure.images.files import list_images, stem

    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name a folder of masks.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a run folder holds more than images
        files = list_images([folder])
    found: dict[str, Path] = {}
    for path in files:
        key = stem(path).removesuffix("_mask")
        if key in found:
            raise InputError(f"{found[key]} and {path} share the stem {key!r}; keep one of them.")
        found[key] = path
    return found


def masks_of(files: dict[str, Path]) -> dict[str, Path]:
    """Those of a folder's images that are no probabilities and no epochs of a run."""
    return {key: path for key, path in files.items() if not key.endswith(("_probability", "_epochs"))}


def partners(first: dict[str, Path], second: dict[str, Path], folders: tuple[Path, Path]) -> list[str]:
    """The stems that both have, sorted; a warning line for every file that has no partner.

    Raises
    ------
    InputError
        If there is no pair.
    """
    for files, others in ((first, second), (second, first)):
        for key in sorted(files.keys() - others.keys()):
            typer.echo(f"Warning: {files[key]} has no partner and is not counted.", err=True)
    pairs = sorted(first.keys() & second.keys())
    if not pairs:
        raise InputError(f"No file of {folders[0]} has a partner in {folders[1]}; their stems must be the same.")
    return pairs


def pair_files(first: Path, second: Path) -> list[tuple[str, Path, Path]]:
    """Name and both files of each pair: two files, whatever they are called, or two folders by stem.

    Raises
    ------
    InputError
        As `by_stem` and `partners`; for a file and a folder, or a path that does not exist.
    """
    from napari_metastructure.images.files import stem

    for path in (first, second):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name.")
    if first.is_dir() != second.is_dir():
        folder, file = (first, second) if first.is_dir() else (second, first)
        raise InputError(f"{folder} is a folder but {file} is a file; name two files or two folders.")
    if not first.is_dir():
        return [(stem(second), first, second)]
    files, others = masks_of(by_stem(first)), masks_of(by_stem(second))
    return [(key, files[key], others[key]) for key in partners(files, others, (first, second))]


def pair_with(paths: Sequence[Path], reference: Path) -> list[Path]:
    """The partner of each file: a single reference, or that of its stem in a folder.

    Raises
    ------
    InputError
        As `by_stem`; if a file has no partner.
    """
    from napari_metastructure.images.files import stem

    if not reference.exists():
        raise InputError(f"{reference} does not exist; check the name.")
    if not reference.is_dir():
        if len(paths) > 1:
            raise InputError(f"{reference} is one file for {len(paths)} label files; name a folder of references.")
        return [reference]
    known = masks_of(by_stem(reference))
    keys = [stem(path).removesuffix("_mask") for path in paths]
    if lonely := [str(path) for path, key in zip(paths, keys, strict=True) if key not in known]:
        more = f" (nor have {len(lonely) - 1} more files)" if len(lonely) > 1 else ""
        raise InputError(f"{lonely[0]} has no partner of its stem in {reference}{more}; leave it out or add one.")
    return [known[key] for key in keys]


def read_grey(path: Path) -> Image:
    """A mask or probability without C and S: grey values also of a mask saved in colour.

    Raises
    ------
    InputError
        As `napari_metastructure.images.files.read_image`; for several channels.
    """
    from napari_metastructure.images.image import planes, stack

    image = _read_one_channel(path, "a mask or probability has one")
    if not set("CS") & set(image.axes):
        return image
    cut = planes(image)
    return stack([p > 0 for p in cut] if "S" in image.axes else cut, like=image)


def read_labels(path: Path) -> tuple[np.ndarray, Image]:
    """The planes of a label image, and the image they are of, without channels.

    Returns
    -------
    labels : (P, Y, X) array of unsigned integers, or of others that hold no negative number
        In the order of `napari_metastructure.images.image.planes`.
    like : Image
        The same pixels, for axes, scale and unit.

    Raises
    ------
    InputError
        As `napari_metastructure.images.files.read_image`; for colours, several channels, floats, negative numbers.
    """
    import numpy as np

    from napari_metastructure.images.image import planes, stack
    from napari_metastructure.labels.classes import check_labels

    image = _read_one_channel(path, "labels have one")
    if "S" in image.axes:
        raise InputError(f"{path} is a colour image; labels are one number a pixel: save them as grey values.")
    cut = planes(image)
    return check_labels(np.asarray(cut) if len(cut) > 1 else cut[0][None], str(path)), stack(cut, like=image)


def _read_one_channel(path: Path, wish: str) -> Image:
    from napari_metastructure.images.files import read_image

    image = read_image(path)
    if "C" in image.axes and image.data.shape[image.axes.index("C")] > 1:
        raise InputError(f"{path} has several channels; {wish}.")
    return image


def truth(pixels: np.ndarray) -> np.ndarray:
    """Truth as `metrics.count` takes it: 255 is unlabelled beside 0 and 1 only, else all above 0 is foreground."""
    import numpy as np

    values = np.unique(pixels)
    if values.size <= 3 and {1, 255} <= set(values.tolist()) <= {0, 1, 255}:
        return pixels.astype(np.uint8)
    return pixels > 0


def same_size(path: Path, data: np.ndarray, other: Path, known: np.ndarray) -> None:
    """Refuse two images of different shapes.

    Raises
    ------
    InputError
        It names both files.
    """
    if data.shape != known.shape:
        sizes = [" x ".join(map(str, a.shape)) for a in (data, known)]
        raise InputError(f"{path} has {sizes[0]} pixels but {other} has {sizes[1]}; compare equal sizes.")


def listed_labels(paths: Iterable[Path]) -> list[Path]:
    """The images that files and folders name; warnings about others are lines on stderr."""
    from napari_metastructure.cli._options import warnings_as_lines
    from napari_metastructure.images.files import list_images

    with warnings_as_lines():
        warnings.filterwarnings("ignore", message=f".*{NOISE_FILE} is no image")  # ours, and no stray file
        return list_images(paths)


# Where results made from label files go: named by stem, never over an input, over earlier results only if
# asked.


def targets(folder: Path, inputs: Sequence[Path], ending: str) -> list[Path]:
    """The result of each input: its stem and an ending, in the folder; more of its path where stems clash."""
    return [folder / f"{stem}{ending}" for stem in output_stems(inputs)]


def check_free(results: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """Refuse to write over an input in any case, and over an earlier result unless asked to.

    Raises
    ------
    InputError
        Naming the file in the way.
    """
    originals = {path.resolve() for path in inputs}
    for path in results:
        if path.resolve() in originals:
            raise InputError(f"{path} is an input and would be written over; choose another --out.")
    there = [path for path in results if path.exists()]
    if there and not overwrite:
        raise InputError(f"{there[0]} is there already; choose another --out, or replace it with --overwrite.")


def make_folder(folder: Path) -> None:
    """Make the folder of the results if it is not there.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def described(path: Path) -> dict[str, Any]:
    """A file's place and checksum, so that it can be known again."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": digest}


# -------- Label files as clean classes: what their numbers mean is decided once, for all files of a call together.


ReadingOption = Annotated[
    str,
    typer.Option(
        help="What labels mean: foreground = 0 and one other number, which becomes 1; objects = every number but 0 is "
        "foreground; classes = every number is a class. 255 is unlabelled, but foreground in masks of 0 and 255 alone.",
        metavar="foreground|objects|classes",
    ),
]


class LabelSet:
    """The labels of some files as classes, each file read when it is needed.

    As within a stack, a number means the same in all files: 255 is the foreground where no file holds more than 0
    and 255. In files that ``metastructure noise`` made it is always unlabelled.

    Parameters
    ----------
    paths : sequence of Path
    reading : str
        "foreground", "objects" or "classes"; see `napari_metastructure.labels.classes.as_classes`.

    Attributes
    ----------
    paths : list of Path
    classes : tuple of int
        Those of all files together, ascending.
    shapes : list of tuple of int
        Planes, height and width of each file.
    pixels : list of ((float, str), (float, str))
        Height and width of a pixel with their units, of each file.

    Raises
    ------
    InputError
        One line for each file that holds no labels, cannot be read this way, or is unlabelled throughout.
    """

    def __init__(self, paths: Sequence[Path], reading: str) -> None:
        if reading not in get_args(Reading):
            raise InputError(f"--reading {reading}: choose {', '.join(get_args(Reading)[:-1])} or classes.")
        self.paths, self.reading = list(paths), cast(Reading, reading)
        made = {folder: made_in(folder) for folder in {path.parent for path in self.paths}}
        self._ours = {path for path in self.paths if path.name in made[path.parent]}
        self.shapes: list[tuple[int, ...]] = []
        self.pixels: list[tuple[tuple[float, str], tuple[float, str]]] = []
        values = self._survey()
        name = str(self.paths[0]) if len(self.paths) == 1 else f"The {len(self.paths)} files together"
        self._meaning = _meaning(set().union(*values), self.reading, name)
        self.classes = tuple(sorted(set(self._meaning.values()) - {UNLABELLED}))
        self._warn_of_masks(values)

    @property
    def dtype(self) -> np.dtype:
        """The smallest data type that holds all classes and 255."""
        return np.min_scalar_type(max(*self.classes, UNLABELLED))

    @property
    def rule(self) -> str:
        """How numbers were read where they are not kept, as a sentence; empty where they all are."""
        if self.reading == "objects":
            return "Every number but 0 is read as foreground, 1."
        changed = [value for value, read in sorted(self._meaning.items()) if value != read]
        return f"{changed[0]} is read as foreground, {self._meaning[changed[0]]}." if changed else ""

    def read(self, index: int) -> tuple[np.ndarray, Image]:
        """One file's labels as classes.

        Returns
        -------
        labels : (P, Y, X) array of `dtype`
            Classes, and 255 for unlabelled.
        like : Image
            What `napari_metastructure.images.image.stack` needs to put planes back in their place.
        """
        path = self.paths[index]
        pixels, like = self._pixels(path)
        meaning = {v: c for v, c in self._meaning.items() if v != UNLABELLED or path not in self._ours}
        order = sorted(meaning)
        class_of = lookup(pixels, order, np.array([meaning[v] for v in order], self.dtype), UNLABELLED)
        result = np.empty(pixels.shape, self.dtype)
        for block, out in blocks(pixels, result, size=1 << 16):
            out[:] = class_of(block)
        return result, like

    def _pixels(self, path: Path) -> tuple[np.ndarray, Image]:
        """The planes of a file; objects as 0 and 1, for there may be as many numbers as objects."""
        pixels, like = read_labels(path)
        if self.reading != "objects":
            return pixels, like
        objects = as_classes(pixels, "objects", str(path))
        if path in self._ours:
            objects[pixels == UNLABELLED] = UNLABELLED
        return objects, like

    def _survey(self) -> list[set[int]]:
        """The values of each file, without 255 where it is ours; one error that names every bad file."""
        found, bad = [], []
        for path in self.paths:
            try:
                pixels, like = self._pixels(path)
                values = set(values_in(pixels))
                if values == {UNLABELLED}:
                    raise InputError(f"{path}: every pixel is 255, unlabelled; choose labels that say something.")
                _meaning(values - {UNLABELLED}, self.reading, str(path))
                self.shapes.append(pixels.shape)
                y, x = ((like.scale[i], like.units[i]) for i in (like.axes.index("Y"), like.axes.index("X")))
                self.pixels.append((y, x))
                found.append(values - {UNLABELLED} if path in self._ours else values)
            except InputError as error:
                bad.append(str(error))
        if bad:
            raise InputError("\n".join(bad))
        return found

    def _warn_of_masks(self, values: list[set[int]]) -> None:
        """Say where 255 would mean foreground in a file by itself, but is unlabelled as in the others."""
        masks = [p for p, v in zip(self.paths, values, strict=True) if UNLABELLED in v and v <= {0, UNLABELLED}]
        if masks and self._meaning.get(UNLABELLED) == UNLABELLED:
            more = f" and {len(masks) - 1} more" if len(masks) > 1 else ""
            warn(f"{masks[0]}{more}: 255 is read as unlabelled, for other files hold classes beside it.", stacklevel=2)


def check_same_sizes(labels: LabelSet, others: LabelSet) -> None:
    """Refuse files that differ in size from their partners.

    Raises
    ------
    InputError
        It names both files of the first such pair.
    """
    for path, other, *shapes in zip(labels.paths, others.paths, labels.shapes, others.shapes, strict=True):
        if shapes[0] != shapes[1]:
            sizes = [" x ".join(map(str, s if s[0] > 1 else s[1:])) for s in shapes]
            raise InputError(f"{path} has {sizes[0]} pixels but {other} has {sizes[1]}; compare equal sizes.")


def _meaning(values: set[int], reading: Reading, name: str) -> dict[int, int]:
    """What each of these values is read as: a class, or 255."""
    order = sorted(values)
    try:
        read = as_classes(np.array([order]), reading, name)
        classes_in(read, name)
    except InputError as error:
        raise InputError(f"{str(error).removesuffix('.')} (option --reading).") from error
    return dict(zip(order, read[0].tolist(), strict=True))


def made_in(folder: Path) -> set[str]:
    """The names that a folder's noise.yaml lists."""
    try:
        facts = yaml.safe_load((folder / NOISE_FILE).read_text(encoding="utf-8"))
        return {str(file["name"]) for file in facts["files"]}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        return set()  # none there, or not one of ours


# The planes of image files for commands that segment without labels, and the colour channel they are taken
# from.


AUTO = "auto"

CHANNEL = typer.Option(
    help="Channel of a multi-channel image: a number from 0; of colour images also red, green, blue, alpha or "
    "luminance, or auto: the colour of most local contrast that the others confirm.",
    metavar="NAME|N",
)


class ReadPlanes(NamedTuple):
    """What `read_planes` has read."""

    images: list[Image]
    planes: list[list[np.ndarray]]
    """(Y, X) float32 arrays, by image."""
    names: list[str]
    """What messages call each plane."""
    colour: Colour | None
    """The channel that was taken of images in colour; None if there are none, or it is no single colour."""
    chosen: bool
    """Whether that was chosen for the user."""

    def tell_colour(self) -> None:
        """Say which channel was chosen, if there was something to choose."""
        if self.chosen:
            used = f"Colour images: the {self.colour} channel is used"
            typer.echo(f"{used}; --channel luminance or another changes that.")


def read_planes(paths: Sequence[Path], channel: str) -> ReadPlanes:
    """All images of files and folders, and their checked planes.

    Parameters
    ----------
    paths : sequence of Path
    channel : str
        As `images.axes.planes` takes it, or ``auto``: one colour for all images that have any.

    Raises
    ------
    InputError
        One line for each bad file.
    """
    from napari_metastructure.cli._options import warnings_as_lines
    from napari_metastructure.images.channels import channel_for, choose_channel, colour_named
    from napari_metastructure.images.files import list_images, read_image
    from napari_metastructure.images.image import plane_names, planes
    from napari_metastructure.images.intensity import check_plane

    images: list[Image] = []
    bad: dict[int, str] = {}
    with warnings_as_lines():
        files = list_images(paths)
        for number, path in enumerate(files):
            try:
                images.append(replace(read_image(path), name=str(path)))  # so that messages tell a/x.png from b/x.png
            except InputError as error:
                bad[number] = str(error)
    auto = channel.strip().lower() == AUTO
    colour = (None if bad else choose_channel(images)) if auto else colour_named(images, channel)
    readable = [number for number in range(len(files)) if number not in bad]
    cut = []
    for number, image in zip(readable, images, strict=True):
        wanted = channel_for(image, colour) if auto else channel
        try:
            named = zip(planes(image, wanted), plane_names(image), strict=True)
            cut.append([check_plane(plane, name) for plane, name in named])
        except InputError as error:
            bad[number] = str(error)
    if bad:
        raise InputError("\n".join(bad[number] for number in sorted(bad)))
    images = [replace(image, name=path.name) for path, image in zip(files, images, strict=True)]
    names = [name for image in images for name in plane_names(image)]
    return ReadPlanes(images, cut, names, colour, auto and colour is not None)


# -------- The files of a comparison: images and their masks, and where the masks of each method go.


WRITTEN = ("run.yaml", RESULTS, TABLE, AGREEMENT, MARKDOWN, FIGURE)


class CompareFiles:
    """Images, ground truth and results, paired by stem.

    Parameters
    ----------
    images : Path
        A folder, or one file.
    masks : Path or None
        The same.
    channel : str
        As `cli.image_planes.read_planes` takes it.
    out : Path
        The folder of the results.

    Attributes
    ----------
    planes, names, groups
        Of all images, plane by plane: pixels, what messages call them, and the frame or stack they are of.
    masks : list of (Y, X) arrays, or None
        Ground truth of each plane.
    paths : list of Path
        The image files.
    read : ReadPlanes
        What was read, and the channel that was taken.

    Raises
    ------
    InputError
        For a file that cannot be used, two images of one stem, an image without a mask, or a mask that does not fit.
    """

    def __init__(self, images: Path, masks: Path | None, channel: str, out: Path) -> None:
        self.out = out
        self.read = read_planes([images], channel)
        self._images, self.names = self.read.images, self.read.names
        self._counts = [len(own) for own in self.read.planes]
        self.planes = [plane for own in self.read.planes for plane in own]
        self.paths = [image.source or Path(image.name) for image in self._images]
        self._check_stems()
        self.groups = [
            frame_of(stem(path)) for path, count in zip(self.paths, self._counts, strict=True) for _ in range(count)
        ]
        self.masks: list[np.ndarray] | None = None
        self._inputs = self.paths
        if masks is not None:
            partners = pair_with(self.paths, masks)
            self._inputs = [*self.paths, *partners]
            self.masks = [
                plane
                for path, partner, count in zip(self.paths, partners, self._counts, strict=True)
                for plane in _truth(path, partner, count)
            ]

    def check_free(self, methods: Sequence[str], overwrite: bool) -> None:
        """Refuse to write over an input in any case, and over an earlier comparison unless asked to.

        Raises
        ------
        InputError
            Naming the file in the way.
        """
        inputs = {path.resolve() for path in self._inputs}
        for path in self._own_files(list(METHODS)):
            if path.resolve() in inputs:
                raise InputError(f"{path} is an input and would be written over; choose another --out.")
        there = [path for path in self._own_files(methods) if path.exists()]
        if there and not overwrite:
            raise InputError(f"{there[0]} is there already; choose another --out, or replace it with --overwrite.")

    def clear(self) -> None:
        """Remove what an earlier comparison has written, also masks of methods that are not run now.

        Raises
        ------
        InputError
            If a file cannot be removed.
        """
        for path in self._own_files(list(METHODS)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from error

    def write(self, method: str, masks: Sequence[np.ndarray]) -> None:
        """Write ``masks/METHOD/<stem>_mask.tif`` with axes and voxel size of the images.

        Raises
        ------
        InputError
            If one cannot be written.
        """
        folder = self.out / "masks" / method
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        begin = 0
        for image, path, count in zip(self._images, self._masks_of(method), self._counts, strict=True):
            whole = stack(masks[begin : begin + count], like=image)
            write_mask(path, whole.data, whole)
            begin += count

    def _own_files(self, methods: Sequence[str]) -> list[Path]:
        return [self.out / name for name in WRITTEN] + [path for name in methods for path in self._masks_of(name)]

    def _masks_of(self, method: str) -> list[Path]:
        return [self.out / "masks" / method / f"{stem(path)}_mask.tif" for path in self.paths]

    def _check_stems(self) -> None:
        """Tables and masks are told apart by stem."""
        seen: dict[str, Path] = {}
        for path in self.paths:
            key = stem(path).casefold()
            if key in seen:
                raise InputError(f"{seen[key]} and {path} share the stem {stem(path)!r}; keep one of them.")
            seen[key] = path


def _truth(path: Path, partner: Path, count: int) -> list[np.ndarray]:
    """The planes of a mask, one for each of its image."""
    found = planes(read_grey(partner))
    if len(found) != count:
        raise InputError(f"{path} has {count} planes, its mask {partner} {len(found)}; give a mask of every plane.")
    return found


# -------- Bandwidths of densities as users write them, turned into pixels by the voxel size of each file.


_PIXELS = ("", "px", "pixel", "pixels")


def bandwidths(text: str, labels: LabelSet) -> list[tuple[float, float]]:
    """The bandwidth along Y and X of each file, in its pixels.

    Parameters
    ----------
    text : str
        A number of pixels, or a number and a unit of length.
    labels : LabelSet

    Raises
    ------
    InputError
        For anything else; one line for each file that has no voxel size, or is smaller than the bandwidth.
    """
    size, unit = _parsed(text)
    found, bad = [], []
    for path, shape, pixel in zip(labels.paths, labels.shapes, labels.pixels, strict=True):
        lengths = [convert(size, unit, to) if unit != PIXEL else size for _, to in pixel]
        if None in lengths:
            bad.append(f"{path} has no voxel size to turn {text} into pixels; give --bandwidth in pixels.")
            continue
        steps = [1.0 if unit == PIXEL else step for step, _ in pixel]
        pair = [length / step for length, step in zip(lengths, steps, strict=True) if length is not None]
        try:
            found.append(check_bandwidth(pair, shape, str(path)))
        except InputError as error:
            bad.append(str(error))
    if bad:
        raise InputError("\n".join(bad))
    return found


def in_words(bandwidth: tuple[float, float]) -> str:
    """``8 pixels``, or ``5 x 10 pixels`` where they are not square."""
    by, bx = (f"{b:.4g}" for b in bandwidth)
    return f"{by} pixels" if by == bx else f"{by} x {bx} pixels"


def _parsed(text: str) -> tuple[float, str]:
    """Number and unit."""
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*)?", text)
    if match is None:
        raise InputError(f"--bandwidth {text}: give a number of pixels, or one with a unit, as '1.5 um'.")
    size, name = float(match[1]), (match[2] or "").strip()
    if not (math.isfinite(size) and size > 0):
        raise InputError(f"--bandwidth {text}: give a number above 0.")
    unit = pint_name(name)
    if (unit == PIXEL and name.casefold() not in _PIXELS) or is_time(unit):
        raise InputError(f"--bandwidth {text}: {name} is no unit of length; write um, nm or mm, or none for pixels.")
    return size, unit
