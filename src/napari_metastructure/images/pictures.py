"""PNG, JPEG, JPEG 2000, BMP, GIF, WebP and PNM files: pixels and axes, in all of their bits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np

from napari_metastructure.images.image import check_memory, note
from napari_metastructure.images.tiff import turned

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile as PictureFile

SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
"""Endings by format, as Pillow calls it."""

MAGIC = {
    "PNG": b"\x89PNG",
    "JPEG": b"\xff\xd8\xff",
    "GIF": b"GIF8",
    "WEBP": b"RIFF",
    "JPEG2000": b"\0\0\0\x0cjP",
}
"""What a file too broken for Pillow to name starts with."""

_LIMIT = threading.Lock()


@contextmanager
def opened(path: Path) -> Iterator[PictureFile]:
    """Open a picture with Pillow, of whatever size: those that users name are no attack."""
    import PIL.Image

    with _LIMIT:  # Pillow's limit belongs to the whole process
        limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            picture = PIL.Image.open(path, formats=list(SUFFIXES))
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit
    with picture:
        yield picture


def kind_of(path: Path) -> str | None:
    """Find the format of a picture; None if Pillow knows none.

    Raises
    ------
    Exception
        Of many kinds, for a damaged file.
    """
    import PIL.Image

    try:
        with catch_warnings():
            simplefilter("ignore")
            with opened(path) as picture:
                return "JPEG" if picture.format == "MPO" else picture.format
    except PIL.UnidentifiedImageError:
        return None


def read_picture(path: Path, numbers: bool = False) -> tuple[np.ndarray, str]:
    """Read pixels and axes of a PNG, JPEG and the like; several frames become T.

    Parameters
    ----------
    path : Path
    numbers : bool
        The numbers of a palette in place of its colours: for labels.
    """
    with opened(path) as picture:
        count, format_ = getattr(picture, "n_frames", 1), picture.format
        check_memory(path, picture.width * picture.height * count * (4 if picture.mode.startswith("I;16") else 8))
        if count > 1 and format_ in ("JPEG", "MPO"):
            note(f"{path.name} holds {count} pictures, as cameras store previews; only the first is read.")
            count = 1
        if picture.getexif().get(0x0112, 1) > 1:
            note(turned(path))
        if count == 1:
            data = _deep(path, picture)
            if data is None:
                data = _pixels(picture, numbers)
            return data, "YXS" if data.ndim == 3 else "YX"
        frames = []
        for number in range(count):
            picture.seek(number)
            # Modes differ from frame to frame.
            frames.append(np.asarray(picture if numbers and picture.mode == "P" else picture.convert("RGB")))
    if numbers and all(frame.ndim == 2 for frame in frames):
        return np.stack(frames), "TYX"
    data = np.stack([np.dstack([f] * 3) if f.ndim == 2 else f for f in frames])
    if (data == data[..., :1]).all():
        return data[..., 0], "TYX"
    return data, "TYXS"


def _pixels(picture: PictureFile, numbers: bool) -> np.ndarray:
    """Turn a picture into an array: grey or boolean (Y, X), or colours (Y, X, S)."""
    if picture.mode in ("P", "PA") and numbers:
        return np.asarray(picture if picture.mode == "P" else picture.getchannel(0))
    if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
        data = np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))
        is_grey = picture.mode == "P" and data.shape[-1] == 3 and (data == data[..., :1]).all()
        return data[..., 0] if is_grey else data
    if picture.mode in ("LA", "La"):
        return np.asarray(picture.getchannel(0))
    return np.asarray(picture)


def _deep(path: Path, picture: PictureFile) -> np.ndarray | None:
    """Read a picture of more than 8 bits a sample, which Pillow cuts down to 8 if it has several; None for others."""
    data: Any = None
    if picture.format == "PNG":
        with path.open("rb") as file:
            head = file.read(26)
        if head[24] == 16 and head[25] in (2, 4, 6):
            import imagecodecs

            data = imagecodecs.png_decode(path.read_bytes())
    elif picture.format == "JPEG2000" and picture.mode in ("RGB", "RGBA", "LA", "L"):
        import imagecodecs

        data = imagecodecs.jpeg2k_decode(path.read_bytes())
        data = data if data.dtype.itemsize > 1 else None
    elif picture.format == "PPM" and picture.mode == "RGB" and picture.tile and picture.tile[0][0] == "ppm":
        data = _deep_ppm(path, picture)
    if data is None:
        return None
    return data[..., 0] if data.ndim == 3 and data.shape[-1] <= 2 else data


def _deep_ppm(path: Path, picture: PictureFile) -> np.ndarray | None:
    """Read the 16-bit colours of a binary PPM."""
    _, _, offset, arguments = picture.tile[0]
    if not isinstance(arguments, tuple) or int(arguments[-1]) < 256:
        return None
    shape = (picture.height, picture.width, 3)
    return np.fromfile(path, ">u2", int(np.prod(shape)), offset=offset).reshape(shape)
