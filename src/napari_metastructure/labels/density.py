"""Kernel density of labels, eq. (8): the meta-structure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from napari_metastructure.errors import InputError, counted, listed
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import LabelStack, PlaneDone
from napari_metastructure.labels.pixels import check_labels, classes_in

Kernel = Literal["box", "gaussian", "epanechnikov"]
"""Round kernels. The bandwidth is the radius of ``box`` and ``epanechnikov``, the sigma of ``gaussian``."""

KERNELS: tuple[Kernel, ...] = get_args(Kernel)

LEAST = 0.1
"""Pixels that a bandwidth has at least."""

Bandwidth = float | tuple[float, float]
Maps = Mapping[int, np.ndarray]
"""Densities by class."""

# Places where sums are cut, in bandwidths: of a Gaussian, of each of two in a row, and of its weights. What lies
# outside weighs less than 1e-6.
_REACH, _HALF_REACH, _CUT = 6, 4, 5

# How finely a Gaussian is sampled: bandwidths per grid step.
_STEP = 1.6

# Running sums of bytes are right for as many pixels, in strips of so many.
_MOST, _STRIP = 255, 1 << 19

# Smallest and largest tile of Fourier transforms; those in float32 are exact to a tenth of a point for sums below.
_SMALLEST, _LARGEST, _EXACT = 256, 4096, 1 << 18


def density(
    labels: Any, label_class: int, kernel: Kernel = "box", bandwidth: Bandwidth = 8.0, *, edges: bool = False
) -> np.ndarray:
    """Estimate the density of a class's pixels, eq. (8), per pixel of area.

    f(x) = 1/N * sum_k K(x - x_k), over the N pixels x_k of the class. Eq. (8) has 1/(2Nh) in front, the length of its
    search area on a line; in the plane the box is a disc of radius h and the factor 1/(N pi h^2). Kernels are round and
    normalised as scikit-learn's ``KernelDensity`` ("tophat", "gaussian", "epanechnikov"), with which the map agrees.

    Parameters
    ----------
    labels : (..., Y, X) array of integers or booleans
        0 = background, 1, 2, ... = classes, 255 = unlabelled: points of no class. Not changed. Leading axes are
        separate planes, each with its own N.
    label_class : int
        Whose density.
    kernel : {"box", "gaussian", "epanechnikov"}
        ``box`` counts the pixels nearer than the bandwidth, as the paper; it weighs every pixel alike, so its sampling
        error is least. ``gaussian`` and ``epanechnikov`` weigh near ones more.
    bandwidth : float or (float, float)
        In pixels: the radius of box and Epanechnikov, the sigma of Gaussian. Two numbers are those along Y and X.
    edges : bool
        Correct for what lies outside: divide by the share of the kernel that lies on labelled pixels of the image
        (uniform correction [1]_), then scale to a sum of 1. The map is then proportional to the share of the class
        among the labelled pixels around. Places without a labelled pixel in reach are 0; for Gaussian that is with
        less than what one pixel 4 bandwidths away weighs.

    Returns
    -------
    (..., Y, X) float32 array
        Planes without the class are 0.

    Raises
    ------
    InputError
        For labels that are none, no labelled pixel, a class that is absent, a bandwidth that is not above 0 or is
        larger than the image, or an unknown kernel.

    References
    ----------
    .. [1] Baddeley, Rubak and Turner, Spatial Point Patterns, 2015, section 6.5.

    Examples
    --------
    >>> labels = np.zeros((32, 32), np.uint8)
    >>> labels[16, 16] = 1
    >>> found = density(labels, 1, "box", 2)
    >>> int((found > 0).sum()), round(float(found.max()), 4)  # 9 pixels lie nearer than 2; 1 / (4 pi)
    (9, 0.0796)
    """
    return densities(labels, kernel, bandwidth, edges=edges, classes=(label_class,))[int(label_class)]


def densities(
    labels: Any,
    kernel: Kernel = "box",
    bandwidth: Bandwidth = 8.0,
    *,
    edges: bool = False,
    classes: Sequence[int] | None = None,
) -> dict[int, np.ndarray]:
    """Estimate the `density` of each class, in less time than one by one.

    Parameters
    ----------
    labels, kernel, bandwidth, edges
        As in `density`.
    classes : sequence of int, optional
        Whose densities; those present if left out.

    Returns
    -------
    dict of int to (..., Y, X) float32 array

    Raises
    ------
    InputError
        As `density`.

    Examples
    --------
    >>> sorted(densities(np.eye(16, dtype=np.uint8), bandwidth=3))
    [0, 1]
    """
    array, kernel = check_labels(labels), check_kernel(kernel)
    present = classes_in(array)
    chosen = present if classes is None else tuple(int(c) for c in classes)
    if absent := [c for c in chosen if c not in present]:
        raise InputError(f"There is no pixel of class {absent[0]} in the labels; choose among {listed(present)}.")
    pair = check_bandwidth(bandwidth, array.shape)
    maps: dict[int, list[np.ndarray]] = {c: [] for c in chosen}
    for plane in array.reshape(-1, *array.shape[-2:]):
        for c, found in _of_plane(plane, chosen, kernel, pair, edges):
            maps[c].append(found)
    # One plane is not copied: it may be large.
    return {c: (m[0] if len(m) == 1 else np.stack(m)).reshape(array.shape) for c, m in maps.items()}


def plane_maps(
    labels: np.ndarray,
    classes: tuple[int, ...],
    label_class: int | None,
    kernel: Kernel,
    bandwidth: tuple[float, float],
    edges: bool,
) -> Maps:
    """Estimate the density of one class, or of each above 0, on a plane that may lack it.

    Parameters
    ----------
    labels : (Y, X) array
    classes : tuple of int
        Those on the plane.
    label_class : int or None
        Whose map; None for each above 0.
    kernel, bandwidth, edges
        As in `density`.

    Returns
    -------
    dict of int to (Y, X) float32 array
        0 throughout for a class that is not on the plane; of class 1 if there is none above 0.
    """
    wanted = [c for c in classes if c] or [1] if label_class is None else [label_class]
    present = [c for c in wanted if c in classes]
    maps = densities(labels, kernel, bandwidth, edges=edges, classes=present) if present else {}
    return {c: maps[c] if c in maps else np.zeros(labels.shape, np.float32) for c in wanted}


def densities_of_stack(
    stack: LabelStack, label_class: int | None, kernel: Kernel, bandwidth: Bandwidth, *, edges: bool = False
) -> Iterator[PlaneDone | Maps]:
    """Estimate the densities of all planes of a stack, which may be lazy, one after the other.

    Parameters
    ----------
    stack : LabelStack
        Of an array; each plane is read by itself.
    label_class : int or None
        Whose density; None for each class above 0.
    kernel, bandwidth, edges
        As in `density`.

    Yields
    ------
    PlaneDone
        After each plane; who stops iterating here stops the work.
    dict of int to (..., Y, X) float32 array
        At the end: of each class that is on any plane; 0 on planes without it.

    Raises
    ------
    InputError
        As `density`; if no plane holds the class, or there is not enough memory.

    Examples
    --------
    >>> from napari_metastructure.labels.classes import LabelStack
    >>> stack = LabelStack(np.array([np.eye(16), np.tri(16)], int), "foreground")
    >>> *progress, maps = densities_of_stack(stack, 1, "box", 3)
    >>> len(progress), maps[1].shape
    (2, (2, 16, 16))
    """
    pair, kernel = check_bandwidth(bandwidth, stack.shape, stack.name), check_kernel(kernel)
    found: dict[int, np.ndarray] = {}
    for index in range(len(stack)):
        labels, classes = stack.read_alone(index)
        for c, values in plane_maps(labels, classes, label_class, kernel, pair, edges).items():
            if values.any():
                if c not in found:
                    found[c] = _zeros(stack)
                found[c].reshape(-1, *labels.shape)[index] = values
        yield PlaneDone(index + 1, len(stack))
    if not found:
        what = "class above 0" if label_class is None else f"pixel of class {label_class}"
        raise InputError(f"{stack.name} has no {what} on any slice; choose a class that is there.")
    yield {c: found[c] for c in sorted(found)}


def _zeros(stack: LabelStack) -> np.ndarray:
    try:
        return np.zeros(stack.shape, np.float32)
    except MemoryError:
        size = np.prod(stack.shape, dtype=float) * 4 / 2**30
        raise InputError(
            f"{stack.name}: its densities need {size:.1f} GiB of memory; cut the stack into shorter ones."
        ) from None


def _of_plane(
    plane: np.ndarray, classes: Sequence[int], kernel: Kernel, bandwidth: tuple[float, float], edges: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Estimate each class's density in one (Y, X) plane."""
    gaps = edges and bool((plane == UNLABELLED).any())
    share = _inverse_share(plane, kernel, bandwidth, gaps) if edges else None
    for c in classes:
        points = plane == c
        n = int(np.count_nonzero(points))
        if not n:
            yield c, np.zeros(plane.shape, np.float32)
            continue
        sums = smooth(points, kernel, bandwidth, precise=gaps)
        if share is not None:
            sums *= share
            sums /= sums.sum()
        else:
            sums *= height(kernel, bandwidth) / n
        yield c, sums


def _inverse_share(plane: np.ndarray, kernel: Kernel, bandwidth: tuple[float, float], gaps: bool) -> np.ndarray:
    """Invert the kernel's sum over labelled pixels; 0 where none is in reach."""
    if not gaps:
        return 1 / _smooth_ones(plane.shape, kernel, bandwidth)
    within = smooth(plane != UNLABELLED, kernel, bandwidth, precise=True)
    near = within >= _least_sum(kernel, bandwidth)
    np.divide(1, within, out=within, where=near)
    within[~near] = 0
    return within


# ---- Kernels -----------------------------------------------------------------------------------------------


def check_kernel(kernel: str) -> Kernel:
    """Check that there is a kernel of a name."""
    for known in KERNELS:
        if kernel == known:
            return known
    raise InputError(f"There is no kernel {kernel!r}; choose one of {', '.join(KERNELS)}.")


def check_bandwidth(bandwidth: Any, shape: tuple[int, ...], name: str = "The labels") -> tuple[float, float]:
    """Check that an image of a shape can take a bandwidth, one number or two, and return that along Y and X.

    Raises
    ------
    InputError
        Unless there are one or two finite numbers from a tenth, neither larger than its side of the image.
    """
    try:
        by, bx = (float(b) for b in np.broadcast_to(np.asarray(bandwidth, dtype=float), 2))
    except (TypeError, ValueError):
        raise InputError(
            f"The bandwidth {bandwidth!r} must be a number of pixels, or one for Y and one for X."
        ) from None
    for width, side, axis in ((by, shape[-2], "high"), (bx, shape[-1], "wide")):
        if not (np.isfinite(width) and width > 0):
            raise InputError(f"The bandwidth must be a number of pixels above 0, not {width:g}.")
        if width < LEAST:
            raise InputError(f"{name}: a bandwidth of {width:g} pixels is far below one; take {LEAST} at least.")
        if width > side:
            raise InputError(
                f"{name}: the bandwidth {width:g} is larger than the image, {counted(side, 'pixel')} {axis}; lower it."
            )
    return by, bx


def height(kernel: Kernel, bandwidth: tuple[float, float]) -> float:
    """Return the kernel's value at its centre, per pixel of area, such that its integral over the plane is 1.

    With an area A = by * bx: 1 / (pi A) for box, 2 / (pi A) for Epanechnikov, 1 / (2 pi A) for Gaussian.
    """
    return {"box": 1.0, "epanechnikov": 2.0, "gaussian": 0.5}[kernel] / (np.pi * bandwidth[0] * bandwidth[1])


def weights(kernel: Kernel, bandwidth: tuple[float, float]) -> np.ndarray:
    """Return the kernel at whole pixels around its centre, where it is 1, as (2 ry + 1, 2 rx + 1) float64.

    A pixel counts whose distance is less than the bandwidth, as in scikit-learn.
    """
    by, bx = bandwidth
    if kernel == "gaussian":
        return _gaussian(_offsets(by * _CUT), by)[:, None] * _gaussian(_offsets(bx * _CUT), bx)
    y, x = _offsets(by)[:, None], _offsets(bx)
    far, limit = (y * bx) ** 2 + (x * by) ** 2, (by * bx) ** 2  # no division: whole numbers compare exactly
    inside = far < limit
    return inside * 1.0 if kernel == "box" else np.where(inside, 1 - far / limit, 0.0)


def _offsets(reach: float) -> np.ndarray:
    """Whole pixels less than ``reach`` from 0, ascending."""
    last = int(np.ceil(reach)) - 1
    return np.arange(-last, last + 1)


def _gaussian(distance: np.ndarray, sigma: float) -> np.ndarray:
    return np.exp(-0.5 * (distance / sigma) ** 2)


def _least_sum(kernel: Kernel, bandwidth: tuple[float, float]) -> float:
    """Return the least sum under a kernel that means that a point is in reach.

    Half the smallest weight, as long as that stands out from rounding; a Gaussian has no end, so there it is the weight
    of one point 4 bandwidths away.
    """
    if kernel == "gaussian":
        return 0.999 * float(np.exp(-8))  # a pixel exactly there is in reach, however it is rounded
    shape = weights(kernel, bandwidth)
    return max(float(shape[shape > 0].min()) / 2, 1e-9 * float(shape.sum()))


# ---- Sums under a kernel -----------------------------------------------------------------------------------
#
# Each by the fastest way: by Fourier transform alone Gaussians took 2 to 10 times as long, small discs 2 to 4 times.


def smooth(mask: np.ndarray, kernel: Kernel, bandwidth: tuple[float, float], precise: bool = False) -> np.ndarray:
    """Sum a kernel of height 1 over the points of a mask: eq. (8) without 1 / 2Nh, in two dimensions.

    Parameters
    ----------
    mask : (Y, X) array of booleans
        The points; there are none outside.
    kernel : {"box", "gaussian", "epanechnikov"}
    bandwidth : (float, float)
        Pixels, along Y and X.
    precise : bool
        Small sums are right to 1e-6 of themselves, not only to 1e-6 of the largest, so that they can be divided by.

    Returns
    -------
    (Y, X) float32 array
        Of ``box`` whole numbers: the points nearer than the bandwidth. Nowhere negative.
    """
    if kernel == "gaussian":
        return _by_matrices(mask, bandwidth)
    shape = weights(kernel, bandwidth)
    if kernel == "box" and np.count_nonzero(shape) <= _MOST:
        return _by_running_sums(mask, shape != 0)
    whole = kernel == "box"
    return _by_fourier(mask, shape, whole=whole, precise=bool(shape.sum() > _EXACT) if whole else precise)


def _smooth_ones(size: tuple[int, ...], kernel: Kernel, bandwidth: tuple[float, float]) -> np.ndarray:
    """Smooth a mask that is full, in a fraction of the time: away from the border all pixels are alike."""
    radius = [n // 2 for n in weights(kernel, bandwidth).shape]
    places = []
    for n, r in zip(size, radius, strict=True):
        # Each place's like in the shortest line that has both borders and one pixel between.
        place = np.arange(n)
        places.append(place if n <= 2 * r + 1 else np.where(place < n - r, np.minimum(place, r), place - n + 2 * r + 1))
    small = np.ones([int(p[-1]) + 1 for p in places], dtype=bool)
    return smooth(small, kernel, bandwidth)[:, places[1]][places[0]]


def _by_running_sums(mask: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Count the points under a convex, symmetric footprint, for each of its columns by two sums down the image.

    Bytes may run over: differences modulo 256 are right as long as the footprint has no more than 255 pixels. They
    are an order of magnitude faster than floats.
    """
    (rows, width), (ry, rx) = mask.shape, (n // 2 for n in footprint.shape)
    result = np.empty(mask.shape, np.float32)
    step = max(32, _STRIP // (width + 2 * rx) - 2 * ry)
    for top in range(0, rows, step):
        n, first = min(step, rows - top), max(0, top - ry)
        points = mask[first : top + n + ry]
        sums = np.zeros((n + 2 * ry + 1, width + 2 * rx), np.uint8)
        start = first - top + ry + 1
        sums[start : start + len(points), rx : rx + width] = points
        for i in range(1, len(sums)):  # np.cumsum along this axis is several times slower
            sums[i] += sums[i - 1]
        total = np.zeros((n, width), np.uint8)
        for x, half in enumerate(np.count_nonzero(footprint, axis=0) // 2):
            total += sums[ry + half + 1 : ry + half + 1 + n, x : x + width]
            total -= sums[ry - half : ry - half + n, x : x + width]
        result[top : top + n] = total
    return result


def _by_matrices(mask: np.ndarray, bandwidth: tuple[float, float]) -> np.ndarray:
    """Sum Gaussians by products with small matrices, by way of a coarser grid where the Gaussian is wide."""
    *before, last = _steps(mask.shape[0], bandwidth[0])
    result = mask
    for step in before:
        result = _along_rows(result, *step)
    for step in _steps(mask.shape[1], bandwidth[1]):
        # Bands are of rows: turned on its side, the image has its columns there.
        result = _along_rows(result.T, *step).T
    return _along_rows(result, *last)


def _steps(n: int, h: float) -> list[tuple[np.ndarray, np.ndarray, float, float, float]]:
    """Plan the sums along an axis of n pixels: places from, places to, sigma, reach, factor."""
    pixels = np.arange(n)
    d = int(h / _STEP)
    if d < 2:
        return [(pixels, pixels, h, h * _REACH, 1.0)]
    margin = int(h * _HALF_REACH / d)
    grid = np.arange(-margin, (n - 1) // d + margin + 2) * d
    sigma, reach = h / np.sqrt(2), h * _HALF_REACH
    return [(pixels, grid, sigma, reach, 1.0), (grid, pixels, sigma, reach, d * np.sqrt(2 / np.pi) / h)]


def _along_rows(
    image: np.ndarray, start: np.ndarray, end: np.ndarray, sigma: float, reach: float, factor: float
) -> np.ndarray:
    """Sum the rows at the places ``start`` into rows at the places ``end``."""
    result = np.empty((len(end), image.shape[1]), np.float32)
    band = 96 if len(end) > len(start) else 32
    for first in range(0, len(end), band):
        to = end[first : first + band]
        near = slice(*np.searchsorted(start, [to[0] - reach, to[-1] + reach]))
        matrix = (factor * _gaussian(to[:, None] - start[near], sigma)).astype(np.float32)
        np.matmul(matrix, image[near].astype(np.float32, copy=False), out=result[first : first + band])
    return result


def _by_fourier(mask: np.ndarray, weights: np.ndarray, *, whole: bool, precise: bool) -> np.ndarray:
    """Convolve a mask with symmetric weights, tile by tile; in float64 if ``precise``, rounded if ``whole``."""
    from scipy.fft import irfft2, rfft2

    dtype = np.float64 if precise else np.float32
    (rows, above_and_below), (columns, on_both_sides) = map(_tiles, mask.shape, (n // 2 for n in weights.shape))
    tile = np.zeros((rows, columns), dtype)
    tile[: weights.shape[0], : weights.shape[1]] = weights
    # The weights lie symmetric about the corner, wrapped around it, so that their transform is real.
    tile = np.roll(tile, [-(n // 2) for n in weights.shape], axis=(0, 1))
    spectrum = np.ascontiguousarray(rfft2(tile).real)
    result = np.empty(mask.shape, np.float32)
    for y, above, inner_y in above_and_below:
        for x, beside, inner_x in on_both_sides:
            points = mask[above, beside]
            tile[:] = 0
            tile[: points.shape[0], : points.shape[1]] = points
            product = rfft2(tile)
            product *= spectrum
            sums = irfft2(product, s=tile.shape, overwrite_x=True)[inner_y, inner_x]
            if whole:
                np.rint(sums, out=sums)
            np.maximum(sums, 0, out=result[y, x], casting="same_kind")
    return result


def _tiles(n: int, radius: int) -> tuple[int, list[tuple[slice, slice, slice]]]:
    """Cut an axis into tiles that fit a processor's cache where the radius allows it, and are mostly not margin.

    Returns the length of a tile with its margins and, for each, its pixels, those with the margins, and the former
    within the latter.
    """
    from scipy.fft import next_fast_len

    size = max(_SMALLEST, min(12 * radius, _LARGEST), 4 * radius)
    whole = n + radius <= size  # what wraps around then falls into the empty margin
    length = n if whole else -(-n // -(-n // (size - 2 * radius)))
    pieces = []
    for start in range(0, n, length):
        stop, first = min(start + length, n), max(0, start - radius)
        pieces.append((slice(start, stop), slice(first, stop + radius), slice(start - first, stop - first)))
    return next_fast_len(length + (1 if whole else 2) * radius, real=True), pieces
