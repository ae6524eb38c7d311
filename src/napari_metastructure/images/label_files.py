"""Label files: the numbers that they hold, however they were saved, and the images that they belong to."""

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple
from warnings import warn

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import cut, read_image, stem
from napari_metastructure.images.image import Image, planes, stack
from napari_metastructure.images.lazy import is_lazy

LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP")
"""Formats that may change the numbers they are given (of WebP all but that of the chunk VP8L)."""

UNCLEAR = 0.05
"""Share of a mask's pixels that lossy compression may leave far from background and foreground."""


# ---- Numbers ------------------------------------------------------------------------------------------------


def read_labels(path: str | Path, lazily: bool = False) -> Image:
    """Read a label image as whole numbers, without C and S.

    Indexed colours are read as their indices, equal channels as one, and floats as integers. A mask that lies in the
    alpha channel, one in a single colour on black, and one that lossy compression has changed are read with a warning.
    With ``lazily``, whole numbers of one channel in a large file stay there, as those of `read_image` do.

    Raises
    ------
    InputError
        As `read_image`; for several channels or colours, fractions, or numbers that were lost by compression.
    """
    path = Path(path)
    image = read_image(path, numbers=True, lazily=lazily)
    if is_lazy(image.data):
        return image if image.data.dtype.kind in "bui" and not {*"CS"} & {*image.axes} else read_labels(path)
    if "C" in image.axes:
        if image.data.shape[image.axes.index("C")] > 1:
            raise InputError(f"{path} has several channels; labels have one.")
        if "S" not in image.axes:
            image = stack(planes(image), like=image)
    stored = _stored(path)
    if stored.grey_alpha is not None:
        image = _with_samples(image, stored.grey_alpha)
    if stored.indices is not None:
        image = _without_samples(image, _palette_numbers(stored, path))
    elif "S" in image.axes:
        image = _without_samples(image, _one_number(image, stored, path))
    data = image.data
    if stored.lossy:
        data = _uncompressed(data, path)
    if data.dtype.kind == "f":
        data = _whole(data, path)
    return replace(image, data=data)


class _Stored(NamedTuple):
    """Storage of the numbers in a label file: palette, transparency, compression."""

    indices: np.ndarray | None = None
    palette: np.ndarray | None = None
    grey_alpha: np.ndarray | None = None
    lossy: bool = False
    deep: bool = False
    """Colours of 16 bits."""


def _stored(path: Path) -> _Stored:
    """Look at how a file that can be read was stored."""
    if path.is_dir():  # a Zarr
        return _Stored()
    with path.open("rb") as file:
        head = file.read(16)
    if head[:2] in (b"II", b"MM"):
        import tifffile

        with tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            lossy = "JPEG" in str(getattr(page.compression, "name", ""))
            if page.photometric != tifffile.PHOTOMETRIC.PALETTE:
                return _Stored(lossy=lossy)
            palette = None if page.colormap is None else page.colormap.T >> 8
            return _Stored(tif.series[0].asarray(), palette, lossy=lossy)
    import PIL.Image

    with PIL.Image.open(path) as picture:
        lossy, deep = (
            picture.format in LOSSY and head[12:] != b"VP8L",
            "16" in str(picture.tile[0][3] if picture.tile else ""),
        )
        if picture.mode == "LA":
            return _Stored(grey_alpha=np.asarray(picture), lossy=lossy, deep=deep)
        if picture.mode != "P" or getattr(picture, "n_frames", 1) > 1:
            return _Stored(lossy=lossy, deep=deep)
        return _Stored(np.asarray(picture), np.reshape(picture.getpalette("RGB") or [], (-1, 3)))


def _palette_numbers(stored: _Stored, path: Path) -> np.ndarray:
    """Return the indices of a picture in indexed colours, or its greys where they are in another order."""
    indices, palette = stored.indices, stored.palette
    assert indices is not None
    if palette is None or (top := int(indices.max(initial=0))) >= len(palette):
        return indices
    palette = palette[: top + 1]
    greys = palette[:, 0]
    if (palette == greys[:, None]).all() and len(np.unique(greys)) == len(greys):
        return indices if (np.diff(greys) > 0).all() else greys.astype(np.uint8)[indices]
    black = np.flatnonzero(~palette.any(axis=1))
    if black.size and black[0] > 0 and (indices == black[0]).any():
        warn(
            f"{path}: the numbers of its colours are read as labels, but black, which is mostly background, is number "
            f"{black[0]} and not 0.",
            stacklevel=3,
        )
    return indices


def _one_number(image: Image, stored: _Stored, path: Path) -> np.ndarray:
    """Reduce samples to the one number that they say.

    Raises
    ------
    InputError
        If it takes several to tell pixels apart.
    """
    data = np.moveaxis(image.data, image.axes.index("S"), -1)
    if stored.deep and data.dtype == np.uint8:
        raise InputError(f"{path} holds colours of 16 bits, of which 8 can be read; save the labels as a grey image.")
    if data.shape[-1] in (2, 4):
        data, alpha = data[..., :-1], data[..., -1]
        if (data == data[(0,) * (data.ndim - 1)]).all() and alpha.min() < alpha.max():
            warn(f"{path}: all its colours are the same, so the mask is taken from its alpha channel.", stacklevel=3)
            return alpha
        if (data[alpha == 0] != 0).any():
            warn(f"{path}: its alpha channel is left aside, though transparent pixels are not black.", stacklevel=3)
    low, high = data.min(axis=-1), data.max(axis=-1)
    if (low == high).all():
        return low
    if stored.lossy and np.mean(high - low > 32) < UNCLEAR:
        return low // 2 + high // 2
    colours = np.unique(data[high != 0].reshape(-1, data.shape[-1]), axis=0)
    if len(colours) > 1:
        raise InputError(
            f"{path} is a colour image; labels are one number a pixel: save them as grey values or indexed colours."
        )
    shown = "#" + "".join(f"{int(c):02x}" for c in colours[0])
    warn(f"{path} is in colour: what is {shown} is read as foreground, and black as background.", stacklevel=3)
    return high != 0


def _uncompressed(data: np.ndarray, path: Path) -> np.ndarray:
    """Make a mask that lossy compression has changed one of 0 and 255 again.

    Raises
    ------
    InputError
        For other labels than a mask: their numbers are lost.
    """
    top = int(data.max())
    if len(np.unique(data)) <= 2 and top in (0, 255):
        return data
    if top < 128 or np.mean((data > top / 4) & (data < 3 * top / 4)) > UNCLEAR:
        raise InputError(
            f"{path}: compression (JPEG and the like) has changed the numbers of these labels; save them as PNG or "
            "TIFF."
        )
    warn(
        f"{path}: compression has changed the numbers of this mask; what is above half of the greatest is read as "
        "foreground.",
        stacklevel=3,
    )
    return (data > top / 2).view(np.uint8) * np.uint8(255)


def _whole(data: np.ndarray, path: Path) -> np.ndarray:
    """Return whole numbers that are stored as floats as integers.

    Raises
    ------
    InputError
        For other numbers.
    """
    odd = ~(np.isfinite(data) & (data == np.floor(data)) & (np.abs(data) < 2**31))
    if odd.any():
        raise InputError(
            f"{path}: {data[odd][0]:g} is no label, for labels are whole numbers (pixels of type {data.dtype}); cut a "
            "probability at a threshold first."
        )
    return data.astype(np.int32 if data.min(initial=0) < 0 else np.min_scalar_type(int(data.max(initial=0))))


def _with_samples(image: Image, data: np.ndarray) -> Image:
    return replace(
        image,
        data=data,
        axes="YXS",
        scale=(*image.scale[:2], 1.0),
        units=(*image.units[:2], "pixel"),
    )


def _without_samples(image: Image, data: np.ndarray) -> Image:
    keep = [i for i, axis in enumerate(image.axes) if axis not in "CS"]
    return replace(
        image,
        data=data.reshape([image.data.shape[i] for i in keep]),
        axes="".join(image.axes[i] for i in keep),
        scale=tuple(image.scale[i] for i in keep),
        units=tuple(image.units[i] for i in keep),
    )


# ---- Names --------------------------------------------------------------------------------------------------

LABEL_ENDINGS = ("_mask", "_labels", "_label")
"""Endings that the name of any label file may add to that of its image."""

LABEL_WORDS = ("mask", "label", "seg", "gt", "truth", "manual", "annot", "target")
"""Words in endings of label files; where images have an ending of their own as well, one of them must be there."""


def key_of(path: str | Path) -> str:
    """Give what two files that belong together share: the stem without `LABEL_ENDINGS`, its accents composed.

    Results of a name too long to add an ending to have it cut, so it is cut here as well.
    """
    key = stem(path)
    for ending in LABEL_ENDINGS:
        key = key.removesuffix(ending)
    return _composed(key)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", cut(name))


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Index files by `key_of`.

    Raises
    ------
    InputError
        If two of them share it.
    """
    found: dict[str, Path] = {}
    for path in paths:
        key = key_of(path)
        if key in found:
            raise InputError(f"{found[key]} and {path} share the stem {key!r}; keep one of them.")
        found[key] = path
    return found


class Paired(NamedTuple):
    """Files of two kinds that belong together, as `pair_by_stem` finds them."""

    pairs: dict[str, tuple[Path, Path]]
    """By what their names share, sorted."""
    first_alone: list[Path]
    second_alone: list[Path]


def pair_by_stem(first: Iterable[Path], second: Iterable[Path]) -> Paired:
    """Pair files by `key_of`: images and labels, masks and their truth, clean and noisy labels.

    An image that is called ``x_mask`` itself is paired with its ``x_mask_mask``.
    Where all names of a kind have one more ending (``_cp_masks``, ``_GT``, ``_manual1``), without which all have a
    partner, they are paired without it, and a warning names it.

    Raises
    ------
    InputError
        If two files of one kind share a stem.
    """
    found = [by_stem(first), by_stem(second)]
    for kind, other in (found, found[::-1]):
        for key in kind.keys() - other.keys():
            if (whole := _composed(stem(kind[key]))) in other.keys() - kind.keys():
                kind[whole] = kind.pop(key)
    if found[0].keys() != found[1].keys():
        endings = _endings(*found)
        found = [{k.removesuffix(e): p for k, p in kind.items()} for kind, e in zip(found, endings, strict=True)]
        if any(endings):
            which = " and ".join(repr(ending) for ending in endings if ending)
            warn(f"Files are paired without the ending{'s' * all(endings)} {which} of their names.", stacklevel=2)
    ours, theirs = found
    return Paired(
        {key: (ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())},
        [ours[key] for key in sorted(ours.keys() - theirs.keys())],
        [theirs[key] for key in sorted(theirs.keys() - ours.keys())],
    )


def _endings(first: Collection[str], second: Collection[str]) -> tuple[str, str]:
    """Find the endings without which all names of the smaller kind have a partner; shortest first, empty for none."""
    choices = sorted(product(_common_endings(first), _common_endings(second)), key=lambda pair: len("".join(pair)))
    for ending, other in choices:
        known = any(word in (ending + other).casefold() for word in LABEL_WORDS)
        if ending and other and not (known and min(len(first), len(second)) > 1):
            continue
        shared = {key.removesuffix(ending) for key in first} & {key.removesuffix(other) for key in second}
        if len(shared) == min(len(first), len(second)):
            return ending, other
    return "", ""


def _common_endings(names: Collection[str]) -> list[str]:
    """List what all names end in, from a separator on, with the empty ending."""
    shortest = min(names, key=len, default="")
    ends = [shortest[i:] for i, letter in enumerate(shortest) if i and letter in "_-. "]
    said = [end for end in ends if len(names) > 1 or any(map(str.isalpha, end))]
    return ["", *(end for end in said if all(name.endswith(end) for name in names))]
