"""Image files: reading of TIFF, PNG, JPEG and the like, listing, names of results."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from warnings import catch_warnings, simplefilter, warn

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.image import PIXEL, Image, pint_name

if TYPE_CHECKING:
    from PIL.Image import Image as PictureFile
    from tifffile import TiffFile, TiffPageSeries


# Endings by format; the content decides, a name that says otherwise is mentioned.
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

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np, tifffile
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "cells.tif"
    ...     pixels = np.zeros((3, 8, 9), np.uint16)
    ...     tifffile.imwrite(path, pixels, imagej=True, resolution=(10, 10), metadata={"axes": "ZYX", "unit": "um"})
    ...     image = read_image(path)
    >>> image.axes, image.data.shape, image.scale[1:], image.units[1:]
    ('ZYX', (3, 8, 9), (0.1, 0.1), ('micrometer', 'micrometer'))
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
    """Name a file without its ending, both of them for ``.ome.tif``."""
    name = Path(path).stem
    return name[:-4] if name.lower().endswith(".ome") and len(name) > 4 else name


def list_images(paths: Iterable[str | Path]) -> list[Path]:
    """List the image files that files and folders name, sorted, each once.

    Parameters
    ----------
    paths : iterable of str or Path
        Files, taken as they are, and folders, looked through without their subfolders. In a folder hidden
        files are passed over, and other files that hold no image are skipped with a warning; a file that
        claims to be an image by its ending stays listed, so that `read_image` says what is wrong with it.

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


@contextmanager
def noting() -> Iterator[list[str]]:
    """Give a list that holds the warnings about files within the block as sentences, once the block has ended.

    Examples
    --------
    >>> with noting() as notes:
    ...     warn("notes.txt is no image and was skipped.", stacklevel=1)
    >>> notes
    ['notes.txt is no image and was skipped.']
    """
    notes: list[str] = []
    with catch_warnings(record=True) as caught:
        simplefilter("always", UserWarning)
        try:
            yield notes
        finally:  # other categories are for programmers
            notes += [str(note.message) for note in caught if note.category is UserWarning]


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
    """Find the format of a file by its first bytes; None for no image."""
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
    """Read pixels and axes of a PNG, JPEG and the like; several frames become T."""
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
    """Turn a picture into an array: grey or boolean (Y, X), or colours (Y, X, S)."""
    if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
        return np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))
    if picture.mode == "LA":
        return np.asarray(picture.getchannel("L"))
    return np.asarray(picture)


# TIFF: axes, voxel size and unit from ImageJ's, OME's or tifffile's own metadata.

Step = tuple[float, str]
"""Size of one step along an axis, and its unit."""


def read_tiff(path: Path) -> tuple[np.ndarray, str, dict[str, Step]]:
    """Read pixels, axes, and the steps along the axes that the file gives (the others are one pixel).

    Page axes without a name are taken for Z, T, C, in this order, as Fiji takes a plain stack for slices.
    The dots per inch of a plain TIFF say how to print it, not how large a pixel is, and are left aside.

    Raises
    ------
    InputError
        If the file is damaged, cut short, or of a kind that cannot be read.
    """
    import tifffile

    with _complaints() as complaints, tifffile.TiffFile(path) as tif:
        if not tif.series:
            raise InputError(f"{path} holds no image; export it again as TIFF.")
        series = tif.series[0]
        if len(tif.series) > 1:
            warn(f"{path.name} holds {len(tif.series)} images; only the first is read.", stacklevel=3)
        _check_whole(path, tif, series)
        try:
            data = np.asarray(series.asarray())
        except ValueError as error:
            if "imagecodecs" in str(error) or "COMPRESSION" in str(error):
                raise InputError(
                    f"{path} uses a compression that cannot be read ({error}); save it without."
                ) from error
            raise
        axes, data = _named(series.axes, data, path)
        steps = _steps(tif)
    if complaints:  # tifffile logs a broken chain of pages and goes on with those it found
        raise InputError(f"{path} is damaged or cut short ({complaints[0]}); copy or export it again.")
    return data, axes, steps


class Grid(NamedTuple):
    """Axes of a TIFF, their lengths, and the steps along those whose steps it gives."""

    axes: str
    shape: tuple[int, ...]
    steps: dict[str, Step]


def read_grid(path: Path) -> Grid | None:
    """Read axes and steps of a TIFF's first image, not its pixels; None where that cannot be."""
    import tifffile

    try:
        with _complaints(), tifffile.TiffFile(path) as tif:
            return Grid(tif.series[0].axes, tif.series[0].shape, _steps(tif))
    except Exception:  # as in `read_image`; who opened the file has its pixels
        return None


def _check_whole(path: Path, tif: TiffFile, series: TiffPageSeries) -> None:
    """Refuse a file that ends before its pixels do: some readers fill the rest with zeros."""
    size = tif.filehandle.size
    end = (series.dataoffset or 0) + series.nbytes if series.dataoffset is not None else 0
    pages = [page for page in series.pages if page is not None]
    for page in pages:
        end = max([end, *(o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))])
    if end > size:
        raise InputError(f"{path} is cut short: it should hold {end} bytes and has {size}; copy or export it again.")
    if len(pages) < len(series.pages):
        raise InputError(f"{path} lacks {len(series.pages) - len(pages)} of its planes; copy or export it again.")


def _named(axes: str, data: np.ndarray, path: Path) -> tuple[str, np.ndarray]:
    """Give each axis a letter of TCZYXS; drop nameless axes of length one."""
    known = set(axes) & set("TCZYXS")
    free = [a for a in "ZTC" if a not in known]
    letters, shape = "", []
    for letter, size in zip(axes, data.shape, strict=True):
        if letter not in "TCZYXS":
            if size == 1:
                continue
            if not free:
                raise InputError(f"{path} has axes {axes!r}, more than T, C and Z; save one position by itself.")
            letter = free.pop(0)
        letters += letter
        shape.append(size)
    return letters, data.reshape(shape)


def _steps(tif: TiffFile) -> dict[str, Step]:
    if tif.is_ome:
        return _ome_steps(tif)
    if tif.is_imagej:
        return _imagej_steps(tif)
    return {}


def _imagej_steps(tif: TiffFile) -> dict[str, Step]:
    """Find steps in the resolution tags (pixels per unit) and the lines of ImageJ's description."""
    facts = tif.imagej_metadata or {}
    page = tif.pages.first
    unit = pint_name(facts.get("unit"))
    if unit == PIXEL and page.tags.valueof("ResolutionUnit") in (2, 3):
        unit = {2: "inch", 3: "centimeter"}[int(page.tags.valueof("ResolutionUnit"))]  # ImageJ's cm and inch
    steps: dict[str, Step] = {}
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        value = page.tags.valueof(tag)
        if value and value[0] and value[1]:
            steps[axis] = (value[1] / value[0], pint_name(facts.get("yunit", unit)) if axis == "Y" else unit)
    if "spacing" in facts:
        steps["Z"] = (abs(_number(facts["spacing"])), pint_name(facts.get("zunit", unit)))
    interval = _number(facts.get("finterval")) or (1 / _number(facts["fps"]) if _number(facts.get("fps")) else 0)
    if interval:
        steps["T"] = (interval, "second")
    return {axis: step for axis, step in steps.items() if step[0] > 0 and np.isfinite(step[0])}


def _ome_steps(tif: TiffFile) -> dict[str, Step]:
    """Find steps in the attributes of the first image's Pixels element."""
    import tifffile

    image = tifffile.xml2dict(tif.ome_metadata or "").get("OME", {}).get("Image", {})
    pixels = (image[0] if isinstance(image, list) else image).get("Pixels", {})
    steps: dict[str, Step] = {}
    for axis in "XYZ":
        value = _number(pixels.get(f"PhysicalSize{axis}"))
        if value > 0:
            steps[axis] = (value, pint_name(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
    interval = _number(pixels.get("TimeIncrement"))
    if interval > 0:
        steps["T"] = (interval, pint_name(pixels.get("TimeIncrementUnit", "s")))
    return steps


def _number(value: Any) -> float:
    """Read a number from metadata; 0 for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) else 0.0


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs as an error in place of raising."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage().splitlines()[0][:120])

    handler = Collect(logging.ERROR)
    log = logging.getLogger("tifffile")
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


# Names: results that may be written.

OTHER_FOLDER = ("choose another folder for the results", "ask to overwrite")
"""The ways out that a widget offers; see `check_free`."""


def check_free(
    results: Iterable[Path],
    inputs: Iterable[Path] = (),
    *,
    overwrite: bool = False,
    ways: Sequence[str] = OTHER_FOLDER,
) -> None:
    """Refuse to write over an input in any case, and over an earlier result unless asked to.

    Parameters
    ----------
    results : iterable of Path
        The files to be written.
    inputs : iterable of Path
        The files that were read.
    overwrite : bool
        Results that are there may be replaced.
    ways : sequence of str
        What the user can do, another place first.

    Raises
    ------
    InputError
        Naming the file in the way.
    """
    results, originals = list(results), {path.resolve() for path in inputs}
    for path in results:
        if path.resolve() in originals:
            raise InputError(f"{path} is an input and would be written over; {ways[0]}.")
    if not overwrite and (there := next((path for path in results if path.exists()), None)) is not None:
        raise InputError(f"{there} is there already; {', '.join(ways[:-1])}, or {ways[-1]}.")


def output_stems(paths: Sequence[Path]) -> list[str]:
    """Name the outputs of each input: by its stem, and by more of its path where stems clash.

    Inputs whose stems clash (letter case aside) get their ending (``x_png``, ``x_tif``), or else their folder
    (``a_x``, ``b_x``), or else both, whichever makes them differ first, or else a number (``x_2``).
    """
    spellings = (
        stem,
        lambda p: f"{stem(p)}_{p.suffix[1:]}",
        lambda p: f"{p.parent.name}_{stem(p)}",
        lambda p: f"{p.parent.name}_{stem(p)}_{p.suffix[1:]}",
    )
    names = [stem(p) for p in paths]
    for spelling in spellings[1:]:
        count = Counter(n.casefold() for n in names)
        trial = [spelling(p) if count[n.casefold()] > 1 else n for p, n in zip(paths, names, strict=True)]
        clashes = Counter(n.casefold() for n in trial)
        groups = {n.casefold() for n in names if count[n.casefold()] > 1}
        for group in groups:
            members = [i for i, n in enumerate(names) if n.casefold() == group]
            if all(clashes[trial[i].casefold()] == 1 for i in members):
                for i in members:
                    names[i] = trial[i]
    taken: set[str] = set()
    for i, name in enumerate(names):
        number = 1
        while names[i].casefold() in taken:
            number += 1
            names[i] = f"{name}_{number}"
        taken.add(names[i].casefold())
    return names


def result_path(folder: Path, name: str, kind: str, ome: bool = False) -> Path:
    """Give the file of a result: ``<folder>/<name>_<kind>.tif``, or ``.ome.tif``."""
    return folder / f"{name}_{kind}{'.ome.tif' if ome else '.tif'}"


def fingerprint(path: str | Path) -> dict[str, Any]:
    """Describe a file so that it can be recognised: its place, size and SHA-256."""
    path = Path(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": digest}
