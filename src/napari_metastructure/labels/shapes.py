"""PCL, perturbed clean labels: the labels' structures grown, shrunk, smoothed or thinned to a line.

Everything works plane by plane on the last two axes, in the 3x3 template's steps (`boundary` and `objects` have
the random ones). Class 0 is the background. Unlabelled pixels (255) stay unlabelled and hold nothing up or back:
they neither grow nor erode a class, and no class takes them. For one class without unlabelled pixels, results
equal `scipy.ndimage.binary_dilation` and `binary_erosion` with a 3x3 structure and, for the latter,
``border_value=1``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import check_classes, check_labels, lookup, result_dtype, values_in

# -------- Connected objects of a label plane, found from runs of equal pixels instead of from pixels.


STRIP = 1 << 19
"""Pixels looked at together, which bounds the memory where almost every pixel is a run."""


@dataclass(slots=True)
class Strip:
    """Some rows of a plane as runs, pieces of one row with one label, in reading order."""

    lengths: np.ndarray
    """(R,) int32, pixels; they add up to whole rows."""
    inside: np.ndarray
    """(R,) bool, whether the run belongs to an object."""
    owners: np.ndarray
    """(runs inside,) int32, the number of that object."""


def objects(codes: np.ndarray) -> tuple[int, list[Strip]]:
    """Number the 8-connected objects of a plane, of each class by itself, in the order of their first pixels.

    Pixels of 0 and 255 belong to none. Faster than labelling pixels as long as objects have an inside: runs are few.

    Parameters
    ----------
    codes : (Y, X) uint8 array

    Returns
    -------
    count : int
    strips : list of Strip
        From the top.
    """
    height, width = codes.shape
    rows = max(1, STRIP // width)
    strips: list[Strip] = []
    pairs = [np.empty((2, 0), np.int32)]
    shared, nodes = pairs[0][0], 0
    for top in range(0, height, rows):
        # One row more than is kept: its runs are the next strip's first, which ties the two strips' pieces together.
        part = codes[top : top + rows + 1]
        new = _run_starts(part)
        inside = (part != 0) & (part != UNLABELLED)
        first = new & inside
        count, owners = _connected(_links(part, new, inside, first), int(np.count_nonzero(first)))
        owners += nodes
        if top:
            pairs.append(np.stack([shared, owners[: len(shared)]]))
        kept = int(np.count_nonzero(first[:rows]))
        starts = np.flatnonzero(new[:rows])
        lengths = np.diff(starts, append=new[:rows].size).astype(np.int32)
        strips.append(Strip(lengths, inside.reshape(-1)[starts], owners[:kept]))
        shared = owners[kept:]
        nodes += count
    count, numbers = _connected(np.concatenate(pairs, axis=1), nodes)
    for strip in strips:
        strip.owners = numbers[strip.owners]
    return count, strips


def _run_starts(part: np.ndarray) -> np.ndarray:
    """True on the first pixel of each run."""
    new = np.empty(part.shape, bool)
    new[:, 0] = True
    np.not_equal(part[:, 1:], part[:, :-1], out=new[:, 1:])
    return new


def _links(part: np.ndarray, new: np.ndarray, inside: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Pairs of runs that touch across two rows and have one class, as (2, K) numbers of runs inside.

    Two runs that lie one above the other do so first where one of them starts. Two that touch by a corner alone
    end and start at that corner, both of them.
    """
    number = np.cumsum(first, dtype=np.int32).reshape(part.shape)
    number -= 1
    corner = new[:-1, 1:] & new[1:, 1:]
    here, left, right = np.s_[:], np.s_[:-1], np.s_[1:]
    found = []
    for above, below, where in ((here, here, new[:-1] | new[1:]), (left, right, corner), (right, left, corner)):
        upper, lower = np.s_[:-1, above], np.s_[1:, below]
        meet = where & inside[upper] & (part[upper] == part[lower])
        found.append(np.stack([number[upper][meet], number[lower][meet]]))
    return np.concatenate(found, axis=1)


def _connected(links: np.ndarray, nodes: int) -> tuple[int, np.ndarray]:
    """How many groups linked nodes form, and the group of each, numbered by their first nodes."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    graph = csr_array((np.ones(links.shape[1], bool), (links[0], links[1])), shape=(nodes, nodes))
    count, groups = connected_components(graph, directed=False)
    return int(count), groups


# -------- Passes of a 3x3 template over label codes, which dilation, erosion and all made of them consist of.


BLOCK = 1 << 18
"""Pixels worked on at a time: a handful of uint8 arrays of this size stay in a core's cache."""


def check_steps(n: Any, what: str = "The number of steps n") -> int:
    """A number of passes, if it is one: an integer from 0."""
    try:
        steps = operator.index(n)
    except TypeError:
        steps = -1
    if steps < 0:
        raise InputError(f"{what} must be a whole number from 0, not {n}.")
    return steps


def apply(
    labels: Any, classes: Sequence[int] | None, function: Callable[[np.ndarray], np.ndarray], reach: int
) -> np.ndarray:
    """Apply a function of codes, in which no pixel matters farther than ``reach``, to labels of any integer dtype."""
    array = check_labels(labels)
    code_of, label_of = coding(array, classes)
    planes = array.reshape(-1, *array.shape[-2:])
    result = np.empty(planes.shape, result_dtype(array))
    for outer, inner, target in windows(planes.shape, reach):
        result[target] = label_of(function(code_of(planes[outer]))[inner])
    return result.reshape(array.shape)


def coding(
    labels: np.ndarray, classes: Sequence[int] | None = None
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Two functions for blocks of these labels: from labels to codes and back.

    Labels up to 255 are their own codes, and uint8 ones come back as they are, not copied.

    Raises
    ------
    InputError
        If a label is none of the classes given; for instance numbers instead of classes.
    """
    if int(labels.max()) <= UNLABELLED:
        if classes is not None:
            check_classes(labels, classes, may_be_empty=True)
        return (lambda block: block.astype(np.uint8, copy=False)), (lambda codes: codes)
    used = sorted({0, *check_classes(labels, classes)})
    values = np.array(used + [UNLABELLED] * (256 - len(used)), result_dtype(labels))
    return lookup(labels, used, np.arange(len(used), dtype=np.uint8), UNLABELLED), values.take


def windows(shape: tuple[int, ...], reach: int) -> Iterator[tuple[Any, Any, Any]]:
    """Blocks of (P, Y, X) planes, in whole rows: what to read, which part of it is then right, and where that goes."""
    count, height, width = shape
    rows = min(height, max(1, BLOCK // width, 2 * reach))
    together = max(1, BLOCK // (height * width))
    for plane in range(0, count, together):
        here = slice(plane, plane + together)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first = max(0, top - reach)
            yield (
                (here, slice(first, bottom + reach)),
                (slice(None), slice(top - first, bottom - first)),
                (here, slice(top, bottom)),
            )


def all_ones(condition: np.ndarray) -> np.ndarray:
    """255 where true, 0 elsewhere."""
    return np.negative(condition.view(np.uint8))


def lowest(codes: np.ndarray, radius: int) -> np.ndarray:
    """The minimum over the square of ``2 radius + 1`` pixels around each pixel, as far as it lies inside."""
    for axis in (-1, -2):
        covered, size = 0, codes.shape[axis]
        while covered < min(radius, size):
            # Any farther, and a gap would open beside the image's border.
            step = min(covered + 1, radius - covered)
            wider = codes.copy()
            old, new = codes.swapaxes(axis, -1), wider.swapaxes(axis, -1)
            np.minimum(new[..., step:], old[..., :-step], out=new[..., step:])
            np.minimum(new[..., :-step], old[..., step:], out=new[..., :-step])
            codes, covered = wider, covered + step
    return codes


def spread(codes: np.ndarray, n: int, closed: np.ndarray | None) -> np.ndarray:
    """``n`` passes in which each pixel takes the lowest code around it; where ``closed`` is 255, it stays 255."""
    if closed is None:
        return lowest(codes, n)
    for _ in range(n):
        new = lowest(codes, 1)
        new |= closed
        if np.array_equal(new, codes):
            break
        codes = new
    return codes


def unlabelled(codes: np.ndarray) -> np.ndarray | None:
    """255 where a pixel is unlabelled, 0 elsewhere; None where every pixel has a label."""
    found = codes == UNLABELLED
    return all_ones(found) if found.any() else None


def to_keys(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes in order of precedence, the lowest first, 255 being what gives way to all; and `unlabelled`."""
    nobody = unlabelled(codes)
    key = codes - np.uint8(1)  # background wraps round to 255
    if nobody is not None:
        key |= nobody
    return key, nobody


def to_codes(key: np.ndarray, nobody: np.ndarray | None) -> np.ndarray:
    """What `to_keys` was made of."""
    codes = key + np.uint8(1)
    if nobody is not None:
        codes |= nobody
    return codes


def grown_once(key: np.ndarray, growing: np.ndarray, nobody: np.ndarray | None) -> np.ndarray:
    """Keys after one pass in which background takes the lowest growing key around it."""
    closed = all_ones(key != UNLABELLED)
    if nobody is not None:
        closed |= nobody
    new = lowest(growing, 1)
    new |= closed
    new &= key
    return new


def dilated(codes: np.ndarray, n: int) -> np.ndarray:
    """See `perturbed.dilate`."""
    key, nobody = to_keys(codes)
    if _one_class(key):
        return to_codes(spread(key, n, nobody), nobody)
    for _ in range(n):
        new = grown_once(key, key, nobody)
        if np.array_equal(new, key):
            break
        key = new
    return to_codes(key, nobody)


def eroded(codes: np.ndarray, n: int) -> np.ndarray:
    """See `perturbed.erode`."""
    key, nobody = to_keys(codes)
    if n and not _one_class(key):
        # Where classes touch, both lose a pixel; from then on background lies between them.
        upside_down = ~codes if nobody is None else ~codes | nobody
        uniform = all_ones(lowest(codes, 1) == ~lowest(upside_down, 1))
        codes = codes & uniform if nobody is None else codes & uniform | nobody
        n -= 1
    return spread(codes, n, nobody)


def regained(codes: np.ndarray, n: int) -> np.ndarray:
    """Codes after the background has grown by ``n`` passes, into all classes alike."""
    kept = spread(all_ones(codes != 0), n, unlabelled(codes))
    return codes & kept


def _one_class(key: np.ndarray) -> bool:
    """Whether at most one value besides 255 is there."""
    low = key.min()
    return bool(((key == low) | (key == UNLABELLED)).all())


# -------- PCL object by object: each one dilated or eroded by steps of its own.


def perturb_objects(labels: Any, n: int, rng: np.random.Generator) -> np.ndarray:
    """Dilate or erode every object by a random number of steps of its own.

    An object is an 8-connected piece of one class in one plane, so a whole network is one. Its steps are drawn
    uniformly from the whole numbers ``-n`` to ``n``; below 0 it is eroded as by `perturbed.erode`, above 0 dilated.

    Where objects collide: first those to be eroded shrink. Then the others grow into the background that is there
    now, in ``n`` passes, of which an object takes part in its last ones, so that all end together. A pixel goes to
    whoever reaches it first, in the same pass to the lowest class; none takes another's pixels, and objects of one
    class may merge. Unlabelled pixels (255) stay so, belong to no object and neither erode nor give way.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed. 0 is background; the objects of one class may share its number, as in a mask.
    n : int
        Most steps, pixels, from 0.
    rng : numpy.random.Generator
        One number is drawn per object, plane after plane, in the order of their first pixels.

    Returns
    -------
    (..., Y, X) array
        The input's dtype where it can hold 255, else uint8.

    Raises
    ------
    InputError
        For a negative ``n``; labels that are floats or negative; more different labels than there can be classes.
    """
    n = check_steps(n)
    array = check_labels(labels)
    code_of, label_of = coding(array)
    result = np.empty(array.shape, result_dtype(array))
    size = array.shape[-2:]
    for plane, perturbed in zip(array.reshape(-1, *size), result.reshape(-1, *size), strict=True):
        codes = code_of(plane)
        steps = random_steps(codes, n, rng)
        for outer, inner, target in windows((1, *size), 2 * n):
            here = steps[outer[1]]
            perturbed[target[1]] = label_of(_grown(_shrunk(codes[outer[1]], here), here)[inner[1]])
    return result


def random_steps(codes: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """For every pixel of a plane the steps of its object, drawn from ``-n`` to ``n``; 0 where there is none.

    Parameters
    ----------
    codes : (Y, X) uint8 array

    Returns
    -------
    (Y, X) array of the smallest signed integers that hold ``n``
    """
    count, strips = objects(codes)
    drawn = rng.integers(-n, n + 1, size=count)
    smallest = np.min_scalar_type(-n - 1)
    steps = np.empty(codes.shape, smallest)
    top = 0
    for strip in strips:
        each = np.zeros(len(strip.lengths), smallest)
        each[strip.inside] = drawn[strip.owners]
        rows = np.repeat(each, strip.lengths).reshape(-1, codes.shape[1])
        steps[top : top + len(rows)] = rows
        top += len(rows)
    return steps


def _shrunk(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Every object with negative steps eroded by them."""
    worn = result = codes
    for k in range(1, 1 - int(steps.min())):
        worn = eroded(worn, 1)
        result = result & (worn | all_ones(steps > -k))
    return result


def _grown(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Every object with positive steps dilated by them, all ending with the same pass."""
    key, nobody = to_keys(codes)
    # As all end together, all that grow have equally many passes left: a pixel just taken goes on like its owner
    # without knowing it.
    awake = np.zeros_like(codes)
    for left in range(int(steps.max()), 0, -1):
        awake |= all_ones(steps >= left)
        new = grown_once(key, key | ~awake, nobody)
        awake |= all_ones(new != key)
        key = new
    return to_codes(key, nobody)


def dilate(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Dilate every class ``n`` times by a 3x3 template.

    Each pass grows all classes above 0 at once, into the background only: classes never take each other's pixels.
    Where several reach a background pixel in the same pass, the lowest number gets it.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed.
    n : int
        Passes, pixels of growth, from 0.
    classes : sequence of int, optional
        The labels that may occur, ascending; anything else is refused. Default: whatever occurs.

    Returns
    -------
    (..., Y, X) array
        The input's dtype where it can hold 255, else uint8.

    Raises
    ------
    InputError
        For a negative ``n``, labels that are floats or negative, or a label that is none of the classes.
    """
    n = check_steps(n)
    return apply(labels, classes, lambda codes: dilated(codes, n), n)


def erode(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Erode every class ``n`` times by a 3x3 template.

    In each pass a pixel keeps its class if all of its 3x3 neighbourhood has that class, else it becomes
    background. What lies outside the image and unlabelled pixels do not erode. Classes that touch both lose their
    side of the boundary.

    Parameters, results and errors as in `dilate`.
    """
    n = check_steps(n)
    return apply(labels, classes, lambda codes: eroded(codes, n), n)


def opening(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Erode ``n`` times, then dilate ``n`` times: what is at most ``2 n`` pixels wide goes, corners turn square.

    No class gains a pixel, and a second opening changes nothing.

    Parameters, results and errors as in `dilate`.
    """
    n = check_steps(n)
    return apply(labels, classes, lambda codes: dilated(eroded(codes, n), n), 2 * n)


def closing(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Dilate ``n`` times, then let the background grow back ``n`` times: its gaps of up to ``2 n`` pixels are filled.

    For one class this is dilation followed by erosion. With several, erosion would cut a gap wherever two of them
    touch; here only the background takes back, so no class loses a pixel. A gap between two classes is shared as in
    `dilate`. A second closing changes nothing.

    Parameters, results and errors as in `dilate`.
    """
    n = check_steps(n)
    return apply(labels, classes, lambda codes: regained(dilated(codes, n), n), 2 * n)


def skeleton(labels: Any) -> np.ndarray:
    """The one-pixel-wide skeleton of every class, on background.

    Each class of each plane is thinned by itself (`skimage.morphology.skeletonize`); what is not on a skeleton
    becomes background.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed. Unlabelled pixels stay unlabelled.

    Returns
    -------
    (..., Y, X) array
        The input's dtype where it can hold 255, else uint8.

    Raises
    ------
    InputError
        For labels that are floats or negative.
    """
    from skimage.morphology import skeletonize

    array = check_labels(labels)
    result = np.zeros(array.shape, result_dtype(array))
    size = array.shape[-2:]
    for plane, thin in zip(array.reshape(-1, *size), result.reshape(-1, *size), strict=True):
        for value in values_in(plane):
            if value == UNLABELLED:
                thin[plane == UNLABELLED] = UNLABELLED
            elif value:
                box, mask = _cropped(plane == value)
                thin[box][skeletonize(mask)] = value
    return result


def _cropped(mask: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """The smallest box around the true pixels and what is in it: a small class need not cost a whole plane."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return box, mask[box]


# -------- PCL by displacement: every boundary moved by a smooth random field.


_ROWS, _COLUMNS = 64, 64

_REACH = 4.0

_SPACING = 1.25


def displace_boundary(labels: Any, amplitude: float, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Move all boundaries by a smooth random field.

    Each pixel takes the label from the place that the field points to (nearest pixel, held inside the image). Both
    components of the field are Gaussian, independent, of standard deviation ``amplitude``; their autocorrelation at
    distance d is ``exp(-(d / correlation)^2)``. So a boundary moves along its normal by ``amplitude`` rms, and
    places ``correlation`` apart move almost on their own. Classes cannot collide. Outlines
    bend as long as ``amplitude`` is below a quarter of ``correlation``; from there on the field folds more and more,
    and they break up.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        Not changed. Unlabelled pixels (255) stay so; where the field points to one, a pixel keeps its own label.
    amplitude : float
        Standard deviation of the displacement along each axis, pixels, from 0.
    correlation : float
        Distance at which the field's autocorrelation has fallen to 1/e, pixels, above 0. Below 1.5 it falls faster,
        as fields on a pixel grid must in the end: the limit is a field of independent pixels.
    rng : numpy.random.Generator

    Returns
    -------
    (..., Y, X) array
        The input's dtype where it can hold 255, else uint8.

    Raises
    ------
    InputError
        For a negative amplitude, a correlation that is not above 0, NaN or infinity; labels that are floats or
        negative.
    """
    if not (np.isfinite(amplitude) and amplitude >= 0):
        raise InputError(f"The amplitude must be a number of pixels from 0, not {amplitude:g}.")
    if not (np.isfinite(correlation) and correlation > 0):
        raise InputError(f"The correlation length must be a number of pixels above 0, not {correlation:g}.")
    array = check_labels(labels)
    result = np.empty(array.shape, result_dtype(array))
    size = array.shape[-2:]
    for plane, moved in zip(array.reshape(-1, *size), result.reshape(-1, *size), strict=True):
        flat = plane.reshape(-1)
        partly = bool((flat == UNLABELLED).any())
        for rows, field in displacements(size, amplitude, correlation, rng):
            labels_there = flat.take(_places(rows, field, size), mode="clip")
            if partly:
                here = plane[rows]
                np.copyto(labels_there, here, where=(here == UNLABELLED) | (labels_there == UNLABELLED))
            moved[rows] = labels_there
    return result


def _places(rows: slice, field: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Flat indices of the pixels nearest to the displaced ones; changes the field."""
    height, width = size
    dy, dx = field
    dy += np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5)
    dx += np.arange(width, dtype=np.float32) + np.float32(0.5)
    # Clipped before the cast, which truncates: for what is not negative that is down, so the half makes it nearest.
    y = np.clip(dy, 0, height - 0.5, out=dy).astype(np.intp)
    x = np.clip(dx, 0, width - 0.5, out=dx).astype(np.intp)
    y *= width
    y += x
    return y


def displacements(
    size: tuple[int, int], amplitude: float, correlation: float, rng: np.random.Generator
) -> Iterator[tuple[slice, np.ndarray]]:
    """A smooth random field, in blocks of rows from the top.

    White noise under a Gaussian of standard deviation ``correlation / 2``, whose autocorrelation is one of twice
    that variance. The noise stands on a grid as coarse as the Gaussian allows: at a spacing of 1.25 standard
    deviations, sums over the grid differ from the integral by less than 0.4 %, and the variance of every pixel is
    then made exact. One pass of two small matrix products replaces filter and interpolation.

    Yields
    ------
    rows : slice
    field : (2, rows, X) float32 array
        Displacements along y and x, pixels.
    """
    height, width = size
    columns = _weights(width, correlation, _COLUMNS)
    nodes = columns[-1][1].stop
    noise, first = np.empty((0, 2, nodes), np.float32), 0
    for rows, used, weights in _weights(height, correlation, _ROWS):
        fresh = rng.standard_normal((used.stop - first - len(noise), 2, nodes), dtype=np.float32)
        noise, first = np.concatenate([noise[used.start - first :], fresh]), used.start
        along_y = (amplitude * weights @ noise.reshape(len(noise), -1)).reshape(-1, 2, nodes).swapaxes(0, 1)
        field = np.empty((2, len(weights), width), np.float32)
        for pixels, seen, across in columns:
            np.matmul(along_y[..., seen], across.T, out=field[..., pixels])
        yield rows, field


def _weights(size: int, correlation: float, block: int) -> list[tuple[slice, slice, np.ndarray]]:
    """Along one axis, per block of pixels: the block, the nodes of the noise in its reach, and their weights.

    Squares of the weights of a pixel sum to 1.
    """
    sigma = max(correlation / 2, 0.1)  # by then a pixel's neighbours weigh nothing
    spacing = max(1.0, _SPACING * sigma)
    margin = int(np.ceil(_REACH * sigma / spacing))
    found = []
    for start in range(0, size, block):
        pixels = np.arange(start, min(start + block, size))
        nodes = np.arange(int(pixels[0] / spacing), int(np.ceil(pixels[-1] / spacing)) + 2 * margin + 1)
        distance = pixels[:, None] - spacing * (nodes - margin)
        weights = np.exp(-0.5 * (distance / sigma) ** 2)
        weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
        found.append((slice(start, start + len(pixels)), slice(nodes[0], nodes[-1] + 1), weights.astype(np.float32)))
    return found
