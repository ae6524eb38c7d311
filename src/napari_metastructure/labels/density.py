"""The meta-structure of a label as density maps, eq. (8): how densely the pixels of a class lie around each place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import check_labels, classes_in, listed

if TYPE_CHECKING:
    pass


# -------- From label planes to density maps, in a background thread; of what has not changed the last map is kept.


Maps = Mapping[int, np.ndarray]


def plane_maps(
    labels: np.ndarray,
    classes: tuple[int, ...],
    label_class: int | None,
    kernel: Kernel,
    bandwidth: tuple[float, float],
    edges: bool,
) -> Maps:
    """The maps of one plane: of one class, or of each above 0; of a class that is not on the plane, an empty one.

    Parameters
    ----------
    labels : (Y, X) array
    classes : tuple of int
        Those on the plane.
    label_class : int or None
        Whose map; None for each above 0.
    kernel, bandwidth, edges
        As in `napari_metastructure.labels.density.density`.

    Returns
    -------
    dict of int to (Y, X) float32 array
    """
    wanted = [c for c in classes if c] or [1] if label_class is None else [label_class]
    present = [c for c in wanted if c in classes]
    maps = densities(labels, kernel, bandwidth, edges=edges, classes=present) if present else {}
    return {c: maps[c] if c in maps else np.zeros(labels.shape, np.float32) for c in wanted}


# -------- The kernels of eq. (8): their shape, reach and height, and what bandwidths an image can take.


Kernel = Literal["box", "gaussian", "epanechnikov"]
"""Round kernels. The bandwidth is the radius of ``box`` and ``epanechnikov``, the sigma of ``gaussian``."""

KERNELS: tuple[Kernel, ...] = get_args(Kernel)

GAUSSIAN_REACH = 5
"""Where a Gaussian is cut, in bandwidths: what lies outside weighs less than 1e-6 of it."""


def check_kernel(kernel: str) -> Kernel:
    """The kernel, if there is one of that name.

    Raises
    ------
    InputError
        For any other name.
    """
    for known in KERNELS:
        if kernel == known:
            return known
    raise InputError(f"There is no kernel {kernel!r}; choose one of {', '.join(KERNELS)}.")


def check_bandwidth(bandwidth: Any, shape: tuple[int, ...], name: str = "The labels") -> tuple[float, float]:
    """The bandwidth along Y and X, if an image can take it.

    Parameters
    ----------
    bandwidth : float or (float, float)
        Pixels; two numbers are those along Y and X.
    shape : tuple of int
        Of the image; the last two axes count.
    name : str
        What the message calls the image.

    Returns
    -------
    (float, float)

    Raises
    ------
    InputError
        Unless there are one or two finite numbers above 0, neither larger than its side of the image.
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
        if width > side:
            raise InputError(
                f"{name}: the bandwidth {width:g} is larger than the image, {side} pixels {axis}; lower it."
            )
    return by, bx


def height(kernel: Kernel, bandwidth: tuple[float, float]) -> float:
    """The kernel's value at its centre, per pixel of area, such that its integral over the plane is 1.

    With an area A = by * bx: 1 / (pi A) for box, 2 / (pi A) for Epanechnikov, 1 / (2 pi A) for Gaussian.
    """
    return {"box": 1.0, "epanechnikov": 2.0, "gaussian": 0.5}[kernel] / (np.pi * bandwidth[0] * bandwidth[1])


def weights(kernel: Kernel, bandwidth: tuple[float, float]) -> np.ndarray:
    """The kernel at whole pixels around its centre, where it is 1.

    A pixel counts whose distance is less than the bandwidth, as in scikit-learn.

    Returns
    -------
    (2 ry + 1, 2 rx + 1) float64 array
    """
    if kernel == "gaussian":
        column, row = (gaussian(offsets(b * GAUSSIAN_REACH), b) for b in bandwidth)
        return column[:, None] * row
    by, bx = bandwidth
    y, x = offsets(by)[:, None], offsets(bx)
    far, limit = (y * bx) ** 2 + (x * by) ** 2, (by * bx) ** 2  # no division: whole numbers compare exactly
    inside = far < limit
    return inside * 1.0 if kernel == "box" else np.where(inside, 1 - far / limit, 0.0)


def offsets(reach: float) -> np.ndarray:
    """Whole pixels less than ``reach`` from 0, ascending."""
    last = int(np.ceil(reach)) - 1
    return np.arange(-last, last + 1)


def gaussian(distance: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of height 1."""
    return np.exp(-0.5 * (distance / sigma) ** 2)


# -------- Convolution by Fourier transform, tile by tile.


_SMALLEST, _LARGEST = 256, 4096

_EXACT = 1 << 18
"""Float32 transforms are exact to a tenth of a point for sums below this."""


def convolve(mask: np.ndarray, weights: np.ndarray, *, whole: bool = False, precise: bool = False) -> np.ndarray:
    """Convolve a mask with a kernel that is the same from all sides; zeros outside.

    Parameters
    ----------
    mask : (Y, X) array of booleans
    weights : (2 ry + 1, 2 rx + 1) array
        Not negative, symmetric about its centre.
    whole : bool
        The sums are whole numbers: round them, which makes them exact.
    precise : bool
        Transform in float64.

    Returns
    -------
    (Y, X) float32 array, nowhere negative
    """
    from scipy.fft import irfft2, rfft2

    dtype = np.float64 if precise or (whole and weights.sum() > _EXACT) else np.float32
    rows, columns = (_Tiles.of(n, k // 2) for n, k in zip(mask.shape, weights.shape, strict=True))
    spectrum = _spectrum(weights, (rows.transform, columns.transform), dtype)
    result = np.empty(mask.shape, np.float32)
    tile = np.zeros((rows.transform, columns.transform), dtype)
    for y, above, inner_y in rows.pieces():
        for x, beside, inner_x in columns.pieces():
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


def _spectrum(weights: np.ndarray, size: tuple[int, int], dtype: type) -> np.ndarray:
    """The kernel's transform; real, because the kernel lies symmetric about the corner, wrapped around it."""
    from scipy.fft import rfft2

    kernel: np.ndarray = np.zeros(size, dtype)
    kernel[: weights.shape[0], : weights.shape[1]] = weights
    kernel = np.roll(kernel, [-(n // 2) for n in weights.shape], axis=(0, 1))
    return np.ascontiguousarray(rfft2(kernel).real)


@dataclass(frozen=True)
class _Tiles:
    """How one axis is cut: ``length`` pixels at a time, ``transform`` with the margins."""

    n: int
    radius: int
    length: int
    transform: int

    @classmethod
    def of(cls, n: int, radius: int) -> _Tiles:
        """Tiles that fit a processor's cache where the radius allows it, and are mostly not margin."""
        from scipy.fft import next_fast_len

        size = max(_SMALLEST, min(12 * radius, _LARGEST), 4 * radius)
        if n + radius <= size:  # what wraps around then falls into the empty margin
            return cls(n, radius, n, next_fast_len(n + radius, real=True))
        number = -(-n // (size - 2 * radius))
        length = -(-n // number)
        return cls(n, radius, length, next_fast_len(length + 2 * radius, real=True))

    def pieces(self) -> list[tuple[slice, slice, slice]]:
        """For each tile: its pixels, those with the margin, and the former within the latter."""
        found = []
        for start in range(0, self.n, self.length):
            stop = min(start + self.length, self.n)
            first = max(0, start - self.radius)
            found.append((slice(start, stop), slice(first, stop + self.radius), slice(start - first, stop - first)))
        return found


# -------- Points within a disc: exact, by running sums for small discs and by Fourier transform for large ones.


_MOST = 255

_TILE = 1 << 19


def count(mask: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """How many points lie under a convex, symmetric footprint around each pixel.

    Parameters
    ----------
    mask : (Y, X) array of booleans
    footprint : (2 ry + 1, 2 rx + 1) array of booleans

    Returns
    -------
    (Y, X) float32 array of whole numbers
    """
    if np.count_nonzero(footprint) > _MOST:
        return convolve(mask, footprint, whole=True)
    ry, rx = (n // 2 for n in footprint.shape)
    wide = min(mask.shape[1], 2048)
    high = max(32, _TILE // (wide + 2 * rx) - 2 * ry)
    result = np.empty(mask.shape, np.float32)
    for top in range(0, mask.shape[0], high):
        for left in range(0, mask.shape[1], wide):
            part = result[top : top + high, left : left + wide]
            part[:] = _running(_around(mask, top, left, part.shape, (ry, rx)), footprint, part.shape)
    return result


def _running(points: np.ndarray, footprint: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Per column of the footprint, the difference of two running sums down the image.

    Bytes may run over: differences modulo 256 are right as long as the footprint has no more than 255 pixels. They
    are an order of magnitude faster than floats.
    """
    sums = np.zeros((points.shape[0] + 1, points.shape[1]), np.uint8)
    for i, row in enumerate(points):  # np.cumsum along this axis is several times slower
        np.add(sums[i], row, out=sums[i + 1])
    ry = footprint.shape[0] // 2
    total = np.zeros(size, np.uint8)
    for x, column in enumerate(footprint.T):
        half = int(np.count_nonzero(column)) // 2
        total += sums[ry + half + 1 : ry + half + 1 + size[0], x : x + size[1]]
        total -= sums[ry - half : ry - half + size[0], x : x + size[1]]
    return total


def _around(mask: np.ndarray, top: int, left: int, size: tuple[int, ...], radius: tuple[int, int]) -> np.ndarray:
    """A part of a mask with a margin, as bytes; 0 outside the mask."""
    (high, wide), (ry, rx) = size, radius
    result = np.zeros((high + 2 * ry, wide + 2 * rx), np.uint8)
    rows = slice(max(0, top - ry), top + high + ry)
    columns = slice(max(0, left - rx), left + wide + rx)
    inside = mask[rows, columns]
    y, x = rows.start - top + ry, columns.start - left + rx
    result[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return result


# -------- Gaussian sums as products with small matrices, by way of a coarser grid where the Gaussian is wide.


_STEP = 1.6

_REACH, _HALF_REACH = 6, 4
"""Where a Gaussian, and each of two, is cut, in bandwidths h: also sums 4 h from the nearest point are right."""


def blur(mask: np.ndarray, bandwidth: tuple[float, float]) -> np.ndarray:
    """Sum a Gaussian of height 1 over the points of a mask; there are none outside.

    Parameters
    ----------
    mask : (Y, X) array of booleans
    bandwidth : (float, float)
        Sigma in pixels, along Y and X.

    Returns
    -------
    (Y, X) float32 array
    """
    rows, columns = mask.shape
    *before, last = _steps(rows, bandwidth[0])
    result = mask
    for step in before:
        result = _along_rows(result, *step)
    for step in _steps(columns, bandwidth[1]):
        # Bands are of rows: turned on its side, the image has its columns there.
        result = _along_rows(result.T, *step).T
    return _along_rows(result, *last)


_Step = tuple[np.ndarray, np.ndarray, float, float, float]


def _steps(n: int, h: float) -> list[_Step]:
    """What to do along an axis of n pixels: places from, places to, sigma, reach, factor."""
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
    """Rows at the places ``end`` as weighted sums of the rows at the places ``start``."""
    result = np.empty((len(end), image.shape[1]), np.float32)
    band = 96 if len(end) > len(start) else 32
    for first in range(0, len(end), band):
        to = end[first : first + band]
        near = slice(*np.searchsorted(start, [to[0] - reach, to[-1] + reach]))
        matrix = (factor * gaussian(to[:, None] - start[near], sigma)).astype(np.float32)
        np.matmul(matrix, image[near].astype(np.float32, copy=False), out=result[first : first + band])
    return result


# Sums under a kernel around each pixel of a mask, by the fastest way for each kernel; density.py normalises
# them.


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
        Small sums are right to 1e-6 of themselves, not only to 1e-6 of the largest: for those who divide by them.

    Returns
    -------
    (Y, X) float32 array
        Of ``box`` whole numbers: the points nearer than the bandwidth. Nowhere negative.
    """
    if kernel == "gaussian":
        return blur(mask, bandwidth)
    shape = weights(kernel, bandwidth)
    if kernel == "box":
        return count(mask, shape != 0)
    return convolve(mask, shape, precise=precise)


def smooth_ones(size: tuple[int, int], kernel: Kernel, bandwidth: tuple[float, float]) -> np.ndarray:
    """`smooth` of a mask that is full, in a fraction of the time: away from the border all pixels are alike.

    Parameters
    ----------
    size : (int, int)
        Y and X.
    kernel, bandwidth
        As in `smooth`.

    Returns
    -------
    (Y, X) float32 array
    """
    radius = [n // 2 for n in weights(kernel, bandwidth).shape]
    places = [_distinct(n, r) for n, r in zip(size, radius, strict=True)]
    small = np.ones([int(p[-1]) + 1 for p in places], dtype=bool)
    return smooth(small, kernel, bandwidth)[:, places[1]][places[0]]


def reach_of(kernel: Kernel, bandwidth: tuple[float, float]) -> float:
    """The least sum that means "a point is in reach".

    Half the smallest weight, as long as that stands out from rounding; a Gaussian has no end, so there it is the weight
    of one point 4 bandwidths away.
    """
    if kernel == "gaussian":
        return 0.999 * float(gaussian(np.array(4.0), 1.0))  # a pixel exactly there is in reach, however it is rounded
    shape = weights(kernel, bandwidth)
    return max(float(shape[shape > 0].min()) / 2, 1e-9 * float(shape.sum()))


def _distinct(n: int, radius: int) -> np.ndarray:
    """For each of n pixels in a row its like in the shortest row that has both borders and one pixel between."""
    place = np.arange(n)
    if n <= 2 * radius + 1:
        return place
    return np.where(place < n - radius, np.minimum(place, radius), place - (n - 2 * radius - 1))


Bandwidth = float | tuple[float, float]


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
        ``box`` counts the pixels nearer than the bandwidth, as the paper; it sees every pixel alike, so its sampling
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
    """The `density` of each class, in less time than one by one.

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
    """
    array, kernel = check_labels(labels), check_kernel(kernel)
    present = classes_in(array)
    chosen = present if classes is None else tuple(int(c) for c in classes)
    if absent := [c for c in chosen if c not in present]:
        raise InputError(f"There is no pixel of class {absent[0]} in the labels; choose among {listed(present)}.")
    pair = check_bandwidth(bandwidth, array.shape)
    planes = array.reshape(-1, *array.shape[-2:])
    maps: dict[int, list[np.ndarray]] = {c: [] for c in chosen}
    for plane in planes:
        for c, found in _of_plane(plane, chosen, kernel, pair, edges):
            maps[c].append(found)
    # One plane is not copied: it may be large.
    return {c: (m[0] if len(m) == 1 else np.stack(m)).reshape(array.shape) for c, m in maps.items()}


def _of_plane(
    plane: np.ndarray, classes: Sequence[int], kernel: Kernel, bandwidth: tuple[float, float], edges: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Each class with its density in one (Y, X) plane."""
    gaps = edges and bool((plane == UNLABELLED).any())
    share = _share(plane, kernel, bandwidth, gaps) if edges else None
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


def _share(plane: np.ndarray, kernel: Kernel, bandwidth: tuple[float, float], gaps: bool) -> np.ndarray:
    """What to multiply sums with to make up for what lies outside or unlabelled; 0 where nothing else is in reach."""
    if not gaps:
        return 1 / smooth_ones(plane.shape, kernel, bandwidth)
    within = smooth(plane != UNLABELLED, kernel, bandwidth, precise=True)
    near = within >= reach_of(kernel, bandwidth)
    np.divide(1, within, out=within, where=near)
    within[~near] = 0
    return within
