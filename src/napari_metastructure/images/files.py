"""Image files: reading of all formats, listing, names of results."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from napari_metastructure.errors import InputError, listed
from napari_metastructure.images import formats, ome_zarr, pictures
from napari_metastructure.images.image import PIXEL, Image, Step, extent, note
from napari_metastructure.images.lazy import is_lazy
from napari_metastructure.images.read_options import name_axes, options
from napari_metastructure.images.tiff import read_tiff, set_of

# Endings by format; the content decides, a name that says otherwise is mentioned.
_SUFFIXES = {"TIFF": (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".stk"), **pictures.SUFFIXES}

_KNOWN = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes}

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_image(path: str | Path, numbers: bool = False, lazily: bool = False) -> Image:
    """Read an image file with its axes, voxel size and unit.

    Parameters
    ----------
    path : str or Path
        TIFF (plain, ImageJ, OME, BigTIFF), PNG, JPEG, JPEG 2000, BMP, GIF, WebP or PNM, told apart by their content,
        with a warning where the name's ending says otherwise; with the extra ``zarr`` also OME-Zarr, a folder, and
        with ``formats`` CZI, ND2 and LIF, by their endings.
    numbers : bool
        The numbers of a palette in place of its colours, as labels need them.
    lazily : bool
        Leave the pixels of a large OME-Zarr or TIFF in the file: ``data`` is then a `images.lazy.Source`, which
        `images.image.planes` and `channel_planes` take as well.

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
    if kind is None:
        raise InputError(f"{path} is no image file (TIFF, PNG, JPEG and the like); leave it out or convert it.")
    if kind in _SUFFIXES and kind != _KNOWN.get(path.suffix.lower()):
        note(f"{path.name} holds a {kind} image whatever its name says; read as {kind}.")
    steps: dict[str, Step] = {}
    try:
        if kind == "TIFF":
            data, axes, steps = read_tiff(path, numbers, lazily)
        elif kind in _SUFFIXES:
            data, axes = pictures.read_picture(path, numbers)
            axes, data = name_axes(axes, data, path)
        elif kind == ZARR:
            data, axes, steps = ome_zarr.read_ome_zarr(path, lazily)
        else:
            data, axes, steps = formats.read_format(path)
    except (InputError, MemoryError):
        raise
    except PermissionError as error:
        raise InputError(f"No permission to read {path}; change its permissions or copy it.") from error
    except Exception as error:  # readers raise OSError, ValueError, struct.error, KeyError, ... on broken files
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path} is damaged or cut short ({reason}); copy or export it again.") from error
    if 0 in data.shape:
        raise InputError(f"{path} has no pixels ({' x '.join(map(str, data.shape))}); copy or export it again.")
    if not is_lazy(data):
        data = data.astype(data.dtype.newbyteorder("="), copy=False)
    found = [steps.get(a, (1.0, PIXEL)) if a not in "CS" else (1.0, PIXEL) for a in axes]
    return Image(data, axes, tuple(s for s, _ in found), tuple(u for _, u in found), stem(path), path)


def stem(path: str | Path) -> str:
    """Name a file without its ending, both of them for ``.ome.tif``."""
    name = Path(path).stem
    return name[:-4] if name.lower().endswith(".ome") and len(name) > 4 else name


def list_images(paths: Iterable[str | Path], labels: bool = False) -> list[Path]:
    """List the image files that files and folders name, sorted, each once, and of a multi-file OME-TIFF one.

    Parameters
    ----------
    paths : iterable of str or Path
        Files, taken as they are, and folders, looked through without their subfolders. In a folder hidden
        files are passed over, and other files that hold no image are skipped with a warning; a file that
        claims to be an image by its ending stays listed, so that `read_image` says what is wrong with it.
    labels : bool
        Labels are wanted: of a folder the masks that lie beside their images, and not the images; else the other way
        round. Probabilities and the like are neither.

    Raises
    ------
    InputError
        For a path that is missing or may not be read, a file named here that holds no image, or a folder
        without any.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if os.path.isdir(path) and _named_kind(path) is None:
            files = _images_in(path, labels)
        elif _kind(path) is None:
            raise InputError(f"{path} is no image file (TIFF, PNG, JPEG and the like); leave it out or convert it.")
        else:
            files = [path]
        for file in files:
            first = found.setdefault(file.resolve(), file)
            if first.absolute() != file.absolute():
                note(f"{shown(file)} is the same file as {shown(first)}, which is read once.")
    if not found:
        raise InputError("No image was given; name at least one file or folder.")
    for file in found.values():
        _check_name(file)
    return _one_of_each_set(sorted(found.values()))


def _one_of_each_set(files: list[Path]) -> list[Path]:
    """Keep one file of each multi-file OME-TIFF, through which all of it is read: the first that finds the others."""
    sets: dict[str, list[tuple[int, Path]]] = {}
    for file in files if len(files) > 1 else []:
        if file.suffix.lower() in _SUFFIXES["TIFF"]:
            with suppress(Exception):  # `read_image` says what is wrong with it
                name, members = set_of(file)
                if name:
                    missing = sum(not member.exists() for member in members)
                    sets.setdefault(f"{file.resolve().parent} {name}", []).append((missing, file))
    for own in sets.values():
        _, first = min(own)
        for _, file in own:
            if file != first:
                files.remove(file)
                note(f"{shown(file)} is read together with {first.name}, of the same multi-file OME-TIFF.")
    return files


@contextmanager
def noting() -> Iterator[list[str]]:
    """Give a list that holds the warnings about files within the block as sentences, once the block has ended.

    Examples
    --------
    >>> from warnings import warn
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


def shown(path: Path) -> str:
    """Write a path in one line, whatever letters its name has: macOS ends one in a carriage return."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(path))


RESULTS = ("_mask", "_probability", "_epochs", "_density")
"""Endings of the stems of results, see `result_path`."""


RECORDS = ("batch.yaml", "batch.csv")
"""Of batches, beside their results."""


FIGURES = ("compare.png", "study.png")
"""Figures that commands draw beside their ``run.yaml``."""


def _check_name(path: Path) -> None:
    """Refuse a name in another encoding, which no record of a run can hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{shown(path)} has letters in its name that are no Unicode; rename the file.") from error


def _images_in(folder: Path, labels: bool) -> list[Path]:
    """List the images of a folder, or its labels, and name the other files."""
    try:
        files = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"Cannot look into the folder {folder} ({error.strerror}); check its permissions.") from error
    images: list[Path] = []
    within: list[Path] = []
    for file in files:
        if file.name in RECORDS:
            continue
        if file.is_dir():
            (images if _named_kind(file) else within).append(file)
        elif (why := _stray(file)) is not None:
            note(f"{shown(file)} {why} and was skipped.")
        else:
            images.append(file)
    if ours := results_among(images):
        masks = [file for file in ours if stem(file).endswith(RESULTS[0])]
        with_mask = {stem(file).removesuffix(RESULTS[0]) for file in masks}
        others = [file for file in images if file not in set(ours) and {stem(file), _longer(file)} & with_mask]
        left = others if labels else ours
        if labels and (twin := next(filter(_is_mask, left[:3]), None)):
            raise InputError(
                f"{twin} is a mask itself, but the file beside it is named as its mask; move one of the two to another "
                "folder."
            )
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            names = ", ".join(file.name for file in left[:3])
            one, many = ("an image", "images") if labels else ("a result", "results")
            what = f"is {one}" if len(left) == 1 else f"are {many}"
            note(f"{folder}: {names}{more} {what} beside {'a mask' if labels else 'an image'}, not read.")
        unread = {*left, *(set(ours) - set(masks))}
        images = [file for file in images if file not in unread]
    if deeper := [file.name for file in within if _holds_images(file)]:
        some = listed([*deeper[:3], f"{len(deeper) - 3} more"] if len(deeper) > 3 else deeper)
        note(f"{shown(folder)}: images in its folders are not read ({some}); name those folders to read them, too.")
    if not images:
        raise InputError(f"The folder {folder} holds no image; name a folder with TIFF, PNG or JPEG files.")
    return images


def _holds_images(folder: Path) -> bool:
    """Test whether a folder holds a file that is called as an image, and not as a result."""
    with suppress(OSError):
        return any(f.suffix.lower() in _KNOWN and not stem(f).endswith(RESULTS) for f in folder.iterdir())
    return False


def _is_mask(file: Path) -> bool:
    """Test whether a file that is named as the image of a mask has two values, as masks have."""
    with suppress(Exception), catch_warnings():  # its user is told by `read_image`
        simplefilter("ignore")
        data = read_image(file, numbers=True, lazily=True).data
        if not is_lazy(data):
            low, high = data.min(), data.max()
            return bool(low < high and ((data == low) | (data == high)).all())
    return False


def _longer(file: Path) -> str:
    """Name a file as its results are where stems clash."""
    return f"{stem(file)}_{file.suffix[1:]}"


def results_among(files: Sequence[Path]) -> list[Path]:
    """Find this tool's masks and the like whose image, or other results, lie beside them, and figures of a run."""
    stems = {stem(file) for file in files}
    beside = stems | set(map(_longer, files))
    found = []
    for file in files:
        base = next((stem(file).removesuffix(end) for end in RESULTS if stem(file).endswith(end)), None)
        if (file.name in FIGURES and file.with_name("run.yaml").exists()) or (
            base and (base in beside or {f"{base}_mask", f"{base}_probability"} <= stems)
        ):
            found.append(file)
    return found


def _stray(file: Path) -> str | None:
    """Say why a file of a folder is no image; None if it is one, or claims to be."""
    if not file.is_file():
        return "is no regular file"
    if file.suffix.lower() in _KNOWN or _named_kind(file):
        return None
    try:
        return "is no image" if _kind(file) is None else None
    except InputError:
        return "is no image, or cannot be read,"


ZARR = "OME-Zarr"


def _named_kind(path: Path) -> str | None:
    """Find a format that is known before the file is looked into; None for another one."""
    return ZARR if ome_zarr.is_zarr(path) else formats.kind_of(path)


def _kind(path: Path) -> str | None:
    """Find the format of a file by its first bytes; None for no image."""
    if (known := _named_kind(path)) is not None and os.path.exists(path):
        return known
    try:
        if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):  # reading a pipe waits for ever
            raise InputError(f"{path} is a pipe or a device; save the image as a file and name that.")
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
    try:
        # Too broken for Pillow to name, but it starts like one: a damaged image, and read_image says so.
        started = (name for name, magic in pictures.MAGIC.items() if head.startswith(magic))
        return pictures.kind_of(path) or next(started, None)
    except Exception:
        return _KNOWN.get(path.suffix.lower())


def plane_shape(path: Path, numbers: bool = False) -> tuple[int, ...]:
    """Find the size along T, Z, Y and X of what `read_image` reads; of pictures of one frame from its head alone."""
    if options.axes is None and _kind(path) in pictures.SUFFIXES:
        with suppress(Exception), pictures.opened(path) as picture:  # reading it below says what is wrong
            if getattr(picture, "n_frames", 1) == 1:
                return picture.size[::-1]
    return extent(read_image(path, numbers, lazily=True))


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
    results, originals = list(results), set(map(os.path.realpath, inputs))  # which loops of links do not stop
    for path in results:
        if os.path.realpath(path) in originals:
            raise InputError(f"{path} is an input and would be written over; {ways[0]}.")
    if not overwrite and (there := next((path for path in results if os.path.exists(path)), None)) is not None:
        raise InputError(f"{there} is there already; {', '.join(ways[:-1])}, or {ways[-1]}.")


_FILES = {
    *_KNOWN, ".zarr", ".csv", ".json", ".yaml", ".yml", ".txt", ".mp4", ".pdf", ".svg", ".onnx", ".zip", ".pt",
    ".safetensors",
}  # fmt: skip
"""Endings of names that are meant for a file, or for an image that is a folder."""


def check_folder_name(folder: Path, called: str) -> None:
    """Refuse to make a folder of results that is called as a file is, or to write into an image.

    Parameters
    ----------
    folder : Path
    called : str
        What the user knows it as, such as an option.

    Raises
    ------
    InputError
    """
    if (inside := next(filter(ome_zarr.is_zarr, folder.absolute().parents), None)) is not None:
        raise InputError(f"{called} {folder}: it lies in {inside}, which is an image; choose another folder.")
    if _named_kind(folder) or (folder.suffix.lower() in _FILES and not folder.is_dir()):
        raise InputError(f"{called} {folder}: this names the folder of the results, not a file; leave its ending out.")


def output_stems(paths: Sequence[Path]) -> list[str]:
    """Name the outputs of each input: by its stem, and by more of its path where stems clash.

    Inputs whose stems clash (letter case aside) get their ending (``x_png``, ``x_tif``), or else their folder
    (``a_x``, ``b_x``), or else both, whichever makes them differ first, or else a number (``x_2``). Names too long to
    add an ending to are cut. A warning says what each input becomes that has no name of its own.
    """
    spellings = (
        stem,
        _longer,
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
    names = [cut(name) for name in names]
    same = Counter(stem(path).casefold() for path in paths)
    for path, name in zip(paths, names, strict=True):
        if name != stem(path) or same[name.casefold()] > 1:
            note(f"The results of {shown(path)} are called {name}.")
    return names


_LONGEST = 255 - len("_probability.ome.zarr")
"""Bytes of a stem that leave room for `result_path`."""


def cut(name: str) -> str:
    """Shorten a name that no ending can be added to, and tell it by a checksum from others with the same start."""
    code = os.fsencode(name)
    if len(code) <= _LONGEST:
        return name
    mark = hashlib.sha256(code).hexdigest()[:8]
    return f"{code[: _LONGEST - len(mark) - 1].decode(errors='ignore')}-{mark}"


def result_path(folder: Path, name: str, kind: str, ome: bool = False, zarr: bool = False) -> Path:
    """Give the file of a result: ``<folder>/<name>_<kind>.tif``, or ``.ome.tif`` or ``.ome.zarr``."""
    return folder / f"{name}_{kind}{'.ome' * (ome or zarr)}{'.zarr' if zarr else '.tif'}"


def fingerprint(path: str | Path) -> dict[str, Any]:
    """Describe a file, or a folder that is an image, so that it can be recognised: its place, size and SHA-256."""
    path = Path(path)
    facts: dict[str, Any] = {"path": str(path.resolve()), "bytes": 0, "sha256": ""}
    whole = hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        whole.update(f"{part.relative_to(path)} {digest.hexdigest()}\n".encode(errors="surrogateescape"))
        facts["bytes"] += part.stat().st_size
    return {**facts, "sha256": whole.hexdigest() if path.is_dir() else digest.hexdigest()}
