"""The meta-structure of a label as density maps, eq. (8): how densely the pixels of a class lie around each place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import check_labels, classes_in, listed
from napari_metastructure.labels.kernels import Kernel, check_bandwidth, check_kernel, height
from napari_metastructure.labels.smoothing import reach_of, smooth, smooth_ones

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
