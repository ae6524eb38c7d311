"""OME-Zarr folders (NGFF 0.4 and 0.5): read where they are asked for, and written with axes, scale and pyramid."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError, counted, listed, span
from napari_metastructure.images import lazy
from napari_metastructure.images.image import PIXEL, Image, Step, check_memory, is_time, known_steps, note
from napari_metastructure.images.read_options import name_axes, options
from napari_metastructure.images.writing import replacing_folder

CHUNK = 512
"""Pixels along a side of the chunks that are written."""

_SIGNS = ("zarr.json", ".zgroup", ".zarray")

_KINDS = {"t": "T", "c": "C", "z": "Z", "y": "Y", "x": "X"}


def is_zarr(path: Path) -> bool:
    """Test whether a folder is a Zarr, by its name or by what lies in it."""
    return path.is_dir() and (path.suffix.lower() == ".zarr" or any(os.path.isfile(path / sign) for sign in _SIGNS))


def read_ome_zarr(path: Path, lazily: bool) -> tuple[Any, str, dict[str, Step]]:
    """Read full-resolution pixels, axes, and the steps along the axes that the metadata give.

    Parameters
    ----------
    path : Path
        Of an image, or of one inside another Zarr: a field of a plate, a label image.
    lazily : bool
        Return a `images.lazy.Source` where the pixels take more than `images.lazy.LARGE_BYTES`.

    Raises
    ------
    InputError
        For what is no image, and where zarr is not installed.
    """
    image = _Multiscale(path, _picked(path, _images(path)))
    source = image.source()
    large = lazily and source.nbytes > lazy.LARGE_BYTES
    if not large:
        check_memory(path, source.nbytes)
    data: Any = source if large else np.asarray(source)
    kept = [i for i, (letter, n) in enumerate(zip(image.axes, data.shape, strict=True)) if letter in "YX" or n > 1]
    data = data.reshape([data.shape[i] for i in kept])
    letters, data = name_axes("".join(image.axes[i] for i in kept), data, path)
    return data, letters, image.steps


def levels(path: Path) -> list[lazy.Source]:
    """Return all resolutions of an image, the finest first, as `read_ome_zarr` reads that one (axes as stored).

    Raises
    ------
    InputError
        As `read_ome_zarr`.
    """
    image = _Multiscale(path, _images(path)[0])
    return [image.source(level) for level in range(len(image.paths))]


def scale_of(path: Path) -> tuple[str, list[float], list[str]]:
    """Return axes as stored, and the step along each with its unit; one pixel where the metadata say nothing."""
    image = _Multiscale(path, _images(path)[0])
    free = [letter for letter in "ZTC" if letter not in image.axes]
    axes = "".join(free.pop(0) if letter == "Q" and free else letter for letter in image.axes)
    steps = [image.steps.get(letter, (1.0, PIXEL)) for letter in image.axes]
    return axes, [size for size, _ in steps], [unit for _, unit in steps]


def is_label(path: Path) -> bool:
    """Test whether an image says that it holds labels."""
    return "image-label" in _attributes(_images(path)[0])


def _zarr(path: Path) -> Any:
    """Return the library."""
    try:
        import zarr
    except ImportError as error:
        raise InputError(
            f'{path} is a Zarr, which needs one more library: pip install "napari-metastructure[zarr]", or export it '
            "as OME-TIFF."
        ) from error
    return zarr


def _images(path: Path) -> list[Any]:
    """Find the images of a Zarr: groups with multiscales, or a bare array.

    Raises
    ------
    InputError
        For what is none; it says what it is.
    """
    zarr = _zarr(path)
    try:
        opened = zarr.open(str(path), mode="r")
    except Exception as error:
        if not any((path / sign).exists() for sign in _SIGNS):
            raise InputError(f"{path} is a folder named as a Zarr that holds none; copy or export it again.") from error
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path} is damaged ({reason}); copy or export it again.") from error
    if isinstance(opened, zarr.Array):
        return [opened]
    facts = _attributes(opened)
    if facts.get("multiscales"):
        return [opened]
    if "plate" in facts or "well" in facts:
        kind, field = ("plate", "A/1/0") if "plate" in facts else ("well of a plate", "0")
        raise InputError(f"{path} is a {kind}, of many images; name one of its fields, as {path.name}/{field}.")
    children = [child for _, child in sorted(opened.groups())]
    numbered = [c for c in children if c.basename.isdecimal() and _attributes(c).get("multiscales")]
    if numbered:  # as bioformats2raw writes several images
        return sorted(numbered, key=lambda c: int(c.basename))
    if isinstance(labels := facts.get("labels"), list) and labels:
        names = listed(list(map(str, labels))[:5])
        raise InputError(f"{path} is a folder of label images ({names}); name one of them, as {path}/{labels[0]}.")
    raise InputError(f"{path} is a Zarr, but no image: it has no multiscales; name an OME-Zarr image.")


def _picked(path: Path, images: Sequence[Any]) -> Any:
    """Choose among several images, and say so."""
    count = len(images)
    if options.series is not None:
        if options.series >= count:
            raise InputError(
                f"--series {options.series}: {path} holds {counted(count, 'image')}; choose {span(0, count - 1)}."
            )
        return images[options.series]
    if count > 1:
        note(f"{path.name} holds {count} images: the first is read (metastructure --series 0 to {count - 1} chooses).")
    return images[0]


def _attributes(node: Any) -> Mapping[str, Any]:
    """Return the metadata of NGFF: under ``ome`` from 0.5 on."""
    facts = dict(node.attrs)
    own = facts.get("ome")
    return own if isinstance(own, dict) else facts


class _Multiscale:
    """One image: its resolutions, axes and steps."""

    def __init__(self, path: Path, node: Any) -> None:
        self.path, self.node, self.steps = path, node, dict[str, Step]()
        if not hasattr(node, "create_group"):  # a bare array
            self.name, self.paths = path.name, [""]
            self.array = node
            self.axes = "Q" * (node.ndim - 2) + "YX"
            return
        self.name = node.basename or path.name
        entries = _attributes(node)["multiscales"]
        try:
            facts = entries[0]
            if len(entries) > 1:
                note(f"{path.name} holds {len(entries)} multiscales; the first is read.")
            self.paths = [str(level["path"]) for level in facts["datasets"]]
            self.array = node[self.paths[0]]
            axes = facts.get("axes", "tczyx"[-self.array.ndim :])
            named = [a if isinstance(a, dict) else {"name": str(a)} for a in axes]
            self.axes = "".join(_KINDS.get(str(a.get("name", "")).lower()[:1], "Q") for a in named)
            if len(self.axes) != self.array.ndim or len(set(self.axes) - {"Q"}) != len(self.axes.replace("Q", "")):
                raise ValueError(f"axes {self.axes} for an array of {self.array.ndim}")
            self._find_steps(facts, named)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: its metadata (multiscales) do not describe what it holds ({str(error)[:120]}); export it "
                "again."
            ) from error

    def _find_steps(self, facts: Mapping[str, Any], named: Sequence[Mapping[str, Any]]) -> None:
        """Multiply the scales of the first resolution and of all of them."""
        scale = np.ones(self.array.ndim)
        for level in (facts["datasets"][0], facts):
            for change in level.get("coordinateTransformations") or ():
                if change.get("type") == "scale" and "scale" in change:
                    scale = scale * np.asarray(change["scale"], float)
        found = zip(self.axes, named, scale, strict=True)
        units = {letter: (size, axis["unit"]) for letter, axis, size in found if letter in "TZYX" and axis.get("unit")}
        self.steps = known_steps(units, self.path)

    def source(self, level: int = 0) -> lazy.Source:
        """Return the pixels of a resolution, and say what chunks it lacks."""
        array = self.array if level == 0 else self.node[self.paths[level]]
        if array.ndim < 2 or 0 in array.shape:
            raise InputError(f"{self.path} is no image: its size is {array.shape}; name one with pixels along Y and X.")
        if array.dtype.kind not in "buifc":
            raise InputError(f"{self.path}: its pixels are of type {array.dtype}; give an image of numbers.")
        folder = Path(str(array.store_path.store.root), array.store_path.path)
        there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name[:1] != "."}
        grid = array.shards or array.chunks
        whole = math.prod(-(-n // c) for n, c in zip(array.shape, grid, strict=True))
        missing = whole - len(there - {"zarr.json"})
        if missing > 0 and level == 0:
            note(f"{self.path.name}: {missing} of its {whole} chunks are not there and are read as {array.fill_value}.")

        def read(slices: tuple[slice, ...]) -> np.ndarray:
            found = np.asarray(array[slices])
            # A chunk that is not there is no error to zarr: it may be one that was never written.
            reach = [range(s.start // c, -(-s.stop // c)) for s, c in zip(slices, grid, strict=True)]
            for at in np.ndindex(*map(len, reach)):
                key = array.metadata.encode_chunk_key(tuple(r[i] for r, i in zip(reach, at, strict=True)))
                if key in there and not (folder / key).exists():
                    raise lazy.gone(self.path)
            return found

        return lazy.Source(self.path, array.shape, array.dtype, read)


# ---- Writing ------------------------------------------------------------------------------------------------------


class ZarrRows:
    """An OME-Zarr that is being written from top to bottom; see `writing_zarr`."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._waiting: list[np.ndarray] = []
        self._at: tuple[int, ...] = ()
        self._first = 0

    def put(self, at: tuple[int, ...], first: int, rows: np.ndarray) -> None:
        """Write rows of the plane at a place along the leading axes; those of a plane come in order."""
        if first == 0:
            self._at, self._first = at, 0
        self._waiting.append(np.array(rows))
        height = self._array.shape[-2]
        while (ready := sum(map(len, self._waiting))) >= CHUNK or (ready and self._first + ready == height):
            block = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
            whole = block[:CHUNK]
            self._array[(*self._at, slice(self._first, self._first + len(whole)), slice(None))] = whole
            self._waiting = [block[CHUNK:]] if len(block) > CHUNK else []
            self._first += len(whole)


@contextmanager
def writing_zarr(path: Path, like: Image, dtype: Any, labels: bool) -> Iterator[ZarrRows]:
    """Give what takes the rows of an OME-Zarr 0.5; it is there, with its pyramid, if the block ends well.

    Parameters
    ----------
    path : Path
        A folder; what was there before stays until the new one is whole.
    like : Image
        Gives shape, axes, scale and units; C and S have no counterpart in the result.
    dtype : numpy.dtype
    labels : bool
        Smaller resolutions take every second pixel, not means, and readers are told that it holds labels.

    Raises
    ------
    InputError
        Where the folder cannot be written to, or the disk is full.
    """
    zarr = _zarr(path)
    axes = "".join(a for a in "TZYX" if a in like.axes)
    where = [like.axes.index(a) for a in axes]
    shape = tuple(like.data.shape[i] for i in where)
    with replacing_folder(path) as beside:
        group = zarr.create_group(str(beside), zarr_format=3)
        array = _level(group, 0, shape, dtype)
        yield ZarrRows(array)
        count = 1
        while max(array.shape[-2:]) > CHUNK:
            array = _halved(group, count, array, labels)
            count += 1
        steps = [(like.scale[i], like.units[i]) for i in where]
        group.attrs["ome"] = _description(path, axes, steps, count, labels)


def _level(group: Any, number: int, shape: tuple[int, ...], dtype: Any) -> Any:
    chunks = (*[1] * (len(shape) - 2), *(min(CHUNK, n) for n in shape[-2:]))
    # Zarr leaves out chunks of zeros, and a reader cannot tell them from those that were lost.
    whole = {"write_empty_chunks": True}
    return group.create_array(str(number), shape=shape, chunks=chunks, dtype=np.dtype(dtype), config=whole)


def _halved(group: Any, number: int, array: Any, labels: bool) -> Any:
    """Write the next smaller resolution, some rows at a time."""
    height, width = (-(-n // 2) for n in array.shape[-2:])
    smaller = _level(group, number, (*array.shape[:-2], height, width), array.dtype)
    for at in np.ndindex(*array.shape[:-2]):
        for first in range(0, height, CHUNK):
            rows = array[(*at, slice(2 * first, 2 * (first + CHUNK)), slice(None))]
            if labels:
                block = rows[::2, ::2]
            else:
                even = np.pad(rows, [(0, n % 2) for n in rows.shape], mode="edge")
                block = even.reshape(len(even) // 2, 2, -1, 2).mean(axis=(1, 3), dtype=np.float32)
            smaller[(*at, slice(first, first + len(block)), slice(None))] = block.astype(array.dtype)
    return smaller


def _description(path: Path, axes: str, steps: Sequence[tuple[float, str]], count: int, labels: bool) -> dict[str, Any]:
    """Make the metadata of NGFF 0.5."""
    named: list[dict[str, str]] = []
    for letter, (_, unit) in zip(axes, steps, strict=True):
        kind = "time" if letter == "T" else "space"
        fits = unit != PIXEL and is_time(unit) == (letter == "T")
        named.append({"name": letter.lower(), "type": kind} | ({"unit": unit} if fits else {}))
    datasets = []
    for level in range(count):
        scale = [size * (2**level if a in "YX" else 1) for a, (size, _) in zip(axes, steps, strict=True)]
        # The middle of a pixel that stands for several lies between theirs.
        shift = [
            0.0 if a not in "YX" or labels else size * (2**level - 1) / 2
            for a, (size, _) in zip(axes, steps, strict=True)
        ]
        changes: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(shift):
            changes.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": changes})
    multiscales = {"name": path.name.removesuffix(".zarr").removesuffix(".ome"), "axes": named, "datasets": datasets}
    return {"version": "0.5", "multiscales": [multiscales]} | ({"image-label": {}} if labels else {})
