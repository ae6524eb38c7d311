"""Writing of masks, probabilities and labels as ImageJ or OME TIFF, and of whole files or none."""

import errno
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.image import PIXEL, Image, convert, imagej_name, is_time, ome_name, pint_name

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file would be larger than this system allows; choose another folder",
    errno.EACCES: "no permission to write there; choose another folder",
    errno.EPERM: "no permission to write there; choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOENT: "the folder does not exist; create it first",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another folder",
    errno.EEXIST: "a file of that name is in the way; choose another folder",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def cannot_write(path: Path, error: OSError) -> InputError:
    """Put an `OSError` met while writing ``path`` into one sentence."""
    number = error.errno or 0
    if not number and " requested and " in str(error):  # NumPy says how much it wrote, and not why no more
        number = errno.ENOSPC
    advice = _ADVICE.get(number, f"{error.strerror or error}; choose another folder")
    return InputError(f"Cannot write {path}: {advice}.")


def make_folder(folder: Path) -> None:
    """Make a folder if it is not there.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def remove(paths: Iterable[Path]) -> None:
    """Remove files and Zarr folders, those of an earlier run for example; what is not there is passed over.

    Raises
    ------
    InputError
        If one cannot be removed.
    """
    for path in paths:
        try:
            if path.suffix == ".zarr" and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a new file's path beside ``path``; rename it to ``path`` if the block ends well, else delete it.

    Parameters
    ----------
    path : str or Path
        The file to make. What was there before stays whole until the new one is.

    Yields
    ------
    Path
        An empty file in the same folder.

    Raises
    ------
    InputError
        Where the folder is missing or not writable, the disk is full, or the path is of no file.
    """
    target = Path(path)
    usual = not os.path.exists(target) or os.path.isfile(target) or os.path.isdir(target)
    if target.parent == Path("/dev") or not usual:
        raise InputError(f"Cannot write {target}: it is a device or a pipe, which would be replaced; name a file.")
    # A short hidden name: it must fit wherever the target's does, and a folder listing leaves it out.
    beside = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        if os.path.isdir(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # Made here, and not by tempfile, so that it gets the permissions any new file of the user gets.
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield beside
        os.replace(beside, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Do what `replacing` does for a file that is a folder, such as an OME-Zarr.

    Raises
    ------
    InputError
        As `replacing`.
    """
    beside, old = (path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp") for _ in range(2))
    try:
        beside.mkdir()
        yield beside
        if os.path.exists(path):
            path.rename(old)
        beside.rename(path)
    except OSError as error:
        if os.path.exists(old) and not os.path.exists(path):
            with suppress(OSError):
                old.rename(path)
        raise cannot_write(path, error) from error
    finally:
        for left in (beside, old):
            if os.path.isfile(left):
                left.unlink(missing_ok=True)
            else:
                shutil.rmtree(left, ignore_errors=True)


def save_figure(path: Path, figure: Any) -> Path:
    """Write a figure of matplotlib, whole or not at all, in the format that the name ends in.

    Names of images stand in it as they are: a dollar sign begins no formula, and of letters that the font lacks
    nothing is said.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    import matplotlib

    with replacing(path) as beside, warnings.catch_warnings(), matplotlib.rc_context({"text.parse_math": False}):
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        for text in figure.findobj(lambda artist: hasattr(artist, "set_parse_math")):
            text.set_parse_math(False)
        figure.savefig(beside, format=path.suffix[1:].lower(), dpi=150)
    return path


def sweep(folder: Path) -> None:
    """Remove what programs that were killed in the middle of `replacing` have left in a folder."""
    import psutil

    with suppress(OSError):
        for path in folder.glob(".*-*.tmp"):
            owner = re.fullmatch(r"\.(\d{1,9})-[0-9a-f]{8}\.tmp", path.name)
            if owner is not None and not psutil.pid_exists(int(owner[1])):
                with suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


_ORDER = "TZCYXS"

_IMAGEJ_TYPES = ("uint8", "uint16", "float32")

_IMAGEJ_BYTES = 2**32 - 2**25
"""An ImageJ TIFF has 32-bit offsets; this leaves room for its tags."""


def write_mask(path: str | Path, masks: np.ndarray, like: Image, ome: bool = False, note: str = "") -> None:
    """Write a binary mask as uint8, 0 and 255; see `write_tiff`.

    Parameters
    ----------
    path : str or Path
        The file; replaced only once the new one is whole.
    masks : array
        Nonzero = foreground; of the shape of ``like``.
    like : Image
        Gives axes, scale and units (`napari_metastructure.images.image.stack` makes one from planes).
    ome : bool
        OME-TIFF in place of ImageJ TIFF.
    note : str
        What is to be known of the pixels.

    Raises
    ------
    InputError
        As `write_tiff`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from napari_metastructure.images.files import read_image
    >>> from napari_metastructure.images.image import Image
    >>> cells = Image(np.eye(8), "YX", (0.1, 0.1), ("micrometer", "micrometer"), "cells")
    >>> with TemporaryDirectory() as folder:
    ...     write_mask(Path(folder) / "cells_mask.tif", cells.data > 0.5, like=cells)
    ...     mask = read_image(Path(folder) / "cells_mask.tif")
    >>> mask.data.dtype, int(mask.data.max()), mask.scale, mask.units[0]
    (dtype('uint8'), 255, (0.1, 0.1), 'micrometer')
    """
    data = (np.asarray(masks) != 0).astype(np.uint8) * np.uint8(255)
    write_tiff(path, data, like.axes, like.scale, like.units, ome=ome, note=note)


def write_probability(
    path: str | Path, probabilities: np.ndarray, like: Image, ome: bool = False, note: str = ""
) -> None:
    """Write probabilities as float32; arguments as in `write_mask`."""
    data = np.asarray(probabilities, dtype=np.float32)
    write_tiff(path, data, like.axes, like.scale, like.units, ome=ome, note=note)


def write_tiff(
    path: str | Path,
    data: np.ndarray,
    axes: str,
    scale: Sequence[float],
    units: Sequence[str],
    ome: bool = False,
    note: str = "",
) -> None:
    """Write an image with axes, voxel size and unit, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file; what was there before stays until the new one is whole.
    data : array
        Pixels. An ImageJ TIFF knows uint8, uint16 and float32: those are kept, booleans become uint8 0 and 1,
        other integers the smaller unsigned type that holds them, other floats float32. Integers beyond 65535
        or below 0, files beyond 4 GB and scales that ImageJ's tags cannot hold are written as OME-TIFF.
    axes : str
        One letter of ``TZCYXS`` per dimension, in any order; written in this one.
    scale : sequence of float
        Step along each axis in its unit.
    units : sequence of str
        Units as pint names them; lengths are written in one unit, that of X if possible, times in seconds.
    ome : bool
        OME-TIFF in place of ImageJ TIFF.
    note : str
        What is to be known of the pixels: Fiji shows it in *Image > Show Info*, an OME-TIFF has it as description.

    Raises
    ------
    InputError
        For pixels or axes TIFF cannot hold, a scale that is not positive, a folder that is missing or not
        writable, or a full disk. No partial file is left.
    """
    path = Path(path)
    pixels = np.asarray(data)
    # The image contract checks that axes, scale and units fit the pixels.
    image = Image(pixels, axes, tuple(map(float, scale)), tuple(units), path.name)
    if len(set(axes)) < len(axes) or not set(axes) <= set(_ORDER):
        raise InputError(f"{path.name}: axes {axes!r} cannot be written; TIFF takes each of {_ORDER} once.")
    if not pixels.size:
        raise InputError(f"{path.name}: there are no pixels to write (shape {pixels.shape}).")
    if not all(np.isfinite(s) and s > 0 for s in image.scale):
        raise InputError(f"{path.name}: the voxel size {image.scale} must be positive; correct the scale first.")
    order = sorted(range(len(axes)), key=lambda i: _ORDER.index(axes[i]))
    axes = "".join(axes[i] for i in order)
    pixels = np.ascontiguousarray(pixels.transpose(order))
    steps = {a: (image.scale[i], image.units[i]) for i, a in zip(order, axes, strict=True)}

    pixels = _storable(pixels, path)
    options = _options(axes, steps, pixels.shape, pixels.dtype, ome, note)
    top = int(pixels.max()) if pixels.dtype.kind == "u" and "S" not in axes else 0
    if "imagej" in options and top not in (0, 255):  # else Fiji shows labels of 8 bits as black, stacks by slice 1
        options["metadata"] |= {"min": 0, "max": top}
    import tifffile

    with replacing(path) as beside:
        tifffile.imwrite(beside, pixels, **options)


class TiffRows:
    """A TIFF that is being written row by row; see `writing_tiff`."""

    def __init__(self, file: IO[bytes], offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._file, self._offset, self._shape, self._dtype = file, offset, shape, dtype

    def put(self, at: tuple[int, ...], first: int, rows: np.ndarray) -> None:
        """Write rows of the plane at a place along the leading axes."""
        row = int(np.ravel_multi_index((*at, first), self._shape[:-1]))
        self._file.seek(self._offset + row * self._shape[-1] * self._dtype.itemsize)
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)


@contextmanager
def writing_tiff(path: Path, like: Image, dtype: Any, ome: bool = False, note: str = "") -> Iterator[TiffRows]:
    """Give what takes the rows of a TIFF that memory may not hold; it is there if the block ends well.

    Parameters
    ----------
    path, like, ome, note :
        As in `write_mask`; the result has no C and S.
    dtype : numpy.dtype
        uint8 or float32.

    Raises
    ------
    InputError
        As `write_tiff`.
    """
    import tifffile

    axes = "".join(a for a in "TZYX" if a in like.axes)
    steps = {a: (like.scale[like.axes.index(a)], like.units[like.axes.index(a)]) for a in axes}
    shape = tuple(like.data.shape[like.axes.index(a)] for a in axes)
    with replacing(path) as beside:
        options = _options(axes, steps, shape, np.dtype(dtype), ome, note)
        tifffile.imwrite(beside, shape=shape, dtype=dtype, **options)
        with tifffile.TiffFile(beside) as tif:
            offset, order = tif.pages.first.dataoffsets[0], tif.byteorder
        with beside.open("r+b") as file:
            yield TiffRows(file, offset, shape, np.dtype(dtype).newbyteorder(order))


def _options(
    axes: str, steps: dict[str, tuple[float, str]], shape: tuple[int, ...], dtype: np.dtype, ome: bool, note: str
) -> dict[str, Any]:
    """Choose how tifffile writes an image: as ImageJ TIFF where that holds it, else as OME-TIFF."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    ome = ome or dtype.name not in _IMAGEJ_TYPES or size > _IMAGEJ_BYTES
    ome = ome or ("S" in axes and (dtype != np.uint8 or shape[-1] not in (3, 4)))
    unit = None if ome else _common_unit(steps)
    options = _ome_options(axes, steps) if unit is None else _imagej_options(axes, steps, unit)
    if note:
        options["metadata"]["Description" if unit is None else "Info"] = note
    return {**options, "photometric": "rgb" if "S" in axes and shape[-1] in (3, 4) else "minisblack"}


def tiff_axes(axis_labels: Sequence[str], units: Sequence[str]) -> str:
    """Give each axis a letter of TZCYX: by its name, else by its unit, else as most files have them.

    Without names a stack is Z, a stack of stacks T and Z, and one more axis C; the last two are Y and X. Epochs are the
    T that is left, to play as a film, else C, which has no step.

    Parameters
    ----------
    axis_labels, units : sequence of str
        As napari has them; unnamed axes are called "-3", "-2", ...

    Raises
    ------
    InputError
        For fewer than two or more than five axes.
    """
    count = len(axis_labels)
    if not 2 <= count <= 5:
        raise InputError(f"TIFF takes labels of two to five dimensions; these have {count}: save them in parts.")
    names = [_WORDS.get(label.strip().lower(), label.strip()[:1].upper()) for label in axis_labels]
    named = names.count("Y") == names.count("X") == 1  # wherever they are
    letters = [name if named and name in "YX" else "" for name in names] if named else [""] * (count - 2) + ["Y", "X"]
    for wish in (
        [name if name in ("T", "Z", "C") else "" for name in names],
        ["T" if is_time(pint_name(unit)) else "" for unit in units],
    ):
        for at, letter in enumerate(wish):
            if not letters[at] and letter not in letters:
                letters[at] = letter
    epochs = next((at for at, name in enumerate(names) if name == "E" and not letters[at]), None)
    spare = sorted([a for a in "ZTC" if a not in letters][: letters.count("") - (epochs is not None)], key=_ORDER.index)
    for at, letter in enumerate(letters):
        if not letter and at != epochs:
            letters[at] = spare.pop(0)
    if epochs is not None:
        letters[epochs] = next(letter for letter in "TCZ" if letter not in letters)
    return "".join(letters)


_WORDS = {"frame": "T", "slice": "Z", "depth": "Z", "plane": "Z", "section": "Z"}


def _storable(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Convert pixels to a dtype that TIFF readers know, without changing a value that matters."""
    kind = pixels.dtype.kind
    if kind == "b":
        return pixels.astype(np.uint8)
    if kind == "f":
        return pixels.astype(np.float32, copy=False)
    if kind not in "ui":
        raise InputError(f"{path.name}: pixels of type {pixels.dtype} cannot be written; use integers or floats.")
    if pixels.dtype.name in _IMAGEJ_TYPES:
        return pixels
    low, high = int(pixels.min()), int(pixels.max())
    for dtype in ("uint8", "uint16", "uint32", "int32"):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return pixels.astype(dtype)
    raise InputError(f"{path.name}: values from {low} to {high} exceed 32-bit integers; relabel them first.")


_FINEST, _COARSEST = 1e-5, 1e5
"""Sizes of pixels that a fraction of two 32-bit integers, as TIFF has it, holds in full."""


def _common_unit(steps: dict[str, tuple[float, str]]) -> str | None:
    """Find a unit, that of X if possible, in which ImageJ's tags hold all lengths; None if there is none."""
    lengths = [step for axis, step in steps.items() if axis in "XY" or (axis == "Z" and step != (1.0, PIXEL))]
    for unit in (
        steps["X"][1],
        "micrometer",
        "nanometer",
        "picometer",
        "millimeter",
        "meter",
        "kilometer",
        "gigameter",
    ):
        sizes = [convert(*step, unit) for step in lengths]
        if all(size is not None and _FINEST <= size <= _COARSEST for size in sizes):
            return unit
    return None


def _imagej_options(axes: str, steps: dict[str, tuple[float, str]], unit: str) -> dict[str, Any]:
    """Make the tags of an ImageJ hyperstack: resolution = pixels per unit, spacing, unit, frame interval."""
    metadata: dict[str, Any] = {"axes": axes, "unit": imagej_name(unit)}
    lengths = {axis: convert(*step, unit) for axis, step in steps.items()}
    if lengths.get("Z") is not None:
        metadata["spacing"] = lengths["Z"]
    if "T" in axes and is_time(steps["T"][1]):
        metadata["finterval"] = convert(*steps["T"], "second")
    return {
        "imagej": True,
        "resolution": tuple(1 / (lengths[axis] or 1.0) for axis in "XY"),
        "metadata": metadata,
    }


def _ome_options(axes: str, steps: dict[str, tuple[float, str]]) -> dict[str, Any]:
    """Make the attributes of OME-XML: PhysicalSize with unit, time increment."""
    metadata: dict[str, Any] = {"axes": axes}
    for axis in "XYZ":
        if axis in axes:
            value, unit = steps[axis]
            metadata[f"PhysicalSize{axis}"] = value
            metadata[f"PhysicalSize{axis}Unit"] = PIXEL if is_time(unit) else ome_name(unit)
    if "T" in axes and is_time(steps["T"][1]):
        metadata["TimeIncrement"] = steps["T"][0]
        metadata["TimeIncrementUnit"] = ome_name(steps["T"][1])
    return {"ome": True, "metadata": metadata}
