"""How far apart two densities are, and how much of a label's meta-structure its noise has left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import blocks
from napari_metastructure.labels.density import Bandwidth
from napari_metastructure.labels.kernels import Kernel, check_bandwidth, check_kernel
from napari_metastructure.labels.remainder import products, sampling_error
from napari_metastructure.labels.transition import estimate_transition_matrix

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
