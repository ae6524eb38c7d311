"""Five families of shapes for `scenes`, each as a distance that is below 1 inside the objects. Lengths in pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree
from skimage.draw import line

from napari_metastructure.images.shapes import smooth_noise


def wide(rng: np.random.Generator, low: float, high: float) -> float:
    """Drawn from ``low`` to ``high``, every factor alike."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True so often."""
    return bool(rng.random() < probability)


def field(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field of mean 0, deviation 1 and correlation length `sigma`; coarse ones are interpolated."""
    step = max(1, int(sigma // 2)) if sigma > 4 else 1
    coarse = smooth_noise((-(-shape[0] // step) + 1, -(-shape[1] // step) + 1), sigma / step, rng)
    fine = ndi.zoom(coarse, step, order=1)[: shape[0], : shape[1]] if step > 1 else coarse[: shape[0], : shape[1]]
    return (fine - fine.mean()) / (fine.std() + 1e-9)


def contours(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Winding tubes: level lines of one or two random fields."""
    lines = np.zeros(shape, bool)
    for _ in range(rng.integers(1, 3)):
        lines |= _between(field(shape, wide(rng, 5, 24), rng) > rng.uniform(-0.5, 0.5))
    return _tubes(lines, wide(rng, 1.2, 5), rng)


def tessellation(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A network or membranes: bent edges of a Voronoi tessellation, some of its cells filled."""
    spacing = wide(rng, 10, 50)
    count = max(4, int(shape[0] * shape[1] / spacing**2 * 1.3))
    seeds = rng.uniform((-20, -20), (shape[0] + 20, shape[1] + 20), (count, 2))
    bend = 0.2 * spacing * np.stack([field(shape, 0.4 * spacing, rng) for _ in range(2)])
    where = (np.indices(shape) + bend).reshape(2, -1).T
    cells = cKDTree(seeds).query(where)[1].reshape(shape)
    lines = _between(cells)
    if chance(rng, 0.5):
        lines &= field(shape, wide(rng, 4, 15), rng) > -1.2  # edges that are missing
    distance = _tubes(lines, wide(rng, 1.2, 4.5), rng)
    if chance(rng, 0.4):
        filled = rng.random(count) < rng.uniform(0.03, 0.3)
        distance = np.where(filled[cells], np.minimum(distance, 0.5), distance)
    return distance


def worms(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Rods, filaments and vessels: smooth random walks of any length."""
    lines = np.zeros(shape, bool)
    half, turn = wide(rng, 1.2, 6), wide(rng, 0.03, 0.4)
    for _ in range(int(wide(rng, 3, 60))):
        steps = int(wide(rng, 3, 200))
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, turn, steps))
        moves = 2 * np.stack([np.sin(heading), np.cos(heading)], axis=1)
        path = np.rint(rng.uniform((0, 0), shape) + np.cumsum(moves, axis=0)).astype(int)
        path = path[((path >= 0) & (path < shape)).all(axis=1)]
        jumps = np.abs(np.diff(path, axis=0)).max(axis=1, initial=0) > 3 if len(path) > 1 else []
        for (y0, x0), (y1, x1), jump in zip(path[:-1], path[1:], jumps, strict=True):
            if not jump:  # it left the image and came back elsewhere
                lines[line(y0, x0, y1, x1)] = True
        lines[tuple(path[:1].T)] = True
    return _tubes(lines, half, rng)


def blobs(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Nuclei, vesicles and spots: deformed ellipses."""
    size, rough = wide(rng, 3, 45), rng.uniform(0, 0.12)
    count = int(wide(rng, 0.03, 0.45) * shape[0] * shape[1] / (np.pi * size**2))
    distance = np.full(shape, 3.0)
    for _ in range(np.clip(count, 1, 250)):
        radius, stretch, tilt = size * np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.2)), rng.uniform(0, np.pi)
        centre = rng.uniform((-0.3 * size, -0.3 * size), (shape[0] + 0.3 * size, shape[1] + 0.3 * size))
        reach = 2.2 * radius * max(stretch, 1 / stretch) + 2
        low, high = np.maximum(centre - reach, 0).astype(int), np.minimum(centre + reach, shape).astype(int)
        phases = rng.uniform(0, 2 * np.pi, 3)
        if (low >= high).any():
            continue
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        y, x = np.mgrid[window] - centre[:, None, None]
        u = (np.cos(tilt) * x + np.sin(tilt) * y) / (radius * stretch)
        v = (np.cos(tilt) * y - np.sin(tilt) * x) / (radius / stretch)
        outline = 1 + sum(rough * np.cos((k + 2) * np.arctan2(v, u) + phases[k]) for k in range(3))
        distance[window] = np.minimum(distance[window], np.hypot(u, v) / outline)
    return distance


def patches(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Irregular patches: where a random field is high."""
    rough = field(shape, wide(rng, 3, 30), rng) + rng.uniform(0, 0.4) * field(shape, 2, rng)
    return 1 + rng.uniform(0.2, 1.5) - rough


Family = Callable[[tuple[int, int], np.random.Generator], np.ndarray]
FAMILIES: dict[str, tuple[Family, float]] = {
    "contours": (contours, 0.2),
    "tessellation": (tessellation, 0.25),
    "worms": (worms, 0.2),
    "blobs": (blobs, 0.25),
    "patches": (patches, 0.1),
}
"""Each family, and how often it is drawn."""


def shape_of(shape: tuple[int, int], rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A family drawn at random: its name, and a (Y, X) distance that is below 1 inside its objects."""
    name = str(rng.choice(list(FAMILIES), p=[share for _, share in FAMILIES.values()]))
    return name, FAMILIES[name][0](shape, rng)


def _between(regions: np.ndarray) -> np.ndarray:
    """Pixels with another region below or to the right of them."""
    lines = np.zeros(regions.shape, bool)
    lines[:-1] |= regions[:-1] != regions[1:]
    lines[:, :-1] |= regions[:, :-1] != regions[:, 1:]
    return lines


def _tubes(lines: np.ndarray, half: float, rng: np.random.Generator) -> np.ndarray:
    """Distance from lines, over a half-width that varies along them."""
    if not lines.any():
        return np.full(lines.shape, 3.0)
    width = half * np.exp(0.25 * field(lines.shape, wide(rng, 4, 30), rng))
    return ndi.distance_transform_edt(~lines) / np.maximum(width, 0.6)
