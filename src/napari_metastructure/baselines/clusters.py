"""Foreground from clusters: by their brightness, and at best with the ground truth."""

import numpy as np

from napari_metastructure.errors import InputError


def foreground(clusters: np.ndarray, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Call clusters foreground or background by their brightness alone.

    Every pixel takes the mean intensity of its cluster, and Otsu's threshold of these values over all pixels divides
    the clusters: of two, the brighter one is foreground. Nothing is foreground where all clusters are equally bright,
    or where there is but one.

    Parameters
    ----------
    clusters : (Y, X) integer array
        A cluster's number at each of its pixels; any integers.
    plane : (Y, X) float array
        The image, its objects bright.

    Returns
    -------
    mask : (Y, X) bool array
    score : (Y, X) float32 array
        The mean intensity of each pixel's cluster.

    Raises
    ------
    InputError
        If the shapes differ.

    References
    ----------
    Otsu, "A threshold selection method from gray-level histograms", IEEE TSMC 1979; here on the clusters' means
    themselves, so no histogram blurs it.
    """
    sizes, means, places = _tally(clusters, plane)
    order = np.argsort(means, kind="stable")
    total = np.cumsum(sizes[order])
    below = np.cumsum((sizes * (means - np.average(means, weights=sizes)))[order])
    # Between-class variance of a split after each cluster, up to a constant; none after the last.
    between = below[:-1] ** 2 / (total[:-1] * (total[-1] - total[:-1]))
    score = means[places].reshape(clusters.shape).astype(np.float32)
    if means.max() <= means.min():
        return np.zeros(clusters.shape, bool), score
    bright = means > means[order[np.argmax(between)]]
    return bright[places].reshape(clusters.shape), score


def oracle(clusters: np.ndarray, mask: np.ndarray) -> float:
    """Find the best Dice that any choice of clusters as foreground reaches; only the ground truth can tell it.

    Dice is ``2 TP / (chosen pixels + foreground pixels)``, 1 where nothing is foreground and nothing chosen.

    Parameters
    ----------
    clusters : (Y, X) integer array
    mask : (Y, X) bool array
        The ground truth.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the shapes differ.
    """
    sizes, precisions, _ = _tally(clusters, np.asarray(mask, dtype=bool))
    true = int(np.count_nonzero(mask))
    if not true:
        return 1.0
    # If D is the best Dice, no choice has sum(2 tp - D n) > D * true, and the best reaches it: so it may as well hold
    # just the clusters with tp / n > D / 2, and those are the first ones in order of precision.
    order = np.argsort(-precisions, kind="stable")
    hits, chosen = np.cumsum((sizes * precisions)[order]), np.cumsum(sizes[order])
    return float(np.max(2 * hits / (chosen + true)))


def _tally(clusters: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the pixels of each cluster, average their values, and number the cluster of each pixel (flat)."""
    if clusters.shape != values.shape:
        raise InputError(f"Clusters of shape {clusters.shape} do not fit an image of {values.shape}; give equal sizes.")
    _, places, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    places = places.ravel()  # numpy 2.0 alone keeps the shape
    return sizes, np.bincount(places, weights=values.ravel()) / sizes, places
