"""Shapes of the random scenes: tubes, networks, rods, trees, blobs and patches, each as a distance and regions."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree
from skimage.draw import line

from napari_metastructure.images.simulate import smooth_noise

FAR = 60.0
"""Distance in pixels beyond which none is told apart."""


@dataclass(frozen=True)
class Shapes:
    """Objects of one family.

    Attributes
    ----------
    distance : (Y, X) float32 array
        Pixels from the objects' outline, negative inside.
    regions : (Y, X) int32 array
        Number of the object or part that a pixel is nearest to: what is lit alike.
    radius : float
        Typical half-width.
    family : str
    thin : bool
        Whether they are lines of some width.
    """

    distance: np.ndarray
    regions: np.ndarray
    radius: float
    family: str
    thin: bool


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number from ``low`` to ``high``, every factor alike."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def bernoulli(rng: np.random.Generator, probability: float) -> bool:
    """Draw True with this probability."""
    return bool(rng.random() < probability)


def field(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a random field of mean 0, deviation 1 and correlation length `sigma` that goes on beyond its borders."""
    step = max(1, int(sigma // 3))
    coarse = smooth_noise((-(-shape[0] // step), -(-shape[1] // step)), sigma / step, rng)
    if step > 1:
        coarse = ndi.zoom(coarse, step, order=1, mode="grid-wrap", grid_mode=True)[: shape[0], : shape[1]]
    return np.asarray((coarse - coarse.mean()) / (coarse.std() + 1e-9), np.float32)


def _cells(shape: tuple[int, int], spacing: float, rng: np.random.Generator, bend: float = 0.2) -> np.ndarray:
    """Part a plane into bent Voronoi cells, numbered from 0."""
    count = max(4, int(shape[0] * shape[1] / spacing**2 * 1.3))
    seeds = rng.uniform((-20, -20), (shape[0] + 20, shape[1] + 20), (count, 2)).astype(np.float32)
    moved = bend * spacing * np.stack([field(shape, 0.4 * spacing, rng) for _ in range(2)])
    where = (np.indices(shape, np.float32) + moved).reshape(2, -1).T
    return cKDTree(seeds).query(where, workers=1)[1].reshape(shape).astype(np.int32)


def _between(regions: np.ndarray) -> np.ndarray:
    """Find the pixels whose right or lower neighbour is of another region."""
    lines = np.zeros(regions.shape, bool)
    lines[:-1] |= regions[:-1] != regions[1:]
    lines[:, :-1] |= regions[:, :-1] != regions[:, 1:]
    return lines


def _away(lines: np.ndarray) -> np.ndarray:
    """Distance to the nearest of some pixels, at most `FAR`."""
    return np.minimum(ndi.distance_transform_edt(~lines), FAR).astype(np.float32)


def contours(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw winding tubes: level lines of one or two random fields."""
    lines = np.zeros(shape, bool)
    for _ in range(rng.integers(1, 3)):
        lines |= _between(field(shape, log_uniform(rng, 5, 30), rng) > rng.uniform(-0.5, 0.5))
    half = log_uniform(rng, 0.8, 5)
    return Shapes(_away(lines) - half, _cells(shape, log_uniform(rng, 30, 90), rng), half, "contours", True)


def tessellation(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw a network or membranes: bent edges of a Voronoi tessellation, some of its cells filled."""
    spacing = log_uniform(rng, 9, 70)
    cells = _cells(shape, spacing, rng)
    lines = _between(cells)
    if bernoulli(rng, 0.5):
        lines &= field(shape, log_uniform(rng, 4, 15), rng) > -1.2  # edges that are missing
    half = log_uniform(rng, 0.8, min(5, 0.14 * spacing + 1))
    distance = _away(lines) - half
    if bernoulli(rng, 0.35):
        filled = rng.random(cells.max() + 1) < rng.uniform(0.03, 0.3)
        distance = np.where(filled[cells], np.minimum(distance, -0.5 * half), distance)
    return Shapes(distance, cells, half, "tessellation", True)


def cobbles(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw things that crowd, such as cells or fibres: Voronoi cells that leave gaps, or some of them."""
    spacing = log_uniform(rng, 14, 130)
    cells = _cells(shape, spacing, rng, bend=rng.uniform(0.05, 0.25))
    away = _away(_between(cells))
    gap = log_uniform(rng, 1.2, 0.15 * spacing + 1)
    there = rng.random(cells.max() + 1) < rng.uniform(0.2, 1)
    distance = np.where(there[cells], gap - away, np.maximum(away, gap) - gap + 1)
    if bernoulli(rng, 0.5):  # round corners
        distance = ndi.gaussian_filter(distance, 0.08 * spacing)
    return Shapes(distance.astype(np.float32), cells, 0.4 * spacing - gap, "cobbles", False)


def _walk(start: np.ndarray, heading: float, turn: float, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Walk smoothly by two pixels a step: (steps + 1, 2) corners."""
    headings = heading + np.cumsum(rng.normal(0, turn, steps))
    moves = 2 * np.stack([np.sin(headings), np.cos(headings)], axis=1)
    return np.vstack([start, start + np.cumsum(moves, axis=0)])


def _drawn(canvas: np.ndarray, path: np.ndarray, value: float) -> None:
    """Draw a path into ``canvas``, keeping the larger value."""
    path = np.rint(path).astype(int)
    for (y0, x0), (y1, x1) in pairwise(path):
        y, x = line(y0, x0, y1, x1)
        inside = (y >= 0) & (x >= 0) & (y < canvas.shape[0]) & (x < canvas.shape[1])
        y, x = y[inside], x[inside]
        canvas[y, x] = np.maximum(canvas[y, x], value)


def _around(canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find how far lines are, and row and column of the nearest pixel of one."""
    if not canvas.any():
        canvas[tuple(n // 2 for n in canvas.shape)] = 1
    away, (y, x) = ndi.distance_transform_edt(canvas == 0, return_indices=True)
    return np.minimum(away, FAR).astype(np.float32), y, x


def worms(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw rods and filaments: smooth random walks of any length."""
    canvas = np.zeros(shape, np.float32)
    half, turn, longest = log_uniform(rng, 0.8, 9), log_uniform(rng, 0.03, 0.4), log_uniform(rng, 4, 200)
    for number in range(1, int(log_uniform(rng, 4, 90)) + 1):
        steps = int(log_uniform(rng, 3, longest + 1))
        _drawn(canvas, _walk(rng.uniform((0, 0), shape), rng.uniform(0, 2 * np.pi), turn, steps, rng), number)
    away, y, x = _around(canvas)
    return Shapes(away - half, canvas[y, x].astype(np.int32), half, "worms", True)


def trees(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw vessels and neurites: branching walks whose half-widths taper, r^3 = r1^3 + r2^3."""
    canvas = np.zeros(shape, np.float32)
    widest, turn = log_uniform(rng, 1.5, 7), log_uniform(rng, 0.03, 0.15)
    length = log_uniform(rng, 0.1, 0.4) * max(shape) / 2
    for _ in range(rng.integers(1, 5)):
        side, at = rng.integers(4), rng.uniform(0, 1)
        rim = np.array([(0, at), (1, at), (at, 0), (at, 1)][side]) * shape
        inward = np.array(shape) * rng.uniform(0.3, 0.7, 2) - rim
        grown = [(rim, float(np.arctan2(inward[0], inward[1])), widest * rng.uniform(0.6, 1))]
        for _ in range(60):
            if not grown:
                break
            start, heading, half = grown.pop(0)
            path = _walk(start, heading, turn, max(3, int(length * rng.uniform(0.5, 1.5))), rng)
            _drawn(canvas, path, half)
            if half < 0.5:
                continue
            share = rng.uniform(0.15, 0.5)
            last = path[-1] - path[-2]
            heading = float(np.arctan2(last[0], last[1]))
            spread = rng.uniform(0.3, 0.9)
            for part, sign in ((share, 1), (1 - share, -1)):
                grown.append((path[-1], heading + sign * spread * (1 - part), half * part ** (1 / 3)))
    away, y, x = _around(canvas)
    half = ndi.gaussian_filter(canvas[y, x], 1.5)
    return Shapes((away - half).astype(np.float32), _cells(shape, 60, rng), 0.5 * widest, "trees", True)


def blobs(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw nuclei, vesicles, particles and spots: deformed ellipses, from a few pixels to half of the image."""
    size, rough, differ = log_uniform(rng, 2.5, 0.36 * min(shape)), rng.uniform(0, 0.12), rng.uniform(0.05, 0.45)
    stretched = rng.uniform(0, 0.35)
    count = int(np.clip(log_uniform(rng, 0.02, 0.6) * shape[0] * shape[1] / (np.pi * size**2), 1, 300))
    distance, regions = np.full(shape, FAR, np.float32), np.zeros(shape, np.int32)
    for number in range(1, count + 1):
        radius, stretch = size * np.exp(rng.normal(0, differ)), np.exp(rng.normal(0, stretched))
        tilt, phases = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 3)
        centre = rng.uniform((-0.3 * size, -0.3 * size), (shape[0] + 0.3 * size, shape[1] + 0.3 * size))
        reach = 1.3 * radius * max(stretch, 1 / stretch) + 12
        low, high = np.maximum(centre - reach, 0).astype(int), np.minimum(centre + reach, shape).astype(int)
        if (low >= high).any():
            continue
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        y, x = np.mgrid[window].astype(np.float32) - centre[:, None, None].astype(np.float32)
        u = (np.cos(tilt) * x + np.sin(tilt) * y) / (radius * stretch)
        v = (np.cos(tilt) * y - np.sin(tilt) * x) / (radius / stretch)
        outline = 1 + sum(rough * np.cos((k + 2) * np.arctan2(v, u) + phases[k]) for k in range(3))
        own = (np.hypot(u, v) / outline - 1) * radius
        nearer = own < distance[window]
        distance[window][nearer] = own[nearer]
        regions[window][nearer] = number
    return Shapes(np.minimum(distance, FAR), regions, 0.8 * size, "blobs", False)


def patches(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw irregular patches: where a random field is high."""
    sigma = log_uniform(rng, 3, 50)
    rough = field(shape, sigma, rng) + rng.uniform(0, 0.4) * field(shape, max(2.0, 0.2 * sigma), rng)
    away = np.clip((rng.uniform(0, 1.5) - rough) * sigma, -FAR, FAR)
    return Shapes(away.astype(np.float32), _cells(shape, log_uniform(rng, 30, 90), rng), sigma, "patches", False)


Family = Callable[[tuple[int, int], np.random.Generator], Shapes]

FAMILIES: dict[str, tuple[Family, float]] = {
    "contours": (contours, 0.14),
    "tessellation": (tessellation, 0.18),
    "cobbles": (cobbles, 0.12),
    "worms": (worms, 0.15),
    "trees": (trees, 0.13),
    "blobs": (blobs, 0.21),
    "patches": (patches, 0.07),
}
"""Each family, and how often it is drawn."""


def draw_shapes(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw shapes of a random family."""
    name = str(rng.choice(list(FAMILIES), p=[share for _, share in FAMILIES.values()]))
    return FAMILIES[name][0](shape, rng)
