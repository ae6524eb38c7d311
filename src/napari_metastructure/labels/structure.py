"""How far apart two densities are, and how much of a label's meta-structure its noise has left."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import blocks, code_table
from napari_metastructure.labels.density import Bandwidth, Kernel, check_bandwidth, check_kernel, smooth, weights
from napari_metastructure.labels.transition import TransitionMatrix, estimate_transition_matrix

# -------- What eq. (7) leaves of noisy densities: how large it is, and how large sampling error makes it.


_PIXELS = 1 << 17


def products(
    clean: np.ndarray, noisy: np.ndarray, classes: tuple[int, ...], kernel: Kernel, bandwidth: tuple[float, float]
) -> np.ndarray:
    """Inner products of the smoothed clean and noisy classes, summed over all planes.

    Each plane is given a margin of the kernel's radius first: no weight is cut off at the border, so all pixels weigh
    alike and `sampling_error` is exact. Where the clean label is unlabelled the noisy one does not count either.

    Parameters
    ----------
    clean, noisy : (..., Y, X) arrays of integers
    classes : tuple of int
        The M classes.
    kernel, bandwidth
        As in `napari_metastructure.labels.density.smooth`.

    Returns
    -------
    (2 M, 2 M) float64 array
        First the clean classes, then the noisy ones.
    """
    margin = [(n // 2, n // 2) for n in weights(kernel, bandwidth).shape]
    total = np.zeros((2 * len(classes), 2 * len(classes)))
    for before, after in zip(*(a.reshape(-1, *a.shape[-2:]) for a in (clean, noisy)), strict=True):
        known = before != UNLABELLED
        masks = [before == c for c in classes] + [(after == c) & known for c in classes]
        maps = np.stack([smooth(np.pad(mask, margin), kernel, bandwidth).ravel() for mask in masks])
        for start in range(0, maps.shape[1], _PIXELS):
            part = maps[:, start : start + _PIXELS].astype(np.float64)  # in float32 the remainder would be lost
            total += part @ part.T
    return total


def sampling_error(
    transition: TransitionMatrix, kernel: Kernel, bandwidth: tuple[float, float]
) -> tuple[np.ndarray, float]:
    """The remainder that pixels drawn independently leave on average, and how much its trace varies.

    With V_i = diag(q_i) - q_i q_i' the covariance of pixel i's indicators and C the kernel convolved with itself, the
    expectation is C(0) sum_i V_i, and the variance of the trace is 2 sum_i sum_j tr(V_i V_j) C(i - j)^2 over i != j,
    at most 2 sum_i tr(V_i^2) sum_d C(d)^2, and hardly less.

    Parameters
    ----------
    transition : TransitionMatrix
        With counts.
    kernel, bandwidth
        As in `napari_metastructure.labels.density.smooth`.

    Returns
    -------
    expected : (M, M) float64 array
    deviation : float
        Standard deviation of the trace of what exceeds it.
    """
    assert transition.counts is not None
    pixels = transition.counts.sum(axis=1)
    rows = np.nan_to_num(transition.matrix)
    covariance = np.array([np.diag(q) - np.outer(q, q) for q in rows])
    shape = weights(kernel, bandwidth)
    own = float(np.sum(shape**2))
    power = np.abs(np.fft.fft2(shape, [2 * n for n in shape.shape])) ** 2
    others = float(np.mean(power**2)) - own**2  # Parseval: the sum of C^2 over all shifts but none
    expected = own * np.tensordot(pixels, covariance, axes=1)
    return expected, float(np.sqrt(2 * others * np.sum(pixels * np.sum(covariance**2, axis=(1, 2)))))


_DEVIATIONS = 3.0

_FORGIVEN = 0.5


def distance(f: Any, g: Any) -> float:
    """What two density maps do not share up to scale and offset: sqrt(1 - r^2), r their Pearson correlation.

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
    """
    first, second = _check_map(f), _check_map(g)
    if first.shape != second.shape:
        sizes = [" x ".join(map(str, a.shape)) for a in (first, second)]
        raise InputError(f"The density maps have {sizes[0]} and {sizes[1]} pixels; compare maps of one size.")
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


def structure_left(
    clean: Any,
    noisy: Any,
    kernel: Kernel = "box",
    bandwidth: Bandwidth = 8.0,
    classes: Sequence[int] | None = None,
) -> float:
    """How much of the meta-structure a noisy label has left: 1 for clean and RCL, 0 for RL, less the worse the PCL.

    The share of the clean densities' variance that the noisy densities would tell if there were no sampling error.
    With C_j the clean class j smoothed by the kernel and N_m the noisy class m, eq. (7) says
    N_m = sum_j P(y* = m | y = j) C_j + error. So N is regressed on C by least squares, N = C B + E, and there are

    - the signal H = B' G B, with G the inner products of C after regression on sum_j C_j, the smoothed outline of
      what is labelled. Of its M - 1 dimensions as many are kept as the estimated transition matrix has ranks above 1
      (Lemma 2): fused classes lose what told them apart, and rank 1 gives 0.
    - the remainder E'E. For pixels drawn independently (RCL, RL) its expectation is known,
      D = sum_d K(d)^2 * sum_i (diag(q_i) - q_i q_i'), where q_i is the row of the transition matrix for pixel i. Errors
      that lie together, as those of a displaced boundary, add up under the kernel to more: X = E'E - D.
    - left = mean over j of [G B (H + X)^-1 B' G]_jj / G_jj. For two classes this is H / (H + X), the squared
      correlation of clean and noisy density (see `distance`) corrected for attenuation by sampling error.

    X has a sampling error too. With x = tr X, s its standard deviation under independence and h = tr H, X is
    multiplied by max(0, 1 - (a / x)^2), a = min(3 s, h / 2): an excess below three standard deviations counts nothing,
    one far above in full; and the bound h / 2 keeps a handful of pixels from passing for structure.

    Displacements far smaller than the bandwidth cost little. And 1 may mean that there are too few pixels to tell
    noise from a random sample: under a wide kernel the skeleton of a few small objects looks like one.

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
    """
    transition = estimate_transition_matrix(clean, noisy, classes)
    clean, noisy = np.asarray(clean), np.asarray(noisy)
    pair, kernel = check_bandwidth(bandwidth, clean.shape), check_kernel(kernel)
    if np.count_nonzero(transition.known) < 2:
        raise InputError("The clean labels have a single class; there is no structure to lose without two at least.")
    if transition.rank < 2:
        return 0.0

    gram = products(clean, noisy, transition.classes, kernel, pair)
    return _told(gram, transition.rank, *sampling_error(transition, kernel, pair))


def _told(gram: np.ndarray, rank: int, expected: np.ndarray, deviation: float) -> float:
    """The share of the clean classes' variance that the noisy ones tell, from the inner products of both."""
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
    told = np.einsum("jk,kl,jl->j", shared, np.linalg.pinv(whole, hermitian=True), shared)
    varies = np.diag(inner) > 1e-9 * np.diag(of_clean)
    return float(np.mean(np.clip(told[varies] / np.diag(inner)[varies], 0, 1)))


def _beyond_chance(excess: np.ndarray, deviation: float, signal: float) -> np.ndarray:
    """The part of an excess that stands out from its own sampling error, without negative variances."""
    size = float(np.trace(excess))
    if size <= (chance := min(_DEVIATIONS * deviation, _FORGIVEN * signal)):
        return np.zeros_like(excess)
    values, vectors = np.linalg.eigh(excess)
    return (vectors * np.clip(values, 0, None)) @ vectors.T * (1 - (chance / size) ** 2)


def _check_map(values: Any) -> np.ndarray:
    """A density map, if it is one."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"A density map holds real numbers, not {array.dtype}; compare the maps of density().")
    if not array.size:
        raise InputError("A density map without pixels cannot be compared; choose maps that are not empty.")
    if not np.isfinite(array).all():
        raise InputError("A density map holds NaN or infinity; compare maps of numbers only.")
    return array


def _centred(*maps: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Maps less their means, over their spans, as float64 in pieces: they may be large, and their numbers tiny."""
    means = [a.mean(dtype=np.float64) for a in maps]
    spans = [float(a.max()) - float(a.min()) for a in maps]
    for pieces in blocks(*maps):
        yield [(p.astype(np.float64) - m) / s for p, m, s in zip(pieces, means, spans, strict=True)]


# Histograms of a density map by true class: two humps where classes can be told apart, one where they are
# fused.


BINS = 64


@dataclass(frozen=True)
class Humps:
    """How often each density occurs among the pixels of each true class.

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
        """(M, B) each class's pixels by bin, adding up to 1."""
        return np.asarray(self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1))


def humps(
    name: str, density: np.ndarray, truth: np.ndarray, classes: Sequence[int], bins: int = BINS, step: float = 0.0
) -> Humps:
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
        Least difference of two densities, relative to even ones; 0 if they differ by anything.
    """
    even = density.size
    low, high, bins = _span(float(density.min()) * even, float(density.max()) * even, bins, step)
    # float32 as the map is: half the memory traffic of this, the slowest step beside the map itself
    factor, shift = np.float32(even * bins / (high - low)), np.float32(low * bins / (high - low))
    fitting = [c for c in classes if c <= int(truth.max())]
    table = np.minimum(code_table(fitting, int(truth.max())), len(fitting)).astype(np.intp)
    counts = np.zeros((len(fitting) + 1) * bins, np.int64)
    sums = np.zeros(len(fitting) + 1)
    for values, labels in blocks(density, truth):
        code = table[labels]
        place = (values * factor - shift).astype(np.intp)
        np.clip(place, 0, bins - 1, out=place)
        counts += np.bincount(code * bins + place, minlength=counts.size)
        sums += np.bincount(code, weights=values, minlength=len(sums))
    by_class = counts.reshape(-1, bins)[:-1]
    there = np.asarray(by_class.any(axis=1))
    total = by_class[there].sum(axis=1)
    return Humps(
        name,
        tuple(c for c, is_there in zip(fitting, there.tolist(), strict=True) if is_there),
        np.linspace(low, high, bins + 1),
        by_class[there],
        sums[:-1][there] / total * even,
    )


def _span(low: float, high: float, bins: int, step: float) -> tuple[float, float, int]:
    """From where to where how many bins go: each holds the same number of steps, with its steps in its middle."""
    # A map with one value has one bin in the middle; rounding must not make humps of it.
    if high - low <= 1e-6 * max(abs(high), 1e-30):
        return low - 0.5, low + 0.5, bins
    if step <= 0:
        return low, high, bins
    levels = round((high - low) / step) + 1
    each = math.ceil(levels / bins)
    bins = math.ceil(levels / each)
    return low - step / 2, low - step / 2 + bins * each * step, bins
