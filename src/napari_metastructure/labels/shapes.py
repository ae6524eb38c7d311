"""PCL, perturbed clean labels: structures dilated, eroded, opened, closed, thinned, or their boundaries displaced.

All work plane by plane on the last two axes. Class 0 is the background. Unlabelled pixels (255) stay unlabelled and
have no effect on others: they neither grow nor erode a class, and no class takes them. For one class without
unlabelled pixels, results equal `scipy.ndimage.binary_dilation` and `binary_erosion` with a 3x3 structure and, for
the latter, ``border_value=1``.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.pixels import check_classes, check_labels, lookup, result_dtype, values_in

BLOCK = 1 << 18
"""Pixels of a strip of rows: a handful of uint8 arrays of this size stay in a core's cache."""

_ROWS, _COLUMNS = 64, 64
"""Blocks of the displacement field."""

_REACH = 4.0
"""Where the Gaussian of the field is cut, in standard deviations."""

_SPACING = 1.25
"""Of the noise under it, in standard deviations."""


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

    Examples
    --------
    >>> dilate(np.array([[2, 0, 0, 0, 0, 1]]))
    array([[2, 2, 0, 0, 1, 1]])
    """
    n = check_steps(n)
    return _apply(labels, classes, lambda codes: dilated(codes, n), n)


def erode(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Erode every class ``n`` times by a 3x3 template.

    In each pass a pixel keeps its class if all of its 3x3 neighbourhood has that class, else it becomes
    background. What lies outside the image and unlabelled pixels do not erode. Classes that touch both lose their
    side of the boundary.

    Parameters, results and errors as in `dilate`.

    Examples
    --------
    >>> erode(np.array([[1, 1, 1, 2, 2, 0]]))
    array([[1, 1, 0, 0, 0, 0]])
    """
    n = check_steps(n)
    return _apply(labels, classes, lambda codes: eroded(codes, n), n)


def opening(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Erode ``n`` times, then dilate ``n`` times: removes what is at most ``2 n`` pixels wide, makes corners square.

    No class gains a pixel, and a second opening changes nothing.

    Parameters, results and errors as in `dilate`.

    Examples
    --------
    >>> opening(np.array([[0, 1, 1, 0, 1, 1, 1]]))
    array([[0, 0, 0, 0, 1, 1, 1]])
    """
    n = check_steps(n)
    return _apply(labels, classes, lambda codes: dilated(eroded(codes, n), n), 2 * n)


def closing(labels: Any, n: int = 1, classes: Sequence[int] | None = None) -> np.ndarray:
    """Dilate ``n`` times, then let the background grow back ``n`` times: fills gaps of up to ``2 n`` pixels.

    For one class this is dilation followed by erosion. With several, erosion would cut a gap wherever two of them
    touch; here only the background takes back, so no class loses a pixel. A gap between two classes is shared as in
    `dilate`. A second closing changes nothing.

    Parameters, results and errors as in `dilate`.

    Examples
    --------
    >>> closing(np.array([[1, 1, 0, 1, 1, 0, 0, 0, 0]]))
    array([[1, 1, 1, 1, 1, 0, 0, 0, 0]])
    """
    n = check_steps(n)
    return _apply(labels, classes, lambda codes: close_background(dilated(codes, n), n), 2 * n)


def skeleton(labels: Any) -> np.ndarray:
    """Thin every class to its one-pixel-wide skeleton, on background.

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

    Examples
    --------
    >>> bar = np.ones((9, 30), int)
    >>> int(skeleton(bar).sum(axis=0).max())  # one pixel wide
    1
    """
    from skimage.morphology import skeletonize

    array = check_labels(labels)
    result = np.zeros(array.shape, result_dtype(array))
    for plane, thin in _planes(array, result):
        for value in values_in(plane):
            if value == UNLABELLED:
                thin[plane == UNLABELLED] = UNLABELLED
            elif value:
                box, mask = _cropped(plane == value)
                thin[box][skeletonize(mask)] = value
    return result


def perturb_objects(labels: Any, n: int, rng: np.random.Generator) -> np.ndarray:
    """Dilate or erode every object by a random number of steps of its own.

    An object is an 8-connected piece of one class in one plane, so a whole network is one. Its steps are drawn
    uniformly from the whole numbers ``-n`` to ``n``; below 0 it is eroded as by `erode`, above 0 dilated.

    Where objects collide: first those to be eroded shrink. Then the others grow into the background that is there
    now, in ``n`` passes, of which an object takes part in its last ones, so that all end together. A pixel goes to
    the object that reaches it first, in the same pass to the lowest class; no object takes another's pixels, and those
    of one class may merge. Unlabelled pixels (255) stay so, belong to no object and neither erode nor give way.

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

    Examples
    --------
    >>> labels = np.zeros((9, 9), np.uint8)
    >>> labels[3:6, 3:6] = 1
    >>> side = np.sqrt(perturb_objects(labels, 1, np.random.default_rng(0)).sum())
    >>> int(side) in (1, 3, 5)
    True
    """
    n = check_steps(n)
    array = check_labels(labels)
    code_of, label_of = _coding(array)
    result = np.empty(array.shape, result_dtype(array))
    for plane, perturbed in _planes(array, result):
        codes = code_of(plane)
        steps = random_steps(codes, n, rng)
        for outer, inner, target in _strips(plane.shape, 2 * n):
            here = steps[outer]
            perturbed[target] = label_of(_grown(_shrunk(codes[outer], here), here)[inner])
    return result


def displace_boundary(labels: Any, amplitude: float, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Displace all boundaries by a smooth random field.

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

    Examples
    --------
    >>> labels = np.zeros((100, 100), np.uint8)
    >>> labels[:, 50:] = 1
    >>> moved = displace_boundary(labels, 2, 12, np.random.default_rng(0))
    >>> bool(0 < (moved != labels).mean() < 0.1)
    True
    """
    if not (np.isfinite(amplitude) and amplitude >= 0):
        raise InputError(f"The amplitude must be a number of pixels from 0, not {amplitude:g}.")
    if not (np.isfinite(correlation) and correlation > 0):
        raise InputError(f"The correlation length must be a number of pixels above 0, not {correlation:g}.")
    array = check_labels(labels)
    result = np.empty(array.shape, result_dtype(array))
    size = array.shape[-2:]
    for plane, moved in _planes(array, result):
        flat = plane.reshape(-1)
        partly = bool((flat == UNLABELLED).any())
        for rows, field in displacements(size, amplitude, correlation, rng):
            labels_there = flat.take(_places(rows, field, size), mode="clip")
            if partly:
                here = plane[rows]
                np.copyto(labels_there, here, where=(here == UNLABELLED) | (labels_there == UNLABELLED))
            moved[rows] = labels_there
    return result


def check_steps(n: Any) -> int:
    """Check that a number of passes is an integer from 0."""
    try:
        steps = operator.index(n)
    except TypeError:
        steps = -1
    if steps < 0:
        raise InputError(f"The number of steps n must be a whole number from 0, not {n}.")
    return steps


# ---- Strips of planes as codes -----------------------------------------------------------------------------


def _apply(
    labels: Any, classes: Sequence[int] | None, function: Callable[[np.ndarray], np.ndarray], reach: int
) -> np.ndarray:
    """Apply a function of codes, in which no pixel matters farther than ``reach``, to labels of any integer dtype."""
    array = check_labels(labels)
    code_of, label_of = _coding(array, classes)
    result = np.empty(array.shape, result_dtype(array))
    for plane, out in _planes(array, result):
        for outer, inner, target in _strips(plane.shape, reach):
            out[target] = label_of(function(code_of(plane[outer]))[inner])
    return result


def _coding(
    labels: np.ndarray, classes: Sequence[int] | None = None
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Make two functions for blocks of these labels: from labels to uint8 codes and back.

    Labels up to 255 are their own codes. Instance numbers, and labels that are none of the classes, are refused.
    """
    if int(labels.max()) <= UNLABELLED:
        if classes is not None:
            check_classes(labels, classes, may_be_empty=True)
        return (lambda block: block.astype(np.uint8, copy=False)), (lambda codes: codes)
    used = sorted({0, *check_classes(labels, classes)})
    values = np.array(used + [UNLABELLED] * (256 - len(used)), result_dtype(labels))
    return lookup(labels, used, np.arange(len(used), dtype=np.uint8), UNLABELLED), values.take


def _planes(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Iterate over the (Y, X) planes of arrays of one shape; those of contiguous arrays are views."""
    return zip(*(a.reshape(-1, *a.shape[-2:]) for a in arrays), strict=True)


def _strips(shape: tuple[int, ...], reach: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cut a plane into strips of rows: the rows to read, which of these are right then, and where they go."""
    height, width = shape
    rows = min(height, max(1, BLOCK // width, 2 * reach))
    for top in range(0, height, rows):
        bottom, first = min(top + rows, height), max(0, top - reach)
        yield slice(first, bottom + reach), slice(top - first, bottom - first), slice(top, bottom)


# ---- Passes of a 3x3 template over codes -------------------------------------------------------------------


def dilated(codes: np.ndarray, n: int) -> np.ndarray:
    """Dilate codes, see `dilate`."""
    key, gaps = _to_precedence(codes)
    if _one_class(key):
        return _from_precedence(_spread(key, n, gaps), gaps)
    for _ in range(n):
        new = _dilate_once(key, key, gaps)
        if np.array_equal(new, key):
            break
        key = new
    return _from_precedence(key, gaps)


def eroded(codes: np.ndarray, n: int) -> np.ndarray:
    """Erode codes, see `erode`."""
    key, gaps = _to_precedence(codes)
    if n and not _one_class(key):
        # Where classes touch, both lose a pixel; from then on background lies between them.
        upside_down = ~codes if gaps is None else ~codes | gaps
        uniform = _all_ones(_lowest(codes, 1) == ~_lowest(upside_down, 1))
        codes = codes & uniform if gaps is None else codes & uniform | gaps
        n -= 1
    return _spread(codes, n, gaps)


def close_background(codes: np.ndarray, n: int) -> np.ndarray:
    """Let the background grow by ``n`` passes, into all classes alike."""
    return codes & _spread(_all_ones(codes != 0), n, _unlabelled(codes))


def _shrunk(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Erode every object with negative steps by them."""
    worn = result = codes
    for k in range(1, 1 - int(steps.min())):
        worn = eroded(worn, 1)
        result = result & (worn | _all_ones(steps > -k))
    return result


def _grown(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Dilate every object with positive steps by them, all ending with the same pass."""
    key, gaps = _to_precedence(codes)
    # As all end together, all that grow have equally many passes left: a pixel just taken goes on like its owner
    # without knowing it.
    growing = np.zeros_like(codes)
    for left in range(int(steps.max()), 0, -1):
        growing |= _all_ones(steps >= left)
        new = _dilate_once(key, key | ~growing, gaps)
        growing |= _all_ones(new != key)
        key = new
    return _from_precedence(key, gaps)


def _dilate_once(key: np.ndarray, growing: np.ndarray, gaps: np.ndarray | None) -> np.ndarray:
    """Dilate keys by one pass, in which background takes the lowest growing key around it."""
    closed = _all_ones(key != UNLABELLED)
    if gaps is not None:
        closed |= gaps
    new = _lowest(growing, 1)
    new |= closed
    new &= key
    return new


def _to_precedence(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Turn codes into keys in order of precedence, the lowest first, 255 giving way to all; and find `_unlabelled`."""
    gaps = _unlabelled(codes)
    key = codes - np.uint8(1)  # background wraps round to 255
    if gaps is not None:
        key |= gaps
    return key, gaps


def _from_precedence(key: np.ndarray, gaps: np.ndarray | None) -> np.ndarray:
    """Turn keys back into codes."""
    codes = key + np.uint8(1)
    if gaps is not None:
        codes |= gaps
    return codes


def _unlabelled(codes: np.ndarray) -> np.ndarray | None:
    """Find unlabelled pixels: 255 there, 0 elsewhere; None where every pixel has a label."""
    found = codes == UNLABELLED
    return _all_ones(found) if found.any() else None


def _spread(codes: np.ndarray, n: int, gaps: np.ndarray | None) -> np.ndarray:
    """Give each pixel the lowest code around it, in ``n`` passes; where ``gaps`` is 255, it stays 255."""
    if gaps is None:
        return _lowest(codes, n)
    for _ in range(n):
        new = _lowest(codes, 1)
        new |= gaps
        if np.array_equal(new, codes):
            break
        codes = new
    return codes


def _lowest(codes: np.ndarray, radius: int) -> np.ndarray:
    """Take the minimum over the square of ``2 radius + 1`` pixels around each pixel, as far as it lies inside."""
    # scipy.ndimage.minimum_filter takes 6 to 20 times as long.
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


def _all_ones(condition: np.ndarray) -> np.ndarray:
    """Give 255 where a condition is true, 0 elsewhere."""
    return np.negative(condition.view(np.uint8))


def _one_class(key: np.ndarray) -> bool:
    """Say whether at most one value besides 255 is there."""
    low = key.min()
    return bool(((key == low) | (key == UNLABELLED)).all())


# ---- Objects, skeletons, displacements ---------------------------------------------------------------------


def random_steps(codes: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the steps of every object of a (Y, X) plane of codes, from ``-n`` to ``n``, and give each pixel its own's.

    Pixels that belong to no object have 0 steps. The result has the smallest signed integers that hold ``n``.
    """
    from scipy.ndimage import label as label_mask
    from skimage.measure import label

    # Both number objects from 1 in the order of their first pixels; the first knows one class only, but is faster.
    classes = [value for value in values_in(codes) if value not in (0, UNLABELLED)]
    if len(classes) < 2:
        numbers, count = label_mask((codes != 0) & (codes != UNLABELLED), np.ones((3, 3)))
    else:
        numbers = label(np.where(codes == UNLABELLED, np.uint8(0), codes), background=0, connectivity=2)
        count = int(numbers.max())
    drawn = rng.integers(-n, n + 1, size=count)
    return np.append(0, drawn).astype(np.min_scalar_type(-n - 1)).take(numbers)


def _cropped(mask: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """Cut out the smallest box around the true pixels: a small class need not cost a whole plane."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return box, mask[box]


def _places(rows: slice, field: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Find the flat indices of the pixels nearest to the displaced ones; changes the field."""
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
    """Draw a smooth random field, in blocks of rows from the top.

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
    """Weigh the noise along one axis; per block: its pixels, the nodes of the noise in reach, and their weights.

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
