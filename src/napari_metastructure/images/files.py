"""Image files in and out: one door for TIFF, PNG, JPEG and the like; writing is in `writing`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter, warn

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.image import Image
from napari_metastructure.images.units import PIXEL
from napari_metastructure.images.writing import write_mask, write_probability, write_tiff

if TYPE_CHECKING:
    from PIL.Image import Image as PictureFile

__all__ = ["list_images", "read_image", "stem", "write_mask", "write_probability", "write_tiff"]

# What each format's files are called; the content decides, a name that says otherwise is mentioned.
_SUFFIXES = {
    "TIFF": (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".stk"),
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
_KNOWN = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes}
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_image(path: str | Path) -> Image:
    """Read an image file with its axes, voxel size and unit.

    Parameters
    ----------
    path : str or Path
        TIFF (plain, ImageJ, OME, BigTIFF), PNG, JPEG, JPEG 2000, BMP, GIF, WebP or PNM. The content
        decides which; a warning says so where the name's ending says otherwise.

    Returns
    -------
    Image
        Axes of length one are left out, as tifffile does; the unit is ``"pixel"`` where the file names none.

    Raises
    ------
    InputError
        For a file that is missing, empty, cut short, damaged, no image, or not readable.
    """
    path = Path(path)
    kind = _kind(path)
    claimed = _KNOWN.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path} is no image file (TIFF, PNG, JPEG and the like); leave it out or convert it.")
    if kind != claimed:
        warn(f"{path.name} holds a {kind} image whatever its name says; read as {kind}.", stacklevel=2)
    steps: dict[str, tuple[float, str]] = {}
    try:
        if kind == "TIFF":
            from napari_metastructure.images.tiff import read_tiff

            data, axes, steps = read_tiff(path)
        else:
            data, axes = _read_picture(path)
    except (InputError, MemoryError):
        raise
    except PermissionError as error:
        raise InputError(f"No permission to read {path}; change its permissions or copy it.") from error
    except Exception as error:  # readers raise OSError, ValueError, struct.error, KeyError, ... on broken files
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path} is damaged or cut short ({reason}); copy or export it again.") from error
    data = data.astype(data.dtype.newbyteorder("="), copy=False)
    found = [steps.get(a, (1.0, PIXEL)) if a not in "CS" else (1.0, PIXEL) for a in axes]
    return Image(data, axes, tuple(s for s, _ in found), tuple(u for _, u in found), stem(path), path)


def stem(path: str | Path) -> str:
    """The name of a file without its ending, both of them for ``.ome.tif``."""
    name = Path(path).stem
    return name[:-4] if name.lower().endswith(".ome") and len(name) > 4 else name


def list_images(paths: Iterable[str | Path]) -> list[Path]:
    """The image files that files and folders name, sorted, each once.

    Parameters
    ----------
    paths : iterable of str or Path
        Files, taken as they are, and folders, looked through without their subfolders. In a folder hidden
        files are passed over, and other files that hold no image are skipped with a warning; a file that
        claims to be an image by its ending stays listed, so that `read_image` tells what is wrong with it.

    Raises
    ------
    InputError
        For a path that is missing or may not be read, a file named here that holds no image, or a folder
        without any.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        for file in _images_in(path) if os.path.isdir(path) else [path]:
            if file == path and _kind(path) is None:
                raise InputError(f"{path} is no image file (TIFF, PNG, JPEG and the like); leave it out or convert it.")
            found.setdefault(file.resolve(), file)
    if not found:
        raise InputError("No image was given; name at least one file or folder.")
    return sorted(found.values())


def _images_in(folder: Path) -> list[Path]:
    try:
        files = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file())
    except OSError as error:
        raise InputError(f"Cannot look into the folder {folder} ({error.strerror}); check its permissions.") from error
    images = []
    for file in files:
        if file.suffix.lower() in _KNOWN or _kind(file) is not None:
            images.append(file)
        else:
            warn(f"{file} is no image and was skipped.", stacklevel=3)
    if not images:
        raise InputError(f"The folder {folder} holds no image; name a folder with TIFF, PNG or JPEG files.")
    return images


def _kind(path: Path) -> str | None:
    """Which format a file holds by its first bytes; None for no image."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the name.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; name a file in it.") from error
    except OSError as error:
        raise InputError(f"Cannot read {path} ({error.strerror}); check its permissions.") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes); copy or export it again.")
    if head.startswith(_TIFF_MAGIC):
        return "TIFF"
    import PIL.Image

    try:
        with catch_warnings():
            simplefilter("ignore")
            with PIL.Image.open(path, formats=_PICTURES) as picture:
                return "JPEG" if picture.format == "MPO" else picture.format
    except PIL.UnidentifiedImageError:
        # Too broken for Pillow to name, but it starts like one: a damaged image, and read_image says so.
        return next((name for name, magic in _PICTURE_MAGIC.items() if head.startswith(magic)), None)
    except Exception:
        return _KNOWN.get(path.suffix.lower())


_PICTURES = [name for name in _SUFFIXES if name != "TIFF"]
_PICTURE_MAGIC = {
    "PNG": b"\x89PNG",
    "JPEG": b"\xff\xd8\xff",
    "GIF": b"GIF8",
    "WEBP": b"RIFF",
    "JPEG2000": b"\0\0\0\x0cjP",
}


def _read_picture(path: Path) -> tuple[np.ndarray, str]:
    """Pixels and axes of a PNG, JPEG and the like; several frames become T."""
    import PIL.Image

    with PIL.Image.open(path, formats=_PICTURES) as picture:
        if "16" in str(picture.tile[0][3] if picture.tile else "") and picture.mode in ("RGB", "RGBA"):
            warn(f"{path.name}: its 16-bit colours are read as 8-bit; save it as TIFF to keep them.", stacklevel=3)
        # The further pictures in a camera's JPEG are previews.
        count = 1 if picture.format in ("JPEG", "MPO") else getattr(picture, "n_frames", 1)
        if count == 1:
            data = _pixels(picture)
            return data, "YXS" if data.ndim == 3 else "YX"
        frames = []
        for number in range(count):
            picture.seek(number)
            frames.append(np.asarray(picture.convert("RGB")))  # modes differ from frame to frame
    data = np.stack(frames)
    if (data == data[..., :1]).all():
        return data[..., 0], "TYX"
    return data, "TYXS"


def _pixels(picture: PictureFile) -> np.ndarray:
    """A picture as array: grey or boolean (Y, X), or colours (Y, X, S)."""
    if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
        return np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))
    if picture.mode == "LA":
        return np.asarray(picture.getchannel("L"))
    return np.asarray(picture)
