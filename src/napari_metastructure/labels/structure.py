"""Meta-structure of noisy labels against clean ones: distance of densities, share retained, histograms by class."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError, sized
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels import density as kernels
from napari_metastructure.labels.pixels import blocks, lookup
from napari_metastructure.labels.transition import TransitionMatrix, estimate_transition_matrix
from napari_metastructure.labels.verdict import Verdict, verdict

BINS = 64

_DEVIATIONS, _FORGIVEN = 3.0, 0.5
"""Excess over sampling error that counts nothing: in its standard deviations, and as a share of the signal."""

_PIXELS = 1 << 17


def distance(f: Any, g: Any) -> float:
    """Measure what two density maps do not share up to scale and offset: sqrt(1 - r^2), r their Pearson correlation.

    By eq. (7) flipping labels at random takes a density into a multiple of itself plus a constant, plus sampling error.
    So 0 is all that such noise does in expectation, and 1 is nothing in common. The sine of the angle between two
    maps less their means is the operator norm of the difference of the projections onto them: a metric between maps up
    to scale and offset, symmetric and subject to the triangle inequality. The projection onto a constant map is 0,
    so a constant map is 0 from another one and 1 from any that is not.

    Parameters
    ----------
    f, g : arrays of one shape
        Real numbers.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    InputError
        If the shapes differ, or a map is empty, holds no real numbers, or holds NaN or infinity.

    Examples
    --------
    >>> f = np.array([[0.0, 1.0, 2.0]])
    >>> distance(f, 3 * f + 5), distance(f, [[1.0, 0.0, 1.0]])
    (0.0, 1.0)
    """
    first, second = _check_map(f), _check_map(g)
    if first.shape != second.shape:
        shapes = f"{sized(first.shape)} and {sized(second.shape)}"
        raise InputError(f"The density maps have {shapes}; compare maps of one size.")
    constant = [bool(a.min() == a.max()) for a in (first, second)]
    if any(constant):
        return float(not all(constant))
    norms = np.sqrt(sum(np.array([a @ a, b @ b]) for a, b in _centred(first, second)))
    # |u - v| |u + v| / 2 is the sine of two unit vectors' angle, with no digits lost where it is small.
    minus = plus = 0.0
    for a, b in _centred(first, second):
        u, v = a / norms[0], b / norms[1]
        minus, plus = minus + np.sum((u - v) ** 2), plus + np.sum((u + v) ** 2)
    return min(1.0, float(np.sqrt(minus * plus)) / 2)


def structure_retained(
    clean: Any,
    noisy: Any,
    kernel: kernels.Kernel = "box",
    bandwidth: kernels.Bandwidth = 8.0,
    classes: Sequence[int] | None = None,
) -> float:
    """Measure the meta-structure a noisy label retains: 1 for clean and RCL, 0 for RL, less the worse the PCL.

    The share of the clean densities' variance that the noisy densities would explain without sampling error; see
    docs/labels.md for the derivation. Displacements far smaller than the bandwidth cost little. And 1 may mean that
    there are too few pixels to tell noise from a random sample: under a wide kernel the skeleton of a few small objects
    looks like one. For the same reason RCL near a half may come out at 0 where a class has a few hundred pixels.

    Parameters
    ----------
    clean, noisy : (..., Y, X) arrays of integers or booleans, of one shape
        255 = unlabelled. Where the clean label is unlabelled neither counts; elsewhere an unlabelled noisy pixel is a
        point of no class. Not changed.
    kernel : {"box", "gaussian", "epanechnikov"}
    bandwidth : float or (float, float)
        As in `napari_metastructure.labels.density.density`.
    classes : sequence of int, optional
        Ascending; those present in either if left out.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    InputError
        As `napari_metastructure.labels.transition.estimate_transition_matrix` and
        `napari_metastructure.labels.density.density`; if the clean labels have fewer than two classes.

    Examples
    --------
    >>> clean = np.zeros((64, 64), np.uint8)
    >>> clean[16:48, 16:48] = 1
    >>> round(structure_retained(clean, 1 - clean), 3), structure_retained(clean, np.ones_like(clean))
    (1.0, 0.0)
    """
    transition = estimate_transition_matrix(clean, noisy, classes)
    clean, noisy = np.asarray(clean), np.asarray(noisy)
    pair, kernel = kernels.check_bandwidth(bandwidth, clean.shape), kernels.check_kernel(kernel)
    if np.count_nonzero(transition.known) < 2:
        raise InputError("The clean labels have a single class; there is no structure to lose without two at least.")
    if transition.rank < 2:
        return 0.0

    gram = _gram_matrix(clean, noisy, transition.classes, kernel, pair)
    return _explained(gram, transition.rank, *_sampling_error(transition, kernel, pair))


def density_step(
    labels: np.ndarray, label_class: int, kernel: kernels.Kernel, bandwidth: tuple[float, float], *, edges: bool = False
) -> float:
    """Return the smallest possible difference between two densities, relative to even ones: the box counts pixels.

    0 where densities may differ by anything, or where a bin of a histogram holds so many steps that it does not matter.
    """
    if kernel != "box" or bandwidth[0] * bandwidth[1] > BINS**2:
        return 0.0
    points, labelled = np.count_nonzero(labels == label_class), np.count_nonzero(labels != UNLABELLED)
    if not edges:
        return kernels.height(kernel, bandwidth) / points * labels.size
    # Away from edges and gaps the share of points among the pixels of the kernel, over their share of all.
    return labelled / points / float(kernels.weights(kernel, bandwidth).sum())


# ---- Noisy labels against clean ones -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Comparison:
    """Comparison of noisy labels with clean ones.

    Attributes
    ----------
    transition : TransitionMatrix or None
        In closed form if it was given, else counted; None where no pixel is labelled in both.
    verdict : Verdict or None
        On that matrix.
    retained : float or None
        Share of the meta-structure, 0 to 1; None where it is not defined.
    distance : float or None
        Of the density maps, the largest of several classes; None if none were given.
    bandwidth : (float, float)
        At which structure was compared, pixels.
    """

    transition: TransitionMatrix | None
    verdict: Verdict | None
    retained: float | None
    distance: float | None
    bandwidth: tuple[float, float]


def compare_labels(
    clean: np.ndarray,
    noisy: np.ndarray,
    kernel: kernels.Kernel = "box",
    bandwidth: kernels.Bandwidth = 8.0,
    maps: tuple[kernels.Maps, kernels.Maps] | None = None,
) -> Comparison:
    """Measure what noisy labels retain of clean ones: transition matrix, verdict, structure, distance of densities.

    Parameters
    ----------
    clean, noisy : (..., Y, X) arrays of integers, of one shape
    kernel, bandwidth
        As in `structure_retained`.
    maps : (dict, dict) of int to array, optional
        Densities of the clean and the noisy labels by class.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        As `structure_retained` and `distance`.

    Examples
    --------
    >>> clean = np.zeros((64, 64), np.uint8)
    >>> clean[16:48, 16:48] = 1
    >>> compare_labels(clean, clean).verdict.distinguishable
    2
    """
    pair = kernels.check_bandwidth(bandwidth, clean.shape)
    transition = estimate_transition_matrix(clean, noisy)
    retained = structure_retained(clean, noisy, kernel, pair)
    apart = None
    if maps is not None and (both := maps[0].keys() & maps[1].keys()):
        apart = max(distance(maps[0][c], maps[1][c]) for c in both)
    return Comparison(transition, verdict(transition), retained, apart, pair)


def judge_noise(
    clean: np.ndarray, noisy: np.ndarray, classes: Sequence[int], transition: TransitionMatrix | None = None
) -> Comparison:
    """Compare a (Y, X) plane with its noise as far as that is possible, by a box of 8 pixels or a quarter of the plane.

    Where a plane has no labelled pixel, or a class is gone, there is nothing to measure, and that is no error: what is
    not defined is None.
    """
    width = min(8.0, max(1.0, min(clean.shape) / 4))
    judged, retained = None, None
    try:
        if transition is None:
            transition = estimate_transition_matrix(clean, noisy, classes)
        judged = verdict(transition)
        retained = structure_retained(clean, noisy, "box", width)
    except InputError:
        pass
    return Comparison(transition, judged, retained, None, (width, width))


# ---- Histograms by class ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassHistogram:
    """Histogram of a density map by true class: two humps where classes are distinguishable, one where they are fused.

    Densities are given relative to pixels spread evenly: the map times the number of its pixels, so 1 is even.

    Attributes
    ----------
    name : str
        Of the map.
    classes : tuple of int
        The true classes with pixels, ascending.
    edges : (B + 1,) array
        Of the bins, from the lowest to the highest density of these pixels.
    counts : (M, B) array of int
        Pixels of each true class in each bin; the last bin holds its upper edge too.
    means : (M,) array
        Mean density of each true class.
    """

    name: str
    classes: tuple[int, ...]
    edges: np.ndarray
    counts: np.ndarray
    means: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Share of each class's pixels by bin, (M, B), adding up to 1."""
        return np.asarray(self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1))


def class_histogram(
    name: str, density: np.ndarray, truth: np.ndarray, classes: Sequence[int], bins: int = BINS, step: float = 0.0
) -> ClassHistogram:
    """Count densities by true class.

    Parameters
    ----------
    name : str
        Of the map.
    density : (Y, X) float array
    truth : (Y, X) array of integers
        Labels that are none of the classes are left out.
    classes : sequence of int
        Ascending; those without pixels are left out.
    bins : int
        At most.
    step : float
        Least difference of two densities, relative to even ones, from `density_step`; 0 if they differ by anything.

    Returns
    -------
    ClassHistogram

    Examples
    --------
    >>> truth = np.array([[0, 0, 1, 1]])
    >>> found = class_histogram("map", np.array([[0.1, 0.1, 0.4, 0.4]], np.float32), truth, (0, 1), bins=2)
    >>> found.counts.tolist()
    [[2, 0], [0, 2]]
    """
    even = density.size
    low, high, bins = _span(float(density.min()) * even, float(density.max()) * even, bins, step)
    # float32 as the map is: half the memory traffic of this, the slowest step beside the map itself
    factor, shift = np.float32(even * bins / (high - low)), np.float32(low * bins / (high - low))
    fitting = [c for c in classes if c <= int(truth.max())]
    code_of = lookup(truth, fitting, np.arange(len(fitting)), len(fitting))
    counts = np.zeros((len(fitting) + 1) * bins, np.int64)
    sums = np.zeros(len(fitting) + 1)
    for values, labels in blocks(density, truth):
        code = code_of(labels)
        place = (values * factor - shift).astype(np.intp)
        np.clip(place, 0, bins - 1, out=place)
        counts += np.bincount(code * bins + place, minlength=counts.size)
        sums += np.bincount(code, weights=values, minlength=len(sums))
    by_class = counts.reshape(-1, bins)[:-1]
    there = np.asarray(by_class.any(axis=1))
    total = by_class[there].sum(axis=1)
    return ClassHistogram(
        name,
        tuple(c for c, is_there in zip(fitting, there.tolist(), strict=True) if is_there),
        np.linspace(low, high, bins + 1),
        by_class[there],
        sums[:-1][there] / total * even,
    )


# ---- Sums behind them ---------------------------------------------------------------------------------------


def _gram_matrix(
    clean: np.ndarray,
    noisy: np.ndarray,
    classes: tuple[int, ...],
    kernel: kernels.Kernel,
    bandwidth: tuple[float, float],
) -> np.ndarray:
    """Compute inner products of the smoothed clean and noisy classes, summed over all planes.

    (2 M, 2 M) float64, first the clean classes, then the noisy ones. Each plane is given a margin of the kernel's
    radius first: no weight is cut off at the border, so all pixels weigh alike and `_sampling_error` is exact. Where
    the clean label is unlabelled the noisy one does not count either.
    """
    margin = [(n // 2, n // 2) for n in kernels.weights(kernel, bandwidth).shape]
    total = np.zeros((2 * len(classes), 2 * len(classes)))
    for before, after in zip(*(a.reshape(-1, *a.shape[-2:]) for a in (clean, noisy)), strict=True):
        known = before != UNLABELLED
        masks = [before == c for c in classes] + [(after == c) & known for c in classes]
        maps = np.stack([kernels.smooth(np.pad(mask, margin), kernel, bandwidth).ravel() for mask in masks])
        for start in range(0, maps.shape[1], _PIXELS):
            part = maps[:, start : start + _PIXELS].astype(np.float64)  # in float32 the remainder would be lost
            total += part @ part.T
    return total


def _sampling_error(
    transition: TransitionMatrix, kernel: kernels.Kernel, bandwidth: tuple[float, float]
) -> tuple[np.ndarray, float]:
    """Compute the remainder that pixels drawn independently leave on average, and how much its trace varies.

    With V_i = diag(q_i) - q_i q_i' the covariance of pixel i's indicators and C the kernel convolved with itself, the
    expectation is C(0) sum_i V_i, and the variance of the trace is 2 sum_i sum_j tr(V_i V_j) C(i - j)^2 over i != j,
    at most 2 sum_i tr(V_i^2) sum_d C(d)^2, and hardly less.
    """
    assert transition.counts is not None
    pixels = transition.counts.sum(axis=1)
    rows = np.nan_to_num(transition.matrix)
    covariance = np.array([np.diag(q) - np.outer(q, q) for q in rows])
    shape = kernels.weights(kernel, bandwidth)
    own = float(np.sum(shape**2))
    power = np.abs(np.fft.fft2(shape, [2 * n for n in shape.shape])) ** 2
    others = float(np.mean(power**2)) - own**2  # Parseval: the sum of C^2 over all shifts but none
    expected = own * np.tensordot(pixels, covariance, axes=1)
    return expected, float(np.sqrt(2 * others * np.sum(pixels * np.sum(covariance**2, axis=(1, 2)))))


def _explained(gram: np.ndarray, rank: int, expected: np.ndarray, deviation: float) -> float:
    """Compute the share of the clean classes' variance that the noisy ones explain, from inner products of both."""
    m = len(gram) // 2
    of_clean, between, of_noisy = gram[:m, :m], gram[:m, m:], gram[m:, m:]
    slopes = np.linalg.pinv(of_clean, hermitian=True) @ between
    excess = of_noisy - between.T @ slopes - expected

    outline = of_clean.sum(axis=1)
    inner = of_clean - np.outer(outline, outline) / outline.sum()
    signal, directions = np.linalg.eigh(slopes.T @ inner @ slopes)
    kept = directions[:, m - (rank - 1) :]
    shared = inner @ slopes @ kept
    structured = kept.T @ _beyond_chance(excess, deviation, float(signal.sum())) @ kept
    whole = np.diag(signal[m - (rank - 1) :]) + structured
    explained = np.einsum("jk,kl,jl->j", shared, np.linalg.pinv(whole, hermitian=True), shared)
    varies = np.diag(inner) > 1e-9 * np.diag(of_clean)
    return float(np.mean(np.clip(explained[varies] / np.diag(inner)[varies], 0, 1)))


def _beyond_chance(excess: np.ndarray, deviation: float, signal: float) -> np.ndarray:
    """Reduce an excess to what stands out from its own sampling error, without negative variances."""
    size = float(np.trace(excess))
    if size <= (chance := min(_DEVIATIONS * deviation, _FORGIVEN * signal)):
        return np.zeros_like(excess)
    values, vectors = np.linalg.eigh(excess)
    return (vectors * np.clip(values, 0, None)) @ vectors.T * (1 - (chance / size) ** 2)


def _check_map(values: Any) -> np.ndarray:
    """Check that an array is a density map."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"A density map holds real numbers, not {array.dtype}; compare the maps of density().")
    if not array.size:
        raise InputError("A density map without pixels cannot be compared; choose maps that are not empty.")
    if not np.isfinite(array).all():
        raise InputError("A density map holds NaN or infinity; compare maps of numbers only.")
    return array


def _centred(*maps: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Centre maps and divide them by their spans, as float64 in pieces: they may be large, their numbers tiny."""
    means = [a.mean(dtype=np.float64) for a in maps]
    spans = [float(a.max()) - float(a.min()) for a in maps]
    for pieces in blocks(*maps):
        yield [(p.astype(np.float64) - m) / s for p, m, s in zip(pieces, means, spans, strict=True)]


def _span(low: float, high: float, bins: int, step: float) -> tuple[float, float, int]:
    """Choose the range and the number of bins: each holds the same number of steps, in its middle."""
    # A map with one value has one bin in the middle; rounding must not spread it over several.
    if high - low <= 1e-6 * max(abs(high), 1e-30):
        return low - 0.5, low + 0.5, bins
    if step <= 0:
        return low, high, bins
    levels = round((high - low) / step) + 1
    each = math.ceil(levels / bins)
    bins = math.ceil(levels / each)
    return low - step / 2, low - step / 2 + bins * each * step, bins
