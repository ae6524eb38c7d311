"""TIFF files: pixels as they are shown, axes, and the size of a step along each, from the tags of many programs."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np

from napari_metastructure.errors import InputError, listed
from napari_metastructure.images import lazy
from napari_metastructure.images.image import Step, check_memory, known_steps, note
from napari_metastructure.images.lazy import Source
from napari_metastructure.images.read_options import name_axes, options, pick_series, spare_letter

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries


def read_tiff(path: Path, numbers: bool = False, lazily: bool = False) -> tuple[Any, str, dict[str, Step]]:
    """Read pixels, axes, and the steps along the axes that the file gives (the others are one pixel).

    Page axes without a name are taken for Z, as Fiji takes a plain stack for slices, for T and Z, or T, Z and C.

    Parameters
    ----------
    path : Path
    numbers : bool
        The numbers of a palette in place of its colours, and pages in place of colours kept in separate planes:
        for labels.
    lazily : bool
        Leave the pixels of a large image in the file where they need no change; see `_left_in_file`.

    Raises
    ------
    InputError
        If the file is damaged, cut short, or of a kind that cannot be read.
    """
    with _complaints() as complaints, _opened(path) as tif:
        if (owner := _described_in(tif, path)) is not None:
            if _is_there(owner, path):
                return read_tiff(owner, numbers, lazily)
            note(f"{path.name} is described in {owner.name}, which is not read: it is read by itself, without a scale.")
        # Transparency masks (4) and smaller copies belong to another image.
        shown = [i for i, s in enumerate(tif.series) if s.keyframe.photometric != 4 and not s.keyframe.is_reduced]
        shown = shown or list(range(len(tif.series)))
        if not shown:
            raise InputError(f"{path} holds no image; export it again as TIFF.")
        every = [tif.series[i] for i in shown]
        picked = pick_series([s.shape for s in every], [s.axes for s in every], path)
        source = _left_in_file(path, tif, every[picked[0]]) if lazily and len(picked) == 1 else None
        if source is None:
            check_memory(path, sum(every[i].nbytes for i in picked))
        found = [_pixels(path, tif, every[i], numbers, source) for i in picked]
        axes, data = found[0]
        if len(found) > 1:
            axes, data = f"{spare_letter(axes) or ''}{axes}", np.stack([pixels for _, pixels in found])
            if len(axes) < data.ndim:
                raise InputError(f"{path} holds {len(found)} images of axes {axes}; choose one with --series as well.")
        steps = _steps(tif, shown[picked[0]], path)
        if any(_steps(tif, shown[i], path) != steps for i in picked[1:]):
            note(f"{path.name}: its images have other pixel sizes each, so it is read without a scale (see --series).")
            steps = {}
        _tell_set(tif, path)
        if every[picked[0]].keyframe.tags.valueof(274, 1) > 1:
            note(turned(path))
        several = len(tif.pages) > 1
        as_described = not (tif.is_ome and several and every[picked[0]].kind != "ome")
    if damage := [words for words in complaints if _is_damage(words, several)]:
        raise InputError(f"{path} is damaged or cut short ({damage[0]}); copy or export it again.")
    if not as_described or any(_NO_FIT in words for words in complaints):
        note(_described_otherwise(path, len(data)))
    return data, axes, steps


class Grid(NamedTuple):
    """Axes of a TIFF, their lengths, and the steps along those whose steps it gives."""

    axes: str
    shape: tuple[int, ...]
    steps: dict[str, Step]


def read_grid(path: Path) -> Grid | None:
    """Read axes and steps of a TIFF's first image, not its pixels; None where that cannot be."""
    try:
        with _complaints(), catch_warnings(), _opened(path) as tif:
            simplefilter("ignore")  # who opened the file has its pixels, and was told
            return Grid(tif.series[0].axes, tif.series[0].shape, _steps(tif, 0, path))
    except Exception:
        return None


def _described_otherwise(path: Path, count: int) -> str:
    return f"{path.name} describes another number of planes than the {count} it holds; they are read as slices."


def _opened(path: Path) -> TiffFile:
    """Open a TIFF; without its description where tifffile cannot follow that, as where the file was renamed."""
    import tifffile

    tif = tifffile.TiffFile(path)
    try:
        if not tif.is_ome and _OME_XML.match(tif.pages.first.description):  # which does not end as tifffile looks for
            tif.close()
            tif = tifffile.TiffFile(path, is_ome=True)
        found = sum(len(series.pages) for series in tif.series)
        if tif.is_ome or not (tif.is_shaped or tif.is_imagej) or found >= len(tif.pages):
            return tif
        why = _described_otherwise(path, len(tif.pages))
    except Exception:  # KeyError, TypeError, ValueError, ...
        what = "OME-XML fits no file here" if tif.is_ome else "description cannot be made sense of"
        why = f"{path.name}: its {what}, so it is read by itself, without axes and scale."
    tif.close()
    tif = tifffile.TiffFile(path, is_ome=False, is_imagej=False, is_shaped=False)
    try:
        if tif.series:
            note(why)
    except Exception:  # then it is the file that is damaged
        tif.close()
        raise
    del tif.is_imagej  # pages are found without it; table and scale, of `_described_otherwise`, are its own
    return tif


_OME_XML = re.compile(r"\s*(<[?!][^>]*>\s*)*<(\w+:)?OME[\s>]")
"""Start of a description that is OME-XML."""


def turned(path: Path) -> str:
    """Say that a picture is marked to be shown turned."""
    return f"{path.name} is marked to be shown turned or mirrored; it is read as stored, as Fiji and napari open it."


# Damage: tifffile logs what it could not make sense of, and goes on with the rest.


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


_NEEDED = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339}
"""Tags without which pixels are read wrongly: sizes, types, compression, places of strips and tiles."""


_NO_FIT = "ImageJ series metadata"
"""Logged where ImageJ's description speaks of more planes than there are."""


def _is_damage(complaint: str, several: bool) -> bool:
    """Tell a broken chain of pages or missing strips from a tag that only its program knows.

    ``several``: the file has several pages, so that ImageJ's description does not stand for all of them.
    """
    if _NO_FIT in complaint:
        return not several
    if "<TiffTag.fromfile>" in complaint or "tifffile.TiffTag" in complaint:
        tag = re.search(r"TiffTag (\d+)", complaint)
        return tag is None or int(tag[1]) in _NEEDED
    if counts := re.search(r"count \((\d+) != (\d+)\)", complaint):  # more strips than there are rows
        return int(counts[1]) < int(counts[2])
    return not re.search(r"(OME|Philips|Indica) series raised|shaped series|missing ByteCounts", complaint)


def _check_whole(path: Path, tif: TiffFile, series: TiffPageSeries) -> None:
    """Refuse a file that ends before its pixels do: some readers fill the rest with zeros."""
    pages = [page for page in series.pages if page is not None]
    ends = {id(tif): (series.dataoffset or 0) + series.nbytes if series.dataoffset is not None else 0}
    files = {id(tif): tif}
    empty = total = 0
    for page in pages:
        owner = page.parent  # a set of OME-TIFFs: another file than this one
        files[id(owner)] = owner
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        ends[id(owner)] = max([ends.get(id(owner), 0), *(o + n for o, n in places)])
        empty, total = empty + sum(n == 0 for _, n in places), total + len(places)
    for key, owner in files.items():
        if ends[key] > (size := owner.filehandle.size):
            name = path if owner is tif else path.with_name(owner.filename)
            raise InputError(
                f"{name} is cut short: it should hold {ends[key]} bytes and has {size}; copy or export it again."
            )
    if empty:
        note(f"{path.name}: {empty} of its {total} strips or tiles are empty and are read as 0.")
    if len(pages) < len(series.pages) and series.kind != "ome":
        raise InputError(f"{path} lacks {len(series.pages) - len(pages)} of its planes; copy or export it again.")


# Sets of OME-TIFFs: each file names all others.


def set_of(path: Path) -> tuple[str, list[Path]]:
    """Name the OME-TIFF set that a file belongs to, and list its files, sorted.

    Files that are named but are not there are listed as well; of a file that belongs to no set the name is empty.
    """
    import tifffile

    with _complaints(), tifffile.TiffFile(path) as tif:
        if (owner := _described_in(tif, path)) is not None:
            return set_of(owner) if _is_there(owner, path) else ("", [path])
        files = _set_of(tif, path)
        ids = sorted(set(re.findall(r"<UUID[^>]*>([^<]*)<", tif.ome_metadata or ""))) if len(files) > 1 else []
        return " ".join(ids), files


def _described_in(tif: TiffFile, path: Path) -> Path | None:
    """Find the file that holds the OME-XML of a file that only names it; None for a file with its own, or none."""
    found = re.search(r"<BinaryOnly[^>]*\sMetadataFile=[\"']([^\"']+)", tif.ome_metadata or "")
    return path.with_name(html.unescape(found[1])) if found else None


def _is_there(owner: Path, path: Path) -> bool:
    """Test whether the file that describes another is a TIFF and was copied along."""
    return owner.suffix.lower() in (".tif", ".tiff", ".btf") and owner != path and owner.exists()


def _set_of(tif: TiffFile, path: Path) -> list[Path]:
    text = tif.ome_metadata or ""
    own = re.search(r"<OME[^>]*\sUUID=[\"']([^\"']+)", text)
    named = re.findall(r"<UUID[^>]*\sFileName=[\"']([^\"']+)[\"'][^>]*>([^<]*)<", text)
    names = {html.unescape(name) for name, uuid in named if own is None or uuid.strip() != own[1]}
    if own is None and path.name not in names:  # renamed: its own name is among them, but which
        names = {name for name in names if path.with_name(name).exists()}
    return sorted({path, *(path.with_name(name) for name in names)})


def _tell_set(tif: TiffFile, path: Path) -> None:
    """Say that pixels come from other files as well, which of them are missing, and which pages nothing describes."""
    own = [page for s in tif.series for level in s.levels for page in level.pages if page is not None]
    here = sum(page.parent is tif for page in own)
    if tif.is_ome and 0 < here < len(tif.pages):
        note(f"{path.name} holds {len(tif.pages) - here} more pages than its OME-XML describes, which are left out.")
    files = _set_of(tif, path) if tif.is_ome else [path]
    if absent := [file.name for file in files if not file.exists()]:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        note(
            f"{path.name} is one of {len(files)} files of an OME-TIFF, of which {', '.join(absent[:3])}{more} "
            f"{'is' if len(absent) == 1 else 'are'} missing; what is there is read."
        )
    elif len(files) > 1:
        note(f"{path.name} is one of {len(files)} files of an OME-TIFF; all of them are read as one.")


def _present(series: TiffPageSeries, data: np.ndarray, path: Path) -> np.ndarray:
    """Leave out frames, slices or channels none of whose planes is there, and say so; others stay black."""
    there = np.array([page is not None for page in series.pages])
    if there.all():
        return data
    lead = next((k for k in range(data.ndim) if np.prod(data.shape[:k], dtype=int) == len(there)), None)
    if lead is None:
        raise InputError(f"{path} lacks {np.count_nonzero(~there)} of its planes; copy or export it again.")
    there = there.reshape(data.shape[:lead])
    kept = [np.flatnonzero(there.any(axis=tuple(j for j in range(lead) if j != i))) for i in range(lead)]
    gone = [
        f"{axis} = {listed(sorted(set(range(size)) - set(own)))}"
        for axis, size, own in zip(series.axes, data.shape, kept, strict=False)
        if len(own) < size
    ]
    black = int(np.count_nonzero(~there[np.ix_(*kept)]))
    words = [f"{', '.join(gone)} left out"] if gone else []
    words += [f"{black} black"] if black else []
    note(
        f"{path.name} lacks {np.count_nonzero(~there)} of the {there.size} planes it describes: {' and '.join(words)}."
    )
    return data[np.ix_(*kept)]


# Pixels: what the numbers of a page mean, by its photometric interpretation and its samples.


def _left_in_file(path: Path, tif: TiffFile, series: TiffPageSeries) -> Source | None:
    """Return what reads windows of a large series: pixels as they are, grey or RGB, of one file; None for others.

    Those that lie side by side, uncompressed, are mapped into memory for each window; tiles and strips are decoded one
    by one where zarr is installed, through which tifffile finds them.
    """
    page = series.keyframe
    plain = page.photometric in (1, 2) and page.planarconfig == 1 and not page.extrasamples
    here = all(p is not None and p.parent is tif for p in series.pages)
    if series.nbytes <= lazy.LARGE_BYTES or not (plain and here) or len(series.axes) != len(series.shape):
        return None
    offset = series.dataoffset
    if offset is not None and page.is_memmappable:
        dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)

        def window(slices: tuple[slice, ...]) -> np.ndarray:
            return np.array(np.memmap(path, dtype, "r", offset, series.shape)[slices])

        return Source(path, series.shape, series.dtype, window)
    try:
        import zarr
    except ImportError:
        note(f'{path.name} is read whole; with pip install "napari-metastructure[zarr]" parts of it are.')
        return None
    import tifffile

    opened = tifffile.TiffFile(path)
    array: Any = zarr.open(opened.series[tif.series.index(series)].aszarr(level=0), mode="r")
    if tuple(array.shape) != tuple(series.shape):
        return None
    return Source(path, array.shape, array.dtype, lambda slices: np.asarray(array[slices]))


def _pixels(
    path: Path, tif: TiffFile, series: TiffPageSeries, numbers: bool, source: Source | None = None
) -> tuple[str, Any]:
    """Read a series as it is shown: axes and pixels, objects as bright as the file says."""
    _check_whole(path, tif, series)
    if source is not None:
        return name_axes(series.axes, source, path)
    try:
        data = np.asarray(series.asarray())
    except (ValueError, NotImplementedError) as error:
        if re.search("imagecodecs|COMPRESSION|not supported|NotImplemented", f"{error!r}"):
            reason = str(error).splitlines()[0][-120:]  # tifffile may name many numbers first
            raise InputError(f"{path} is stored in a way that cannot be read ({reason}); save it without.") from error
        raise
    data = _present(series, data, path)
    page, axes = series.keyframe, series.axes
    if len(axes) != data.ndim:  # tifffile took the pages for what they are
        axes = "Q" * (data.ndim - len(page.axes)) + page.axes
        note(_described_otherwise(path, len(data)))
    planar = page.planarconfig == 2 and "S" in series.axes
    as_pages = planar and numbers and page.photometric == 2
    axes, data = name_axes(axes.replace("S", "Q") if as_pages else axes, data, path)
    if planar and not as_pages and options.axes is None and page.photometric == 2 and _plain(page):
        note(
            f"{path.name} keeps {data.shape[axes.index('S')]} planes as colours, and is read as a colour image; where "
            "they are slices, metastructure --axes ZYX reads them so."
        )
    if "S" in axes:
        axes, data = _samples(page, axes, data, path)
    elif page.photometric == 3 and not numbers:
        axes, data = _through_palette(tif, page, axes, data)
    elif page.photometric == 0:
        data = _min_is_white(tif, page, data, path)
    elif page.photometric == 32803:
        note(f"{path.name} holds the raw mosaic of a colour camera; it is read as grey.")
    return axes, data


def _plain(page: TiffPage) -> bool:
    """Test whether nothing but the number of planes says that they are colours."""
    return bool(page.is_shaped and '"axes"' not in page.description) or not page.description


def _samples(page: TiffPage, axes: str, data: np.ndarray, path: Path) -> tuple[str, np.ndarray]:
    """Turn samples into colours if they are, else into channels."""
    data, axes = np.moveaxis(data, axes.index("S"), -1), axes.replace("S", "") + "S"
    count, alphas = data.shape[-1], [int(e) in (1, 2) for e in page.extrasamples]
    colours = 4 if page.photometric == 5 else 3
    is_colour = page.photometric in (2, 5, 6, 8, 9, 34892) and count >= colours
    if page.photometric == 5 and page.tags.valueof(332, 1) != 1:  # inks other than CMYK
        is_colour = False
    if not is_colour:
        if count == 2 and alphas == [True]:
            return axes[:-1], data[..., 0]
        return _as_channels(axes, data)
    extra = count - colours
    if extra and not (extra == 1 and alphas == [True]):
        what = f"{extra} more samples a pixel than colours, which are left out"
        if extra == 1 and page.photometric == 2:
            what = "a fourth sample a pixel without saying what it is; it is read as alpha"
        letters = axes[:-1] + "C" if page.planarconfig == 1 else axes[:-3] + "CYX"
        note(f"{path.name} has {what} (metastructure --axes {letters} reads all as channels).")
    first, rest = data[..., :colours], data[..., colours : colours + 1]
    if page.photometric == 5:
        return axes, _from_cmyk(first)
    if page.photometric == 6 and page.compression not in (6, 7, 33003, 33004, 33005, 33007, 34712):  # JPEG converts
        return axes, _from_ycbcr(page, first)
    if page.photometric in (8, 9):
        return axes, _from_lab(first, icc=page.photometric == 9)
    return axes, np.concatenate([first, rest], axis=-1) if extra else data


def _as_channels(axes: str, data: np.ndarray) -> tuple[str, np.ndarray]:
    """Put samples, the last axis, in front of Y and X as C, together with a C that is there."""
    axes, at = axes[:-1], axes.index("Y")
    if "C" not in axes:
        return f"{axes[:at]}C{axes[at:]}", np.moveaxis(data, -1, at)
    at = axes.index("C") + 1
    data = np.moveaxis(data, -1, at)
    return axes, data.reshape(*data.shape[: at - 1], -1, *data.shape[at + 1 :])


def _top(data: np.ndarray) -> float:
    return float(np.iinfo(data.dtype).max) if data.dtype.kind in "ui" else 1.0


def _from_cmyk(data: np.ndarray) -> np.ndarray:
    """Mix inks as screens show them: RGB = (1 - CMY)(1 - K)."""
    top = _top(data)
    ink = data.astype(np.float64) / top
    rgb = (1 - ink[..., :3]) * (1 - ink[..., 3:4])
    return (np.rint(rgb * top) if data.dtype.kind in "ui" else rgb).astype(data.dtype)


def _from_ycbcr(page: TiffPage, data: np.ndarray) -> np.ndarray:
    """Turn luma and chroma into RGB, by the coefficients of the file (ITU-R BT.601 if it gives none)."""
    given = page.tags.valueof(529) or (299, 1000, 587, 1000, 114, 1000)
    red, green, blue = (given[i] / given[i + 1] for i in (0, 2, 4))
    middle = (_top(data) + 1) / 2
    luma, cb, cr = (data[..., i].astype(np.float64) for i in range(3))
    r = luma + (2 - 2 * red) * (cr - middle)
    b = luma + (2 - 2 * blue) * (cb - middle)
    g = (luma - red * r - blue * b) / green
    return np.clip(np.rint(np.stack([r, g, b], axis=-1)), 0, _top(data)).astype(data.dtype)


def _from_lab(data: np.ndarray, icc: bool) -> np.ndarray:
    """Turn CIE L*a*b* into 8-bit sRGB; a* and b* are signed, or ICC's with an offset."""
    from skimage.color import lab2rgb

    if data.dtype.kind == "f":
        lab = data.astype(np.float64)
    else:
        bits = 8 * data.dtype.itemsize
        unit = 2 ** (bits - 8)
        wide = data.astype(np.int64) & (2**bits - 1)
        ab = wide - 2 ** (bits - 1) if icc else np.where(wide >= 2 ** (bits - 1), wide - 2**bits, wide)
        lab = np.concatenate([wide[..., :1] * 100 / (2**bits - 1), ab[..., 1:] / unit], axis=-1)
    return np.rint(lab2rgb(lab) * 255).astype(np.uint8)


def _through_palette(tif: TiffFile, page: TiffPage, axes: str, data: np.ndarray) -> tuple[str, np.ndarray]:
    """Look colours up; a look-up table that only tints grey, and any of ImageJ's, leaves the numbers as they are."""
    table = page.colormap
    if table is None or tif.is_imagej or data.dtype.kind not in "ub":
        return axes, data
    wide = int(table.max()) > 255
    colours = (table >> 8 if wide else table).astype(np.uint8).T  # (numbers, 3)
    data = data.astype(np.intp)
    light = colours[: int(data.max()) + 1] @ np.array([0.2125, 0.7154, 0.0721])
    if (colours == colours[:, :1]).all():
        return axes, colours[data, 0]
    if len(light) > 2 and (np.diff(light) >= 0).all():
        return axes, data.astype(page.dtype)
    return f"{axes}S", colours[data]


def _min_is_white(tif: TiffFile, page: TiffPage, data: np.ndarray, path: Path) -> np.ndarray:
    """Turn a picture around whose 0 is white, except for those of ImageJ and tifffile that only say so.

    ImageJ's inverting look-up table leaves numbers as they are, and tifffile marks all that is bilevel.
    """
    if data.dtype == bool and (page.is_shaped or page.software.startswith("tifffile")):
        return data
    if tif.is_imagej:
        note(f"{path.name} is shown by an inverting look-up table; its numbers are read as Fiji measures them.")
        return data
    if data.dtype.kind == "u":
        return np.asarray((2**page.bitspersample - 1) - data, dtype=data.dtype)
    return ~data if data.dtype.kind in "bi" else -data


# Steps: the size of a pixel, from ImageJ, OME, microscopes' own tags, or the resolution.


def _steps(tif: TiffFile, index: int, path: Path) -> dict[str, Step]:
    """Find the steps; where only X or Y is known, pixels are square."""
    readers = ((tif.is_ome, _ome_steps), (tif.is_imagej, _imagej_steps), (True, _vendor_steps), (True, _printed_steps))
    found: Mapping[str, tuple[float, Any]] = {}
    for fits, read in readers:
        try:
            if fits and (found := read(tif, index)):
                break
        except Exception:  # metadata of any kind of nonsense are no reason to refuse pixels
            note(f"{path.name}: its description cannot be made sense of, so it is read without a scale.")
    return known_steps(found, path)


def _imagej_steps(tif: TiffFile, _: int) -> dict[str, tuple[float, Any]]:
    """Read the resolution tags (pixels per unit) and the lines of ImageJ's description."""
    facts = tif.imagej_metadata or {}
    page = tif.pages.first
    unit = facts.get("unit")
    if unit is None:
        unit = {2: "inch", 3: "cm"}.get(int(page.tags.valueof("ResolutionUnit", 1)))
    steps: dict[str, tuple[float, Any]] = {}
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        if size := _per(page.tags.valueof(tag)):
            steps[axis] = (size, facts.get("yunit", unit) if axis == "Y" else unit)
    if "spacing" in facts:
        steps["Z"] = (abs(_number(facts["spacing"])), facts.get("zunit", unit))
    steps["T"] = (_number(facts.get("finterval")), facts.get("tunit", "sec"))  # fps is how fast it is played
    return steps


def _ome_steps(tif: TiffFile, index: int) -> dict[str, tuple[float, Any]]:
    """Read the attributes of an image's Pixels element."""
    images = _ome_images(tif.ome_metadata or "")
    pixels = images[index if len(images) == len(tif.series) else 0].get("Pixels", {})
    steps = {
        axis: (_number(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "XYZ"
    }
    steps["T"] = (_number(pixels.get("TimeIncrement")), pixels.get("TimeIncrementUnit", "s"))
    return steps


@lru_cache(maxsize=1)
def _ome_images(text: str) -> list[dict[str, Any]]:
    """Parse OME-XML, which may be long and is asked for each of its images, into its Image elements."""
    import tifffile

    image = tifffile.xml2dict(text).get("OME", {}).get("Image", {})
    return image if isinstance(image, list) else [image]


def _vendor_steps(tif: TiffFile, _: int) -> dict[str, tuple[float, Any]]:
    """Read what microscopes write in tags of their own."""
    if facts := tif.fei_metadata:
        scan = facts.get("Scan", {}) or facts.get("EScan", {})
        return {axis: (_number(scan.get(f"Pixel{side}")), "m") for axis, side in (("X", "Width"), ("Y", "Height"))}
    if facts := tif.sem_metadata:
        found = facts.get("ap_image_pixel_size") or facts.get("ap_pixel_size")
        return {"X": (_number(found[1]), found[2])} if found and len(found) > 2 else {}
    if facts := tif.stk_metadata:
        unit = str(facts.get("CalibrationUnits", "")).strip("\0 ")
        steps = {axis: (_number(facts.get(f"{axis}Calibration")), unit) for axis in "XY"}
        distances = np.asarray(facts.get("ZDistance", 0.0))
        return {**steps, "Z": (_number(np.median(distances)), unit)} if facts.get("SpatialCalibration", True) else {}
    if facts := tif.lsm_metadata:
        steps = {axis: (_number(facts.get(f"VoxelSize{axis}")), "m") for axis in "XYZ"}
        return {**steps, "T": (_number(facts.get("TimeIntervall")), "s")}
    if facts := tif.micromanager_metadata:
        summary = facts.get("Summary", {}) or {}
        size, interval = _number(summary.get("PixelSize_um")), _number(summary.get("Interval_ms"))
        return (
            {"X": (size, "µm"), "Z": (_number(summary.get("z-step_um")), "µm"), "T": (interval, "ms")} if size else {}
        )
    if tif.is_svs and (found := re.search(r"MPP\s*=\s*([\d.eE+-]+)", tif.pages.first.description)):
        return {"X": (_number(found[1]), "µm")}
    return {}


_PRINTED = {72, 75, 90, 96, 100, 120, 144, 150, 180, 192, 200, 240, 250, 266, 288, 300, 350, 360, 400, 600, 720, 1200}
"""Dots per inch of printers and screens, which say nothing about what was looked at."""

_DOTS = 4800
"""Above these no scanner goes, so that dots per inch are a microscope's."""


def _printed_steps(tif: TiffFile, _: int) -> dict[str, tuple[float, Any]]:
    """Read the resolution of a plain TIFF, unless it says how to print it."""
    tags = tif.pages.first.tags
    unit = tags.valueof("ResolutionUnit", 2)
    steps: dict[str, tuple[float, Any]] = {}
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        size = _per(tags.valueof(tag))
        if not size or unit not in (2, 3):
            continue
        dots = (1 if unit == 2 else 2.54) / size
        if dots > _DOTS or (unit == 3 and min(abs(dots - d) for d in _PRINTED) > 0.5):
            steps[axis] = (size, "inch" if unit == 2 else "cm")
    return steps


def _per(rational: Sequence[int] | None) -> float:
    """Turn pixels per unit into the size of a pixel; 0 for none."""
    return rational[1] / rational[0] if rational and rational[0] and rational[1] else 0.0


def _number(value: Any) -> float:
    """Read a number from metadata, which may have a decimal comma; 0 for what is none."""
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) else 0.0
