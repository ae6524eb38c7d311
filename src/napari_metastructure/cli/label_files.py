"""Label images and masks from files: read without channels, paired by stem, compared in size."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from napari_metastructure.errors import InputError

NOISE_FILE = "noise.yaml"
"""Beside the noisy labels that ``metastructure noise`` has made; it lists them."""

if TYPE_CHECKING:
    import numpy as np

    from napari_metastructure.images.image import Image


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
    from napari_metastructure.images.axes import planes, stack

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
        In the order of `napari_metastructure.images.axes.planes`.
    like : Image
        The same pixels, for axes, scale and unit.

    Raises
    ------
    InputError
        As `napari_metastructure.images.files.read_image`; for colours, several channels, floats, negative numbers.
    """
    import numpy as np

    from napari_metastructure.images.axes import planes, stack
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
    from napari_metastructure.cli.errors import warnings_as_lines
    from napari_metastructure.images.files import list_images

    with warnings_as_lines():
        warnings.filterwarnings("ignore", message=f".*{NOISE_FILE} is no image")  # ours, and no stray file
        return list_images(paths)
