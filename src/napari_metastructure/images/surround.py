"""Surround of a field of view: the black round a fundus photograph, margins that programs leave, NaN, blank frames.

A surround is flat, touches the border of the image, and is as extreme as objects are: it would be taken for one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.intensity import Polarity, is_blank
from napari_metastructure.images.lazy import Plane, row_blocks, thinned

T = TypeVar("T", np.ndarray, Plane)

WINDOW = 7
"""Side in pixels of the windows that must be flat."""

FLAT = 0.03
"""Greatest difference within a window, as a share of the plane's range (percentiles 1 to 99): at 0.05 dark backgrounds
of fluorescence images pass as well."""

EXTREME = 0.1
"""Greatest distance to the end of the range where objects are, as a share of it."""

LEAST = 0.02
"""Share of the plane below which there is no field of view to speak of."""

RIM = 6
"""Pixels inside the field of view that its edge has blurred."""

UNEVEN = 8
"""Pixels around what is flat that belong to it if they are as extreme: files compressed as JPEG ripple along edges."""

CONVEX = 0.9
"""Share of the surround that lies outside the convex hull of the rest: fields of view are convex, gaps between objects
are not."""

SIGMA = 8.0
"""Standard deviation in pixels of the blur that the inside is continued with."""

PIXELS = 2**22
"""Pixels up to which `fill` works at full resolution."""

DETAILED = 2**24
"""Pixels up to which `surround` looks at all of them; of larger planes at every second one along an axis, or fewer."""

HELD = 0.01
"""Share of the pixels inside that may have the value of a margin."""

LINE = 16
"""Pixels that straight stretches of a margin's outline have at least."""

STRAIGHT = 0.9
"""Share of its outline that is made of such stretches."""

BAR = 16
"""Pixels along a scale bar at least, a power of two."""

SHARP = 0.65
"""Share of the height in 7 to 12 pixels from a margin that a plane has in the first two: one half at the rim of a field
of view, nine tenths and more where a program has cut."""

_ROWS = 256
_HULL = 512  # pixels along a side that the hull is found from


def surround(plane: T, objects: Polarity) -> T | None:
    """Find what lies outside the field of view and could be taken for an object.

    Parameters
    ----------
    plane : (Y, X) array or Plane
        Real numbers, finite. Those of more than `DETAILED` pixels are thinned out to as many.
    objects : {"bright", "dark"}
        Polarity of the objects: for dark ones the surround is dark, too.

    Returns
    -------
    (Y, X) bool array, or a Plane of one, or None
        True outside, with a rim of `RIM` pixels; None if there is no such surround, or nothing else.
    """
    return _found(plane, lambda some, step: _surround(some, objects, step))


def _found(plane: T, find: Callable[[np.ndarray, int], np.ndarray | None]) -> T | None:
    """Find a mask from every so many of a large plane's pixels."""
    step = int(np.ceil(np.sqrt(plane.size / DETAILED)))
    if step == 1 and isinstance(plane, np.ndarray):
        return find(plane, 1)
    found = find(thinned(plane, step), step)
    if found is None:
        return None
    spread = Plane(plane.shape, bool, lambda rows, columns: found[np.ix_(_at(rows) // step, _at(columns) // step)])
    return spread if isinstance(plane, Plane) else np.asarray(spread)


def _at(places: slice) -> np.ndarray:
    return np.arange(places.start, places.stop)


def _surround(plane: np.ndarray, objects: Polarity, step: int) -> np.ndarray | None:
    """Find it in a plane of every ``step``-th pixel."""
    low, high = (float(p) for p in np.percentile(_sample(plane), (1, 99)))
    if not low < high or min(plane.shape) < WINDOW:
        return None
    span = high - low
    extreme = plane >= high - EXTREME * span if objects == "bright" else plane <= low + EXTREME * span
    if np.count_nonzero(extreme) < LEAST * plane.size:
        return None
    seeds = extreme.copy()
    for rows, block in _flat(plane, FLAT * span):
        seeds[rows] &= block
    seeds = _at_border(seeds)
    inside = _large(~seeds, LEAST * plane.size)
    if np.count_nonzero(seeds) < LEAST * plane.size or not _is_around(seeds, inside):
        return None
    outside = _grown(~inside, WINDOW // 2) | (_grown(~inside, -(-UNEVEN // step)) & extreme)
    outside = _grown(outside, -(-RIM // step))
    return None if outside.all() else outside


def margin(plane: T) -> T | None:
    """Find where a program has put one value in place of an image: padding, a frame, a bar with text, a scale bar.

    All pixels of one value (the least, the greatest, or that of a corner) that are connected to the border, and what
    they enclose, are a margin if half of the image or more is left, which hardly holds that value, if their outline is
    sharp, as no lens makes it, and if it is straight along rows and columns or they lie beyond the convex hull of the
    rest, as the corners of a turned image do. So is a scale bar, a rectangle of the least or greatest value that is
    `BAR` pixels long and a quarter as wide or less, with the text of that value near it.

    Parameters
    ----------
    plane : (Y, X) array or Plane
        Real numbers; some may be NaN or infinite. Those of more than `DETAILED` pixels are thinned out to as many.

    Returns
    -------
    (Y, X) bool array, or a Plane of one, or None
        True in margins; None if there is none.
    """
    return _found(plane, lambda some, _: _margin(some))


def _margin(plane: np.ndarray) -> np.ndarray | None:
    if plane.dtype.kind == "f":
        plane = np.where(np.isfinite(plane), plane, np.nan)  # an infinite value is no end of the range
    ends = [np.fmin.reduce(plane, axis=None), np.fmax.reduce(plane, axis=None)]
    outside = _bars(plane, ends)
    ends.extend(plane[np.ix_([0, -1], [0, -1])].flat)
    for value in np.unique(np.array(ends, np.float64)):
        same = plane == value
        pixels = np.count_nonzero(same)
        if pixels < min(plane.shape) or max(map(_longest, (same[0], same[-1], same[:, 0], same[:, -1]))) < LINE:
            continue
        seeds = _at_border(same)
        if pixels - np.count_nonzero(seeds) > HELD * plane.size:
            continue
        inside = _large(~seeds, LEAST * plane.size)
        left = np.count_nonzero(inside)
        if not plane.size / 2 <= left < plane.size or np.count_nonzero(same & inside) > HELD * left:
            continue
        around = np.count_nonzero(seeds) >= LEAST * plane.size and _is_around(seeds, inside)
        if not (around or _is_straight(inside)) or not _is_sharp(plane - value, ~inside):
            continue
        if not is_blank(np.where(inside, plane, np.nan)):
            outside |= ~inside
    return outside if outside.any() and not outside.all() else None


def _longest(line: np.ndarray) -> int:
    """Count the pixels of the longest stretch that is set."""
    return int(np.diff(np.flatnonzero(np.pad(~line, 1, constant_values=True))).max()) - 1


def _bars(plane: np.ndarray, values: Iterable[float]) -> np.ndarray:
    """Find scale bars, and what of their value lies within half their length above and below: text."""
    found = np.zeros(plane.shape, bool)
    for value in values:
        same = plane == value
        for turned in (same, same.T):
            long, tall = np.array(turned.shape)[::-1]
            for rows, columns in _rectangles(turned):
                width = columns.stop - columns.start
                if width == long:  # a margin
                    continue
                top, bottom = max(0, rows.start - width // 2), min(tall, rows.stop + width // 2)
                left, right = max(0, columns.start - width // 4), min(long, columns.stop + width // 4)
                box = np.s_[top:bottom, left:right]
                around, own = (a if turned is same else a.T for a in (plane, found))
                if is_blank(np.where(turned[box], np.nan, around[box])):  # a drawing
                    continue
                own[box] |= _enclosed(turned[box])
                own[rows, columns] = True
    return _grown(found, 2) if found.any() else found


def _rectangles(mask: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Yield parts of a mask that are rectangles `BAR` pixels wide or more, two high or more, and at most a quarter."""
    core, reach = mask[1:] & mask[:-1], 1
    while reach < BAR:  # where so many pixels from here on are set
        core, reach = core[:, :-reach] & core[:, reach:], 2 * reach
    if not core.any():
        return
    for rows, columns in ndi.find_objects(ndi.label(core)[0]):
        rows, columns = slice(rows.start, rows.stop + 1), slice(columns.start, columns.stop + BAR - 1)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        around = mask[max(0, rows.start - 1) : rows.stop + 1, max(0, columns.start - 1) : columns.stop + 1]
        if 4 * height <= width and np.count_nonzero(around) == height * width == np.count_nonzero(mask[rows, columns]):
            yield rows, columns


def _enclosed(mask: np.ndarray) -> np.ndarray:
    """Keep the parts of a mask that do not touch its border."""
    return mask & ~_at_border(mask)


def _is_sharp(height: np.ndarray, outside: np.ndarray) -> bool:
    """Test whether a plane rises at once where a margin ends; at the rim of a field of view that takes some pixels."""
    first, rim, wide = (_grown(outside, pixels) for pixels in (2, RIM, 2 * RIM))
    rings = (height[ring & np.isfinite(height)] for ring in (first & ~outside, wide & ~rim))
    near, far = (float(np.abs(ring).mean()) if ring.size else 0.0 for ring in rings)
    return near >= SHARP * far > 0


def _is_straight(mask: np.ndarray) -> bool:
    """Test whether most of a mask's outline runs along rows and columns."""
    total = straight = 0
    for axis in (0, 1):
        outline = np.diff(mask, axis=axis)
        total += int(np.count_nonzero(outline))
        line = {"size": LINE, "axis": 1 - axis, "mode": "nearest"}
        runs = ndi.maximum_filter1d(ndi.minimum_filter1d(outline, **line), origin=-1, **line)
        straight += int(np.count_nonzero(runs & outline))
    return straight >= STRAIGHT * total


def measured(image: T, margins: bool = False) -> tuple[T, T | None]:
    """Fill the pixels that nothing was measured at: NaN, infinite, or all where the image has one value everywhere.

    Parameters
    ----------
    image : (Y, X) or (C, Y, X) float array or Plane
    margins : bool
        Also the `margin` of a (Y, X) plane.

    Returns
    -------
    image : array of its shape
        Finite; zeros if nothing was measured.
    missing : (Y, X) bool array, or None
        Outside the field of view: background in masks, unlabelled in training. None if there is no such pixel.
    """
    if isinstance(image, Plane):
        return _measured(image, margins)
    missing = ~np.isfinite(image if image.ndim == 2 else image.sum(axis=0))
    channels = image[None] if image.ndim == 2 else image
    if is_blank(image):
        return np.zeros(image.shape, np.float32), np.ones(missing.shape, bool)
    if margins and (padded := margin(image)) is not None:
        missing |= padded
    if not missing.any():
        return image, None
    return np.stack([fill(channel, missing) for channel in channels]).reshape(image.shape), missing


def _measured(image: Plane, margins: bool) -> tuple[Plane, Plane | None]:
    """Do what `measured` does where pixels are read."""
    share = missing_share(image)
    missing = Plane(image.shape[-2:], bool, lambda rows, columns: ~_known(image[rows, columns]))
    if share == 1:
        nothing = image.map(lambda block: np.zeros(block.shape, np.float32), np.float32)
        return nothing, missing.map(np.ones_like, bool)
    padded = margin(image) if margins else None
    if share == 0 and padded is None:
        return image, None
    outside = together(padded, missing)
    assert outside is not None
    if image.ndim == 2:
        return fill(image, outside), outside
    filled = [fill(image.channel(index), outside) for index in range(image.shape[0])]
    read = lambda rows, columns: np.stack([channel[rows, columns] for channel in filled])  # noqa: E731
    return Plane(image.shape, np.float32, read), outside


def _known(block: np.ndarray) -> np.ndarray:
    """Test where all channels of a block are finite."""
    return np.isfinite(block if block.ndim == 2 else block.sum(axis=0))


def together(surround: T | None, missing: T | None) -> T | None:
    """Join two masks of what lies outside the field of view, each of which there may not be."""
    if isinstance(surround, Plane) and isinstance(missing, Plane):
        return Plane(surround.shape, bool, lambda rows, columns: surround[rows, columns] | missing[rows, columns])
    if surround is None or missing is None:
        return missing if surround is None else surround
    return np.asarray(surround) | np.asarray(missing)


def missing_share(image: np.ndarray | Plane) -> float:
    """Count the pixels that `measured` fills, as a share of all: 1 for a blank image."""
    if isinstance(image, Plane):
        if is_blank(image):
            return 1.0
        if image.dtype.kind in "bui":
            return 0.0
        return 1 - sum(int(np.isfinite(block).sum()) for block in row_blocks(image)) / image.size
    return 1.0 if is_blank(image) else float(1 - np.isfinite(image).mean())


def missing_notes(shares: Iterable[tuple[str, float]]) -> list[str]:
    """Say in a sentence each which planes are blank, and which have pixels of no value, by the share of each name."""
    some: list[str] = []
    blank: list[str] = []
    for name, share in shares:
        (blank if share == 1 else some).extend([name] * (share > 0))
    return noted(
        (blank, "all pixels have the same value or are NaN, so nothing was found there."),
        (some, "pixels that are NaN or infinite count as outside the field of view."),
    )


def noted(*sentences: tuple[Sequence[str], str]) -> list[str]:
    """Put before each sentence the planes that it is about; leave out those about none."""
    return [
        f"{own[0]}{f' and {len(own) - 1} more planes' if len(own) > 1 else ''}: {sentence}"
        for own, sentence in sentences
        if own
    ]


def fill(plane: T, outside: T) -> T:
    """Replace the surround by a smooth continuation of what is inside.

    Each pixel outside takes the nearest inside value of a Gaussian blur that looks at the inside only. Planes of more
    than `PIXELS` are continued by blocks of pixels, which keeps memory small.

    Parameters
    ----------
    plane : (Y, X) array or Plane
    outside : (Y, X) bool array or Plane
        Not True everywhere.

    Returns
    -------
    (Y, X) float32 array or Plane
        Inside, the values of the plane.
    """
    step = int(np.ceil(np.sqrt(plane.size / PIXELS)))
    total, count = _blocks(plane, outside, step)
    inside = count > 0
    smooth, weight = (ndi.gaussian_filter(a, SIGMA / step) for a in (total, count))
    nearest = ndi.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    coarse = np.divide(smooth, weight, out=np.zeros_like(smooth), where=inside)[tuple(nearest)]

    def read(rows: slice, columns: slice) -> np.ndarray:
        filled = plane[rows, columns].astype(np.float32)
        near = coarse[np.ix_(_at(rows) // step, _at(columns) // step)]
        np.copyto(filled, near, where=outside[rows, columns])
        return filled

    lazy = Plane(plane.shape, np.float32, read)
    if isinstance(plane, Plane):
        return lazy
    whole = np.empty(plane.shape, np.float32)
    for first in range(0, len(plane), _ROWS):
        whole[first : first + _ROWS] = lazy[first : first + _ROWS]
    return whole


def _sample(plane: np.ndarray) -> np.ndarray:
    """Thin a plane out to pixels enough for percentiles."""
    step = int(np.ceil(np.sqrt(plane.size / PIXELS)))
    return plane[::step, ::step]


def _flat(plane: np.ndarray, most: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Find where windows hold no greater difference than ``most``, some rows at a time."""
    halo = WINDOW // 2
    for first in range(0, len(plane), _ROWS):
        top = max(0, first - halo)
        block = plane[top : first + _ROWS + halo].astype(np.float32)
        range_ = ndi.maximum_filter(block, WINDOW) - ndi.minimum_filter(block, WINDOW)
        rows = slice(first, min(first + _ROWS, len(plane)))
        yield rows, range_[first - top : rows.stop - top] <= most


def _at_border(mask: np.ndarray) -> np.ndarray:
    """Keep the parts of a mask that touch the border of the image."""
    parts, count = ndi.label(mask)
    kept = np.zeros(count + 1, bool)
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        kept[edge] = True
    kept[0] = False
    return kept[parts]


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Grow a mask by so many pixels in each direction."""
    return ndi.maximum_filter(mask, size=2 * pixels + 1)


def _large(mask: np.ndarray, least: float) -> np.ndarray:
    """Keep the parts of a mask of so many pixels at least: a date or dust in a surround is smaller."""
    parts, count = ndi.label(mask)
    sizes = np.zeros(count + 1, np.int64)
    for first in range(0, len(parts), _ROWS):  # counting takes a copy of 8 bytes a pixel
        sizes += np.bincount(parts[first : first + _ROWS].ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes >= least)[parts]


def _is_around(seeds: np.ndarray, inside: np.ndarray) -> bool:
    """Test on some of the pixels whether a mask lies around the inside, so beyond its convex hull."""
    from skimage.morphology import convex_hull_image

    step = -(-max(seeds.shape) // _HULL)
    seeds, inside = seeds[::step, ::step], inside[::step, ::step]
    if not inside.any() or not seeds.any():
        return False
    beyond = np.count_nonzero(seeds & ~convex_hull_image(inside))
    return bool(beyond >= CONVEX * np.count_nonzero(seeds))


def _blocks(plane: T, outside: T, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum the inside and count its pixels in each block of ``step`` by ``step``: float32 arrays."""
    shape = tuple(-(-side // step) for side in plane.shape)
    total, count = np.empty(shape, np.float32), np.empty(shape, np.float32)
    lefts = np.arange(0, plane.shape[1], step)
    at_once = max(1, _ROWS // step)
    for top in range(0, shape[0], at_once):  # windows of lazy planes cost as much as many rows do
        several = slice(top * step, (top + at_once) * step)
        known, pixels = ~outside[several], plane[several]
        for row in range(top, min(top + at_once, shape[0])):
            inside = known[(row - top) * step : (row - top + 1) * step]
            own = pixels[(row - top) * step : (row - top + 1) * step]
            total[row] = np.add.reduceat(np.where(inside, own, 0).sum(axis=0, dtype=np.float64), lefts)
            count[row] = np.add.reduceat(inside.sum(axis=0), lefts)
    return total, count
